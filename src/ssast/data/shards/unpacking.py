"""Read packed shards back: each recording with its files, and the text of the csv, compared with what was packed.

Shards may come from strangers: a name that could lead elsewhere is refused, and nothing unfolds without end.
"""

import base64
import hashlib
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from ssast.data.metadata import parquet_files
from ssast.data.recordings import check_uid
from ssast.data.shards.shard_schema import (
    AUDIO_TYPE,
    CSV_KEY,
    METADATA_COLUMN,
    NOTE_KEY,
    OWN_COLUMNS,
    SHARD_FORMAT,
    shard_of,
)
from ssast.data.shards.shard_writer import PackedClip, told
from ssast.data.storage.disk_names import REFUSED, RESERVED, on_disk
from ssast.data.storage.location import Location
from ssast.data.storage.unfolding import UnfoldingError, bounded_rows, bytes_between
from ssast.errors import UserError
from ssast.safe_reading import brief, json_of, some

_ROWS_AT_ONCE = 32
_PIECE = 1 << 20
_LONGEST_NAME = 200


def shard_sets(root: Location) -> dict[str, list[Location]]:
    """The shards in a folder by table, in order. UserError where there are none, or one of a set is missing."""
    sets: dict[str, list[Location]] = {}
    for table, place in parquet_files(root):
        sets.setdefault(table, []).append(place)
    if not sets:
        raise UserError(f"{root} holds no shards that `ssast pack` made; give their folder.", path=root)
    return sets


@dataclass(frozen=True)
class PackedShard:
    """An open shard that `ssast pack` made."""

    place: Location
    file: pq.ParquetFile
    note: dict[str, Any]
    content: IO[bytes]

    @cached_property
    def csv(self) -> tuple[int, str]:
        """How many bytes the whole csv has, and its SHA-256."""
        told = self.note.get("csv")
        length, digest = (told.get("bytes"), told.get("sha256")) if isinstance(told, dict) else (None, None)
        if not isinstance(length, int) or not isinstance(digest, str):
            raise _damaged(self.place, "its footer does not describe the csv")
        return length, digest

    @property
    def left_out(self) -> int:
        """How many rows of the csv have no recording, since it could not be used."""
        count = self.note.get("left_out")
        return count if isinstance(count, int) else 0

    def clips(self) -> Iterator[list[PackedClip]]:
        """Read the recordings, some at a time; UserError where they are not those that were packed."""
        digest, row = hashlib.sha256(), 0
        with _whole(self.place):
            read = partial(bytes_between, self.content)
            for batch in bounded_rows(self.file, OWN_COLUMNS, read, _ROWS_AT_ONCE):
                clips = [_clip(self.place, row + at, cells) for at, cells in enumerate(batch.to_pylist())]
                for clip in clips:
                    digest.update(told(clip))
                row += len(clips)
                yield clips
        if digest.hexdigest() != self.note.get("content"):
            raise _damaged(self.place, "its recordings are not those that were packed")

    def csv_pieces(self) -> Iterator[bytes]:
        """Read the shard's part of the csv, in pieces."""
        unfold = zlib.decompressobj()
        try:
            packed = base64.b64decode(self.file.metadata.metadata[CSV_KEY.encode()], validate=True)
            while packed and not unfold.eof:
                yield unfold.decompress(packed, _PIECE)
                packed = unfold.unconsumed_tail
        except (KeyError, ValueError, zlib.error) as error:
            raise _damaged(self.place, "its share of the csv cannot be read") from error


@contextmanager
def opened_shard(place: Location) -> Iterator[PackedShard]:
    """A shard, open. UserError where it is damaged, or nothing that `ssast pack` made."""
    with place.open("rb") as content:
        with _whole(place):
            file = pq.ParquetFile(content, pre_buffer=False, buffer_size=_PIECE)
        with file:
            yield PackedShard(place, file, _note(place, file), content)


