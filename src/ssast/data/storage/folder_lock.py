"""Keep a folder for one run at a time, and name the run that has it.

The lock is `filelock`'s: the system's own on a small file, which ends with its process however that ends, or that the
file exists, on a disk that knows no locks. Beside it lies who has it, and a time that is renewed while the run goes on:
locks of some network disks hold on one machine only, and what was killed without locks leaves its file.
"""

import contextlib
import contextvars
import errno
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

from ssast.data.storage.atomic_writes import first_line, own_name
from ssast.errors import UserError
from ssast.safe_reading import brief, json_file

LOCK = ".ssast.lock"
BY = ".by"
"""What follows the name of the lock in the name of the file that says who has it."""
BEAT_SECONDS = 2.0
"""How often a run renews the time of that file."""
_MOST_BYTES = 10_000
"""Of the file that says who has a folder."""
_SILENT_SECONDS = 10.0
"""A run whose file was not renewed for so long has ended."""
TRY_SECONDS = 0.25
"""How long the lock is tried: the file of a run that ends this very moment may vanish under the first try."""
NO_LOCKS = {errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOLCK, errno.EINVAL}


@dataclass(frozen=True)
class Holder:
    """The run that has a folder: what it does, where and since when."""

    by: str
    host: str
    process: int
    since: str

    @classmethod
    def this(cls, by: str) -> "Holder":
        """This very process, from now on."""
        return cls(by, socket.gethostname(), os.getpid(), time.strftime("%Y-%m-%d %H:%M:%S"))

    def __str__(self) -> str:
        return f"{self.by} on {self.host}, process {self.process}, since {self.since}"


class _Taken(Exception):  # noqa: N818 - an answer that `in_use` makes a sentence of
    pass


_mine: contextvars.ContextVar[frozenset[tuple[int, str]]] = contextvars.ContextVar("mine", default=frozenset())
"""What the run that asks has already, by process and folder: its folds and seeds may enter, another thread may not."""


@contextlib.contextmanager
def in_use(folder: Path, place: Path, by: str) -> Iterator[None]:
    """Keep every other run out of `folder` through the lock file `place`.

    Inside, the same run may ask again. UserError that names the run that has it.
    """
    own = (os.getpid(), os.path.realpath(folder))
    if own in _mine.get():
        yield
        return
    with _sentences(folder, place):
        lock = _take(place)
    token = _mine.set(_mine.get() | {own})
    try:
        with _named(place, Holder.this(by), folder):
            yield
    finally:
        _mine.reset(token)
        _give_back(lock)


@contextlib.contextmanager
def _sentences(folder: Path, place: Path) -> Iterator[None]:
    """Say in one sentence who has the folder, or that nothing can be written there."""
    try:
        yield
    except _Taken:
        by_whom = brief(str(_read_soon(_by(place)) or "another run"), 200)
        raise UserError(
            f"{folder} is in use by {by_whom}; wait until that has ended, stop it, or give another --exp_dir.",
            path=folder,
        ) from None
    except OSError as error:
        why = first_line(error).lower()
        raise UserError(
            f"cannot write {place}: {why}; free space, change the rights or choose another place.", path=place
        ) from error


def _take(place: Path) -> BaseFileLock:
    """The lock, taken; _Taken where another run has it, also one of another machine that this lock does not reach."""
    lock = _acquired(place)
    before = _read(_by(place))
    if before is not None and before.host != socket.gethostname() and _beats(_by(place)):
        _give_back(lock)
        raise _Taken
    return lock


def _acquired(place: Path) -> BaseFileLock:
    try:
        return _tried(FileLock(place, timeout=TRY_SECONDS, fallback_to_soft=False))
    except NotImplementedError:
        pass
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
    try:
        return _tried(SoftFileLock(place, timeout=TRY_SECONDS))
    except _Taken:
        # What a killed run of another machine left has to be told by its silence.
        if _beats(_by(place)):
            raise
    place.unlink(missing_ok=True)
    return _tried(SoftFileLock(place, timeout=TRY_SECONDS))


def _tried(lock: BaseFileLock) -> BaseFileLock:
    try:
        lock.acquire()
    except Timeout:
        raise _Taken from None
    return lock


def _give_back(lock: BaseFileLock) -> None:
    """Release the lock and take its file away: while it is still locked, where the system can do that."""
    with contextlib.suppress(OSError):
        if os.name == "posix" and not isinstance(lock, SoftFileLock):
            os.unlink(lock.lock_file)
    lock.release()
    with contextlib.suppress(OSError):
        if os.name != "posix":
            os.unlink(lock.lock_file)


def _by(place: Path) -> Path:
    return place.with_name(place.name + BY)


@contextlib.contextmanager
def _named(place: Path, holder: Holder, folder: Path) -> Iterator[None]:
    """Let the file beside the lock say who has it, and renew its time, while the block runs."""
    by, ended = _by(place), threading.Event()

    def beat() -> None:
        while not ended.wait(BEAT_SECONDS):
            with contextlib.suppress(OSError):
                os.utime(by)

    thread = threading.Thread(target=beat, name="in use", daemon=True)
    try:
        with _sentences(folder, place):
            _write(by, holder)
        thread.start()
        yield
    finally:
        ended.set()
        if thread.ident is not None:
            thread.join()
        with contextlib.suppress(OSError):
            by.unlink()


def _write(by: Path, holder: Holder) -> None:
    unfinished = by.with_name(own_name(by.name))
    try:
        unfinished.write_text(json.dumps(asdict(holder)), encoding="utf-8")
        os.replace(unfinished, by)
    finally:
        unfinished.unlink(missing_ok=True)


def _read(by: Path) -> Holder | None:
    """Who has it by what is written; None where nothing is written, or something else."""
    try:
        holder = Holder(**json_file(by, _MOST_BYTES))
    except (OSError, ValueError, TypeError):
        return None
    is_one = isinstance(holder.process, int) and all(isinstance(text, str) for text in (holder.host, holder.by))
    return holder if is_one else None


def _read_soon(by: Path) -> Holder | None:
    """Read who holds a folder, of a run that may have begun this very moment."""
    for _ in range(20):
        if (holder := _read(by)) is not None:
            return holder
        time.sleep(0.05)
    return None


def _beats(by: Path) -> bool:
    """Whether a run still renews its file; no two clocks are compared."""
    before, until = _renewed(by), time.monotonic() + _SILENT_SECONDS
    while time.monotonic() < until:
        time.sleep(min(0.25, _SILENT_SECONDS / 4))
        if (now := _renewed(by)) != before:
            return now is not None
    return False


def _renewed(by: Path) -> int | None:
    """When the file was renewed; opened anew, since network disks remember what they said of a file."""
    try:
        number = os.open(by, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))  # a pipe of that name would never open
    except OSError:
        return None
    try:
        return os.fstat(number).st_mtime_ns
    finally:
        os.close(number)
