"""Bring recordings to one rate, number of channels and length, whole or block by block.

Shapes: C channels, S samples.
"""

import sys
from collections.abc import Iterable, Iterator
from itertools import chain

import numpy as np
import soxr
import torch
from torch import Tensor

from ssast.audio.decode import Recording, enough_memory_for_clip, joined
from ssast.errors import AudioError, UserError

ORDINARY_SECONDS = 30.0
"""Recordings up to here are held whole, whatever is heard of them."""
LARGEST_SAMPLE = 1e12
"""Far beyond samples that somebody forgot to scale (2^31), and below what overflows when it is squared and summed."""


def conform(recording: Recording, *, sample_rate: int, mono: bool = True, clip_seconds: float = 0.0) -> Recording:
    """Reduce to the mean of the channels, resample, cut to the first `clip_seconds` (0 keeps all), in this order.

    A step with nothing to do costs nothing and gives the same waveform. UserError for an impossible rate or length.
    """
    _check(sample_rate, clip_seconds)
    waveform_CS = _mixed(recording.waveform, mono)
    if recording.sample_rate != sample_rate:
        waveform_CS = _resampled(waveform_CS, recording.sample_rate, sample_rate)
    if clip_seconds:
        waveform_CS = waveform_CS[:, : round(clip_seconds * sample_rate)]
    return Recording(waveform_CS, sample_rate)


def _check(sample_rate: int, clip_seconds: float) -> None:
    if sample_rate <= 0:
        raise UserError(f"the sample rate is {sample_rate} Hz; it must be above 0")
    if not (clip_seconds == 0 or clip_seconds * sample_rate >= 1):
        raise UserError(f"the clip length is {clip_seconds} s; it must be 0 (whole) or at least one sample long")


def _mixed(waveform_CS: Tensor, mono: bool) -> Tensor:
    return waveform_CS.mean(0, keepdim=True) if mono and len(waveform_CS) > 1 else waveform_CS


def _resampled(waveform_CS: Tensor, old_rate: int, new_rate: int) -> Tensor:
    resampled_SC = soxr.resample(np.ascontiguousarray(waveform_CS.numpy().T), old_rate, new_rate)
    if len(resampled_SC) == 0:
        raise AudioError(
            f"its {waveform_CS.shape[1]} samples at {old_rate} Hz are too few to resample to {new_rate} Hz"
        )
    return torch.from_numpy(np.ascontiguousarray(resampled_SC.T))


def conformed(blocks: Iterable[Recording], *, sample_rate: int, mono: bool = True) -> Iterator[Recording]:
    """Reduce and resample block by block: the same bytes as `conform` gives of the whole, cut elsewhere."""
    waiting = iter(blocks)
    first = next(waiting)
    second = next(waiting, None)
    if second is None:
        yield _bounded(conform(first, sample_rate=sample_rate, mono=mono))
        return
    rest = chain([first, second], waiting)
    whole = round(first.whole_samples * sample_rate / first.sample_rate)
    mixed = (_mixed(block.waveform, mono) for block in rest)
    made = mixed if first.sample_rate == sample_rate else _stream(mixed, first.sample_rate, sample_rate)
    yield from (_bounded(Recording(waveform_CS, sample_rate, whole)) for waveform_CS in made)


def _bounded(recording: Recording) -> Recording:
    """Return the recording; AudioError for samples that no computation can take."""
    largest = float(recording.waveform.abs().max()) if recording.waveform.numel() else 0.0
    if not largest <= LARGEST_SAMPLE:
        raise AudioError(f"its samples reach {largest:.3g}, expected values from -1 to 1; scale it or get another copy")
    return recording


def _stream(waveforms: Iterator[Tensor], old_rate: int, new_rate: int) -> Iterator[Tensor]:
    before = next(waveforms)
    stream = soxr.ResampleStream(old_rate, new_rate, len(before), dtype="float32")
    for waveform_CS in chain(waveforms, [None]):
        made = stream.resample_chunk(np.ascontiguousarray(before.numpy().T), last=waveform_CS is None)
        # Copied, since what soxr gives is a view of a larger array.
        yield torch.from_numpy(np.array(made.reshape(-1, len(before)).T, order="C"))
        before = before if waveform_CS is None else waveform_CS


def conform_waveform(
    blocks: Iterable[Recording],
    *,
    sample_rate: int,
    mono: bool = True,
    clip_seconds: float = 0.0,
    most_samples: int | None = None,
    ordinary_seconds: float = ORDINARY_SECONDS,
) -> Recording:
    """Give what `conform` gives of the whole, of a long recording its first `most_samples` alone (None: all).

    Long is what lasts over `ordinary_seconds`: no more of it is read than is needed. `whole_samples` tells how long it
    is, or, where that is known only once all is read, how much of it was read; it is 0 where nothing was left out.
    """
    _check(sample_rate, clip_seconds)
    clip = round(clip_seconds * sample_rate) if clip_seconds else sys.maxsize
    ordinary = max(round(ordinary_seconds * sample_rate), most_samples or 0)
    enough = clip if most_samples is None else min(clip, ordinary + 1)
    told = 0

    def first() -> Iterator[Recording]:
        nonlocal told
        read = 0
        for block in conformed(blocks, sample_rate=sample_rate, mono=mono):
            told = min(block.whole_samples, clip)
            waveform_CS = block.waveform[:, : clip - read]
            read += waveform_CS.shape[1]
            yield Recording(waveform_CS, sample_rate, min(told, enough))
            if read >= enough:
                return

    with enough_memory_for_clip():
        found = joined(first())
        if most_samples is None or found.waveform.shape[1] <= ordinary:
            return found
        whole = max(told, found.waveform.shape[1])
        return Recording(found.waveform[:, :most_samples].clone(), sample_rate, whole)
