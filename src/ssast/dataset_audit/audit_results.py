"""Name what `audit.json` holds; an undefined number is None."""

from typing import NotRequired, TypedDict


class Measured(TypedDict):
    """AUC or rank correlation on `n` clips, with its interval (95 %)."""

    value: float | None
    interval: list[float] | None
    n: int


class KindShare(TypedDict):
    """How many clips are of a kind, or in a fifth of an amount, and the mean of the label there."""

    name: str
    n: int
    mean: float


class TraitResult(Measured):
    """What one trait alone tells of one label, by the better of its two ways."""

    way: str
    """amount or kinds"""
    rises: bool | None
    """Whether the label rises with the amount."""
    place: NotRequired[int]
    """Number of the way, until luck is known."""
    from_train: Measured | None
    """On test.csv, what train.csv alone teaches."""
    kinds: list[KindShare]
    is_practical: bool
    chance: NotRequired[float]
    """The level that luck reaches at most."""
    away: NotRequired[float]
    p: NotRequired[float]
    is_flagged: NotRequired[bool]
    beyond_luck: NotRequired[str]
    """yes, unsure, tiny or no"""
    is_form: NotRequired[bool]


class BeforeAfter(TypedDict):
    """A measure on all clips, and on those alike in a trait."""

    before: Measured
    after: Measured


class MatchedResult(TypedDict):
    """What is left on clips that are alike `on` a trait: of the trait, and of a model where one is given."""

    on: str
    n: int
    kept: int
    kept_subjects: int
    is_enough: bool
    trait: BeforeAfter
    model: BeforeAfter | None


class LabelResult(TypedDict):
    """What tells one label; `reason` says why nothing could be asked."""

    n: int
    n_positive: int | None
    reason: str | None
    traits: dict[str, TraitResult]
    matched: NotRequired[list[MatchedResult]]


class TraitFacts(TypedDict):
    """What a trait is called, where it comes from, and how many kinds it has (None: an amount)."""

    title: str
    source: str
    kinds: int | None


class LeakedRow(TypedDict):
    """One row of a csv that is there twice."""

    uid: str
    split: str
    detail: str


class Leak(TypedDict):
    """What a kind of leak means, and the rows where it was found."""

    meaning: str
    found: list[LeakedRow]


class LeakRow(TypedDict):
    """A way to leak, its status, and what was found or why it cannot be seen."""

    row: str
    status: str
    what: str


class AuditResults(TypedDict):
    """The content of `audit.json`; the last four parts are of the recordings, not of labels."""

    n: int
    splits: dict[str, int]
    subjects: int | None
    unit: str
    loss: str
    measure: str
    resamples: int
    looks: int
    traits: dict[str, TraitFacts]
    left_out: dict[str, str]
    labels: dict[str, LabelResult]
    leaks: NotRequired[dict[str, Leak]]
    taxonomy: NotRequired[list[LeakRow]]
    not_read: NotRequired[dict[str, str]]
    doubts: NotRequired[dict[str, dict[str, str]]]
