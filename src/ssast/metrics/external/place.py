"""Put what a model does in another place into metrics.json, beside what it did where it was developed."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ssast.metrics.estimates import Estimate
from ssast.metrics.external.answers import Answers, answers_of
from ssast.metrics.external.categories import Shares, beside, category_looks
from ssast.metrics.external.development import Development, LabelSummary, Spread
from ssast.metrics.external.looks import Look
from ssast.metrics.external.recalibrating import Updates
from ssast.metrics.external.shift import label_looks, property_looks
from ssast.metrics.external.unsaid import LabelHere, unsaid_of_categories, unsaid_of_inputs, unsaid_of_label
from ssast.metrics.intervals import LEVEL
from ssast.metrics.predictions import Predictions
from ssast.metrics.review import described
from ssast.metrics.score_entries import Metrics
from ssast.metrics.subgroups import FEW_PEOPLE
from ssast.metrics.threshold_rules import DEFAULT_THRESHOLD
from ssast.model.label_kinds import CALLED, CHOICE, YES_NO, LabelKinds

_RANGE = (0.1, 0.5, 0.9)
_WHOM = ("recordings", "people", "tested", "unit")
_Entry = dict[str, object]


@dataclass(frozen=True)
class Place:
    """What is known of the place where a model is tried, apart from its scores there.

    `properties` and `categories` are those of the scored recordings and people. `development` is what the model keeps
    of its own, None where `lacking` says why it keeps nothing. Where scores are recalibrated, `fitted` are those of
    the people of the share that was asked for.
    """

    thresholds: Mapping[str, float]
    properties: Mapping[str, Spread]
    development: Development | None
    lacking: str = ""
    fitted: Predictions | None = None
    about_fitted: Mapping[str, object] = field(default_factory=dict)
    categories: Mapping[str, Shares] = field(default_factory=dict)


def label_summaries(
    metrics: Mapping[str, Any], predictions: Predictions, thresholds: Mapping[str, float]
) -> dict[str, LabelSummary]:
    """The people, measures and scores of each label, of yes/no labels at their thresholds."""
    return {label: own.summary() for label, own in _answers(metrics, predictions, thresholds).items()}


def _answers(
    metrics: Mapping[str, Any], predictions: Predictions, thresholds: Mapping[str, float]
) -> dict[str, Answers]:
    kinds = predictions.kinds or LabelKinds.plain(metrics["loss"], predictions.labels)
    return {
        label: answers_of(predictions, kinds, label, thresholds.get(label, DEFAULT_THRESHOLD)) for label in kinds.names
    }


def add_external(metrics: Metrics, predictions: Predictions, place: Place) -> None:
    """Put "external" into metrics.json: shifts of inputs and scores, measures there and here, recalibration.

    All that is held against development shares one correction (Bonferroni): where nothing differs, luck names
    anything in at most 5 of 100 sets.
    """
    there, known = place.development, place.development.labels if place.development else {}
    inputs = {} if there is None else property_looks(place.properties, there.properties)
    pairs = {} if there is None else _shared(place.categories, there.categories)
    categories = {column: category_looks(own) for column, own in pairs.items()}
    fitted = {} if place.fitted is None else _answers(metrics, place.fitted, place.thresholds)
    here = {
        label: LabelHere(own, own.summary(), known.get(label), fitted[label].fit() if _is_fitted(own, fitted) else None)
        for label, own in _answers(metrics, predictions, place.thresholds).items()
    }
    labels = {label: label_looks(own.summary, own.there) for label, own in here.items() if own.there is not None}
    looked_at = len(inputs) + sum(map(len, [*labels.values(), *categories.values()]))
    level = 1 - (1 - LEVEL) / max(looked_at, 1)
    metrics["external"] = {
        "looked_at": looked_at,
        "few_people": FEW_PEOPLE,
        "development": None if there is None else {name: getattr(there, name) for name in _WHOM},
        "inputs": {name: _input(name, place, inputs.get(name), level) for name in place.properties},
        "categories": {column: _category(own, categories[column], level) for column, own in pairs.items()},
        "labels": {label: _label(own, labels.get(label, {}), level) for label, own in here.items()},
        "recalibrated_on": dict(place.about_fitted) or None,
        "cannot": list(_cannot(predictions, place, here)),
    }


def _is_fitted(own: Answers, fitted: Mapping[str, Answers]) -> bool:
    return own.label.kind != CHOICE and own.label.name in fitted


def _shared(here: Mapping[str, Shares], there: Mapping[str, Shares]) -> dict[str, dict[str, tuple[Estimate, Estimate]]]:
    found = {column: beside(own, there[column]) for column, own in here.items() if column in there}
    return {column: pairs for column, pairs in found.items() if pairs}


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


def _category(
    pairs: Mapping[str, tuple[Estimate, Estimate]], looks: Mapping[str, Look], level: float
) -> dict[str, _Entry]:
    return {
        name: {"development": described(there), "here": described(here), "gap": _difference(looks.get(name), level)}
        for name, (here, there) in pairs.items()
    }


def _label(own: LabelHere, looks: Mapping[str, Look], level: float) -> _Entry:
    found: _Entry = {}
    label = own.answers.label
    if label.kind != YES_NO:
        found["kind"] = label.kind
    if label.kind == YES_NO:
        found["threshold"] = own.answers.threshold
    elif label.is_cut:
        found |= {"cut": label.cut, "threshold": CALLED}
    return {
        **found,
        "measures": _measures(own, looks, level),
        "scores": _scores(own, looks, level),
        "recalibration": _recalibrated(own.answers, own.updates),
    }


def _measures(own: LabelHere, looks: Mapping[str, Look], level: float) -> _Entry:
    found: _Entry = {}
    for name, here in own.summary.measures.items():
        beside = own.there.measures.get(name) if own.there else None
        found[name] = {
            "development": None if beside is None else described(beside),
            "here": described(here),
            "gap": _difference(looks.get(name), level),
        }
    return found


def _scores(own: LabelHere, looks: Mapping[str, Look], level: float) -> _Entry:
    found: _Entry = {}
    for name, here in own.summary.scores.items():
        found[name] = {
            "development": _spread(own.there.scores.get(name) if own.there else None),
            "here": _spread(here),
            "above": _difference(looks.get(name), level),
        }
    return found


def _recalibrated(answers: Answers, updates: Updates | None) -> _Entry | None:
    """What calibration, errors and the carried threshold are before and after, on people that had no part."""
    if updates is None or not len(answers.targets):
        return None
    found: _Entry = {"people_with": updates.people_with, "people_without": updates.people_without}
    found |= {"reason": updates.reason or None}
    ways = {"before": answers}
    for name, update in (("intercept", updates.intercept), ("slope and intercept", updates.both)):
        if update is not None:
            found[f"fit of {name}"] = {"intercept": update.intercept, "slope": update.slope}
            ways[name] = answers.updated(update)
    found["ways"] = {
        name: {measure: described(each) for measure, each in own.calibration().items()} for name, own in ways.items()
    }
    return found


def _cannot(predictions: Predictions, place: Place, here: Mapping[str, LabelHere]) -> Iterator[str]:
    """What cannot be said, each in a sentence with its reason."""
    if predictions.subjects is None:
        yield (
            "The table does not say who speaks, so each recording counts as a person; "
            "where people have several, the intervals are too narrow"
        )
    if place.development is None:
        yield f"What differs from development: {place.lacking}"
    else:
        yield from unsaid_of_inputs(place.properties, place.development)
        yield from unsaid_of_categories(place.categories, place.development.categories)
    for label, own in here.items():
        yield from unsaid_of_label(label, own, place.thresholds, is_developed=place.development is not None)
