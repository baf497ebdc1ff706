"""Say what a recording is by its metadata.json, how it is encoded and its rate, and that its files lie in place."""

import os
import re
from dataclasses import dataclass

from ssast.data.storage.location import Location
from ssast.errors import AudioError, UserError
from ssast.safe_reading import is_number, json_of

POWER_SPECTROGRAM = "power_spectrogram"
"""The encoding of what is no sound: `spectrogram.npy` lies there in the place of a waveform."""
SPECTROGRAM_FILE = "spectrogram"
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
    POWER_SPECTROGRAM: ("npy",),
}
METADATA_BYTES = 1 << 20
NOT_TOLD = 0
"""The rate of a recording that comes without metadata.json, so that its file alone says it."""


@dataclass(frozen=True)
class FoundRecording:
    """Where a recording lies, its file's extension, and the rate [Hz] that metadata.json gives, or NOT_TOLD."""

    location: Location
    extension: str
    sample_rate: int


def encoding_and_rate(content: bytes, place: Location) -> tuple[str, int]:
    """(encoding in small letters, rate in Hz) by the content of a metadata.json; AudioError for whatever is wrong."""
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
    if not is_number(value) or not 0 < value < 1e9 or value != int(value):
        return None
    return int(value)


def stay_inside(root: Location, place: Location) -> None:
    """UserError where a link leads out of the data folder; remote addresses know no links."""
    if not place.is_local:
        return
    inside, real = os.path.realpath(root.path), os.path.realpath(place.path)
    if os.path.commonpath([inside, real]) != inside:
        raise UserError(
            f"{place} is a link that leaves the data folder {root}; put the recording itself there.", path=[place, root]
        )
