"""Find each value of a Parquet column of bytes in its file, so that one is read without those around it.

Only plain pages are walked: neither compressed nor by a dictionary, as sound is written. The layout is that of
apache/parquet-format (parquet.thrift, Encodings.md); headers of pages are in Thrift's compact protocol.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Read = Callable[[int, int], bytes]
"""The bytes of a file from one place to another."""
Places = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Where each value begins, and how many bytes it has."""

_HEADER_BYTES = 1 << 16
_SMALL_VALUE = 1 << 14
"""Pages of smaller values [bytes] are read whole; of larger ones the lengths alone."""
_DATA, _INDEX, _DATA_V2 = 0, 1, 3
_PLAIN = 0
_TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _STRUCT = 1, 2, 3, 7, 8, 9, 10, 12


def value_places(read: Read, start: int, stop: int, *, levels: bool) -> Places | None:
    """The place and length of each value of the column chunk that lies from `start` to `stop`.

    `levels` says that values may be null, so that pages begin with levels. None where it cannot be walked: it is
    compressed, by a dictionary, or has nulls. ValueError where it is damaged.
    """
    begins: list[int] = []
    lengths: list[int] = []
    while start < stop:
        head = read(start, min(stop, start + _HEADER_BYTES))
        try:
            header, used = _struct(head, 0)
            size, kind = int(header[3]), header[1]
            page = header.get(5 if kind == _DATA else 8)
        except (IndexError, KeyError, TypeError) as error:
            raise ValueError("a page has no header") from error
        body, start = start + used, start + used + size
        if start > stop or size < 0:
            raise ValueError("a page reaches beyond its column")
        if kind == _INDEX:
            continue
        skipped = None if page is None else _before_values(read, body, kind, page, levels)
        if page is None or skipped is None or header.get(2) != size:
            return None
        if not _walk(read, body + skipped, start, int(page[1]), begins, lengths):
            return None
    return np.array(begins, dtype=np.int64), np.array(lengths, dtype=np.int64)


def _before_values(read: Read, body: int, kind: int, page: dict[int, Any], levels: bool) -> int | None:
    """How many bytes of a page come before its values; None where those are not plain or some are missing."""
    if kind == _DATA and page.get(2) == _PLAIN:
        return 4 + int.from_bytes(read(body, body + 4), "little") if levels else 0
    if kind == _DATA_V2 and page.get(4) == _PLAIN and not page.get(2):
        return int(page[5]) + int(page[6])
    return None


def _walk(read: Read, at: int, stop: int, count: int, begins: list[int], lengths: list[int]) -> bool:
    """Add the values of a page; False where it has fewer than rows, so that some are null."""
    shift, held = at, b""
    if stop - at < _SMALL_VALUE * max(1, count):
        held = read(at, stop)
    for _ in range(count):
        if at == stop:
            return False
        word = held[at - shift : at - shift + 4] if held else read(at, at + 4)
        length = int.from_bytes(word, "little")
        if len(word) < 4 or at + 4 + length > stop:
            raise ValueError("a value reaches beyond its page")
        begins.append(at + 4)
        lengths.append(length)
        at += 4 + length
    return True


def _struct(data: bytes, at: int) -> tuple[dict[int, Any], int]:
    """The fields of a struct by number, and the place behind it."""
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
        fields[number], at = _value(data, at, kind)
    return fields, at + 1


def _value(data: bytes, at: int, kind: int) -> tuple[Any, int]:
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
        return None, _after_list(data, at)
    if kind == _STRUCT:
        return _struct(data, at)
    zigzag, at = _varint(data, at)
    return (zigzag >> 1) ^ -(zigzag & 1), at


def _after_list(data: bytes, at: int) -> int:
    count, kind = data[at] >> 4, data[at] & 15
    at += 1
    if count == 15:
        count, at = _varint(data, at)
    for _ in range(min(count, len(data))):
        at = at + 1 if kind in (_TRUE, _FALSE) else _value(data, at, kind)[1]
    return at


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
