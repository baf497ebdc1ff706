import numpy as np
import torch
from torch.nn import functional as F

from ssast.model.blocks import first_columns, fit_positions, rounded_length

FRAME = {"columns": 512, "tshape": 2, "tstride": 2, "target_length": 1024}


def test_a_clip_is_rounded_up_to_few_lengths_that_hold_all_of_it():
    lengths = [rounded_length(frames, **FRAME) for frames in range(1025)]
    assert all(length >= frames for frames, length in enumerate(lengths))
    assert sorted(set(lengths)) == list(range(64, 1025, 64))
    assert rounded_length(298, **FRAME) == 320


def test_lengths_end_with_a_patch_and_the_last_is_the_whole_input():
    """Overlapping squares: every column that starts within the clip is there, and no half patch is."""
    squares = {"columns": 101, "tshape": 16, "tstride": 10, "target_length": 1024}
    for frames in range(1025):
        length = rounded_length(frames, **squares)
        columns = (length - 16) // 10 + 1
        assert columns == 101 or (columns * 10 >= frames and (length - 16) % 10 == 0)
    assert rounded_length(1005, **squares) == 1024


def test_an_input_shorter_than_a_step_has_one_length():
    assert {rounded_length(frames, 20, 2, 2, 40) for frames in range(41)} == {40}


def table(f_dim, t_dim, width=3, prefix=2):
    positions = torch.arange(f_dim * t_dim).float().view(f_dim, t_dim, 1).expand(-1, -1, width)
    return torch.cat([-torch.ones(1, prefix, width), positions.reshape(1, -1, width)], dim=1)


def test_shorter_axes_are_cut_out_of_the_centre():
    fitted = fit_positions(table(8, 64), (8, 64), (3, 9), 2)
    assert torch.equal(fitted[:, :2], -torch.ones(1, 2, 3))
    expected = np.arange(8 * 64).reshape(8, 64)[8 // 2 - 3 // 2 :, 64 // 2 - 9 // 2 :][:3, :9]
    assert np.array_equal(fitted[0, 2:, 0].view(3, 9), expected)


def test_a_longer_time_axis_is_interpolated_as_torch_does_it_over_the_grid():
    fitted = fit_positions(table(8, 64), (8, 64), (8, 101), 2)
    grid = table(8, 64)[:, 2:].transpose(1, 2).reshape(1, 3, 8, 64)
    expected = F.interpolate(grid, size=(8, 101), mode="bilinear")
    torch.testing.assert_close(fitted[:, 2:], expected.flatten(2).transpose(1, 2))


def test_time_may_grow_while_frequency_is_cut():
    # The published cut along frequency ended at start + t_dim, so its rows were too many to be reshaped.
    fitted = fit_positions(table(8, 10), (8, 10), (4, 20), 2)[0, 2:, 0].view(4, 20)
    assert torch.equal(fitted[:, 0], torch.tensor([20.0, 30.0, 40.0, 50.0]))


def test_frame_positions_spread_over_several_rows():
    fitted = fit_positions(table(1, 10), (1, 10), (2, 10), 2)[0, 2:, 0].view(2, 10)
    assert torch.equal(fitted[0], torch.arange(10.0))
    assert torch.equal(fitted[0], fitted[1])


def test_the_first_columns_of_a_grid_keep_their_positions_in_every_row():
    cut = first_columns(table(4, 10), (4, 10), 3, 2)
    assert torch.equal(cut[:, :2], -torch.ones(1, 2, 3))
    assert torch.equal(cut[0, 2:, 0].view(4, 3), torch.arange(40.0).view(4, 10)[:, :3])
