"""Estimate measures with what each subject adds to their error, from which intervals at any level follow at once.

Clips of one person are alike, so what they add is summed by person first (the cluster-robust, or sandwich, error).
Shapes: n clips, S subjects, K coefficients.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ssast.metrics.intervals import LEVEL
from ssast.metrics.measures import Floats, tie_groups

PLAIN, SHARE, RATIO, BOTH_WAYS = "plain", "share", "ratio", "both ways"
"""On which scale an interval is symmetric: its own, logit (0 to 1), logarithm (above 0), Fisher's z (-1 to 1)."""
_STEPS, _FAR, _ALIKE = 50, 30.0, 1e6
"""Steps of Newton's method at most, how large a log-odds runs off to infinity, how alike columns tell nothing apart."""


@dataclass(frozen=True)
class Estimate:
    """A measure, how far each subject pulls it (S,), and how many subjects bear on it; undefined where NaN.

    `freedom` are the degrees of freedom of its error where they are not those subjects less 1.
    """

    value: float
    pulls: Floats
    bearing: int
    scale: str = PLAIN
    freedom: float | None = None

    @property
    def error(self) -> float:
        """Standard error on the measure's own scale."""
        if self.bearing < 2:
            return float("nan")
        return float(np.sqrt((self.pulls**2).sum() * self.bearing / (self.bearing - 1)))

    def interval(self, level: float = LEVEL, *, times: float = 1.0, freedom: float | None = None) -> list[float] | None:
        """Low and high at this level; None where it cannot be said.

        `times` as many people as there are; `freedom` in the place of the measure's own.
        """
        people = self.bearing * times
        if not np.isfinite(self.value) or people < 2:
            return None
        if self.scale == SHARE and not 0 < self.value < 1:
            reach = 1 - ((1 - level) / 2) ** (1 / people)  # the exact one: nothing varies here
            return [0.0, reach] if self.value <= 0 else [1 - reach, 1.0]
        if (self.scale == RATIO and self.value <= 0) or (self.scale == BOTH_WAYS and abs(self.value) >= 1):
            return None
        from scipy.special import stdtrit

        own = people - 1 if self.freedom is None else self.freedom * times
        reach = float(stdtrit(own if freedom is None else freedom, (1 + level) / 2)) * self.error / times**0.5
        return [float(end) for end in self._around(reach)] if np.isfinite(reach) else None

    def score_interval(self, level: float, freedom: float) -> list[float]:
        """Wilson's interval of a share (Wilson 1927, JASA 22), with Student's t.

        As many independent people are assumed as give the standard error; where all answers are alike, all people.
        """
        from scipy.special import stdtrit

        square = float(stdtrit(freedom, (1 + level) / 2)) ** 2
        spread = self.value * (1 - self.value)
        people = spread / self.error**2 if spread > 0 and self.error > 0 else self.bearing
        centre = self.value + square / (2 * people)
        reach = (square * (spread / people + square / (4 * people**2))) ** 0.5
        return [float((centre + side * reach) / (1 + square / people)) for side in (-1, 1)]

    def _around(self, reach: float) -> tuple[float, float]:
        if self.scale == PLAIN:
            return self.value - reach, self.value + reach
        if self.scale == RATIO:
            factor = float(np.exp(min(reach / self.value, _FAR)))
            return self.value / factor, self.value * factor
        if self.scale == BOTH_WAYS:
            centre, away = np.arctanh(self.value), reach / (1 - self.value**2)
            return float(np.tanh(centre - away)), float(np.tanh(centre + away))
        odds, away = np.log(self.value / (1 - self.value)), reach / (self.value * (1 - self.value))
        low, high = (1 / (1 + np.exp(-np.clip(odds + side * away, -700, 700))) for side in (-1, 1))
        return low, high


def welch_freedom(squares: Sequence[float], freedoms: Sequence[float]) -> float:
    """Degrees of freedom of a sum of independent estimates with these squared errors (Welch 1947, Biometrika 34)."""
    below = sum(square**2 / freedom for square, freedom in zip(squares, freedoms, strict=True))
    return float(sum(squares) ** 2 / below) if below > 0 else float(sum(freedoms))


def undefined(subjects: int, scale: str = PLAIN) -> Estimate:
    """What stands for a measure that is not defined."""
    return Estimate(float("nan"), np.zeros(subjects), 0, scale)


def by_subject(values_n: Floats, subject_n: NDArray[np.intp], subjects: int) -> Floats:
    """The sum of each subject's clips (S,)."""
    return np.bincount(subject_n, values_n, minlength=subjects).astype(np.float64)


def people_with(has_n: NDArray[np.bool_], subject_n: NDArray[np.intp]) -> int:
    """How many subjects have at least one such clip."""
    return len(np.unique(subject_n[has_n]))


def share_of(
    yes_n: NDArray[np.bool_], among_n: NDArray[np.bool_], subject_n: NDArray[np.intp], subjects: int
) -> Estimate:
    """The share of yes among some clips, such as the sensitivity among those with the label."""
    total = int(among_n.sum())
    if not total:
        return undefined(subjects, SHARE)
    value = float(yes_n[among_n].mean())
    pulls_S = by_subject(np.where(among_n, yes_n - value, 0.0) / total, subject_n, subjects)
    return Estimate(value, pulls_S, people_with(among_n, subject_n), SHARE)


def is_flat(values_n: Floats) -> bool:
    """Whether values differ by no more than their rounding."""
    return bool(np.ptp(values_n) <= 1e-12 * np.abs(values_n).max())


