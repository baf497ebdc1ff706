"""Pool the tokens of a state to one vector a clip, and turn such vectors into logits.

Shapes: B batch, P patches, L tokens (prefix + patches), D width.
"""

from collections import OrderedDict

import torch
from torch import Tensor, nn

from ssast.errors import UserError
from ssast.model.encoder import check_choice
from ssast.model.label_kinds import LABEL_KINDS, MIXED, SCALE, LabelKinds
from ssast.model.label_losses import SharedCuts

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
LOSSES = (*LABEL_KINDS, MIXED)


class ClassificationHead(nn.Module):
    """Dense layer, activation, LayerNorm (optional), dropout, output layer: (B, in_features) -> (B, num_labels).

    `hidden` is the dense layer's width (None: `in_features`), `activation` relu, gelu, silu or tanh, `final_dropout`
    a probability 0..1. The `kind` published is that of the published code instead: LayerNorm and output layer, nothing
    else, so the other settings mean nothing to it. With scales among the `kinds` of the labels there are the outputs
    of those (B, W) instead, a scale's from one row of the output layer. UserError: another activation, a dropout
    outside its range.
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
        kinds: LabelKinds | None = None,
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
        has_scales = kinds is not None and any(label.kind == SCALE for label in kinds.labels)
        self.cuts = SharedCuts(kinds) if kinds is not None and has_scales else None
        outputs = num_labels if kinds is None else kinds.width
        layers["outproj"] = nn.Linear(width, outputs if self.cuts is None else self.cuts.in_features)
        self.head = nn.Sequential(layers)

    def dense(self, pooled_BD: Tensor) -> Tensor:
        """The first dense layer's output (B, hidden), before activation: the "ft" embedding."""
        return self.head.get_submodule("dense")(pooled_BD)

    def forward(self, pooled_BD: Tensor) -> Tensor:
        """Logits, one for each output of the labels: (B, num_labels), or more where a label has several."""
        answers_BO = self.head(pooled_BD)
        return answers_BO if self.cuts is None else self.cuts(answers_BO)
