"""Define the blocks of the transformer; each returns its attention too where that is asked for.

Shapes: B batch, P patches, K values a patch, L tokens, D width, H heads, d width of a head.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

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
