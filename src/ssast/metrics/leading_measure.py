"""Hold a model against another one on the same clips, by the one measure that leads for the kind of label.

Shapes: N clips, L labels.
"""

from collections.abc import Sequence
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from ssast.metrics.intervals import bootstrap, difference_interval, number_subjects, plain_interval
from ssast.metrics.label_entries import jsonable
from ssast.metrics.measures import Floats, Measure, detection, regression
from ssast.metrics.score_entries import Difference
from ssast.metrics.scores import INTERVALS, Interval, bearing_of
from ssast.metrics.threshold_rules import DEFAULT_THRESHOLD
from ssast.model.label_kinds import NUMBER, LabelKind


class Beside(TypedDict):
    """The other's leading measure, its interval, and how far the model is above it; None where it is undefined."""

    value: float | None
    interval: list[float] | None
    difference: Difference | None


def leading_beside(
    targets_NL: Floats,
    other_NL: Floats,
    model_NL: Floats,
    labels: Sequence[str],
    kind: str,
    *,
    subjects: Sequence[Any] | NDArray[Any] | None,
    resamples: int,
    seed: int,
) -> dict[str, Beside]:
    """The other's leading measure and interval by label, and how far the model is above it over the same resamples.

    Yes/no labels are held by AUC, numbers by Pearson's correlation; the numbers are those of `score` and of
    `paired_differences`, which compute every measure.
    """
    name, subject_N = ("pearson" if kind == NUMBER else "auc"), number_subjects(subjects, len(targets_NL))
    measures = [
        _leading(kind, targets_N, scores_N)
        for each_NL in (other_NL, model_NL)
        for targets_N, scores_N in zip(targets_NL.T, each_NL.T, strict=True)
    ]
    points = [float(measure(np.ones((1, len(targets_NL))))[name][0]) for measure in measures]
    draws = [own[name] for own in bootstrap(measures, subject_N, resamples, seed)] if resamples else []
    found: dict[str, Beside] = {}
    for at, label in enumerate(labels):
        count = bearing_of(LabelKind(label, kind), targets_NL[:, at], subject_N)[name]
        value, above = points[at], points[at + len(labels)] - points[at]
        found[label] = Beside(value=jsonable({name: value})[name], interval=None, difference=None)
        if draws:
            apart = difference_interval if name == "auc" else plain_interval
            pair = _span(apart, above, draws[at + len(labels)] - draws[at], count)
            found[label]["interval"] = _span(INTERVALS[name], value, draws[at], count)
            found[label]["difference"] = {"difference": jsonable({name: above})[name], "interval": pair}
    return found


def _span(interval: Interval, point: float, draws_R: Floats, count: int) -> list[float] | None:
    return None if np.isnan(point) else interval(point, draws_R, count)


def _leading(kind: str, targets_N: Floats, scores_N: Floats) -> Measure:
    """What computes the leading measure, and for yes/no labels no other."""
    if kind == NUMBER:
        return regression(targets_N, scores_N)
    of_label = detection(targets_N, scores_N, DEFAULT_THRESHOLD)
    return lambda weights_RN: {"auc": of_label.auc(weights_RN)}
