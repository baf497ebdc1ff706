"""Join the tables that a run wrote in parts into those that one run writes: `ssast merge`."""

import contextlib
import csv
import io
import itertools
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ssast.data.storage.atomic_writes import atomic_file, first_line
from ssast.data.storage.location import Location
from ssast.data.storage.unfolding import bounded_rows, bytes_between
from ssast.data.tables.row_groups import write_rows
from ssast.engine.inference import ROWS_AT_ONCE
from ssast.errors import UserError
from ssast.options.options import Options
from ssast.options.parts import Part
from ssast.options.record import RunRecord
from ssast.pages.sound_finding_sentences import KINDS
from ssast.pages.tables import counted
from ssast.runs.context import Paths, say, words_in
from ssast.runs.output.folder import open_folder
from ssast.runs.output.part_tables import GROUPS, KEY, PartNote, save_scores
from ssast.runs.output.skipped_recordings import BAD_AUDIO, HEARD_TABLE
from ssast.runs.wrapping.wrapper import Mode
from ssast.safe_reading import brief, some

_NAME = re.compile(r"(.+)_part-([0-9]{3,6})-of-([0-9]{3,6})\.parquet")


@Mode
def merge(options: Options) -> Path:
    """Join the parts that extract or predict wrote into the tables that one run writes; the folder with these.

    Takes the command line's options by name; `runs` holds the folders with parts, with commas between.
    """
    paths = Paths.of(options)
    folders = [paths.at(word) for word in words_in(options.runs)]
    tables = _tables(folders)
    for stem, files in tables.items():
        _check_complete(stem, files)
    rows = max(files[0].note.rows for files in tables.values())
    folder = open_folder(RunRecord.of(options), clips={"merge": rows}, files={}, trains=False)
    for stem, files in tables.items():
        ordered = sorted(files, key=lambda file: file.note.number)
        if stem in GROUPS:
            count = save_scores(_frames(ordered), folder / stem, GROUPS[stem])
            names = f"{stem}.csv and {stem}.parquet"
        else:
            names, schema = f"{stem}.pqt", _schema(ordered, is_exact=True)
            count = write_rows(folder / names, schema, _rows(ordered), ROWS_AT_ONCE, use_dictionary=False)
        say(f"{counted(len(files), 'part')} with {counted(count, 'row')} joined in {folder}: {names}")
    _join_left_out(folder, next(iter(tables.values())))
    return folder


@dataclass(frozen=True)
class PartFile:
    """A table that one part of a run wrote, with what it says of itself."""

    place: Location
    note: PartNote

    def table(self) -> Iterator[pa.Table]:
        """Read the rows, a few after the other."""
        with _named_errors(self.place), self.place.open("rb") as content, pq.ParquetFile(content) as file:
            for rows in bounded_rows(file, file.schema_arrow.names, partial(bytes_between, content), ROWS_AT_ONCE):
                yield pa.Table.from_batches([rows])

    def schema(self) -> tuple[pa.Schema, int]:
        """Return the columns without the part's note, and how many rows there are."""
        with _named_errors(self.place), self.place.open("rb") as content, pq.ParquetFile(content) as file:
            facts = {name: value for name, value in (file.schema_arrow.metadata or {}).items() if name != KEY}
            return file.schema_arrow.with_metadata(facts or None), file.metadata.num_rows


@contextlib.contextmanager
def _named_errors(place: Location) -> Iterator[None]:
    try:
        yield
    except (OSError, pa.ArrowException, ValueError, csv.Error) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(
            f"{place} cannot be read as the table of a part ({first_line(error)}); do that part again.", path=place
        ) from error


def _tables(folders: Sequence[Location]) -> dict[str, list[PartFile]]:
    """The parts' files of each table, by its name without part and ending."""
    found: dict[str, list[PartFile]] = defaultdict(list)
    for folder in folders:
        if not folder.is_dir():
            raise UserError(
                f"{folder} is no folder; give the folder that extract or predict wrote with --part.", path=folder
            )
        for place in folder.list():
            if (name := _NAME.fullmatch(place.name)) and not name[1].startswith("."):
                found[name[1]].append(_part_file(place, Part(int(name[2]), int(name[3]))))
    if not found:
        raise UserError(
            f"{some([str(folder) for folder in folders])} holds no table of a part; "
            "give the folder that extract or predict wrote with --part.",
            path=folders,
        )
    return dict(sorted(found.items()))


def _part_file(place: Location, part: Part) -> PartFile:
    """The file with its note; UserError where it has none, or is of another part than its name says."""
    with _named_errors(place), place.open("rb") as content:
        note = PartNote.read(pq.read_schema(content).metadata)
    if note.part != part:
        raise UserError(
            f"{place} holds part {note.number} of {note.count}, which its name does not say; "
            "give it its own name again, or do that part again.",
            path=place,
        )
    return PartFile(place, note)


