"""Name what is in recordings, so that equal ones share a name and one that changed gets another.

A local file is read once; then its name is known until its size, its times or its place on the disk change. Files in a
bucket go by what the store says of them.
"""

import hashlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from ssast.audio.source import not_plain
from ssast.data.recordings import find_recording
from ssast.data.shards.collection import opened
from ssast.data.storage.cache import Cache, fingerprint_of
from ssast.data.storage.location import Location
from ssast.data.storage.threads import in_threads
from ssast.errors import AudioError, UserError

SETTLED_SECONDS = 2.0
"""A file that changed no longer ago than this [s] may change again within the same tick of the disk's clock."""


def recording_fingerprints(root: Location, uids: Sequence[str], cache: Cache) -> Iterator[str | None]:
    """A name for what is in each recording, its metadata.json included; None where it cannot be read."""
    return _each(partial(_content, root, cache), uids)


def file_fingerprints(files: Sequence[Location], cache: Cache) -> Iterator[str | None]:
    """The same for audio files without metadata.json."""
    return _each(partial(_file_content, cache), files)


def _each(one: Callable[[Any], str | None], of: Iterable[Any]) -> Iterator[str | None]:
    """In order; several at once, since disks and stores keep one waiting."""
    return in_threads(one, of)


def _content(root: Location, cache: Cache, uid: str) -> str | None:
    collection = opened(root)
    if collection is not None and (named := collection.content(uid)) is not None:
        return named
    try:
        found = find_recording(root, uid)
        held = _held(found.location, cache)
    except (AudioError, FileNotFoundError):
        return None  # said when it is read
    return fingerprint_of(held, found.extension, found.sample_rate)


def _file_content(cache: Cache, file: Location) -> str | None:
    try:
        return _held(file, cache)
    except (UserError, OSError):
        return None  # said when it is read


def _held(place: Location, cache: Cache) -> str:
    if place.is_local:
        return _local_content(place, cache)
    return place.content_key() or hashlib.sha256(place.read_bytes()).hexdigest()


def _local_content(place: Location, cache: Cache) -> str:
    if odd := not_plain(place.path):
        raise AudioError(f"{place} is {odd}, not a file", path=place)  # opening a pipe would wait for ever
    stat = os.stat(place.path)
    known = fingerprint_of("content", str(place), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)
    size = hashlib.sha256().digest_size * 2
    kept = cache.find(known, size)
    with suppress(FileNotFoundError):
        if kept is not None:
            return kept.read_text(encoding="ascii")
    with open(place.path, "rb") as file:
        name = hashlib.file_digest(file, "sha256").hexdigest()

    def fill(unfinished: Path) -> None:
        unfinished.write_text(name, encoding="ascii")

    if time.time() - max(stat.st_mtime, stat.st_ctime) > SETTLED_SECONDS:
        with suppress(UserError):  # a cache that cannot be written costs a second reading, no more
            cache.get(known, size, fill)
    return name
