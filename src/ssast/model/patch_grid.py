"""Lay patches on a grid of frequency and time, and say how long a clip is on it, and which positions patches have.

Shapes: P patches, L tokens (prefix + patches), D width.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from ssast.errors import UserError

LENGTH_STEP = 64
"""A clip goes through the model in so many frames, or a multiple: at 1024 there are 16 lengths, so that clips of one
length are soon found, and a clip of 3 s (298 frames) carries 22 frames of padding; 128 would make that 86."""
MOST_STEP = 16
"""Patches may lie so many of their own sizes apart: beyond, a short file would ask for a spectrogram of gigabytes."""


def patch_grid(
    fshape: int, tshape: int, fstride: int, tstride: int, num_mel_bins: int, target_length: int
) -> tuple[int, int]:
    """Patches along frequency and time for these sizes in mel bins and frames; UserError where not one patch fits."""
    sizes = {"fshape": fshape, "tshape": tshape, "fstride": fstride, "tstride": tstride}
    for name, value in sizes.items():
        if value < 1:
            raise UserError(f"{name} is {value}, but a patch needs at least 1; give a positive whole number.")
    if num_mel_bins < fshape:
        raise UserError(
            f"num_mel_bins is {num_mel_bins}, less than the {fshape} mel bins of one patch (fshape); "
            "give more mel bins or a smaller patch."
        )
    if target_length < tshape:
        raise UserError(
            f"target_length is {target_length} frames, less than the {tshape} frames of one patch (tshape); "
            "give a longer target_length or a smaller patch."
        )
    for name, step, shape in (("fstride", fstride, fshape), ("tstride", tstride, tshape)):
        if step > MOST_STEP * shape:
            raise UserError(
                f"{name} is {step}, more than {MOST_STEP} patches of {shape} ({name.replace('stride', 'shape')}), so "
                "most of the spectrogram would go unheard; give a smaller one."
            )
    return (num_mel_bins - fshape) // fstride + 1, (target_length - tshape) // tstride + 1


def rounded_length(frames: int, columns: int, tshape: int, tstride: int, target_length: int) -> int:
    """The frames in which a clip with so many own frames goes through a model that keeps padding out.

    All of at most `columns` columns of patches that hold an own frame, and whole steps of LENGTH_STEP frames as far as
    patches allow. Nothing but the clip's own frames decides, so that a clip has one length in any batch.
    """
    step = max(1, LENGTH_STEP // tstride)
    own = -(-frames // tstride)  # columns that start within the clip
    used = -(-max(own, 2) // step) * step  # of one patch none could be hidden and one be seen
    return target_length if used >= columns else (used - 1) * tstride + tshape


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