def _check_complete(stem: str, files: list[PartFile]) -> None:
    """UserError that names the parts that are missing, there twice, or of another run."""
    first = files[0]
    for file in files[1:]:
        if difference := first.note.difference(file.note):
            raise UserError(
                f"{first.place} and {file.place} are not of one run: {difference}; take one away, or do it again.",
                path=[first.place, file.place],
            )
    places: dict[int, list[Location]] = defaultdict(list)
    for file in files:
        places[file.note.number].append(file.place)
    missing = [str(number) for number in range(1, first.note.count + 1) if number not in places]
    doubled = {number: own for number, own in places.items() if len(own) > 1}
    told = [
        f"part {number} is there {len(own)} times: {' and '.join(brief(str(one), 300) for one in own)}"
        for number, own in doubled.items()
    ]
    if missing:
        what = "part" if len(missing) == 1 else "parts"
        told.append(
            f"{what} {some(missing)} of {first.note.count} missing: start with --part {missing[0]}/{first.note.count}"
        )
    if told:
        raise UserError(
            f"the parts of {stem} are not whole, {'; '.join(told[:5])}.", path=[file.place for file in files]
        )
    _check_bounds(sorted(files, key=lambda file: file.note.number))


def _check_bounds(files: list[PartFile]) -> None:
    """UserError where one part does not begin where the one before it ends."""
    ends = [0, *(file.note.stop for file in files)]
    for end, file in zip(ends, files, strict=False):
        if file.note.start != end:
            raise UserError(
                f"{file.place} begins with recording {file.note.start + 1}, expected {end + 1}; "
                "do all parts with one device and one batch_size.",
                path=file.place,
            )
    if ends[-1] != files[-1].note.rows:
        raise UserError(f"{files[-1].place} ends before the last recording; do that part again.", path=files[-1].place)


def _schema(files: list[PartFile], *, is_exact: bool = False) -> pa.Schema:
    """The columns of the first part that has rows: one without any may have fewer.

    UserError where those of another part with rows have other names; other types too where the schema `is_exact`.
    """
    found = [(file, *file.schema()) for file in files]
    filled = [one for one in found if one[2]] or found[:1]
    first, expected, _ = filled[0]
    for file, schema, _ in filled:
        if schema.names != expected.names or (is_exact and not schema.equals(expected)):
            raise UserError(
                f"{file.place} has other columns ({some(schema.names)}) than {first.place} ({some(expected.names)}), "
                "or of other types; do that part again.",
                path=[file.place, first.place],
            )
    return expected


def _rows(files: Iterable[PartFile]) -> Iterator[pa.Table]:
    return itertools.chain.from_iterable(file.table() for file in files)


def _frames(files: list[PartFile]) -> Iterator[pd.DataFrame]:
    """The rows of all parts as tables of pandas, one at least, which may be empty."""
    schema = _schema(files)
    tables = (table.replace_schema_metadata(schema.metadata) for table in _rows(files) if table.num_rows)
    first = next(tables, schema.empty_table())
    yield from (table.to_pandas() for table in itertools.chain([first], tables))


def _join_left_out(folder: Path, files: list[PartFile]) -> None:
    """bad_audio.csv and heard.csv of all parts, as one run writes them."""
    ordered = sorted(files, key=lambda file: file.note.number)
    _join(folder / BAD_AUDIO, _lists(ordered, BAD_AUDIO), [None])
    _join(folder / HEARD_TABLE, _lists(ordered, HEARD_TABLE), KINDS)


def _lists(files: Iterable[PartFile], name: str) -> list[Location]:
    places = [file.place.parent / file.note.part.named(name) for file in files]
    return [place for place in places if place.exists()]


def _lines_of(place: Location) -> Iterator[list[str]]:
    with _named_errors(place), io.TextIOWrapper(place.open("rb"), encoding="utf-8", newline="") as content:
        yield from csv.reader(content)


def _join(path: Path, places: list[Location], kinds: Iterable[str | None]) -> None:
    """One table of several, their rows by kind where there are kinds."""
    path.unlink(missing_ok=True)
    if not places:
        return
    with atomic_file(path) as unfinished, open(unfinished, "w", encoding="utf-8", newline="") as text:
        writer = csv.writer(text, lineterminator="\n")
        for number, kind in enumerate(kinds):
            for place in places:
                rows = _lines_of(place)
                header = next(rows, [])
                if not number and place == places[0]:
                    writer.writerow(header)
                writer.writerows(row for row in rows if kind is None or row[1:2] == [kind])
    say(f"{path} has the rows of {counted(len(places), 'part')}")
