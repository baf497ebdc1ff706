"""Draw which patches of each clip to hide: exactly the number that is asked for.

Shapes: B batch, P patches of the grid (f_dim * t_dim), M masked patches a clip.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from ssast.errors import UserError

CLUSTER_SIDES = 3


def check_mask_patch(mask_patch: int, num_patches: int) -> None:
    """Raise a UserError unless 1 <= mask_patch < num_patches, so that something is hidden and something left to see."""
    if not 1 <= mask_patch < num_patches:
        raise UserError(
            f"mask_patch is {mask_patch}, but a clip has {num_patches} patches; "
            f"give 1 to {num_patches - 1}, or a longer target_length."
            if num_patches > 1
            else f"mask_patch is {mask_patch}, but a clip has only one patch; give a longer target_length."
        )


def frame_masks(
    batch: int, num_patches: int, mask_patch: int, *, device: torch.device, generator: torch.Generator | None = None
) -> Tensor:
    """`mask_patch` different patches for each clip, every set equally likely: (B, M) int64."""
    order_BP = torch.rand(batch, num_patches, device=device, generator=generator)
    return order_BP.topk(mask_patch, dim=1).indices


def cluster_masks(
    batch: int,
    grid: tuple[int, int],
    mask_patch: int,
    cluster_factor: int = 3,
    *,
    device: torch.device,
    generator: torch.Generator | None = None,
) -> Tensor:
    """`mask_patch` different patches for each clip, in squares: (B, M) int64.

    A clip's squares have one side, cluster_factor to cluster_factor + 2 patches. One starts at every patch, they arrive
    in random order, and those that pass an edge go on at the opposite one, so no patch, corner or not, is hidden more
    often than another. A patch is hidden in the order of the first square that covers it, the last square in part.
    Published: squares that grow to one side only and spare the first patch; here coverage is even.
    """
    (f_dim, t_dim), most = grid, cluster_factor + CLUSTER_SIDES - 1
    arrival = torch.rand(batch, f_dim * t_dim, device=device, generator=generator).argsort(dim=1)
    extra_B1 = torch.randint(CLUSTER_SIDES, (batch, 1), device=device, generator=generator)
    order_BP = torch.rand(batch, f_dim * t_dim, device=device, generator=generator)  # within a square, at random
    rows, columns = (torch.arange(size + most - 1, device=device) % size for size in grid)
    arrival_B1ft = arrival.view(batch, 1, f_dim, t_dim)[:, :, rows][:, :, :, columns].float()
    for extra in range(CLUSTER_SIDES):
        side = cluster_factor + extra
        first = -F.max_pool2d(-arrival_B1ft[:, :, : f_dim + side - 1, : t_dim + side - 1], side, stride=1)
        order_BP = order_BP + first.flatten(1) * (extra_B1 == extra)
    return order_BP.topk(mask_patch, dim=1, largest=False).indices


def draw_masks(
    batch: int,
    grid: tuple[int, int],
    mask_patch: int,
    cluster_factor: int = 3,
    *,
    device: torch.device | str = "cpu",
    generator: torch.Generator | None = None,
) -> Tensor:
    """Indices (B, M) int64 of `mask_patch` different patches to hide in each clip, drawn for all at once on `device`.

    A grid of one row (frame patches) gets single patches, any other grid clusters, as Gong et al. 2022 (arXiv
    2110.09784) found best. Chance comes from `generator`, on its device, or without one from torch's ambient state.
    UserError: mask_patch below 1 or not below the number of patches, cluster_factor below 1.
    """
    check_mask_patch(mask_patch, grid[0] * grid[1])
    if cluster_factor < 1:
        raise UserError(
            f"cluster_factor is {cluster_factor}, but a cluster's side is at least 1 patch; give 1 or more."
        )
    source = torch.device(device) if generator is None else generator.device
    if grid[0] == 1:
        masks_BM = frame_masks(batch, grid[1], mask_patch, device=source, generator=generator)
    else:
        masks_BM = cluster_masks(batch, grid, mask_patch, cluster_factor, device=source, generator=generator)
    return masks_BM.to(device)
