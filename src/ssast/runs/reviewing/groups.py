"""Look at whose the rows to be scored are: whether the model was trained on them, and in which groups people are.

The groups are those by the columns that --groups names. Shapes: R rows.
"""

import itertools
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pandas as pd

from ssast import redaction
from ssast.data.tables.people import People, across, cell_name, find_all_people, number_in
from ssast.errors import UserError
from ssast.metrics.subgroups import GroupColumn
from ssast.model.label_kinds import YES_NO
from ssast.pages.tables import counted
from ssast.runs.context import say, words_in
from ssast.runs.rows import Rows
from ssast.safe_reading import some


def overlap(scored: pd.DataFrame, trained: Sequence[pd.DataFrame], *, is_all: bool = True) -> str:
    """What is wrong with scores of these rows of a model trained on those; empty where nothing is.

    Where those are none, or not all (`is_all`), nothing is said of a missing column of people: the others may have it.
    What is found is then said to be the least.
    """
    least = "" if is_all else "at least "
    known = {uid for frame in trained for uid in frame.index}
    clips = int(scored.index.isin(known).sum())
    if clips:
        return (
            f"Careful: {least}{clips} of these {len(scored)} clips were used in training, "
            "so the scores do not say how well the model does on new recordings."
        )
    here, *there = find_all_people([scored, *trained])
    named = [people for people in there if people is not None]
    if here is None or not named:
        return _unnamed(here, named) if is_all and trained else ""
    return _same_people(here, named, least)


def say_overlap(scored: pd.DataFrame, trained: Sequence[pd.DataFrame]) -> None:
    """Print what `overlap` finds."""
    if careful := overlap(scored, trained):
        say(careful)


def _same_people(here: People, there: Sequence[People], least: str) -> str:
    """Who is among the scored and among the trained, by the same name or by one that may be another spelling of it."""
    trained = {name for people in there for name in people.known}
    shared = here.known & trained
    other = next((people.column for people in there if people.column != here.column), here.column)
    column = f"column {here.column}" if other == here.column else f"column {here.column}, in the training csv {other}"
    if shared:
        return (
            f"Careful: {least}{len(shared)} of these {len(here.known)} subjects ({column}) were in the training csv "
            "too, so the scores do not say how well the model does on new people."
        )
    alike = list(across(here.known, trained))
    if not alike:
        return ""
    first, second = alike[0]
    return (
        f"Careful: {least}{len(alike)} of these {len(here.known)} subjects ({column}) may have been in the training "
        f"csv too, spelled differently: {first} here, {second} there; `ssast check` names them all."
    )


def _unnamed(here: People | None, there: Sequence[People]) -> str:
    """A warning where only one of the two tables says who speaks, so that shared people cannot be found."""
    if here is None and not there:
        return ""
    sides = ("these rows name", "the training csv does") if here else ("the training csv names", "these rows do")
    column = here.column if here else there[0].column
    return (
        f"Careful: {sides[0]} people (column {column}) and {sides[1]} not, so people who are in both go unseen; "
        "add the column to both tables."
    )


_MOST_GROUPS = 20
FEW_NUMBERS = 6
"""Numbers with at most so many different values are names of groups; others are cut."""
_HARMLESS = {"male", "female", "man", "woman", "men", "women", "yes", "no", "other"}
_CUT = re.compile(r"under [\d.]+|[\d.]+ to under [\d.]+|[\d.]+ and over")


def group_columns(asked: str | None, source: Rows) -> list[GroupColumn]:
    """The groups of each row of a table by each column of `asked`, such as `sex,age:40:65`; none where it is empty.

    Numbers are cut where it says, else in thirds of the rows at whole numbers; a column of numbers may have cells of
    another kind, such as `unknown`, which have no group. UserError where there is no such column, where it has more
    groups than can be told apart, or where no label is yes or no or a scale with a cut.
    """
    words = words_in(asked)
    if words and not any(label.kind == YES_NO or label.is_cut for label in source.kinds.labels):
        raise UserError(
            f"--groups scores yes/no labels, and scales to which labels.yaml gives a cut, but {some(source.labels)} is "
            "none; leave it out."
        )
    return [_column(word, source) for word in words]


