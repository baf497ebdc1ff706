"""Read one Parquet file of recordings in large pieces: its footer, what lies around the sound, and whole row groups.

A file on this machine is read where it lies. Of one in a bucket a row group comes with one request into the cache of
this machine, where every process finds it.
"""

import io
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from ssast.data.storage.cache import cache, fingerprint_of
from ssast.data.storage.location import READ_TRIES, Location
from ssast.data.storage.ranges import fetch_range
from ssast.data.storage.unfolding import LEAST_ROW_BYTES, UnfoldingError, bounded_table, check_names, chunk_stretch
from ssast.data.workers import in_threads
from ssast.errors import UserError

_T = TypeVar("_T")
METADATA = "ssast_metadata"
"""The column of the metadata.json of each recording."""
_TEXTS = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)
MOST_SHARD_COLUMNS = 10_100
"""Those of the largest csv, and those of the sound."""
FOOTER_BYTES = 1 << 18
"""So much of a file's end is fetched at once; most footers fit in."""
_MOST_FOOTER_BYTES = 1 << 30
_MAGIC = b"PAR1"


class NoSoundError(UserError):
    """A Parquet file that is no shard."""


class Segments(io.RawIOBase):
    """A file of which only some stretches are here, for a reader that asks for nothing else."""

    def __init__(self, size: int, read: Callable[[int, int], bytes]):
        self._size, self._read, self._at = size, read, 0

    def readable(self) -> bool:
        """Say that the file can be read."""
        return True

    def seekable(self) -> bool:
        """Say that the file can be sought in."""
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        """The new position."""
        self._at = offset + (0, self._at, self._size)[whence]
        return self._at

    def tell(self) -> int:
        """The position."""
        return self._at

    def read(self, count: int = -1) -> bytes:
        """So many bytes from the position on."""
        stop = self._size if count < 0 else min(self._size, self._at + count)
        found = self._read(self._at, stop)
        self._at += len(found)
        return found


@dataclass
class ShardFile:
    """A Parquet file of recordings: where it lies, its size [bytes], and what its footer says.

    `identity` changes with its content, `state` with the file on a disk. `audio` is the name of the column of bytes
    and paths, `uid` that of the uids.
    """

    location: Location
    size: int
    identity: str
    footer: pq.FileMetaData
    audio: str
    uid: str | None
    columns: dict[str, int] = field(default_factory=dict)
    state: str = ""

    @classmethod
    def opened(cls, location: Location) -> "ShardFile":
        """Read the footer; UserError where it is no whole Parquet file, or holds no column of recordings."""
        size, identity = _size_and_identity(location)
        footer, whole = _footer(location, size)
        schema = footer.schema.to_arrow_schema()
        content = fingerprint_of(identity, whole)
        own = cls(location, size, content, footer, _audio_column(schema, location), None, state=identity)
        own.uid = _uid_column(schema, location)
        if footer.num_rows > size // LEAST_ROW_BYTES:
            raise own.damaged(f"it is said to have {footer.num_rows:,} recordings in {size:,} bytes")
        first = footer.row_group(0) if footer.num_row_groups else None
        count = footer.num_columns if first is not None else 0
        own.columns = {first.column(at).path_in_schema: at for at in range(count)} if first is not None else {}
        return own

    @property
    def schema(self) -> pa.Schema:
        """The columns as pyarrow has them, with what their writer noted."""
        return self.footer.schema.to_arrow_schema()

    @property
    def groups(self) -> int:
        """How many row groups it has."""
        return int(self.footer.num_row_groups)

    def rows(self, group: int) -> int:
        """How many rows a row group has."""
        return int(self.footer.row_group(group).num_rows)

    def sound(self, group: int) -> tuple[int, int]:
        """Where the bytes of the recordings of a row group begin and end."""
        return chunk_stretch(self.footer.row_group(group).column(self.columns[f"{self.audio}.bytes"]))

    def extent(self, group: int) -> tuple[int, int]:
        """Where a row group begins and ends. UserError where the file is shorter."""
        row_group = self.footer.row_group(group)
        places = [chunk_stretch(row_group.column(at)) for at in range(row_group.num_columns)]
        begin, end = min(begin for begin, _ in places), max(end for _, end in places)
        if not 0 <= begin <= end <= self.size:
            raise self.damaged(f"row group {group} reaches beyond its end")
        return begin, end

    def is_plain(self, group: int) -> bool:
        """Whether the sound of a row group lies in it as it is."""
        return self.footer.row_group(group).column(self.columns[f"{self.audio}.bytes"]).compression == "UNCOMPRESSED"

    def damaged(self, why: str) -> UserError:
        """The sentence about a file that cannot be read as it should."""
        return UserError(f"{self.location} is damaged: {why}; get a whole copy of it.", path=self.location)

    def fetch(self, begin: int, end: int) -> bytes:
        """The bytes from one place to another; of a bucket with one request."""
        return _range(self.location, begin, end)

    def with_group(self, group: int, use: Callable[[Path, int], _T]) -> _T:
        """What `use` makes of the file that holds a row group, and of what is to be taken from its places there."""
        if self.location.is_local:
            with self.location._sentences("read"):
                if _size_and_identity(self.location)[1] != self.state:
                    what = f"{self.location} changed while it was read; wait until it is written, and start again."
                    raise UserError(what, path=self.location)
                return use(self.location.path, 0)
        begin, end = self.extent(group)
        key = fingerprint_of("row group", self.identity, group)

        def fill(unfinished: Path) -> None:
            unfinished.write_bytes(self.fetch(begin, end))

        return kept(self.location, key, end - begin, fill, lambda path: use(path, begin))

    def is_here(self, group: int) -> bool:
        """Whether a row group is on this machine already."""
        key = fingerprint_of("row group", self.identity, group)
        return self.location.is_local or cache(self.location.cache_gb).find(key) is not None

    def table(self, group: int, columns: Sequence[str], read: Callable[[int, int], bytes]) -> pa.Table:
        """Some columns of a row group, as `read` gives the bytes of the file."""
        try:
            source = pa.PythonFile(Segments(self.size, read), mode="r")
            with pq.ParquetFile(source, metadata=self.footer) as file:
                return bounded_table(file, group, columns, read)
        except (pa.ArrowException, OSError, ValueError) as error:
            if isinstance(error, UserError):
                raise
            why = f", {error}" if isinstance(error, UnfoldingError) else ""
            raise self.damaged(f"row group {group} cannot be read{why}") from error


