"""Find the recording of a uid in a folder, and read it as its metadata.json says."""

import io
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from ssast.audio.decode import EXTENSIONS, Recording, Span, beginning, blocks, stretch
from ssast.audio.source import not_plain
from ssast.data.metadata import (
    AUDIO_ENDINGS,
    METADATA_BYTES,
    NOT_TOLD,
    POWER_SPECTROGRAM,
    SPECTROGRAM_FILE,
    FoundRecording,
    encoding_and_rate,
    stay_inside,
)
from ssast.data.shards.collection import opened
from ssast.data.storage.location import Location, Missing
from ssast.data.workers import in_threads
from ssast.errors import AudioError, UserError
from ssast.safe_reading import json_of

# Opus is decoded at 48 kHz whatever rate went into it, and metadata.json may name either.
OPUS = ("opus", "ogg", "webm")
OPUS_CODECS = ("opus", "libopus")
OPUS_RATE = 48000
MEASURED_VALUES = 1 << 24
"""So much of a recording is measured: 17 minutes at 16 kHz, 3 in stereo at 44.1 kHz."""
FRAMES_AT_ONCE = 8
"""How many recordings of a batch are fetched at the same time."""


def check_uid(uid: str) -> None:
    """UserError where a uid is no plain folder name: it could lead out of the data folder."""
    if not uid.strip() or uid in (".", "..") or re.search(r"[/\\\x00-\x1f\x7f]", uid) or re.match(r"[A-Za-z]:", uid):
        raise UserError(
            f"the uid {uid!r} is not a plain folder name, so it could lead out of the data folder; rename or drop it.",
            uid=uid,
        )


def load_recording(root: Location, uid: str, *, use_librosa: bool = False) -> Recording:
    """The decoded recording `root`/`uid`/waveform.EXT, its rate as metadata.json says.

    Of a very long one it is the beginning, MEASURED_VALUES samples of all channels together; `samples` tells how long
    the whole is.

    AudioError, the uid in front, for whatever is wrong with this recording; UserError for a uid or link that leaves
    the folder, and where the storage fails.
    """
    with naming(uid):
        return beginning(recording_blocks(root, uid, use_librosa=use_librosa), MEASURED_VALUES)


def recording_blocks(root: Location, uid: str, *, use_librosa: bool = False) -> Iterator[Recording]:
    """Decode the recording block by block, so that memory does not grow with it; errors without the uid in front."""
    found = _sound(find_recording(root, uid))
    for block in file_blocks(found.location, found.extension, use_librosa=use_librosa):
        yield _rated(block, found)


def recording_stretch(
    root: Location, uid: str, choose: Callable[[int, int], Span], *, use_librosa: bool = False
) -> Recording | None:
    """The part that `choose` names, as `stretch` reads it; librosa seeks nothing. Errors without the uid in front."""
    if use_librosa:
        return None
    found = _sound(find_recording(root, uid))
    part = stretch(_source(found.location), extension=found.extension, choose=choose)
    return None if part is None else _rated(part, found)


def _sound(found: FoundRecording) -> FoundRecording:
    """Return what was found; AudioError where it is a spectrogram."""
    if found.location.name == f"{SPECTROGRAM_FILE}.npy":
        raise AudioError("it is a spectrogram, not a sound: extract, finetune and evaluate read it, no other mode does")
    return found


def _rated(read: Recording, found: FoundRecording) -> Recording:
    """Return what was read; AudioError where its rate is not that of metadata.json."""
    rate, may_be_opus = read.sample_rate, read.codec in OPUS_CODECS or found.extension in OPUS
    if found.sample_rate not in (rate, NOT_TOLD) and not (may_be_opus and rate == OPUS_RATE):
        name = found.location.name
        raise AudioError(
            f"{name} holds {rate} Hz, but metadata.json says {found.sample_rate}; correct one of them", path=name
        )
    return read


def file_blocks(file: Location, extension: str, *, use_librosa: bool = False) -> Iterator[Recording]:
    """The decoded recording in a file, on a disk or in a bucket, block by block."""
    return blocks(_source(file), extension=extension, use_librosa=use_librosa)


