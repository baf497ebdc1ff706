"""Say of each label what kind of answer it has, and where that lies among the outputs of a model.

The one place that knows: a yes/no label (BCE) and a number (MSE) have one output, a scale (ordinal) one for each cut
between two levels, whose score is the probability of at least that level, and a choice (CE) one for each kind.
Shapes: N clips, L labels, K levels, W outputs of all labels, w of one.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
KindEntry = dict[str, object]
"""What config.json, metrics.json and labels.yaml say of one label."""
YES_NO, NUMBER, SCALE, CHOICE = LABEL_KINDS = ("BCE", "MSE", "ordinal", "CE")
KIND_WORDS = {YES_NO: "yes or no", NUMBER: "a number", SCALE: "a scale", CHOICE: "one kind"}
MIXED = "mixed"
"""The loss of a model whose labels are of several kinds."""
ENTRIES = ("kind", "levels", "cut", "weight", "raters")
"""What is said of a label in config.json and labels.yaml."""
MOST_LEVELS = 100
CALLED = 0.5
"""A scale's answer is the highest level that is at least so likely to be reached: the median, as CORAL has it."""
LONGEST_LEVEL = 100


@dataclass(frozen=True)
class LabelKind:
    """A label: its name and kind, the levels of a scale (rising numbers) or the kinds of a choice (text).

    `cut` is the level of a scale from which it counts as present, `weight` what its loss counts, `raters` are the
    columns of the single ratings.
    """

    name: str
    kind: str = YES_NO
    levels: tuple[Any, ...] = ()
    cut: float | None = None
    weight: float = 1.0
    raters: tuple[str, ...] = ()

    @property
    def width(self) -> int:
        """How many outputs the label has."""
        return {SCALE: len(self.levels) - 1, CHOICE: len(self.levels)}.get(self.kind, 1)

    @property
    def has_levels(self) -> bool:
        """Whether it is a scale or a choice."""
        return self.kind in (SCALE, CHOICE)

    @property
    def is_cut(self) -> bool:
        """Whether it is a scale that counts as present from a level on."""
        return self.kind == SCALE and self.cut is not None

    @property
    def shown_levels(self) -> list[str]:
        """The levels as text."""
        return [shown_level(level) for level in self.levels]

    @property
    def outputs(self) -> list[str]:
        """What each output says, in words: the label, `breathy at least 2`, `voice: creaky`."""
        if self.kind == SCALE:
            return [f"{self.name} at least {level}" for level in self.shown_levels[1:]]
        return [f"{self.name}: {level}" for level in self.shown_levels] if self.kind == CHOICE else [self.name]

    @property
    def asked(self) -> list[int]:
        """The outputs to explain. All cuts of a scale share their weights: its own, or the middle, does for all."""
        if self.kind != SCALE:
            return list(range(self.width))
        return [self.levels.index(self.cut) - 1 if self.cut is not None else (self.width - 1) // 2]

    def steps(self, values_N: Doubles) -> Doubles:
        """Values of a scale as places among its levels, 0 for the lowest; those between two levels lie between."""
        values = np.asarray(values_N, dtype=np.float64)
        steps_N = np.interp(values, np.array(self.levels, dtype=np.float64), np.arange(len(self.levels)))
        return np.where(np.isnan(values), np.nan, steps_N)

    def spread(self, values_N: Doubles) -> Doubles:
        """The targets of the outputs (N, w) of the label's values: a scale's as at least each cut, a choice's one-hot.

        A value between two levels, such as a mean of ratings, is shared between both. NaN stays NaN.
        """
        values = np.asarray(values_N, dtype=np.float64)[:, None]
        if self.kind == SCALE:
            return np.clip(self.steps(values[:, 0])[:, None] - np.arange(self.width), 0, 1)
        if self.kind == CHOICE:
            return np.where(np.isnan(values), np.nan, values == np.arange(self.width))
        return values

    def level_chances(self, scores_Nw: Doubles) -> Doubles:
        """The probability of each level (N, K) of the label's scores; of a yes/no label or a number the scores."""
        scores = np.asarray(scores_Nw, dtype=np.float64)
        if self.kind == CHOICE:
            return scores / np.maximum(scores.sum(axis=1, keepdims=True), 1e-12)
        if self.kind != SCALE:
            return scores
        edges = np.concatenate([np.ones((len(scores), 1)), scores, np.zeros((len(scores), 1))], axis=1)
        return np.clip(-np.diff(edges, axis=1), 0, 1)

    def answers(self, scores_Nw: Doubles) -> Doubles:
        """One number a clip (N,): the probability or value, the expected level, the number of the likeliest kind."""
        scores = np.asarray(scores_Nw, dtype=np.float64)
        if self.kind == SCALE:
            return float(self.levels[0]) + scores @ np.diff(np.array(self.levels, dtype=np.float64))
        return scores.argmax(axis=1).astype(np.float64) if self.kind == CHOICE else scores[:, 0]

    def entry(self) -> KindEntry:
        """Return the label's kind as config.json and metrics.json name it; what is as usual is left out."""
        kept = {"levels": list(self.levels), "cut": self.cut, "weight": self.weight, "raters": list(self.raters)}
        usual = LabelKind("")
        given = {name: value for name, value in kept.items() if value not in ([], getattr(usual, name))}
        return {"kind": self.kind, **given}


def shown_level(level: Any) -> str:
    """A level as text: `3`, `2.5`, `creaky`."""
    return level if isinstance(level, str) else f"{level:g}"


@dataclass(frozen=True)
class LabelKinds:
    """The labels of a model in their order, and where the outputs of each lie."""

    labels: tuple[LabelKind, ...]

    @classmethod
    def plain(cls, loss: str, names: Iterable[str]) -> "LabelKinds":
        """Labels that are all yes/no (BCE) or all numbers (MSE)."""
        return cls(tuple(LabelKind(name, loss) for name in names))

    @classmethod
    def of_entries(cls, loss: str, names: Sequence[str], entries: Sequence[Mapping[str, Any]] | None) -> "LabelKinds":
        """Read the kinds that a model's config, or the labels in metrics.json, have."""
        if entries is None:
            return cls.plain(loss, names)
        made = []
        for name, entry in zip(names, entries, strict=True):
            own = {key: entry[key] for key in ENTRIES if entry.get(key) is not None}
            own |= {key: tuple(own[key]) for key in ("levels", "raters") if key in own}
            made.append(LabelKind(name, **own))
        return cls(tuple(made))

    @property
    def names(self) -> list[str]:
        """The names of the labels."""
        return [label.name for label in self.labels]

    @property
    def loss(self) -> str:
        """The kind that all labels have, or "mixed"."""
        kinds = {label.kind for label in self.labels}
        return kinds.pop() if len(kinds) == 1 else MIXED if kinds else YES_NO

    @property
    def is_plain(self) -> bool:
        """Whether nothing is to be known of the labels but that all are yes/no, or all numbers."""
        return self.loss in (YES_NO, NUMBER) and all(label == LabelKind(label.name, self.loss) for label in self.labels)

    @property
    def has_levels(self) -> bool:
        """Whether a scale or a choice is among them."""
        return any(label.has_levels for label in self.labels)

    @cached_property
    def width(self) -> int:
        """How many outputs all labels have."""
        return sum(label.width for label in self.labels)

    @cached_property
    def slices(self) -> list[slice]:
        """The outputs of each label."""
        ends = np.cumsum([label.width for label in self.labels]).tolist()
        return [slice(end - label.width, end) for end, label in zip(ends, self.labels, strict=True)]

    @property
    def outputs(self) -> list[str]:
        """What each output says, in words."""
        return [name for label in self.labels for name in label.outputs]

    @property
    def asked(self) -> list[int]:
        """The numbers of the outputs to explain."""
        return [own.start + at for label, own in zip(self.labels, self.slices, strict=True) for at in label.asked]

    @property
    def numbers(self) -> list[int]:
        """The numbers of the outputs that give a number, not a probability."""
        return [own.start for label, own in zip(self.labels, self.slices, strict=True) if label.kind == NUMBER]

    def entries(self) -> list[KindEntry] | None:
        """Return the kinds as config.json keeps them; None where nothing is to be kept."""
        return None if self.is_plain else [label.entry() for label in self.labels]

    def some(self, names: Sequence[str]) -> "LabelKinds":
        """Return the labels of these names, in this order."""
        by_name = {label.name: label for label in self.labels}
        return LabelKinds(tuple(by_name[name] for name in names))

    def named(self, names: Sequence[str]) -> "LabelKinds":
        """Return the labels under other names."""
        return LabelKinds(tuple(replace(label, name=name) for label, name in zip(self.labels, names, strict=True)))

    def alike(self) -> dict[str, list[str]]:
        """The names of the labels by kind."""
        return {kind: names for kind in LABEL_KINDS if (names := [own.name for own in self.labels if own.kind == kind])}

    def changed(self, change: Callable[[LabelKind], Mapping[str, Any]]) -> "LabelKinds":
        """Return the labels, each with what `change` gives for it."""
        return LabelKinds(tuple(replace(label, **change(label)) for label in self.labels))

    def spread(self, values_NL: Doubles) -> Doubles:
        """The targets of the outputs (N, W) of the labels' values (N, L)."""
        parts = [label.spread(values_NL[:, at]) for at, label in enumerate(self.labels)]
        return np.concatenate(parts, axis=1) if parts else np.empty((len(values_NL), 0))

    def answers(self, scores_NW: Doubles) -> Doubles:
        """One number a clip and label (N, L); see `LabelKind.answers`."""
        pairs = zip(self.labels, self.slices, strict=True)
        parts = [label.answers(scores_NW[:, own]) for label, own in pairs]
        return np.stack(parts, axis=1) if parts else np.empty((len(scores_NW), 0))

    def columns(self, names: Sequence[str]) -> list[int]:
        """The numbers of the outputs of the labels with these names, in their order."""
        by_name = dict(zip(self.names, self.slices, strict=True))
        return [at for name in names for at in range(by_name[name].start, by_name[name].stop)]