def kept(near: Location, key: str, size: int | None, fill: Callable[[Path], None], use: Callable[[Path], _T]) -> _T:
    """What `use` makes of a file of the cache, which another process may delete between two looks."""
    for number in range(READ_TRIES):
        with near._sentences("read"):
            path = cache(near.cache_gb).get(key, size, fill)
        try:
            return use(path)
        except FileNotFoundError:
            if number == READ_TRIES - 1:
                raise
    raise AssertionError


def _size_and_identity(location: Location) -> tuple[int, str]:
    """The size of a file, and what changes with its content as far as a disk or a store tells."""
    with location._sentences("look at"):
        if location.is_local:
            stat = os.stat(location.path)
            return stat.st_size, fingerprint_of(str(location), stat.st_size, stat.st_mtime_ns, stat.st_ino)
        stored = location._look()
        if stored is None:
            raise FileNotFoundError(location.address)
        if stored.size is None:
            raise UserError(f"the store does not tell the size of {location}; copy it to a disk.", path=location)
        return stored.size, stored.key(location.address) or os.urandom(32).hex()


def _range(location: Location, begin: int, end: int) -> bytes:
    with location._sentences("read"):
        if not location.is_local:
            return fetch_range(location.address, location.project, begin, end)
        with open(location.path, "rb") as file:
            file.seek(begin)
            return file.read(end - begin)


def _footer(location: Location, size: int) -> tuple[pq.FileMetaData, bytes]:
    """What the footer of a file says, and its bytes; UserError where it has none."""
    wrong = UserError(
        f"{location} is no whole Parquet file: its end is missing or damaged; get a whole copy of it.", path=location
    )
    begin = max(0, size - FOOTER_BYTES)
    tail = _range(location, begin, size)
    length = int.from_bytes(tail[-8:-4], "little")
    if size < 12 or len(tail) != size - begin or tail[-4:] != _MAGIC or length > min(size, _MOST_FOOTER_BYTES) - 8:
        raise wrong
    if length + 8 > len(tail):
        tail = _range(location, size - length - 8, size)
    whole = tail[-8 - length :]
    try:
        return pq.read_metadata(pa.BufferReader(whole)), whole
    except (pa.ArrowException, OSError) as error:
        raise wrong from error


def holds_recordings(kind: pa.DataType) -> bool:
    """Whether a column of this type holds recordings: a struct of `bytes` and `path`, as Hugging Face writes."""
    if not pa.types.is_struct(kind):
        return False
    inside = {kind.field(at).name: kind.field(at).type for at in range(kind.num_fields)}
    held = inside.get("bytes")
    return held is not None and (pa.types.is_binary(held) or pa.types.is_large_binary(held))


def _audio_column(schema: pa.Schema, location: Location) -> str:
    """The name of the column of recordings. UserError where there is none, or several."""
    found = [one.name for one in schema if holds_recordings(one.type)]
    if "audio" in found or len(found) == 1:
        return "audio" if "audio" in found else found[0]
    what = f"several columns of sound ({', '.join(found)})" if found else "no column of sound"
    raise NoSoundError(
        f"{location} has {what}; expected one column `audio` of bytes and path, as `ssast pack` and Hugging Face's "
        "datasets write it.",
        path=location,
    )


def _uid_column(schema: pa.Schema, location: Location) -> str | None:
    """The column `uid`, if there is one. UserError where it is no text and no number, or two columns share a name."""
    if len(schema) > MOST_SHARD_COLUMNS:
        raise UserError(
            f"{location} has {len(schema):,} columns, expected {MOST_SHARD_COLUMNS:,} at most; leave some out.",
            path=location,
        )
    check_names(schema.names, location)
    if METADATA in schema.names:
        _check_kind(schema, METADATA, _TEXTS, location)
    if "uid" not in schema.names:
        return None
    _check_kind(schema, "uid", (pa.types.is_string, pa.types.is_large_string, pa.types.is_integer), location)
    return "uid"


def _check_kind(
    schema: pa.Schema, name: str, fits: Sequence[Callable[[pa.DataType], bool]], location: Location
) -> None:
    kind = schema.field(name).type
    if not any(is_so(kind) for is_so in fits):
        raise UserError(f"the column {name} of {location} is of the type {kind}; write it as text.", path=location)


def small_parts(file: ShardFile) -> Callable[[int, int], bytes]:
    """Read what lies around the sound of a file: where it is on this machine as asked, else all of it ahead."""
    if file.location.is_local:
        return partial(_range, file.location)
    edges = [0, *(place for group in range(file.groups) for place in file.sound(group)), file.size]
    wanted = [(begin, end) for begin, end in zip(edges[::2], edges[1::2], strict=True) if end > begin]
    held = list(zip(wanted, in_threads(lambda one: _range(file.location, *one), wanted), strict=True))

    def read(begin: int, end: int) -> bytes:
        for (first, last), content in held:
            if first <= begin and end <= last:
                return content[begin - first : end - first]
        raise OSError("this stretch was not fetched")

    return read
