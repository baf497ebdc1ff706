"""A recording's file in; its waveform, checked and conformed to one rate, number of channels and length, out.

Shapes: C channels, S samples.
"""

import io
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import soundfile
import soxr
import torch
from torch import Tensor

from ssast.audio import container, frames
from ssast.errors import AudioError, UserError

if TYPE_CHECKING:
    import av

CONTAINERS: dict[str, tuple[str, ...]] = {  # what may be inside a file of this extension, the usual first
    "wav": ("wav",), "flac": ("flac",), "mp3": ("mp3",), "ogg": ("ogg",), "opus": ("ogg",),
    "m4a": ("mp4", "aac"), "aac": ("aac", "mp4"), "webm": ("webm",), "wma": ("asf",), "aiff": ("aiff",),
    "amr": ("amr",), "mp4": ("mp4", "aac"), "alac": ("mp4", "caf"), "aif": ("aiff",), "aifc": ("aiff",),
    "au": ("au",), "snd": ("au",), "caf": ("caf",), "w64": ("w64",), "sph": ("sph",), "nist": ("sph",),
    "wave": ("wav",), "rf64": ("wav",), "oga": ("ogg",), "spx": ("ogg",), "m4b": ("mp4", "aac"), "3gp": ("mp4",),
    "mov": ("mp4",), "weba": ("webm",), "mka": ("webm",), "mkv": ("webm",), "asf": ("asf",), "awb": ("amr",),
    "mp2": ("mp3",), "mpga": ("mp3",),
}  # fmt: skip
EXTENSIONS = tuple(CONTAINERS)
NAMES = {"asf": "wma", "mp4": "mp4 (m4a)", "sph": "sph (NIST)", "webm": "webm (mka)"}
DEMUXERS = {"mp4": "mov", "webm": "matroska", "sph": "nistsphere"}  # FFmpeg's names, where they differ from ours
BY_PYAV = ("mp4", "aac", "webm", "asf", "amr")
TIMED = ("mp4", "asf")  # containers that tell how long the sound lasts, apart from its packets
PIECE = 1 << 22  # samples read at once: a header may promise more than memory holds

Samples = tuple[np.ndarray, int]


@dataclass(frozen=True)
class Recording:
    """A decoded recording: `waveform` (C, S) float32 and its `sample_rate` [Hz]."""

    waveform: Tensor
    sample_rate: int


def decode(file: str | os.PathLike | BinaryIO, *, extension: str, use_librosa: bool = False) -> Recording:
    """Give the recording in a file (path, or opened for reading bytes), all channels, at the rate it was coded with.

    `extension` is what the file calls itself ("wav", ".MP3"), and its content must agree. `use_librosa` reads with
    librosa whatever it reads without a program of FFmpeg's beside it, PyAV the rest. AudioError with the reason,
    without the file's name, for whatever cannot be used whole: missing, empty, cut off, undecodable, not finite.
    """
    name = extension.lower().lstrip(".")
    if name not in CONTAINERS:
        raise AudioError(f"its extension '{name}' is not known; expected one of {', '.join(EXTENSIONS)}")
    data = _bytes_of(file)
    kind = _kind(data, name)
    data = container.mended(data, kind)
    missing = container.cut_off(data, kind)
    if missing:
        raise AudioError(f"it is cut off: {missing}; get a whole copy")
    samples_CS, sample_rate = _reader(data, kind, use_librosa)(data, kind)
    _check_samples(samples_CS, sample_rate)
    return Recording(torch.from_numpy(np.ascontiguousarray(samples_CS, dtype=np.float32)), sample_rate)


def _bytes_of(file: str | os.PathLike | BinaryIO) -> bytes:
    if not isinstance(file, str | os.PathLike):
        return file.read()
    try:
        with open(file, "rb") as opened:
            return opened.read()
    except OSError as error:
        raise AudioError(f"its file cannot be read ({error.strerror}); put it there or mend its permissions") from error


def _kind(data: bytes, name: str) -> str:
    if not data:
        raise AudioError("its file is empty (0 bytes); get a whole copy")
    kind = container.sniff(data)
    if kind is None:
        raise AudioError(f"it is named {name} but holds bytes of no audio format known here; get a proper copy")
    if kind not in CONTAINERS[name]:
        raise AudioError(f"it is named {name} but holds {NAMES.get(kind, kind)}; name it as what it is")
    return kind


