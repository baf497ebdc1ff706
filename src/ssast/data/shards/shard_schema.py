"""Say what packed shards hold: names, columns and types, what is noted in a footer, and which rows come into which.

The columns are `uid`, `audio` (a struct of `bytes` and `path`, as Hugging Face's datasets have it), those of the csv,
and `ssast_metadata`, the bytes of metadata.json. Rows are shared out by the sizes of the recordings alone.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa

from ssast.errors import UserError

SHARD_FORMAT = 1
NOTE_KEY, CSV_KEY = "ssast", "ssast_csv"
"""Under which the footer of a shard says what it is part of, and holds its share of the csv's own text."""
METADATA_COLUMN = "ssast_metadata"
OWN_COLUMNS = ("uid", "audio", METADATA_COLUMN)
AUDIO_TYPE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
_EXACT = 2**53
"""Up to here a float64 holds every whole number."""
_NAME = re.compile(r"(.+)-(\d{5,})-of-(\d{5,})\.parquet")


def shard_name(table: str, number: int, count: int) -> str:
    """The name of a shard, by which `datasets` finds the splits."""
    return f"{table}-{number:05d}-of-{count:05d}.parquet"


def shard_of(name: str) -> tuple[str, int, int] | None:
    """(table, number, how many there are) by a file's name; None where it is none of a shard."""
    found = _NAME.fullmatch(name)
    return (found[1], int(found[2]), int(found[3])) if found else None


def column_types(frames: Mapping[str, pd.DataFrame]) -> dict[str, dict[str, pa.DataType]]:
    """The type of each column of the tables, by table; a column of several tables has one that holds all its values.

    UserError where a column has a name that a shard needs.
    """
    kinds: dict[str, pa.DataType] = {}
    for table, frame in frames.items():
        for name in frame.columns:
            if name in OWN_COLUMNS:
                raise UserError(
                    f"{table}.csv has a column {name!r}, under which shards hold something else; rename it.",
                )
            kinds[name] = _wider(kinds.get(name), _kind(frame[name]))
    return {table: {name: kinds[name] for name in frame.columns} for table, frame in frames.items()}


def _kind(cells: pd.Series) -> pa.DataType:
    if not pd.api.types.is_numeric_dtype(cells):
        return pa.string()
    if pd.api.types.is_signed_integer_dtype(cells):
        return pa.int64()
    values = cells.to_numpy(dtype=np.float64)
    known = values[~np.isnan(values)]
    is_whole = known.size and np.isfinite(known).all() and (np.abs(known) < _EXACT).all()
    return pa.int64() if is_whole and (known == np.rint(known)).all() else pa.float64()


def _wider(one: pa.DataType | None, other: pa.DataType) -> pa.DataType:
    order: Sequence[pa.DataType] = (pa.int64(), pa.float64(), pa.string())
    return other if one is None else order[max(order.index(one), order.index(other))]


def column(cells: pd.Series, kind: pa.DataType) -> pa.Array:
    """The cells as a column of this type; empty ones are null."""
    empty = cells.isna().to_numpy()
    if kind == pa.int64():
        return pa.array(cells.where(~empty, 0).to_numpy().astype(np.int64), mask=empty)
    if kind == pa.float64():
        return pa.array(cells.to_numpy(dtype=np.float64), mask=empty)
    return pa.array([None if gone else str(cell) for cell, gone in zip(cells, empty, strict=True)], pa.string())


def packed_schema(types: Mapping[str, pa.DataType]) -> pa.Schema:
    """The columns of a shard, with what lets Hugging Face's datasets take `audio` for sound."""
    fields = [("uid", pa.string()), ("audio", AUDIO_TYPE), *types.items(), (METADATA_COLUMN, pa.binary())]
    features = {
        name: {"_type": "Audio"} if kind == AUDIO_TYPE else {"dtype": _WORDS[kind], "_type": "Value"}
        for name, kind in fields
    }
    return pa.schema(fields, metadata={"huggingface": json.dumps({"info": {"features": features}})})


_WORDS = {pa.int64(): "int64", pa.float64(): "float64", pa.string(): "string", pa.binary(): "binary"}


MB = 10**6
_ROW_BYTES = 1000
"""A row counts for so much at least, so that empty ones fill no group without end."""


@dataclass(frozen=True)
class PlannedShard:
    """One file: its number among the `count` of a table, and the rows of each of its row groups."""

    table: str
    number: int
    count: int
    groups: tuple[range, ...]

    @property
    def name(self) -> str:
        """The name of the file."""
        return shard_name(self.table, self.number, self.count)

    @property
    def rows(self) -> range:
        """All its rows."""
        return range(self.groups[0].start, self.groups[-1].stop)


def planned_shards(table: str, sizes: Sequence[int], *, group_bytes: int, shard_bytes: int) -> list[PlannedShard]:
    """The shards of a table whose recordings have these sizes; no group and no shard holds more, or else one row."""
    groups = list(_filled([max(size, _ROW_BYTES) for size in sizes], group_bytes))
    weights = [sum(max(sizes[row], _ROW_BYTES) for row in rows) for rows in groups]
    files = list(_filled(weights, shard_bytes))
    return [
        PlannedShard(table, number, len(files), tuple(groups[at] for at in numbers))
        for number, numbers in enumerate(files)
    ]


def _filled(weights: Sequence[int], most: int) -> Iterator[range]:
    """Stretches of numbers whose weights are together at most so much."""
    first = held = 0
    for at, weight in enumerate(weights):
        if at > first and held + weight > most:
            yield range(first, at)
            first = at
            held = 0
        held += weight
    if weights:
        yield range(first, len(weights))
