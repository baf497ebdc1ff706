"""Bring a folder of audio files and a table into the form that the other modes read."""

import io
import json
import os
import shlex
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

from ssast import redaction
from ssast.audio.decode import blocks
from ssast.data.audio_files import find_audio
from ssast.data.layout.bids_names import ASIDE, split_aside, table_of_files
from ssast.data.layout.file_column import FileColumn, TableOfFiles, name_files
from ssast.data.layout.filenames import FileNames, in_formats, is_audio, printable, quoted
from ssast.data.layout.joined_tables import read_keys
from ssast.data.layout.labels import Labels, find_labels, listed
from ssast.data.layout.people import doubtful, find_person
from ssast.data.layout.per_recording import Tables, per_recording
from ssast.data.layout.uids import Row, name_rows, uid_column
from ssast.data.recordings import naming
from ssast.data.storage.atomic_writes import atomic_folder
from ssast.data.storage.location import Location
from ssast.data.tables.people import SUBJECTS, is_naming
from ssast.data.tables.splits import read_table
from ssast.data.tables.targets import read_labels
from ssast.errors import AudioError, UserError
from ssast.options.options import Options
from ssast.options.record import RunRecord
from ssast.pages.tables import counted
from ssast.processors import worker_count
from ssast.runs.arranged import Arranged
from ssast.runs.context import say
from ssast.runs.output.folder import fingerprint, versions
from ssast.runs.output.skipped_recordings import SkippedRecordings
from ssast.runs.paths import Paths
from ssast.runs.wrapping.wrapper import Mode
from ssast.safe_reading import some

ROW_UID = "row_uid"
"""The table's own column uid where a row has several recordings, which have uids of their own."""


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
    tables, names = _tables(options.join_table, options.join_on, paths), _names(source)
    table = _read(place)
    if options.file_column is None and (of_files := table_of_files(table, names.files)):
        table, tables = of_files, replace(tables, places=[place, *tables.places])
    person = find_person(table, options.subject_column, may_lack=bool(tables.places))
    _hide(table, names, person)
    found = named = name_files(table, names, source, options.file_column, person)
    if joined := per_recording(table, named, source, tables):
        table, named = joined.table, joined.named
        person = find_person(table, options.subject_column)
        _hide(table, names, person)
    rows = name_rows(table, named)
    redaction.learn("uid", (row.uid for row in rows))
    _note_lacking(found, place, bad, skips=skips)
    if person is None and len(rows) > len(found.files_of):
        person = named.column  # the files of one row belong together, whatever the column is called
    given = read_labels(paths.at(paths.label_txt or "")) if "label_txt" in options.given else None
    labels = _labels(table, given, options.label_column, named, person)
    columns, subject = _columns(table, named, labels, person)
    with atomic_folder(folder) as unfinished:
        kept = _copy(
            rows, unfinished / "recordings", bad, skips=skips, threads=max(1, worker_count(options.num_workers))
        )
        frame = _frame(columns, kept)
        made = Arranged.of(frame, list(labels.cells), subject, test_share=options.test_share, seed=options.seed)
        made.write(unfinished)
        files = fingerprint(*dict.fromkeys((place, *tables.places)))
        record = {"clips": {"all": len(kept)}, "files": files, "versions": versions()}
        RunRecord.of(options).write(unfinished / "run.yaml", record)
    _tell_files(found, len(kept), len(names.files), folder)
    for sentence in joined.told if joined else ():
        say(sentence)
    bad.write(folder)
    made.show(folder, labels, doubtful(table, person) if person else [])
    return folder


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
        _note(bad, named.cells[line], line, f"line {line} {_why(named, line)}")


def _note(bad: SkippedRecordings, name: str, line: int, reason: str) -> None:
    """Note one of several of one name too: each is a row that is left out."""
    shown = printable(name)
    is_new = shown and not bad.has(shown)
    bad(shown if is_new else f"{shown} line {line}".strip(), reason)


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


