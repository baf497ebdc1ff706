"""Read columns of a Parquet file of unknown origin, unless they unfold to far more than the file holds.

A few bytes can stand for a value of a gigabyte, or for one value in a million rows. What a column unfolds to is known
from the headers of its pages before anything is unfolded, and counted while values are read that a page names often.
The layout is that of apache/parquet-format (parquet.thrift); headers of pages are in Thrift's compact protocol, and
never compressed. They may come from strangers: ValueError where one cannot be meant.
"""

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from ssast.data.storage.location import Location
from ssast.errors import UserError
from ssast.safe_reading import brief

Read = Callable[[int, int], bytes]
"""The bytes of a file from one place to another."""
DATA_PAGE, INDEX_PAGE, DICTIONARY_PAGE, DATA_PAGE_V2 = 0, 1, 2, 3
_OWN_HEADER = {DATA_PAGE: 5, DICTIONARY_PAGE: 7, DATA_PAGE_V2: 8}
_HEADER_BYTES = (1 << 16, 1 << 24)
"""A header is looked for in so many bytes, and in more where it goes on: some writers put whole values into it."""
_DEEPEST, _MOST_EMPTY, _LARGEST = 10, 1000, (1 << 31) - 1
_TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _STRUCT = 1, 2, 3, 7, 8, 9, 10, 12


@dataclass(frozen=True, slots=True)
class Page:
    """A page: its body lies from `begin` to `stop` and unfolds to `size` bytes with so many `values`.

    `own` are the further fields of its kind of header, by number.
    """

    kind: int
    begin: int
    stop: int
    size: int
    values: int
    own: dict[int, Any]

    def number(self, at: int, usual: int = 0) -> int:
        """A whole number of `own`; ValueError where it is none."""
        return _whole(self.own.get(at, usual))


def pages_of(read: Read, start: int, stop: int) -> Iterator[Page]:
    """The pages of the column chunk that lies from `start` to `stop`; ValueError where they do not fill it."""
    empty = 0
    while start < stop:
        page = _page(read, start, stop)
        if page.stop > stop:
            raise ValueError("a page reaches beyond its column")
        empty += not page.values
        if empty > _MOST_EMPTY:
            raise ValueError("it has pages without end and nothing in them")
        start = page.stop
        yield page


def _page(read: Read, start: int, stop: int) -> Page:
    for window in _HEADER_BYTES:
        head = read(start, min(stop, start + window))
        try:
            header, used = _struct(head, 0, 0)
            break
        except IndexError:
            continue
    else:
        raise ValueError("a page has no header")
    if not {1, 2, 3} <= header.keys():
        raise ValueError("a page has no header")
    kind, size, packed = (_whole(header[at]) for at in (1, 2, 3))
    own = header.get(_OWN_HEADER.get(kind, 0), {} if kind == INDEX_PAGE else None)
    if not isinstance(own, dict):
        raise ValueError("a page has no header of its kind")
    begin = start + used
    return Page(kind, begin, begin + packed, size, _whole(own.get(1, 0)), own)


def _whole(value: object) -> int:
    if type(value) is not int or not 0 <= value <= _LARGEST:
        raise ValueError("a page has a size that cannot be")
    return value


def _struct(data: bytes, at: int, depth: int) -> tuple[dict[int, Any], int]:
    """The fields of a struct by number, and the place behind it."""
    if depth > _DEEPEST:
        raise ValueError("a page has a header without end")
    fields: dict[int, Any] = {}
    number = 0
    while kind := data[at]:
        at += 1
        step, kind = kind >> 4, kind & 15
        if step:
            number += step
        else:
            zigzag, at = _varint(data, at)
            number = (zigzag >> 1) ^ -(zigzag & 1)
        fields[number], at = _value(data, at, kind, depth)
    return fields, at + 1


def _value(data: bytes, at: int, kind: int, depth: int) -> tuple[Any, int]:
    if kind in (_TRUE, _FALSE):
        return kind == _TRUE, at
    if kind == _BYTE:
        return data[at], at + 1
    if kind == _DOUBLE:
        return None, at + 8
    if kind == _BINARY:
        length, at = _varint(data, at)
        return None, at + length
    if kind in (_LIST, _SET):
        return None, _after_list(data, at, depth + 1)
    if kind == _STRUCT:
        return _struct(data, at, depth + 1)
    zigzag, at = _varint(data, at)
    return (zigzag >> 1) ^ -(zigzag & 1), at


def _after_list(data: bytes, at: int, depth: int) -> int:
    if depth > _DEEPEST:
        raise ValueError("a page has a header without end")
    count, kind = data[at] >> 4, data[at] & 15
    at += 1
    if count == 15:
        count, at = _varint(data, at)
    for _ in range(min(count, len(data))):
        at = at + 1 if kind in (_TRUE, _FALSE) else _value(data, at, kind, depth)[1]
    return at


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
        if shift > 63:
            raise ValueError("a page has a number without end")


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
