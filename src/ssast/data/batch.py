"""Name what a data set gives of a recording, also of one too long for the memory, and what a batch of them holds.

Shapes: B clips, C channels, S samples, T frames, F mel bins, N labels.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypedDict

import torch
from torch import Tensor

from ssast.audio.conform import conformed
from ssast.audio.decode import Recording
from ssast.audio.sound_findings import SoundFinding
from ssast.model.head import ModelInput

Open = Callable[[], Iterator[Recording]]
"""A function that reads the blocks of a recording again; it can be sent to another process."""


@dataclass(frozen=True)
class LongRecording:
    """A recording of so many `samples` at `sample_rate` [Hz], mixed down where it is to be `mono`."""

    open: Open
    sample_rate: int
    mono: bool
    samples: int

    @classmethod
    def counted(cls, opens: Open, sample_rate: int, mono: bool) -> "LongRecording":
        """Read it through once, without holding it: its true length, or the AudioError that lies in it."""
        whole = conformed(opens(), sample_rate=sample_rate, mono=mono)
        return cls(opens, sample_rate, mono, sum(block.waveform.shape[1] for block in whole))

    def blocks(self) -> Iterator[Tensor]:
        """Read the first channel (S,), block by block."""
        for block in conformed(self.open(), sample_rate=self.sample_rate, mono=self.mono):
            yield block.waveform[0]


class WindowReader:
    """Reads windows of a long recording in the order of their beginnings, and forgets the samples before them."""

    def __init__(self, recording: LongRecording):
        self._blocks, self._start, self._held_S = recording.blocks(), 0, torch.empty(0)

    def window(self, begin: int, end: int) -> Tensor:
        """Samples `begin` to `end` of the recording."""
        self._forget_before(begin)
        while self._start + len(self._held_S) < end and (block_S := next(self._blocks, None)) is not None:
            self._held_S = torch.cat([self._held_S, block_S])
            self._forget_before(begin)
        return self._held_S[begin - self._start : end - self._start].clone()

    def _forget_before(self, begin: int) -> None:
        before = min(len(self._held_S), max(0, begin - self._start))
        self._held_S, self._start = self._held_S[before:], self._start + before


@dataclass(frozen=True)
class Bad:
    """A recording that cannot be used, and why; not `skippable` where going on would hide something worse.

    `names` are those that the reason holds, by kind, as the error had them.
    """

    uid: str
    reason: str
    skippable: bool
    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


class ClipItem(TypedDict, total=False):
    """One recording, as much of it as the data set was asked for."""

    uid: str
    waveform: Tensor
    """(C, S)"""
    whole_length: int
    """Samples of the whole recording, of which a long one may be held in part."""
    long: LongRecording
    """What stands for a recording that is not held at all."""
    sample_rate: int
    targets: Tensor
    """(N,)"""
    fbank: Tensor
    """(T, F)"""
    findings: tuple[SoundFinding, ...]


class Batch(ModelInput, total=False):
    """Collated clips, and what preparing them for the model adds (`ModelInput`)."""

    uid: list[str]
    waveform: Tensor
    """(B, S), channel 0, padded with zeros."""
    lengths: Tensor
    """(B,) samples of each waveform."""
    whole_lengths: Tensor
    """(B,) samples of the whole recordings, of which long ones may be held in part."""
    long: list[LongRecording | None]
    """What stands for recordings that are not held at all."""
    bad: list[Bad]
    findings: list[tuple[str, Sequence[SoundFinding]]]
    """What is doubtful about recordings, with their uids."""
    windows: list[Any]
    """Which `Window` of `engine/` each row is."""
    steps: int
    """How many recordings this batch of windows finishes."""
    sample_rate: int
    name: str
    """What the output of the one clip is called."""
