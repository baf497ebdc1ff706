"""Write one shard, row group by row group, the same bytes from the same rows."""

import base64
import hashlib
import json
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ssast.data.shards.shard_schema import (
    CSV_KEY,
    METADATA_COLUMN,
    NOTE_KEY,
    SHARD_FORMAT,
    PlannedShard,
    column,
    packed_schema,
)

_PIECE_BYTES = 1 << 22


@dataclass(frozen=True)
class PackedClip:
    """A recording as it goes into a shard: the name of its file, the file's bytes, and those of metadata.json."""

    uid: str
    name: str
    content: bytes
    metadata: bytes | None


@dataclass(frozen=True)
class PackedTable:
    """A table on its way into shards: its name, the text of its csv, its rows by uid, and the types of its columns."""

    name: str
    text: bytes
    frame: pd.DataFrame
    types: dict[str, pa.DataType]
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "digest", hashlib.sha256(self.text).hexdigest())

    def share(self, shard: PlannedShard) -> bytes:
        """The part of the csv's text that a shard carries; those of all shards in a row are the text."""
        first, last = (len(self.text) * at // shard.count for at in (shard.number, shard.number + 1))
        return self.text[first:last]


def write_shard(path: Path, shard: PlannedShard, table: PackedTable, clips: Iterable[PackedClip | None]) -> int:
    """Write the rows of a shard whose recordings come in their order, None for those left out; how many it has."""
    coming, content, rows = iter(clips), hashlib.sha256(), 0
    schema = packed_schema(table.types)
    small = [name for name in schema.names if name != "audio"]
    with pq.ParquetWriter(
        path,
        schema,
        compression={**dict.fromkeys(small, "zstd"), "audio.path": "zstd", "audio.bytes": "none"},
        use_dictionary=[*small, "audio.path"],
        write_statistics=["uid", *table.types],
    ) as writer:
        for group in shard.groups:
            rows += _write_group(writer, _pieces(table, group, coming, schema, content))
        writer.add_key_value_metadata(_notes(shard, table, rows, content.hexdigest()))
    return rows


def _write_group(writer: pq.ParquetWriter, pieces: Iterator[pa.RecordBatch]) -> int:
    """Write a row group; how many rows it has. Its sound is let go before that of the next one comes."""
    group = pa.Table.from_batches(pieces, writer.schema)
    if len(group):
        writer.write_table(group, row_group_size=len(group))
    return len(group)


def _pieces(
    table: PackedTable, group: range, clips: Iterator[PackedClip | None], schema: pa.Schema, content: Any
) -> Iterator[pa.RecordBatch]:
    """The rows of a group that are not left out, some at a time, so that its sound is held once."""
    kept: list[tuple[int, PackedClip]] = []
    held = 0
    for row, clip in zip(group, islice(clips, len(group)), strict=True):
        if clip is None:
            continue
        content.update(told(clip))
        kept.append((row, clip))
        held += len(clip.content)
        if held >= _PIECE_BYTES:
            yield _rows(table, kept, schema)
            kept, held = [], 0
    if kept:
        yield _rows(table, kept, schema)


def told(clip: PackedClip) -> bytes:
    """What the name of a shard's content is made of, for one recording."""
    parts = (clip.uid.encode(), clip.name.encode(), clip.content, clip.metadata or b"")
    return b"".join(hashlib.sha256(part).digest() for part in parts)


def _rows(table: PackedTable, kept: list[tuple[int, PackedClip]], schema: pa.Schema) -> pa.RecordBatch:
    cells = table.frame.iloc[[row for row, _ in kept]]
    sound = _as_one([clip.content for _, clip in kept])
    names = pa.array([clip.name for _, clip in kept], pa.string())
    columns = {
        "uid": pa.array([clip.uid for _, clip in kept], pa.string()),
        "audio": pa.StructArray.from_arrays([sound, names], ["bytes", "path"]),
        **{name: column(cells[name], kind) for name, kind in table.types.items()},
        METADATA_COLUMN: pa.array([clip.metadata for _, clip in kept], pa.binary()),
    }
    return pa.record_batch([columns[name] for name in schema.names], schema=schema)


def _as_one(contents: list[bytes]) -> pa.Array:
    """A column of bytes, its memory taken at once: a column that grows leaves half as much again behind."""
    offsets = np.cumsum([0, *map(len, contents)], dtype=np.int32)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(b"".join(contents))]
    return pa.Array.from_buffers(pa.binary(), len(contents), buffers)


def _notes(shard: PlannedShard, table: PackedTable, rows: int, content: str) -> dict[str, str]:
    """What the footer says beside the columns: the place among all shards, and this one's share of the csv."""
    note = {
        "format": SHARD_FORMAT,
        "table": table.name,
        "shard": [shard.number, shard.count],
        "rows": rows,
        "left_out": len(shard.rows) - rows,
        "content": content,
        "csv": {"bytes": len(table.text), "sha256": table.digest},
    }
    packed = base64.b64encode(zlib.compress(table.share(shard), 6)).decode("ascii")
    return {NOTE_KEY: json.dumps(note), CSV_KEY: packed}