def _reader(data: bytes, kind: str, use_librosa: bool) -> Callable[[bytes, str], Samples]:
    if kind in BY_PYAV or _misread(data, kind):
        return _read_av
    return _read_librosa if use_librosa else _read_soundfile


def _misread(data: bytes, kind: str) -> bool:
    """Tell what soundfile gets wrong: opus becomes 16 kHz, mp3 lengths are guessed, flac without one is refused."""
    return (
        (kind == "ogg" and b"OpusHead" in data[:512])
        or (kind == "mp3" and not frames.mp3_frames(data))
        or (kind == "wav" and container.wav_codec(data) in (0x50, 0x55))
        or (kind == "flac" and not container.flac_samples(data))
    )


class _Bytes(io.BytesIO):
    """Bytes for libsndfile: a seek before their start, as damaged headers lead to, raises nothing inside its C code."""

    def seek(self, offset: int, whence: int = 0) -> int:
        """The new position, or the old one where there is no such place."""
        try:
            return super().seek(offset, whence)
        except (ValueError, OverflowError):
            return self.tell()


def _read_soundfile(data: bytes, kind: str) -> Samples:
    try:
        opened = soundfile.SoundFile(_Bytes(data))
    except soundfile.LibsndfileError:  # a codec it does not have, such as mp3 in wav
        return _read_av(data, kind)
    with opened:
        promised = opened.frames
        try:
            pieces = [opened.read(min(promised, PIECE), dtype="float32", always_2d=True)]
            while len(pieces[-1]) == PIECE:
                pieces.append(opened.read(min(promised - PIECE * len(pieces), PIECE), dtype="float32", always_2d=True))
        except soundfile.LibsndfileError as error:
            raise AudioError(
                f"its {kind} bytes are cut off or damaged ({_sentence(error)}); get a whole copy"
            ) from error
        samples_SC = pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
        return _true_length(samples_SC.T, promised, data, kind), opened.samplerate


def _true_length(samples_CS: np.ndarray, promised: int, data: bytes, kind: str) -> np.ndarray:
    """Refuse fewer samples than the header promises; drop the padding of the last block of coded WAV (ADPCM, GSM)."""
    present = samples_CS.shape[1]
    if present < promised:
        raise AudioError(
            f"it is cut off: its header promises {promised} samples and {present} are there; get a whole copy"
        )
    own = container.wav_samples(data) if kind == "wav" else 0
    return samples_CS[:, :own] if 0 < present - own < 4096 and own else samples_CS


def _read_librosa(data: bytes, kind: str) -> Samples:
    import librosa

    try:
        with soundfile.SoundFile(_Bytes(data)) as opened:
            promised = opened.frames
        samples, sample_rate = librosa.load(_Bytes(data), sr=None, mono=False)
    except (soundfile.SoundFileError, ValueError):  # librosa refuses what cannot be sought in, such as GSM
        return _read_soundfile(data, kind)
    return _true_length(np.atleast_2d(samples), promised, data, kind), int(sample_rate)


def _read_av(data: bytes, kind: str) -> Samples:
    import av

    demuxer = DEMUXERS.get(kind, kind)  # named, so that no file can make FFmpeg take it for a playlist
    try:
        with av.open(io.BytesIO(data), "r", format=demuxer, metadata_errors="replace") as opened:
            if not opened.streams.audio:
                raise AudioError(f"its {NAMES.get(kind, kind)} file holds no sound; get the recording itself")
            stream = opened.streams.audio[0]
            decoded = [(_frame_samples(frame), frame.sample_rate) for frame in _av_frames(opened, stream)]
            seconds = float(stream.duration * stream.time_base) if stream.duration and stream.time_base else 0.0
    except (av.FFmpegError, EOFError) as error:
        raise AudioError(f"its {kind} bytes cannot be decoded ({_sentence(error)}); get a whole copy") from error
    if len({(samples.shape[0], rate) for samples, rate in decoded}) > 1:
        raise AudioError("its rate or number of channels changes on the way; split it into recordings of one kind")
    if not decoded:
        return np.zeros((1, 0), np.float32), 1
    samples_CS, sample_rate = np.concatenate([samples for samples, _ in decoded], axis=1), decoded[0][1]
    return (_timed(samples_CS, sample_rate, seconds) if kind in TIMED else samples_CS), sample_rate


