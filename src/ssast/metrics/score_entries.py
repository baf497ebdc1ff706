"""Name what `metrics.json` and a comparison hold; an undefined number is None."""

from collections.abc import Mapping, Sequence
from typing import Any, NotRequired, TypedDict, cast

from ssast.model.label_kinds import MIXED, LabelKinds


class LabelScores(TypedDict, total=False):
    """The measures of one label, or their means over the labels, and what they rest on."""

    auc: float | None
    average_precision: float | None
    f1: float | None
    sensitivity: float | None
    specificity: float | None
    prevalence: float | None
    brier: float | None
    ece: float | None
    mae: float | None
    rmse: float | None
    pearson: float | None
    spearman: float | None
    ccc: float | None
    qwk: float | None
    mae_steps: float | None
    accuracy: float | None
    balanced_accuracy: float | None
    n: int
    reason: str | None
    """Why a measure is undefined."""
    kind: str
    """What a label of levels is; others are as the loss says."""
    levels: list[float] | list[str]
    cut: float
    confusion: list[list[int]]
    """How many clips of each level (a row) were called each level (a column)."""
    raters: dict[str, object]
    """How far several raters agree with each other, and the model with them (`raters.py`)."""
    threshold: float | None
    n_positive: int
    baseline: dict[str, float | None]
    """By measure, what answers without a model reach."""
    intervals: dict[str, list[float] | None]
    """By measure, low and high (95 %)."""
    review: dict[str, Any]
    """Of a yes/no label: calibration, net benefit, predictive values, how sure the set can be (`review.py`)."""
    chance: dict[str, float | None]
    """By measure, the level that shuffled labels stay below."""


class Metrics(TypedDict):
    """The content of `metrics.json`; `by_subject` holds the same of subjects in place of clips."""

    n: int
    subjects: int | None
    loss: str
    resamples: int
    notes: str
    mean: LabelScores
    labels: dict[str, LabelScores]
    unit: NotRequired[str]
    left_out: NotRequired[int | list[str]]
    """How many clips could not be used; of subjects, the labels that vary within one."""
    not_scored: NotRequired[list[str]]
    """Labels of the model that the csv lacks."""
    heard: NotRequired[dict[str, int]]
    """How many clips a model hears otherwise than they are, by what is found."""
    unheard: NotRequired[dict[str, float]]
    """How many clips are longer than what is heard of them, and how many seconds of sound that leaves."""
    by_subject: NotRequired["Metrics | None"]
    plain_baseline: NotRequired[dict[str, Any]]
    """What loudness, length and the average spectrum reach on the same clips."""
    groups: NotRequired[dict[str, Any]]
    """The scores of groups of people and the gaps between them (`subgroups.py`)."""
    sites: NotRequired[Mapping[str, Any]]
    """Where each site was left out once: its recordings and people, and what cannot be said of it."""
    external: NotRequired[Mapping[str, Any]]
    """What differs here from where the model was developed, and what recalibration mends (`external/place.py`)."""
    overlap: NotRequired[str]
    """What speaks against the scores: recordings or people that the model was trained on."""
    flow: NotRequired[dict[str, Any]]
    """How many recordings and people came from the table to the score, and what was lost on the way."""
    pooling: NotRequired[str]
    kinds: NotRequired[Mapping[str, Mapping[str, Any]]]
    """Of labels of several kinds, by kind: "labels", their names, and their "mean" and "notes"."""


class Difference(TypedDict):
    """How far a measure of the second run lies above that of the first, with its interval (95 %)."""

    difference: float | None
    interval: list[float] | None


class Differences(TypedDict):
    """The differences of two runs by measure: their mean over the labels, and those of each label."""

    n: int
    resamples: int
    mean: dict[str, Difference]
    labels: dict[str, dict[str, Difference]]


def merged(parts: Mapping[str, Metrics], labels: Sequence[str]) -> Metrics:
    """The scores of labels of several kinds, from those of each kind; the AUC is what most of them share."""
    entries = {name: own for part in parts.values() for name, own in part["labels"].items()}
    for kind, part in parts.items():
        for own in part["labels"].values():
            own["kind"] = kind
    aucs = [auc for own in entries.values() if (auc := own.get("auc")) is not None]
    first = next(iter(parts.values()))
    kept = {
        kind: {"labels": list(own["labels"]), "mean": own["mean"], "notes": own["notes"]} for kind, own in parts.items()
    }
    mean: LabelScores = {"auc": sum(aucs) / len(aucs) if aucs else None}
    notes = "Labels of several kinds: the mean over those of each is in kinds."
    return {
        **first,
        "loss": MIXED,
        "notes": notes,
        "mean": mean,
        "labels": {n: entries[n] for n in labels},
        "kinds": kept,
    }


def parts_of(metrics: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The scores of each kind of labels as if it were alone; of labels of one kind all of them."""
    if metrics["loss"] != MIXED:
        return [metrics]
    return [
        {
            **metrics,
            "loss": kind,
            "mean": own["mean"],
            "labels": {name: metrics["labels"][name] for name in own["labels"]},
        }
        for kind, own in metrics["kinds"].items()
    ]


def kind_of(metrics: Mapping[str, Any], label: str) -> str:
    """What a label of `metrics.json` is: its own kind, or that of all."""
    return str(metrics["labels"][label].get("kind", metrics["loss"]))


def kinds_of(metrics: Mapping[str, Any]) -> LabelKinds:
    """What the labels of `metrics.json` are."""
    labels = metrics["labels"]
    entries = [{**own, "kind": kind_of(metrics, name)} for name, own in labels.items()]
    return LabelKinds.of_entries(metrics["loss"], list(labels), entries)


def measure_of(entry: LabelScores, name: str) -> float | None:
    """A measure by its name; None where it is undefined."""
    return cast(float | None, entry.get(name))
