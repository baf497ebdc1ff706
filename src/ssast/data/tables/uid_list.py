"""Hold the uids of a large table in few bytes, and find the row of each."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

_AT_ONCE = 4096
"""So many are made texts at a time."""
_ANY = "surrogatepass"


class UidList(Sequence[str]):
    """Uids in their order: each takes 16 bytes beside its letters, in a list and a dictionary 170."""

    def __init__(self, uids: Iterable[str]):
        texts = [uid.encode("utf-8", _ANY) for uid in uids]
        ends = np.zeros(len(texts) + 1, np.int64)
        np.cumsum(np.fromiter(map(len, texts), np.int64, len(texts)), out=ends[1:])
        self._letters, self._ends = b"".join(texts), _narrow(ends)
        self._sorted: tuple[NDArray[np.int64], NDArray[Any]] | None = None

    def __len__(self) -> int:
        return len(self._ends) - 1

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> list[str]: ...
    def __getitem__(self, at: int | slice) -> str | list[str]:
        if isinstance(at, slice):
            return [self[row] for row in range(len(self))[at]]
        row = range(len(self))[at]
        return self._letters[self._ends[row] : self._ends[row + 1]].decode("utf-8", _ANY)

    def __iter__(self) -> Iterator[str]:
        for first in range(0, len(self), _AT_ONCE):
            for begin, end in pairwise(self._ends[first : first + _AT_ONCE + 1].tolist()):
                yield self._letters[begin:end].decode("utf-8", _ANY)

    def __contains__(self, uid: object) -> bool:
        return self.row(uid) is not None

    def __eq__(self, other: object) -> bool:
        return list(self) == list(other) if isinstance(other, list | UidList) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __getstate__(self) -> tuple[bytes, NDArray[Any]]:
        return self._letters, self._ends  # each process hashes texts in its own way

    def __setstate__(self, state: tuple[bytes, NDArray[Any]]) -> None:
        (self._letters, self._ends), self._sorted = state, None

    def row(self, uid: object) -> int | None:
        """The first row with this uid; None where there is none."""
        hashes, rows = self._by_hash()
        own = hash(uid)
        for at in range(int(hashes.searchsorted(own)), len(hashes)):
            if hashes[at] != own:
                break
            if self[rows[at]] == uid:
                return int(rows[at])
        return None

    def _by_hash(self) -> tuple[NDArray[np.int64], NDArray[Any]]:
        """The hashes in rising order, and whose they are; of equal ones the first row comes first."""
        if self._sorted is None:
            hashes = _hashes(self, len(self))
            rows = np.argsort(hashes, kind="stable")
            self._sorted = hashes[rows], _narrow(rows)
        return self._sorted


def _narrow(numbers: NDArray[Any]) -> NDArray[Any]:
    """The same numbers, in half the bytes where they are not too large."""
    return numbers.astype(np.uint32) if numbers.max(initial=0) < 2**32 else numbers


def _hashes(uids: Iterable[str], count: int) -> NDArray[np.int64]:
    return np.fromiter(map(hash, uids), np.int64, count)


def named_twice(uids: Sequence[str]) -> list[str]:
    """The uids that are there more than once, in the order of their first rows."""
    hashes = np.sort(_hashes(uids, len(uids)))
    if (hashes[1:] != hashes[:-1]).all():
        return []
    return [uid for uid, count in Counter(uids).items() if count > 1]
