"""Hold a row group of a shard open, so that each recording in it is read alone."""

import os
import threading
import weakref
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from ssast.data.shards.pages import Places, value_places
from ssast.data.shards.shard_file import METADATA, ShardFile, kept
from ssast.data.storage.cache import fingerprint_of

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
