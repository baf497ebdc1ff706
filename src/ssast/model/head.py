"""Pool the tokens of a state to one vector a clip, and turn such vectors into logits.

Shapes: B batch, P patches, L tokens (prefix + patches), D width.
"""

from collections import OrderedDict
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ssast.errors import UserError
from ssast.model.encoder import check_choice

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU, "tanh": nn.Tanh}


def pool_prefix(tokens_BLD: Tensor, num_prefix: int, valid_BP: Tensor | None = None) -> Tensor:
    """Mean over the prefix tokens: (B, L, D) -> (B, D), float32."""
    return tokens_BLD[:, :num_prefix].mean(dim=1, dtype=torch.float32)


def pool_patches(tokens_BLD: Tensor, num_prefix: int, valid_BP: Tensor | None = None) -> Tensor:
    """Mean over the patch tokens, only valid ones if given: (B, L, D) -> (B, D), float32, 0 where none is valid."""
    patches_BPD = tokens_BLD[:, num_prefix:]
    if valid_BP is None:
        return patches_BPD.mean(dim=1, dtype=torch.float32)
    total_BD = patches_BPD.masked_fill(~valid_BP.unsqueeze(2), 0).sum(dim=1, dtype=torch.float32)
    return total_BD / valid_BP.sum(dim=1, keepdim=True).clamp(min=1)


def pool_columns(tokens_BLD: Tensor, num_prefix: int, rows: int) -> Tensor:
    """Mean over the patches one above the other, for each step of time: (B, L, D) -> (B, steps, D), float32."""
    return tokens_BLD[:, num_prefix:].unflatten(1, (rows, -1)).mean(dim=1, dtype=torch.float32)


POOLINGS = {"ft_cls": pool_prefix, "ft_avgtok": pool_patches}
DENSE, PUBLISHED_HEAD = HEADS = ("dense", "published")
LOSSES: dict[str, tuple[Callable[..., Tensor], Callable[[Tensor], Tensor]]] = {
    "BCE": (F.binary_cross_entropy_with_logits, torch.sigmoid),
    "MSE": (F.mse_loss, torch.Tensor.clone),
}
"""The loss of logits, and what makes scores of them."""


class ClassificationHead(nn.Module):
    """Dense layer, activation, LayerNorm (optional), dropout, output layer: (B, in_features) -> (B, num_labels).

    `hidden` is the dense layer's width (None: `in_features`), `activation` relu, gelu, silu or tanh, `final_dropout`
    a probability 0..1. The `kind` published is that of the published code instead: LayerNorm and output layer, nothing
    else, so the other settings mean nothing to it. UserError: another activation, a dropout outside its range.
    """

    def __init__(
        self,
        in_features: int,
        num_labels: int,
        *,
        hidden: int | None = None,
        activation: str = "relu",
        final_dropout: float = 0.2,
        layernorm: bool = True,
        kind: str = DENSE,
    ):
        super().__init__()
        check_choice("head", kind, HEADS)
        check_choice("activation", activation, ACTIVATIONS)
        if not 0 <= final_dropout <= 1:
            raise UserError(f"final_dropout is {final_dropout}, but it is a probability; give a number from 0 to 1.")
        if num_labels < 1:
            raise UserError(f"num_labels is {num_labels}, but a head needs at least 1 label; give the labels to learn.")
        width = in_features if hidden is None else hidden
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        if kind == PUBLISHED_HEAD:
            width = in_features
        else:
            layers["dense"] = nn.Linear(in_features, width)
            layers["activation"] = ACTIVATIONS[activation]()
        if layernorm or kind == PUBLISHED_HEAD:
            layers["norm"] = nn.LayerNorm(width)
        if kind != PUBLISHED_HEAD:
            layers["dropout"] = nn.Dropout(final_dropout)
        layers["outproj"] = nn.Linear(width, num_labels)
        self.head = nn.Sequential(layers)

    def dense(self, pooled_BD: Tensor) -> Tensor:
        """The first dense layer's output (B, hidden), before activation: the "ft" embedding."""
        return self.head.get_submodule("dense")(pooled_BD)

    def forward(self, pooled_BD: Tensor) -> Tensor:
        """Logits (B, num_labels)."""
        return self.head(pooled_BD)
