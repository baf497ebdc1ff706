"""Give the bytes of a recording's file without holding a large file in memory."""

import io
import os
import stat
import struct
import weakref
from collections.abc import Iterator
from typing import Any, BinaryIO

from ssast.errors import AudioError, lacks_handles

SMALL_BYTES = 8 << 20
"""Files up to here are read whole, which is quickest."""
PAGE_BYTES = 1 << 20


class _Disk:
    """An open file, closed when nothing asks for its bytes any more."""

    def __init__(self, opened: io.FileIO):
        self._opened = opened
        weakref.finalize(self, opened.close)

    def read(self, at: int, count: int) -> bytes:
        """So many bytes from a place, fewer at the end."""
        self._opened.seek(at)
        found = self._opened.read(count) or b""
        while len(found) < count and (more := self._opened.read(count - len(found))):
            found += more
        return found


class FileBytes:
    """The bytes of a file from `start` to `stop`, `prefix` before them, read as they are asked for.

    Indexing, slicing, `find` and `len` are those of `bytes`.
    """

    def __init__(self, file: _Disk, start: int, stop: int, prefix: bytes = b""):
        self._file, self._start, self._prefix = file, start, prefix
        self._length = len(prefix) + max(0, stop - start)
        self._at, self._page = 0, b""

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, slice):
            begin, end, _ = key.indices(self._length)
            return self._read(begin, max(begin, end))
        at = range(self._length)[key]
        if not self._at <= at < self._at + len(self._page):
            self._at, self._page = at, self._read(at, at + PAGE_BYTES)
        return self._page[at - self._at]

    def _read(self, begin: int, end: int) -> bytes:
        if self._at <= begin and end <= self._at + len(self._page):
            return self._page[begin - self._at : end - self._at]
        own = self._prefix[begin:end]
        begin, end = begin + len(own) - len(self._prefix), min(end, self._length) - len(self._prefix)
        if end <= begin:
            return own
        rest = self._file.read(self._start + begin, end - begin)
        return own + rest if own else rest

    def find(self, what: bytes, start: int = 0, stop: int | None = None) -> int:
        """The first place of `what` from `start` on and before `stop`, -1 where it is not there."""
        end = self._length if stop is None else min(stop, self._length)
        while start + len(what) <= end:
            page = self._read(start, min(end, start + PAGE_BYTES))
            found = page.find(what)
            if found >= 0:
                return start + found
            start += max(1, len(page) - len(what) + 1)
        return -1

    def part(self, start: int, stop: int, prefix: bytes) -> "FileBytes":
        """The bytes from `start` to `stop` with others in front of them; the file is shared."""
        if start < len(self._prefix):
            prefix, start = prefix + self._prefix[start:stop], len(self._prefix)
        shift = self._start - len(self._prefix)
        return FileBytes(self._file, start + shift, min(stop, self._length) + shift, prefix)


Data = bytes | FileBytes


def part(data: Data, start: int, stop: int | None = None, prefix: bytes = b"") -> Data:
    """The bytes from `start` to `stop` (None: the end) behind a prefix; the data itself where that is all of it."""
    stop = len(data) if stop is None else stop
    if start == 0 and stop >= len(data) and not prefix:
        return data
    return data.part(start, stop, prefix) if isinstance(data, FileBytes) else prefix + data[start:stop]


def unpacked(layout: str, data: Data, at: int) -> tuple[Any, ...]:
    """Numbers at a place, as `struct` lays them out; struct.error where the data ends before."""
    return struct.unpack(layout, data[at : at + struct.calcsize(layout)])


def places(data: Data, what: bytes, start: int = 0) -> Iterator[int]:
    """Every place of `what` from `start` on."""
    at = data.find(what, start)
    while at >= 0:
        yield at
        at = data.find(what, at + 1)


class _Held(io.BytesIO):
    """Bytes for libsndfile: a seek before their start, as damaged headers lead to, raises nothing inside its C code."""

    def seek(self, offset: int, whence: int = 0) -> int:
        """The new position, or the old one where there is no such place."""
        try:
            return super().seek(offset, whence)
        except (ValueError, OverflowError):
            return self.tell()


class _Read(io.RawIOBase):
    """The bytes of a large file for libsndfile, which may seek as in `_Held`."""

    def __init__(self, data: FileBytes):
        self._data, self._at = data, 0

    def readable(self) -> bool:
        """Say that the file can be read."""
        return True

    def seekable(self) -> bool:
        """Say that the file can be sought in."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer as far as there are bytes; an error of the disk counts as their end."""
        try:
            found = self._data[self._at : self._at + len(buffer)]
        except OSError:
            found = b""
        memoryview(buffer).cast("B")[: len(found)] = found
        self._at += len(found)
        return len(found)

    def seek(self, offset: int, whence: int = 0) -> int:
        """The new position, or the old one where there is no such place."""
        place = offset + (0, self._at, len(self._data))[whence]
        if 0 <= place < 1 << 62:
            self._at = place
        return self._at

    def tell(self) -> int:
        """The position."""
        return self._at


def as_file(data: Data) -> BinaryIO:
    """The data as an open file, for libraries that need one."""
    return _Held(data) if isinstance(data, bytes) else _Read(data)  # type: ignore[return-value]


def bytes_of(file: str | os.PathLike | BinaryIO) -> Data:
    """The bytes of a file, given by its path or opened; AudioError where it is no plain file or cannot be read."""
    if not isinstance(file, str | os.PathLike):
        return file.read()
    try:
        return _of_path(file)
    except OSError as error:
        if lacks_handles(error):
            raise
        raise AudioError(
            f"its file cannot be read ({error.strerror}); put it there or change its permissions"
        ) from error


def _of_path(path: str | os.PathLike) -> Data:
    odd = not_plain(path)  # asked before it is opened: opening a pipe waits until somebody writes into it
    if odd:
        raise AudioError(f"its file cannot be read (it is {odd}, not a file); put the recording itself there")
    opened = open(path, "rb", buffering=0)  # noqa: SIM115 - a large one stays open while its bytes are asked for
    disk, size = _Disk(opened), os.fstat(opened.fileno()).st_size
    return disk.read(0, size) if size <= SMALL_BYTES else FileBytes(disk, 0, size)


def opened_bytes(path: str | os.PathLike) -> FileBytes:
    """The bytes of a file as they are asked for, however small it is; OSError where it cannot be read."""
    if odd := not_plain(path):
        raise OSError(f"it is {odd}, not a file")
    opened = open(path, "rb", buffering=0)  # noqa: SIM115 - open while its bytes are asked for
    return FileBytes(_Disk(opened), 0, os.fstat(opened.fileno()).st_size)


def not_plain(path: str | os.PathLike) -> str:
    """The kind of thing at a path that is no plain file, such as a pipe; empty for a plain file."""
    kinds = {stat.S_IFDIR: "a folder"} | {
        stat.S_IFIFO: "a pipe",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
    }
    return kinds.get(stat.S_IFMT(os.stat(path).st_mode), "")
