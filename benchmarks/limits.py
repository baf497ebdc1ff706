"""What this machine can do at most: its rate of matrix products and of copying; and what a model's step asks for."""

import time
from collections.abc import Callable

import torch

from ssast import SSASTForPreTraining
from ssast.model.encoder import DEPTH, SSASTEncoder

LIKE_OURS = (2048, 768, 3072)
"""A product as large as the encoder's largest."""


def wait_for(device: torch.device | str) -> None:
    """Come back when a GPU has done what it was given."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()


def best_seconds(call: Callable[[], object], rounds: int, device: torch.device | str = "cpu") -> float:
    """The shortest of several times, after one that does not count."""
    found = []
    for _ in range(rounds + 1):
        wait_for(device)
        began = time.perf_counter()
        call()
        wait_for(device)
        found.append(time.perf_counter() - began)
    return min(found[1:])


def matrix_rate(
    dtype: torch.dtype, rounds: int, device: torch.device | str = "cpu", sizes: tuple[int, int, int] = LIKE_OURS
) -> float:
    """Floating-point operations a second of a product of (M, K) and (K, N), given as M, K, N."""
    rows, inner, columns = sizes
    left, right = (torch.randn(size, device=device).to(dtype) for size in ((rows, inner), (inner, columns)))
    return 2 * rows * inner * columns / best_seconds(lambda: left @ right, rounds, device)


def copy_rate(rounds: int, device: torch.device | str = "cpu") -> float:
    """Bytes a second, read and written, of a copy of 512 MB."""
    source = torch.empty(1 << 27, device=device)
    target = torch.empty_like(source)
    return 2 * source.nbytes / best_seconds(lambda: target.copy_(source), rounds, device)


def block_operations(width: int, keys: int, queries: int) -> float:
    """Floating-point operations of a block's products for one clip: all `keys` are looked at, `queries` go on."""
    return 2 * (3 * keys * width * width + 9 * queries * width * width + 2 * queries * keys * width)


def forward_operations(encoder: SSASTEncoder, clips: int) -> float:
    """Floating-point operations of the matrix products of one pass through all blocks."""
    tokens = encoder.num_patches + encoder.num_prefix
    return clips * DEPTH * block_operations(encoder.width, tokens, tokens)


def training_operations(encoder: SSASTEncoder, clips: int) -> float:
    """Those of a training step: forward, and twice as much back."""
    return 3 * forward_operations(encoder, clips)


def pretraining_operations(model: SSASTForPreTraining, clips: int) -> float:
    """Those of a pretraining step: its first blocks see visible patches only, of its last the hidden ones are read."""
    whole = model.v.num_patches + model.v.num_prefix
    visible, width = whole - model.mask_patch, model.v.width
    early = model.mask_layer * block_operations(width, visible, visible)
    late = (DEPTH - 1 - model.mask_layer) * block_operations(width, whole, whole)
    return 3 * clips * (early + late + block_operations(width, whole, model.mask_patch))
