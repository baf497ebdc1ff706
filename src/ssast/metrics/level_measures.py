"""Compute every measure of one scale (ordinal) or one choice (CE) from targets, scores and clip weights.

Shapes: N clips, n clips with a target, R resamples or shuffles, K levels or kinds, w outputs of the label.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ssast.metrics.measures import (
    Draws,
    Floats,
    Groups,
    Measure,
    Regression,
    auc,
    divide,
    mean_of_known,
    regression,
    tie_groups,
)
from ssast.model.label_kinds import CALLED, CHOICE, SCALE, LabelKind

AT = "_at_"
"""Between a measure's name and the level of the cut at which it was taken."""
_HALF = 0.5
_ROUNDING = 1e-9


class Cut(NamedTuple):
    """One yes/no question about a label: of the clips sorted by their score for it, which have it."""

    order_n: NDArray[np.intp]
    positive_n: Floats
    groups: Groups

    @classmethod
    def of(cls, positive_n: NDArray[np.bool_], scores_n: Floats) -> "Cut":
        """The question with these answers and scores."""
        order_n = np.argsort(scores_n, kind="stable")
        return cls(order_n, positive_n[order_n].astype(np.float64), tie_groups(scores_n[order_n]))

    def auc(self, weights_Rn: Floats) -> Floats:
        """The AUC (R,)."""
        own_Rn = np.take(weights_Rn, self.order_n, axis=1)
        positive_Rn = own_Rn * self.positive_n
        return auc(positive_Rn, own_Rn - positive_Rn, self.groups)


@dataclass(frozen=True)
class ScaleMeasures:
    """The measures of a scale; call it with weights (R, N). Targets and calls are in steps above the lowest level."""

    label: LabelKind
    rows_n: NDArray[np.intp]
    truth_n: Floats
    """Also between two steps, where it is a mean of ratings."""
    called_n: Floats
    order: Regression
    cuts: list[Cut]

    def __call__(self, weights_RN: Floats) -> Draws:
        """Each measure (R,), NaN where it is undefined."""
        weights_Rn = np.take(weights_RN, self.rows_n, axis=1)
        at_cut = [cut.auc(weights_Rn) for cut in self.cuts]
        names = [f"auc{AT}{level}" for level in self.label.shown_levels[1:]]
        by_name = dict(zip(names, at_cut, strict=True))
        chosen = None if self.label.cut is None else self.label.levels.index(self.label.cut) - 1
        return {
            "qwk": weighted_kappa(weights_Rn, nearest_step(self.truth_n), self.called_n),
            "spearman": self.order(weights_RN)["spearman"],
            "mae_steps": divide(weights_Rn @ np.abs(self.truth_n - self.called_n), weights_Rn.sum(axis=1)),
            "auc": mean_of_known(at_cut) if chosen is None else at_cut[chosen],
            **by_name,
        }


@dataclass(frozen=True)
class ChoiceMeasures:
    """The measures of a choice; call it with weights (R, N)."""

    rows_n: NDArray[np.intp]
    truth_n: Floats
    called_n: Floats
    cuts: list[Cut]

    def __call__(self, weights_RN: Floats) -> Draws:
        """Each measure (R,), NaN where it is undefined. The AUC is the mean of each kind against the rest."""
        weights_Rn = np.take(weights_RN, self.rows_n, axis=1)
        right_n = (self.truth_n == self.called_n).astype(np.float64)
        recalls = []
        for kind in range(len(self.cuts)):
            own_n = (self.truth_n == kind).astype(np.float64)
            recalls.append(divide(weights_Rn @ (own_n * right_n), weights_Rn @ own_n))
        return {
            "accuracy": divide(weights_Rn @ right_n, weights_Rn.sum(axis=1)),
            "balanced_accuracy": mean_of_known(recalls),
            "auc": mean_of_known([cut.auc(weights_Rn) for cut in self.cuts]),
        }


def level_measures(label: LabelKind, targets_N: Floats, scores_Nw: Floats) -> Measure:
    """What computes the measures of a scale or a choice; NaN targets are left out."""
    rows_n = np.flatnonzero(~np.isnan(targets_N))
    values_n, scores_nw = targets_N[rows_n], scores_Nw[rows_n]
    called_n = called(label, scores_nw)
    yes_nw = label.spread(values_n) >= _HALF
    cuts = [Cut.of(yes_nw[:, at], scores_nw[:, at]) for at in range(label.width)]
    if label.kind == CHOICE:
        return ChoiceMeasures(rows_n, values_n, called_n, cuts)
    order = regression(targets_N, label.answers(scores_Nw))
    return ScaleMeasures(label, rows_n, label.steps(values_n), called_n, order, cuts)


def called(label: LabelKind, scores_Nw: Floats) -> Floats:
    """The step of a scale, or the number of the kind, that the scores call (N,)."""
    return (scores_Nw >= CALLED).sum(axis=1).astype(np.float64) if label.kind == SCALE else label.answers(scores_Nw)


def truth(label: LabelKind, targets_N: Floats) -> Floats:
    """Targets as steps of a scale, those between two as the nearer one, or as numbers of kinds; NaN stays NaN."""
    return nearest_step(label.steps(targets_N)) if label.kind == SCALE else targets_N


