"""Write files and folders so that each is complete or not there at all; say in one sentence what prevents it."""

import errno
import hashlib
import os
import re
import shutil
import socket
import stat
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ssast.errors import UserError

StrPath = str | os.PathLike[str]
OUT_OF_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EIO}
UNFINISHED = ".unfinished-"
WINDOWS_FULL = {39, 112}
CAUSES = 5
"""So far back the reasons of an error are looked at."""
LONGEST_REST = 150
"""So many bytes of a name stand in the name of its unfinished file; disks take 255 in all."""
ON_WINDOWS = os.name == "nt"
TRIES, _PAUSE_SECONDS = 20, 0.1
_HOMES: list[str] = []
"""The folders of the runs of this process, whichever of its threads writes."""


def writable_folder(path: StrPath) -> Path:
    """The folder, made where it is missing; UserError where nothing can be written into it."""
    folder = _on_disk(path)
    with _writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f"{UNFINISHED}{uuid.uuid4().hex}"
        probe.touch()
        probe.unlink()
    return folder


@contextmanager
def atomic_file(path: StrPath) -> Iterator[Path]:
    """A temporary path beside `path` to write a file to; it replaces `path` at the end, or is deleted on any error.

    UserError where the folder cannot be written to or the disk is full.
    """
    target, unfinished = _beside(path)
    try:
        with _writing(target, inside=True):
            yield unfinished
        with _writing(target):
            _to_disk(unfinished)
            _patiently(lambda: os.replace(unfinished, target))
    finally:
        unfinished.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: StrPath) -> Iterator[Path]:
    """A new empty folder beside `path`; it replaces `path` (with all in it) at the end, or is deleted on any error."""
    target, unfinished = _beside(path)
    aside = unfinished.with_name(f"{unfinished.name}.old")
    try:
        with _writing(target, inside=True):
            unfinished.mkdir()
            yield unfinished
        with _writing(target):
            if target.exists():
                _patiently(lambda: target.rename(aside))
            try:
                _patiently(lambda: unfinished.rename(target))
            except OSError:
                if aside.exists():
                    aside.rename(target)
                raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
        if target.exists():
            shutil.rmtree(aside, ignore_errors=True)


@contextmanager
def staying_in(folder: StrPath) -> Iterator[None]:
    """Refuse, inside the block, to write below `folder` through a link that leads out of it; see `check_inside`."""
    home = os.path.abspath(at_home(folder))
    _HOMES.append(home)
    try:
        yield
    finally:
        _HOMES.remove(home)


def check_inside(path: StrPath) -> None:
    """UserError where a link in a run's own folder would make it write to another place.

    The folder itself may be a link. A device takes what is written to it, a pipe might wait for ever.
    """
    place = os.path.abspath(path)
    real = os.path.realpath(place)
    is_file = not os.path.exists(real) or os.path.isfile(real) or os.path.isdir(real)
    for home in _HOMES:
        if is_file and is_below(place, home) and not is_below(real, os.path.realpath(home)):
            raise UserError(
                f"{path} is a link out of {home}, and a run writes into its own folder alone; "
                "remove the link, or give another --exp_dir.",
                path=[path, home],
            )
    if os.path.exists(real) and stat.S_ISFIFO(os.stat(real).st_mode):
        raise UserError(f"{path} is a pipe, and a file was expected; remove it, or give another --exp_dir.", path=path)


def is_below(path: str, folder: str) -> bool:
    """Whether a full path is the folder or lies in it."""
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def _on_disk(path: StrPath) -> Path:
    text = os.fspath(path)
    if "://" in text:
        raise UserError(f"{text} is not on this machine; give a local path.", path=text)
    return at_home(text)


