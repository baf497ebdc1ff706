"""Give each recording of a table its uid, which names its folder."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from unicodedata import normalize

from ssast.data.layout.file_column import FileColumn, TableOfFiles
from ssast.data.layout.filenames import File, filled, printable
from ssast.data.recordings import check_uid
from ssast.data.storage.disk_names import on_disk, plain
from ssast.errors import UserError
from ssast.safe_reading import some

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
