"""Read what lies at an address, local or of any fsspec kind (gs://, s3://), from the disk or through the cache."""

import builtins
import codecs
import os
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import IO, Any, Union

from ssast.data.storage import stores
from ssast.data.storage.atomic_writes import at_home, first_line
from ssast.data.storage.cache import cache
from ssast.data.storage.stores import Stored
from ssast.errors import UserError, lacks_handles

__all__ = [
    "Address",
    "Location",
    "Missing",
    "as_location",
    "bucket_address",
    "forget",
    "locate",
]

Address = Union[str, "os.PathLike[str]", "Location"]
CACHE_GB = 50.0
READ_TRIES = 5
KEPT_FOLDERS = 20_000


class Missing(UserError):  # noqa: N818 - often it is an answer, not an error
    """Nothing lies at the address."""


@dataclass(frozen=True)
class Location:
    """A file or folder, local or behind any fsspec address; it holds no client, so it travels between processes.

    `project` is the Google Cloud project that is charged or asked; it means nothing to other addresses. What is read
    from a remote address is kept in the cache of this machine, up to `cache_gb`, and fetched again only when the store
    says that it has changed. Every method that reads raises a UserError of one sentence, Missing where nothing is.
    """

    address: str
    project: str | None = None
    cache_gb: float = CACHE_GB

    def __post_init__(self) -> None:
        address = os.fspath(self.address) if isinstance(self.address, os.PathLike) else str(self.address)
        address = address.removeprefix("file://")
        if "://" in address:
            scheme, rest = address.split("://", 1)
            address = f"{scheme}://{rest.rstrip('/')}"
        elif address:
            address = str(at_home(address))
        object.__setattr__(self, "address", address)

    def __str__(self) -> str:
        return self.address

    def __fspath__(self) -> str:
        return str(self.path)

    def __truediv__(self, child: str) -> "Location":
        child = str(child).strip("/")
        return replace(self, address=str(Path(self.address) / child) if self.is_local else f"{self.address}/{child}")

    @property
    def is_local(self) -> bool:
        """Whether it lies on a disk of this machine."""
        return "://" not in self.address

    @property
    def path(self) -> Path:
        """The local path; UserError where the address is not local."""
        if not self.is_local:
            raise UserError(f"{self} is not on this machine; give a local path.", path=self)
        return Path(self.address)

    @property
    def name(self) -> str:
        """The last part of the address."""
        return Path(self.address).name if self.is_local else self.address.split("://", 1)[1].rsplit("/", 1)[-1]

    @property
    def parent(self) -> "Location":
        """The folder around it; a bucket is its own parent."""
        if self.is_local:
            return replace(self, address=str(Path(self.address).parent))
        scheme, rest = self.address.split("://", 1)
        return replace(self, address=f"{scheme}://{rest.rsplit('/', 1)[0]}")

    def open(self, mode: str = "rb") -> IO[Any]:
        """An open file; text is UTF-8. For whole local writes see `atomic_file`."""
        encoding = None if "b" in mode else "utf-8"
        with self._sentences("read" if "r" in mode else "write"):
            if self.is_local:
                return open(self.address, mode, encoding=encoding)
            if mode in ("r", "rt", "rb"):
                return self._cached(lambda file: open(file, mode, encoding=encoding))
            client, path = stores.client_of(self.address, self.project)
            return client.open(path, mode, **({"encoding": encoding} if encoding else {}))

    def read_bytes(self, limit: int | None = None) -> bytes:
        """Read the content, at most `limit` bytes of it."""
        with self.open("rb") as file, self._sentences("read"):
            return file.read(-1 if limit is None else limit)

    def read_text(self, most: int | None = None) -> str:
        """Its content as text: UTF-8 with or without a byte-order mark, or UTF-16 with one; UserError otherwise.

        UserError as well for a file of more than `most` bytes.
        """
        if self.is_local and self.exists() and not self.is_dir() and not os.path.isfile(self.address):
            raise UserError(f"cannot read {self}: it is not a regular file; give the path of one.", path=self)
        content = self.read_bytes(None if most is None else most + 1)
        if most is not None and len(content) > most:
            raise UserError(f"{self} is larger than {most:,} bytes, so it was not read; check the path.", path=self)
        wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        try:
            text = content.decode("utf-16" if wide else "utf-8-sig")
        except UnicodeDecodeError as error:
            line = content.count(b"\n", 0, error.start) + 1
            raise UserError(
                f"{self} is not UTF-8 text (line {line}); save it again as UTF-8, in Excel as `CSV UTF-8`.", path=self
            ) from error
        if "\0" in text:
            raise UserError(f"{self} holds NUL characters, so it is no text file; give a plain text file.", path=self)
        return text

    def exists(self) -> bool:
        """Whether anything lies there."""
        with self._sentences("look at"):
            return os.path.exists(self.address) if self.is_local else self._look() is not None

    def is_dir(self) -> bool:
        """Whether it is a folder; in a bucket, whether anything lies under it."""
        with self._sentences("look at"):
            if self.is_local:
                return os.path.isdir(self.address)
            stored = self._look()
            return stored is not None and stored.is_folder

    def list(self) -> "builtins.list[Location]":
        """What lies in the folder, by name."""
        with self._sentences("list"):
            names = os.listdir(self.address) if self.is_local else stores.listing(self.address, self.project)
        return [self / name for name in sorted(names)]

    def keep(self) -> None:
        """Ask once what lies in this remote folder: until `forget`, its files are then looked at without a request."""
        if self.is_local or self._id in _kept:
            return
        with self._sentences("list"):
            try:
                _kept[self._id] = stores.listing(self.address, self.project)
            except FileNotFoundError:
                _kept[self._id] = {}
        if len(_kept) > KEPT_FOLDERS:
            _kept.popitem(last=False)

    def ask_again(self) -> None:
        """Forget what `keep` was told of this folder."""
        _kept.pop(self._id, None)

    def send(self, source: Path) -> None:
        """Write a local file there, and see that it arrived whole."""
        with self._sentences("write"):
            stores.send(source, self.address, self.project)
        _kept.pop(self.parent._id, None)

    def on_disk(self, *names: str) -> Path:
        """A local path of this file and of those named beside it, or of those named in this folder, as far as they are.

        A local address is its own; a remote one comes from the cache, and stays as long as this process runs.
        """
        if self.is_local:
            return self.path
        is_folder = self.is_dir()
        files = [self / name for name in names] if is_folder else [self, *(self.parent / name for name in names)]
        with self._sentences("read"):
            store = cache(self.cache_gb)
            held = store.hold()
            for file in files:
                if file == self or file.exists():
                    file._cached(partial(store.add, held, file.name))
        return held if is_folder else held / self.name

    @property
    def _id(self) -> tuple[str, str | None]:
        return self.address, self.project

    def content_key(self) -> str | None:
        """A name for the content of a remote file as the store tells it; None where it tells too little, or locally."""
        if self.is_local:
            return None
        with self._sentences("look at"):
            stored = self._look()
            return None if stored is None else stored.key(self.address)

    def _look(self) -> Stored | None:
        """What the store says of it, or said when the folder around it was kept; None where nothing is."""
        kept = _kept.get(self.parent._id)
        if kept is not None:
            return kept.get(self.name)
        try:
            return stores.ask_store(self.address, self.project)
        except FileNotFoundError:
            return None

    def _cached(self, use: Callable[[Path], Any]) -> Any:
        """What `use` makes of the file in the cache."""
        for number in range(READ_TRIES):
            stored = self._look()
            if stored is None:
                raise FileNotFoundError(self.address)
            if stored.is_folder:
                raise IsADirectoryError(self.address)
            # Where nothing tells a change, what is kept now is found by no one later.
            key = stored.key(self.address) or os.urandom(32).hex()
            try:
                return use(cache(self.cache_gb).get_sound(key, stored.size, self._fetching(stored)))
            except (FileNotFoundError, stores.ReplacedError):
                # Another process made room, or the file was replaced since it was looked at.
                _kept.pop(self.parent._id, None)
                if number == READ_TRIES - 1:
                    raise
        raise AssertionError

    def _fetching(self, stored: Stored) -> Callable[[Path], None]:
        return lambda unfinished: stores.fetch(self.address, self.project, stored, unfinished)

    @contextmanager
    def _sentences(self, doing: str) -> Iterator[None]:
        """Turn whatever the disk or a cloud client raises into one sentence."""
        try:
            yield
        except UserError:
            raise
        except FileNotFoundError as error:
            advice = "check the path" if self.is_local else "check the bucket and the path"
            raise Missing(f"{self} does not exist; {advice}.") from error
        except (IsADirectoryError, NotADirectoryError) as error:
            kind = "a folder" if isinstance(error, IsADirectoryError) else "not a folder"
            raise UserError(f"cannot {doing} {self}: it is {kind}; check the path.", path=self) from error
        except ImportError as error:
            raise UserError(
                f"cannot {doing} {self}: {first_line(error)}; pip install 'ssast[cloud]'.", path=self
            ) from error
        except Exception as error:  # every cloud client raises kinds of its own
            if lacks_handles(error) or (self.is_local and not isinstance(error, OSError | ValueError)):
                raise
            advice = "the path and your rights" if self.is_local else "the address, your rights and your credentials"
            raise UserError(f"cannot {doing} {self}: {first_line(error)}; check {advice}.", path=self) from error


