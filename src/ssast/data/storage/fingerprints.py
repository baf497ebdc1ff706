"""Name what is in recordings, so that equal ones share a name and one that changed gets another; keep small values.

A local file is read once; then its name is known until its size, its times or its place on the disk change. Files in a
bucket go by what the store says of them.
Names, findings and measures of a recording are some hundred bytes: a file for each would take a block of the disk, and
whoever makes room in the cache would have to look at millions of them. So they are kept by a key of what they are of,
in one database for all processes beside the files of the cache; it takes at most a twentieth of the cache's limit, and
then forgets its older half. Nothing rests on it: where it cannot be read or written, nothing is found and nothing kept.
"""

import contextlib
import hashlib
import itertools
import math
import os
import sqlite3
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, cast

from ssast.audio.source import not_plain
from ssast.data.recordings import find_recording
from ssast.data.shards.collection import opened
from ssast.data.storage.cache import Cache, fingerprint_of
from ssast.data.storage.location import Location
from ssast.data.workers import in_threads
from ssast.errors import AudioError, UserError

_AT_ONCE = 256
"""So many recordings are asked about together, so many values in one question, and so many wait to be written."""
_SHARE = 20
_LEAST = 1_000_000
_PATIENCE = 30.0
"""So long [s] one process waits for another that writes."""
_TABLE = "CREATE TABLE IF NOT EXISTS kept (number INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, value BLOB NOT NULL)"
_OLDER_HALF = "DELETE FROM kept WHERE number < (SELECT number FROM kept ORDER BY number LIMIT 1 OFFSET ?)"


