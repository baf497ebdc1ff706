"""Ask stores for files through fsspec: what they say of an address, and whole transfers from and to it.

Errors are the clients' own; `location.py` makes sentences of them. Transfers are compared with the size and the
checksum that the store gives, and tried again where the network, not the request, was at fault. No request waits for
ever.
"""

import errno
import hashlib
import json
import logging
import os
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ssast.data.storage.checksums import DamagedError, check_amazon, check_crc32c, check_md5, md5_of_base64

GOOGLE, AMAZON = ("gs", "gcs"), ("s3", "s3a")
BUSY = {408, 429, *range(500, 600)}
SLIPS = {errno.EIO, errno.EBUSY, errno.ETIMEDOUT, errno.ECONNRESET, errno.EPIPE}
DAMAGED_TRIES, OTHER_TRIES = 6, 3
"""How often a transfer is tried. The clients themselves try refused and busy requests six times before they give up."""
_PAUSE_SECONDS = 0.2
"""Half of the pause before the second try; it doubles from try to try."""
CONNECT_SECONDS, READ_SECONDS = 10.0, 20.0
"""How long a connection may take, and how long nothing may arrive on it, before the client tries again."""
ANSWER_SECONDS = 90.0
"""How long one question may take with all tries of the client; no new try is made of one that lasted as long."""
LEAST_BYTES_A_SECOND = 32_000
"""A transfer that is slower on the whole is given up."""

CHECKSUM_ERRORS = {"ChecksumError", "FlexibleChecksumError"}
"""What gcsfs and botocore raise where what they read has not the checksum that came with it."""

DROPPED_ERRORS = {"ConnectionClosedError", "HTTPClientError", "IncompleteReadError", "ResponseParserError"}
"""botocore's names for a connection that was lost, or an answer that is none."""

_T = TypeVar("_T")


class ReplacedError(Exception):
    """The store holds something else by now."""


class UnansweredError(TimeoutError):
    """The store did not answer, or not fast enough, within the time that is waited for it."""


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
        if self.md5:
            check_md5(file, self.md5)
        elif self.crc32c:
            check_crc32c(file, self.crc32c)


FOLDER = Stored(None, "", "", "", is_folder=True)


def ask_store(address: str, project: str | None) -> Stored:
    """What the store says of one address; FileNotFoundError where nothing is."""
    client, path = client_of(address, project)
    return again(lambda: _look(client, path))


def _look(client: Any, path: str) -> Stored:
    return _stored(asked(client, "info", path))


def listing(address: str, project: str | None) -> dict[str, Stored]:
    """The names in a folder, and what the store says of each; FileNotFoundError where nothing is."""
    client, path = client_of(address, project)

    def once() -> dict[str, Stored]:
        # A kept listing would hide what another process has written since.
        entries = asked(client, "ls", path, detail=True, refresh=True)
        return {str(entry["name"]).rstrip("/"): _stored(entry) for entry in entries}

    found = again(once)
    return {name.rsplit("/", 1)[-1]: stored for name, stored in found.items() if name != path.rstrip("/")}


def fetch(address: str, project: str | None, stored: Stored, unfinished: Path) -> None:
    """Write the content of an address to a local file; tried again until it is what the store says.

    ReplacedError where the store no longer says `stored` of it.
    """
    client, path = client_of(address, project)
    # gcsfs otherwise asks for the size once more; both otherwise open several connections for large files, and s3fs
    # then compares no checksum.
    how: dict[str, int] = {"concurrency": 1} if scheme(address) in GOOGLE else {}
    how |= {"max_concurrency": 1} if scheme(address) in AMAZON else {}

    def once() -> None:
        unfinished.touch()  # some clients make no empty files
        asked(client, "get_file", path, str(unfinished), seconds=seconds_for(stored.size), **how)
        try:
            _check(client, path, stored, unfinished, scheme(address))
        except DamagedError as error:
            if _look(client, path) != stored:
                raise ReplacedError from error
            raise

    again(once)


def send(source: Path, address: str, project: str | None) -> None:
    """Write a local file to an address; tried again until the store says that it has these very bytes."""
    client, path = client_of(address, project)

    def once() -> None:
        asked(client, "put_file", str(source), path, seconds=seconds_for(source.stat().st_size))
        try:
            _check(client, path, _look(client, path), source, scheme(address))
        except FileNotFoundError as error:
            raise DamagedError("the store does not list it") from error

    again(once)


def _check(client: Any, path: str, stored: Stored, file: Path, kind: str) -> None:
    """Raise DamagedError unless the file is what the store holds, as far as the store can tell."""
    stored.check(file)
    if kind in AMAZON:
        check_amazon(file, stored.tag, lambda: _head(client, path))


