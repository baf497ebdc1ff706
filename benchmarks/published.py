"""A pretraining model in, one training step done the published way out: the reference that ours is timed against.

The published way: float32, attention written out, one encoder pass for each of the two objectives with masks of their
own, masks drawn and losses gathered clip by clip in Python.
"""

import random
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from ssast import SSASTForPreTraining


def draw_mask(patches: int, count: int) -> Tensor:
    """One clip's masked patches, drawn one after the other."""
    return torch.tensor(random.sample(range(patches), count))


def block_output(block: torch.nn.Module, tokens_BLD: Tensor) -> Tensor:
    """A transformer block with its attention written out."""
    attention = block.attn
    batch, length, width = tokens_BLD.shape
    qkv = attention.qkv(block.norm1(tokens_BLD)).view(batch, length, 3, attention.heads, -1).permute(2, 0, 3, 1, 4)
    query, key, value = qkv.unbind(0)
    weights = (query @ key.transpose(-2, -1) * (width // attention.heads) ** -0.5).softmax(dim=-1)
    tokens_BLD = tokens_BLD + attention.proj((weights @ value).transpose(1, 2).reshape(batch, length, width))
    return tokens_BLD + block.mlp(block.norm2(tokens_BLD))


def encode_hidden(model: SSASTForPreTraining, patches_BPK: Tensor, masks_BM: list[Tensor]) -> Tensor:
    """The encoder's output (B, L, D) with the masked patches replaced, clip by clip."""
    embedded_BPD = model.v.embed(patches_BPK)
    keep_BP1 = torch.ones(*embedded_BPD.shape[:2], 1, device=embedded_BPD.device)
    for clip, mask_M in enumerate(masks_BM):
        keep_BP1[clip, mask_M] = 0.0
    embedded_BPD = embedded_BPD * keep_BP1 + (1 - keep_BP1) * model.mask_embed
    tokens_BLD = model.v.tokens(embedded_BPD)
    for block in model.v.blocks:
        tokens_BLD = block_output(block, tokens_BLD)
    return model.v.norm(tokens_BLD)


def objective(model: SSASTForPreTraining, patches_BPK: Tensor, mask_patch: int, generative: bool) -> Tensor:
    """One of the two losses, in an encoder pass of its own."""
    masks = [draw_mask(model.v.num_patches, mask_patch).to(patches_BPK.device) for _ in patches_BPK]
    hidden_BLD = encode_hidden(model, patches_BPK, masks)
    head = model.gpredlayer if generative else model.cpredlayer
    total = torch.zeros((), device=patches_BPK.device)
    for clip, mask_M in enumerate(masks):
        pred_MK = head(hidden_BLD[clip, mask_M + model.v.num_prefix])
        target_MK = patches_BPK[clip, mask_M]
        if generative:
            total = total + F.mse_loss(pred_MK, target_MK)
        else:
            total = total - F.log_softmax(target_MK @ pred_MK.T, dim=-1).diagonal().mean()
    return total / len(patches_BPK)


def published_step(model: SSASTForPreTraining, optimizer: torch.optim.Optimizer, fbank_BTF: Tensor, mask: int) -> None:
    """One joint training step, the published way."""
    patches_BPK = model.v.patches(fbank_BTF)
    loss = objective(model, patches_BPK, mask, False) + 10 * objective(model, patches_BPK, mask, True)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def our_step(
    model: SSASTForPreTraining,
    optimizer: torch.optim.Optimizer,
    fbank_BTF: Tensor,
    mask: int,
    bf16: bool,
    another_loss: Callable[[SSASTForPreTraining, Tensor], Tensor] | None = None,
) -> None:
    """One joint training step as `ssast pretrain` takes it, or by another loss."""
    with torch.autocast(fbank_BTF.device.type, torch.bfloat16, enabled=bf16):
        loss = another_loss(model, fbank_BTF) if another_loss else model.loss({"fbank": fbank_BTF})["loss"]
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