def mean_of(values_n: Floats, subject_n: NDArray[np.intp], subjects: int, scale: str = PLAIN) -> Estimate:
    """The mean over clips."""
    value = float(values_n.mean())
    pulls_S = by_subject((values_n - value) / len(values_n), subject_n, subjects)
    return Estimate(value, pulls_S, len(np.unique(subject_n)), scale)


def root_mean_square(away_n: Floats, subject_n: NDArray[np.intp], subjects: int) -> Estimate:
    """The root of the mean square over clips, such as the RMSE of what scores are off."""
    square = mean_of(away_n**2, subject_n, subjects)
    root = square.value**0.5
    return Estimate(root, square.pulls / (2 * root) if root > 0 else square.pulls, square.bearing, RATIO)


def slope_of(scores_n: Floats, values_n: Floats, subject_n: NDArray[np.intp], subjects: int) -> Estimate:
    """The slope of the line of least squares that tells values from scores; undefined where these do not vary."""
    away_n = scores_n - scores_n.mean()
    spread = float(away_n @ away_n)
    if is_flat(scores_n):
        return undefined(subjects)
    slope = float(away_n @ values_n) / spread
    rest_n = values_n - values_n.mean() - slope * away_n
    pulls_S = by_subject(away_n * rest_n / spread, subject_n, subjects)
    return Estimate(slope, pulls_S, len(np.unique(subject_n)))


def correlation_of(scores_n: Floats, values_n: Floats, subject_n: NDArray[np.intp], subjects: int) -> Estimate:
    """Pearson's correlation, its error from what each clip adds (its influence), summed by subject."""
    if is_flat(scores_n) or is_flat(values_n):
        return undefined(subjects, BOTH_WAYS)
    one_n, two_n = ((each - each.mean()) / each.std() for each in (scores_n, values_n))
    value = float(np.clip((one_n * two_n).mean(), -1, 1))
    pulls_n = (one_n * two_n - value * (one_n**2 + two_n**2) / 2) / len(one_n)
    return Estimate(value, by_subject(pulls_n, subject_n, subjects), len(np.unique(subject_n)), BOTH_WAYS)


def auc_of(
    positive_n: NDArray[np.bool_], scores_n: Floats, subject_n: NDArray[np.intp], subjects: int, bearing: int
) -> Estimate:
    """The AUC with its clustered error (DeLong's components, summed by subject as Obuchowski 1997 does)."""
    yes, no = int(positive_n.sum()), int((~positive_n).sum())
    if not yes or not no:
        return undefined(subjects, SHARE)
    order_n = np.argsort(scores_n, kind="stable")
    groups = tie_groups(scores_n[order_n])
    beats_n = np.empty(len(scores_n))
    for others_n, sign, count in ((~positive_n, 1, no), (positive_n, -1, yes)):
        own_RG, up_to_RG = groups.cumulate(others_n[order_n].astype(np.float64)[None, :])
        below_n = (up_to_RG - own_RG / 2)[0][groups.of_n] / count
        mine_n = ~others_n[order_n]
        beats_n[order_n[mine_n]] = below_n[mine_n] if sign > 0 else 1 - below_n[mine_n]
    value = float(beats_n[positive_n].mean())
    pulls_n = (beats_n - value) / np.where(positive_n, yes, no)
    return Estimate(value, by_subject(pulls_n, subject_n, subjects), bearing, SHARE)


@dataclass(frozen=True)
class Fit:
    """Coefficients (K,) of a logistic regression and how far each subject pulls them (S, K)."""

    beta: Floats
    pulls: Floats


def logistic(
    design_nK: Floats, positive_n: NDArray[np.bool_], offset_n: Floats, subject_n: NDArray[np.intp], subjects: int
) -> Fit | None:
    """Logistic regression without a penalty, by Newton's method; None where no finite answer exists."""
    if fit := _newton(design_nK, positive_n, offset_n, subject_n, subjects):
        return fit
    # Scores that lie close together need large coefficients: those of columns at right angles, of size 1, stay small.
    angles_nK, turn_KK = np.linalg.qr(design_nK)
    if np.linalg.cond(turn_KK) > _ALIKE:
        return None
    size = len(design_nK) ** 0.5
    fit = _newton(angles_nK * size, positive_n, offset_n, subject_n, subjects)
    if fit is None:
        return None
    back_KK = np.linalg.inv(turn_KK) * size
    return Fit(back_KK @ fit.beta, fit.pulls @ back_KK.T)


def _newton(
    design_nK: Floats, positive_n: NDArray[np.bool_], offset_n: Floats, subject_n: NDArray[np.intp], subjects: int
) -> Fit | None:
    """The fit with these columns as they are; None where a coefficient runs off, or columns are too much alike."""
    beta_K = np.zeros(design_nK.shape[1])
    for _ in range(_STEPS):
        share_n = _expit(design_nK @ beta_K + offset_n)
        slope_K = design_nK.T @ (positive_n - share_n)
        bend_KK = (design_nK * (share_n * (1 - share_n))[:, None]).T @ design_nK
        if np.linalg.cond(bend_KK) > 1e12:
            return None
        step_K = np.linalg.solve(bend_KK, slope_K)
        beta_K = beta_K + np.clip(step_K, -5, 5)
        if np.abs(beta_K).max() > _FAR:
            return None
        if np.abs(step_K).max() < 1e-9:
            break
    else:
        return None
    off_nK = design_nK * (positive_n - _expit(design_nK @ beta_K + offset_n))[:, None]
    sums_SK = np.stack([by_subject(column_n, subject_n, subjects) for column_n in off_nK.T], axis=1)
    return Fit(beta_K, np.asarray(np.linalg.solve(bend_KK, sums_SK.T).T, np.float64))


def _expit(values: Floats) -> Floats:
    return 1 / (1 + np.exp(-np.clip(values, -700, 700)))
