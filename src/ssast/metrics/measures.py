"""Compute every measure of one label from targets, scores and clip weights (how often a resample drew each clip).

A weight of one for every clip gives the plain score, so the number and its interval come from the same lines.
Shapes: N clips, n clips with a target, R resamples, G groups of tied scores, K columns that are summed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Draws = dict[str, Floats]
Measure = Callable[[Floats], Draws]

CALIBRATION_BINS = 10
SOFT_POSITIVE = 0.5
"""A target counts as positive from here on; only soft targets (between 0 and 1) are changed by it."""


class Groups(NamedTuple):
    """Groups of tied scores in rising order."""

    last: NDArray[np.intp]
    """(G,) position of each group's last clip among the sorted ones."""
    of_n: NDArray[np.intp]
    """The group of each sorted clip."""

    def cumulate(self, counts_Rn: NDArray[Any]) -> tuple[Floats, Floats]:
        """Weight of each group (R, G), and of all groups up to and including it (R, G)."""
        whole_Rn = counts_Rn.astype(np.int32)  # whole numbers add up three times as fast
        up_to_Rn = np.cumsum(whole_Rn, axis=1, dtype=np.int32)
        if len(self.last) == counts_Rn.shape[1]:
            return counts_Rn.astype(np.float64, copy=False), up_to_Rn.astype(np.float64)
        up_to_RG = up_to_Rn[:, self.last].astype(np.float64)
        return np.diff(up_to_RG, axis=1, prepend=0.0), up_to_RG


def tie_groups(sorted_n: Floats) -> Groups:
    """Groups of equal neighbours of rising values."""
    starts_n = np.diff(sorted_n, prepend=-np.inf) != 0
    return Groups(np.flatnonzero(np.append(starts_n[1:], len(sorted_n) > 0)), np.cumsum(starts_n) - 1)


def auc(positive_Rn: NDArray[Any], negative_Rn: NDArray[Any], groups: Groups) -> Floats:
    """Area under the ROC curve (R,) of counts sorted by rising score; a tie counts half; NaN with one class."""
    return _auc(groups.cumulate(positive_Rn), groups.cumulate(negative_Rn))


def auc_and_precision(positive_Rn: Floats, negative_Rn: Floats, groups: Groups) -> tuple[Floats, Floats]:
    """The AUC, and the average precision (R,): precision times step in recall, summed; NaN without a positive."""
    positive, negative = groups.cumulate(positive_Rn), groups.cumulate(negative_Rn)
    found_RG, false_RG = (_from_above(*both) for both in (positive, negative))
    false_RG += found_RG
    found_RG /= np.maximum(false_RG, 1, out=false_RG)  # counts: below 1 means none at all
    return _auc(positive, negative), divide(np.einsum("rg,rg->r", positive[0], found_RG), positive[0].sum(1))


def _auc(positive: tuple[Floats, Floats], negative: tuple[Floats, Floats]) -> Floats:
    (positive_RG, _), (negative_RG, up_to_RG) = positive, negative
    pairs_R = positive_RG.sum(1) * negative_RG.sum(1)
    return divide(np.einsum("rg,rg->r", positive_RG, up_to_RG - negative_RG / 2), pairs_R)


def _from_above(own_RG: Floats, up_to_RG: Floats) -> Floats:
    """The same weights, cumulated from the highest score down."""
    from_above_RG = own_RG.sum(1, keepdims=True) - up_to_RG
    from_above_RG += own_RG
    return from_above_RG


def divide(above: Floats, below: Floats) -> Floats:
    """Quotient, NaN where the denominator is zero."""
    return np.divide(above, below, out=np.full(np.shape(above), np.nan), where=below != 0)


def mean_of_known(of: Sequence[Floats] | Floats, axis: int = 0) -> Floats:
    """The mean along an axis of the values that are not NaN, NaN where all are."""
    values = np.asarray(of)
    return divide(np.nansum(values, axis=axis), (~np.isnan(values)).sum(axis=axis))