def _column(word: str, source: Rows) -> GroupColumn:
    name, *cuts = (part.strip() for part in word.split(":"))
    cells = [cell_name(cell) for cell in _cells(name, source, "--groups").tolist()]
    numbers = pd.Series([number_in(cell) for cell in cells], dtype=np.float64)
    filled, known = sum(cell is not None for cell in cells), int(numbers.notna().sum())
    # Numbers with leading zeros are codes, of sites for example.
    is_numeric = 2 * known > filled and not any(re.match(r"[+-]?0\d", cell) for cell in cells if cell is not None)
    if cuts or (is_numeric and numbers.nunique() > FEW_NUMBERS):
        return _cut(name, numbers.to_numpy(), _edges(name, cuts, numbers), filled - known)
    return value_column(name, source)


def value_column(name: str, source: Rows, option: str = "--groups") -> GroupColumn:
    """The groups of each row of a table by the values of a column, which `option` names. UserError as above.

    Cells that differ in capital letters and blanks alone are one group: half of Bern is no site of its own.
    """
    cells = [cell_name(cell) for cell in _cells(name, source, option).tolist()]
    one = _one_spelling(cells)
    groups = [None if cell is None else _shown(one[cell]) for cell in cells]
    found = {group for group in groups if group is not None}
    if len(found) > _MOST_GROUPS:
        raise UserError(
            f"{option} names {name!r}, which has {len(found)} different cells; a column of groups has "
            f"{_MOST_GROUPS} at most."
        )
    doubled = [f"{_shown(cell)} counts as {_shown(own)}" for cell, own in sorted(one.items()) if cell != own]
    return GroupColumn(name, groups, some(doubled))


def _one_spelling(cells: Sequence[str | None]) -> dict[str, str]:
    """What each cell counts as: the commonest of those that differ from it in capital letters and blanks alone."""
    alike: dict[str, list[str]] = {}
    for cell, _ in sorted(Counter(cell for cell in cells if cell is not None).items(), key=lambda own: (-own[1], own)):
        plain = " ".join(unicodedata.normalize("NFKC", cell).casefold().split())
        alike.setdefault(plain, []).append(cell)
    return {cell: own[0] for own in alike.values() for cell in own}


def _cells(name: str, source: Rows, option: str) -> pd.Series:
    frame = source.frame
    if name not in frame.columns:
        raise UserError(
            f"{option} names {name!r}, which is no column of {source.source}; "
            f"it has {some([str(column) for column in frame.columns]) or 'only uid'}.",
            path=source.source,
        )
    return frame[name]


def _shown(cell: str) -> str:
    """A group's name as it may be shown: a private run hides the names of places, and not those of the sexes."""
    cell = cell.removesuffix(".0")
    return cell if is_harmless(cell) else redaction.shown_name("group", cell)


def is_harmless(group: str) -> bool:
    """Whether the name of a group tells nobody where people are from: short words, numbers, cuts, the sexes."""
    is_short = len(group) <= 2 or group.isdigit()
    return is_short or group.lower() in _HARMLESS or _CUT.fullmatch(group) is not None


def _edges(name: str, cuts: list[str], numbers: pd.Series) -> list[float]:
    """Where numbers are cut: where it is asked, else into thirds, rounded to whole numbers where these are apart."""
    try:
        edges = sorted({float(cut) for cut in cuts})
    except ValueError as error:
        raise UserError(
            f"--groups cuts {name!r} at {':'.join(cuts)}, expected numbers, as in --groups age:40:65."
        ) from error
    if numbers.notna().sum() == 0:
        raise UserError(f"--groups cuts {name!r}, which holds no numbers; name the column alone.")
    if edges:
        return edges
    thirds = numbers.dropna().quantile([1 / 3, 2 / 3]).tolist()
    whole = sorted({float(round(edge)) for edge in thirds})
    return whole if len(whole) == 2 else sorted({float(f"{edge:.3g}") for edge in thirds})


def _cut(name: str, numbers_R: np.ndarray, edges: list[float], others: int) -> GroupColumn:
    """Numbers in the groups between edges; `others` cells hold something else."""
    shown = [f"{edge:g}" for edge in edges]
    names = [f"under {shown[0]}"]
    names += [f"{low} to under {high}" for low, high in itertools.pairwise(shown)]
    names.append(f"{shown[-1]} and over")
    place_R = np.searchsorted(edges, numbers_R, side="right")
    groups = [None if np.isnan(value) else names[at] for value, at in zip(numbers_R, place_R.tolist(), strict=True)]
    verb = "counts" if others == 1 else "count"
    empty = f"; {counted(others, 'cell')} with text {verb} as empty" if others else ""
    return GroupColumn(name, groups, f"{name} is cut at {' and '.join(shown)}{empty}")
