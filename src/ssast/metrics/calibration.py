"""Measure calibration by logistic recalibration: slope, intercept and a smooth curve, with intervals by subject.

Shapes: n clips with a target, S subjects, G points of the curve.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ssast.metrics.estimates import SHARE, Estimate, logistic, people_with, undefined
from ssast.metrics.measures import Floats

EDGE = 1e-6
"""Scores nearer to 0 or 1 count as that near: the log-odds of a certain answer are infinite."""
_KNOTS = (0.1, 0.5, 0.9)
_POINTS = 41


@dataclass(frozen=True)
class Calibration:
    """`slope` (1: as spread as the truth), `intercept` (0: right on average; slope held at 1), why one is undefined."""

    slope: Estimate
    intercept: Estimate
    reason: str = ""


@dataclass(frozen=True)
class SmoothCurve:
    """Share with the label (G,) along the score, with its 95 % interval at each point."""

    score: Floats
    share: Floats
    low: Floats
    high: Floats


def log_odds(scores_n: Floats) -> Floats:
    """The log-odds of probabilities, those at 0 and 1 kept finite."""
    inside_n = np.clip(scores_n, EDGE, 1 - EDGE)
    return np.log(inside_n / (1 - inside_n))


def recalibration(
    positive_n: NDArray[np.bool_], scores_n: Floats, subject_n: NDArray[np.intp], subjects: int
) -> Calibration:
    """Slope and intercept; the slope needs scores that vary and classes that they do not part perfectly."""
    nothing = undefined(subjects)
    if reason := _unfit(positive_n, scores_n):
        return Calibration(nothing, nothing, reason)
    odds_n, ones_n1 = log_odds(scores_n), np.ones((len(scores_n), 1))
    bearing = bearing_people(positive_n, subject_n)
    large = logistic(ones_n1, positive_n, odds_n, subject_n, subjects)
    intercept = nothing if large is None else Estimate(float(large.beta[0]), large.pulls[:, 0], bearing)
    if np.ptp(odds_n) == 0:
        return Calibration(nothing, intercept, "the scores do not vary")
    nearly = logistic(np.column_stack([ones_n1, odds_n]), positive_n, np.zeros(len(odds_n)), subject_n, subjects)
    if nearly is None:
        return Calibration(nothing, intercept, _no_slope(positive_n, odds_n))
    return Calibration(Estimate(float(nearly.beta[1]), nearly.pulls[:, 1], bearing), intercept)


def _no_slope(positive_n: NDArray[np.bool_], odds_n: Floats) -> str:
    """Why there is no slope: scores that overlap at most at one value part the classes."""
    with_n, without_n = odds_n[positive_n], odds_n[~positive_n]
    is_apart = with_n.min() >= without_n.max() or with_n.max() <= without_n.min()
    return "the scores part the two classes perfectly" if is_apart else "the scores hardly vary"


def bearing_people(positive_n: NDArray[np.bool_], subject_n: NDArray[np.intp]) -> int:
    """How many people of the rarer class there are."""
    return min(people_with(positive_n, subject_n), people_with(~positive_n, subject_n))


def _unfit(positive_n: NDArray[np.bool_], scores_n: Floats) -> str:
    if not len(positive_n):
        return "no clip has a target"
    if positive_n.all() or not positive_n.any():
        return f"all {len(positive_n)} targets are {'positive' if positive_n.all() else 'negative'}"
    return "some scores are not between 0 and 1" if scores_n.min() < 0 or scores_n.max() > 1 else ""


def smooth_curve(
    positive_n: NDArray[np.bool_], scores_n: Floats, subject_n: NDArray[np.intp], subjects: int
) -> SmoothCurve | None:
    """The curve of a logistic regression on a restricted cubic spline of the log-odds, three knots; None without one.

    Where the spline has no answer (few scores that differ), a straight line of the log-odds serves.
    """
    if _unfit(positive_n, scores_n) or np.ptp(scores_n) == 0:
        return None
    low, high = np.quantile(scores_n, [0.01, 0.99])
    score_G = np.linspace(low, high, _POINTS) if high > low else np.array([low])
    odds_n, odds_G = log_odds(scores_n), log_odds(score_G)
    knots = np.quantile(odds_n, _KNOTS)
    designs = [_design(odds_n, knots), _design(odds_n, None)]
    points = [_design(odds_G, knots), _design(odds_G, None)]
    for design_nK, points_GK in zip(designs, points, strict=True):
        fit = logistic(design_nK, positive_n, np.zeros(len(odds_n)), subject_n, subjects)
        if fit is not None:
            return _curve(score_G, points_GK @ fit.beta, points_GK @ fit.pulls.T, positive_n, subject_n)
    return None


def _curve(
    score_G: Floats, odds_G: Floats, pulls_GS: Floats, positive_n: NDArray[np.bool_], subject_n: NDArray[np.intp]
) -> SmoothCurve | None:
    share_G = 1 / (1 + np.exp(-odds_G))
    bearing = bearing_people(positive_n, subject_n)
    steep_G = share_G * (1 - share_G)
    ends = [
        Estimate(float(share), steep * pulls_S, bearing, SHARE).interval()
        for share, steep, pulls_S in zip(share_G, steep_G, pulls_GS, strict=True)
    ]
    if any(pair is None for pair in ends):
        return None
    low_G, high_G = np.array(ends, dtype=np.float64).T
    return SmoothCurve(score_G, share_G, low_G, high_G)


def _design(odds: Floats, knots: Floats | None) -> Floats:
    """One, the log-odds, and with three knots what a natural cubic spline adds to them."""
    columns = [np.ones_like(odds), odds]
    if knots is not None:
        first, middle, last = knots
        if not first < middle < last:
            return np.zeros((len(odds), 3))  # no spline: `logistic` finds no answer

        def third(at: float) -> Floats:
            return np.maximum(odds - at, 0) ** 3

        bent = third(first) - (third(middle) * (last - first) - third(last) * (middle - first)) / (last - middle)
        columns.append(bent / (last - first) ** 2)
    return np.stack(columns, axis=1)
