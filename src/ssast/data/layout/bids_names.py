"""Read what names of files and folders say in the Brain Imaging Data Structure (BIDS): sub-01/ses-2/sub-01_ses-2.wav.

https://bids-specification.readthedocs.io, where such a part of a name is called an entity.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ssast.data.layout.file_column import TableOfFiles
from ssast.data.layout.filenames import File, name_parts
from ssast.data.storage.location import Location
from ssast.data.tables.people import SUBJECTS, person_name, plain_name
from ssast.data.tables.splits import read_table
from ssast.errors import UserError
from ssast.safe_reading import some

FILE, PARTICIPANT_COLUMN, SESSION_COLUMN = "file", "participant_id", "session"
SESSION_NAMES = (SESSION_COLUMN, "session_id", "ses")
"""What columns of sessions are called."""
PARTICIPANT_NAMES = (*SUBJECTS, "record_id", "sub")
"""What columns of participants are called, also in Bridge2AI-Voice."""
ENTITY_COLUMNS = {
    "sub": PARTICIPANT_COLUMN,
    "ses": SESSION_COLUMN,
    "task": "task",
    "acq": "acquisition",
    "run": "run",
    "rec": "recording",
}
"""The entities that become columns, and what those are called."""
ASIDE = ("derivatives", "sourcedata", "code", "stimuli")
"""Folders beside those of the participants; what lies there is no recording of the data set itself."""
_ENTITY = re.compile(r"([a-z]+)-(.+)")


def split_aside(files: Sequence[Location], root: Location) -> tuple[list[Location], list[Location]]:
    """The files of the data set, and those in ASIDE where others lie in folders of participants."""
    firsts = [name_parts(str(file).removeprefix(str(root)))[:-1][:1] for file in files]
    if not any(first and first[0].startswith("sub-") for first in firsts):
        return list(files), []
    is_aside = [bool(first) and first[0] in ASIDE for first in firsts]
    own = [file for file, aside in zip(files, is_aside, strict=True) if not aside]
    return own, [file for file, aside in zip(files, is_aside, strict=True) if aside]


def table_of_files(table: TableOfFiles, files: Sequence[File]) -> TableOfFiles | None:
    """A table of the files themselves, where they have BIDS names and `table` names none of them.

    So it is where its rows are sessions, and where its participants are written without the `sub-` of the folders.
    """
    people = [column for column in table if person_name(column) in PARTICIPANT_NAMES]
    if not people or not files or not all("sub" in _entities(file) for file in files):
        return None
    is_of_sessions = any(plain_name(column) in SESSION_NAMES for column in table)
    if not is_of_sessions and any(cell.startswith("sub-") for cell in table[people[0]].values()):
        return None
    return {FILE: {line: "/".join(file.path) for line, file in enumerate(files, start=1)}}


def entity_columns(files: Mapping[int, File]) -> dict[str, dict[int, str]]:
    """The columns that the names of files make, by line; none unless every file names its participant.

    UserError where the folder of a file is that of another participant or session than its name says.
    """
    found = {line: _entities(file) for line, file in files.items()}
    if not found or not all("sub" in own for own in found.values()):
        return {}
    wrong = [files[line] for line, own in found.items() if not _agrees(files[line], own)]
    if wrong:
        raise UserError(
            f"{len(wrong)} of {len(files)} files lie in the folder of another participant or session than their names "
            f"say: {some([file.shown for file in wrong], 3)}; move or rename them.",
            file=[file.shown for file in wrong],
        )
    used = [key for key in ENTITY_COLUMNS if any(key in own for own in found.values())]
    return {ENTITY_COLUMNS[key]: {line: own.get(key, "") for line, own in found.items()} for key in used}


def _entities(file: File) -> dict[str, str]:
    """The entities in a file's folders and name; the name goes before the folders."""
    parts = [*file.path[:-1], *file.stem.split("_")]
    return {found[1]: found[2] for part in parts if (found := _ENTITY.fullmatch(part))}


def _agrees(file: File, entities: Mapping[str, str]) -> bool:
    folders = [found.groups() for part in file.path[:-1] if (found := _ENTITY.fullmatch(part))]
    return all(entities[key] == value for key, value in folders if key in ("sub", "ses"))


@dataclass(frozen=True)
class SessionTables:
    """The tables of sessions in the folders of participants, as one, with how many there are."""

    cells: TableOfFiles
    places: list[Location]


def session_tables(root: Location, files: Iterable[File]) -> SessionTables:
    """`sub-01/sub-01_sessions.tsv` or `sub-01/sessions.tsv` of each participant that has files."""
    folders = {part for file in files for part in file.path[:1] if part.startswith("sub-")}
    places = [
        place
        for folder in sorted(folders)
        for place in (root / folder / f"{folder}_sessions.tsv", root / folder / "sessions.tsv")
        if place.exists()
    ]
    rows: list[dict[str, str]] = []
    for place in places:
        table = read_table(place)
        for line in next(iter(table.values())):
            own = {name: cells[line] for name, cells in table.items()}
            rows.append({**own, PARTICIPANT_COLUMN: place.parent.name})
    names = dict.fromkeys(name for row in rows for name in row)
    cells = {name: {line: row.get(name, "") for line, row in enumerate(rows)} for name in names}
    return SessionTables(cells, places)
