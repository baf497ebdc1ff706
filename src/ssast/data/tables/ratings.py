"""Read the answers of labels of any kind, also where several raters gave one each, and make targets of them.

Shapes: R rows of a table, J ratings of a row at most, L labels, W outputs of all labels, w of one.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ssast.data.tables.people import is_empty, number_for
from ssast.data.tables.targets import answer_cells, check_targets, label_values, refuse_cells
from ssast.errors import UserError
from ssast.model.label_kinds import CHOICE, MOST_LEVELS, NUMBER, SCALE, YES_NO, Doubles, LabelKind, LabelKinds
from ssast.safe_reading import some

MEAN_RATING, SOFT, DRAW = ("mean", "soft", "draw")
"""What training makes of several ratings: their mean, the share of raters for each answer, or one drawn each epoch."""
MOST_RATINGS = 1_000
_RATING = 4
"""What the drawn number is for, so that a row's rating does not go with its augmentation."""
_PLACE = re.compile(r"_r(\d{1,4})")
_BETWEEN = re.compile(r"\s*;\s*|\s+")
_GROUP = re.compile(r"\d{3}")
"""As in `12 500`, which is one number; a rating of 100 beside others needs `;`."""


def rater_columns(columns: Sequence[str], label: str) -> list[str]:
    """The columns `<label>_r1`, `<label>_r2`, ... of a table, by their number."""
    found = {}
    for name in columns:
        if name.startswith(f"{label}_r") and (place := _PLACE.fullmatch(name[len(label) :])):
            found[int(place[1])] = name
    return [found[number] for number in sorted(found)]


def with_raters(kinds: LabelKinds, columns: Sequence[str], *, kept: bool = True) -> LabelKinds:
    """The labels with the columns of their raters, where these are named, or stand in place of the label's own.

    Unless they are to be `kept`, raters of whom a table has not all give way to what it has.
    """

    def found(label: LabelKind) -> dict[str, tuple[str, ...]]:
        there = [name for name in label.raters if name in columns]
        if not kept and there and rater_columns(label.raters, label.name) == list(label.raters):
            there = rater_columns(columns, label.name)  # in another table they may be more
        if label.raters and (kept or set(label.raters) <= set(there)):
            return {"raters": label.raters if kept else tuple(there)}
        return {"raters": () if label.name in columns else tuple(there or rater_columns(columns, label.name))}

    return kinds.changed(found)


def is_rated(frame: pd.DataFrame, label: LabelKind) -> bool:
    """Whether a table has several people's answers to a label, in columns of theirs or in one cell."""
    if label.name not in frame.columns:
        return bool(label.raters or rater_columns([str(column) for column in frame.columns], label.name))
    cells = answer_cells(frame, label.name)
    return bool(label.raters) or (not pd.api.types.is_numeric_dtype(cells) and _several(cells) is not None)


def columns_of(label: LabelKind) -> list[str]:
    """The columns of a table that hold a label's answers."""
    return list(label.raters) or [label.name]


@dataclass(frozen=True)
class Ratings:
    """What a table says of labels: for each the single ratings (R, J), NaN where there is none.

    Those of a choice are the numbers of its kinds.
    """

    kinds: LabelKinds
    by_label: list[Doubles]
    rows: int

    @classmethod
    def of(cls, frame: pd.DataFrame, kinds: LabelKinds, source: object = "the csv") -> "Ratings":
        """Read the ratings of a table; UserError for a column that lacks, and a cell that the label cannot have."""
        for label in kinds.labels:
            _check_columns(frame, label, source)
        return cls(kinds, [_ratings(frame, label, source) for label in kinds.labels], len(frame))

    def at(self, rows: NDArray[np.intp]) -> "Ratings":
        """Return the ratings of some of the rows."""
        return Ratings(self.kinds, [own_RJ[rows] for own_RJ in self.by_label], len(rows))

    @property
    def most(self) -> list[int]:
        """How many ratings of each label a row has at most."""
        return [int((~np.isnan(own_RJ)).sum(axis=1).max(initial=0)) for own_RJ in self.by_label]

    @property
    def values(self) -> Doubles:
        """One answer a row and label (R, L): the mean rating, of a choice the commonest kind, the first of equals."""
        pairs = zip(self.kinds.labels, self.by_label, strict=True)
        parts = [_commonest(label, own_RJ) if label.kind == CHOICE else _mean(own_RJ) for label, own_RJ in pairs]
        return np.stack(parts, axis=1) if parts else np.empty((self.rows, 0))

    def targets(self, way: str = MEAN_RATING) -> Doubles:
        """What the outputs are to be (R, W): by the mean rating, or by the share of raters (`soft`)."""
        if way == MEAN_RATING:
            return self.kinds.spread(self.values)
        parts = [_shares(label, own_RJ) for label, own_RJ in zip(self.kinds.labels, self.by_label, strict=True)]
        return np.concatenate(parts, axis=1) if parts else np.empty((self.rows, 0))

    def drawn(self, seed: int) -> "DrawnRatings":
        """One rating of each row, another in each epoch."""
        known = [np.sort(own_RJ, axis=1) for own_RJ in self.by_label]  # NaN comes last
        return DrawnRatings(self.kinds, known, seed)


