"""Say in which order the clips of an epoch come, and in which batches and pieces they go through a model."""

from array import array
from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Sampler

ORDER, ITEM, CROP = 1, 2, 3
"""What a derived seed is for, so that the order, the items and their stretches share none."""


def derive_seed(*key: int) -> int:
    """A seed of 32 bits that depends on all numbers of the key."""
    words = [int(part) % (1 << 64) for part in key]
    return int(np.random.SeedSequence(words).generate_state(1, np.uint32)[0])


Key = tuple[int, int]
"""What an item is asked for by: its index and the epoch."""


def gathered(
    order: Sequence[int], lengths: Sequence[int], batch_size: int, generator: torch.Generator | None
) -> list[int]:
    """The clips of an order put together in batches of one length, as few of neighbouring lengths, in any order.

    Clips of one length stay in the order that was drawn, batches are drawn again; the one that is not full comes last
    and has any length. Without a generator batches go from short to long.
    """
    sorted_clips = sorted(order, key=lengths.__getitem__)
    full, rest = divmod(len(order), batch_size)
    cut = full if generator is None else int(torch.randint(full + 1, (), generator=generator))
    start, stop = cut * batch_size, cut * batch_size + rest
    others, last = sorted_clips[:start] + sorted_clips[stop:], sorted_clips[start:stop]
    numbers = range(full) if generator is None else torch.randperm(full, generator=generator).tolist()
    return [clip for at in numbers for clip in others[at * batch_size : (at + 1) * batch_size]] + last


BLOCKS_TOGETHER = 4
"""So many blocks are shuffled together."""


def blockwise(blocks: Sequence[int], generator: torch.Generator) -> Tensor:
    """Clips in a drawn order: that of their `blocks` is drawn, and the clips of BLOCKS_TOGETHER are shuffled."""
    order = _drawn_blocks(blocks, generator)
    place = {block: at // BLOCKS_TOGETHER for at, block in enumerate(order)}
    drawn = torch.randperm(len(blocks), generator=generator)
    window = torch.tensor([place[block] for block in blocks])
    return drawn[torch.argsort(window[drawn], stable=True)]


def _drawn_blocks(blocks: Sequence[int], generator: torch.Generator) -> list[int]:
    there = sorted(set(blocks))
    return [there[at] for at in torch.randperm(len(there), generator=generator).tolist()]


class BlockOrder:
    """In which order an epoch comes to blocks, its clips as they lie where there is no `shuffle_seed`."""

    def __init__(self, blocks: Sequence[int], shuffle_seed: int | None):
        self.blocks, self.shuffle_seed = blocks, shuffle_seed
        self._known: tuple[int, list[int]] | None = None

    def of(self, epoch: int) -> list[int]:
        """Return the order of an epoch."""
        if self._known is None or self._known[0] != epoch:
            self._known = epoch, self._found(epoch)
        return self._known[1]

    def _found(self, epoch: int) -> list[int]:
        if self.shuffle_seed is None:
            return list(dict.fromkeys(self.blocks))
        return _drawn_blocks(self.blocks, _generator(self.shuffle_seed, epoch))


def _generator(shuffle_seed: int, epoch: int) -> torch.Generator:
    return torch.Generator().manual_seed(derive_seed(shuffle_seed, epoch, ORDER))


class EpochSampler(Sampler[Key]):
    """(index, epoch) of each clip from number `start` up to `stop`; the order depends on (shuffle_seed, epoch) alone.

    Without a `shuffle_seed` the clips come as they lie. With `weights`, one a clip, as many as there are are drawn with
    replacement, each with a chance in proportion to its weight. Where their `lengths` are told, batches of `batch_size`
    hold clips of one length, see `gathered`. `blocks` are the numbers of the blocks that clips are fetched in: they are
    shuffled in those, see `blockwise`, unless they are drawn by weight.
    """

    def __init__(
        self,
        size: int,
        *,
        shuffle_seed: int | None = None,
        epoch: int = 0,
        start: int = 0,
        stop: int | None = None,
        weights: Sequence[float] | None = None,
        batch_size: int = 1,
        blocks: Sequence[int] | None = None,
    ):
        self.blocks = blocks
        self.lengths: Sequence[int] | None = None
        self.batch_size = batch_size
        self.size, self.shuffle_seed, self.epoch, self.start, self.weights = size, shuffle_seed, epoch, start, weights
        self.stop = size if stop is None else min(stop, size)

    def __len__(self) -> int:
        return max(0, self.stop - self.start)

    def __iter__(self) -> Iterator[Key]:
        order: Sequence[int] = range(self.size)
        generator = None
        if self.shuffle_seed is not None:
            generator = _generator(self.shuffle_seed, self.epoch)
            order = array("q", self._drawn(generator).numpy().tobytes())
        if self.lengths is not None:
            span = self._span()
            parts = [order[first : first + span] for first in range(0, len(order), span)]
            order = [clip for part in parts for clip in gathered(part, self.lengths, self.batch_size, generator)]
        epoch = self.epoch  # it may be another one before the last key is taken
        return ((index, epoch) for index in order[self.start : self.stop])

    def _span(self) -> int:
        """How many clips are put together by their lengths: about those of a window of blocks, in whole batches."""
        if self.blocks is None or self.weights is not None:
            return max(1, self.size)
        windows = -(-len(set(self.blocks)) // BLOCKS_TOGETHER)
        return self.batch_size * max(1, round(self.size / max(1, windows) / self.batch_size))

    def _drawn(self, generator: torch.Generator) -> Tensor:
        if self.weights is None and self.blocks is not None:
            return blockwise(self.blocks, generator)
        if self.weights is None:
            return torch.randperm(self.size, generator=generator)
        weights = torch.tensor(self.weights, dtype=torch.float64)
        return torch.multinomial(weights, self.size, replacement=True, generator=generator)


class Pieces(Sampler[list[Key]]):
    """Each batch of `batch_size` clips in pieces of `piece_size`; process `share[0]` of `share[1]` gets its own.

    Every process gets equally many pieces of a batch, `each`; those past the batch's end are empty. Piece number p of
    the batch belongs to process p modulo their number.
    """

    def __init__(self, clips: EpochSampler, batch_size: int, piece_size: int, share: tuple[int, int]):
        self.clips, self.batch_size, self.piece_size, self.share = clips, batch_size, piece_size, share
        self.each = -(-batch_size // (piece_size * share[1]))

    def __len__(self) -> int:
        return -(-len(self.clips) // self.batch_size) * self.each

    def __iter__(self) -> Iterator[list[Key]]:
        rank, processes = self.share
        clips = iter(self.clips)
        while batch := list(islice(clips, self.batch_size)):
            for number in range(rank, self.each * processes, processes):
                yield batch[number * self.piece_size : (number + 1) * self.piece_size]
