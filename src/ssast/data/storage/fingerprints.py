"""Name what is in recordings, so that equal ones share a name and one that changed gets another.

A local file is read once; then its name is known until its size, its times or its place on the disk change. Files in a
bucket go by what the store says of them.
"""

import hashlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, cast

from ssast.audio.source import not_plain
from ssast.data.recordings import find_recording
from ssast.data.shards.collection import opened
from ssast.data.storage.cache import Cache, fingerprint_of
from ssast.data.storage.kept_values import KeptValues
from ssast.data.storage.location import Location
from ssast.data.storage.threads import in_threads
from ssast.errors import AudioError, UserError

SETTLED_SECONDS = 2.0
"""A file that changed no longer ago than this [s] may change again within the same tick of the disk's clock."""
_AT_ONCE = 256
"""So many recordings are asked about together."""


@dataclass(frozen=True)
class _Asked:
    """A recording before its file is read.

    `content` names what is in it where that is known; else `key` is what the name of `file` is kept by. `beside` is
    what else a recording's name is made of.
    """

    content: str | None
    file: Location | None = None
    key: str = ""
    changed: float = 0.0
    beside: tuple[object, ...] | None = None

    def named(self, content: str | None) -> str | None:
        """The name of the recording whose file holds this."""
        return content if content is None or self.beside is None else fingerprint_of(content, *self.beside)


def recording_fingerprints(root: Location, uids: Sequence[str], cache: Cache) -> Iterator[str | None]:
    """A name for what is in each recording, its metadata.json included; None where it cannot be read."""
    return _names(partial(_recording, root), uids, cache, FileNotFoundError)


def file_fingerprints(files: Sequence[Location], cache: Cache) -> Iterator[str | None]:
    """The same for audio files without metadata.json."""
    return _names(_audio_file, files, cache, OSError)


def _names(
    ask: Callable[[Any], _Asked], of: Iterable[Any], cache: Cache, passed: type[OSError]
) -> Iterator[str | None]:
    """In order; several at once, since disks and stores keep one waiting. A `passed` error is said by who reads it."""
    left = iter(of)
    with KeptValues(cache) as kept:
        while some := list(in_threads(ask, islice(left, _AT_ONCE))):
            known = {key: name.hex() for key, name in kept.find([one.key for one in some if one.file]).items()}
            read = in_threads(partial(_content, passed), [one for one in some if one.file and one.key not in known])
            for one in some:
                content = known.get(one.key, one.content)
                if one.file and content is None:
                    content = next(read)
                    if content and time.time() - one.changed > SETTLED_SECONDS:
                        kept.keep(one.key, bytes.fromhex(content))
                yield one.named(content)


def _recording(root: Location, uid: str) -> _Asked:
    collection = opened(root)
    if collection is not None and (named := collection.content(uid)) is not None:
        return _Asked(named)
    try:
        found = find_recording(root, uid)
        return _asked(found.location, (found.extension, found.sample_rate))
    except (AudioError, FileNotFoundError):
        return _Asked(None)  # said when it is read


def _audio_file(file: Location) -> _Asked:
    try:
        return _asked(file)
    except (UserError, OSError):
        return _Asked(None)  # said when it is read


def _asked(place: Location, beside: tuple[object, ...] | None = None) -> _Asked:
    if not place.is_local:
        return _Asked(place.content_key() or hashlib.sha256(place.read_bytes()).hexdigest(), beside=beside)
    if odd := not_plain(place.path):
        raise AudioError(f"{place} is {odd}, not a file", path=place)  # opening a pipe would wait for ever
    stat = os.stat(place.path)
    key = fingerprint_of("content", str(place), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)
    return _Asked(None, place, key, max(stat.st_mtime, stat.st_ctime), beside)


def _content(passed: type[OSError], one: _Asked) -> str | None:
    try:
        with open(cast(Location, one.file).path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except passed:
        return None
