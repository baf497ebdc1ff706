"""Copy recordings into folders of their own, each read once, and note those that cannot be used."""

import io
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from tqdm import tqdm

from ssast import redaction
from ssast.audio.decode import blocks
from ssast.data.layout.filenames import printable
from ssast.data.layout.power_table import PowerTable
from ssast.data.layout.uids import Row
from ssast.data.recordings import naming
from ssast.data.spectrograms import write_marker, write_spectrogram
from ssast.data.storage.location import Location
from ssast.errors import AudioError, UserError
from ssast.runs.output.skipped_recordings import SkippedRecordings


def copy_recordings(
    rows: Sequence[Row], root: Path, bad: SkippedRecordings, power: PowerTable | None, *, skips: bool, threads: int
) -> list[Row]:
    """Every recording in a folder of its own, decoded once for its rate; those that can be used."""
    kept, keep = [], partial(_keep, root) if power is None else partial(_keep_spectrogram, root, power)
    with ThreadPoolExecutor(threads) as pool:
        reasons = pool.map(keep, rows)
        try:
            for row, reason in tqdm(zip(rows, reasons, strict=True), desc="arrange", unit="clip", total=len(rows)):
                if reason is None:
                    kept.append(row)
                elif not skips:
                    raise reason
                else:
                    note_row(bad, row.uid, row.line, redaction.redacted_error(reason))
        finally:
            pool.shutdown(cancel_futures=True)
    if kept and power:
        write_marker(root)
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


def _keep_spectrogram(root: Path, power: PowerTable, row: Row) -> AudioError | None:
    """Write one spectrogram under its uid; returns what is wrong where it is none."""
    try:
        with naming(row.uid):
            write_spectrogram(root / row.uid, power.power(int(row.line)))
    except AudioError as error:
        return error
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


def note_row(bad: SkippedRecordings, name: str, line: int, reason: str) -> None:
    """Note one of several of one name too: each is a row that is left out."""
    shown = printable(name)
    is_new = shown and not bad.has(shown)
    bad(shown if is_new else f"{shown} line {line}".strip(), reason)
