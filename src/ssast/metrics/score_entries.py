"""Name what `metrics.json` and a comparison hold; an undefined number is None."""

from collections.abc import Mapping
from typing import Any, NotRequired, TypedDict, cast


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
    n: int
    reason: str | None
    """Why a measure is undefined."""
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
    flow: NotRequired[dict[str, Any]]
    """How many recordings and people came from the table to the score, and what was lost on the way."""
    pooling: NotRequired[str]


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


def measure_of(entry: LabelScores, name: str) -> float | None:
    """A measure by its name; None where it is undefined."""
    return cast(float | None, entry.get(name))