def _note(place: Location, file: pq.ParquetFile) -> dict[str, Any]:
    found = (file.metadata.metadata or {}).get(NOTE_KEY.encode())
    try:
        note = json_of(found.decode()) if found is not None else None
    except ValueError as error:
        raise _damaged(place, "its footer cannot be read") from error
    if not isinstance(note, dict):
        raise UserError(
            f"{place} was not made by `ssast pack`, so it cannot be unpacked; the modes read it as it is, with -i.",
            path=place,
        )
    if note.get("format") != SHARD_FORMAT:
        raise UserError(
            f"{place} has the format {brief(note.get('format'))}, and this version knows {SHARD_FORMAT}; "
            "unpack it with the version that packed it.",
            path=place,
        )
    if [note.get("table"), *_pair(note.get("shard"))] != list(shard_of(place.name) or ()):
        raise UserError(f"{place} was packed under another name; give it the name that it had.", path=place)
    _check_columns(place, file.schema_arrow)
    return note


def _pair(value: object) -> list[object]:
    return list(value) if isinstance(value, list) else []


def _check_columns(place: Location, schema: pa.Schema) -> None:
    expected = {"uid": pa.string(), "audio": AUDIO_TYPE, METADATA_COLUMN: pa.binary()}
    for name, kind in expected.items():
        if name not in schema.names or schema.field(name).type != kind:
            raise UserError(
                f"{place} has no column {name} of the type {kind}, only {some(schema.names)}; get the shard that "
                "`ssast pack` made.",
                path=place,
            )


def _clip(place: Location, row: int, cells: dict[str, Any]) -> PackedClip:
    """One row; UserError where it lacks something, or its names could lead out of the new folder."""
    uid, audio = cells["uid"], cells["audio"] or {}
    name, content = audio.get("path"), audio.get("bytes")
    if uid is None or name is None or content is None:
        lacks = "no uid" if uid is None else "no sound" if content is None else "no file name"
        raise UserError(f"row {row} of {place} has {lacks}; pack the recordings again.", path=place)
    check_uid(uid)
    if on_disk(uid) != uid:
        raise UserError(f"the uid {uid!r} cannot be a folder on this system; unpack it on Linux.", uid=uid)
    if not is_plain_name(name) or name.lower() == "metadata.json":
        raise UserError(
            f"row {row} of {place} names the file {brief(name)!r}, which is no plain name of a recording, so nothing "
            "was unpacked; get the shards from who packed them.",
            path=place,
            file=name,
        )
    return PackedClip(uid, name, content, cells[METADATA_COLUMN])


def is_plain_name(name: str) -> bool:
    """Whether a file of this name lies in its folder on every system."""
    first = name.split(".")[0].rstrip()
    is_odd = REFUSED.search(name) or RESERVED.fullmatch(first) or name != name.strip(". ") or "\x7f" in name
    return bool(name) and not is_odd and len(name.encode()) <= _LONGEST_NAME


def write_csv(path: Path, shards: Iterator[PackedShard]) -> None:
    """Put the csv of a table together. UserError where it is not the one that was packed."""
    digest, length = hashlib.sha256(), 0
    with open(path, "wb") as file:
        for shard in shards:
            most, expected = shard.csv
            for piece in shard.csv_pieces():
                length += len(piece)
                if length > most:
                    raise _damaged(shard.place, "its share of the csv is longer than it says")
                digest.update(piece)
                file.write(piece)
        if digest.hexdigest() != expected:
            raise _damaged(shard.place, "with those before it, it does not give the csv that was packed")


@contextmanager
def _whole(place: Location) -> Iterator[None]:
    """Say in one sentence that a shard cannot be read."""
    try:
        yield
    except (pa.ArrowException, OSError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        why = str(error) if isinstance(error, UnfoldingError) else "it is cut off, or is no Parquet file"
        raise _damaged(place, why) from error


def _damaged(place: Location, why: str) -> UserError:
    return UserError(f"{place} is damaged: {why}; get a whole copy of it.", path=place)
