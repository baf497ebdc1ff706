"""Measure how far raters of a label agree, and the model with them, and add it to the label's scores.

Agreement is Krippendorff's alpha, ICC(2,1) and kappa, of clips that are weighted.
Shapes: R resamples, N clips, J ratings of a clip, NaN where there is none, K values that ratings can have, w outputs of
a label.
"""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssast.metrics.intervals import bootstrap, difference_interval, number_subjects, signed_interval
from ssast.metrics.level_measures import called, nearest_step, weighted_kappa
from ssast.metrics.measures import SOFT_POSITIVE, Draws, Floats, divide, mean_of_known
from ssast.metrics.predictions import Predictions
from ssast.metrics.score_entries import Metrics
from ssast.metrics.threshold_rules import DEFAULT_THRESHOLD
from ssast.model.label_kinds import CHOICE, NUMBER, SCALE, YES_NO, LabelKind, LabelKinds

Agreement = Callable[[Floats, Floats, Floats], Floats]
"""Of weights (R, N) and two answers (N,), NaN where one is lacking: how far they agree (R,)."""
_LEAST = 1e-12


def of_clips(weights_RN: Floats, known_N: NDArray[np.bool_]) -> Floats:
    """The weights of some clips; of all of them no copy where they lie in memory as chosen columns do.

    Sums over either are then the same to the last bit.
    """
    return np.asfortranarray(weights_RN) if known_N.all() else weights_RN[:, known_N]


def alpha(weights_RN: Floats, ratings_NJ: Floats, kind: str, values: int) -> Floats:
    """Krippendorff's alpha (R,) for labels of a kind, NaN where every rating is the same.

    Ratings of scales are steps from 0 and differ by how many ratings lie between them (the ordinal metric), those of
    choices and of yes/no labels differ or not, numbers by their squared distance. `values` is how many a rating of
    the first three can have. Source: Krippendorff 2019, Content Analysis, 4th edition, chapter 12.
    """
    count_N = (~np.isnan(ratings_NJ)).sum(axis=1)
    kept_N = count_N > 1  # one rating is compared with none
    weights_Rn, ratings_nJ, count_n = (
        of_clips(weights_RN, kept_N),
        ratings_NJ[kept_N],
        count_N[kept_N].astype(np.float64),
    )
    if kind not in (SCALE, CHOICE, YES_NO):
        return _interval_alpha(weights_Rn, ratings_nJ, count_n)
    of_value_nK = np.stack([(ratings_nJ == value).sum(axis=1) for value in range(values)], axis=1).astype(np.float64)
    total_RK = weights_Rn @ of_value_nK
    share_nK = of_value_nK / (count_n[:, None] - 1)
    pairs_RKK = of_value_nK.T @ (weights_Rn[:, :, None] * share_nK)
    pairs_RKK -= (weights_Rn @ share_nK)[:, :, None] * np.eye(values)  # no rating is compared with itself
    apart_RKK = _ordinal(total_RK) if kind == SCALE else np.broadcast_to(1 - np.eye(values), pairs_RKK.shape)
    total_R = total_RK.sum(axis=1)
    observed_R = (pairs_RKK * apart_RKK).sum(axis=(1, 2))
    expected_R = (total_RK[:, :, None] * total_RK[:, None] * apart_RKK).sum(axis=(1, 2))
    return 1 - divide((total_R - 1) * observed_R, np.where(expected_R > _LEAST, expected_R, 0.0))


def _ordinal(total_RK: Floats) -> Floats:
    """The squared number of ratings from one value to another, both ends by half (R, K, K)."""
    up_RK = np.cumsum(total_RK, axis=1) - total_RK / 2
    return (up_RK[:, :, None] - up_RK[:, None]) ** 2


def _interval_alpha(weights_Rn: Floats, ratings_nJ: Floats, count_n: Floats) -> Floats:
    ratings_nJ = ratings_nJ - np.nanmean(ratings_nJ) if ratings_nJ.size else ratings_nJ
    sum_n, squares_n = np.nansum(ratings_nJ, axis=1), np.nansum(ratings_nJ**2, axis=1)
    apart_n = 2 * (count_n * squares_n - sum_n**2) / np.maximum(count_n - 1, 1)
    total_R, sum_R, squares_R = (weights_Rn @ each_n for each_n in (count_n, sum_n, squares_n))
    expected_R = 2 * (total_R * squares_R - sum_R**2)
    least_R = _LEAST * np.maximum(total_R, 1) ** 2
    return 1 - divide((total_R - 1) * (weights_Rn @ apart_n), np.where(expected_R > least_R, expected_R, 0.0))


