"""Hold a row group of a shard open, so that each recording in it is read alone, and fetch groups ahead of their use.

Each value of a Parquet column of bytes is found in its file. Only plain pages are walked: neither compressed nor by a
dictionary, as sound is written. The layout is that of apache/parquet-format (Encodings.md).
"""

import os
import threading
import weakref
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from queue import SimpleQueue

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ssast.data.shards.shard_file import METADATA, ShardFile, kept
from ssast.data.storage.cache import fingerprint_of
from ssast.data.storage.unfolding import DATA_PAGE, DATA_PAGE_V2, INDEX_PAGE, Page, Read, pages_of
from ssast.data.workers import in_threads

BLOCKS_AHEAD = 4
"""So many row groups are on their way beside those that are read."""
THREADS = 2


class Ahead:
    """Calls `fetch` for the row groups that are wanted, and in the background for those that follow in `order`.

    `fetch` may be called twice for one: it comes once. What it raises in the background is raised to who wants that
    row group; it is asked for anew when it is wanted again.
    """

    def __init__(self, fetch: Callable[[int], None]):
        self._fetch = fetch
        self._asked: set[int] = set()
        self._errors: dict[int, Exception] = {}
        self._queue: SimpleQueue[int] | None = None
        self._order: Sequence[int] = ()
        self._places: dict[int, int] = {}

    def forget(self) -> None:
        """Fetch what was asked for anew when it is wanted again."""
        self._asked.clear()
        self._errors.clear()

    def follow(self, order: Sequence[int]) -> None:
        """The order in which row groups are read from now on."""
        if order != self._order:
            self._order, self._places = order, {number: at for at, number in enumerate(order)}
            self._asked.clear()

    def want(self, numbers: Sequence[int]) -> None:
        """Come back when these row groups are here; those that follow are on their way then."""
        for number in numbers:
            if error := self._errors.pop(number, None):
                self._asked.discard(number)
                raise error
        now = [number for number in numbers if number not in self._asked]
        places = [self._places[number] for number in numbers if number in self._places]
        self._asked.update(now)
        if places:
            for number in self._order[max(places) + 1 : max(places) + 1 + BLOCKS_AHEAD]:
                self._later(number)
        list(in_threads(self._fetch, now))

    def _later(self, number: int) -> None:
        if number in self._asked:
            return
        self._asked.add(number)
        if self._queue is None:
            self._queue = SimpleQueue()
            for _ in range(THREADS):
                threading.Thread(target=self._work, args=(self._queue,), name="shards", daemon=True).start()
        self._queue.put(number)

    def _work(self, queue: "SimpleQueue[int]") -> None:
        while True:
            number = queue.get()
            try:
                self._fetch(number)
            except Exception as error:
                self._errors[number] = error


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


_MISSING = -1


class OpenGroup:
    """A row group on this machine: where the bytes of its recordings lie, and what stands beside them."""

    def __init__(self, path: Path, shift: int):
        self._file = open(path, "rb", buffering=0)  # noqa: SIM115 - open as long as the held is
        weakref.finalize(self, self._file.close)
        self._shift, self._lock = shift, threading.Lock()
        self.begins = self.lengths = np.empty(0, dtype=np.int64)
        self.names: pa.Array | None = None
        self.metadata: pa.Array | None = None
        self.uids: list[object] | None = None

    def read(self, begin: int, end: int) -> bytes:
        """The bytes from one place of the shard to another."""
        with self._lock:
            self._file.seek(begin - self._shift)
            found = self._file.read(end - begin) or b""
            while len(found) < end - begin and (more := self._file.read(end - begin - len(found))):
                found += more
            return found

    def sound(self, row: int) -> bytes | None:
        """The file of a recording; None where the row has none."""
        length = int(self.lengths[row])
        if length == _MISSING:
            return None
        begin = int(self.begins[row])
        return self.read(begin, begin + length)

    def name(self, row: int) -> str:
        """The name of that file, or nothing where the row tells none."""
        value = None if self.names is None else self.names[row].as_py()
        return str(value or "").replace("\\", "/").rsplit("/", 1)[-1]

    def described(self, row: int) -> bytes | None:
        """The metadata.json of a recording; None where it has none."""
        value = None if self.metadata is None else self.metadata[row].as_py()
        return value.encode() if isinstance(value, str) else value


