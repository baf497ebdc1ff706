"""Make of a table of people or recordings one of a row a recording, with what file names and further tables say."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ssast import redaction
from ssast.data.layout.bids_names import (
    PARTICIPANT_COLUMN,
    SESSION_COLUMN,
    SESSION_NAMES,
    entity_columns,
    session_tables,
)
from ssast.data.layout.file_column import COLUMNS, FileColumn, TableOfFiles
from ssast.data.layout.filenames import File, is_nothing
from ssast.data.layout.joined_tables import join_table
from ssast.data.storage.location import Location
from ssast.data.tables.people import plain_name, subject_names
from ssast.data.tables.splits import read_table
from ssast.errors import UserError
from ssast.safe_reading import some

FOR_PHENOTYPE = "phenotype"
"""The folder in which BIDS keeps further tables of participants."""


class Line(int):
    """A row by a number of its own, shown as the line of the user's table that it came from."""

    shown: int

    @classmethod
    def of(cls, number: int, shown: int) -> "Line":
        """The row `number`, which came from the line `shown`."""
        line = cls(number)
        line.shown = shown
        return line

    def __format__(self, spec: str) -> str:
        return format(self.shown, spec)

    def __str__(self) -> str:
        return str(self.shown)


@dataclass(frozen=True)
class Tables:
    """What is to be joined: the tables that --join_table names, and the pairs of columns of --join_on."""

    places: Sequence[Location]
    keys: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class PerRecording:
    """A table of one row a recording, the files by its lines, and sentences that say what was done."""

    table: TableOfFiles
    named: FileColumn
    told: list[str]


def per_recording(table: TableOfFiles, named: FileColumn, source: Location, tables: Tables) -> PerRecording | None:
    """The table with the columns of file names and of further tables; None where there are neither."""
    pairs = [(line, file) for line, files in named.files_of.items() for file in files]
    lines = {Line.of(number, line): (line, file) for number, (line, file) in enumerate(pairs, start=1)}
    entities = entity_columns({line: file for line, (_, file) in lines.items()})
    if not entities and not tables.places:
        return None
    made: TableOfFiles = {name: {line: cells[old] for line, (old, _) in lines.items()} for name, cells in table.items()}
    files_of: dict[int, list[File]] = {line: [file] for line, (_, file) in lines.items()}
    own = replace(named, cells=made[named.column], files_of=files_of, lacking={}, unclear={})
    made, told = _with_entities(made, entities)
    beside = _beside(source, named, tables) if entities else []
    used: set[tuple[str, str]] = set()
    for name, cells in [*beside, *((place.name, read_table(place)) for place in tables.places)]:
        joined = join_table(made, cells, name, tables.keys)
        made, told = joined.cells, told + joined.told
        used |= {(key.left, key.right) for key in joined.keys}
    _check_used(tables.keys, used, made)
    if entities and (left := _left(source, named, tables)):
        told.append(f"tables that were not joined: {some(left)}; name them with --join_table if they are wanted")
    made, renamed = _with_session(made)
    return PerRecording(made, replace(own, cells=made[own.column]), told + renamed)


def _check_used(keys: Sequence[tuple[str, str]], used: set[tuple[str, str]], made: TableOfFiles) -> None:
    """UserError where --join_on names columns that no table was joined by."""
    unused = [f"{left}={right}" if left != right else left for left, right in keys if (left, right) not in used]
    if unused:
        raise UserError(
            f"--join_on names {some(unused)}, but no table was joined by it; the recordings' table has the columns "
            f"{some(list(made), COLUMNS)}: correct it."
        )


def _with_entities(table: TableOfFiles, entities: Mapping[str, Mapping[int, str]]) -> tuple[TableOfFiles, list[str]]:
    """The columns of file names beside those of the table; where the table has one, its own stays and is compared."""
    found: dict[str, Mapping[int, str]] = dict(table)
    added, told = [], []
    for name, cells in entities.items():
        theirs = _same(table, name)
        if theirs is None:
            found[name] = cells
            added.append(name)
        elif wrong := [line for line, cell in cells.items() if not _is_same(table[theirs][line], cell)]:
            raise UserError(
                f"the column {theirs!r} says otherwise than the names of {len(wrong)} of {len(cells)} files, as in "
                f"line {wrong[0]}: {redaction.shown_name('subject', table[theirs][wrong[0]])!r} and "
                f"{redaction.shown_name('subject', cells[wrong[0]])!r}; correct the table or the names.",
                subject=[cell for line in wrong for cell in (table[theirs][line], cells[line])],
            )
    if added:
        told.append(f"columns made of the names of files, as BIDS writes them: {some(added)}")
    return found, told


def _same(table: TableOfFiles, name: str) -> str | None:
    """The table's own column for an entity, whatever it is called."""
    if name == PARTICIPANT_COLUMN:
        return next(iter(subject_names(table)), None)
    return next((column for column in table if plain_name(column) in (name, f"{name}_id", f"{name}_name")), None)


def _is_same(cell: str, entity: str) -> bool:
    """Whether a cell says the same as a part of a file's name, with or without `sub-` before it."""
    return is_nothing(cell) or not entity or cell == entity or cell.partition("-")[2] == entity


def _beside(source: Location, named: FileColumn, tables: Tables) -> list[tuple[str, Any]]:
    """The tables of sessions that lie with the recordings, as BIDS has them, unless they are named anyhow."""
    found = session_tables(source, (file for files in named.files_of.values() for file in files))
    given = {str(place) for place in tables.places}
    if not found.places or given & set(map(str, found.places)):
        return []
    return [(f"sessions.tsv of {len(found.places)} participants", found.cells)]


def _left(source: Location, named: FileColumn, tables: Tables) -> list[str]:
    """The tables of BIDS that nobody named: those of phenotypes, and sessions for the whole data set."""
    given = {str(place) for place in tables.places}
    places = [source / "sessions.tsv"] if (source / "sessions.tsv").exists() else []
    phenotype = source / FOR_PHENOTYPE
    places += [place for place in phenotype.list() if place.name.endswith(".tsv")] if phenotype.is_dir() else []
    return [str(place).removeprefix(str(source)).lstrip("/\\") for place in places if str(place) not in given]


def _with_session(table: TableOfFiles) -> tuple[TableOfFiles, list[str]]:
    """The table with its column of sessions called as `ssast retest` expects."""
    if any(plain_name(column) == SESSION_COLUMN for column in table):
        return table, []
    other = next((column for column in table if plain_name(column) in SESSION_NAMES), None)
    if other is None:
        return table, []
    renamed = {SESSION_COLUMN if column == other else column: cells for column, cells in table.items()}
    return renamed, [f"the column {other} is called {SESSION_COLUMN} now, as ssast retest expects"]
