"""Decode audio files of any format to waveforms, whole or block by block.

Shapes: C channels, S samples.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor

from ssast.audio import container, readers, sizes
from ssast.audio.blocks import split_recordings, untold
from ssast.audio.readers import KIND_NAMES, SampleBlock
from ssast.audio.source import Data, bytes_of
from ssast.errors import AudioError

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
RATES = (1000, 1_000_000)
"""The lowest and the highest rate [Hz] of a recording: outside, the header is wrong, and sound would grow or vanish."""
_MOST_VALUES = 1 << 26
"""Samples, of all channels together, that one recording may hold in memory: 70 minutes at 16 kHz."""


@dataclass(frozen=True)
class Recording:
    """A decoded recording, or a part of one: `waveform` (C, S) float32 and its `sample_rate` [Hz].

    `whole_samples` tells how long the whole is where this is a part of it, as far as its header says; `codec` is what
    FFmpeg calls its coding, where FFmpeg read it.
    """

    waveform: Tensor
    sample_rate: int
    whole_samples: int = 0
    codec: str = ""

    @property
    def samples(self) -> int:
        """The samples a channel of the whole recording."""
        return max(self.whole_samples, self.waveform.shape[-1])


def decode(file: str | os.PathLike | BinaryIO, *, extension: str, use_librosa: bool = False) -> Recording:
    """Give the recording in a file (path, or opened for reading bytes), all channels, at the rate it was coded with.

    `extension` is what the file calls itself ("wav", ".MP3"), and its content must agree. `use_librosa` reads with
    librosa whatever it reads without a program of FFmpeg's beside it, PyAV the rest. Recordings that follow one
    another in the file come as one. AudioError with the reason, without the file's name, for whatever cannot be used
    whole: missing, empty, cut off, undecodable, not finite, too long to be held.
    """
    return joined(blocks(file, extension=extension, use_librosa=use_librosa))


def blocks(file: str | os.PathLike | BinaryIO, *, extension: str, use_librosa: bool = False) -> Iterator[Recording]:
    """Give the same in blocks of a few million samples, so that memory does not grow with the recording.

    At least one block comes; what is wrong behind it is an AudioError in its turn.
    """
    with enough_memory_for_clip():
        data, kind = _opened(file, extension)
        yield from _checked(_read(data, kind, use_librosa))


Span = tuple[int, int]
"""A part of a recording: from one sample up to another."""


def stretch(
    file: str | os.PathLike | BinaryIO, *, extension: str, choose: Callable[[int, int], Span]
) -> Recording | None:
    """Give the part of a recording that `choose` names, to which its samples and its rate [Hz] are told.

    What lies before and behind is not decoded: its samples may be damaged, while the file as such is judged as always.
    `whole_samples` is the length of the whole. None where the format does not allow that.
    """
    with enough_memory_for_clip():
        data, kind = _opened(file, extension)
        pieces = list(islice(_pieces(data, kind), 2)) if kind in readers.SOUGHT else []
        read = readers.read_stretch(pieces[0][0], kind, choose) if len(pieces) == 1 else None
        return next(_checked(iter([read]))) if read is not None else None


def _opened(file: str | os.PathLike | BinaryIO, extension: str) -> tuple[Data, str]:
    """The bytes of a file and the container that they are; AudioError where the extension says another."""
    name = extension.lower().lstrip(".")
    if name not in CONTAINERS:
        raise AudioError(f"its extension '{name}' is not known; expected one of {', '.join(EXTENSIONS)}")
    data = bytes_of(file)
    return data, _kind(data, name)


@contextmanager
def enough_memory_for_clip() -> Iterator[None]:
    """Make what one recording cannot get of memory an AudioError of that recording."""
    try:
        yield
    except MemoryError as error:
        raise AudioError("there is not enough memory to read it; cut it into shorter recordings") from error
    except RuntimeError as error:
        if "allocate memory" not in str(error):  # torch's own words
            raise
        raise AudioError("there is not enough memory to read it; cut it into shorter recordings") from error


def joined(pieces: Iterable[Recording]) -> Recording:
    """Put the blocks of a recording together; AudioError for more than MOST_VALUES."""
    held: list[Recording] = []
    values = 0
    for piece in pieces:
        held.append(piece)
        values += piece.waveform.numel()
        promised = len(piece.waveform) * piece.whole_samples
        if max(values, promised) > _MOST_VALUES:
            seconds = max(values, promised) / len(piece.waveform) / piece.sample_rate
            raise AudioError(
                f"it lasts {seconds / 60:.0f} minutes or more, which is too long for the memory; cut it into shorter "
                "recordings, or pass --clip_length"
            )
    with enough_memory_for_clip():
        waveform_CS = held[0].waveform if len(held) == 1 else torch.cat([piece.waveform for piece in held], dim=1)
    return replace(held[0], waveform=waveform_CS, whole_samples=0)


def beginning(pieces: Iterable[Recording], most_values: int) -> Recording:
    """Put blocks together until so many samples of all channels are there; `whole_samples` tells where more follow."""
    held: list[Recording] = []
    values = 0
    for piece in pieces:
        held.append(piece)
        values += piece.waveform.numel()
        if values > most_values:
            break
    found = joined(replace(piece, whole_samples=0) for piece in held)
    most = most_values // len(found.waveform)
    if found.samples <= most:
        return found
    whole = max(held[0].whole_samples, found.samples)
    return replace(found, waveform=found.waveform[:, :most], whole_samples=whole)


def _kind(data: Data, name: str) -> str:
    if not len(data):
        raise AudioError("its file is empty (0 bytes); get a whole copy")
    kind = container.sniff(data)
    if kind is None:
        raise AudioError(f"it is named {name} but holds bytes of no audio format known here; get a proper copy")
    if kind not in CONTAINERS[name]:
        raise AudioError(f"it is named {name} but holds {KIND_NAMES.get(kind, kind)}; name it as what it is")
    return kind


def _read(data: Data, kind: str, use_librosa: bool) -> Iterator[SampleBlock]:
    """The blocks of all recordings that follow one another in the data."""
    for piece, is_all in _pieces(data, kind):
        for block in readers.reader(piece, kind, use_librosa)(piece, kind):
            yield block if is_all else replace(block, promised=0)


def _pieces(data: Data, kind: str) -> Iterator[tuple[Data, bool]]:
    """The recordings that follow one another in the data, and whether one is all of it; AudioError for one cut off."""
    for given in split_recordings(data, kind):
        piece = sizes.corrected(given, kind)
        missing = container.cut_off(piece, kind)
        if missing:
            raise AudioError(f"it is cut off: {missing}; get a whole copy")
        more = untold(piece, kind)
        if more:
            raise AudioError(
                f"{more}: the recorder stopped before it wrote the true length, or something was appended; correct the "
                "header, or cut these bytes off"
            )
        yield piece, given is data


def _checked(read: Iterator[SampleBlock]) -> Iterator[Recording]:
    """Blocks of one kind with samples in them; AudioError for what cannot be used."""
    first: SampleBlock | None = None
    samples = 0
    for block in read:
        first = first or block
        _check_rate(block, first)
        samples += block.samples.shape[1]
        _check_finite(block.samples, samples)
        if block.samples.size:
            waveform_CS = torch.from_numpy(np.ascontiguousarray(block.samples, dtype=np.float32))
            yield Recording(waveform_CS, block.sample_rate, block.promised, block.codec)
    if not samples:
        raise AudioError("it has 0 samples; get a whole copy")


def _check_rate(block: SampleBlock, first: SampleBlock) -> None:
    if not RATES[0] <= block.sample_rate <= RATES[1]:
        raise AudioError(
            f"its header gives a rate of {block.sample_rate} Hz; expected {RATES[0]} to {RATES[1]}; correct the header"
        )
    if (len(block.samples), block.sample_rate) != (len(first.samples), first.sample_rate):
        raise AudioError("its rate or number of channels changes in the middle; split it there")


def _check_finite(samples_CS: np.ndarray, samples: int) -> None:
    wrong = samples_CS.size - np.count_nonzero(np.isfinite(samples_CS))
    if wrong:
        count = len(samples_CS) * samples
        raise AudioError(f"{wrong} of its {count} samples are NaN or infinite; correct or replace it")
