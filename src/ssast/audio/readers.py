"""Read the samples of a recording block by block, with the library that reads its format rightly.

Shapes: C channels, S samples.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import soundfile

from ssast.audio import container, frames, sizes
from ssast.audio.source import Data, as_file
from ssast.errors import AudioError

if TYPE_CHECKING:
    import av

KIND_NAMES = {"asf": "wma", "mp4": "mp4 (m4a)", "sph": "sph (NIST)", "webm": "webm (mka)"}
DEMUXERS = {"mp4": "mov", "webm": "matroska", "sph": "nistsphere"}  # FFmpeg's names, where they differ from ours
BY_PYAV = ("mp4", "aac", "webm", "asf", "amr")
SOUGHT = ("wav", "flac", "aiff", "caf", "w64", "au")
"""Containers in which a stretch can be sought to the sample, where their samples are coded one by one or as FLAC."""
EXACT = ("PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW")
TIMED = ("mp4", "asf")  # containers that tell how long the sound lasts, apart from its packets
BLOCK = 1 << 22  # values of a block: a header may promise more than memory holds


@dataclass(frozen=True)
class SampleBlock:
    """`samples` (C, S), and facts of the header: the rate [Hz], the number of samples (0: not given), the codec."""

    samples: np.ndarray
    sample_rate: int
    promised: int = 0
    codec: str = ""


Blocks = Iterator[SampleBlock]


def reader(data: Data, kind: str, use_librosa: bool) -> Callable[[Data, str], Blocks]:
    """The library that reads a container: soundfile, librosa where it is asked for, PyAV for all others."""
    if needs_av(data, kind):
        return _read_av
    return _read_librosa if use_librosa else _read_soundfile


def needs_av(data: Data, kind: str) -> bool:
    """Whether it is PyAV that reads a container rightly."""
    return kind in BY_PYAV or _misread(data, kind)


def _misread(data: Data, kind: str) -> bool:
    """Tell what soundfile gets wrong: opus becomes 16 kHz, mp3 lengths are guessed, flac without one is refused."""
    return (
        (kind == "ogg" and b"OpusHead" in data[:512])
        or (kind == "mp3" and not frames.mp3_frames(data))
        or (kind == "wav" and sizes.wav_codec(data) in (0x50, 0x55))
        or (kind == "flac" and not container.flac_samples(data))
    )


def _read_soundfile(data: Data, kind: str) -> Blocks:
    try:
        opened = soundfile.SoundFile(as_file(data))
    except soundfile.LibsndfileError:  # a codec it does not have, such as mp3 in wav
        yield from _read_av(data, kind)
        return
    with opened:
        promised, size, present = opened.frames, max(1, BLOCK // opened.channels), 0
        if kind == "flac" and promised > size:
            _check_end(data, promised)
        end = _own_end(data, kind, promised)
        while True:
            samples_CS = _piece(opened, min(promised - present, size), kind).T
            present += samples_CS.shape[1]
            if samples_CS.shape[1] < size and present < promised:
                raise _cut_off(promised, present)
            samples_CS = samples_CS[:, : samples_CS.shape[1] - max(0, present - end)]
            yield SampleBlock(samples_CS, opened.samplerate, min(promised, end))
            if present >= promised:
                return


def read_stretch(data: Data, kind: str, choose: Callable[[int, int], tuple[int, int]]) -> SampleBlock | None:
    """The samples that `choose` names, given the number of samples and the rate; None where they cannot be sought."""
    if _misread(data, kind):
        return None
    try:
        opened = soundfile.SoundFile(as_file(data))
    except soundfile.LibsndfileError:
        return None  # said when it is read
    with opened:
        promised = opened.frames
        if opened.subtype not in EXACT or not promised:
            return None
        if kind == "flac":
            _check_end(data, promised)
        begin, end = choose(promised, opened.samplerate)
        samples_CS = _sought(opened, begin, end, kind).T
        if samples_CS.shape[1] < end - begin:
            raise _cut_off(promised, begin + samples_CS.shape[1])
        return SampleBlock(samples_CS, opened.samplerate, promised)


def _sought(opened: soundfile.SoundFile, begin: int, end: int, kind: str) -> np.ndarray:
    try:
        opened.seek(begin)
    except soundfile.LibsndfileError as error:
        raise AudioError(f"its {kind} bytes are cut off or damaged ({sentence(error)}); get a whole copy") from error
    return _piece(opened, end - begin, kind)


def _piece(opened: soundfile.SoundFile, count: int, kind: str) -> np.ndarray:
    try:
        return opened.read(count, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise AudioError(f"its {kind} bytes are cut off or damaged ({sentence(error)}); get a whole copy") from error


def _cut_off(promised: int, present: int) -> AudioError:
    return AudioError(
        f"it is cut off: its header promises {promised} samples and {present} are there; get a whole copy"
    )


def _check_end(data: Data, promised: int) -> None:
    """AudioError where the end of a long FLAC is not there: its frames tell no sizes, and not all may be decoded."""
    with soundfile.SoundFile(as_file(data)) as opened:
        try:
            opened.seek(promised - 1)
            there = len(opened.read(1))
        except soundfile.LibsndfileError:
            there = 0
    if not there:
        raise AudioError(
            f"it is cut off: its header promises {promised} samples, more than are there; get a whole copy"
        )


def _own_end(data: Data, kind: str, promised: int) -> int:
    """Where the samples end before the padding of the last block of coded WAV (ADPCM, GSM)."""
    own = sizes.wav_samples(data) if kind == "wav" else 0
    return own if own and 0 < promised - own < 4096 else promised


def _read_librosa(data: Data, kind: str) -> Blocks:
    import librosa

    try:
        with soundfile.SoundFile(as_file(data)) as opened:
            promised, values = opened.frames, opened.frames * opened.channels
        if values > BLOCK:  # librosa reads whole, and with the same library
            yield from _read_soundfile(data, kind)
            return
        samples, sample_rate = librosa.load(as_file(data), sr=None, mono=False)
    except (soundfile.SoundFileError, ValueError):  # librosa refuses what cannot be sought in, such as GSM
        yield from _read_soundfile(data, kind)
        return
    samples_CS = np.atleast_2d(samples)
    if samples_CS.shape[1] < promised:
        raise _cut_off(promised, samples_CS.shape[1])
    yield SampleBlock(samples_CS[:, : _own_end(data, kind, promised)], int(sample_rate), promised)


def _read_av(data: Data, kind: str) -> Blocks:
    import av

    demuxer = DEMUXERS.get(kind, kind)  # named, so that no file can make FFmpeg take it for a playlist
    try:
        with av.open(as_file(data), "r", format=demuxer, metadata_errors="replace") as opened:
            if not opened.streams.audio:
                raise AudioError(f"its {KIND_NAMES.get(kind, kind)} file holds no sound; get the recording itself")
            stream = opened.streams.audio[0]
            seconds = float(stream.duration * stream.time_base) if stream.duration and stream.time_base else 0.0
            codec = stream.codec_context.name if stream.codec_context else ""
            decoded = ((_frame_samples(frame), frame.sample_rate) for frame in _av_frames(opened, stream))
            for samples_CS, sample_rate in _timed(_gathered(decoded), seconds if kind in TIMED else 0.0):
                yield SampleBlock(samples_CS, sample_rate, round(seconds * sample_rate), codec)
    except (av.FFmpegError, EOFError) as error:
        raise AudioError(f"its {kind} bytes cannot be decoded ({sentence(error)}); get a whole copy") from error


Samples = tuple[np.ndarray, int]


def _gathered(decoded: Iterator[Samples]) -> Iterator[Samples]:
    """Frames put together to blocks of one rate and number of channels."""
    held: list[np.ndarray] = []
    values, kind = 0, None
    for samples_CS, sample_rate in decoded:
        if kind and kind != (len(samples_CS), sample_rate):
            raise AudioError("its rate or number of channels changes in the middle; split it there")
        kind = len(samples_CS), sample_rate
        held.append(samples_CS)
        values += samples_CS.size
        if values >= BLOCK:
            yield np.concatenate(held, axis=1), sample_rate
            held, values = [], 0
    if kind and held:
        yield np.concatenate(held, axis=1), kind[1]


def _timed(blocks: Iterator[Samples], seconds: float) -> Iterator[Samples]:
    """Refuse a recording clearly shorter than its container says; drop the encoder's padding behind its end."""
    waiting: Samples | None = None  # the padding may begin in the block before the last
    present, sample_rate = 0, 1
    for samples_CS, sample_rate in blocks:
        if waiting is not None:
            yield waiting
            present += waiting[0].shape[1]
        waiting = samples_CS, sample_rate
    if waiting is None:
        return
    promised, there = math.ceil(round(seconds * sample_rate, 3)), present + waiting[0].shape[1]
    if there < promised - max(0.25 * sample_rate, 0.02 * promised):
        told, got = f"{seconds:.2f} s", f"{there / sample_rate:.2f} s"
        raise AudioError(f"it is cut off: its header promises {told} and {got} are there; get a whole copy")
    padded = promised and 0 < there - promised <= 4096
    yield (waiting[0][:, : max(0, promised - present)], sample_rate) if padded else waiting


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


def sentence(error: Exception) -> str:
    """Give a library's reason without its own addresses and full stop."""
    text = getattr(error, "strerror", None) or getattr(error, "error_string", None) or str(error)
    return text.strip().rstrip(".").removeprefix("Error : ")