def _head(client: Any, path: str) -> Mapping[str, Any]:
    """What Amazon's store says of an object's checksums and encryption."""
    bucket, key, _ = client.split_path(path)
    return dict(asked(client, "call_s3", "head_object", Bucket=bucket, Key=key, ChecksumMode="ENABLED"))


def seconds_for(size: int | None) -> float:
    """How long a transfer of so many bytes may take."""
    return ANSWER_SECONDS + (size or 0) / LEAST_BYTES_A_SECOND


def asked(client: Any, name: str, *arguments: Any, seconds: float | None = None, **how: Any) -> Any:
    """What a client's method gives; UnansweredError after `seconds`, which ends the request where the client can."""
    seconds = ANSWER_SECONDS if seconds is None else seconds
    if getattr(client, "async_impl", False) and hasattr(client, f"_{name}"):
        from fsspec.asyn import sync

        try:
            return sync(client.loop, getattr(client, f"_{name}"), *arguments, timeout=seconds, **how)
        except TimeoutError as error:
            raise UnansweredError(f"it did not answer within {seconds:.0f} seconds") from error
    return _in_a_thread(lambda: getattr(client, name)(*arguments, **how), seconds)


def _in_a_thread(call: Callable[[], _T], seconds: float) -> _T:
    """What a call gives that cannot be interrupted; after `seconds` it is left behind, and UnansweredError raised."""
    given: list[_T] = []
    raised: list[BaseException] = []

    def run() -> None:
        try:
            given.append(call())
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run, name="store", daemon=True)
    thread.start()
    thread.join(seconds)
    if raised:
        raise raised[0]
    if not given:
        raise UnansweredError(f"it did not answer within {seconds:.0f} seconds")
    return given[0]


def again(attempt: Callable[[], _T]) -> _T:
    """The result of `attempt`, made again after a growing while for as long as a next try can help."""
    started = time.monotonic()
    for number in range(1, DAMAGED_TRIES):
        try:
            return attempt()
        except Exception as error:  # every client has kinds of its own
            is_patient = time.monotonic() - started < ANSWER_SECONDS
            if not passing(error) or not is_patient or (number >= OTHER_TRIES and not is_damaged(error)):
                raise
            time.sleep(_PAUSE_SECONDS * min(40, 2**number) * random.uniform(0.5, 1.0))
    return attempt()


def is_damaged(error: BaseException) -> bool:
    """Whether bytes were lost or changed on their way: by our own comparison, the client's, or as no answer at all."""
    own = isinstance(error, DamagedError | json.JSONDecodeError | UnicodeDecodeError)
    return own or type(error).__name__ in CHECKSUM_ERRORS


def passing(error: BaseException) -> bool:
    """Whether an error may be gone at the next try: a reset, a time-out, a busy server, a body cut short or changed."""
    if isinstance(error, ConnectionError | TimeoutError) or is_damaged(error):
        return True
    if isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError | NotADirectoryError):
        return False
    code = str(getattr(error, "code", None) or getattr(error, "status", None) or "")
    if code.isdecimal():
        return int(code) in BUSY
    if isinstance(error, OSError) and error.errno in SLIPS:
        return True
    return type(error).__module__.startswith(("aiohttp", "requests")) or type(error).__name__ in DROPPED_ERRORS


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
        # Listings are kept where it is known for how long they hold, in location.py.
        how: dict[str, Any] = {"use_listings_cache": False}
        if kind in GOOGLE:
            how["requests_timeout"] = _google_limits()
        if kind in AMAZON:
            how["config_kwargs"] = {"connect_timeout": CONNECT_SECONDS, "read_timeout": READ_SECONDS}
        if kind in GOOGLE and project is not None:
            how["project"] = project
        if kind in GOOGLE and os.environ.get("STORAGE_EMULATOR_HOST"):
            how["token"] = "anon"
        _clients[own] = url_to_fs(address, **how)[0]
    return _clients[own], _clients[own]._strip_protocol(address)


def _google_limits() -> Any:
    """The time that one of Google's requests may take to connect, and between two pieces of its answer."""
    from aiohttp import ClientTimeout

    return ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=READ_SECONDS)


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
    md5 = md5_of_base64(info.get("md5Hash"))
    names = ("generation", "etag", "ETag", "LastModified", "mtime", "updated", "created", "uid")
    tag = next((str(info[name]) for name in names if info.get(name)), "")
    try:
        return Stored(None if size is None else int(size), md5, str(info.get("crc32c") or ""), tag)
    except (TypeError, ValueError) as error:
        raise DamagedError(f"the store gives the size {str(size)[:40]!r}") from error