_kept: "OrderedDict[tuple[str, str | None], dict[str, Stored]]" = OrderedDict()


def forget() -> None:
    """Ask again what lies in remote folders: a new run sees what has changed since the last."""
    _kept.clear()


def as_location(address: Address) -> Location:
    """A Location of a text, a path or a Location."""
    return address if isinstance(address, Location) else Location(os.fspath(address))


def locate(
    prefix: Address,
    study: str | None = None,
    bucket_name: Any = None,
    project: str | None = None,
    cache_gb: float | None = None,
) -> Location:
    """The folder of recordings, by the seed's rule: with a bucket, `prefix` lies in it and needs no `gs://`.

    `bucket_name` is a name (with `gs://`, or `s3://` for a bucket there, also taken) or a google-cloud-storage Bucket.
    A prefix that says where it lies itself - `gs://`, `s3://` or any other address, an absolute path, one that starts
    with a dot - is taken as it is.
    """
    place = as_location(prefix)
    text = str(place)
    bucket = str(getattr(bucket_name, "name", bucket_name) or "").strip("/")
    explicit = "://" in str(prefix) or os.path.isabs(text) or str(prefix).startswith((".", "~"))
    if bucket and not explicit:
        text = f"{bucket_address(bucket)}/{text}"
    location = replace(place, address=text, project=project or place.project, cache_gb=cache_gb or place.cache_gb)
    return location / study if study else location


def bucket_address(bucket_name: str) -> str:
    """The address of a bucket, Google's unless the name says otherwise."""
    return bucket_name if "://" in bucket_name else f"gs://{bucket_name}"
