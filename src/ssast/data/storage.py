"""An address, local or of any fsspec kind (gs://, s3://), in; what lies there out, and writes that are whole or not."""

import builtins
import codecs
import errno
import os
import shutil
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Union

from ssast.errors import UserError

Address = Union[str, "os.PathLike[str]", "Location"]
OUT_OF_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EIO}
UNFINISHED = ".unfinished-"


class Missing(UserError):  # noqa: N818 - often it is an answer, not an error
    """Nothing lies at the address."""


@dataclass(frozen=True)
class Location:
    """A file or folder, local or behind any fsspec address; it holds no client, so it travels between processes.

    `project` is the Google Cloud project that is charged or asked; it means nothing to other addresses. Every method
    that reads raises a UserError of one sentence: Missing where nothing is there.
    """

    address: str
    project: str | None = None

    def __post_init__(self) -> None:
        address = os.fspath(self.address) if isinstance(self.address, os.PathLike) else str(self.address)
        address = address.removeprefix("file://")
        if "://" in address:
            scheme, rest = address.split("://", 1)
            address = f"{scheme}://{rest.rstrip('/')}"
        elif address:
            address = str(Path(address).expanduser())
        object.__setattr__(self, "address", address)

    def __str__(self) -> str:
        return self.address

    def __truediv__(self, child: str) -> "Location":
        child = str(child).strip("/")
        address = str(Path(self.address) / child) if self.is_local else f"{self.address}/{child}"
        return Location(address, self.project)

    @property
    def is_local(self) -> bool:
        """Whether it lies on a disk of this machine."""
        return "://" not in self.address

    @property
    def path(self) -> Path:
        """The local path; UserError where the address is not local."""
        if not self.is_local:
            raise UserError(f"{self} is not on this machine; give a local path.")
        return Path(self.address)

    @property
    def name(self) -> str:
        """The last part of the address."""
        return Path(self.address).name if self.is_local else self.address.split("://", 1)[1].rsplit("/", 1)[-1]

    @property
    def parent(self) -> "Location":
        """The folder around it; a bucket is its own parent."""
        if self.is_local:
            return Location(str(Path(self.address).parent), self.project)
        scheme, rest = self.address.split("://", 1)
        return Location(f"{scheme}://{rest.rsplit('/', 1)[0]}", self.project)

    def open(self, mode: str = "rb") -> IO[Any]:
        """An open file; text is UTF-8. For whole local writes see `whole_file`."""
        encoding = None if "b" in mode else "utf-8"
        with self._sentences("read" if "r" in mode else "write"):
            if self.is_local:
                return open(self.address, mode, encoding=encoding)
            client, path = self._client()
            return client.open(path, mode, **({"encoding": encoding} if encoding else {}))

    def read_bytes(self, limit: int | None = None) -> bytes:
        """Its content, of a local file at most `limit` bytes; one request where it is remote."""
        with self._sentences("read"):
            if not self.is_local:
                client, path = self._client()
                return client.cat_file(path)
            with open(self.address, "rb") as file:
                return file.read(-1 if limit is None else limit)

    def read_text(self) -> str:
        """Its content as text: UTF-8 with or without a byte-order mark, or UTF-16 with one; UserError otherwise."""
        content = self.read_bytes()
        wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        try:
            text = content.decode("utf-16" if wide else "utf-8-sig")
        except UnicodeDecodeError as error:
            raise UserError(f"{self} is not UTF-8 text (byte {error.start}); save it again as UTF-8.") from error
        if "\0" in text:
            raise UserError(f"{self} holds NUL characters, so it is no text file; give a plain text file.")
        return text

    def exists(self) -> bool:
        """Whether anything lies there."""
        with self._sentences("look at"):
            if self.is_local:
                return os.path.exists(self.address)
            client, path = self._client()
            return client.exists(path)

    def is_dir(self) -> bool:
        """Whether it is a folder; in a bucket, whether anything lies under it."""
        with self._sentences("look at"):
            if self.is_local:
                return os.path.isdir(self.address)
            client, path = self._client()
            return client.isdir(path)

    def list(self) -> "builtins.list[Location]":
        """What lies in the folder, by name."""
        with self._sentences("list"):
            if self.is_local:
                names = os.listdir(self.address)
            else:
                client, path = self._client()
                # A kept listing would hide what another process has written since.
                found = client.ls(path, detail=False, refresh=True)
                names = [str(entry).rstrip("/").rsplit("/", 1)[-1] for entry in found]
        return [self / name for name in sorted(set(names))]

    def _client(self) -> tuple[Any, str]:
        """The file system and its own spelling of the path, opened in (and kept by fsspec for) this very process."""
        from fsspec.core import url_to_fs

        known = self.project is not None and self.address.startswith(("gs://", "gcs://"))
        return url_to_fs(self.address, **({"project": self.project} if known else {}))

    @contextmanager
    def _sentences(self, doing: str) -> Iterator[None]:
        """Turn whatever the disk or a cloud client raises into one sentence."""
        try:
            yield
        except UserError:
            raise
        except FileNotFoundError as error:
            raise Missing(f"{self} does not exist; check the path.") from error
        except (IsADirectoryError, NotADirectoryError) as error:
            kind = "a folder" if isinstance(error, IsADirectoryError) else "not a folder"
            raise UserError(f"cannot {doing} {self}: it is {kind}; check the path.") from error
        except ImportError as error:
            raise UserError(f"cannot {doing} {self}: {_first_line(error)}; pip install 'ssast[cloud]'.") from error
        except Exception as error:  # every cloud client raises kinds of its own
            if self.is_local and not isinstance(error, OSError | ValueError):
                raise
            advice = "the path and your rights" if self.is_local else "the address, your rights and your credentials"
            raise UserError(f"cannot {doing} {self}: {_first_line(error)}; check {advice}.") from error


