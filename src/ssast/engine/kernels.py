"""Choose what a GPU computes with: attention kernels that are right, and compiled blocks where they pay.

Shapes: B batch, H heads, L tokens, d width of a head.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from ssast.engine.hardware import Engine, native_bf16

LONG_RUN = 10_000
"""Steps from which compiled blocks save more than their compilation takes: a minute or two for a fifth of a step."""
_LENGTH, _WIDTH = 192, 64
"""A number of tokens at which cuDNN's kernel fails (any that leaves 64 of 128 over), and the width of our heads."""
_TOLERANCE = 0.05
"""Of the norm of the gradients; bf16 stays below 0.01."""
_LOW = -120.0
"""All scores so low made cuDNN's gradients NaN: pytorch/pytorch#196678, in torch 2.11 to 2.13."""
_KERNELS = {
    "cuDNN": torch.backends.cuda.enable_cudnn_sdp,
    "flash": torch.backends.cuda.enable_flash_sdp,
    "memory-efficient": torch.backends.cuda.enable_mem_efficient_sdp,
}


def mend_attention(device: torch.device) -> str:
    """Switch off those of torch's attention kernels that give wrong gradients here; a sentence about it, or nothing."""
    off = []
    for name, switch in _KERNELS.items():
        if attention_is_right(device):
            break
        switch(False)
        off.append(name)
    if not off:
        return ""
    return (
        f"torch's {' and '.join(off)} attention gives wrong gradients on this GPU, so other kernels are used; "
        "another version of torch may be faster"
    )


def attention_is_right(device: torch.device) -> bool:
    """Whether torch's fused attention has the gradients of attention written out, with a padding mask and without."""
    generator = torch.Generator().manual_seed(0)
    like = (3, 2, 2, _LENGTH, _WIDTH)
    drawn = torch.randn(like, generator=generator).to(device, torch.bfloat16 if native_bf16(device) else torch.float32)
    mask = (torch.arange(_LENGTH, device=device) < _LENGTH - 3).expand(2, 1, 1, -1)
    low = 0.1 * drawn
    low[0, ..., 0], low[1, ..., 0] = 1.0, _LOW * math.sqrt(_WIDTH)
    if not all(gradient.isfinite().all() for gradient in _gradients(low, mask, written_out=False)):
        return False
    for given in (None, mask):
        ours, wanted = (torch.stack(_gradients(drawn, given, written_out=way)) for way in (False, True))
        if not (ours - wanted).norm() <= _TOLERANCE * wanted.norm():
            return False
    return True


def _gradients(drawn: Tensor, mask: Tensor | None, *, written_out: bool) -> list[Tensor]:
    """The gradients (float32) of queries, keys and values; the one of the output is the values themselves."""
    leaves = [one.float() if written_out else one for one in drawn.detach().clone()]
    query, key, value = (one.requires_grad_() for one in leaves)
    if written_out:
        scores_BHLL = query @ key.transpose(-2, -1) / math.sqrt(_WIDTH)
        scores_BHLL = scores_BHLL if mask is None else scores_BHLL.masked_fill(~mask, -math.inf)
        out = scores_BHLL.softmax(dim=-1) @ value
    else:
        out = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    return [one.float() for one in torch.autograd.grad(out, [query, key, value], value.detach())]


def pays_to_compile(wish: bool | str, engine: Engine, steps: int) -> bool:
    """Whether blocks are compiled: as wished, or for `auto` on a GPU where it works, in a run of LONG_RUN steps."""
    if isinstance(wish, bool):
        return wish
    return engine.device.type == "cuda" and steps >= LONG_RUN and compiler_works(engine.device)


def compiler_works(device: torch.device) -> bool:
    """Whether torch.compile makes a kernel for this device: that takes Triton and a C compiler, and seconds."""
    try:
        doubled = torch.compile(lambda values: 2 * values)(torch.ones(8, device=device))
    except Exception:  # torch has a kind of error for each part that can be missing
        return False
    return bool((doubled == 2).all())
