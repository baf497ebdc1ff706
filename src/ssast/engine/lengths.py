"""Let clips of one length go through the model together, and give what it says of them in the order of the clips.

Shapes: S samples.
"""

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Self, cast

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from ssast.data.batch import Batch
from ssast.data.prepare import Prepare

GROUPS_WAITING = 32
"""A clip waits at most while so many groups of clips arrive; then it goes through with what there is of its length."""
BYTES_WAITING = 64 << 20
"""So much of what the model said waits at most for clips that came before."""
SUMMED_TOGETHER = 64
"""A processor sums a waveform in so many lanes at most, and what is left over last: a clip that ends there differs in
its last digit from itself with zeros behind it."""


@dataclass(frozen=True)
class Grouping:
    """How clips are put together: `clips` of them that have one of the `lengths`, which a batch's samples tell."""

    lengths: Callable[[Tensor], list[int]]
    clips: int

    @classmethod
    def of(cls, prepare: Prepare, clips: int) -> Self | None:
        """The way for clips that are so prepared; None where all have one length."""
        return None if prepare.rounding is None else cls(prepare.lengths, clips)


def answers(
    values: Callable[[Batch], Tensor], batches: Iterable[Batch], grouping: Grouping | None
) -> Iterator[tuple[Batch, Tensor]]:
    """The batches, one after the other, with what `values` says of their clips.

    With a `grouping` clips of one length go through together, whichever batch they came in; the batches come back
    without their waveforms. Values that reach over time are filled up with zeros to the longest of their batch.
    """
    if grouping is None:
        yield from ((batch, values(batch)) for batch in batches)
        return
    groups = _Groups(values, grouping.clips)
    for batch in batches:
        groups.add(batch, grouping.lengths(batch["lengths"]) if batch["uid"] else [])
        yield from groups.finished()
    groups.flush()
    yield from groups.finished()


class _Held:
    """A batch of which not all clips have been through the model."""

    def __init__(self, batch: Batch):
        kept = {key: value for key, value in batch.items() if key != "waveform"}
        self.batch = cast(Batch, kept)
        self.found: list[Tensor | None] = [None] * len(batch["uid"])
        self.lengths: set[int] = set()

    @property
    def is_done(self) -> bool:
        return all(one is not None for one in self.found)

    def values(self) -> Tensor:
        there = [one for one in self.found if one is not None]
        if not there:
            return torch.empty(0, 0)
        if there[0].dim() < 2:
            return torch.stack(there)
        longest = max(len(one) for one in there)
        return torch.stack([F.pad(one, (0, 0) * (one.dim() - 1) + (0, longest - len(one))) for one in there])


@dataclass(frozen=True)
class _Clip:
    """One clip of a batch: where its values belong, and its waveform (S,)."""

    held: _Held
    row: int
    waveform: Tensor


class _Groups:
    """Clips that wait for others of their length, and the batches that they came in."""

    def __init__(self, apply: Callable[[Batch], Tensor], size: int):
        self.apply, self.size = apply, size
        self.waiting: dict[int, list[_Clip]] = defaultdict(list)
        self.held: deque[_Held] = deque()
        self.clips = self.bytes = 0

    def add(self, batch: Batch, lengths: list[int]) -> None:
        held = _Held(batch)
        self.held.append(held)
        self.clips += len(lengths)
        for row, length in enumerate(lengths):
            # A copy, since a row would keep the whole batch in memory.
            own_S = batch["waveform"][row, : int(batch["lengths"][row])].clone()
            self.waiting[length].append(_Clip(held, row, own_S))
            held.lengths.add(length)
            if len(self.waiting[length]) == self.size:
                self._go(length)
        if self.clips > GROUPS_WAITING * self.size or self.bytes > BYTES_WAITING:
            for length in self.held[0].lengths:
                self._go(length)

    def flush(self) -> None:
        """Let all that wait go through."""
        for length in list(self.waiting):
            self._go(length)

    def finished(self) -> Iterator[tuple[Batch, Tensor]]:
        while self.held and self.held[0].is_done:
            done = self.held.popleft()
            self.clips -= len(done.found)
            self.bytes -= sum(one.nbytes for one in done.found if one is not None)
            yield done.batch, done.values()

    def _go(self, length: int) -> None:
        clips = self.waiting.pop(length, [])
        if not clips:
            return
        for clip, found in zip(clips, self.apply(_batch(clips)), strict=True):
            clip.held.found[clip.row] = found
            self.bytes += found.nbytes


def _batch(clips: list[_Clip]) -> Batch:
    """A batch of clips that came in others."""
    waveform_BS = pad_sequence([clip.waveform for clip in clips], batch_first=True)
    return {
        "uid": [clip.held.batch["uid"][clip.row] for clip in clips],
        "waveform": F.pad(waveform_BS, (0, -waveform_BS.shape[1] % SUMMED_TOGETHER)),
        "lengths": torch.tensor([len(clip.waveform) for clip in clips]),
        "targets": torch.stack([clip.held.batch["targets"][clip.row] for clip in clips]),
    }
