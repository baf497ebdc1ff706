"""Add to the scores of labels that several people rated how far these agree, and the model with them.

Shapes: R resamples, N clips, J ratings of a clip, NaN where there is none, w outputs of a label.
"""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ssast.metrics.intervals import bootstrap, difference_interval, number_subjects, signed_interval
from ssast.metrics.level_measures import called, nearest_step
from ssast.metrics.measures import SOFT_POSITIVE, Draws, Floats, mean_of_known
from ssast.metrics.predictions import Predictions
from ssast.metrics.raters.agreement import Agreement, alpha, icc_of_raters, nominal_agreement, quadratic_agreement
from ssast.metrics.score_entries import Metrics
from ssast.metrics.threshold_rules import DEFAULT_THRESHOLD
from ssast.model.label_kinds import CHOICE, NUMBER, SCALE, YES_NO, LabelKind, LabelKinds

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