@dataclass(frozen=True)
class DrawnRatings:
    """One of the ratings of a row by the chance of (seed, epoch, row); the same rater's for labels of equal count."""

    kinds: LabelKinds
    by_label: list[Doubles]
    seed: int

    def __call__(self, row: int, epoch: int) -> Doubles:
        """The targets (W,) of a row in an epoch."""
        share = np.random.default_rng([self.seed % (1 << 64), epoch, row, _RATING]).random()
        values = []
        for own_RJ in self.by_label:
            count = int((~np.isnan(own_RJ[row])).sum())
            values.append(own_RJ[row, int(share * count)] if count else np.nan)
        return self.kinds.spread(np.array([values]))[0]


def _mean(own_RJ: Doubles) -> Doubles:
    count_R = (~np.isnan(own_RJ)).sum(axis=1)
    return np.divide(np.nansum(own_RJ, axis=1), count_R, out=np.full(len(own_RJ), np.nan), where=count_R > 0)


def _commonest(label: LabelKind, own_RJ: Doubles) -> Doubles:
    votes_RK = np.stack([(own_RJ == number).sum(axis=1) for number in range(len(label.levels))], axis=1)
    return np.where(votes_RK.any(axis=1), votes_RK.argmax(axis=1).astype(np.float64), np.nan)


def _shares(label: LabelKind, own_RJ: Doubles) -> Doubles:
    spread_JRw = np.stack([label.spread(own_R) for own_R in own_RJ.T])
    return np.stack([_mean(spread_JRw[:, :, at].T) for at in range(label.width)], axis=1)


def _check_columns(frame: pd.DataFrame, label: LabelKind, source: object) -> None:
    lacking = [name for name in columns_of(label) if name not in frame.columns]
    if lacking:
        columns = some([str(column) for column in frame.columns]) or "none but uid"
        whose = f"the column {lacking[0]!r} of the raters of the label {label.name!r}"
        own = whose if label.raters else f"the label {label.name!r}"
        raise UserError(f"{own} is not in {source}, whose columns are {columns}; correct --label_txt.", path=source)


def _ratings(frame: pd.DataFrame, label: LabelKind, source: object) -> Doubles:
    parts = [_cells(frame, label, name, source) for name in columns_of(label)]
    return np.concatenate(parts, axis=1)


def _cells(frame: pd.DataFrame, label: LabelKind, column: str, source: object) -> Doubles:
    """The ratings (R, J) of a column; a cell may hold several."""
    cells = answer_cells(frame, column)
    if label.kind == CHOICE:
        return _numbers_of_kinds(cells, label, column, source)
    if not pd.api.types.is_numeric_dtype(cells) and (several := _several(cells)) is not None:
        if label.kind == SCALE:
            _check_levels(cells, several, label, column, source)
        elif label.kind == YES_NO:
            refuse_cells(column, cells, _any((several < 0) | (several > 1)), f"0 or 1 under --loss {YES_NO}", source)
        return several
    if label.kind in (YES_NO, NUMBER):
        check_targets(frame, [column], label.kind, source)
        return label_values(frame, [column])
    values_R1 = label_values(frame, [column])
    refuse_cells(column, cells, np.isnan(values_R1[:, 0]) & cells.notna().to_numpy(), number_for(cells), source)
    _check_levels(cells, values_R1, label, column, source)
    return values_R1


def _check_levels(cells: pd.Series, values_RJ: Doubles, label: LabelKind, column: str, source: object) -> None:
    levels = np.array(label.levels, dtype=np.float64)
    wrong_RJ = ~np.isnan(values_RJ) & ~np.isin(values_RJ, levels)
    refuse_cells(column, cells, _any(wrong_RJ), f"one of the levels {some(label.shown_levels, 12)}", source)


