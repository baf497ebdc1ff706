"""Write the columns of shards as the text of a csv, which the tables of all modes are read from."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa


def csv_text(uids: Sequence[str], parts: Sequence[pa.Table]) -> bytes:
    """A csv of uids and the columns of these tables, which follow one another; what one lacks are empty cells."""
    names = list(dict.fromkeys(name for part in parts for name in part.column_names))
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["uid", *names])
    first = 0
    for part in parts if names else ():
        rows = part.num_rows
        columns = [part.column(name).to_pylist() if name in part.column_names else [None] * rows for name in names]
        cells = zip(uids[first : first + rows], *columns, strict=True)
        writer.writerows([uid, *map(_cell, own)] for uid, *own in cells)
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


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return repr(value) if isinstance(value, float) else str(value)
