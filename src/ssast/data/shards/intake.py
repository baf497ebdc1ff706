"""Read recordings for shards: see how large each is, then judge its sound and give the bytes of its files."""

import hashlib
import os
from array import array
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from torch.utils.data import Dataset

from ssast.audio.decode import enough_memory_for_clip
from ssast.audio.sound_findings import LENGTH, SoundFinding
from ssast.data.audio_conf import AudioConf
from ssast.data.batch import Bad
from ssast.data.recordings import check_uid, find_recording, naming, prefetch, recording_blocks
from ssast.data.shards.collection import Collection, opened
from ssast.data.shards.shard_schema import MB
from ssast.data.shards.shard_writer import PackedClip
from ssast.data.storage import location
from ssast.data.storage.location import Location, Missing
from ssast.data.workers import Workers, in_threads, killed
from ssast.errors import AudioError, UserError

LOOKED_AT_ONCE = 8
_CLIPS_A_MESSAGE, _BYTES_A_MESSAGE = 16, 8 * MB
"""So many recordings, or bytes of them, go from a process to the one that writes at once."""
MOST_BYTES_A_CLIP = 2_000_000_000
"""What Parquet holds in one value at most."""
NO_METADATA = b"{}"
"""What a collection gives of a recording without metadata.json."""
HEARD_AS = AudioConf()
"""Sound is judged as it is, by no settings of a model; all of a recording counts."""


_Seen = tuple[int, bytes]
_STATE_BYTES = 16
_ABSENT: _Seen = (0, bytes(_STATE_BYTES))


class SeenFiles:
    """How many bytes each of many recordings has, and names for the states that their files are in; in little room."""

    def __init__(self, seen: Iterable[_Seen]):
        self.sizes, self._states = array("q"), bytearray()
        for size, state in seen:
            self.sizes.append(size)
            self._states += state

    def states(self, rows: range) -> bytes:
        """The names for the states of some that follow one another."""
        return bytes(self._states[_STATE_BYTES * rows.start : _STATE_BYTES * rows.stop])


def seen_files(root: Location, uids: Sequence[str]) -> Iterator[_Seen]:
    """The files of each uid as a disk or a listing shows them, in a collection by their bytes; of missing ones none."""
    for uid in uids:
        check_uid(uid)
    return in_threads(partial(_seen, root), uids, LOOKED_AT_ONCE)


def _seen(root: Location, uid: str) -> _Seen:
    collection = opened(root)
    if collection is not None:
        return _seen_in(collection, uid)
    found = sorted((_listed if root.is_local else _stored)(root / uid))
    size = sum(int(size or 0) for name, size, _ in found if name.lower().startswith("waveform."))
    return size, hashlib.sha256(repr((uid, found)).encode()).digest()[:_STATE_BYTES]


def _seen_in(collection: Collection, uid: str) -> _Seen:
    with suppress(AudioError):  # said when its own turn comes
        content = collection.find(uid).location.read_bytes()
        return len(content), hashlib.sha256(content + collection.metadata(uid)).digest()[:_STATE_BYTES]
    return _ABSENT


def _listed(folder: Location) -> list[tuple[str, int, str]]:
    found = []
    with suppress(OSError), os.scandir(folder.path) as entries:
        for entry in entries:
            with suppress(OSError):
                stat = entry.stat()
                found.append((entry.name, stat.st_size, f"{stat.st_mtime_ns} {stat.st_ino}"))
    return found


def _stored(folder: Location) -> list[tuple[str, int, str]]:
    folder.keep()
    known = location._kept.get(folder._id) or {}
    return [(name, one.size or 0, one.key(f"{folder}/{name}") or "") for name, one in known.items()]


@dataclass(frozen=True)
class JudgedClip:
    """A recording that can be used, and what is odd about its sound."""

    clip: PackedClip
    findings: tuple[SoundFinding, ...]


class Intake(Dataset[JudgedClip | Bad]):
    """The recordings of these uids, each decoded from end to end as every mode does, then read as it lies."""

    def __init__(self, root: Location, uids: Sequence[str], sizes: Sequence[int], *, use_librosa: bool = False):
        self.root, self.uids, self.sizes, self.use_librosa = root, uids, sizes, use_librosa

    def __len__(self) -> int:
        return len(self.uids)

    def __getitems__(self, rows: list[int]) -> list[JudgedClip | Bad]:
        """Several, which come from a bucket all together."""
        if opened(self.root) is None:
            prefetch(self.root, [self.uids[row] for row in rows])
        return [self[row] for row in rows]

    def __getitem__(self, row: int) -> JudgedClip | Bad:
        uid = self.uids[row]
        try:
            with naming(uid), enough_memory_for_clip():
                return self._judged(uid, self.sizes[row])
        except UserError as error:
            return Bad(uid, str(error), isinstance(error, AudioError), error.names)

    def _judged(self, uid: str, size: int) -> JudgedClip:
        opens = partial(recording_blocks, self.root, uid, use_librosa=self.use_librosa)
        findings = HEARD_AS.item(opens, "windows", judges=True).get("findings", ())
        file = find_recording(self.root, uid).location
        if size > MOST_BYTES_A_CLIP:
            raise AudioError(f"{file.name} has more than 2 GB, which no shard holds; cut it", path=file.name)
        clip = PackedClip(uid, file.name, file.read_bytes(), _metadata_bytes(self.root, uid))
        return JudgedClip(clip, tuple(one for one in findings if one.kind != LENGTH))

    def dead(self, row: int, ending: str) -> Bad:
        """The entry for a recording whose reading ended a process."""
        uid = self.uids[row]
        return Bad(uid, killed(uid, ending), True, {"uid": (uid,)})


def _metadata_bytes(root: Location, uid: str) -> bytes | None:
    collection = opened(root)
    if collection is not None:
        found = collection.metadata(uid)
        return None if found == NO_METADATA else found
    try:
        return (root / uid / "metadata.json").read_bytes()
    except Missing:
        return None


def taken_in(intake: Intake, rows: Sequence[int], *, num_workers: int) -> Iterator[JudgedClip | Bad]:
    """The recordings of these rows in their order, read by `num_workers` processes."""
    batches = list(_messages(rows, intake.sizes))
    for clips in Workers(intake, batches, intake.dead, num_workers=num_workers, collate_fn=list):
        yield from clips


def _messages(rows: Sequence[int], sizes: Sequence[int]) -> Iterator[list[int]]:
    batch: list[int] = []
    held = 0
    for row in rows:
        if batch and (len(batch) == _CLIPS_A_MESSAGE or held + sizes[row] > _BYTES_A_MESSAGE):
            yield batch
            batch, held = [], 0
        batch.append(row)
        held += sizes[row]
    if batch:
        yield batch
