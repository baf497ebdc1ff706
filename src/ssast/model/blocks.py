"""Lay patches on a grid of frequency and time, and define the blocks of the transformer that they go through.

A block returns its attention too where that is asked for.
Shapes: B batch, P patches, K values a patch, L tokens (prefix + patches), D width, H heads, d width of a head.
"""

import math

import torch
from torch import Tensor, nn
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


EPS = 1e-6


def _scores(query_BHLd: Tensor, key_BHLd: Tensor, mask: Tensor | None) -> Tensor:
    """How much each token asks for each (B, H, L, L); `mask` is True where a token may be looked at."""
    scores = (query_BHLd / math.sqrt(query_BHLd.shape[-1])) @ key_BHLd.transpose(-2, -1)
    return scores if mask is None else scores.masked_fill(~mask, -torch.inf)


def _attend(query_BHLd: Tensor, key_BHLd: Tensor, value_BHLd: Tensor, mask: Tensor | None) -> Tensor:
    """Attended values (B, H, L, d), without the weights."""
    if query_BHLd.device.type == "cpu" and query_BHLd.dtype == torch.bfloat16:
        # Plain bf16 matrix products beat torch's fused attention here, and a bf16 softmax, which sums in float32 too,
        # beats one that writes float32 and is cast back.
        return _scores(query_BHLd, key_BHLd, mask).softmax(dim=-1) @ value_BHLd
    return F.scaled_dot_product_attention(query_BHLd, key_BHLd, value_BHLd, attn_mask=mask)


class Linear(nn.Linear):
    """As torch's, but without first weights on the meta device: a file's follow, and drawing none there is slow."""

    def reset_parameters(self) -> None:
        """Draw first weights, where there is memory for them."""
        if not self.weight.is_meta:
            super().reset_parameters()


class LayerNorm(nn.LayerNorm):
    """As torch's, but without first values on the meta device."""

    def reset_parameters(self) -> None:
        """Set first values, where there is memory for them."""
        if not self.weight.is_meta:
            super().reset_parameters()


class Attention(nn.Module):
    """Multi-head self-attention, `qkv` fused; `mask` (B, 1, 1, L) is True where a token may be looked at."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.qkv = Linear(width, 3 * width)
        self.proj = Linear(width, width)

    def _split(self, tokens_BLD: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        batch, length, width = tokens_BLD.shape
        qkv = self.qkv(tokens_BLD).view(batch, length, 3, self.heads, width // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        return query, key, value

    def _join(self, values_BHLd: Tensor) -> Tensor:
        return self.proj(values_BHLd.transpose(1, 2).flatten(2))

    def forward(self, tokens_BLD: Tensor, mask: Tensor | None, last: int | None = None) -> Tensor:
        """Attended tokens (B, L, D), by the fastest way; of the `last` tokens only where a number is given."""
        query, key, value = self._split(tokens_BLD)
        return self._join(_attend(query if last is None else query[:, :, -last:], key, value, mask))

    def trace(self, tokens_BLD: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Attended tokens and the weights (B, H, L, L), float32, which are a node of the tokens' graph."""
        query, key, value = self._split(tokens_BLD)
        weights_BHLL = _scores(query, key, mask).softmax(dim=-1, dtype=torch.float32)
        return self._join(weights_BHLL.to(value.dtype) @ value), weights_BHLL


class _Mlp(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.fc1 = Linear(width, 4 * width)
        self.fc2 = Linear(4 * width, width)

    def forward(self, tokens_BLD: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(tokens_BLD)))


class Block(nn.Module):
    """Pre-norm transformer block: tokens (B, L, D) -> (B, L, D)."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.norm1 = LayerNorm(width, eps=EPS)
        self.attn = Attention(width, heads)
        self.norm2 = LayerNorm(width, eps=EPS)
        self.mlp = _Mlp(width)

    def forward(self, tokens_BLD: Tensor, mask: Tensor | None, last: int | None = None) -> Tensor:
        """The block's output (B, L, D); with `last` that of so many tokens at the end, the only ones computed."""
        attended_BLD = self.attn(self.norm1(tokens_BLD), mask, last)
        tokens_BLD = (tokens_BLD if last is None else tokens_BLD[:, -last:]) + attended_BLD
        return tokens_BLD + self.mlp(self.norm2(tokens_BLD))

    def trace(self, tokens_BLD: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """The block's output and its attention weights (B, H, L, L)."""
        attended_BLD, weights_BHLL = self.attn.trace(self.norm1(tokens_BLD), mask)
        tokens_BLD = tokens_BLD + attended_BLD
        return tokens_BLD + self.mlp(self.norm2(tokens_BLD)), weights_BHLL


class PatchEmbed(nn.Module):
    """The published convolution's weights, applied as a product to patches that are already cut out."""

    def __init__(self, width: int, shape: tuple[int, int], stride: tuple[int, int]):
        super().__init__()
        self.proj = nn.Conv2d(1, width, kernel_size=shape, stride=stride)

    def forward(self, patches_BPK: Tensor) -> Tensor:
        """Embedded patches: (B, P, K) -> (B, P, D)."""
        weight_DK = self.proj.weight.flatten(1)
        return F.linear(patches_BPK.to(weight_DK.dtype), weight_DK, self.proj.bias)
