"""Say what a packed shard holds: its name, its columns and their types, and what is noted in its footer.

The columns are `uid`, `audio` (a struct of `bytes` and `path`, as Hugging Face's datasets have it), those of the csv,
and `ssast_metadata`, the bytes of metadata.json.
"""

import json
import re
from collections.abc import Mapping, Sequence

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
