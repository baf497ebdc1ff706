"""Hold the uids of a large table in few bytes, and find the row of each."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

_AT_ONCE = 4096
"""So many are made texts at a time."""


class UidList(Sequence[str]):
    """Uids in their order: a text and a number each take 27 bytes beside its letters, in a list and a dict 170."""

    def __init__(self, uids: Iterable[str] | pa.Array):
        known = isinstance(uids, list | pa.Array)
        self._texts = pa.array(uids if known else list(uids), pa.large_string())
        self._sorted: tuple[NDArray[np.int64], NDArray[np.intp]] | None = None

    def __len__(self) -> int:
        return len(self._texts)

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> list[str]: ...
    def __getitem__(self, at: int | slice) -> str | list[str]:
        found = self._texts[at]
        texts: str | list[str] = found.to_pylist() if isinstance(at, slice) else found.as_py()
        return texts

    def __iter__(self) -> Iterator[str]:
        for first in range(0, len(self), _AT_ONCE):
            yield from self[first : first + _AT_ONCE]

    def __contains__(self, uid: object) -> bool:
        return self.row(uid) is not None

    def __reduce__(self) -> tuple[type["UidList"], tuple[pa.Array]]:
        return UidList, (self._texts,)  # each process hashes texts in its own way

    def row(self, uid: object) -> int | None:
        """The first row with this uid; None where there is none."""
        hashes, rows = self._by_hash()
        own = hash(uid)
        for at in range(int(hashes.searchsorted(own)), len(hashes)):
            if hashes[at] != own:
                break
            if self[int(rows[at])] == uid:
                return int(rows[at])
        return None

    def rows(self, uids: Iterable[str]) -> NDArray[np.intp]:
        """The first row of each of these; -1 where there is none."""
        asked = pa.array(list(uids), pa.large_string())
        hashes, rows = self._by_hash()
        if not len(hashes):
            return np.full(len(asked), -1)
        at = np.minimum(np.searchsorted(hashes, _hashes(asked.to_pylist(), len(asked))), len(hashes) - 1)
        found = rows[at]
        for other in np.flatnonzero(~pc.equal(self._texts.take(found), asked).to_numpy(zero_copy_only=False)):
            row = self.row(asked[other].as_py())
            found[other] = -1 if row is None else row
        return found

    def _by_hash(self) -> tuple[NDArray[np.int64], NDArray[np.intp]]:
        """The hashes in rising order, and whose they are; of equal ones the first row comes first."""
        if self._sorted is None:
            hashes = _hashes(self, len(self))
            rows = np.argsort(hashes, kind="stable")
            self._sorted = hashes[rows], rows
        return self._sorted


def _hashes(uids: Iterable[str], count: int) -> NDArray[np.int64]:
    return np.fromiter(map(hash, uids), np.int64, count)


def named_twice(uids: Sequence[str]) -> list[str]:
    """The uids that are there more than once, in the order of their first rows."""
    hashes = np.sort(_hashes(uids, len(uids)))
    if (hashes[1:] != hashes[:-1]).all():
        return []
    return [uid for uid, count in Counter(uids).items() if count > 1]