def _copy(rows: Sequence[Row], root: Path, bad: SkippedRecordings, *, skips: bool, threads: int) -> list[Row]:
    """Every recording in a folder of its own, decoded once for its rate; those that can be used."""
    kept, keep = [], partial(_keep, root)
    with ThreadPoolExecutor(threads) as pool:
        reasons = pool.map(keep, rows)
        try:
            for row, reason in tqdm(zip(rows, reasons, strict=True), desc="arrange", unit="clip", total=len(rows)):
                if reason is None:
                    kept.append(row)
                elif not skips:
                    raise reason
                else:
                    _note(bad, row.uid, row.line, redaction.redacted_error(reason))
        finally:
            pool.shutdown(cancel_futures=True)
    if not kept:
        first = next(iter(bad.reasons.values()), "no row names one")
        raise UserError(f"none of the recordings can be used; the first: {first}")
    return kept


def _keep(root: Path, row: Row) -> AudioError | None:
    """Copy one recording under its uid, with its metadata.json; returns what is wrong where it cannot be read."""
    place = row.file.location
    ending = place.name.rsplit(".", 1)[1].lower()
    try:
        with naming(row.uid):
            content = _content(place)
            # Read to its end, so that what is wrong there shows now; no more than a block of it is held.
            rate = max(block.sample_rate for block in blocks(io.BytesIO(content), extension=ending))
    except AudioError as error:
        return error
    folder = root / row.uid
    folder.mkdir(parents=True)
    (folder / f"waveform.{ending}").write_bytes(content)
    metadata = {"encoding": ending.upper(), "sample_rate_hz": rate}
    (folder / "metadata.json").write_text(json.dumps(metadata), encoding="utf-8")
    return None


def _content(place: Location) -> bytes:
    """The bytes of a file; AudioError where this one cannot be read, though others here may be."""
    if not place.is_local:
        return place.read_bytes()
    if not os.path.isfile(place.path):
        raise AudioError(
            f"{printable(str(place))} is not a file, or a link to nothing; put the file itself there",
            path=printable(str(place)),
        )
    try:
        return place.read_bytes()
    except UserError as error:
        raise AudioError(str(error).rstrip("."), **error.names) from error


def _frame(columns: Mapping[str, Mapping[int, Any]], rows: Sequence[Row]) -> pd.DataFrame:
    """The table under uids; labels of whole numbers are written as such."""
    frame = pd.DataFrame(index=pd.Index([row.uid for row in rows], name="uid"))
    for name, cells in columns.items():
        own = pd.Series([cells[row.line] for row in rows], index=frame.index)
        is_whole = pd.api.types.is_float_dtype(own) and (own.dropna() % 1 == 0).all()
        frame[name] = own.astype("Int64") if is_whole else own
    return frame


def _tell_files(named: FileColumn, kept: int, files: int, folder: Path) -> None:
    """On the screen: which column names the files, how many came, and which were left."""
    how = "names the files"
    if any(len(own) > 1 for own in named.files_of.values()):
        rows = counted(len(named.files_of), "row")
        how = f"holds the folder, or the beginning of the file names, of each of {rows}"
    say(f"the column {named.column!r} {how}; {kept} of {files} are in {folder / 'recordings'}")
    if twice := in_formats(file for own in named.files_of.values() for file in own):
        say(
            "warning: files of one name with different endings were each taken as a recording "
            f"({counted(len(twice), 'such name')}, as of {some([file.shown for file in twice[0]], 3)}); if they are "
            "one recording in several formats, remove all but one"
        )
    if named.unnamed:
        shown = some([file.shown for file in named.unnamed], 3)
        say(f"the table has no row for {counted(len(named.unnamed), 'file')}: {shown}")
    if named.begun:
        say(
            f"the name of {named.begun[0].shown} begins with an entry of the column {named.column!r}; if each row is "
            f"one person with several files, pass --subject_column {shlex.quote(named.column)}"
        )
