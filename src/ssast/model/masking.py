"""Hide patches of each clip, and measure how well they were found among each other and rebuilt.

Shapes: B batch, P patches of the grid (f_dim * t_dim), M masked patches a clip, K values a patch.
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


def cluster_order(
    batch: int,
    grid: tuple[int, int],
    cluster_factor: int = 3,
    *,
    device: torch.device,
    generator: torch.Generator | None = None,
) -> Tensor:
    """In which order patches are hidden, in squares: (B, P), the lowest value first.

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
    return order_BP


def draw_masks(
    batch: int,
    grid: tuple[int, int],
    mask_patch: int,
    cluster_factor: int = 3,
    own_BP: Tensor | None = None,
    *,
    device: torch.device | str = "cpu",
    generator: torch.Generator | None = None,
) -> Tensor:
    """Indices (B, M) int64 of `mask_patch` different patches to hide in each clip, drawn for all at once on `device`.

    A grid of one row (frame patches) gets single patches, every set equally likely, any other grid clusters, as Gong et
    al. 2022 (arXiv 2110.09784) found best. Where `own_BP` says which patches are a clip's own, the same share of these
    is hidden, at least one stays visible, and the rest of a row names padding. It may be of the grid's first columns
    alone: chance is drawn as for the whole, and patches are numbered, and rows as long, as these columns ask for.

    Chance comes from `generator`, on its device, or without one from torch's ambient state. UserError: mask_patch below
    1 or not below the number of patches, cluster_factor below 1.
    """
    check_mask_patch(mask_patch, grid[0] * grid[1])
    if cluster_factor < 1:
        raise UserError(
            f"cluster_factor is {cluster_factor}, but a cluster's side is at least 1 patch; give 1 or more."
        )
    source = torch.device(device) if generator is None else generator.device
    if grid[0] == 1:
        order_BP = -torch.rand(batch, grid[1], device=source, generator=generator)
    else:
        order_BP = cluster_order(batch, grid, cluster_factor, device=source, generator=generator)
    if own_BP is not None:
        columns = own_BP.shape[1] // grid[0]
        order_BP = order_BP.to(device).unflatten(1, grid)[:, :, :columns].flatten(1)
        return first_of_own(order_BP, own_BP, mask_patch, grid[0] * grid[1])
    return order_BP.topk(mask_patch, dim=1, largest=False).indices.to(device)


def hidden_count(patches: Tensor, mask_patch: int, num_patches: int) -> Tensor:
    """How many of so many patches are hidden, for a share of `mask_patch` in `num_patches`: an int64 tensor.

    Rounded to the next whole number; at least one stays visible, and of two or more at least one is hidden.
    """
    share = (2 * patches * mask_patch + num_patches) // (2 * num_patches)
    return torch.minimum(share.clamp(min=1), patches - 1).clamp(min=0)


def first_of_own(order_BP: Tensor, own_BP: Tensor, mask_patch: int, num_patches: int) -> Tensor:
    """Those of each clip's own patches that come first in the order, and then padding up to equal rows: (B, M) int64.

    `mask_patch` of `num_patches` is the share that is hidden, of a clip's own patches (`own_BP`) and of all.
    """
    own_B1 = own_BP.sum(dim=1, keepdim=True)
    ranked_BP = order_BP.masked_fill(~own_BP, torch.inf).argsort(dim=1, stable=True)
    hidden_B1 = hidden_count(own_B1, mask_patch, num_patches)
    row = int(hidden_count(torch.tensor(own_BP.shape[1]), mask_patch, num_patches))
    row_1M = torch.arange(row, device=own_BP.device).unsqueeze(0)
    return ranked_BP.gather(1, torch.where(row_1M < hidden_B1, row_1M, row_1M + own_B1 - hidden_B1))


def visible_patches(mask_index_BM: Tensor, num_patches: int) -> Tensor:
    """The patches that no mask of (B, M) different ones names, in the order of the grid: (B, P - M) int64."""
    hide_BP = torch.zeros(len(mask_index_BM), num_patches, dtype=torch.uint8, device=mask_index_BM.device)
    hide_BP = hide_BP.scatter(1, mask_index_BM, 1)
    return hide_BP.argsort(dim=1, stable=True)[:, : num_patches - mask_index_BM.shape[1]]


def _mean(values: Tensor, valid: Tensor) -> Tensor:
    """Mean where `valid`; 0, not NaN, where nothing is."""
    return values.masked_fill(~valid, 0).sum() / valid.sum().clamp(min=1)


def discriminative_loss(pred_BMK: Tensor, target_BMK: Tensor, valid_BM: Tensor | None) -> tuple[Tensor, Tensor]:
    """InfoNCE among the masked patches of one clip, and its accuracy (0..1): Gong et al. 2022, equation (1).

    Published: negatives come from the same clip; each target's row is normalised over the predictions, and the loss is
    read along that row, but the accuracy asks which target's row is highest in a prediction's column. Patches that are
    not valid are neither targets nor negatives.
    """
    total_BMM = target_BMK @ pred_BMK.transpose(1, 2)
    own_M = torch.arange(total_BMM.shape[1], device=total_BMM.device)
    if valid_BM is None:
        nce = F.cross_entropy(total_BMM.flatten(0, 1), own_M.repeat(len(total_BMM)))
        right_BM = total_BMM.detach().softmax(dim=2).argmax(dim=1) == own_M
        return nce, right_BM.float().mean()
    pair_BMM = valid_BM.unsqueeze(1) & valid_BM.unsqueeze(2)
    # A finite floor: a row without a valid entry then has a finite loss, which is left out, and no NaN gradient.
    total_BMM = total_BMM.masked_fill(~pair_BMM, torch.finfo(total_BMM.dtype).min)
    likelihood_BM = total_BMM.log_softmax(dim=2).diagonal(dim1=1, dim2=2)
    share_BMM = total_BMM.detach().softmax(dim=2).masked_fill(~pair_BMM, -1)
    right_BM = share_BMM.argmax(dim=1) == own_M
    return -_mean(likelihood_BM, valid_BM), _mean(right_BM.float(), valid_BM)


def guessing(target_BMK: Tensor, valid_BM: Tensor | None) -> Tensor:
    """The accuracy of guessing among a clip's own masked patches: one patch a clip is right."""
    if valid_BM is None:
        return torch.full((), 1 / target_BMK.shape[1], device=target_BMK.device)
    return valid_BM.any(dim=1).sum() / valid_BM.sum().clamp(min=1)


def generative_loss(pred_BMK: Tensor, target_BMK: Tensor, valid_BM: Tensor | None) -> Tensor:
    """Mean squared error over the masked patches: Gong et al. 2022, equation (2)."""
    if valid_BM is None:
        return F.mse_loss(pred_BMK, target_BMK)
    return _mean((pred_BMK - target_BMK).square().mean(dim=-1), valid_BM)