@dataclass(frozen=True)
class Detection:
    """The measures of a yes/no label; build it with `detection`, call it with weights (R, N)."""

    rows_n: NDArray[np.intp]
    """Clips that have a target, by rising score."""
    positive_n: Floats
    columns: Floats
    """(n, K) to be summed: one, positive, called, both, squared error, then score - target by calibration bin."""
    groups: Groups

    def auc(self, weights_RN: Floats) -> Floats:
        """The AUC (R,) alone, as `__call__` has it: a third of the work."""
        weights_Rn = np.take(weights_RN, self.rows_n, axis=1)
        positive_Rn = weights_Rn * self.positive_n
        return auc(positive_Rn, weights_Rn - positive_Rn, self.groups)

    def __call__(self, weights_RN: Floats) -> Draws:
        """Each measure (R,), NaN where it is undefined."""
        weights_Rn = np.take(weights_RN, self.rows_n, axis=1)
        positive_Rn = weights_Rn * self.positive_n
        sums_RK = weights_Rn @ self.columns
        total_R, positive_R, called_R, found_R, square_R = sums_RK[:, :5].T
        false_R = called_R - found_R
        auc_R, precision_R = auc_and_precision(positive_Rn, weights_Rn - positive_Rn, self.groups)
        negative_R, off_R = total_R - positive_R, np.abs(sums_RK[:, 5:]).sum(1)
        above = (2 * found_R, found_R, negative_R - false_R, positive_R, square_R, off_R)
        below = (positive_R + called_R, positive_R, negative_R, total_R, total_R, total_R)
        names = ("f1", "sensitivity", "specificity", "prevalence", "brier", "ece")
        shares = divide(np.stack(above), np.stack(below))  # at once: resamples come in tens, and calls cost more
        return {"auc": auc_R, "average_precision": precision_R, **dict(zip(names, shares, strict=True))}


def detection(targets_N: Floats, scores_N: Floats, threshold: float | Floats) -> Detection:
    """Prepare a yes/no label; `threshold` is one, or one a clip (N,).

    NaN targets are left out; Brier and ECE are NaN where a score is no probability.
    """
    valid_n = np.flatnonzero(~np.isnan(targets_N))
    rows_n = valid_n[np.argsort(scores_N[valid_n], kind="stable")]
    scores_n = scores_N[rows_n]
    positive_n = (targets_N[rows_n] >= SOFT_POSITIVE).astype(np.float64)
    called_n = (scores_n >= np.broadcast_to(threshold, scores_N.shape)[rows_n]).astype(np.float64)
    counts_nK = np.stack([np.ones_like(scores_n), positive_n, called_n, positive_n * called_n], axis=1)
    columns_nK = np.concatenate([counts_nK, _calibration(scores_n, positive_n)], axis=1)
    return Detection(rows_n, positive_n, columns_nK, tie_groups(scores_n))


def _calibration(scores_n: Floats, positive_n: Floats) -> Floats:
    error_n = scores_n - positive_n
    if len(scores_n) and (scores_n[0] < 0 or scores_n[-1] > 1):
        return np.full((len(scores_n), 1 + CALIBRATION_BINS), np.nan)
    bin_n = np.minimum((scores_n * CALIBRATION_BINS).astype(np.intp), CALIBRATION_BINS - 1)
    by_bin_nK = np.zeros((len(scores_n), CALIBRATION_BINS))
    by_bin_nK[np.arange(len(scores_n)), bin_n] = error_n
    return np.concatenate([error_n[:, None] ** 2, by_bin_nK], axis=1)