class KeptValues:
    """Values by key (hexadecimal); what is kept waits for others until `flush`, at the end of a `with` too."""

    def __init__(self, cache: Cache):
        self.cache, self.limit = cache, max(cache.limit // _SHARE, _LEAST)
        self._waiting: dict[str, bytes] = {}

    @property
    def place(self) -> Path:
        """The database."""
        return self.cache.folder / "values" / "kept.sqlite"

    def __enter__(self) -> "KeptValues":
        return self

    def __exit__(self, *_: object) -> None:
        self.flush()

    def find(self, keys: Sequence[str]) -> dict[str, bytes]:
        """The values of those keys that are known."""
        found: dict[str, bytes] = {}
        self._with_database(lambda database: found.update(_rows(database, keys)))
        return found | {key: self._waiting[key] for key in keys if key in self._waiting}

    def keep(self, key: str, value: bytes) -> None:
        """Keep a value, together with those that come after it."""
        self._waiting[key] = value
        if len(self._waiting) >= _AT_ONCE:
            self.flush()

    def flush(self) -> None:
        """Write what waits, all of it or nothing."""
        waiting, self._waiting = self._waiting, {}
        if waiting and self._is_made():
            self._with_database(lambda database: _write(database, waiting, self.limit))

    def _is_made(self) -> bool:
        """Whether there is a file to write into: a new one is closed to other users, as its journal will be."""
        try:
            self.cache.closed_folder("values")
            os.close(os.open(self.place, os.O_RDWR | os.O_CREAT | getattr(os, "O_NONBLOCK", 0), 0o600))
        except OSError:
            return False
        return True

    def _with_database(self, act: Callable[[sqlite3.Connection], object]) -> None:
        """Ask or change something, in one transaction.

        It is opened for that alone, since a process that is forked meanwhile must not share it. Errors end it without
        a word, and a damaged database is deleted.
        """
        address = f"{self.place.absolute().as_uri()}?mode=rw"  # a file that is write-protected is then only read
        try:
            if not stat.S_ISREG(os.lstat(self.place).st_mode):
                return
            with contextlib.closing(sqlite3.connect(address, timeout=_PATIENCE, uri=True)) as database, database:
                act(database)
        except (sqlite3.OperationalError, OSError):  # no such file or table, no rights, no room, or long in use
            return
        except sqlite3.DatabaseError:
            with contextlib.suppress(OSError):
                self.place.unlink()


def _rows(database: sqlite3.Connection, keys: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    left = iter(keys)
    while some := [bytes.fromhex(key) for key in itertools.islice(left, _AT_ONCE)]:
        question = f"SELECT key, value FROM kept WHERE key IN ({','.join('?' * len(some))})"
        yield from ((key.hex(), bytes(value)) for key, value in database.execute(question, some))


def _write(database: sqlite3.Connection, values: Mapping[str, bytes], limit: int) -> None:
    database.execute(_TABLE)
    rows = [(bytes.fromhex(key), value) for key, value in values.items()]
    database.executemany("INSERT OR REPLACE INTO kept (key, value) VALUES (?, ?)", rows)
    pages, free, size = (
        int(database.execute(f"PRAGMA {name}").fetchone()[0]) for name in ("page_count", "freelist_count", "page_size")
    )
    if (pages - free) * size > limit:
        (count,) = database.execute("SELECT count(*) FROM kept").fetchone()
        database.execute(_OLDER_HALF, [count // 2])


SETTLED_SECONDS = 2.0
"""A file that changed no longer ago than this [s] may change again within the same tick of the disk's clock."""


@dataclass(frozen=True)
class _Asked:
    """A recording before its file is read.

    `content` names what is in it where that is known; else `key` is what the name of `file` is kept by. `beside` is
    what else a recording's name is made of.
    """

    content: str | None
    file: Location | None = None
    key: str = ""
    changed: float = 0.0
    beside: tuple[object, ...] | None = None

    def named(self, content: str | None) -> str | None:
        """The name of the recording whose file holds this."""
        return content if content is None or self.beside is None else fingerprint_of(content, *self.beside)


def recording_fingerprints(
    root: Location, uids: Sequence[str], cache: Cache, *, until: float = math.inf
) -> Iterator[str | None]:
    """A name for what is in each recording, its metadata.json included; None where it cannot be read.

    None too where its local file changed after `until` [seconds since 1970], when somebody had read it already.
    """
    return _names(partial(_recording, root), uids, cache, FileNotFoundError, until)


def file_fingerprints(files: Sequence[Location], cache: Cache) -> Iterator[str | None]:
    """The same for audio files without metadata.json."""
    return _names(_audio_file, files, cache, OSError)


def _names(
    ask: Callable[[Any], _Asked], of: Iterable[Any], cache: Cache, passed: type[OSError], until: float = math.inf
) -> Iterator[str | None]:
    """In order; several at once, since disks and stores keep one waiting. A `passed` error is said by who reads it."""
    left = iter(of)
    with KeptValues(cache) as kept:
        while some := list(in_threads(ask, islice(left, _AT_ONCE))):
            known = {key: name.hex() for key, name in kept.find([one.key for one in some if one.file]).items()}
            read = in_threads(partial(_content, passed), [one for one in some if one.file and one.key not in known])
            for one in some:
                content = known.get(one.key, one.content)
                if one.file and content is None:
                    content = next(read)
                    if content and time.time() - one.changed > SETTLED_SECONDS:
                        kept.keep(one.key, bytes.fromhex(content))
                yield one.named(content) if one.changed <= until else None


def _recording(root: Location, uid: str) -> _Asked:
    collection = opened(root)
    if collection is not None and (named := collection.content(uid)) is not None:
        return _Asked(named)
    try:
        found = find_recording(root, uid)
        return _asked(found.location, (found.extension, found.sample_rate))
    except (AudioError, FileNotFoundError):
        return _Asked(None)  # said when it is read


def _audio_file(file: Location) -> _Asked:
    try:
        return _asked(file)
    except (UserError, OSError):
        return _Asked(None)  # said when it is read


def _asked(place: Location, beside: tuple[object, ...] | None = None) -> _Asked:
    if not place.is_local:
        return _Asked(place.content_key() or hashlib.sha256(place.read_bytes()).hexdigest(), beside=beside)
    if odd := not_plain(place.path):
        raise AudioError(f"{place} is {odd}, not a file", path=place)  # opening a pipe would wait for ever
    stat = os.stat(place.path)
    key = fingerprint_of("content", str(place), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)
    return _Asked(None, place, key, max(stat.st_mtime, stat.st_ctime), beside)


def _content(passed: type[OSError], one: _Asked) -> str | None:
    try:
        with open(cast(Location, one.file).path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except passed:
        return None
