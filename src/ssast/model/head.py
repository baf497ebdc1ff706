"""Pool the tokens of a state to one vector a clip, turn such vectors into logits, and give their loss and scores.

Labels are of one kind or of several. Shapes: B batch, T frames, F mel bins, P patches, L tokens (prefix + patches),
D width, N states, J labels, W outputs, O rows of the output layer, C cuts.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypedDict

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ssast.errors import UserError
from ssast.model.encoder import check_choice
from ssast.model.label_kinds import CHOICE, LABEL_KINDS, MIXED, NUMBER, SCALE, YES_NO, LabelKind, LabelKinds


class ModelInput(TypedDict, total=False):
    """Prepared clips; the fbank, or in its place what `pooled_states` gave of it."""

    fbank: Tensor
    """(B, T, F), normalised."""
    frames: Tensor
    """(B,) each clip's own frames of the fbank."""
    targets: Tensor
    """(B, W), NaN where a label is not known."""
    pooled: Tensor
    """(B, N, D) pooled states of the base."""


Losses = Callable[..., tuple[Tensor, Tensor]]
"""Of logits and targets (B, W) and what is known of them, the loss of each label (B, J) and what is known of those."""
_LEAST_STEP = 1e-3


def loss_of(kinds: LabelKinds) -> Losses:
    """The loss of labels of these kinds, each counted by its weight."""
    return partial(_alike, _CRITERIA[kinds.loss]) if kinds.is_plain else partial(_each, kinds)


def scores_of(kinds: LabelKinds) -> Callable[[Tensor], Tensor]:
    """What makes scores (B, W) of logits: probabilities, of at least each level of a scale, or values."""
    return partial(_score_each, kinds) if kinds.loss in (CHOICE, MIXED) else _SCORES[kinds.loss]


def _score_each(kinds: LabelKinds, logits_BW: Tensor) -> Tensor:
    pairs = zip(kinds.labels, kinds.slices, strict=True)
    return torch.cat([_SCORES[label.kind](logits_BW[:, own]) for label, own in pairs], dim=1)


_CRITERIA: dict[str, Callable[..., Tensor]] = {YES_NO: F.binary_cross_entropy_with_logits, NUMBER: F.mse_loss}
_SCORES: dict[str, Callable[[Tensor], Tensor]] = {
    YES_NO: torch.sigmoid,
    NUMBER: torch.Tensor.clone,
    SCALE: torch.sigmoid,
    CHOICE: partial(torch.softmax, dim=1),
}


def _alike(
    criterion: Callable[..., Tensor], logits_BW: Tensor, targets_BW: Tensor, known_BW: Tensor, **how: Tensor
) -> tuple[Tensor, Tensor]:
    """Losses of labels that one criterion serves at once."""
    return criterion(logits_BW, targets_BW, reduction="none", **how), known_BW


def _each(
    kinds: LabelKinds, logits_BW: Tensor, targets_BW: Tensor, known_BW: Tensor, **how: Tensor
) -> tuple[Tensor, Tensor]:
    """Losses of labels of several kinds or weights, one after the other."""
    each = []
    for at, (label, own) in enumerate(zip(kinds.labels, kinds.slices, strict=True)):
        more = {name: value[at] for name, value in how.items()}
        each.append(label.weight * _loss(label, logits_BW[:, own], targets_BW[:, own], more))
    return torch.stack(each, dim=1), known_BW[:, [own.start for own in kinds.slices]]


def _loss(label: LabelKind, logits_Bw: Tensor, targets_Bw: Tensor, how: Mapping[str, Any]) -> Tensor:
    """Binary cross entropy (B,), of a scale its mean over the cuts (CORAL), squared error, or cross entropy."""
    if label.kind == CHOICE:
        return -(targets_Bw * logits_Bw.log_softmax(dim=1)).sum(dim=1)
    if label.kind == NUMBER:
        return F.mse_loss(logits_Bw, targets_Bw, reduction="none")[:, 0]
    return F.binary_cross_entropy_with_logits(logits_Bw, targets_Bw, reduction="none", **how).mean(dim=1)


