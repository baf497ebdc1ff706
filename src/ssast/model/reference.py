"""Compute what the code that wrote a published or older file computes from its tensors and a spectrogram.

The formulas stand here a second time, plainly and on purpose: `ssast convert` compares the models of this package with
them. Shapes: B batch, T frames, F mel bins, P patches, K values a patch, M masked patches, L tokens, D width, H heads.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

Tensors = Mapping[str, Tensor]
ENCODER_EPS, HEAD_EPS = 1e-6, 1e-5
BLOCKS = 12
_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "gelu": F.gelu,
    "silu": F.silu,
    "tanh": torch.tanh,
}


def reference_states(
    tensors: Tensors, fbank_BTF: Tensor, *, heads: int, stride: tuple[int, int], masked_M: Tensor | None = None
) -> list[Tensor]:
    """The 14 states (B, L, D): embedded input, 12 block outputs, the last of them normalised.

    `masked_M` are patches whose embedding is replaced by the mask's, as in pretraining.
    """
    proj = (tensors["v.patch_embed.proj.weight"], tensors["v.patch_embed.proj.bias"])
    image_B1FT = fbank_BTF.transpose(1, 2).unsqueeze(1)
    embedded_BPD = F.conv2d(image_B1FT, *proj, stride=stride).flatten(2).transpose(1, 2)
    if masked_M is not None:
        embedded_BPD = embedded_BPD.clone()
        embedded_BPD[:, masked_M] = tensors["mask_embed"][0]
    prefix = [tensors[name].expand(len(fbank_BTF), -1, -1) for name in PREFIX if name in tensors]
    found = [torch.cat([*prefix, embedded_BPD], dim=1) + tensors["v.pos_embed"]]
    for index in range(BLOCKS):
        found.append(_block(tensors, f"v.blocks.{index}.", found[-1], heads))
    return [*found, _norm(tensors, "v.norm", found[-1], ENCODER_EPS)]


PREFIX = ("v.cls_token", "v.dist_token")


def _block(tensors: Tensors, name: str, x_BLD: Tensor, heads: int) -> Tensor:
    batch, length, width = x_BLD.shape
    qkv = _linear(tensors, f"{name}attn.qkv", _norm(tensors, f"{name}norm1", x_BLD, ENCODER_EPS))
    query, key, value = qkv.reshape(batch, length, 3, heads, width // heads).permute(2, 0, 3, 1, 4)
    weights_BHLL = (query @ key.transpose(-2, -1) * (width // heads) ** -0.5).softmax(dim=-1)
    seen_BLD = (weights_BHLL @ value).transpose(1, 2).reshape(batch, length, width)
    x_BLD = x_BLD + _linear(tensors, f"{name}attn.proj", seen_BLD)
    inner = F.gelu(_linear(tensors, f"{name}mlp.fc1", _norm(tensors, f"{name}norm2", x_BLD, ENCODER_EPS)))
    return x_BLD + _linear(tensors, f"{name}mlp.fc2", inner)


def _linear(tensors: Tensors, name: str, x: Tensor) -> Tensor:
    return F.linear(x, tensors[f"{name}.weight"], tensors[f"{name}.bias"])


def _norm(tensors: Tensors, name: str, x: Tensor, eps: float) -> Tensor:
    weight = tensors[f"{name}.weight"]
    return F.layer_norm(x, weight.shape, weight, tensors[f"{name}.bias"], eps)


def logits(
    tensors: Tensors, states: Sequence[Tensor], *, task: str, layer: int, weighted: bool, activation: str
) -> Tensor:
    """Logits (B, labels) of a fine-tuned file's head, whichever of the two kinds it has."""
    prefix = sum(name in tensors for name in PREFIX)
    pooled = [(x[:, :prefix] if task == "ft_cls" else x[:, prefix:]).mean(dim=1) for x in states]
    x_BD = torch.einsum("n,nbd->bd", tensors["weightsum"], torch.stack(pooled[:13])) if weighted else pooled[layer]
    if "mlp_head.1.weight" in tensors:
        return _linear(tensors, "mlp_head.1", _norm(tensors, "mlp_head.0", x_BD, HEAD_EPS))
    x_BD = _ACTIVATIONS[activation](_linear(tensors, "mlp_head.head.dense", x_BD))
    if "mlp_head.head.norm.weight" in tensors:
        x_BD = _norm(tensors, "mlp_head.head.norm", x_BD, HEAD_EPS)
    return _linear(tensors, "mlp_head.head.outproj", x_BD)


def pretext_losses(
    tensors: Tensors, fbank_BTF: Tensor, masked_M: Tensor, *, heads: int, shape: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """(discriminative, generative) loss of the same masked patches in every clip."""
    found = reference_states(tensors, fbank_BTF, heads=heads, stride=shape, masked_M=masked_M)[-1]
    prefix = sum(name in tensors for name in PREFIX)
    hidden_BMD = found[:, prefix + masked_M]
    target_BMK = F.unfold(fbank_BTF.transpose(1, 2).unsqueeze(1), shape, stride=shape).transpose(1, 2)[:, masked_M]
    guessed, drawn = (_two_layers(tensors, name, hidden_BMD) for name in ("cpredlayer", "gpredlayer"))
    fits_BMM = target_BMK @ guessed.transpose(1, 2)
    nce = -fits_BMM.log_softmax(dim=-1).diagonal(dim1=1, dim2=2).mean()
    return nce, (drawn - target_BMK).square().mean()


def _two_layers(tensors: Tensors, name: str, x: Tensor) -> Tensor:
    return _linear(tensors, f"{name}.2", F.relu(_linear(tensors, f"{name}.0", x)))
