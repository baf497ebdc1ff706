"""What this machine can do at most: its rate of matrix products and of copying; and what a model's step asks for."""

import time
from collections.abc import Callable

import torch

from ssast.model.encoder import DEPTH, SSASTEncoder


def best_seconds(call: Callable[[], object], rounds: int) -> float:
    """The shortest of several times, after one that does not count."""
    found = []
    for _ in range(rounds + 1):
        began = time.perf_counter()
        call()
        found.append(time.perf_counter() - began)
    return min(found[1:])


def matrix_rate(dtype: torch.dtype, rounds: int) -> float:
    """Floating-point operations a second of a product as large as the encoder's largest (2048 x 768 x 3072)."""
    left, right = torch.randn(2048, 768).to(dtype), torch.randn(768, 3072).to(dtype)
    return 2 * 2048 * 768 * 3072 / best_seconds(lambda: left @ right, rounds)


def copy_rate(rounds: int) -> float:
    """Bytes a second, read and written, of a copy of 512 MB."""
    source = torch.empty(1 << 27)
    target = torch.empty_like(source)
    return 2 * source.nbytes / best_seconds(lambda: target.copy_(source), rounds)


def forward_operations(encoder: SSASTEncoder, clips: int) -> float:
    """Floating-point operations of the matrix products of one pass through all blocks."""
    tokens, width = encoder.num_patches + encoder.num_prefix, encoder.width
    weights = 12 * width * width  # qkv 3, projection 1, feed-forward 8
    attention = 2 * tokens * width  # scores and their sum over the values
    return 2 * clips * tokens * DEPTH * (weights + attention)


def training_operations(encoder: SSASTEncoder, clips: int) -> float:
    """Those of a training step: forward, and twice as much back."""
    return 3 * forward_operations(encoder, clips)
