"""Find what is wrong or worth knowing about the people that the tables of a run name.

Each remark is a row of check.csv: uid, split, finding, detail.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any
from unicodedata import category, normalize

import pandas as pd

from ssast import redaction
from ssast.data.tables.people import (
    People,
    cell_name,
    find_all_people,
    number_in,
    person_name,
    plain_name,
    spelled_twice,
    subject_names,
)

Remark = tuple[str, str, str, str]
PEOPLE_FACTS = (
    *("age", "sex", "gender", "site", "centre", "center", "hospital", "clinic", "native_language", "mother_tongue"),
    *("birth_year", "year_of_birth", "birth_date", "birthdate", "date_of_birth", "birthday", "dob"),
)
"""What a person has one of."""
_OLDER = 2.0
"""[years] an age may grow so far between two recordings of a person."""
SAME = {"m": "male", "man": "male", "f": "female", "w": "female", "woman": "female"}
NOBODY = {"?", "-", "--", ".", "unknown", "missing", "not known", "unbekannt"}
"""What is often written for somebody who is not known, and is still taken as a name."""

SHORTENED = re.compile(r"\d(?:[.,]\d+)?E\+\d{2,3}", re.IGNORECASE)
"""How spreadsheets and csv writers show a number of many digits: 1.23457E+16."""


def people_remarks(splits: Mapping[str, pd.DataFrame]) -> Iterator[Remark]:
    """Everything about who speaks, split by split and then between them."""
    found = dict(zip(splits, find_all_people(list(splits.values())), strict=True))
    named = {split: people for split, people in found.items() if people is not None}
    for split, frame in splits.items():
        if split not in named:
            yield "", split, "nobody named", _why_nobody(frame)
    yield from _shared(named)
    yield from _other_columns(named)
    yield from _spellings(named)
    for split, people in named.items():
        yield from _not_known(split, splits[split][people.column], people)
    yield from _other_facts(splits, named)


def _why_nobody(frame: pd.DataFrame) -> str:
    columns = subject_names(frame.columns)
    if not columns:
        return "no column says who speaks (speaker, subject, patient, ...), so people in both splits go unseen"
    holds = (
        "nothing but yes/no answers" if any(frame[name].map(cell_name).notna().any() for name in columns) else "no name"
    )
    return f"the column {columns[0]} holds {holds}, so nobody is named and people in both splits go unseen"


def _shared(named: Mapping[str, People]) -> Iterator[Remark]:
    counts = {split: Counter(people.names) for split, people in named.items()}
    for first, second in combinations(named, 2):
        for name in sorted(named[first].known & named[second].known):
            detail = f"{name}: {counts[first][name]} clips in {first}, {counts[second][name]} in {second}"
            if person_name(named[first].column) != person_name(named[second].column):
                detail += f" (column {named[first].column} in {first}, {named[second].column} in {second})"
            yield "", f"{first} and {second}", "subject in both splits", detail


def _other_columns(named: Mapping[str, People]) -> Iterator[Remark]:
    """Tables that name people in columns of different names; capitals do not count."""
    for first, second in combinations(named, 2):
        if person_name(named[first].column) != person_name(named[second].column):
            told = f"{named[first].column} in {first}, {named[second].column} in {second}"
            detail = f"{told}: the codes are compared all the same; give the column one name"
            yield "", f"{first} and {second}", "different person columns", detail


def _spellings(named: Mapping[str, People]) -> Iterator[Remark]:
    for names in spelled_twice(name for people in named.values() for name in people.known):
        where = [(name, split) for split, people in named.items() for name in names if name in people.known]
        told = ", ".join(f"{name} in {split}" for name, split in where)
        detail = f"{told}: taken for {len(names)} people{_unseen(names)}; if they are one, write one code"
        splits = [split for split in named if any(split == other for _, other in where)]
        yield "", " and ".join(splits), "two spellings", detail


def _unseen(names: Sequence[str]) -> str:
    """How codes that look the same differ: by accents, kinds of spaces or letters without width; empty elsewhere."""
    seen = Counter(map(_look, names))
    alike = [ascii(name)[1:-1] for name in names if seen[_look(name)] > 1]
    return f", since they differ in what the eye does not see ({', '.join(alike)})" if alike else ""


def _look(name: str) -> str:
    return " ".join("".join(letter for letter in normalize("NFKC", name) if category(letter) != "Cf").split())


def _not_known(split: str, cells: pd.Series, people: People) -> Iterator[Remark]:
    """Rows whose cell says that nobody is known, or may mean it."""
    written = Counter(str(cell) for cell in cells.dropna())
    for cell, count in written.items():
        rows = f"{count} row{'' if count == 1 else 's'}"
        if cell_name(cell) is None:
            detail = f"{cell} in {rows} of {people.column} is taken as empty; give a person of that name another code"
        elif cell.lower() in NOBODY:
            detail = (
                f"{cell} in {rows} of {people.column} is taken as one person; leave the cells of unknown people empty"
            )
        elif SHORTENED.fullmatch(cell):
            detail = (
                f"{cell} in {rows} of {people.column} looks like a long number that a spreadsheet shortened, which "
                "makes one person of several; export the codes anew as text"
            )
        else:
            continue
        yield "", split, "person not known", detail


def _other_facts(splits: Mapping[str, pd.DataFrame], named: Mapping[str, People]) -> Iterator[Remark]:
    """People whose age, sex or site differ between rows: perhaps two people of two sites that share a code."""
    told: dict[str, dict[str, list[tuple[Any, str, str]]]] = {}
    for split, people in named.items():
        frame = splits[split]
        for column in (column for column in frame.columns if _fact(column)):
            for name, uid, cell in zip(people.names, frame.index, frame[column].tolist(), strict=True):
                if name is not None and cell_name(cell) is not None:
                    told.setdefault(name, {}).setdefault(_fact(column), []).append((cell, str(uid), split))
    for name in sorted(told):
        against = {fact: other for fact, cells in told[name].items() if (other := _against(fact, cells))}
        if against:
            rows = [row for pair in against.values() for row in pair]
            shown = "; ".join(
                f"{fact} {_shown(one)} in {uid}, {_shown(two)} in {other}"
                for fact, ((one, uid, _), (two, other, _)) in against.items()
            )
            where = " and ".join(split for split in named if any(row[2] == split for row in rows))
            yield "", where, "different facts", f"{name}: {shown}; correct the cells, or give each person a code"


def _fact(column: object) -> str:
    """Which of FACTS a column tells, without units in brackets; empty where none."""
    plain = re.sub(r"_?[(\[].*|_(?:years?|yrs?)$", "", plain_name(column))
    return plain if plain in PEOPLE_FACTS else ""


def _against(fact: str, cells: Sequence[tuple[Any, str, str]]) -> list[tuple[Any, str, str]]:
    """The first cell and one that contradicts it; empty where all agree."""
    return next(([cells[0], other] for other in cells[1:] if _differ(fact, cells[0][0], other[0])), [])


def _differ(fact: str, one: Any, other: Any) -> bool:
    numbers = number_in(one), number_in(other)
    if None not in numbers:
        apart = abs(float(numbers[0] or 0) - float(numbers[1] or 0))
        return apart > _OLDER if fact == "age" else apart > 0
    words = [SAME.get(word, word) for word in (str(cell).strip().casefold() for cell in (one, other))]
    return words[0] != words[1]


def _shown(cell: Any) -> str:
    if isinstance(cell, str) and number_in(cell) is None:
        return redaction.shown_name("cell", cell)
    return f"{cell:g}" if isinstance(cell, float) else str(cell)
