"""Keep small values on this machine, by a key of what they are of, in one database for all processes.

Names, findings and measures of a recording are some hundred bytes: a file for each would take a block of the disk, and
whoever makes room in the cache would have to look at millions of them. The database lies beside the files of the cache;
it takes at most a twentieth of the cache's limit, and then forgets its older half.
Nothing rests on it: where it cannot be read or written, nothing is found and nothing is kept.
"""

import contextlib
import itertools
import os
import sqlite3
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from ssast.data.storage.cache import Cache

_AT_ONCE = 256
"""So many values are asked for in one question, and so many wait to be written together: a disk is waited for once."""
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