def _av_frames(opened: Any, stream: Any) -> Iterator["av.AudioFrame"]:
    """Decode with AMR's own library where it is there: FFmpeg's decoder does not know pauses left out (DTX)."""
    import av

    # A coding that FFmpeg does not know has no context; decoding it then says so.
    name = f"libopencore_{stream.codec_context.name}" if stream.codec_context else ""
    if name not in av.codecs_available:
        yield from opened.decode(stream)
        return
    coder: Any = av.CodecContext.create(name, "r")
    coder.sample_rate, coder.layout = stream.codec_context.sample_rate, stream.codec_context.layout
    for packet in opened.demux(stream):
        yield from coder.decode(packet)


def _timed(samples_CS: np.ndarray, sample_rate: int, seconds: float) -> np.ndarray:
    """Refuse a recording clearly shorter than its container says; drop the encoder's padding behind its end."""
    promised, present = math.ceil(round(seconds * sample_rate, 3)), samples_CS.shape[1]
    if present < promised - max(0.25 * sample_rate, 0.02 * promised):
        told, there = f"{seconds:.2f} s", f"{present / sample_rate:.2f} s"
        raise AudioError(f"it is cut off: its header promises {told} and {there} are there; get a whole copy")
    return samples_CS[:, :promised] if 0 < present - promised <= 4096 and promised else samples_CS


def _frame_samples(frame: "av.AudioFrame") -> np.ndarray:
    """Give a frame's samples (C, S) as float32 between -1 and 1, without a resampler's dither."""
    try:
        values: Any = frame.to_ndarray()
    except ValueError as error:  # 64-bit whole numbers, which headers only name when they are damaged
        raise AudioError(
            f"its samples are coded as {frame.format.name}, which cannot be read; get a whole copy"
        ) from error
    if not frame.format.is_planar:
        values = values.reshape(-1, frame.layout.nb_channels).T
    if values.dtype == np.uint8:
        return (values.astype(np.float32) - 128) / 128
    if values.dtype.kind == "i":
        return (values / float(1 << 8 * values.dtype.itemsize - 1)).astype(np.float32)
    return values.astype(np.float32, copy=False)


def _check_samples(samples_CS: np.ndarray, sample_rate: int) -> None:
    if samples_CS.size == 0:
        raise AudioError("it has 0 samples; get a whole copy")
    if sample_rate <= 0:
        raise AudioError(f"its header gives a rate of {sample_rate} Hz; mend the header")
    wrong = samples_CS.size - np.count_nonzero(np.isfinite(samples_CS))
    if wrong:
        raise AudioError(f"{wrong} of its {samples_CS.size} samples are NaN or infinite; mend or replace it")


def _sentence(error: Exception) -> str:
    """Give a library's reason without its own addresses and full stop."""
    text = getattr(error, "strerror", None) or getattr(error, "error_string", None) or str(error)
    return text.strip().rstrip(".").removeprefix("Error : ")


def conform(recording: Recording, *, sample_rate: int, mono: bool = True, clip_seconds: float = 0.0) -> Recording:
    """Reduce to the mean of the channels, resample, cut to the first `clip_seconds` (0 keeps all), in this order.

    A step with nothing to do costs nothing and gives the same waveform. UserError for an impossible rate or length.
    """
    if sample_rate <= 0:
        raise UserError(f"the sample rate is {sample_rate} Hz; it must be above 0")
    if not (clip_seconds == 0 or clip_seconds * sample_rate >= 1):
        raise UserError(f"the clip length is {clip_seconds} s; it must be 0 (whole) or at least one sample long")
    waveform_CS = recording.waveform
    if mono and len(waveform_CS) > 1:
        waveform_CS = waveform_CS.mean(0, keepdim=True)
    if recording.sample_rate != sample_rate:
        waveform_CS = _resampled(waveform_CS, recording.sample_rate, sample_rate)
    if clip_seconds:
        waveform_CS = waveform_CS[:, : round(clip_seconds * sample_rate)]
    return Recording(waveform_CS, sample_rate)


def _resampled(waveform_CS: Tensor, old_rate: int, new_rate: int) -> Tensor:
    resampled_SC = soxr.resample(np.ascontiguousarray(waveform_CS.numpy().T), old_rate, new_rate)
    if len(resampled_SC) == 0:
        raise AudioError(
            f"its {waveform_CS.shape[1]} samples at {old_rate} Hz are too few to resample to {new_rate} Hz"
        )
    return torch.from_numpy(np.ascontiguousarray(resampled_SC.T))
