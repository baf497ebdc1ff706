"""Read recordings one by one, measure their sound, and judge whether a model can hear them rightly.

Shapes: C channels, S samples.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from ssast import redaction
from ssast.audio.decode import Recording
from ssast.audio.frontend import WINDOW_MS
from ssast.audio.sound_findings import WRONGS, SoundFinding, Still, clipped_share, still
from ssast.data.dataset import AudioConf
from ssast.data.recordings import find_recording, load_recording
from ssast.data.storage.location import Location
from ssast.data.tables.uid_list import UidList
from ssast.data.workers import Workers, killed
from ssast.dataset_audit.acoustics import Sound, bandwidth, device
from ssast.errors import AudioError, UserError

CLIPS_A_MESSAGE = 16
NO_STILL = Still(0.0, 0.0, 0.0, 0.0)
_NONE: dict[str, Any] = {}
"""Of most recordings there is nothing more to tell: all have this one, never changed."""
AS_USUAL = AudioConf()
"""How a model hears unless it is told otherwise."""


@dataclass(frozen=True, slots=True)
class ListenedRecording:
    """One recording: its measures, and the `finding` (a key of survey's FAULTS) and the sentence of what is wrong.

    `peak`, `offset` (the mean) against full scale 1, `clipped` as a share of the samples, all of the whole recording;
    `sound_findings`, `still` and `bandwidth_hz` are about what a model hears of it. `digest` is the same for the same
    samples at the same rate, in whatever lossless format. `sound`, the file's ending `container` and what else
    metadata.json says in plain values (`metadata`) are there where `listen` was asked to listen `closely`. `names`
    are those that the reason holds, by kind.
    """

    uid: str
    finding: str = ""
    reason: str = ""
    sample_rate: int = 0
    channels: int = 0
    seconds: float = 0.0
    peak: float = 0.0
    offset: float = 0.0
    clipped: float = 0.0
    digest: str = ""
    sound_findings: tuple[SoundFinding, ...] = ()
    still: Still = NO_STILL
    bandwidth_hz: float = 0.0
    container: str = ""
    sound: Sound | None = None
    metadata: Mapping[str, Any] = field(default_factory=lambda: _NONE)
    names: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: _NONE)

    @property
    def peak_db(self) -> float:
        """The highest sample in dB of full scale; -120 for nothing but zeros."""
        return 20 * float(np.log10(max(self.peak, 1e-6)))


def listen(
    root: Location, uid: str, *, conf: AudioConf = AS_USUAL, use_librosa: bool = False, closely: bool = False
) -> ListenedRecording:
    """Read one recording whole, measure it, and judge it as a model hears it that is given it by `conf`.

    `closely`, for an audit, also loudness, noise, bandwidth and file.
    """
    try:
        recording = load_recording(root, uid, use_librosa=use_librosa)
        made = device(root, uid, recording) if closely else None
        found = _measured(uid, recording, conf)
        return found if made is None else replace(found, **made)
    except AudioError as error:
        return ListenedRecording(uid, _where(root, uid), str(error).removeprefix(f"clip {uid}: "), names=error.names)
    except UserError as error:
        return ListenedRecording(uid, "refused", str(error), names=error.names)


def _where(root: Location, uid: str) -> str:
    """Whether it fails before there is a file to decode."""
    try:
        find_recording(root, uid)
    except UserError:
        return "not found"
    return "not usable"


def _measured(uid: str, recording: Recording, conf: AudioConf) -> ListenedRecording:
    waveform_CS, rate = recording.waveform, recording.sample_rate
    seconds = recording.samples / rate
    found = ListenedRecording(uid, sample_rate=rate, channels=len(waveform_CS), seconds=seconds)
    if seconds * 1000 < WINDOW_MS:
        reason = f"it lasts {seconds * 1000:.1f} ms, less than one window of {WINDOW_MS} ms; remove it"
        return replace(found, finding="not usable", reason=reason)
    as_heard = conf.heard([replace(recording, whole_samples=0)])
    length = min(as_heard.waveform.shape[1], conf.most_samples) / as_heard.sample_rate
    part_CS = waveform_CS.numpy()[:, : max(1, round(length * rate))]
    findings = conf.sound_findings(recording, as_heard)
    digest = hashlib.sha256(
        f"{rate} {len(waveform_CS)} {recording.whole_samples or ''}".encode() + waveform_CS.numpy().tobytes()
    ).hexdigest()
    part = Recording(as_heard.waveform[:1, : conf.most_samples], as_heard.sample_rate)
    wrong = next((finding for finding in findings if finding.kind in WRONGS), SoundFinding("", ""))
    return replace(
        found,
        finding=wrong.kind,
        reason=wrong.detail,
        peak=float(waveform_CS.abs().max()),
        offset=float(waveform_CS.mean(1).abs().max()),
        clipped=clipped_share(waveform_CS.numpy()),
        digest=digest,
        sound_findings=findings,
        still=still(part_CS, rate, mono=conf.reduce),
        bandwidth_hz=bandwidth(part),
    )


class _Recordings(Dataset[ListenedRecording]):
    """What is heard in each recording, as a data set."""

    def __init__(self, root: Location, uids: Sequence[str], **how: Any):
        self.root, self.uids, self.how = root, list(uids), how

    def __len__(self) -> int:
        return len(self.uids)

    def __getitem__(self, index: int) -> ListenedRecording:
        return listen(self.root, self.uids[index], **self.how)

    def dead(self, index: int, ending: str) -> ListenedRecording:
        """The entry for a recording whose reading ended a worker."""
        uid = self.uids[index]
        return ListenedRecording(uid, "not usable", killed(uid, ending).removeprefix(f"clip {uid}: "))


def listen_to_all(
    root: Location, uids: Sequence[str], *, num_workers: int = 0, **how: Any
) -> Iterator[ListenedRecording]:
    """One `ListenedRecording` a uid, in their order, read by `num_workers` processes; `how` as `listen` takes it.

    A recording whose reading ends a worker is one that cannot be used; without workers it ends this process.
    """
    listened = _Recordings(root, uids, **how)
    numbers = range(len(listened))
    batches = [numbers[start : start + CLIPS_A_MESSAGE] for start in range(0, len(listened), CLIPS_A_MESSAGE)]
    for heard in Workers(listened, batches, listened.dead, num_workers=num_workers, collate_fn=list):
        for one in heard:
            redaction.know(one.names)
            yield one


_WHOLE, _PARTS = ("sample_rate", "channels"), ("seconds", "peak", "offset", "clipped", "bandwidth_hz")
_NUMBERS = np.dtype(
    [
        *((name, np.int64) for name in _WHOLE),
        *((name, np.float64) for name in (*_PARTS, "heard_seconds")),
        ("digest", np.uint8, 32),
    ]
)
_OF_SOUND = ("loudness_db", "noise_db", "bandwidth_hz")
_LEVELS = np.dtype([*((name, np.float64) for name in _OF_SOUND), ("kind", np.int32)])
_Rest = tuple[str, str, tuple[SoundFinding, ...], Mapping[str, tuple[str, ...]], Still | None]
_AS_MOST: _Rest = ("", "", (), _NONE, None)


class HeardRecordings(Mapping[str, ListenedRecording]):
    """What was heard of each recording, by uid; of millions each takes some 100 bytes beside its uid.

    Numbers are columns, the plain values of metadata.json are held once for all that have the same, and what only few
    recordings have, such as findings, is held by itself.
    """

    def __init__(self, uids: Iterable[str], heard: Iterable[ListenedRecording]):
        self._uids, self._next = UidList(uids), 0
        self._numbers: NDArray[np.void] = np.zeros(len(self._uids), _NUMBERS)
        self._levels: NDArray[np.void] | None = None
        self._rest = dict[int, _Rest]()
        self._kinds: list[tuple[str, Mapping[str, Any]]] = [("", _NONE)]
        self._kind_numbers = dict[str, int]()
        for row, one in enumerate(heard):
            self._keep(row, one)

    def __len__(self) -> int:
        return len(self._uids)

    def __iter__(self) -> Iterator[str]:
        return iter(self._uids)

    def __contains__(self, uid: object) -> bool:
        return self._row(uid) is not None

    def __getitem__(self, uid: str) -> ListenedRecording:
        row = self._row(uid)
        if row is None:
            raise KeyError(uid)
        own = self._numbers[row]
        finding, reason, findings, names, still = self._rest.get(row, _AS_MOST)
        digest = own["digest"].tobytes()
        found = ListenedRecording(
            uid,
            finding,
            reason,
            **{name: own[name].item() for name in (*_WHOLE, *_PARTS)},
            digest=digest.hex() if any(digest) else "",
            sound_findings=findings,
            still=still or Still(0.0, 0.0, 0.0, own["heard_seconds"].item()),
            names=names,
        )
        kind = 0 if self._levels is None else self._levels[row]["kind"]
        if self._levels is None or not kind:
            return found
        levels = Sound(*(self._levels[row][name].item() for name in _OF_SOUND))
        container, metadata = self._kinds[kind]
        return replace(found, container=container, sound=levels, metadata=metadata)

    def _row(self, uid: object) -> int | None:
        """The row of a recording; mostly they are asked for one after the other."""
        row: int | None = self._next
        if self._next >= len(self) or self._uids[self._next] != uid:
            row = self._uids.row(uid)
        self._next = self._next if row is None else row + 1
        return row

    def _keep(self, row: int, one: ListenedRecording) -> None:
        digest = np.frombuffer(bytes.fromhex(one.digest).ljust(32, b"\0"), np.uint8)
        numbers = (getattr(one, name) for name in (*_WHOLE, *_PARTS))
        self._numbers[row] = (*numbers, one.still.whole, digest)
        rest: _Rest = (
            *(one.finding, one.reason, one.sound_findings, one.names),
            one.still if one.still.seconds else None,
        )
        if any(rest):
            self._rest[row] = rest
        if one.sound is not None:
            if self._levels is None:
                self._levels = np.zeros(len(self), _LEVELS)
            kind = self._kind(one.container, one.metadata)
            self._levels[row] = (one.sound.loudness_db, one.sound.noise_db, one.sound.bandwidth_hz, kind)

    def _kind(self, container: str, metadata: Mapping[str, Any]) -> int:
        """The number of an ending and metadata, the same for those that are alike to the last letter."""
        told = repr((container, metadata))
        if told not in self._kind_numbers:
            self._kind_numbers[told] = len(self._kinds)
            self._kinds.append((container, metadata))
        return self._kind_numbers[told]