def _first_line(error: BaseException) -> str:
    """What an error says, short enough for a sentence."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return text.strip().splitlines()[0].rstrip(".")[:300]


def as_location(address: Address) -> Location:
    """A Location of a text, a path or a Location."""
    return address if isinstance(address, Location) else Location(os.fspath(address))


def locate(prefix: Address, study: str | None = None, bucket_name: Any = None, project: str | None = None) -> Location:
    """The folder of recordings, by the seed's rule: with a bucket, `prefix` lies in it and needs no `gs://`.

    `bucket_name` is a name (with `gs://` also taken) or a google-cloud-storage Bucket. A prefix that says where it lies
    itself - `gs://`, `s3://` or any other address, an absolute path, one that starts with a dot - is taken as it is.
    """
    text = str(as_location(prefix))
    bucket = str(getattr(bucket_name, "name", bucket_name) or "").removeprefix("gs://").strip("/")
    explicit = "://" in str(prefix) or os.path.isabs(text) or str(prefix).startswith((".", "~"))
    if bucket and not explicit:
        text = f"gs://{bucket}/{text}"
    location = Location(text, project)
    return location / study if study else location


def writable_folder(path: Address) -> Path:
    """The folder, made where it is missing; UserError where nothing can be written into it."""
    folder = as_location(path).path
    with _writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f"{UNFINISHED}{uuid.uuid4().hex}"
        probe.touch()
        probe.unlink()
    return folder


@contextmanager
def whole_file(path: Address) -> Iterator[Path]:
    """A path to write a file to, beside `path`; it takes the place of `path` at the end, or vanishes on any error.

    UserError where the folder cannot be written to or the disk is full.
    """
    target, beside = _beside(path)
    try:
        with _writing(target, inside=True):
            yield beside
        with _writing(target):
            _to_disk(beside)
            os.replace(beside, target)
    finally:
        beside.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Address) -> Iterator[Path]:
    """A new empty folder beside `path`; it takes the place of `path` (with all in it) at the end, or vanishes."""
    target, beside = _beside(path)
    aside = beside.with_name(f"{beside.name}.old")
    try:
        with _writing(target, inside=True):
            beside.mkdir()
            yield beside
        with _writing(target):
            if target.exists():
                target.rename(aside)
            try:
                beside.rename(target)
            except OSError:
                if aside.exists():
                    aside.rename(target)
                raise
    finally:
        shutil.rmtree(beside, ignore_errors=True)
        if target.exists():
            shutil.rmtree(aside, ignore_errors=True)


def _beside(path: Address) -> tuple[Path, Path]:
    """The place behind any link, and a free name beside it; what killed processes left there is swept first."""
    target = Path(os.path.realpath(as_location(path).path))
    with _writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        _sweep(target)
    return target, target.with_name(f"{UNFINISHED}{_host()}-{os.getpid()}-{uuid.uuid4().hex[:8]}-{target.name}")


def _sweep(target: Path) -> None:
    """Delete unfinished writes of `target` whose process, of this machine, has ended; put back what it set aside."""
    start, ends = f"{UNFINISHED}{_host()}-", (f"-{target.name}", f"-{target.name}.old")
    for stray in target.parent.iterdir():
        pid = stray.name.removeprefix(start).split("-")[0]
        if not (stray.name.startswith(start) and stray.name.endswith(ends) and pid.isdecimal()) or _alive(int(pid)):
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
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


def _to_disk(path: Path) -> None:
    with open(path, "rb") as file:
        os.fsync(file.fileno())


@contextmanager
def _writing(target: Path, *, inside: bool = False) -> Iterator[None]:
    """Say in one sentence that `target` cannot be written; `inside` a caller's block only if the disk is to blame."""
    try:
        yield
    except OSError as error:
        if inside and error.errno not in OUT_OF_ROOM:
            raise
        why = _first_line(error).lower()
        raise UserError(
            f"cannot write {target}: {why}; free space, mend the rights or choose another place."
        ) from error
