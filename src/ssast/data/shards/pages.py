"""Find each value of a Parquet column of bytes in its file, so that one is read without those around it.

Only plain pages are walked: neither compressed nor by a dictionary, as sound is written. The layout is that of
apache/parquet-format (Encodings.md).
"""

import numpy as np
from numpy.typing import NDArray

from ssast.data.storage.unfolding import DATA_PAGE, DATA_PAGE_V2, INDEX_PAGE, Page, Read, pages_of

Places = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Where each value begins, and how many bytes it has."""

_SMALL_VALUE = 1 << 14
"""Pages of smaller values [bytes] are read whole; of larger ones the lengths alone."""
_PLAIN = 0


def value_places(read: Read, start: int, stop: int, *, levels: bool) -> Places | None:
    """The place and length of each value of the column chunk that lies from `start` to `stop`.

    `levels` says that values may be null, so that pages begin with levels. None where it cannot be walked: it is
    compressed, by a dictionary, or has nulls. ValueError where it is damaged.
    """
    begins: list[int] = []
    lengths: list[int] = []
    for page in pages_of(read, start, stop):
        if page.kind == INDEX_PAGE:
            continue
        skipped = _before_values(read, page, levels)
        if skipped is None or page.size != page.stop - page.begin:
            return None
        if page.begin + skipped > page.stop:
            raise ValueError("the values of a page begin beyond it")
        if not _walk(read, page.begin + skipped, page.stop, page.values, begins, lengths):
            return None
    return np.array(begins, dtype=np.int64), np.array(lengths, dtype=np.int64)


def _before_values(read: Read, page: Page, levels: bool) -> int | None:
    """How many bytes of a page come before its values; None where those are not plain or some are missing."""
    if page.kind == DATA_PAGE and page.own.get(2) == _PLAIN:
        return 4 + int.from_bytes(read(page.begin, page.begin + 4), "little") if levels else 0
    if page.kind == DATA_PAGE_V2 and page.own.get(4) == _PLAIN and not page.own.get(2):
        return page.number(5) + page.number(6)
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
