"""Keep what was fetched or computed on this machine, by a key of its content, for all processes.

The folder is $SSAST_CACHE, else ~/.cache/ssast: `files/` holds the contents, `partial/` what is on its way, `held/`
what running processes hold under its own name, `values/` a database of small values (fingerprints.py), `locks/` one
lock for some of the keys each, and how many bytes all contents have. Published weights lie beside them in `weights/`
(download.py), and never make room. Recordings of patients may be among the contents, so folders and files are closed to
other users, whatever the rights of the folder around them.
"""

import atexit
import contextlib
import errno
import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ssast.data.storage.atomic_writes import OUT_OF_ROOM, first_line, is_orphan, own_name
from ssast.data.storage.checksums import crc32
from ssast.errors import UserError

GB = 10**9
LOCKS = 256
SHRINK_TO = 0.9
"""What is kept of a full cache, so that making room is done now and then and not for each file."""
FULL = OUT_OF_ROOM - {errno.EROFS, errno.EIO}
SUM = ".crc32"
_NOTE = re.compile(r"\d{20}\n")


@dataclass
class Cache:
    """Contents by key, at most `limit` bytes of them; the least recently used go first."""

    folder: Path
    limit: int

    def get(self, key: str, size: int | None, fill: Callable[[Path], None]) -> Path:
        """The file of a key; on the first call for it `fill` writes it, complete or not at all, while others wait.

        It may be gone at any later time: read it at once, or `hold` it. UserError where the disk has no room for it.
        """
        place = self._place(key)
        with self._sentences():
            if _is_there(place, size):
                return place
        if size is not None and size > self.limit:
            raise UserError(
                f"a file of {size / GB:.3g} GB does not fit into the cache of {self.limit / GB:.3g} GB; "
                "give more with --cache_gb."
            )
        with self._sentences(), self._lock(_lock_of(key)):
            if not _is_there(place, size):
                self._fill(place, fill)
        return place

    def get_sound(self, key: str, size: int | None, fill: Callable[[Path], None]) -> Path:
        """The file of a key as `get` gives it, its bytes compared with those that came: damaged ones are got again."""
        whole = partial(self._fill_summed, key, fill)
        place = self.get(key, size, whole)
        if not _is_sound(place):
            with self._lock(_lock_of(key)):
                if not _is_sound(place):
                    place.unlink(missing_ok=True)
            place = self.get(key, size, whole)
        return place

    def _fill_summed(self, key: str, fill: Callable[[Path], None], unfinished: Path) -> None:
        fill(unfinished)
        place = self._place(key).with_suffix(SUM)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(f"{crc32(unfinished):08x}", encoding="ascii")

    def _place(self, key: str) -> Path:
        return self.folder / "files" / key[:2] / key

    def find(self, key: str, size: int | None = None) -> Path | None:
        """The file of a key where it is there in this size; as with `get` it may be gone at any later time."""
        place = self._place(key)
        return place if _is_there(place, size) else None

    def hold(self) -> Path:
        """An empty folder that lasts until this process ends."""
        with self._sentences():
            folder = self.closed_folder("held") / own_name("held")
            folder.mkdir()
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        return folder

    def add(self, folder: Path, name: str, file: Path) -> None:
        """Give a held folder a file of the cache, under a name; it stays there even when the cache lets go of it."""
        with self._sentences():
            try:
                os.link(file, folder / name)
            except FileNotFoundError:
                raise
            except OSError:  # a file system without hard links
                shutil.copyfile(file, folder / name)

    def _fill(self, place: Path, fill: Callable[[Path], None]) -> None:
        if self.folder not in _swept:
            _swept.add(self.folder)
            self._sweep()
        try:
            added = self._fetch(place, fill)
        except OSError as error:
            if error.errno not in FULL:
                raise
            with self._lock("room"):
                self._shrink(self._size() // 2, place)  # others may have filled the disk
            added = self._fetch(place, fill)
        with self._lock("room"):
            before = self._noted()
            if before is None or before + added > self.limit:
                self._shrink(self.limit, place)
            else:
                self._note(before + added)

    def _fetch(self, place: Path, fill: Callable[[Path], None]) -> int:
        """Fill a file and put it into place; its bytes."""
        unfinished = self.closed_folder("partial") / own_name(place.name[:16])
        self.closed_folder("files")
        try:
            fill(unfinished)
            place.parent.mkdir(parents=True, exist_ok=True)
            size = unfinished.stat().st_size
            os.chmod(unfinished, 0o600)
            os.replace(unfinished, place)
        finally:
            unfinished.unlink(missing_ok=True)
        return size

    def _sweep(self) -> None:
        """Delete what ended processes left."""
        for stray in (*self.closed_folder("partial").iterdir(), *self.closed_folder("held").iterdir()):
            if is_orphan(stray.name):
                shutil.rmtree(stray, ignore_errors=True) if stray.is_dir() else stray.unlink(missing_ok=True)

    def _shrink(self, limit: int, asked: Path) -> None:
        """Look at all contents, and where there is more than `limit` delete the least recently used.

        What was asked for stays, which is not the newest where the clock was set back.
        """
        found = sorted(self._files())
        total = sum(size for _, size, _ in found)
        wanted = total if total <= limit else limit * SHRINK_TO
        for _, size, file in found:
            if total <= wanted:
                break
            if file == str(asked):
                continue
            Path(file).unlink(missing_ok=True)
            Path(file).with_suffix(SUM).unlink(missing_ok=True)
            total -= size
        self._note(total)

    def _noted(self) -> int | None:
        """The bytes of all contents as the last process noted them; None where nobody has, or was cut off."""
        try:
            text = self._note_place().read_text(encoding="ascii")
        except (FileNotFoundError, UnicodeDecodeError):
            return None
        return int(text) if _NOTE.fullmatch(text) else None

    def _note(self, total: int) -> None:
        with contextlib.suppress(OSError):  # the next process then looks at all contents
            self._note_place().write_text(f"{total:020d}\n", encoding="ascii")

    def _note_place(self) -> Path:
        return self.closed_folder("locks") / "bytes"

    def _size(self) -> int:
        return sum(size for _, size, _ in self._files())

    def _files(self) -> Iterator[tuple[int, int, str]]:
        """(when last used, size, path) of each content."""
        with contextlib.suppress(FileNotFoundError):
            for shelf in os.scandir(self.folder / "files"):
                for entry in (entry for entry in os.scandir(shelf.path) if not entry.name.endswith(SUM)):
                    with contextlib.suppress(FileNotFoundError):
                        stat = entry.stat()
                        yield stat.st_mtime_ns, stat.st_size, entry.path

    def closed_folder(self, name: str) -> Path:
        """A folder of the cache; nobody else may look in, since recordings lie there."""
        if not self.folder.exists():
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = self.folder / name
        folder.mkdir(mode=0o700, exist_ok=True)
        if folder not in _closed:
            with contextlib.suppress(PermissionError):  # of another user, who answers for it
                folder.chmod(0o700)
            _closed.add(folder)
        return folder

    @contextlib.contextmanager
    def _lock(self, name: str) -> Iterator[None]:
        """Keep every other process and thread out; the system ends it with the process."""
        with locked(self.closed_folder("locks") / name):
            yield

    @contextlib.contextmanager
    def _sentences(self) -> Iterator[None]:
        """Say in one sentence that the cache cannot be written; errors of the network pass."""
        try:
            yield
        except OSError as error:
            about_it = str(error.filename or "").startswith(str(self.folder))
            if isinstance(error, FileNotFoundError) or not (about_it or error.errno in FULL):
                raise
            why = first_line(error).lower()
            raise UserError(
                f"cannot write the cache {self.folder}: {why}; free space, change the rights, "
                "or set SSAST_CACHE to another folder.",
                path=self.folder,
            ) from error


def _is_there(place: Path, size: int | None) -> bool:
    """Whether the file is there in its full size; if so it counts as just used."""
    try:
        if size is not None and place.stat().st_size != size:
            return False
        os.utime(place)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except PermissionError:  # another user's cache, to be read only
        return place.exists()
    return True


def _is_sound(place: Path) -> bool:
    """Whether the bytes on the disk are those that were written there."""
    try:
        return f"{crc32(place):08x}" == place.with_suffix(SUM).read_text(encoding="ascii")
    except (FileNotFoundError, UnicodeDecodeError):
        return False


def _lock_of(key: str) -> str:
    return str(int(key[:8], 16) % LOCKS)


def fingerprint_of(*parts: Any) -> str:
    """A name for plain values that changes with any of them."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()


_closed: set[Path] = set()
_swept: set[Path] = set()
_caches: dict[tuple[str, int], Cache] = {}


def cache_folder() -> Path:
    """Where this machine keeps what was fetched; nothing of it need exist yet."""
    return own_folder("SSAST_CACHE", "~/.cache/ssast").absolute()


def own_folder(name: str, usual: str) -> Path:
    """The folder that a variable names, else the usual one below the home folder; UserError where nobody has one."""
    try:
        return Path(os.environ.get(name) or usual).expanduser()
    except RuntimeError as error:
        raise UserError(f"there is no home folder for {usual}; set {name} to a folder that can be written.") from error


@contextlib.contextmanager
def locked(place: Path) -> Iterator[None]:
    """Keep every other process and thread that locks this file out; the system ends it with the process."""
    with open(place, "w", encoding="utf-8") as file:
        try:
            import fcntl
        except ImportError:  # Windows: two processes may fetch the same file, and both get it whole
            yield
            return
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield
        finally:  # closing alone leaves it locked while a process lives that was forked in between
            fcntl.flock(file, fcntl.LOCK_UN)


def cache(limit_gb: float) -> Cache:
    """The cache of this machine with this limit."""
    folder = cache_folder()
    limit = int(limit_gb * GB)
    return _caches.setdefault((str(folder), limit), Cache(folder, limit))
