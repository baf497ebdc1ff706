"""Find the columns that put people into categories, such as their sex, and how people are spread over these."""

from collections.abc import Collection, Iterator, Mapping

import pandas as pd

from ssast import redaction
from ssast.data.tables.label_columns import UID
from ssast.data.tables.people import cell_name, number_in, plain_name, subject_names
from ssast.data.tables.ratings import columns_of, rater_columns
from ssast.metrics.external.categories import LONGEST_CATEGORY, MOST_CATEGORIES, Shares
from ssast.metrics.intervals import number_subjects
from ssast.model.label_kinds import LabelKind
from ssast.runs.results import named_subjects
from ssast.runs.reviewing.groups import FEW_NUMBERS, is_harmless

_SEX = ("sex", "gender")
_SEXES = {
    **dict.fromkeys(("f", "female", "woman", "women"), "female"),
    **dict.fromkeys(("m", "male", "man", "men"), "male"),
}
_NOT_OF_PEOPLE = {UID, "age", "session", "recorded", "split", "fold", "set", "file", "path"}
_MOST_COLUMNS = 20
"""So many columns at most: all that is looked at shares one correction."""


def category_shares(table: pd.DataFrame, labels: Collection[LabelKind], whose: Collection[str]) -> dict[str, Shares]:
    """How the people of a table are spread over the values of its categories, by column; `whose` are its columns.

    Labels are none, nor is a column of many different values. Sex is written in one way. In a private run only values
    that tell nobody where people are from have a name.
    """
    subject_R = number_subjects(named_subjects(table)[0], len(table))
    found = {}
    for name in _columns(labels, whose):
        groups = _groups(table[name], is_sex=plain_name(name) in _SEX)
        if groups is not None:
            found["sex" if plain_name(name) in _SEX else name] = Shares.of(groups, subject_R)
    return {name: found[name] for name in list(found)[:_MOST_COLUMNS]}


def _columns(labels: Collection[LabelKind], whose: Collection[str]) -> Iterator[str]:
    """Those that may be categories, the sex first."""
    columns = [str(name) for name in whose]
    taken = {name for label in labels for name in (label.name, *columns_of(label), *rater_columns(columns, label.name))}
    taken |= set(subject_names(columns))
    for name in sorted(columns, key=lambda name: plain_name(name) not in _SEX):
        if name not in taken and plain_name(name) not in _NOT_OF_PEOPLE:
            yield name


def _groups(cells: pd.Series, *, is_sex: bool) -> list[str | None] | None:
    """The category of each row, None where it is not known; None where the column has too many of them."""
    groups = [_group(cell, is_sex=is_sex) for cell in cells.tolist()]
    names = {group for group in groups if group is not None}
    most = FEW_NUMBERS if all(number_in(name) is not None for name in names) else MOST_CATEGORIES
    is_category = 0 < len(names) <= most and all(len(name) <= LONGEST_CATEGORY for name in names)
    return groups if is_category else None


def _group(cell: object, *, is_sex: bool) -> str | None:
    name = cell_name(cell)
    if name is None:
        return None
    plain = name.strip().removesuffix(".0").casefold()
    return _SEXES.get(plain, plain) if is_sex else plain


def shown_categories(found: Mapping[str, Shares]) -> dict[str, Shares]:
    """Return the shares with the names of values as they may be shown: a private run hides those of places."""
    return {
        column: Shares(
            own.people,
            {
                name if is_harmless(name) else redaction.shown_name("group", name): each
                for name, each in own.values.items()
            },
        )
        for column, own in found.items()
    }


def kept_categories(found: Mapping[str, Shares]) -> dict[str, Shares]:
    """What may be kept of them with a model: no value that few people have, and in a private run none of a place."""
    kept = {column: own.kept() for column, own in found.items()}
    if redaction.redaction_in_use():
        kept = {
            column: Shares(own.people, {name: each for name, each in own.values.items() if is_harmless(name)})
            for column, own in kept.items()
        }
    return {column: own for column, own in kept.items() if own.values}
