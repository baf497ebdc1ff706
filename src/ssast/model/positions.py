"""Make the positions of patches that a model starts from, carry learned ones over to another grid, or cut some out.

Shapes: P patches, L tokens (prefix + patches), D width.
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def sinusoids(grid: tuple[int, int], width: int) -> Tensor:
    """Positions (P, D) to start from: sines and cosines of wavelengths from 6 to 628 patches, half as high as 1.

    Frame patches spend all D values on time; other grids the first half on frequency and the second on time, as masked
    autoencoders do (He et al. 2022, arXiv 2111.06377).
    """
    axes = [torch.arange(grid[1]).repeat(grid[0])]
    if grid[0] > 1:
        axes.insert(0, torch.arange(grid[0]).repeat_interleave(grid[1]))
    share = width // len(axes)
    rates = 100.0 ** (-torch.arange(0, share, 2) / share)
    waves = [axis.unsqueeze(1) * rates for axis in axes]
    return 0.5 * torch.cat([part for wave in waves for part in (wave.sin(), wave.cos())], dim=1)


def fit_positions(
    positions_1LD: Tensor, old_grid: tuple[int, int], new_grid: tuple[int, int], num_prefix: int
) -> Tensor:
    """Positions (1, prefix + patches, D) of one patch grid carried over to another; the prefix stays as it is.

    Published: along time, then along frequency, a shorter axis is cut out of the centre (from old // 2 - new // 2) and
    a longer one is interpolated linearly. The published cut along frequency ends at an index made from the time size;
    here it ends at its own.
    """
    prefix_1CD, patches_1PD = positions_1LD[:, :num_prefix], positions_1LD[:, num_prefix:]
    grid_1Dft = patches_1PD.transpose(1, 2).unflatten(2, old_grid)
    for axis, new in ((3, new_grid[1]), (2, new_grid[0])):
        old = grid_1Dft.shape[axis]
        if new < old:
            grid_1Dft = grid_1Dft.narrow(axis, old // 2 - new // 2, new)
        elif new > old:
            size = (grid_1Dft.shape[2], new) if axis == 3 else (new, grid_1Dft.shape[3])
            grid_1Dft = F.interpolate(grid_1Dft, size=size, mode="bilinear", align_corners=False)
    return torch.cat([prefix_1CD, grid_1Dft.flatten(2).transpose(1, 2)], dim=1).contiguous()


def first_columns(positions_1LD: Tensor, grid: tuple[int, int], columns: int, num_prefix: int) -> Tensor:
    """The positions of the prefix and of the first columns of the grid, in all of its rows."""
    prefix_1CD, patches_1PD = positions_1LD[:, :num_prefix], positions_1LD[:, num_prefix:]
    return torch.cat([prefix_1CD, patches_1PD.unflatten(1, grid)[:, :, :columns].flatten(1, 2)], dim=1)