def _source(file: Location) -> Path | io.BytesIO:
    return file.path if file.is_local else io.BytesIO(file.read_bytes())


def prefetch(root: Location, uids: Sequence[str]) -> None:
    """Bring the recordings of a bucket into the cache, several at once, so that their waiting times run together."""
    if root.is_local or len(uids) < 2:
        return
    list(in_threads(partial(_fetch, root), uids, min(len(uids), FRAMES_AT_ONCE)))


def _fetch(root: Location, uid: str) -> None:
    with suppress(UserError):  # said when its own turn comes
        find_recording(root, uid).location.read_bytes()


def find_recording(root: Location, uid: str) -> FoundRecording:
    """Where the recording of a uid lies, as its metadata.json describes it; errors as in `load_recording`."""
    check_uid(uid)
    collection = opened(root)
    if collection is not None:
        return collection.find(uid)
    folder = root / uid
    try:
        return _find(root, folder)
    except AudioError:
        if root.is_local:
            raise
        folder.ask_again()  # a listing has no checksum: what it seems to lack is asked for once more
        return _find(root, folder)


def _find(root: Location, folder: Location) -> FoundRecording:
    folder.keep()
    encoding, sample_rate = _metadata(root, folder)
    endings = AUDIO_ENDINGS.get(encoding, (encoding,))
    for ending in endings:
        place = folder / f"{SPECTROGRAM_FILE if encoding == POWER_SPECTROGRAM else 'waveform'}.{ending}"
        if place.exists():
            return _found(root, place, ending, sample_rate)
    return _other_spelling(root, folder, encoding, endings, sample_rate)


def _other_spelling(
    root: Location, folder: Location, encoding: str, endings: tuple[str, ...], rate: int
) -> FoundRecording:
    """waveform.WAV and the like; else the AudioError that says what lies there instead."""
    there = [place for place in folder.list() if place.name.lower().startswith("waveform.")]
    for place in there:
        ending = place.name.split(".", 1)[1].lower()
        if ending in endings:
            return _found(root, place, ending, rate)
    if not there:
        raise AudioError(
            f"{folder} holds no waveform.{endings[0]}; put the recording there or remove the uid", path=folder
        )
    name = there[0].name
    odd = {} if name.split(".", 1)[1].lower() in EXTENSIONS else {"file": name}
    raise AudioError(f"metadata.json says {encoding.upper()}, but the file is {name}; correct one of them", **odd)


def metadata_of(root: Location, uid: str) -> dict[str, object]:
    """What metadata.json says of a recording that was found."""
    collection = opened(root)
    place = root / uid / "metadata.json"
    content = place.read_bytes(METADATA_BYTES) if collection is None else collection.metadata(uid)
    found = json_of(content.decode("utf-8-sig"), strict=False)
    return {str(name): value for name, value in found.items()}


def _found(root: Location, place: Location, ending: str, sample_rate: int) -> FoundRecording:
    stay_inside(root, place)
    _plain(place, "put the recording itself there")
    return FoundRecording(place, ending, sample_rate)


def _plain(place: Location, advice: str) -> None:
    """AudioError for a pipe and the like: opening one would wait for ever."""
    odd = not_plain(place.path) if place.is_local and place.exists() else ""
    if odd:
        raise AudioError(f"{place} is {odd}, not a file; {advice}", path=place)


def _metadata(root: Location, folder: Location) -> tuple[str, int]:
    """(encoding in small letters, rate in Hz) of a recording; AudioError for whatever is wrong with metadata.json."""
    place = folder / "metadata.json"
    stay_inside(root, place)
    try:
        _plain(place, "write one with encoding and sample_rate_hz")
        content = place.read_bytes(METADATA_BYTES)
    except Missing as error:
        if not folder.is_dir():
            raise AudioError(
                f"{folder} does not exist; put the recording there or remove the uid", path=folder
            ) from error
        raise AudioError(f"{place} is missing; write one with encoding and sample_rate_hz", path=place) from error
    return encoding_and_rate(content, place)


@contextmanager
def naming(uid: str) -> Iterator[None]:
    """Put the uid in front of what is wrong with its recording."""
    try:
        yield
    except AudioError as error:
        raise error.said(f"clip {uid}: {error}", uid=uid) from error
