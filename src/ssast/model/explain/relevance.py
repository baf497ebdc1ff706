"""Compute how much each patch, or each point of the fbank, contributes to a label.

Nothing here trains or draws from the ambient random state, and gradients of the model's own parameters stay untouched.
Patches with any stride are brought back to the time-frequency plane by `fold`.

Shapes: B clips, T frames, F mel bins, P patches, L tokens (prefix + patches), D width, H heads, N states or blocks,
G labels that are asked for, C cells of the plane.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ssast.model.classification import SSASTForAudioClassification
from ssast.model.encoder import DEPTH, SSASTEncoder, Trace
from ssast.model.pretraining import SSASTForPreTraining

_Model = SSASTForAudioClassification | SSASTForPreTraining
RELEVANCE_STEPS = 8
"""Points on the way from the mean of the data to a clip at which gradients are taken."""


@dataclass(frozen=True)
class Relevance:
    """The logits (B, all labels) of a batch and, for the labels asked for, how much each patch contributed.

    `relevance` and `published` (B, G, P), the same by the rule as published, are at least 0; `input_x_gradient` and
    `integrated_gradients` (B, G, T, F) are signed, above 0 where the input speaks for the label. `attention`
    (B, N, H, P) is that of the pooled tokens to each patch, one row a block that ran, and `rollout` (B, P) its way
    through all of them.
    """

    logits: Tensor
    relevance: Tensor
    published: Tensor
    input_x_gradient: Tensor
    integrated_gradients: Tensor
    attention: Tensor
    rollout: Tensor


def at_own_length(model: _Model, frames_B: Tensor | None) -> Any:
    """The model as it hears clips that are no longer than these, where it keeps padding out; else, and at most, None.

    It shares its weights and is to be asked, not trained.
    """
    if model.rounding is None or frames_B is None:
        return None
    length = model.rounding(int(torch.as_tensor(frames_B).max()))
    if length == model.v.target_length:
        return None
    short = copy.copy(model)
    short._modules = {**model._modules, "v": model.v.shortened(length)}
    return short


def widened(values_XP: Tensor, encoder: SSASTEncoder) -> Tensor:
    """Values of the patches in the first columns (..., P') as those of all patches, with zeros for the others."""
    grid_Xft = values_XP.unflatten(-1, (encoder.grid[0], -1))
    return F.pad(grid_Xft, (0, encoder.grid[1] - grid_Xft.shape[-1])).flatten(-2)


def valid_patches(encoder: SSASTEncoder, frames_B: Tensor) -> Tensor:
    """Which patches hold at least one of each clip's own frames: (B, P)."""
    start_P = torch.arange(encoder.grid[1], device=frames_B.device).repeat(encoder.grid[0]) * encoder.stride[1]
    return start_P < frames_B.reshape(-1, 1)


def pooled_tokens(model: _Model, batch: int, frames: Tensor | None = None) -> Tensor:
    """How much each token counts where the model pools, (B, L) with rows that sum to 1.

    The prefix tokens of ft_cls, all patches of ft_avgtok, those with own frames where the model masks padding. A
    pretraining model pools nothing: here its patches with own frames count alike.
    """
    encoder = model.v
    weight_BL = torch.zeros(batch, encoder.num_prefix + encoder.num_patches, device=encoder.pos_embed.device)
    if isinstance(model, SSASTForAudioClassification) and model.task == "ft_cls":
        weight_BL[:, : encoder.num_prefix] = 1
    else:
        masks = model.mask_padding or isinstance(model, SSASTForPreTraining)
        own = valid_patches(encoder, frames).float() if masks and frames is not None else 1
        weight_BL[:, encoder.num_prefix :] = own
    return weight_BL / weight_BL.sum(dim=1, keepdim=True).clamp(min=1)


def pooled_states(model: _Model) -> dict[int, float]:
    """The number of blocks behind each state that is pooled, with its share; shares sum to 1.

    One state for a model of one layer (13 is state 12 after its LayerNorm), 13 of them for a weighted one, each with
    the size of its learned weight.
    """
    if isinstance(model, SSASTForPreTraining):
        return {DEPTH: 1.0}
    if model.weightsum is None:
        return {min(model.layers[0], DEPTH): 1.0}
    size_N = model.weightsum.detach().abs()
    return dict(enumerate((size_N / size_N.sum().clamp(min=1e-12)).tolist()))


def attention_to_patches(model: _Model, attentions: Sequence[Tensor], frames: Tensor | None = None) -> Tensor:
    """Raw attention of the pooled tokens to each patch, (B, N, H, P); what goes to the prefix is not in it."""
    if not attentions:
        return torch.zeros(1, 0, model.v.heads, model.v.num_patches)
    weight_BL = pooled_tokens(model, len(attentions[0]), frames).to(attentions[0].device)
    rows_BNHL = torch.stack([torch.einsum("bq,bhqk->bhk", weight_BL, each.detach()) for each in attentions], dim=1)
    return rows_BNHL[..., model.v.num_prefix :]


def through_blocks(flows: Sequence[Tensor], starts: Mapping[int, Tensor], *, mixed: bool) -> Tensor:
    """Tokens' weight carried back through the blocks, from the states where it enters to the input: (B, L).

    `flows` holds one (B, L, L) a block. With r for a row of weights, a block makes it r + r A (Chefer et al. 2021,
    equation 6, read from the output on, which needs no product of two matrices), or (r + r A) / 2 where `mixed`
    (Abnar and Zuidema 2020). `starts` gives what enters behind so many blocks.
    """
    row_BL = torch.zeros_like(next(iter(starts.values())))
    for blocks in range(max(starts), -1, -1):
        if blocks in starts:
            row_BL = row_BL + starts[blocks]
        if blocks:
            carried_BL = torch.einsum("bq,bqk->bk", row_BL, flows[blocks - 1])
            row_BL = (row_BL + carried_BL) / 2 if mixed else row_BL + carried_BL
    return row_BL


def rollout(model: _Model, attentions: Sequence[Tensor], frames: Tensor | None = None) -> Tensor:
    """Attention rollout, mean of the heads and half of it the residual, from the pooled tokens to patches: (B, P).

    Source: Abnar and Zuidema 2020, "Quantifying Attention Flow in Transformers", arXiv 2005.00928.
    """
    batch = len(attentions[0]) if attentions else 1
    flows = [each.detach().mean(dim=1) for each in attentions]
    return through_blocks(flows, _starts(model, batch, frames), mixed=True)[:, model.v.num_prefix :]


def _starts(model: _Model, batch: int, frames: Tensor | None) -> dict[int, Tensor]:
    weight_BL = pooled_tokens(model, batch, frames)
    return {blocks: share * weight_BL for blocks, share in pooled_states(model).items()}


def relevance_of_clip(model: _Model, fbank_BTF: Tensor, frames: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """`attention_to_patches` (B, N, H, P) and `rollout` (B, P) of any model, which need no label."""
    if short := at_own_length(model, frames):
        found = relevance_of_clip(short, fbank_BTF[:, : short.v.target_length], frames)
        return widened(found[0], model.v), widened(found[1], model.v)
    masks = frames if model.mask_padding else None
    with torch.no_grad():
        attentions = model.v.trace(fbank_BTF, max(pooled_states(model)), masks).attentions
    return attention_to_patches(model, attentions, frames), rollout(model, attentions, frames)


def explain(
    model: SSASTForAudioClassification,
    fbank_BTF: Tensor,
    labels: Sequence[int],
    frames: Tensor | None = None,
    *,
    steps: int = RELEVANCE_STEPS,
) -> Relevance:
    """Everything that passes forward, and one back for each label, can tell of a normalised fbank (B, T, F).

    Gradient-weighted attention is the rule of Chefer et al. 2021, "Generic Attention-model Explainability", ICCV, arXiv
    2103.15679: a block adds mean over heads of (gradient of the logit x attention, negative parts cut off), carried
    back to the input. `published` is that rule as it stands, started from the pooled tokens, at the states that are
    pooled; `relevance` differs in three points, which docs/attention.md measures:

    - It is the mean of what the rule gives at `steps` points on the way from the mean of the data (a fbank of 0) to the
      clip, as in integrated gradients (Sundararajan et al. 2017, arXiv 1703.01365; of attention: Hao et al. 2021, arXiv
      2004.11207). A model that is sure has next to no gradient left at the clip itself.
    - Each row's gradients lose their mean, weighted by the attention: rows of attention sum to 1, so what is common to
      a row cannot reach the logit, yet would spread relevance evenly.
    - Every row counts alike: its gradient already says how much of it reaches the pooled tokens. Weighted once more by
      their share, rows that hand on what they heard to a class token would count next to nothing.

    What a token has at its start is left out of both, for it says nothing of the label. A model of layer 0 has no
    attention: there the relevance of a patch is what its embedding adds to the logit by gradient x value, negative
    parts cut off. `integrated_gradients` is the fbank times the mean of its gradients on the same way.

    The model should be in evaluation mode; `frames` (B,) matters only to one with `mask_padding`.
    """
    if short := at_own_length(model, frames):
        found = explain(short, fbank_BTF[:, : short.v.target_length], labels, frames, steps=steps)
        patches = ("relevance", "published", "attention", "rollout")
        wide = {name: widened(getattr(found, name), model.v) for name in patches}
        rest = fbank_BTF.shape[1] - short.v.target_length
        planes = ("input_x_gradient", "integrated_gradients")
        return replace(found, **wide, **{name: F.pad(getattr(found, name), (0, 0, 0, rest)) for name in planes})
    here = _local(model, fbank_BTF, labels, frames)
    way = [_local(model, fbank_BTF * ((step + 0.5) / steps), labels, frames) for step in range(steps)]
    attention_BNHP, rollout_BP = relevance_of_clip(model, fbank_BTF, frames)
    return Relevance(
        here.logits,
        torch.stack([each.relevance for each in way]).mean(dim=0),
        here.published,
        fbank_BTF.unsqueeze(1) * here.gradient,
        fbank_BTF.unsqueeze(1) * torch.stack([each.gradient for each in way]).mean(dim=0),
        attention_BNHP.expand(len(fbank_BTF), -1, -1, -1),
        rollout_BP.expand(len(fbank_BTF), -1),
    )


@dataclass(frozen=True)
class _Local:
    """Results of the gradients at one point: logits (B, N), two relevances (B, G, P), gradient (B, G, T, F)."""

    logits: Tensor
    relevance: Tensor
    published: Tensor
    gradient: Tensor


def _local(
    model: SSASTForAudioClassification, fbank_BTF: Tensor, labels: Sequence[int], frames: Tensor | None
) -> _Local:
    with torch.enable_grad():
        fbank_BTF = fbank_BTF.detach().clone().requires_grad_()
        logits_BN, trace = model.trace(fbank_BTF, frames)
        starts = _starts(model, len(fbank_BTF), frames)
        each = [_backward(model, logits_BN[:, label].sum(), fbank_BTF, trace, starts) for label in labels]
    relevance, published, gradient = (torch.stack(parts, dim=1) for parts in zip(*each, strict=True))
    return _Local(logits_BN.detach(), relevance, published, gradient)


def _backward(
    model: SSASTForAudioClassification, logit: Tensor, fbank_BTF: Tensor, trace: Trace, starts: Mapping[int, Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    """Relevance and the published one (B, P), and the fbank's gradient (B, T, F), of a logit summed over the clips."""
    nodes = [fbank_BTF, trace.states[0], *trace.attentions]
    found = torch.autograd.grad(logit, nodes, retain_graph=True, allow_unused=True)
    grads = [torch.zeros_like(node) if grad is None else grad for node, grad in zip(nodes, found, strict=True)]
    prefix = model.v.num_prefix
    if not trace.attentions:
        added_BP = (trace.states[0] * grads[1]).sum(dim=2).clamp(min=0)[:, prefix:].detach()
        return added_BP, added_BP, grads[0]
    pairs = list(zip(trace.attentions, grads[2:], strict=True))
    every = {len(pairs): torch.ones_like(next(iter(starts.values())))}
    relevance_BL = _gained([_flow(*pair, centred=True) for pair in pairs], every)
    published_BL = _gained([_flow(*pair, centred=False) for pair in pairs], starts)
    return relevance_BL[:, prefix:], published_BL[:, prefix:], grads[0]


def _flow(weights_BHLL: Tensor, grad_BHLL: Tensor, *, centred: bool) -> Tensor:
    """What one block passes on, (B, L, L): mean over heads of gradient x attention where it is above 0."""
    if centred:
        grad_BHLL = grad_BHLL - (grad_BHLL * weights_BHLL).sum(dim=-1, keepdim=True)
    return (grad_BHLL * weights_BHLL).clamp(min=0).mean(dim=1).detach()


def _gained(flows: Sequence[Tensor], starts: Mapping[int, Tensor]) -> Tensor:
    """What tokens have after the way back through the blocks, without what they had at their start: (B, L)."""
    return (through_blocks(flows, starts, mixed=False) - torch.stack(list(starts.values())).sum(dim=0)).clamp(min=0)


def fold(values_XP: Tensor, encoder: SSASTEncoder) -> Tensor:
    """Values of patches (..., P) on the plane (..., T, F): each point has the mean of the patches that cover it.

    With strides shorter than a patch several do; points that none covers, past the last whole stride, are 0.
    """
    size = (encoder.num_mel_bins, encoder.target_length)
    shape: Any = {"output_size": size, "kernel_size": encoder.shape, "stride": encoder.stride}
    flat_XKP = values_XP.reshape(-1, 1, encoder.num_patches).expand(-1, encoder.shape[0] * encoder.shape[1], -1)
    count_1FT = F.fold(torch.ones_like(flat_XKP[:1]), **shape)[0]
    plane_XFT = F.fold(flat_XKP, **shape)[:, 0] / count_1FT.clamp(min=1)
    return plane_XFT.transpose(1, 2).reshape(*values_XP.shape[:-1], encoder.target_length, encoder.num_mel_bins)