def icc_of_raters(weights_RN: Floats, ratings_NJ: Floats) -> Floats:
    """ICC(2,1) (R,), two-way random, absolute agreement, of the clips that all raters rated; NaN where nothing varies.

    Source: McGraw and Wong 1996, Psychological Methods 1, ICC(A,1).
    """
    whole_N = np.asarray(~np.isnan(ratings_NJ).any(axis=1))
    weights_Rn, ratings_nJ = of_clips(weights_RN, whole_N), ratings_NJ[whole_N]
    raters = ratings_NJ.shape[1]
    if raters < 2 or not len(ratings_nJ):
        return np.full(len(weights_RN), np.nan)
    ratings_nJ = ratings_nJ - ratings_nJ.mean()
    clips_R, mean_n = weights_Rn.sum(axis=1), ratings_nJ.mean(axis=1)
    grand_R = divide(weights_Rn @ mean_n, clips_R)
    of_raters_RJ = divide(weights_Rn @ ratings_nJ, clips_R[:, None])
    all_R = weights_Rn @ (ratings_nJ**2).sum(axis=1) - raters * clips_R * grand_R**2
    between_R = raters * (weights_Rn @ mean_n**2 - clips_R * grand_R**2)
    raters_R = clips_R * ((of_raters_RJ - grand_R[:, None]) ** 2).sum(axis=1)
    clip_square_R = divide(between_R, clips_R - 1)
    rater_square_R = raters_R / (raters - 1)
    rest_R = divide(all_R - between_R - raters_R, (clips_R - 1) * (raters - 1))
    below_R = clip_square_R + (raters - 1) * rest_R + divide(raters * (rater_square_R - rest_R), clips_R)
    return divide(clip_square_R - rest_R, np.where(np.abs(below_R) > _LEAST, below_R, 0.0))


def quadratic_agreement(weights_RN: Floats, first_N: Floats, second_N: Floats) -> Floats:
    """Kappa with quadratic weights of steps, Cohen's kappa of 0 and 1, Lin's concordance of numbers (R,): all one."""
    known_N = ~np.isnan(first_N) & ~np.isnan(second_N)
    centre = first_N[known_N].mean() if known_N.any() else 0.0
    return weighted_kappa(of_clips(weights_RN, known_N), first_N[known_N] - centre, second_N[known_N] - centre)


def nominal_agreement(weights_RN: Floats, first_N: Floats, second_N: Floats) -> Floats:
    """Cohen's kappa (R,) of the numbers of kinds; NaN where both give one and the same answer throughout."""
    known_N = ~np.isnan(first_N) & ~np.isnan(second_N)
    weights_Rn, first_n, second_n = of_clips(weights_RN, known_N), first_N[known_N], second_N[known_N]
    total_R = weights_Rn.sum(axis=1)
    same_R = divide(weights_Rn @ (first_n == second_n), total_R)
    by_luck_R = np.zeros(len(total_R))
    for kind in np.unique([*first_n, *second_n]):
        by_luck_R += divide(weights_Rn @ (first_n == kind), total_R) * divide(weights_Rn @ (second_n == kind), total_R)
    unlike_R = 1 - by_luck_R
    return 1 - divide(1 - same_R, np.where(unlike_R > _LEAST, unlike_R, 0.0))


MEASURES = {SCALE: "qwk", NUMBER: "ccc", CHOICE: "kappa", YES_NO: "kappa"}
"""How two answers are held against each other."""
MOST_RATERS = 20
"""Of more ratings a clip only alpha and ICC are given: who gave the 21st of them says little."""
_MODEL, _OTHERS = "model ", "others "


