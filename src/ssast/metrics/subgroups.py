"""Score groups of people apart, and tell their gaps from luck, corrected for how many gaps are looked at.

Shapes: N clips, n clips of one group with a target.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssast.metrics.calibration import bearing_people, recalibration
from ssast.metrics.estimates import SHARE, Estimate, auc_of, people_with, share_of, welch_freedom
from ssast.metrics.intervals import LEVEL, number_subjects
from ssast.metrics.measures import SOFT_POSITIVE, Floats
from ssast.metrics.predictions import Predictions
from ssast.metrics.review import described, is_yes_no
from ssast.metrics.score_entries import Metrics
from ssast.metrics.threshold_rules import DEFAULT_THRESHOLD
from ssast.model.label_kinds import CALLED

FEW_PEOPLE = 10
"""A group with fewer people with the label, or fewer without it, is too small for anything to be said of it."""
GAP_MEASURES = ("auc", "sensitivity", "calibration_slope", "calibration_intercept")


@dataclass(frozen=True)
class GroupColumn:
    """A column of the table that puts clips into groups: the group of each clip (N,), None where it has none.

    `note` says how numbers were cut.
    """

    name: str
    groups: list[str | None]
    note: str = ""

    @property
    def names(self) -> list[str]:
        """The groups, in the order in which they are shown."""
        return sorted({group for group in self.groups if group is not None}, key=_as_number)

    def at(self, rows: Sequence[int]) -> "GroupColumn":
        """Return the groups of some clips."""
        return GroupColumn(self.name, [self.groups[row] for row in rows], self.note)


def _as_number(name: str) -> tuple[float, str]:
    """Cut numbers in their order, `under` first; names by the alphabet."""
    head = name.removeprefix("under ").split(" ")[0]
    try:
        return float(head) - 0.5 * name.startswith("under "), name
    except ValueError:
        return 0.0, name


@dataclass(frozen=True)
class Question:
    """What is asked of each clip, yes or no: its answers, NaN where not known, its scores, and what calls them (N,)."""

    targets: Floats
    scores: Floats
    cut: Floats


def questions(
    metrics: Mapping[str, Any], predictions: Predictions, thresholds: Mapping[str, float | Floats]
) -> dict[str, Question]:
    """Each yes/no label, and each scale with a cut as whether it is at least there, by their names in words."""
    clips, found = len(predictions.uids), {}
    for at, label in enumerate(predictions.labels):
        scores_Nw, targets_N = predictions.of_label(at), predictions.targets[:, at]
        kind = None if predictions.kinds is None else predictions.kinds.labels[at]
        if is_yes_no(metrics, label):
            cut = np.broadcast_to(thresholds.get(label, DEFAULT_THRESHOLD), clips)
            found[label] = Question(targets_N, scores_Nw[:, 0], cut)
        elif kind is not None and kind.is_cut:
            (place,) = kind.asked
            targets_N = kind.spread(targets_N)[:, place]
            found[kind.outputs[place]] = Question(targets_N, scores_Nw[:, place], np.full(clips, CALLED))
    return found


def unquestioned(metrics: Mapping[str, Any], predictions: Predictions) -> list[str]:
    """The labels that are no question: numbers, choices, and scales without a cut."""
    kinds = [None] * len(predictions.labels) if predictions.kinds is None else predictions.kinds.labels
    return [
        label
        for label, kind in zip(predictions.labels, kinds, strict=True)
        if not is_yes_no(metrics, label) and not (kind is not None and kind.is_cut)
    ]


Known = dict[str, tuple[dict[str, Estimate], dict[str, Any]]]
"""By group its measures and its counts."""


def add_subgroups(
    metrics: Metrics,
    predictions: Predictions,
    thresholds: Mapping[str, float | Floats],
    columns: Sequence[GroupColumn],
) -> None:
    """Put the scores of groups under "groups" in metrics.json: of each question, and each gap to the largest group.

    Intervals of gaps are Bonferroni's: all gaps of all labels together miss the truth in at most 5 of 100 sets.
    """
    asked = questions(metrics, predictions, thresholds)
    if not columns or not asked:
        return
    subject_N = number_subjects(predictions.subjects, len(predictions.uids))
    known: dict[str, dict[str, Known]] = {}
    for column in columns:
        own = known.setdefault(column.name, {})
        for name, question in asked.items():
            own[name] = _by_group(column, question.targets, question.scores, question.cut, subject_N)
    looked_at = sum(len(_gaps(found)) for own in known.values() for found in own.values())
    level = 1 - (1 - LEVEL) / max(looked_at, 1)
    metrics["groups"] = {
        "looked_at": looked_at,
        "few_people": FEW_PEOPLE,
        "not_looked_at": unquestioned(metrics, predictions),
        "columns": {column.name: _described(column, known[column.name], level) for column in columns},
    }


def _by_group(column: GroupColumn, targets_N: Floats, scores_N: Floats, cut_N: Floats, subject_N: Any) -> Known:
    group_N, subjects = np.array(column.groups, dtype=object), int(subject_N.max(initial=-1)) + 1
    found: Known = {}
    for name in column.names:
        own_N = (group_N == name) & ~np.isnan(targets_N)
        positive_n, scores_n = targets_N[own_N] >= SOFT_POSITIVE, scores_N[own_N].astype(np.float64)
        counts = {
            "n": int(own_N.sum()),
            "events": int(positive_n.sum()),
            "people": len(np.unique(subject_N[own_N])),
            "people_with": people_with(positive_n, subject_N[own_N]),
            "people_without": people_with(~positive_n, subject_N[own_N]),
        }
        is_enough = min(counts["people_with"], counts["people_without"]) >= FEW_PEOPLE
        called_n = scores_n >= cut_N[own_N]
        measures = group_measures(positive_n, scores_n, called_n, subject_N[own_N], subjects) if is_enough else {}
        found[name] = measures, counts
    return found


def group_measures(
    positive_n: NDArray[np.bool_],
    scores_n: Floats,
    called_n: NDArray[np.bool_],
    subject_n: NDArray[np.intp],
    subjects: int,
) -> dict[str, Estimate]:
    """The measures by which groups are held against each other."""
    fit = recalibration(positive_n, scores_n, subject_n, subjects)
    return {
        "auc": auc_of(positive_n, scores_n, subject_n, subjects, bearing_people(positive_n, subject_n)),
        "sensitivity": share_of(called_n, positive_n, subject_n, subjects),
        "calibration_slope": fit.slope,
        "calibration_intercept": fit.intercept,
    }


def _reference(found: Known) -> str | None:
    """The group with the most people, of those that are large enough."""
    enough = {name: counts["people"] for name, (measures, counts) in found.items() if measures}
    return max(enough, key=lambda name: enough[name]) if enough else None


def _gaps(found: Known) -> list[tuple[str, str]]:
    """Each gap that can be looked at: of which group to the largest one, in which measure."""
    reference = _reference(found)
    if reference is None:
        return []
    beside = {name: own for name, (own, _) in found.items() if own and name != reference}
    return [
        (name, measure)
        for name, own in beside.items()
        for measure in GAP_MEASURES
        if gap_interval(own[measure], found[reference][0][measure], LEVEL, same_people=True) is not None
    ]


def gap_interval(own: Estimate, other: Estimate, level: float, *, same_people: bool = False) -> list[float] | None:
    """The interval of own less other (MOVER, Zou and Donner 2008, Statistics in Medicine 27).

    It is put together from the intervals of both, which keep to the scales of their measures, with Welch's degrees of
    freedom. Those of shares are Wilson's: on the scale of log-odds a gap of two shares of few people is too wide.
    `same_people` says that both have a pull for each of the same subjects (S,), of whom some may be in both groups;
    otherwise the groups are of different people.
    """
    if own.interval(level) is None or other.interval(level) is None:
        return None
    freedom = welch_freedom([own.error**2, other.error**2], [own.bearing - 1, other.bearing - 1])
    shared = _shared(own.pulls, other.pulls) if same_people else 0.0
    alike = _alike(own.pulls, other.pulls) if shared else 0.0
    freedom = min(freedom, own.bearing + other.bearing - shared * min(own.bearing, other.bearing) - 1)
    if own.scale == SHARE:
        pair, beside = (each.score_interval(level, freedom) for each in (own, other))
    else:
        pair, beside = (each.interval(level, freedom=freedom) or [] for each in (own, other))
    gap = own.value - other.value
    low = gap - _reach(own.value - pair[0], beside[1] - other.value, alike)
    high = gap + _reach(pair[1] - own.value, other.value - beside[0], alike)
    return [low, high] if own.scale != SHARE else [max(low, -1.0), min(high, 1.0)]


def _shared(first_S: Floats, second_S: Floats) -> float:
    """Which share of the people in the smaller group are in the other too, by the pulls of both."""
    fewer = min(np.count_nonzero(first_S), np.count_nonzero(second_S))
    return np.count_nonzero(first_S * second_S) / fewer if fewer else 0.0


def _alike(first_S: Floats, second_S: Floats) -> float:
    """The correlation of the errors of two measures, by how each subject pulls both."""
    size = float(np.sqrt((first_S**2).sum() * (second_S**2).sum()))
    return float((first_S * second_S).sum()) / size if size > 0 else 0.0


def _reach(own: float, other: float, alike: float) -> float:
    """How far a difference reaches whose two parts reach so far, with this correlation of their errors."""
    if alike == 0:
        return float(np.hypot(own, other))
    return float(np.sqrt(max(own**2 + other**2 - 2 * alike * own * other, 0.0)))


def _described(column: GroupColumn, labels: Mapping[str, Known], level: float) -> dict[str, Any]:
    told = {}
    for label, found in labels.items():
        reference = _reference(found)
        told[label] = {
            "reference": reference,
            "groups": {
                name: counts | {measure: described(own) for measure, own in measures.items()}
                for name, (measures, counts) in found.items()
            },
            "gaps": [_gap(found, name, measure, str(reference), level) for name, measure in _gaps(found)],
        }
    without = sum(group is None for group in column.groups)
    return {"note": column.note, "without": without, "labels": told}


def _gap(found: Known, name: str, measure: str, reference: str, level: float) -> dict[str, Any]:
    own, other = found[name][0][measure], found[reference][0][measure]
    pair = gap_interval(own, other, level, same_people=True)
    is_told = pair is not None and not pair[0] <= 0 <= pair[1]
    return {"group": name, "measure": measure, "value": own.value - other.value, "interval": pair, "is_told": is_told}
