"""Read the headers of the pages of a Parquet column, which say how much each unfolds to.

The layout is that of apache/parquet-format (parquet.thrift); headers of pages are in Thrift's compact protocol, and
never compressed. They may come from strangers: ValueError where one cannot be meant.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

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
