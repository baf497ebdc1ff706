"""Measure how well hidden patches were found among each other, and how well they were rebuilt.

Shapes: B batch, M masked patches, K values a patch.
"""

import torch
from torch import Tensor
from torch.nn import functional as F


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
