"""Bring a folder of audio files and a table into the form that the other modes read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from ssast import redaction
from ssast.data.audio_files import find_audio
from ssast.data.layout.bids_names import ASIDE, split_aside, table_of_files
from ssast.data.layout.file_column import FileColumn, TableOfFiles, name_files
from ssast.data.layout.filenames import File, FileNames, is_audio, quoted
from ssast.data.layout.joined_tables import read_keys
from ssast.data.layout.labels import Labels, find_labels, listed
from ssast.data.layout.per_recording import Tables, per_recording
from ssast.data.layout.power_table import PowerTable
from ssast.data.layout.uids import Row, doubtful, find_person, name_rows, uid_column
from ssast.data.storage.atomic_writes import atomic_folder
from ssast.data.storage.location import Location
from ssast.data.tables.people import SUBJECTS, is_naming
from ssast.data.tables.splits import read_table
from ssast.data.tables.targets import read_labels
from ssast.errors import UserError
from ssast.options.options import Options
from ssast.options.record import RunRecord
from ssast.pages.tables import counted
from ssast.processors import worker_count
from ssast.runs.arranged import Arranged, tell_files
from ssast.runs.context import Paths, say
from ssast.runs.output.folder import fingerprint, versions
from ssast.runs.output.recording_copies import copy_recordings, note_row
from ssast.runs.output.skipped_recordings import SkippedRecordings
from ssast.runs.wrapping.wrapper import Mode
from ssast.safe_reading import some

ROW_UID = "row_uid"
"""The table's own column uid where a row has several recordings, which have uids of their own."""
_RECORDING = "recording"
"""The column that names the rows of a Parquet file of spectrograms."""


@Mode
def arrange(options: Options) -> Path:
    """Lay audio files and a table out as `recordings/`, `splits/`, all.csv and labels.txt in the new folder exp_dir.

    `prefix` is the folder of the files, `data_split_root` the table; files are copied as they are. Takes the command
    line's options by name, and gives the folder.
    """
    folder = Path(options.exp_dir)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"the folder {folder} holds files already; give the name of a new one.", path=folder)
    paths, skips, bad = Paths.of(options), options.on_bad_audio == "skip", SkippedRecordings()
    source, place = paths.recordings, paths.at(paths.data_split_root or "")
    tables, power = _tables(options.join_table, options.join_on, paths), PowerTable.of(source)
    names = FileNames([], source) if power else _names(source)
    found = _find(names, power, place, tables, file_column=options.file_column, subject_column=options.subject_column)
    table, named, person = found.table, found.named, found.person
    rows = name_rows(table, named)
    redaction.learn("uid", (row.uid for row in rows))
    _note_lacking(found.first, place, bad, skips=skips)
    if person is None and len(rows) > len(found.first.files_of):
        person = named.column  # the files of one row belong together, whatever the column is called
    given = read_labels(paths.at(paths.label_txt or "")) if "label_txt" in options.given else None
    labels = _labels(table, given, options.label_column, named, person)
    columns, subject = _columns(table, named, labels, person)
    with atomic_folder(folder) as unfinished:
        threads = 1 if power else max(1, worker_count(options.num_workers))  # a row group is read once
        kept = copy_recordings(rows, unfinished / "recordings", bad, power, skips=skips, threads=threads)
        frame = _frame(columns, kept)
        made = Arranged.of(frame, list(labels.cells), subject, test_share=options.test_share, seed=options.seed)
        made.write(unfinished)
        files = fingerprint(*dict.fromkeys((place, *tables.places)))
        record = {"clips": {"all": len(kept)}, "files": files, "versions": versions()}
        RunRecord.of(options).write(unfinished / "run.yaml", record)
    if power is None:
        tell_files(found.first, len(kept), len(names.files), folder)
    else:
        say(f"{len(kept)} of {len(rows)} spectrograms are in {folder / 'recordings'}")
    for sentence in found.told:
        say(sentence)
    bad.write(folder)
    made.show(folder, labels, doubtful(table, person) if person else [], is_sound=power is None)
    return folder


@dataclass(frozen=True)
class _Found:
    """The table, the files of its lines and who speaks; `first` are the files as the user's table named them."""

    table: TableOfFiles
    named: FileColumn
    person: str | None
    first: FileColumn
    told: list[str]


def _find(
    names: FileNames,
    power: PowerTable | None,
    place: Location,
    tables: Tables,
    *,
    file_column: str | None,
    subject_column: str | None,
) -> _Found:
    """Which recording is whose; the user's table is joined to the recordings where it does not name them itself."""
    table = _read(place)
    of_files = table_of_files(table, names.files) if file_column is None else None
    if power or of_files:
        tables = replace(tables, places=[place, *tables.places])
        table = {_RECORDING: power.names, **power.keys} if power else of_files or table
    person = find_person(table, subject_column, may_lack=bool(tables.places))
    _hide(table, names, person)
    first = _spectrograms(power) if power else name_files(table, names, names.folder, file_column, person)
    joined = per_recording(table, first, names.folder, tables)
    if joined is None:
        return _Found(table, first, person, first, [])
    person = find_person(joined.table, subject_column)
    _hide(joined.table, names, person)
    return _Found(joined.table, joined.named, person, first, joined.told)


def _spectrograms(power: PowerTable) -> FileColumn:
    """The rows of a Parquet file as recordings; each has the name that its `spectrogram.npy` will lie under."""
    names = power.names
    files = {row: [File(power.place, (name,))] for row, name in names.items()}
    return FileColumn(_RECORDING, names, files, {}, {}, [], [], is_of_people=False)


