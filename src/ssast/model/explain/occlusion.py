"""Measure how logits change when parts of a fbank are taken away; every map is tested against this.

Taking away means setting to 0, the mean of a normalised fbank. The plane is cut into cells of the patch shape, side by
side whatever the stride, so that maps of different methods are judged by the same pieces.

Shapes: T frames, F mel bins, C cells, K sets of cells to take away, M maps, S shares, R random sets, N labels.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ssast.model.classification import SSASTForAudioClassification
from ssast.model.encoder import SSASTEncoder
from ssast.model.explain.relevance import valid_patches
from ssast.model.pretraining import SSASTForPreTraining, take

SHARES = (0.1, 0.2, 0.3)
RANDOM_SETS = 5
MOST_BLOCKS = 64
MOST_ROWS = 4
_AT_ONCE = 16


@dataclass(frozen=True)
class Faithfulness:
    """Drops of the logits when cells are taken away: `top` (M, S, N) by a map's order, `random` (R, S, N) by chance.

    A map is faithful to a label as far as `top` is above the mean of `random` there.
    """

    top: Tensor
    random: Tensor
    shares: tuple[float, ...]


@dataclass(frozen=True)
class HiddenPatches:
    """A clip with hidden patches: `hidden` and `drawn` (T, F), the hidden ones 0 or as the model draws them.

    `mask_index` (M,) names the clip's own hidden patches, not those of padding, and `right` (M,) says which of them the
    model told from the others. `drawn` or `right` is None where the model was not trained to draw, or to tell apart.
    """

    hidden: Tensor
    drawn: Tensor | None
    right: Tensor | None
    mask_index: Tensor


def cells(encoder: SSASTEncoder, size: tuple[int, int] | None = None) -> Tensor:
    """The number (T, F) int64 of each point's cell, frequency-major; `size` is (mel bins, frames), the patch shape."""
    height, width = size or encoder.shape
    columns = -(-encoder.target_length // width)
    time_T = torch.arange(encoder.target_length) // width
    return time_T[:, None] + torch.arange(encoder.num_mel_bins) // height * columns


def own_cells(cells_TF: Tensor, frames: int) -> Tensor:
    """The numbers of the cells that begin before a clip's own frames end."""
    return cells_TF[:frames].unique()


@torch.no_grad()
def logits_without(
    model: SSASTForAudioClassification,
    fbank_TF: Tensor,
    gone_KC: Tensor,
    cells_TF: Tensor,
    frames: int,
) -> Tensor:
    """The logits (K, N) of the clip without each of these sets of cells (True: taken away)."""
    length = len(fbank_TF) if model.rounding is None else model.rounding(frames)
    fbank_TF, cells_TF = fbank_TF[:length], cells_TF[:length].to(fbank_TF.device)
    parts = []
    for gone_kC in gone_KC.to(fbank_TF.device).split(_AT_ONCE):
        batch_kTF = fbank_TF.masked_fill(gone_kC[:, cells_TF], 0)
        parts.append(model(batch_kTF, torch.full((len(batch_kTF),), frames, device=fbank_TF.device)).float())
    return torch.cat(parts)


def occlusion_size(encoder: SSASTEncoder, frames: int) -> tuple[int, int]:
    """(mel bins, frames) of the blocks that are covered one by one: whole patches, at most 64 blocks a clip."""
    (height, width), (rows, _) = encoder.shape, encoder.grid
    per_row = -(-encoder.num_mel_bins // min(rows, MOST_ROWS))
    tall = encoder.num_mel_bins if rows == 1 else -(-per_row // height) * height
    columns = MOST_BLOCKS // -(-encoder.num_mel_bins // tall)
    return tall, -(-max(frames, 1) // (columns * width)) * width


def occlusion(
    model: SSASTForAudioClassification, fbank_TF: Tensor, frames: int, size: tuple[int, int] | None = None
) -> Tensor:
    """How much each logit falls when a block is covered, on the plane: (N, T, F); 0 in the padding.

    One block after the other of `size` (mel bins, frames; None: `occlusion_size`), each its own pass through the model.
    Source: Zeiler and Fergus 2014, arXiv 1311.2901.
    """
    cells_TF = cells(model.v, size or occlusion_size(model.v, frames))
    own_C = own_cells(cells_TF, frames)
    gone_KC = torch.zeros(len(own_C) + 1, int(cells_TF.max()) + 1, dtype=torch.bool)
    gone_KC[torch.arange(len(own_C)) + 1, own_C] = True  # the first set is empty: the clip as it is
    logits_KN = logits_without(model, fbank_TF, gone_KC, cells_TF, frames).cpu()
    drop_CN = torch.zeros(gone_KC.shape[1], logits_KN.shape[1])
    drop_CN[own_C] = logits_KN[0] - logits_KN[1:]
    plane_TFN = drop_CN[cells_TF]
    plane_TFN[frames:] = 0
    return plane_TFN.permute(2, 0, 1)


def top_cells(map_TF: Tensor, cells_TF: Tensor, own_C: Tensor, share: float) -> Tensor:
    """The numbers of the `share` of a clip's own cells where the map's mean is highest, at least one."""
    count = int(cells_TF.max()) + 1
    index_X = cells_TF.flatten()
    total_C = torch.zeros(count).index_add(0, index_X, map_TF.flatten().float())
    mean_C = total_C / torch.bincount(index_X, minlength=count)
    return own_C[mean_C[own_C].topk(_how_many(own_C, share)).indices]


def _how_many(own_C: Tensor, share: float) -> int:
    return max(1, round(share * len(own_C)))


def faithfulness(
    model: SSASTForAudioClassification,
    fbank_TF: Tensor,
    maps_MTF: Tensor,
    frames: int,
    *,
    generator: torch.Generator,
    shares: Sequence[float] = SHARES,
) -> Faithfulness:
    """Take away the top share of a clip's own cells by each map, and as many drawn at random from `generator`.

    `frames` counts the clip's own frames; padding is never taken away.
    """
    cells_TF = cells(model.v)
    own_C, maps_MTF = own_cells(cells_TF, frames), maps_MTF.cpu()
    chosen = [top_cells(map_TF, cells_TF, own_C, share) for map_TF in maps_MTF for share in shares]
    for _ in range(RANDOM_SETS):
        order = own_C[torch.randperm(len(own_C), generator=generator)]
        chosen += [order[: _how_many(own_C, share)] for share in shares]
    gone_KC = torch.zeros(len(chosen) + 1, int(cells_TF.max()) + 1, dtype=torch.bool)
    for row, numbers in enumerate(chosen):
        gone_KC[row + 1, numbers] = True
    logits_KN = logits_without(model, fbank_TF, gone_KC, cells_TF, frames).cpu()
    drop_XSN = (logits_KN[0] - logits_KN[1:]).unflatten(0, (-1, len(shares)))
    return Faithfulness(drop_XSN[: len(maps_MTF)], drop_XSN[len(maps_MTF) :], tuple(shares))


@torch.no_grad()
def guesses(model: SSASTForPreTraining, fbank_TF: Tensor, mask_index_M: Tensor, frames: int) -> HiddenPatches:
    """Hide these patches of a normalised fbank (T, F) and let a pretraining model guess them.

    As in pretraining: a patch counts as told apart where, among the hidden patches of the clip, its own is the most
    likely for the prediction (`discriminative_loss`). Hidden padding is neither told apart nor among what it is told
    from, also where the model hears padding.
    """
    mask_1M = mask_index_M.reshape(1, -1).to(fbank_TF.device)
    own = torch.full((1,), frames, device=fbank_TF.device) if model.mask_padding else None
    fbank_1TF, valid_1P = model.v.hide_padding(fbank_TF.unsqueeze(0), own)
    patches_1PK = model.v.patches(fbank_1TF)
    hidden_1MD = model.hidden_states(patches_1PK, mask_1M, valid_1P)
    own_M = valid_patches(model.v, torch.tensor([frames], device=mask_1M.device))[0, mask_1M[0]]
    mask_1M, hidden_1MD = mask_1M[:, own_M], hidden_1MD[:, own_M]
    target_1MK = take(patches_1PK, mask_1M)
    drawn = right = None
    if model.objective != "pretrain_mpc":
        drawn = _with_patches(model.v, patches_1PK, mask_1M, model.gpredlayer(hidden_1MD).to(patches_1PK.dtype))
    if model.objective != "pretrain_mpg":
        likely_1MM = (target_1MK @ model.cpredlayer(hidden_1MD).float().transpose(1, 2)).softmax(dim=2)
        right = likely_1MM.argmax(dim=1)[0].cpu() == torch.arange(mask_1M.shape[1])
    hidden = _with_patches(model.v, patches_1PK, mask_1M, torch.zeros_like(target_1MK))
    return HiddenPatches(hidden, drawn, right, mask_1M[0].cpu())


def _with_patches(encoder: SSASTEncoder, patches_1PK: Tensor, mask_1M: Tensor, values_1MK: Tensor) -> Tensor:
    """The plane (T, F) of patches that lie side by side, some of them replaced."""
    index_1MK = mask_1M.unsqueeze(2).expand_as(values_1MK)
    patches_1PK = patches_1PK.clone().scatter(1, index_1MK, values_1MK)
    size = (encoder.num_mel_bins, encoder.target_length)
    plane = F.fold(patches_1PK.transpose(1, 2), size, kernel_size=encoder.shape, stride=encoder.stride)
    return plane[0, 0].T.cpu()