@dataclass(frozen=True)
class Regression:
    """The measures of a label with values; build it with `regression`, call it with weights (R, N)."""

    rows_n: NDArray[np.intp]
    targets_n: Floats
    """Less their mean, as the scores are: keeps the sums of squares exact."""
    scores_n: Floats
    shift: float
    """Mean score less mean target."""

    def __call__(self, weights_RN: Floats) -> Draws:
        """Each measure (R,), NaN where it is undefined."""
        weights_Rn = np.take(weights_RN, self.rows_n, axis=1)
        total_R = weights_Rn.sum(1)
        error_n = self.scores_n - self.targets_n + self.shift
        (cross_R, target_R, score_R), means_R2 = _moments(weights_Rn, self.targets_n, self.scores_n)
        gap_R = means_R2[:, 1] - means_R2[:, 0] + self.shift
        return {
            "mae": divide(weights_Rn @ np.abs(error_n), total_R),
            "rmse": np.sqrt(divide(weights_Rn @ error_n**2, total_R)),
            "pearson": np.clip(divide(cross_R, np.sqrt(target_R * score_R)), -1, 1),
            "spearman": self._spearman(weights_Rn),
            "ccc": np.where(target_R > 0, divide(2 * cross_R, target_R + score_R + gap_R**2), np.nan),
        }

    def _spearman(self, weights_Rn: Floats) -> Floats:
        ranks = [_mid_ranks(weights_Rn, values_n) for values_n in (self.targets_n, self.scores_n)]
        total_R1 = weights_Rn.sum(1, keepdims=True)
        target_Rn, score_Rn = (rank_Rn - total_R1 / 2 for rank_Rn in ranks)  # weighted mid-ranks average half the total
        cross_R, target_R, score_R = (
            np.einsum("rn,rn,rn->r", weights_Rn, first_Rn, second_Rn)
            for first_Rn, second_Rn in ((target_Rn, score_Rn), (target_Rn, target_Rn), (score_Rn, score_Rn))
        )
        return np.clip(divide(cross_R, np.sqrt(target_R * score_R)), -1, 1)


def _moments(weights_Rn: Floats, targets_n: Floats, scores_n: Floats) -> tuple[list[Floats], Floats]:
    """Weighted covariance and the two variances, exactly zero where a value is constant, and the two means (R, 2)."""
    pair_n2 = np.stack([targets_n, scores_n], axis=1)
    total_R1 = weights_Rn.sum(1, keepdims=True)
    means_R2 = divide(weights_Rn @ pair_n2, np.broadcast_to(total_R1, (len(weights_Rn), 2)))
    moments = []
    for first, second in ((0, 1), (0, 0), (1, 1)):
        product_n = pair_n2[:, first] * pair_n2[:, second]
        moment_R = divide(weights_Rn @ product_n, total_R1[:, 0]) - means_R2[:, first] * means_R2[:, second]
        if first == second:
            moment_R[moment_R <= 1e-12 * product_n.max(initial=0.0)] = 0.0  # what is left of a constant is rounding
        moments.append(moment_R)
    return moments, means_R2


def _mid_ranks(weights_Rn: Floats, values_n: Floats) -> Floats:
    """Weight below each clip plus half the weight of its ties (R, n)."""
    order_n = np.argsort(values_n, kind="stable")
    groups = tie_groups(values_n[order_n])
    own_RG, up_to_RG = groups.cumulate(np.take(weights_Rn, order_n, axis=1))
    place_n = np.empty_like(order_n)
    place_n[order_n] = groups.of_n
    return np.take(up_to_RG - own_RG / 2, place_n, axis=1)


def regression(targets_N: Floats, scores_N: Floats) -> Regression:
    """Prepare a label with values. NaN targets are left out."""
    rows_n = np.flatnonzero(~np.isnan(targets_N))
    centred = [_centred(values_N[rows_n]) for values_N in (targets_N, scores_N)]
    (targets_n, target_mean), (scores_n, score_mean) = centred
    return Regression(rows_n, targets_n, scores_n, score_mean - target_mean)


def _centred(values_n: Floats) -> tuple[Floats, float]:
    """Values less their mean, exactly zero where they are constant."""
    if len(values_n) == 0 or np.ptp(values_n) == 0:
        return np.zeros_like(values_n), float(values_n[0]) if len(values_n) else 0.0
    mean = float(values_n.mean())
    return values_n - mean, mean
