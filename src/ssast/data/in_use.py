"""Keep a folder for one run at a time, and name the run that has it.

The system's lock on a small file keeps others out and ends with its process, however that ends. A disk that knows no
locks, or whose locks hold on one machine only, is served by what is written into the file: who has it, and a time that
is renewed while the run goes on.
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

from ssast.data.whole import first_line, is_orphan, own_name
from ssast.errors import UserError

LOCK = ".ssast.lock"
BEAT_SECONDS = 2.0
"""How often a run renews the time of its file."""
SILENT_SECONDS = 10.0
"""A run whose file was not renewed for so long has ended."""
SETTLE_SECONDS = 0.3
TAKEN = {errno.EAGAIN, errno.EACCES, errno.EDEADLK, getattr(errno, "EDEADLOCK", errno.EDEADLK)}
FAR = 1 << 30
"""Windows locks bytes, and locked ones cannot be read: this one lies behind what is written."""


@dataclass(frozen=True)
class Holder:
    """The run that has a folder: what it does, where and since when; `name` is like no other's."""

    by: str
    host: str
    process: int
    since: str
    name: str

    @classmethod
    def this(cls, by: str) -> "Holder":
        """This very process, from now on."""
        return cls(by, socket.gethostname(), os.getpid(), time.strftime("%Y-%m-%d %H:%M:%S"), own_name("run"))

    def __str__(self) -> str:
        return f"{self.by} on {self.host}, process {self.process}, since {self.since}"


class _Taken(Exception):  # noqa: N818 - an answer that `in_use` makes a sentence of
    def __init__(self, holder: Holder | None):
        self.holder = holder


_threads = threading.Lock()
_held: dict[tuple[int, str], Holder] = {}
"""What this process has, by its number (a fork has nothing) and the folder."""
_open: set[int] = set()
_mine: contextvars.ContextVar[frozenset[tuple[int, str]]] = contextvars.ContextVar("mine", default=frozenset())
"""What the run that asks has already: its folds and seeds may enter, another thread may not."""


@contextlib.contextmanager
def in_use(folder: Path, place: Path, by: str) -> Iterator[None]:
    """Keep every other run out of `folder` through the lock file `place`, which is gone at the end.

    Inside, the same run may ask again. UserError that names the run that has it.
    """
    own = (os.getpid(), os.path.realpath(folder))
    if own in _mine.get():
        yield
        return
    holder = Holder.this(by)
    try:
        with _alone_in_process(own, holder), _locked(place, holder), _beating(place):
            token = _mine.set(_mine.get() | {own})
            try:
                yield
            finally:
                _mine.reset(token)
    except _Taken as taken:
        by_whom = taken.holder or "another run"
        raise UserError(
            f"{folder} is in use by {by_whom}; wait until that has ended, stop it, or give another --exp_dir."
        ) from None


@contextlib.contextmanager
def _alone_in_process(own: tuple[int, str], holder: Holder) -> Iterator[None]:
    """Keep other threads out: some disks lock for the whole process."""
    with _threads:
        if own in _held:
            raise _Taken(_held[own])
        _held[own] = holder
    try:
        yield
    finally:
        del _held[own]


@contextlib.contextmanager
def _locked(place: Path, holder: Holder) -> Iterator[None]:
    try:
        file = _take(place, holder)
    except OSError as error:
        why = first_line(error).lower()
        raise UserError(f"cannot write {place}: {why}; free space, mend the rights or choose another place.") from error
    try:
        yield
    finally:
        if file is None:
            if _read(place) == holder:
                place.unlink(missing_ok=True)
        else:
            _give_back(place, file)


def _take(place: Path, holder: Holder) -> int | None:
    """The open, locked file; None where the disk knows no locks, and the holder's name has to do."""
    while True:
        file, is_new = _opened(place)
        try:
            _lock(file)
        except OSError as error:
            _close(file)
            if error.errno in TAKEN:
                raise _Taken(_read_soon(place)) from None
            _take_by_name(place, holder, is_new)
            return None
        if _is_there(place, file):
            break
        _close(file)  # its holder ended, and took it away, since it was opened
    before = _read(place)
    if before is not None and before.host != holder.host and _beats(place):
        _close(file)
        raise _Taken(before)
    try:
        _write(file, holder)
    except OSError:
        _give_back(place, file)
        raise
    return file


