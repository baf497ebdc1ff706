"""Recalibrate scores by a new intercept, and by a new slope too, fitted on some people for others.

Shapes: n recordings, w cuts of a scale.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssast.metrics.calibration import log_odds
from ssast.metrics.estimates import is_flat, logistic, people_with, slope_of
from ssast.metrics.external.kept import counted_people
from ssast.metrics.measures import Floats
from ssast.metrics.subgroups import FEW_PEOPLE


@dataclass(frozen=True)
class Update:
    """New log-odds, or new values, are the old ones times a slope, plus an intercept."""

    intercept: float
    slope: float

    def moved(self, values: Floats) -> Floats:
        """The values after it."""
        return self.intercept + self.slope * values

    def apply(self, scores: Floats) -> Floats:
        """Probabilities after it, in the same order where the slope is above 0."""
        return 1 / (1 + np.exp(-np.clip(self.moved(log_odds(scores)), -700, 700)))


@dataclass(frozen=True)
class Updates:
    """What was fitted on some people: the intercept alone, and both; else the reason why not.

    Of numbers nobody has the label or lacks it: `people_with` are all, `people_without` is None. `falls` says that the
    scores are lower where the truth is higher, which the slope of a scale does not show: the steps between its cuts
    alone make one above 0.
    """

    people_with: int
    people_without: int | None
    intercept: Update | None = None
    both: Update | None = None
    reason: str = ""
    falls: bool = False


_NO_SLOPE = "the scores hardly vary, or part the two classes perfectly, so no slope can be fitted"


def fit_updates(positive_n: NDArray[np.bool_], scores_n: Floats, subject_n: NDArray[np.intp]) -> Updates:
    """The updates that fit these recordings best; it takes some people with the label and as many without it."""
    found = _fitted(positive_n, scores_n, subject_n, "with the label", "without it", _NO_SLOPE)
    return replace(found, falls=_falls(scores_n, positive_n)) if found.intercept else found


def fit_scale_updates(positive_nw: NDArray[np.bool_], scores_nw: Floats, subject_n: NDArray[np.intp]) -> Updates:
    """One intercept and one slope for the log-odds of "at least k" at all cuts of a scale together.

    Each cut is a yes/no question, and the logistic regression of all of them in one is fitted: the loss by which the
    model learned (CORAL: Cao, Mirjalili and Raschka 2020). It moves the latent score that all cuts share (the
    recalibration of cumulative log-odds in Edlinger and others 2022, Statistics in Medicine 41, with one intercept).
    Fits of each cut alone could put "at least 3" above "at least 2", and need people at every level; this cannot,
    where the slope is above 0, and does with few of them.
    """
    cuts = positive_nw.shape[1]
    why = "the scores hardly vary, or part the levels perfectly, so no slope can be fitted"
    people = "above the lowest level", "below the highest"
    found = _fitted(positive_nw.ravel(), scores_nw.ravel(), np.repeat(subject_n, cuts), *people, why)
    falls = _falls(scores_nw.mean(axis=1), positive_nw.sum(axis=1))
    return replace(found, falls=falls) if found.intercept else found


def _falls(scores_n: Floats, truth_n: NDArray[Any]) -> bool:
    """Whether scores are lower where the truth is higher."""
    return not is_flat(scores_n) and float((scores_n - scores_n.mean()) @ (truth_n - truth_n.mean())) < 0


def _fitted(
    positive_n: NDArray[np.bool_], scores_n: Floats, subject_n: NDArray[np.intp], yes: str, no: str, no_slope: str
) -> Updates:
    counts = people_with(positive_n, subject_n), people_with(~positive_n, subject_n)
    if min(counts) < FEW_PEOPLE:
        why = f"{counted_people(counts[0])} {yes} and {counts[1]} {no} are too few to recalibrate on"
        return Updates(*counts, reason=f"{why}; it takes {FEW_PEOPLE} of each, so give a larger share")
    if scores_n.min() < 0 or scores_n.max() > 1:
        return Updates(*counts, reason="some scores are not between 0 and 1")
    odds_n, ones_n1, subjects = log_odds(scores_n), np.ones((len(scores_n), 1)), int(subject_n.max()) + 1
    large = logistic(ones_n1, positive_n, odds_n, subject_n, subjects)
    both = None
    if np.ptp(odds_n) > 0:
        design_n2 = np.column_stack([ones_n1, odds_n])
        both = logistic(design_n2, positive_n, np.zeros(len(odds_n)), subject_n, subjects)
    return Updates(
        *counts,
        None if large is None else Update(float(large.beta[0]), 1.0),
        None if both is None else Update(*map(float, both.beta)),
        "" if both else no_slope,
    )


def fit_number_updates(targets_n: Floats, scores_n: Floats, subject_n: NDArray[np.intp]) -> Updates:
    """The mean that scores are off, and the line of least squares that tells the truth from them."""
    people = len(np.unique(subject_n))
    if people < FEW_PEOPLE:
        why = f"{counted_people(people)} with a value are too few to recalibrate on"
        return Updates(people, None, reason=f"{why}; it takes {FEW_PEOPLE}, so give a larger share")
    large = Update(float((targets_n - scores_n).mean()), 1.0)
    for what, values_n in (("scores", scores_n), ("values of the truth", targets_n)):
        if is_flat(values_n):
            return Updates(people, None, large, reason=f"the {what} do not vary, so no slope can be fitted")
    slope = slope_of(scores_n, targets_n, subject_n, int(subject_n.max()) + 1).value
    return Updates(people, None, large, Update(float(targets_n.mean() - slope * scores_n.mean()), slope))