def _any(wrong_RJ: np.ndarray) -> np.ndarray:
    return np.asarray(wrong_RJ.any(axis=1))


def _several(cells: pd.Series) -> Doubles | None:
    """The numbers of cells such as `3;4;3` or `9 10 9 8` (R, J); None where one is anything else, or none several.

    A rater who is left out, as in `3;;3` and `3;NA;3`, is a gap: the next one stays the third.
    """
    parts = [[] if is_empty(cell) else _BETWEEN.split(str(cell).strip().rstrip("; ")) for cell in cells]
    most = max(map(len, parts), default=0)
    if not 1 < most <= MOST_RATINGS:
        return None
    values_RJ = np.full((len(parts), most), np.nan)
    for row, own in enumerate(parts):
        for at, part in ((at, part) for at, part in enumerate(own) if not is_empty(part)):
            number = pd.to_numeric(part.replace(",", "."), errors="coerce")
            if not np.isfinite(number) or (_GROUP.fullmatch(part) and ";" not in str(cells.iloc[row])):
                return None
            values_RJ[row, at] = number
    return values_RJ


def _numbers_of_kinds(cells: pd.Series, label: LabelKind, column: str, source: object) -> Doubles:
    parts = [_words(cell) for cell in cells]
    number = {unicodedata.normalize("NFC", level): at for at, level in enumerate(label.levels)} | {"": np.nan}
    unknown = np.array([any(part not in number for part in own) for own in parts], dtype=bool)
    refuse_cells(column, cells, unknown, f"one of {some(label.shown_levels, 12)}, as in training", source)
    values_RJ = np.full((len(parts), max(1, max(map(len, parts), default=1))), np.nan)
    for row, own in enumerate(parts):
        values_RJ[row, : len(own)] = [number[part] for part in own]
    return values_RJ


def kinds_in(cell: object) -> list[str]:
    """The kinds that a cell of a choice names, one a rater: `creaky`, or `creaky;breathy`."""
    return [word for word in _words(cell) if word]


def _words(cell: object) -> list[str]:
    """What each rater says in a cell of a choice, in one of the forms of Unicode; nothing where one is left out."""
    if is_empty(cell):
        return []
    words = f"{cell:.15g}" if isinstance(cell, int | float) else unicodedata.normalize("NFC", str(cell))
    parts = [word.strip() for word in words.rstrip("; ").split(";")]
    return ["" if is_empty(part) else part for part in parts]


def levels_in(frame: pd.DataFrame, label: LabelKind, source: object) -> list[float] | list[str]:
    """The levels of a scale, every whole number between the lowest and the highest rating, or the kinds of a choice.

    UserError where ratings are no whole numbers: then nobody knows how many levels there are.
    """
    _check_columns(frame, label, source)
    if label.kind == CHOICE:
        words = (word for name in columns_of(label) for cell in frame[name] for word in kinds_in(cell))
        return sorted(set(words))
    found: list[float] = []
    for name in columns_of(label):
        cells = answer_cells(frame, name)
        several = None if pd.api.types.is_numeric_dtype(cells) else _several(cells)
        values_RJ = label_values(frame, [name]) if several is None else several
        if several is None:
            refuse_cells(name, cells, np.isnan(values_RJ[:, 0]) & cells.notna().to_numpy(), number_for(cells), source)
        broken = ~np.isnan(values_RJ) & (values_RJ % 1 != 0)
        expected = "whole numbers as levels of a scale (labels.yaml may list others, and --loss MSE takes any)"
        refuse_cells(name, cells, _any(broken), expected, source)
        found += values_RJ[~np.isnan(values_RJ)].tolist()
    if not found:
        return []
    lowest, highest = int(min(found)), int(max(found))
    check_level_count(highest - lowest + 1, label, source)  # before they are listed: a typing error makes billions
    return [float(level) for level in range(lowest, highest + 1)]


def check_level_count(count: int, label: LabelKind, source: object) -> None:
    """UserError where a scale or a choice would have fewer than two levels, or more than MOST_LEVELS."""
    if not 2 <= count <= MOST_LEVELS:
        what = "levels" if label.kind == SCALE else "kinds"
        told = count if count <= 10**6 else "over a million"
        raise UserError(
            f"the label {label.name!r} has {told} {what} in {source}, expected 2 to {MOST_LEVELS}; "
            f"choose another label or another --loss than {label.kind}.",
            path=source,
        )
