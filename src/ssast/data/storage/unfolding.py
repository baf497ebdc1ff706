"""Read columns of a Parquet file of unknown origin, unless they unfold to far more than the file holds.

A few bytes can stand for a value of a gigabyte, or for one value in a million rows. What a column unfolds to is known
from the headers of its pages before anything is unfolded, and counted while values are read that a page names often.
"""

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from ssast.data.storage.location import Location
from ssast.data.storage.page_headers import DATA_PAGE, DICTIONARY_PAGE, Read, pages_of
from ssast.errors import UserError
from ssast.safe_reading import brief

MOST_UNFOLDED_BYTES, MOST_TIMES = 256 << 20, 20
"""A column of a row group may unfold to so many bytes, and to so many times what it takes in the file."""
LEAST_ROW_BYTES = 16
"""No recording takes less, so a file of fewer bytes a row is none of recordings."""
_ROWS_BYTES = 32 << 20
_BY_DICTIONARY, _BY_THE_ONE_BEFORE = (2, 8), 7
_WIDTHS = {"INT32": 4, "FLOAT": 4, "BYTE_ARRAY": 4}


class UnfoldingError(ValueError):
    """Some bytes of a file stand for far more; the text says for how much."""


def check_names(names: Sequence[str], place: Location) -> None:
    """UserError where two columns of a file share a name."""
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise UserError(f"{place} has more than one column {brief(twice[0])!r}; keep one of them.", path=place)


def chunk_stretch(chunk: Any) -> tuple[int, int]:
    """Where the pages of a column chunk begin and end."""
    begin = chunk.data_page_offset
    if chunk.dictionary_page_offset is not None and 0 < chunk.dictionary_page_offset < begin:
        begin = chunk.dictionary_page_offset
    return begin, begin + chunk.total_compressed_size


def bytes_between(content: IO[bytes], begin: int, end: int) -> bytes:
    """The bytes of an open file from one place to another."""
    content.seek(begin)
    return content.read(end - begin)


def bounded_table(file: pq.ParquetFile, group: int, columns: Sequence[str], read: Read) -> pa.Table:
    """Some columns of a row group; `read` gives bytes of the file. ValueError where they unfold to too much."""
    allowed, largest = _look_over(file.metadata.row_group(group), columns, read)
    rows = file.metadata.row_group(group).num_rows
    if rows * largest <= _ROWS_BYTES:
        return file.read_row_group(group, columns=list(columns), use_threads=False)
    return pa.Table.from_batches(_counted(file, group, columns, max(1, _ROWS_BYTES // largest), allowed))


def bounded_rows(
    file: pq.ParquetFile, columns: Sequence[str], read: Read, rows_at_once: int
) -> Iterator[pa.RecordBatch]:
    """Some columns of all row groups, some rows at a time; ValueError where one unfolds to too much."""
    for group in range(file.metadata.num_row_groups):
        allowed, largest = _look_over(file.metadata.row_group(group), columns, read)
        at_once = min(rows_at_once, max(1, _ROWS_BYTES // largest)) if largest else rows_at_once
        yield from _counted(file, group, columns, at_once, allowed)


def _counted(
    file: pq.ParquetFile, group: int, columns: Sequence[str], rows_at_once: int, allowed: int
) -> Iterator[pa.RecordBatch]:
    total = 0
    for batch in file.iter_batches(rows_at_once, row_groups=[group], columns=list(columns), use_threads=False):
        total += batch.nbytes
        if total > allowed:
            raise UnfoldingError(f"it unfolds to more than {allowed:,} bytes")
        yield batch


def _look_over(row_group: Any, columns: Sequence[str], read: Read) -> tuple[int, int]:
    """How many bytes these columns may unfold to, and how long a value can be that takes next to none in the file."""
    allowed = largest = 0
    wanted = set(columns)
    for at in range(row_group.num_columns):
        chunk = row_group.column(at)
        if not wanted.isdisjoint(itertools.accumulate(chunk.path_in_schema.split("."), "{}.{}".format)):
            most, longest = _chunk(chunk, read)
            allowed, largest = allowed + most, max(largest, longest)
    return allowed, largest


def _chunk(chunk: Any, read: Read) -> tuple[int, int]:
    begin, end = chunk_stretch(chunk)
    allowed = MOST_UNFOLDED_BYTES + MOST_TIMES * max(0, end - begin)
    unfolded = values = largest = longest = 0
    for page in pages_of(read, begin, end):
        unfolded += page.size
        if page.kind == DICTIONARY_PAGE:
            largest = max(largest, page.size)
            continue
        values += page.values
        encoding = page.own.get(2 if page.kind == DATA_PAGE else 4)
        if encoding in _BY_DICTIONARY:
            longest = max(longest, largest)
        elif encoding == _BY_THE_ONE_BEFORE:
            longest = max(longest, page.size)
    if max(unfolded, values * _WIDTHS.get(chunk.physical_type, 8)) > allowed:
        raise UnfoldingError(f"it unfolds to more than {allowed:,} bytes")
    return allowed, longest if chunk.physical_type.endswith("BYTE_ARRAY") else 0
