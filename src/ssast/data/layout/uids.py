"""Find out who speaks in the rows of a table, and give each recording its uid, which names its folder.

One code may stand for two people; that is told.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from unicodedata import normalize

import pandas as pd

from ssast.data.layout.file_column import FileColumn, TableOfFiles, check_column
from ssast.data.layout.filenames import File, filled, printable
from ssast.data.recordings import check_uid
from ssast.data.storage.disk_names import on_disk, plain
from ssast.data.tables.people import find_people, number_in
from ssast.errors import UserError
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


_LONGEST = 250
"""Disks take hardly more bytes in the name of a folder."""


@dataclass(frozen=True)
class Row:
    """A recording that will be copied: its line in the table, its file and its uid."""

    line: int
    file: File
    uid: str


def uid_column(table: TableOfFiles) -> str | None:
    """The table's own column of uids, if it has one."""
    return next((name for name in table if name == "uid"), None) or next(
        (name for name in table if name.lower() == "uid"), None
    )


def name_rows(table: TableOfFiles, named: FileColumn) -> list[Row]:
    """The recordings with their uids: of the table's own column `uid`, else the file's name, with folders if need be.

    UserError where that gives a name twice, or one that is no plain folder name.
    """
    pairs = [(line, file) for line, files in named.files_of.items() for file in files]
    own = uid_column(table)
    if own is not None and own != named.column and not named.is_of_people:
        _check_filled(table[own], [line for line, _ in pairs])
        rows = [Row(line, file, table[own][line]) for line, file in pairs]
    else:
        ways: list[Callable[[File], str]] = [lambda file: file.stem, _path, lambda file: "-".join(file.path)]
        found = ([Row(line, file, _tidy(way(file))) for line, file in pairs] for way in ways)
        rows = next((rows for rows in found if not _twice(rows)), [Row(line, file, file.stem) for line, file in pairs])
    if twice := _twice(rows):
        lines = ", ".join(str(row.line) for row in twice[0])
        more = f" (and so for {len(twice) - 1} more)" if len(twice) > 1 else ""
        raise UserError(
            f"the lines {lines} of the table would all get the uid {twice[0][0].uid!r}{more}; "
            "give each line its own in a column uid.",
            uid=[row.uid for row in twice[0]],
        )
    for row in rows:
        _check(row)
    return rows


def _path(file: File) -> str:
    """Join the folders and the name of a file, without its ending, to one name."""
    return "-".join((*file.path[:-1], file.stem))


def _tidy(name: str) -> str:
    """Write a name as csv files and disks keep it: accents as keyboards write them, no spaces around it."""
    return on_disk(normalize("NFC", name).strip().rstrip(". "))


def _twice(rows: list[Row]) -> list[list[Row]]:
    """The rows whose uids a disk may take for one: names that differ in large and small letters only."""
    alike: dict[str, list[Row]] = {}
    for row in rows:
        alike.setdefault(plain(row.uid), []).append(row)
    return [found for found in alike.values() if len(found) > 1]


def _check_filled(uids: Mapping[int, str], lines: list[int]) -> None:
    empty = [str(line) for line in lines if line not in filled(uids)]
    if empty:
        raise UserError(f"the column uid of the table is empty in line {some(empty)}; fill it in or remove the column.")


def _check(row: Row) -> None:
    """UserError where a uid cannot be the name of a folder."""
    try:
        length = len(row.uid.encode("utf-8"))
    except UnicodeEncodeError as error:
        raise UserError(
            f"the name of {row.file.shown} is not text in UTF-8; give the file another name.",
            file=printable(row.file.shown),
        ) from error
    check_uid(row.uid)
    if row.uid != on_disk(row.uid):
        raise UserError(
            f"the uid {row.uid!r} of line {row.line} cannot be the name of a folder on Windows; write another one.",
            uid=row.uid,
        )
    if length > _LONGEST:
        raise UserError(
            f"the uid of line {row.line}, {printable(row.uid[:40])}..., has {length} bytes, and folders take at most "
            f"{_LONGEST}; give the file a shorter name, or the table a column uid.",
            uid=row.uid,
        )
