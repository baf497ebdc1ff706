"""Put what a model does in another place into metrics.json, beside what it did where it was developed.

Shapes: N recordings, n recordings with a target.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssast.metrics.external.development import Development, LabelSummary, Spread, counted_people, label_summary
from ssast.metrics.external.recalibrating import Updates, fit_updates, measures_after
from ssast.metrics.external.shift import Look, label_looks, property_looks
from ssast.metrics.intervals import LEVEL, number_subjects
from ssast.metrics.measures import SOFT_POSITIVE, Floats
from ssast.metrics.predictions import Predictions
from ssast.metrics.review import described, is_yes_no
from ssast.metrics.score_entries import Metrics
from ssast.metrics.subgroups import FEW_PEOPLE
from ssast.metrics.threshold_rules import DEFAULT_THRESHOLD

_RANGE = (0.1, 0.5, 0.9)
_Entry = dict[str, object]


@dataclass(frozen=True)
class Place:
    """What is known of the place where a model is tried, apart from its scores there.

    `properties` are those of the scored recordings. `development` is what the model keeps of its own, None where
    `lacking` says why it keeps nothing. Where scores are recalibrated, `fitted` are those of the people of the
    share that was asked for.
    """

    thresholds: Mapping[str, float]
    properties: Mapping[str, Spread]
    development: Development | None
    lacking: str = ""
    fitted: Predictions | None = None
    about_fitted: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class _Known:
    """The recordings of a label with a target: whether they have it, their scores, and whose they are."""

    positive: NDArray[np.bool_]
    scores: Floats
    subject: NDArray[np.intp]

    @classmethod
    def of(cls, predictions: Predictions, label: str) -> "_Known":
        at, subject_N = predictions.labels.index(label), number_subjects(predictions.subjects, len(predictions.uids))
        targets_N, scores_N = predictions.targets[:, at], predictions.answers[:, at].astype(np.float64)
        valid_N = ~np.isnan(targets_N)
        return cls(targets_N[valid_N] >= SOFT_POSITIVE, scores_N[valid_N], subject_N[valid_N])

    def summary(self, threshold: float) -> LabelSummary:
        return label_summary(self.positive, self.scores, self.scores >= threshold, self.subject)


def label_summaries(
    metrics: Mapping[str, Any], predictions: Predictions, thresholds: Mapping[str, float]
) -> dict[str, LabelSummary]:
    """The people, measures and scores of each yes/no label at its threshold."""
    labels = [label for label in predictions.labels if is_yes_no(metrics, label)]
    return {label: _Known.of(predictions, label).summary(thresholds.get(label, DEFAULT_THRESHOLD)) for label in labels}


def add_external(metrics: Metrics, predictions: Predictions, place: Place) -> None:
    """Put "external" into metrics.json: shifts of inputs and scores, measures there and here, recalibration.

    All that is held against development shares one correction (Bonferroni): where nothing differs, luck names
    anything in at most 5 of 100 sets.
    """
    here, there = label_summaries(metrics, predictions, place.thresholds), place.development
    known = {} if there is None else there.labels
    inputs = {} if there is None else property_looks(place.properties, there.properties)
    labels = {label: label_looks(own, known[label]) for label, own in here.items() if label in known}
    looked_at = len(inputs) + sum(map(len, labels.values()))
    level = 1 - (1 - LEVEL) / max(looked_at, 1)
    updates = {label: _updates(place, label) for label in here} if place.fitted else {}
    metrics["external"] = {
        "looked_at": looked_at,
        "few_people": FEW_PEOPLE,
        "development": None if there is None else _whom(there),
        "inputs": {name: _input(name, place, inputs.get(name), level) for name in place.properties},
        "labels": {
            label: {
                "threshold": place.thresholds.get(label, DEFAULT_THRESHOLD),
                "measures": _measures(own, known.get(label), labels.get(label, {}), level),
                "scores": _scores(own, known.get(label), labels.get(label, {}), level),
                "recalibration": _recalibrated(_Known.of(predictions, label), updates.get(label), place, label),
            }
            for label, own in here.items()
        },
        "recalibrated_on": dict(place.about_fitted) or None,
        "cannot": list(_cannot(metrics, predictions, place, here, updates)),
    }


def _whom(there: Development) -> _Entry:
    return {name: getattr(there, name) for name in ("recordings", "people", "tested", "unit")}


def _updates(place: Place, label: str) -> Updates:
    assert place.fitted is not None
    known = _Known.of(place.fitted, label)
    return fit_updates(known.positive, known.scores, known.subject)


def _spread(own: Spread | None) -> _Entry | None:
    """Middle, and between which values eight of ten people lie."""
    if own is None or not own.people:
        return None
    low, middle, high = own.at(_RANGE)
    return {"people": own.people, "median": middle, "low": low, "high": high}


def _difference(look: Look | None, level: float) -> _Entry:
    if look is None:
        return {"value": None, "interval": None, "is_told": False}
    return {"value": look.value, "interval": look.interval(level), "is_told": look.is_told(level)}


def _input(name: str, place: Place, look: Look | None, level: float) -> _Entry:
    there = place.development.properties.get(name) if place.development else None
    found = {"development": _spread(there), "here": _spread(place.properties[name])}
    return {**found, "above": _difference(look, level)}


def _measures(here: LabelSummary, there: LabelSummary | None, looks: Mapping[str, Look], level: float) -> _Entry:
    found: _Entry = {}
    for name, own in here.measures.items():
        beside = there.measures.get(name) if there else None
        found[name] = {
            "development": None if beside is None else described(beside),
            "here": described(own),
            "gap": _difference(looks.get(name), level),
        }
    return found


def _scores(here: LabelSummary, there: LabelSummary | None, looks: Mapping[str, Look], level: float) -> _Entry:
    found: _Entry = {}
    for name, own in here.scores.items():
        beside = there.scores.get(name) if there else None
        found[name] = {
            "development": _spread(beside),
            "here": _spread(own),
            "above": _difference(looks.get(name), level),
        }
    return found


def _recalibrated(known: _Known, updates: Updates | None, place: Place, label: str) -> _Entry | None:
    """What calibration, Brier score and the carried threshold are before and after, on people that had no part."""
    if updates is None or not len(known.positive):
        return None
    threshold = place.thresholds.get(label, DEFAULT_THRESHOLD)
    found: _Entry = {"people_with": updates.people_with, "people_without": updates.people_without}
    found |= {"reason": updates.reason or None}
    ways = {"before": known.scores}
    for name, update in (("intercept", updates.intercept), ("slope and intercept", updates.both)):
        if update is not None:
            found[f"fit of {name}"] = {"intercept": update.intercept, "slope": update.slope}
            ways[name] = update.apply(known.scores)
    measured = {
        name: measures_after(known.positive, scores_n, threshold, known.subject) for name, scores_n in ways.items()
    }
    found["ways"] = {
        name: {measure: described(own) for measure, own in measures.items()} for name, measures in measured.items()
    }
    return found


def _cannot(
    metrics: Metrics,
    predictions: Predictions,
    place: Place,
    here: Mapping[str, LabelSummary],
    updates: Mapping[str, Updates],
) -> Iterator[str]:
    """What cannot be said, each in a sentence with its reason."""
    if predictions.subjects is None:
        yield (
            "The table does not say who speaks, so each recording counts as a person; "
            "where people have several, the intervals are too narrow"
        )
    if place.development is None:
        yield f"What differs from development: {place.lacking}"
    else:
        yield from _of_inputs(place, place.development)
    for label in predictions.labels:
        if label not in here:
            yield f"{label}: it is not answered by yes or no, so no threshold is carried over and nothing recalibrated"
        else:
            yield from _of_label(label, here[label], place, updates.get(label))


def _of_inputs(place: Place, there: Development) -> Iterator[str]:
    few = {"there": there.people, "here": max((own.people for own in place.properties.values()), default=0)}
    for where, people in few.items():
        if people < FEW_PEOPLE:
            yield (
                f"Shift of the recordings: with {counted_people(people)} "
                f"{'in development' if where == 'there' else 'here'} it is not told from luck; it takes {FEW_PEOPLE}"
            )
    if min(few.values()) < FEW_PEOPLE:
        return
    known = {name: own.people for name, own in place.properties.items() if own.people >= FEW_PEOPLE}
    for name in sorted({*place.properties, *there.properties}):
        if name not in known or name not in there.properties:
            where = "here" if name not in known else "in development"
            yield f"Shift of {name}: it is not known of {FEW_PEOPLE} people {where}"


def _of_label(label: str, here: LabelSummary, place: Place, updates: Updates | None) -> Iterator[str]:
    if label not in place.thresholds:
        yield f"{label}: the model has no threshold of its own to carry over, so {DEFAULT_THRESHOLD:g} calls it"
    if not here.measures:
        yield (
            f"{label}: {counted_people(here.people_with)} with it and {here.people_without} without it here are too "
            f"few to say how well it is told; it takes {FEW_PEOPLE} of each"
        )
    there = place.development.labels.get(label) if place.development else None
    if place.development and there is None:
        yield f"{label}: development keeps no measures of it to hold these against"
    elif there is not None and not there.measures:
        yield (
            f"{label}: {counted_people(there.people_with)} with it and {there.people_without} without it in the "
            f"model's own test were too few to hold these measures against; it takes {FEW_PEOPLE} of each"
        )
    if updates is not None and updates.reason:
        yield f"{label}: {updates.reason}"
    elif updates is not None and updates.both is not None and updates.both.slope <= 0:
        yield (
            f"{label}: the fitted slope is not above 0, so the scores have the wrong order here, "
            "which no recalibration mends"
        )