def at_home(path: StrPath) -> Path:
    """The path with ~ replaced by the home folder; unchanged where there is none, since a name may start with ~."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def _beside(path: StrPath) -> tuple[Path, Path]:
    """The place behind any link, and a free name beside it; what killed processes left there is swept first."""
    check_inside(_on_disk(path))
    target = Path(os.path.realpath(_on_disk(path)))
    with _writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        _sweep(target)
    return target, target.with_name(own_name(target.name))


def own_name(rest: str) -> str:
    """A file name that no other process takes, and that `is_orphan` knows once this one has ended."""
    return f"{UNFINISHED}{_host()}-{os.getpid()}-{uuid.uuid4().hex[:8]}-{_short(rest)}"


def _short(name: str) -> str:
    """A name that leaves room for what comes before it; a long one by its hash."""
    content = os.fsencode(name)
    return name if len(content) <= LONGEST_REST else hashlib.sha256(content).hexdigest()[:32]


def is_orphan(name: str) -> bool:
    """Whether a name was given by `own_name` in a process of this machine that has ended."""
    start = f"{UNFINISHED}{_host()}-"
    pid = name.removeprefix(start).split("-")[0]
    return name.startswith(start) and pid.isdecimal() and not _alive(int(pid))


def _sweep(target: Path) -> None:
    """Delete unfinished writes of `target` whose process, of this machine, has ended; put back what it set aside."""
    ends = (f"-{_short(target.name)}", f"-{_short(target.name)}.old")
    for stray in target.parent.iterdir():
        if not stray.name.endswith(ends) or not is_orphan(stray.name):
            continue
        if stray.suffix == ".old" and not target.exists():
            stray.rename(target)
        elif stray.is_dir():
            shutil.rmtree(stray, ignore_errors=True)
        else:
            stray.unlink(missing_ok=True)


def _host() -> str:
    return socket.gethostname().split(".")[0][:24]


def _alive(pid: int) -> bool:
    if ON_WINDOWS:  # where os.kill(pid, 0) is Ctrl-C
        return _alive_on_windows(pid)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


def _alive_on_windows(pid: int) -> bool:
    """Whether a process can be opened and waits to end, or is somebody else's; never run by the authors."""
    import ctypes

    synchronize, access_denied, not_yet = 0x100000, 5, 0x102
    kernel: Any = ctypes.WinDLL("kernel32", use_last_error=True)  # type: ignore[attr-defined]
    handle = kernel.OpenProcess(synchronize, False, pid)
    if not handle:
        return ctypes.get_last_error() == access_denied  # type: ignore[attr-defined]
    answer = kernel.WaitForSingleObject(handle, 0)
    kernel.CloseHandle(handle)
    return answer == not_yet


def _to_disk(path: Path) -> None:
    with open(path, "r+b") as file:  # Windows flushes only what is open for writing
        os.fsync(file.fileno())


def _patiently(move: Callable[[], object]) -> None:
    """Move a file; on Windows again for a while, since nothing that somebody (a scanner, an index) reads can move."""
    for _ in range(TRIES - 1 if ON_WINDOWS else 0):
        with suppress(PermissionError):
            move()
            return
        time.sleep(_PAUSE_SECONDS)
    move()


@contextmanager
def _writing(target: Path, *, inside: bool = False) -> Iterator[None]:
    """Say in one sentence that `target` cannot be written; `inside` a caller's block only if the disk is to blame."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        number = disk_error(error)
        if number not in OUT_OF_ROOM and (inside or not isinstance(error, OSError)):
            raise
        why = os.strerror(number).lower() if number in OUT_OF_ROOM and number is not None else first_line(error).lower()
        raise UserError(
            f"cannot write {target}: {why}; free space, change the rights or choose another place.", path=target
        ) from error


@contextmanager
def while_the_disk_has_room(folder: StrPath) -> Iterator[None]:
    """Raise a UserError where anything in the block finds the disk of `folder` full or broken."""
    with _writing(Path(folder), inside=True):
        yield


def disk_error(error: BaseException | None) -> int | None:
    """The system's error number behind an error of a writer; None where there is none.

    torch raises a RuntimeError while it handles the system's, and safetensors writes the number into its text.
    """
    for _ in range(CAUSES):
        if error is None:
            return None
        told = re.search(r"\(os error (\d+)\)", str(error))
        number = getattr(error, "errno", None) if isinstance(error, OSError) else int(told[1]) if told else None
        if number in OUT_OF_ROOM:
            return number
        if os.name == "nt" and number in WINDOWS_FULL:
            return errno.ENOSPC
        error = error.__cause__ or error.__context__
    return None


def first_line(error: BaseException) -> str:
    """The first line of an error's text, short enough for a sentence."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return text.strip().splitlines()[0].rstrip(".")[:300]