def _opened(place: Path) -> tuple[int, bool]:
    """The file of a lock, and whether it is new."""
    how = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0)
    try:
        file, is_new = os.open(place, how | os.O_EXCL, 0o666), True
    except FileExistsError:
        file, is_new = os.open(place, how, 0o666), False
    _open.add(file)
    return file, is_new


def _lock(file: int) -> None:
    """Lock an open file; OSError where another has it (TAKEN), or where the disk knows no locks."""
    try:
        import fcntl
    except ImportError:
        import msvcrt

        os.lseek(file, FAR, os.SEEK_SET)
        msvcrt.locking(file, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
    else:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _take_by_name(place: Path, holder: Holder, is_new: bool) -> None:
    """Write the holder's name, unless the one that stands there still runs."""
    before = None if is_new else _read_soon(place)
    if before is not None and not is_orphan(before.name) and _beats(place):
        raise _Taken(before)
    beside = place.with_name(own_name(place.name))
    try:
        beside.write_text(json.dumps(asdict(holder)), encoding="utf-8")
        os.replace(beside, place)
    finally:
        beside.unlink(missing_ok=True)
    time.sleep(SETTLE_SECONDS)  # of two that take it over together the later one has it
    if (after := _read(place)) != holder:
        raise _Taken(after)


def _write(file: int, holder: Holder) -> None:
    os.lseek(file, 0, os.SEEK_SET)
    os.ftruncate(file, 0)
    os.write(file, json.dumps(asdict(holder)).encode())


def _read(place: Path) -> Holder | None:
    """Who has it by what is written; None where nothing is written, or something else."""
    try:
        content = json.loads(place.read_bytes()[:10_000])
        holder = Holder(**content)
    except (OSError, ValueError, TypeError, RecursionError):
        return None
    is_one = isinstance(holder.process, int) and all(isinstance(text, str) for text in (holder.host, holder.name))
    return holder if is_one else None


def _read_soon(place: Path) -> Holder | None:
    """The same of one that may have begun this very moment."""
    for _ in range(20):
        if (holder := _read(place)) is not None:
            return holder
        time.sleep(0.05)
    return None


def _beats(place: Path) -> bool:
    """Whether a run still renews its file; no two clocks are compared."""
    before, until = _renewed(place), time.monotonic() + SILENT_SECONDS
    while time.monotonic() < until:
        time.sleep(0.25)
        if (now := _renewed(place)) != before:
            return now is not None
    return False


def _renewed(place: Path) -> int | None:
    """When the file was renewed; opened anew, since network disks remember what they said of a file."""
    try:
        with open(place, "rb") as file:
            return os.fstat(file.fileno()).st_mtime_ns
    except OSError:
        return None


@contextlib.contextmanager
def _beating(place: Path) -> Iterator[None]:
    """Renew the time of the file while the block runs."""
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(BEAT_SECONDS):
            with contextlib.suppress(OSError):
                os.utime(place)

    thread = threading.Thread(target=beat, name="in use", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _is_there(place: Path, file: int) -> bool:
    try:
        return os.path.samestat(os.fstat(file), os.stat(place))
    except FileNotFoundError:
        return False


def _give_back(place: Path, file: int) -> None:
    """Take the file away, while it is still locked where a system can do that."""
    with contextlib.suppress(OSError):
        if _is_there(place, file):
            place.unlink()
    _close(file)
    if os.name == "nt":
        with contextlib.suppress(OSError):  # another has it by now
            place.unlink()


def _close(file: int) -> None:
    _open.discard(file)
    with contextlib.suppress(OSError):
        os.close(file)


def _close_in_child() -> None:
    """A worker that outlives its run by seconds must not keep the folder."""
    for file in list(_open):
        _close(file)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_in_child)
