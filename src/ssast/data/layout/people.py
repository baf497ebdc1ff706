"""Find out who speaks in the rows of a table, and where one code may stand for two people."""

import re
from collections import defaultdict
from collections.abc import Mapping

import pandas as pd

from ssast.data.layout.file_column import TableOfFiles, check_column
from ssast.data.layout.filenames import filled
from ssast.data.tables.people import find_people, number_in
from ssast.safe_reading import some

APART_YEARS = 5.0
"""Ages of one person that lie further apart are told; a study that follows people has smaller steps."""
TRAITS = {
    "site": re.compile(r".*\b(?:site|center|centre|clinic|hospital|klinik|zentrum|standort)\b.*"),
    "sex": re.compile(r".*\b(?:sex|gender|geschlecht)\b.*"),
    "birth": re.compile(r".*\b(?:birth|born|birthday|birthdate|dob|yob|geburt\w*)\b.*"),
    "age": re.compile(r"(?:.*\b)?(?:age|alter)\b.*"),
}
"""What stays as it is for one person, and how columns of it are called."""


def find_person(table: TableOfFiles, column: str | None, *, may_lack: bool = False) -> str | None:
    """The column that says who speaks: the one asked for, else one of a known name (speaker, subject, ...).

    A column that was asked for `may_lack` where another table, not joined yet, may have it: then it is None.
    """
    if may_lack and column is not None and column not in table:
        return None
    check_column(table, column, "--subject_column")
    people = find_people(pd.DataFrame({name: list(cells.values()) for name, cells in table.items()}, dtype="str"))
    return column or (people.column if people else None)


def doubtful(table: TableOfFiles, person: str) -> list[str]:
    """A part of a sentence for each code that may stand for two people, such as "01 (site A and B)"."""
    lines: dict[str, list[int]] = defaultdict(list)
    for line, code in filled(table[person]).items():
        lines[code].append(line)
    traits = [(kind, name) for name in table if name != person and (kind := _kind(name))]
    told = []
    for code, own in lines.items():
        found = [(name, _differing(kind, table[name], own)) for kind, name in traits]
        differing = [f"{name} {values}" for name, values in found if values]
        if differing:
            told.append(f"{code} ({', '.join(differing)})")
    return told


def _kind(column: str) -> str:
    """The known trait that a column is about, if any."""
    words = re.sub(r"[^\w]+|_", " ", column.lower())
    return next((kind for kind, words_of in TRAITS.items() if words_of.fullmatch(words)), "")


def _differing(kind: str, cells: Mapping[int, str], lines: list[int]) -> str:
    """The values of a trait that one person cannot have all, with `and` between them."""
    values = list(dict.fromkeys(cell for line, cell in filled(cells).items() if line in lines))
    if kind == "age":
        years = [year for value in values if (year := number_in(value)) is not None]
        if len(years) < max(1, len(values)) or max(years) - min(years) <= APART_YEARS:
            return ""
    elif len({value.casefold() for value in values}) < 2:
        return ""
    return some(values, 3).replace(", ", " and ", 1) if len(values) == 2 else some(values, 3)
