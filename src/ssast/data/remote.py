"""An fsspec address in; its client, what the store says of its files, and whole transfers of them, out.

Errors are the clients' own; `storage.py` makes sentences of them. Transfers are compared with the size and the checksum
that the store gives, and tried again where the network, not the request, was at fault.
"""

import base64
import errno
import hashlib
import logging
import os
import random
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

GOOGLE, AMAZON = ("gs", "gcs"), ("s3", "s3a")
BUSY = {408, 429, *range(500, 600)}
SLIPS = {errno.EIO, errno.EBUSY, errno.ETIMEDOUT, errno.ECONNRESET, errno.EPIPE}
DAMAGED_TRIES, OTHER_TRIES = 6, 3
"""How often a transfer is tried. The clients themselves try refused and busy requests six times before they give up."""

T = TypeVar("T")


class DamagedError(OSError):
    """What arrived is not what the store holds."""


class ReplacedError(Exception):
    """The store holds something else by now."""


@dataclass(frozen=True)
class Stored:
    """What a store says of a file: size in bytes and checksums where it knows them, and a tag that changes with it."""

    size: int | None
    md5: str
    crc32c: str
    tag: str
    is_folder: bool = False

    def key(self, address: str) -> str | None:
        """A name for the content, shared by equal files; None where the store tells too little to know a change."""
        if self.md5:
            known: tuple[Any, ...] = (self.md5, self.size)
        elif self.tag:
            known = (address, self.crc32c, self.tag, self.size)
        else:
            return None
        return hashlib.sha256(repr(known).encode()).hexdigest()

    def check(self, file: Path) -> None:
        """Raise DamagedError unless the file has the size and the checksum that the store gave."""
        size = file.stat().st_size
        if self.size is not None and size != self.size:
            raise DamagedError(f"{size} of {self.size} bytes arrived")
        if self.md5 and _md5(file) != self.md5:
            raise DamagedError("the MD5 checksum differs")
        if self.crc32c and not self.md5 and _crc32c(file) not in (self.crc32c, ""):
            raise DamagedError("the CRC32C checksum differs")


FOLDER = Stored(None, "", "", "", is_folder=True)


def look(address: str, project: str | None) -> Stored:
    """What the store says of one address; FileNotFoundError where nothing is."""
    client, path = client_of(address, project)
    return again(lambda: _stored(client.info(path)))


def listing(address: str, project: str | None) -> dict[str, Stored]:
    """The names in a folder, and what the store says of each; FileNotFoundError where nothing is."""
    client, path = client_of(address, project)
    # A kept listing would hide what another process has written since.
    entries = again(lambda: client.ls(path, detail=True, refresh=True))
    found = {str(entry["name"]).rstrip("/"): _stored(entry) for entry in entries}
    return {name.rsplit("/", 1)[-1]: stored for name, stored in found.items() if name != path.rstrip("/")}


def fetch(address: str, project: str | None, stored: Stored, beside: Path) -> None:
    """Write the content of an address to a local file; tried again until it is what the store says.

    ReplacedError where the store no longer says `stored` of it.
    """
    client, path = client_of(address, project)
    # gcsfs otherwise asks for the size once more, and opens several connections for large files.
    how = {"concurrency": 1} if scheme(address) in GOOGLE else {}

    def once() -> None:
        beside.touch()  # some clients make no empty files
        client.get_file(path, str(beside), **how)
        try:
            stored.check(beside)
        except DamagedError as error:
            if _stored(client.info(path)) != stored:
                raise ReplacedError from error
            raise

    again(once)


def send(source: Path, address: str, project: str | None) -> None:
    """Write a local file to an address; tried again until the store says that it has these very bytes."""
    client, path = client_of(address, project)

    def once() -> None:
        client.put_file(str(source), path)
        try:
            _stored(client.info(path)).check(source)
        except FileNotFoundError as error:
            raise DamagedError("the store does not list it") from error

    again(once)


def again(attempt: Callable[[], T]) -> T:
    """The result of `attempt`, made again after a growing while for as long as a next try can help."""
    for number in range(1, DAMAGED_TRIES):
        try:
            return attempt()
        except Exception as error:  # every client has kinds of its own
            if not passing(error) or (number >= OTHER_TRIES and not isinstance(error, DamagedError)):
                raise
            time.sleep(min(8.0, 0.2 * 2**number) * random.uniform(0.5, 1.0))
    return attempt()


def passing(error: BaseException) -> bool:
    """Whether an error may be gone at the next try: a reset, a time-out, a busy server, a body cut short."""
    if isinstance(error, DamagedError | ConnectionError | TimeoutError):
        return True
    if isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError | NotADirectoryError):
        return False
    code = str(getattr(error, "code", None) or getattr(error, "status", None) or "")
    if code.isdecimal():
        return int(code) in BUSY
    if isinstance(error, OSError) and error.errno in SLIPS:
        return True
    return type(error).__module__.startswith(("aiohttp", "requests"))


def scheme(address: str) -> str:
    """What stands before `://`."""
    return address.split("://", 1)[0]


_clients: dict[tuple[int, str, str | None], Any] = {}


def client_of(address: str, project: str | None) -> tuple[Any, str]:
    """The file system and its own spelling of the path; opened in this very process, and shared by its threads."""
    from fsspec.core import url_to_fs

    kind = scheme(address)
    own = (os.getpid(), kind, project)
    if kind not in (*GOOGLE, *AMAZON):
        return url_to_fs(address)
    if own not in _clients:
        _quieten()
        # Listings are kept where it is known for how long they hold, in storage.py.
        how: dict[str, Any] = {"use_listings_cache": False}
        if kind in GOOGLE and project is not None:
            how["project"] = project
        if kind in GOOGLE and os.environ.get("STORAGE_EMULATOR_HOST"):
            how["token"] = "anon"
        _clients[own] = url_to_fs(address, **how)[0]
    return _clients[own], _clients[own]._strip_protocol(address)


def _quieten() -> None:
    """Keep the clients from writing tracebacks for what ends as a sentence or a next try."""
    for name in ("gcsfs", "s3fs", "google.auth", "fsspec"):
        logging.getLogger(name).addHandler(logging.NullHandler())
    if os.environ.get("STORAGE_EMULATOR_HOST"):
        # An emulator lacks the service that tells the kinds of buckets apart, and waiting for it takes a minute.
        os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")


def _stored(info: Mapping[str, Any]) -> Stored:
    """What all stores say, of what one says in its own words."""
    if info.get("type") == "directory":
        return FOLDER
    size = info.get("size", info.get("Size"))
    md5 = _hex(info.get("md5Hash"))
    names = ("generation", "etag", "ETag", "LastModified", "mtime", "updated", "created", "uid")
    tag = next((str(info[name]) for name in names if info.get(name)), "")
    return Stored(None if size is None else int(size), md5, str(info.get("crc32c") or ""), tag)


def _hex(text: Any) -> str:
    """A base64 checksum as hexadecimal digits; empty where it is none."""
    if not isinstance(text, str) or not re.fullmatch(r"[A-Za-z0-9+/]{22}==", text):
        return ""
    return base64.b64decode(text).hex()


def _md5(file: Path) -> str:
    with open(file, "rb") as content:
        return hashlib.file_digest(content, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _crc32c(file: Path) -> str:
    """The checksum in the store's spelling; empty where nothing here can compute it."""
    try:
        import google_crc32c
    except ImportError:
        return ""
    checksum = google_crc32c.Checksum()
    with open(file, "rb") as content:
        while piece := content.read(1 << 20):
            checksum.update(piece)
    return base64.b64encode(checksum.digest()).decode()
