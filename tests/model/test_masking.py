import pytest
import torch

from ssast.errors import UserError
from ssast.model.masking import draw_masks, visible_patches

GRIDS = [(1, 512, 400), (1, 5, 4), (8, 64, 400), (8, 64, 1), (8, 6, 47), (2, 3, 3), (12, 1, 5)]


def draw(batch, grid, count, seed=0, **options):
    return draw_masks(batch, grid, count, generator=torch.Generator().manual_seed(seed), **options)


def shares(grid, count, batch=10000):
    masks = draw(batch, grid, count)
    return torch.bincount(masks.flatten(), minlength=grid[0] * grid[1]).view(grid) / batch


@pytest.mark.parametrize(("f_dim", "t_dim", "count"), GRIDS)
def test_masks_hide_exactly_the_asked_number_of_different_patches(f_dim, t_dim, count):
    masks = draw(50, (f_dim, t_dim), count)
    assert masks.shape == (50, count)
    assert masks.dtype == torch.int64
    assert all(len(set(row)) == count and min(row) >= 0 and max(row) < f_dim * t_dim for row in masks.tolist())


@pytest.mark.parametrize(
    ("f_dim", "t_dim", "count"), [(1, 64, 30), (8, 16, 60), (8, 16, 100), (8, 32, 20), (3, 40, 90)]
)
def test_every_patch_corners_too_is_hidden_about_equally_often(f_dim, t_dim, count):
    share = shares((f_dim, t_dim), count)
    expected = count / (f_dim * t_dim)
    corners = share[[0, 0, -1, -1], [0, -1, 0, -1]]
    assert (share / expected - 1).abs().max() < 0.15
    assert (corners / expected - 1).abs().max() < 0.1


def test_cluster_masks_lie_in_squares_and_frame_masks_do_not():
    hidden = torch.zeros(400, 8 * 64).scatter(1, draw(400, (8, 64), 100), 1).view(400, 8, 64)
    beside = (hidden[:, :, 1:] * hidden[:, :, :-1]).sum() / hidden[:, :, 1:].sum()
    single = torch.zeros(400, 512).scatter(1, draw(400, (1, 512), 100), 1)
    by_chance = (single[:, 1:] * single[:, :-1]).sum() / single[:, 1:].sum()
    assert beside > 0.65
    assert by_chance < 0.25


def test_a_cluster_is_a_whole_square_of_cluster_factor_to_two_more():
    hidden = torch.zeros(300, 20 * 20).scatter(1, draw(300, (20, 20), 9), 1).view(300, 20, 20)
    inner = hidden[(hidden[:, 1:-1, 1:-1].sum((1, 2)) == 9)]
    tall = inner.any(2).sum(1)
    wide = inner.any(1).sum(1)
    whole = (tall == 3) & (wide == 3)
    assert whole.float().mean() > 0.15
    assert (tall <= 5).float().mean() > 0.9


def test_clips_of_a_batch_get_different_masks_and_a_seed_gives_the_same_again():
    masks = draw(4, (8, 64), 100, seed=3)
    assert torch.equal(masks, draw(4, (8, 64), 100, seed=3))
    assert not torch.equal(masks, draw(4, (8, 64), 100, seed=4))
    assert len({tuple(sorted(row)) for row in masks.tolist()}) == 4


def test_a_passed_generator_leaves_the_ambient_state_alone():
    before = torch.random.get_rng_state()
    draw(4, (8, 64), 100)
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("count", [512, 600, 0, -1])
def test_as_many_masks_as_patches_are_refused_and_never_hang(count):
    with pytest.raises(UserError, match=f"mask_patch is {count}, but a clip has 512 patches; give 1 to 511"):
        draw(2, (8, 64), count)


def test_a_grid_of_one_patch_cannot_be_masked():
    with pytest.raises(UserError, match="only one patch"):
        draw(2, (1, 1), 1)


def test_a_cluster_without_a_side_is_refused():
    with pytest.raises(UserError, match="cluster_factor is 0"):
        draw(2, (8, 64), 10, cluster_factor=0)


@pytest.mark.parametrize("grid", [(1, 512), (8, 64)])
def test_the_asked_share_of_a_clips_own_patches_is_hidden_and_one_stays_visible(grid):
    patches, count = grid[0] * grid[1], 400
    columns = torch.tensor([0, 1, 2, 5, 17, grid[1] - 1, grid[1]])
    own = (torch.arange(grid[1]) < columns[:, None]).repeat(1, grid[0])
    for seed in range(20):
        masks = draw(len(own), grid, count, seed=seed, own_BP=own)
        assert all(len(set(row)) == count for row in masks.tolist())
        hidden, there = own.gather(1, masks).sum(1), own.sum(1)
        share = (there * count / patches + 0.5).floor().long()
        expected = torch.minimum(share.clamp(min=1), there - 1).clamp(min=0)
        assert torch.equal(hidden, expected)
        assert (hidden < there)[1:].all()


def test_masks_of_a_full_clip_are_those_drawn_without_regard_to_padding():
    for grid in ((1, 512), (8, 64)):
        own = torch.ones(3, 512, dtype=torch.bool)
        assert torch.equal(draw(3, grid, 400, own_BP=own), draw(3, grid, 400))


def test_own_patches_are_all_hidden_about_equally_often():
    own = (torch.arange(60) < 20).expand(4000, 60)
    masks = draw(4000, (1, 60), 45, own_BP=own)
    share = torch.bincount(masks[own.gather(1, masks)], minlength=60)[:20] / 4000
    assert (share - 0.75).abs().max() < 0.05


def test_visible_patches_are_those_that_no_mask_names_in_their_order():
    masks = torch.tensor([[4, 0, 2], [5, 1, 3]])
    assert visible_patches(masks, 6).tolist() == [[1, 3, 5], [0, 2, 4]]
    assert visible_patches(torch.arange(6)[None], 6).shape == (1, 0)


@pytest.mark.parametrize("grid", [(1, 512), (8, 64)])
def test_masks_of_the_first_columns_hide_the_same_own_patches_as_on_the_whole_grid(grid):
    whole_own = (torch.arange(grid[1]) < torch.tensor([1, 9, 16])[:, None]).repeat(1, grid[0])
    columns = 16
    cut_own = whole_own.unflatten(1, grid)[:, :, :columns].flatten(1)
    whole, cut = draw(3, grid, 400, own_BP=whole_own), draw(3, grid, 400, own_BP=cut_own)
    assert cut.shape == (3, int(columns * grid[0] * 400 / 512 + 0.5))
    for row, own, short, is_own in zip(whole, whole_own, cut, cut_own, strict=True):
        places = {(number // columns, number % columns) for number in short[is_own[short]].tolist()}
        assert places == {(number // grid[1], number % grid[1]) for number in row[own[row]].tolist()}
        assert len(set(short.tolist())) == len(short)