class SharedCuts(nn.Module):
    """Makes of each scale's one answer its cumulative logits: the answer plus an offset for each cut.

    Source: Cao, Mirjalili and Raschka 2020, Pattern Recognition Letters 140 (CORAL). The offsets fall by
    construction, so no level ever gets a probability below 0. Other labels' answers pass as they are.
    """

    def __init__(self, kinds: LabelKinds):
        super().__init__()
        self.labels = kinds.labels
        scales = [label for label in kinds.labels if label.kind == SCALE]
        self.in_features = kinds.width - sum(label.width - 1 for label in scales)
        self.falls = nn.ParameterList([nn.Parameter(torch.zeros(label.width)) for label in scales])
        self.begin([[1 - (at + 1) / len(label.levels) for at in range(label.width)] for label in scales])

    @torch.no_grad()
    def begin(self, shares: Sequence[Sequence[float]]) -> None:
        """Start at the cuts that give each scale these shares of clips with at least each level."""
        for fall_C, own in zip(self.falls, shares, strict=True):
            offset_C = torch.tensor(own, dtype=torch.float64).clamp(1e-4, 1 - 1e-4).logit()
            fall_c = (offset_C[:-1] - offset_C[1:]).clamp(min=_LEAST_STEP)
            fall_C.copy_(torch.cat([offset_C[:1], fall_c.expm1().log()]))

    def forward(self, answers_BO: Tensor) -> Tensor:
        """Logits (B, W) of the output layer's answers."""
        falls, parts, at = iter(self.falls), [], 0
        for label in self.labels:
            width = 1 if label.kind == SCALE else label.width
            parts.append(answers_BO[:, at : at + width])
            if label.kind == SCALE:
                fall_C = next(falls)
                parts[-1] = parts[-1] + torch.cat([fall_C[:1], fall_C[:1] - F.softplus(fall_C[1:]).cumsum(0)])
            at += width
        return torch.cat(parts, dim=1)


class AnswerMixin:
    """What a classifier learns from, and what it says: the loss and the scores of its logits."""

    label_kinds: LabelKinds
    pos_weight: Tensor | None
    classify: Callable[..., Tensor]
    pooled_states: Callable[..., Tensor]
    __call__: Callable[..., Tensor]

    def _answer_by(self, kinds: LabelKinds) -> None:
        self.label_kinds = kinds
        self._criterion, self._score = loss_of(kinds), scores_of(kinds)

    def weigh_positives(self, weights: Sequence[float]) -> None:
        """Count each label's yes so many times in the BCE loss; not kept with the model. UserError for other kinds."""
        if (loss := self.label_kinds.loss) != YES_NO:
            made_for = "numbers (MSE)" if loss == NUMBER else loss
            raise UserError(f"weights of the yes belong to yes/no labels, but this model was made for {made_for}.")
        self.pos_weight = torch.tensor(list(weights), dtype=torch.float32)

    def loss(self, batch: ModelInput, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """The "loss", a mean over the labels' targets that are not NaN, float32, and their "count".

        Nothing is drawn from `generator`: it is there because the training loop gives one to every model.
        `batch` has "targets", one for each output (B, W; NaN in all of a label that is not known), and either "fbank"
        (with "frames", if any) or "pooled", what `pooled_states` gave.
        """
        pooled = batch.get("pooled")
        logits_BW = self(batch["fbank"], batch.get("frames")) if pooled is None else self.classify(pooled)
        targets_BW = batch["targets"].to(logits_BW.device, torch.float32)
        if targets_BW.shape != logits_BW.shape:
            labels = len(self.label_kinds.labels)
            wanted = f"{labels} labels" if self.label_kinds.width == labels else f"{self.label_kinds.width} outputs"
            raise UserError(
                f"the targets have shape {tuple(targets_BW.shape)}, but the model's logits have "
                f"{tuple(logits_BW.shape)}; give one target for each of its {wanted}."
            )
        known_BW = ~targets_BW.isnan()
        how = {} if self.pos_weight is None else {"pos_weight": self.pos_weight}
        losses_BJ, known_BJ = self._criterion(logits_BW.float(), targets_BW.masked_fill(~known_BW, 0), known_BW, **how)
        total = losses_BJ.masked_fill(~known_BJ, 0).sum()
        count = known_BJ.sum()
        return {"loss": total / count.clamp(min=1), "count": count}

    def predict_scores(self, fbank_BTF: Tensor, frames: Tensor | None = None) -> Tensor:
        """Probabilities (B, num_labels) of a model for BCE, values of one for MSE, float32, without a graph.

        Of other kinds those of each output (B, W): of at least each level of a scale, of each kind of a choice.
        """
        with torch.no_grad():
            return self.score_pooled(self.pooled_states(fbank_BTF, frames))

    def score_pooled(self, pooled_BND: Tensor) -> Tensor:
        """`predict_scores` of states that `pooled_states` gave for the model's own `layers`."""
        with torch.no_grad():
            return self._score(self.classify(pooled_BND).float())


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
