"""Write the columns of shards as the text of a csv, which the tables of all modes are read from."""

import base64
import csv
import io
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from ssast.data.storage.unfolding import MOST_TIMES, MOST_UNFOLDED_BYTES
from ssast.errors import UserError
from ssast.safe_reading import brief, json_of

_NOTE_KEY, _CSV_KEY = b"ssast", b"ssast_csv"
"""Under which `ssast pack` notes what a shard is part of, and its share of the csv."""


def csv_text(uids: Sequence[str], parts: Sequence[pa.Table]) -> bytes:
    """A csv of uids and the columns of these tables, which follow one another; what one lacks are empty cells."""
    names = list(dict.fromkeys(name for part in parts for name in part.column_names))
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["uid", *names])
    first = 0
    for part in parts if names else ():
        rows, own = part.num_rows, set(part.column_names)
        columns = [_values(part, name) if name in own else [None] * rows for name in names]
        cells = zip(uids[first : first + rows], *columns, strict=True)
        writer.writerows([uid, *map(_cell, values)] for uid, *values in cells)
        first += rows
    writer.writerows([uid] for uid in uids[first:])
    return text.getvalue().encode()


def csv_of(columns: Mapping[str, Sequence[str]]) -> bytes:
    """A csv of columns of text, all of one length."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return text.getvalue().encode()


def csv_share(notes: Mapping[bytes, bytes]) -> bytes | None:
    """The text of the csv that `ssast pack` put into a footer; None where there is none, or rows were left out."""
    try:
        note = json_of(notes[_NOTE_KEY].decode())
        if note.get("left_out") != 0:
            return None
        unfold, packed = zlib.decompressobj(), base64.b64decode(notes[_CSV_KEY], validate=True)
        text = unfold.decompress(packed, MOST_UNFOLDED_BYTES + MOST_TIMES * len(packed))
        return None if unfold.unconsumed_tail else text
    except (KeyError, ValueError, AttributeError, zlib.error):
        return None


def _values(part: pa.Table, name: str) -> list[Any]:
    try:
        return part.column(name).to_pylist()
    except (OverflowError, ValueError) as error:
        raise UserError(
            f"the column {brief(name)} of the shards holds a value that no csv can have ({brief(str(error))}); "
            "write it as text, or leave it out."
        ) from error


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return repr(value) if isinstance(value, float) else str(value)
