from itertools import pairwise

import pytest

from ssast.data.order import BLOCKS_TOGETHER, BlockOrder, EpochSampler, Pieces, gathered

LENGTHS = [64 * (1 + number * number % 7) for number in range(53)]


def clips(batch_size=8, epoch=0, start=0, seed=1, lengths=LENGTHS, weights=None):
    size = len(lengths)
    sampler = EpochSampler(size, shuffle_seed=seed, epoch=epoch, start=start, batch_size=batch_size, weights=weights)
    sampler.lengths = lengths
    return [index for index, _ in sampler]


def batches(order, size=8):
    return [order[start : start + size] for start in range(0, len(order), size)]


def test_batches_hold_one_length_but_where_one_length_ends_and_the_next_begins():
    found = batches(clips())
    assert sorted(clips()) == list(range(53))
    assert [len(batch) for batch in found] == [8] * 6 + [5]
    mixed = [batch for batch in found if len({LENGTHS[clip] for clip in batch}) > 1]
    assert len(mixed) <= len(set(LENGTHS)) - 1
    kinds = sorted(set(LENGTHS))
    for batch in found[:-1]:
        there = sorted({LENGTHS[clip] for clip in batch})
        assert all(kinds.index(other) - kinds.index(one) <= 2 for one, other in pairwise(there))


def test_the_order_depends_on_seed_and_epoch_and_where_a_run_goes_on_changes_nothing():
    whole = clips(epoch=3)
    assert whole == clips(epoch=3)
    assert len({tuple(clips(epoch=epoch)) for epoch in range(4)}) == 4
    assert clips(epoch=3, seed=2) != whole
    for number in range(8):
        assert clips(epoch=3, start=8 * number) == whole[8 * number :]


def test_clips_of_a_length_meet_others_of_it_in_every_epoch_and_short_ones_do_not_come_first():
    firsts = {LENGTHS[clips(epoch=epoch)[0]] for epoch in range(30)}
    assert len(firsts) > 3
    partners = {tuple(sorted(batches(clips(epoch=epoch))[0])) for epoch in range(10)}
    assert len(partners) == 10


def test_the_batch_that_is_not_full_is_the_last_and_has_any_length():
    last = {LENGTHS[batches(clips(epoch=epoch))[-1][0]] for epoch in range(30)}
    assert len(last) > 2


def test_validation_goes_from_short_to_long():
    found = gathered(range(53), LENGTHS, 8, None)
    assert [LENGTHS[clip] for clip in found] == sorted(LENGTHS)


def test_clips_that_are_drawn_with_weights_are_put_together_too():
    found = clips(weights=[1.0 + number % 2 for number in range(53)])
    assert len(found) == 53
    assert len({LENGTHS[clip] for clip in batches(found)[0]}) <= 2


def test_without_lengths_the_order_is_as_it_was():
    sampler = EpochSampler(53, shuffle_seed=1, batch_size=8)
    assert [index for index, _ in sampler] != clips()
    assert [index for index, _ in sampler] == [index for index, _ in EpochSampler(53, shuffle_seed=1)]


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_processes_share_a_batch_of_one_length_among_them(processes):
    shares = []
    for rank in range(processes):
        sampler = EpochSampler(53, shuffle_seed=1, batch_size=12)
        sampler.lengths = LENGTHS
        shares.append([[index for index, _ in piece] for piece in Pieces(sampler, 12, 2, (rank, processes))])
    assert len({len(share) for share in shares}) == 1
    assert sorted(clip for share in shares for piece in share for clip in piece) == list(range(53))
    pieces = [piece for share in shares for piece in share if piece]
    assert sum(len({LENGTHS[clip] for clip in piece}) == 1 for piece in pieces) >= len(pieces) - len(set(LENGTHS))


def test_clips_are_shuffled_in_windows_of_blocks_that_come_in_a_drawn_order():
    blocks = [clip // 10 for clip in range(200)]

    def order(epoch, lengths=None):
        sampler = EpochSampler(200, shuffle_seed=1, epoch=epoch, batch_size=8, blocks=blocks)
        sampler.lengths = lengths
        return [clip for clip, _ in sampler]

    first = order(0)
    assert sorted(first) == list(range(200))
    drawn = BlockOrder(blocks, 1).of(0)
    size = 10 * BLOCKS_TOGETHER
    for number, start in enumerate(range(0, 200, size)):
        window = [blocks[clip] for clip in first[start : start + size]]
        assert set(window) == set(drawn[number * BLOCKS_TOGETHER : (number + 1) * BLOCKS_TOGETHER])
        assert window != sorted(window)
    assert order(1) != first
    assert BlockOrder(blocks, 1).of(1) != drawn
    by_length = order(0, [clip % 3 for clip in range(200)])
    assert sorted(by_length) == list(range(200))
    assert {blocks[clip] for clip in by_length[:size]} == set(drawn[:BLOCKS_TOGETHER])


def test_without_a_seed_blocks_are_read_as_they_lie():
    assert BlockOrder([3, 3, 1, 1, 2], None).of(4) == [3, 1, 2]