def _tables(further: str | None, keys: str | None, paths: Paths) -> Tables:
    """The further tables, one a line, and the keys that the options name."""
    words = [line.strip() for line in (further or "").splitlines() if line.strip()]
    return Tables([paths.at(word) for word in words], read_keys(keys))


def _names(source: Location) -> FileNames:
    """The audio files of the folder, without those that BIDS keeps beside the data set's own."""
    own, aside = split_aside(find_audio([source]), source)
    if aside:
        say(f"{counted(len(aside), 'audio file')} in {', '.join(ASIDE)} beside the folders of participants left aside")
    return FileNames(own, source)


def _read(place: Location) -> TableOfFiles:
    table = read_table(place)
    if not any(table.values()):
        raise UserError(f"{place} has a header but no rows; add one row a recording, or one a person.", path=place)
    return table


def _hide(table: TableOfFiles, names: FileNames, person: str | None) -> None:
    """Tell the redaction of a private run which words of the table and of the files are names."""
    if redaction.redaction_in_use():
        redaction.learn("file", (part for file in names.files for part in (file.shown, *file.path)))
        redaction.learn("subject", table[person].values() if person else ())
        cells = {cell for column in table.values() for cell in column.values()}
        redaction.learn("file", (cell for cell in cells if is_audio(cell) or names.meant(cell) or names.nearly(cell)))


def _labels(
    table: TableOfFiles, given: list[str] | None, columns: str | None, named: FileColumn, person: str | None
) -> Labels:
    """The labels that the options name, else all columns of yes/no answers."""
    spread = [] if columns is None else listed(columns, table)
    for name in spread:
        if name in (named.column, person, uid_column(table)):
            raise UserError(f"the column {name!r} names files or people, so it is no label; correct --label_column.")
    leave = [name for name in (named.column, person, uid_column(table)) if name]
    return find_labels(table, given, spread, leave)


def _columns(
    table: TableOfFiles, named: FileColumn, labels: Labels, person: str | None
) -> tuple[dict[str, Mapping[int, Any]], str | None]:
    """The columns of all.csv in their order: who speaks, under a name that every mode knows, the labels, the others."""
    subject = person if person is None or person == find_person(table, None) else SUBJECTS[0]
    left = {named.column, uid_column(table), person}
    others = {name: cells for name, cells in table.items() if name not in left}
    own = uid_column(table)
    if own not in (None, named.column, person) and named.is_of_people:
        others[ROW_UID] = table[own or ""]
    if subject is not None and (subject in others or (subject != person and subject in labels.cells)):
        raise UserError(
            f"the table has a column {subject!r} beside {person!r}, and every mode would take it for who speaks; "
            "rename or remove it."
        )
    if person is not None and not is_naming(table[person].values()):
        raise UserError(
            f"the column {person!r} holds nothing but 0 and 1 or yes and no, which no mode takes for people; write "
            "codes such as P0 and P1."
        )
    first = {subject: table[person]} if subject is not None and person is not None else {}
    rest = {name: cells for name, cells in others.items() if name not in labels.cells}
    return {**first, **labels.cells, **rest}, subject


def _note_lacking(named: FileColumn, place: Location, bad: SkippedRecordings, *, skips: bool) -> None:
    """Note the rows without a file of their own; UserError unless bad recordings are to be skipped."""
    lines = sorted({*named.lacking, *named.unclear})
    if lines and not skips:
        first = min(named.unclear or named.lacking)
        files = [file.shown for file in named.unclear.get(first, ())]
        sentence = f"{place} {_first_lacking(named)}, or pass --on_bad_audio skip."
        raise UserError(sentence, path=place, cell=named.cells[first], file=files)
    for line in lines:
        note_row(bad, named.cells[line], line, f"line {line} {_why(named, line)}")


def _first_lacking(named: FileColumn) -> str:
    """What is wrong with the rows that have no file, or more than one, and the first of them."""
    if named.unclear:
        line = min(named.unclear)
        return (
            f"has names that fit more than one audio file in {counted(len(named.unclear), 'row')}, the first in line "
            f"{line}, where {quoted(named.cells[line])} in the column {named.column!r} {_why(named, line)}; write the "
            "names with their folders or endings"
        )
    line = min(named.lacking)
    cell = f"says {quoted(named.cells[line])}" if named.cells[line] else "is empty"
    near = f" ({named.lacking[line]})" if named.lacking[line] else ""
    return (
        f"names no audio file in {counted(len(named.lacking), 'row')}, the first in line {line}, where the "
        f"column {named.column!r} {cell}{near}; bring the files, correct or remove the rows"
    )


def _why(named: FileColumn, line: int) -> str:
    if line in named.unclear:
        files = named.unclear[line]
        return f"fits {len(files)} files: {some([file.shown for file in files], 3)}"
    return f"names no audio file{f' ({near})' if (near := named.lacking[line]) else ''}"


def _frame(columns: Mapping[str, Mapping[int, Any]], rows: Sequence[Row]) -> pd.DataFrame:
    """The table under uids; labels of whole numbers are written as such."""
    frame = pd.DataFrame(index=pd.Index([row.uid for row in rows], name="uid"))
    for name, cells in columns.items():
        own = pd.Series([cells[row.line] for row in rows], index=frame.index)
        is_whole = pd.api.types.is_float_dtype(own) and (own.dropna() % 1 == 0).all()
        frame[name] = own.astype("Int64") if is_whole else own
    return frame