@dataclass(frozen=True)
class RaterMeasures:
    """All that is said of one label's raters; call it with weights (R, N).

    `answers` are the model's and `ratings` (N, J) the raters', as steps, numbers of kinds, 0 and 1, or values.
    """

    label: LabelKind
    ratings: Floats
    answers: Floats

    @property
    def agreement(self) -> Agreement:
        """How two answers are held against each other."""
        return nominal_agreement if self.label.kind == CHOICE else quadratic_agreement

    def __call__(self, weights_RN: Floats) -> Draws:
        """Each measure (R,), NaN where it is undefined."""
        if not np.isnan(self.ratings).any():
            weights_RN = np.asfortranarray(weights_RN)  # one copy for all pairs, see `of_clips`
        values = len(self.label.levels) if self.label.has_levels else 2
        found = {
            "alpha": alpha(weights_RN, self.ratings, self.label.kind, values),
            "icc_2_1": icc_of_raters(weights_RN, self.ratings),
        }
        if self.label.kind == CHOICE:
            found.pop("icc_2_1")
        return found | (self._pairs(weights_RN) if self.ratings.shape[1] <= MOST_RATERS else {})

    def _pairs(self, weights_RN: Floats) -> Draws:
        """The model with each rater, each rater with the others one by one, and with their mean."""
        raters_JN = self.ratings.T
        numbers = range(len(raters_JN))
        of_pair = {
            (one, two): self.agreement(weights_RN, raters_JN[one], raters_JN[two])
            for one, two in itertools.combinations(numbers, 2)
        }
        model = [self.agreement(weights_RN, self.answers, own_N) for own_N in raters_JN]
        others = [mean_of_known([own_R for pair, own_R in of_pair.items() if one in pair]) for one in numbers]
        found = {"model_with_rater": mean_of_known(model), "rater_with_rater": mean_of_known([*of_pair.values()])}
        found["difference"] = found["model_with_rater"] - found["rater_with_rater"]
        if self.label.kind != CHOICE:
            apart = [self.agreement(weights_RN, raters_JN[one], self._others[one]) for one in numbers]
            found["rater_with_mean"] = mean_of_known(apart)
        found |= {f"{_MODEL}{number + 1}": model[number] for number in numbers}
        return found | {f"{_OTHERS}{number + 1}": others[number] for number in numbers}

    @cached_property
    def _others(self) -> list[Floats]:
        """Beside each rater, the mean of the others (N,)."""
        return [self._mean_without(one) for one in range(self.ratings.shape[1])]

    def _mean_without(self, rater: int) -> Floats:
        """The mean of the other raters (N,), as a step or yes or no where ratings are that."""
        mean_N = mean_of_known(np.delete(self.ratings, rater, axis=1), axis=1)
        return mean_N if self.label.kind == NUMBER else nearest_step(mean_N)


def add_raters(
    metrics: Metrics,
    predictions: Predictions,
    kinds: LabelKinds,
    ratings: Mapping[str, Floats],
    thresholds: Mapping[str, float | Floats],
    seed: int,
) -> None:
    """Put "raters" into the entry of each label that more than one person rated: agreement, with intervals by subject.

    `ratings` (N, J) are those of the predictions' clips by label.
    """
    subject_N = number_subjects(predictions.subjects, len(predictions.uids))
    for at, label in enumerate(kinds.labels):
        rated_N = (~np.isnan(ratings[label.name])).sum(axis=1) > 1
        if not rated_N.any():
            continue
        cut = np.broadcast_to(thresholds.get(label.name, DEFAULT_THRESHOLD), len(subject_N))
        answers_N = _answers(label, predictions.of_label(at), cut)[rated_N]
        measure = RaterMeasures(label, _comparable(label, ratings[label.name][rated_N]), answers_N)
        entry = _described(measure, number_subjects(subject_N[rated_N], int(rated_N.sum())), metrics["resamples"], seed)
        metrics["labels"][label.name]["raters"] = entry


def _answers(label: LabelKind, scores_Nw: Floats, cut_N: Floats) -> Floats:
    if label.kind == YES_NO:
        return (scores_Nw[:, 0] >= cut_N).astype(np.float64)
    return called(label, scores_Nw).astype(np.float64)


def _comparable(label: LabelKind, ratings_NJ: Floats) -> Floats:
    if label.kind == SCALE:
        return np.stack([label.steps(own_N) for own_N in ratings_NJ.T], axis=1)
    if label.kind == YES_NO:
        return np.where(np.isnan(ratings_NJ), np.nan, ratings_NJ >= SOFT_POSITIVE)
    return ratings_NJ


def _described(measure: RaterMeasures, subject_n: Any, resamples: int, seed: int) -> dict[str, object]:
    points = {name: float(own[0]) for name, own in measure(np.ones((1, len(subject_n)))).items()}
    draws = bootstrap([measure], subject_n, resamples, seed)[0] if resamples else {}
    people = len(np.unique(subject_n))
    told: dict[str, object] = {
        "n": len(subject_n),
        "most": measure.ratings.shape[1],
        "measure": MEASURES[measure.label.kind],
    }
    each: dict[str, dict[str, float | None]] = {}
    for name, point in points.items():
        value = None if np.isnan(point) else point
        kind, _, number = name.partition(" ")
        if number:
            each.setdefault(f"rater {number}", {})[kind] = value
            continue
        interval = difference_interval if name == "difference" else signed_interval
        pair = interval(point, draws[name], people) if resamples and value is not None else None
        told[name] = {"value": value, "interval": pair}
    return told | ({"each": each} if each else {})