def nearest_step(steps_N: Floats) -> Floats:
    """Whole steps; halfway counts up, as a yes/no target of one half counts as yes."""
    return np.floor(steps_N + _HALF)


def weighted_kappa(weights_Rn: Floats, first_n: Floats, second_n: Floats) -> Floats:
    """Cohen's kappa with quadratic weights (R,); NaN where both give one and the same answer throughout.

    Source: Cohen 1968, Psychological Bulletin 70. The expected disagreement needs means and squares alone.
    """
    total_R = weights_Rn.sum(axis=1)
    powers = (first_n, second_n, first_n**2, second_n**2, (first_n - second_n) ** 2)
    sums_5R = np.stack([weights_Rn @ each_n for each_n in powers])
    one_R, two_R, squares_R, others_R, apart_R = divide(sums_5R, np.broadcast_to(total_R, sums_5R.shape))
    expected_R = squares_R + others_R - 2 * one_R * two_R
    expected_R = np.where(expected_R > _ROUNDING, expected_R, 0.0)
    return 1 - divide(apart_R, expected_R)


def confusion(label: LabelKind, targets_N: Floats, scores_Nw: Floats) -> list[list[int]]:
    """How many clips of each level (a row) were called each level (a column)."""
    known_n = np.flatnonzero(~np.isnan(targets_N))
    truth_n, called_n = truth(label, targets_N[known_n]), called(label, scores_Nw[known_n])
    count = len(label.levels)
    flat_n = truth_n.astype(np.intp) * count + called_n.astype(np.intp)
    return np.bincount(flat_n, minlength=count**2).reshape(count, count).tolist()


def baseline(label: LabelKind, targets_N: Floats) -> dict[str, float | None]:
    """What answers without a model reach: always the median level, or always the commonest kind."""
    known_n = targets_N[~np.isnan(targets_N)]
    name = "mae_steps" if label.kind == SCALE else "accuracy"
    if not len(known_n):
        return {name: None}
    if label.kind == SCALE:
        steps_n = label.steps(known_n)
        return {name: float(np.abs(steps_n - nearest_step(np.median(steps_n, keepdims=True))).mean())}
    return {name: float(np.bincount(known_n.astype(np.intp)).max() / len(known_n))}


def bearing(label: LabelKind, targets_N: Floats, subject_N: NDArray[np.intp]) -> dict[str, int]:
    """How many subjects bear on each measure: everyone, and for AUCs and balanced accuracy those of the rarer side."""
    known_N = ~np.isnan(targets_N)
    everyone = len(np.unique(subject_N[known_N]))
    yes_Nw = label.spread(targets_N) >= _HALF
    sides = [_subjects(subject_N, yes_Nw[:, at], known_N & ~yes_Nw[:, at]) for at in range(label.width)]
    rarest = [min(side) for side in sides]
    if label.kind == CHOICE:
        there = min((yes for yes, _ in sides if yes), default=0)
        return {"accuracy": everyone, "balanced_accuracy": there, "auc": min(there, _typical(rarest))}
    at_cut = {f"auc{AT}{level}": count for level, count in zip(label.shown_levels[1:], rarest, strict=True)}
    own = _typical(rarest) if label.cut is None else rarest[label.levels.index(label.cut) - 1]
    return {"qwk": everyone, "spearman": everyone, "mae_steps": everyone, "auc": own, **at_cut}


def _typical(counts: list[int]) -> int:
    """The median of those that are not 0."""
    return int(np.median([count for count in counts if count] or [0]))


def _subjects(subject_N: NDArray[np.intp], *sides: NDArray[np.bool_]) -> tuple[int, ...]:
    return tuple(len(np.unique(subject_N[side_N])) for side_N in sides)


def shuffled_measure(label: LabelKind, scores_Nw: Floats) -> tuple[str, Callable[[Floats], Floats]]:
    """The leading measure of a label and what computes it of shuffled targets (R, N): its level of chance."""
    called_N = called(label, scores_Nw)
    if label.kind == SCALE:
        return "qwk", lambda targets_RN: _shuffled_kappa(truth(label, targets_RN), called_N)
    return "balanced_accuracy", lambda targets_RN: _shuffled_recall(targets_RN, called_N, len(label.levels))


def _shuffled_kappa(truth_RN: Floats, called_N: Floats) -> Floats:
    known_RN = ~np.isnan(truth_RN)
    total_R = known_RN.sum(axis=1)
    truth_RN, called_RN = np.where(known_RN, truth_RN, 0.0), np.where(known_RN, called_N, 0.0)
    apart_R = divide(((truth_RN - called_RN) ** 2).sum(axis=1), total_R)
    (one_R, two_R) = (divide(each.sum(axis=1), total_R) for each in (truth_RN, called_RN))
    squares_R = divide((truth_RN**2 + called_RN**2).sum(axis=1), total_R)
    expected_R = squares_R - 2 * one_R * two_R
    return 1 - divide(apart_R, np.where(expected_R > _ROUNDING, expected_R, 0.0))


def _shuffled_recall(targets_RN: Floats, called_N: Floats, kinds: int) -> Floats:
    recalls = []
    for kind in range(kinds):
        own_RN = targets_RN == kind
        recalls.append(divide((own_RN & (called_N == kind)).sum(axis=1), own_RN.sum(axis=1)))
    return mean_of_known(recalls)