def opened_group(file: ShardFile, group: int) -> OpenGroup:
    """A row group, fetched where it is not on this machine. UserError where it is damaged."""
    found = file.with_group(group, partial(_walked, file, group))
    return _decoded(file, group) if found is None else found


def fetch_group(file: ShardFile, group: int) -> None:
    """Bring a row group to this machine."""
    file.with_group(group, lambda path, shift: None)


def _walked(file: ShardFile, group: int, path: Path, shift: int) -> OpenGroup | None:
    """The row group as it lies in the file; None where it has to be decoded."""
    held = OpenGroup(path, shift)
    places = _places(file, group, held.read) if file.is_plain(group) else None
    if places is None:
        return None
    held.begins, held.lengths = places
    _add_beside(held, file, group, held.read)
    return held


def _places(file: ShardFile, group: int, read: Callable[[int, int], bytes]) -> Places | None:
    begin, end = file.sound(group)
    at = file.columns[f"{file.audio}.bytes"]
    try:
        found = value_places(read, begin, end, levels=file.footer.schema.column(at).max_definition_level > 0)
    except ValueError as error:
        raise file.damaged(f"row group {group} cannot be read, {error}") from error
    if found is not None and len(found[0]) != file.rows(group):
        raise file.damaged(f"row group {group} has {len(found[0])} recordings of {file.rows(group)}")
    return found


def _add_beside(held: OpenGroup, file: ShardFile, group: int, read: Callable[[int, int], bytes]) -> None:
    path = f"{file.audio}.path"
    wanted = [name for name in (path, METADATA, file.uid) if name in file.columns]
    table = file.table(group, wanted, read) if wanted else None
    if path in file.columns and table is not None:
        held.names = _one(chunk.field("path") for chunk in table.column(file.audio).chunks)
    if file.uid is not None and table is not None:
        held.uids = table.column(file.uid).to_pylist()
    if METADATA in file.columns and table is not None:
        held.metadata = _one(table.column(METADATA).chunks)


def _one(chunks: Iterable[pa.Array]) -> pa.Array:
    """The pieces of a column as one, in which a value is found in a tenth of the time."""
    return pa.concat_arrays(list(chunks))


def _decoded(file: ShardFile, group: int) -> OpenGroup:
    """A row group that is compressed or has rows without sound, laid out plainly in the cache.

    The copy begins with the place and the length of each recording.
    """
    rows = file.rows(group)

    def fill(unfinished: Path) -> None:
        file.with_group(group, partial(_lay_out, file, group, unfinished))

    def use(path: Path) -> OpenGroup:
        held = OpenGroup(path, 0)
        numbers = np.frombuffer(held.read(0, 16 * rows), dtype="<i8")
        held.begins, held.lengths = numbers[:rows], numbers[rows:]
        return held

    held = kept(file.location, fingerprint_of("laid out", file.identity, group), None, fill, use)
    file.with_group(group, lambda path, shift: _add_beside(held, file, group, OpenGroup(path, shift).read))
    return held


def _lay_out(file: ShardFile, group: int, unfinished: Path, path: Path, shift: int) -> None:
    column = file.table(group, [f"{file.audio}.bytes"], OpenGroup(path, shift).read).column(file.audio)
    values = [value for chunk in column.chunks for value in chunk.field("bytes")]
    sizes = [len(value.as_buffer()) if value.is_valid else _MISSING for value in values]
    lengths = np.array(sizes, dtype="<i8")
    begins = 16 * len(values) + np.concatenate([[0], np.cumsum(np.maximum(lengths, 0))[:-1]])
    with open(unfinished, "wb") as laid:
        laid.write(begins.astype("<i8").tobytes())
        laid.write(lengths.tobytes())
        for value in values:
            if value.is_valid:
                laid.write(value.as_buffer())
        laid.flush()
        os.fsync(laid.fileno())
