"""Read a recording that is too long for the memory again, block by block, to cut it into windows.

Shapes: S samples.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ssast.audio.conform import conformed
from ssast.audio.decode import Recording

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
