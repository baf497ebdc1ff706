"""Find the recording of a uid in a folder, and read it as its metadata.json says."""

import io
import os
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ssast.audio.decode import EXTENSIONS, Recording, Span, beginning, blocks, stretch
from ssast.audio.source import not_plain
from ssast.data.storage.location import Location, Missing
from ssast.errors import AudioError, UserError
from ssast.safe_reading import json_of

# Names of encodings whose files end otherwise: those of Google's speech services, and common ones.
AUDIO_ENDINGS = {
    "linear16": ("wav",),
    "pcm": ("wav",),
    "wave": ("wav",),
    "mulaw": ("wav", "au"),
    "alaw": ("wav", "au"),
    "ogg_opus": ("opus", "ogg", "oga"),
    "opus": ("opus", "ogg", "oga", "webm", "weba", "mka", "mkv"),
    "ogg": ("ogg", "oga", "opus"),
    "vorbis": ("ogg", "oga"),
    "webm_opus": ("webm", "weba", "mka", "mkv"),
    "webm": ("webm", "weba"),
    "matroska": ("mka", "mkv"),
    "mka": ("mka", "mkv"),
    "mkv": ("mkv", "mka"),
    "amr_wb": ("amr", "awb"),
    "awb": ("awb", "amr"),
    "speex_with_header_byte": ("spx",),
    "mpeg": ("mp3",),
    "mp3": ("mp3",),
    "aac": ("aac", "m4a"),
    "alac": ("m4a", "caf"),
    "mp4": ("mp4", "m4a"),
    "m4a": ("m4a", "mp4"),
    "aiff": ("aiff", "aif"),
    "aif": ("aif", "aiff"),
}
# Opus is decoded at 48 kHz whatever rate went into it, and metadata.json may name either.
OPUS = ("opus", "ogg", "webm")
OPUS_CODECS = ("opus", "libopus")
OPUS_RATE = 48000
METADATA_BYTES = 1 << 20
MEASURED_VALUES = 1 << 24
"""So much of a recording is measured: 17 minutes at 16 kHz, 3 in stereo at 44.1 kHz."""
FRAMES_AT_ONCE = 8
"""How many recordings of a batch are fetched at the same time."""


@dataclass(frozen=True)
class FoundRecording:
    """Where a recording lies, its file's extension, and the rate [Hz] that metadata.json gives."""

    location: Location
    extension: str
    sample_rate: int


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
    """The same block by block, so that memory does not grow with the recording; errors without the uid in front."""
    found = find_recording(root, uid)
    for block in file_blocks(found.location, found.extension, use_librosa=use_librosa):
        yield _rated(block, found)


def recording_stretch(
    root: Location, uid: str, choose: Callable[[int, int], Span], *, use_librosa: bool = False
) -> Recording | None:
    """The part that `choose` names, as `stretch` reads it; librosa seeks nothing. Errors without the uid in front."""
    if use_librosa:
        return None
    found = find_recording(root, uid)
    part = stretch(_source(found.location), extension=found.extension, choose=choose)
    return None if part is None else _rated(part, found)


def _rated(read: Recording, found: FoundRecording) -> Recording:
    """The same; AudioError where its rate is not that of metadata.json."""
    rate, may_be_opus = read.sample_rate, read.codec in OPUS_CODECS or found.extension in OPUS
    if rate != found.sample_rate and not (may_be_opus and rate == OPUS_RATE):
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
    with ThreadPoolExecutor(min(len(uids), FRAMES_AT_ONCE)) as threads:
        list(threads.map(partial(_fetch, root), uids))


def _fetch(root: Location, uid: str) -> None:
    with suppress(UserError):  # said when its own turn comes
        find_recording(root, uid).location.read_bytes()


def find_recording(root: Location, uid: str) -> FoundRecording:
    """Where the recording of a uid lies, as its metadata.json describes it; errors as in `load_recording`."""
    check_uid(uid)
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
        place = folder / f"waveform.{ending}"
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


def _found(root: Location, place: Location, ending: str, sample_rate: int) -> FoundRecording:
    _stay_inside(root, place)
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
    _stay_inside(root, place)
    try:
        _plain(place, "write one with encoding and sample_rate_hz")
        content = place.read_bytes(METADATA_BYTES)
    except Missing as error:
        if not folder.is_dir():
            raise AudioError(
                f"{folder} does not exist; put the recording there or remove the uid", path=folder
            ) from error
        raise AudioError(f"{place} is missing; write one with encoding and sample_rate_hz", path=place) from error
    try:
        metadata = json_of(content.decode("utf-8-sig"), strict=False)
    except ValueError as error:
        raise AudioError(
            f"{place} is not valid JSON; write one with encoding and sample_rate_hz", path=place
        ) from error
    if not isinstance(metadata, dict) or not {"encoding", "sample_rate_hz"} <= metadata.keys():
        raise AudioError(f"{place} lacks encoding or sample_rate_hz; write both", path=place)
    encoding, rate = str(metadata["encoding"]).strip().lower().removeprefix("."), _rate(metadata["sample_rate_hz"])
    if not re.fullmatch(r"[a-z0-9_]{1,24}", encoding):
        given = str(metadata["encoding"])[:40]
        raise AudioError(f"{place} has the encoding {given!r}; write the extension, like WAV", path=place, cell=given)
    if rate is None:
        shown = str(metadata["sample_rate_hz"])[:40]
        raise AudioError(
            f"{place} has the sample_rate_hz {shown!r}; write a whole number of Hz, like 16000", path=place, cell=shown
        )
    return encoding, rate


def _rate(value: object) -> int | None:
    """A rate in Hz as a whole number above 0; None where it is not one."""
    if isinstance(value, str) and re.fullmatch(r"\s*\d{1,9}(\.0*)?\s*", value):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e9 or value != int(value):
        return None
    return int(value)


def _stay_inside(root: Location, place: Location) -> None:
    """UserError where a link leads out of the data folder; remote addresses know no links."""
    if not place.is_local:
        return
    inside, real = os.path.realpath(root.path), os.path.realpath(place.path)
    if os.path.commonpath([inside, real]) != inside:
        raise UserError(
            f"{place} is a link that leaves the data folder {root}; put the recording itself there.", path=[place, root]
        )


@contextmanager
def naming(uid: str) -> Iterator[None]:
    """Put the uid in front of what is wrong with its recording."""
    try:
        yield
    except AudioError as error:
        raise error.said(f"clip {uid}: {error}", uid=uid) from error
