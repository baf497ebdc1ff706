"""Classify spectrograms: give logits, and the hidden states and attention behind them.

Shapes: B batch, T frames, F mel bins, P patches, L tokens, D width, H heads, N chosen states or number of labels.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from ssast.errors import UserError
from ssast.model.checkpoints.checkpoint import load_exactly
from ssast.model.checkpoints.config_entries import check_kinds
from ssast.model.checkpoints.model_folder import FolderMixin
from ssast.model.checkpoints.published import check_sizes, read_checkpoint
from ssast.model.embedding import EmbeddingMixin
from ssast.model.encoder import DEPTH, NUM_STATES, SSASTEncoder, Trace, check_choice, check_layer, seeded
from ssast.model.head import DENSE, LOSSES, POOLINGS, AnswerMixin, ClassificationHead
from ssast.model.label_kinds import LabelKinds

NUM_WEIGHTED = DEPTH + 1


def _single(pooled_BND: Tensor, weightsum_N: Tensor | None) -> Tensor:
    return pooled_BND[:, 0]


def _weighted(pooled_BND: Tensor, weightsum_N: Tensor) -> Tensor:
    """Pooling is linear, so pooled states are weighted in place of whole ones."""
    return (pooled_BND * weightsum_N.unsqueeze(1)).sum(dim=1)


class SSASTForAudioClassification(nn.Module, AnswerMixin, EmbeddingMixin, FolderMixin):
    """The encoder, pooled at one layer or over a learned sum of layers, with a classification head.

    Source: Gong et al. 2022, AAAI, arXiv 2110.09784. The plain constructor draws random weights (`seed`, or torch's
    ambient state); `from_published` starts from a pretrained encoder, `from_pretrained` loads a saved model.

    `num_labels` labels; sizes as `SSASTEncoder` takes them (a stride of None: the patch shape). `task` is ft_cls (mean
    of the prefix tokens) or ft_avgtok (mean of the patch tokens). `layer` 0..13 or -1 is the state that is pooled;
    `weighted` pools the first 13 instead and sums them with `weightsum` (13,), which starts at 1/13 and is used as it
    is. `freeze` trains only the head and `weightsum`. `loss` is BCE (labels 0..1) or MSE (numbers), and with `kinds`
    (an entry a label, as config.json has them) also ordinal, CE or mixed; logits and scores then have the outputs of
    `label_kinds` for columns, which are the labels themselves elsewhere. With `mask_padding`, padding stays out of
    attention and pooling. `labels` (names) and `frontend` (how fbanks are made) are kept with the model. `head` is
    dense, or published for the published code's own (LayerNorm and output layer). UserError: an unknown choice, a
    layer that does not exist, other than `num_labels` names.
    """

    # What reads recordings lives on a higher floor, which gives it to the class (ssast.engine.predictor).
    weightsum: nn.Parameter | None
    n_states = NUM_WEIGHTED

    def __init__(
        self,
        num_labels: int,
        model_size: str = "base",
        fshape: int = 128,
        tshape: int = 2,
        fstride: int | None = None,
        tstride: int | None = None,
        num_mel_bins: int = 128,
        target_length: int = 1024,
        task: str = "ft_cls",
        layer: int = -1,
        weighted: bool = False,
        freeze: bool = True,
        activation: str = "relu",
        final_dropout: float = 0.2,
        layernorm: bool = True,
        *,
        mask_padding: bool = False,
        loss: str = "BCE",
        labels: Sequence[str] | None = None,
        frontend: dict[str, object] | None = None,
        head: str = DENSE,
        kinds: Sequence[Mapping[str, Any]] | None = None,
        seed: int | None = None,
    ):
        super().__init__()
        unkept = {"self", "seed", "__class__", *(["kinds"] if kinds is None else [])}
        self.config = {name: value for name, value in locals().items() if name not in (*unkept, "unkept")}
        self.config["labels"] = labels if labels is None else list(labels)
        check_choice("task", task, POOLINGS)
        check_choice("loss", loss, LOSSES)
        if labels is not None and len(labels) != num_labels:
            raise UserError(f"{len(labels)} label names came with num_labels {num_labels}; give one name a label.")
        names = labels or [f"label {number}" for number in range(num_labels)]
        self._answer_by(LabelKinds.of_entries(loss, names, check_kinds(kinds, loss, names, "the model")))
        self.num_labels, self.labels, self.frontend = num_labels, self.config["labels"], frontend
        self.freeze, self.mask_padding = freeze, mask_padding
        self._pool_by(task, layer, weighted)
        self._shares: Sequence[Sequence[float]] = ()
        with seeded(seed):
            self.v = SSASTEncoder(model_size, fshape, tshape, fstride, tstride, num_mel_bins, target_length)
            self._build_top()
        self.v.requires_grad_(not freeze)
        self.register_buffer("pos_weight", None, persistent=False)

    def begin_at(self, shares: Sequence[Sequence[float]]) -> None:
        """Let the cuts of each scale start where so many of the training clips have at least each level."""
        self._shares = shares
        if self.mlp_head.cuts is not None and shares:
            self.mlp_head.cuts.begin(shares)

    def _pool_by(self, task: str, layer: int, weighted: bool) -> None:
        self.task, self.layer, self.weighted = task, layer, weighted
        self.layers = tuple(range(NUM_WEIGHTED)) if weighted else (check_layer(layer),)
        self._combine: Callable[..., Tensor] = _weighted if weighted else _single

    def _build_top(self) -> None:
        """A fresh head and, for a weighted model, fresh layer weights."""
        options = {name: self.config[name] for name in ("activation", "final_dropout", "layernorm")}
        kinds = self.label_kinds
        self.mlp_head = ClassificationHead(
            self.v.width, self.num_labels, kind=self.config["head"], kinds=kinds, **options
        )
        self.begin_at(self._shares)
        share = torch.full((NUM_WEIGHTED,), 1 / NUM_WEIGHTED)
        self.weightsum = nn.Parameter(share) if self.weighted else None

    @classmethod
    def from_published(
        cls,
        path: str | os.PathLike,
        *,
        num_labels: int,
        task: str = "ft_cls",
        fstride: int | None = None,
        tstride: int | None = None,
        target_length: int = 1024,
        layer: int = -1,
        weighted: bool = False,
        freeze: bool = True,
        activation: str = "relu",
        final_dropout: float = 0.2,
        layernorm: bool = True,
        model_size: str | None = None,
        fshape: int | None = None,
        tshape: int | None = None,
        num_mel_bins: int | None = None,
        seed: int | None = None,
        **others: Any,
    ) -> Self:
        """A model with the encoder of a published `.pth` file or of an own folder, and a fresh head; evaluation mode.

        The file decides the size, the patch shape and, unless given, the mel bins; `model_size`, `fshape` and `tshape`
        are checked against it where they are given. Strides of None equal the patch shape; positions are fitted to the
        new strides, `num_mel_bins` and `target_length`. `seed` makes the head's weights (None: torch's ambient state);
        `others` are `mask_padding`, `loss`, `labels`, `kinds` and `frontend` of the constructor. UserError: a path that
        `read_checkpoint` refuses, sizes that differ from the file's, any setting that the constructor refuses.
        """
        checkpoint = read_checkpoint(path)
        check_sizes(checkpoint, model_size=model_size, fshape=fshape, tshape=tshape)
        config = {name: checkpoint.config[name] for name in ("model_size", "fshape", "tshape", "num_mel_bins")}
        config |= {} if num_mel_bins is None else {"num_mel_bins": num_mel_bins}
        config |= {"fstride": fstride, "tstride": tstride, "target_length": target_length, "freeze": freeze}
        config |= {"task": task, "layer": layer, "weighted": weighted}
        config |= {"activation": activation, "final_dropout": final_dropout, "layernorm": layernorm, **others}
        with torch.device("meta"):  # no weights are drawn that the file would replace at once
            model: Any = cls(num_labels, **config)
        load_exactly(model.v, checkpoint.encoder_state(model.v), checkpoint.source)
        with seeded(seed):
            model._build_top()
        return model.eval()

    def renew_head(self, *, task: str, layer: int, weighted: bool, seed: int | None = None) -> None:
        """Change how states are pooled, with a new head made from the seed; the encoder stays as it is."""
        check_choice("task", task, POOLINGS)
        self._pool_by(task, layer, weighted)
        self.config |= {"task": task, "layer": layer, "weighted": weighted}
        with seeded(seed):
            self._build_top()
        self.to(self.v.pos_embed.device)

    def train(self, mode: bool = True) -> Self:
        """Training mode (or not) for what trains: a frozen encoder stays in evaluation mode."""
        if not self.freeze:
            return super().train(mode)
        self.training = mode
        for part in self.children():
            if part is not self.v:
                part.train(mode)
            elif any(module.training for module in part.modules()):
                part.eval()
        return self

    def unfreeze_last(self, blocks: int) -> None:
        """Let the last `blocks` of the blocks that the model's layers need train, and the LayerNorm after them."""
        last = min(max(self.layers), DEPTH)
        for block in list(self.v.blocks)[max(0, last - blocks) : last]:
            block.requires_grad_(True)
        self.v.norm.requires_grad_(max(self.layers) > DEPTH)

    @property
    def _learns(self) -> bool:
        """Whether a graph through the encoder is of use."""
        return not self.freeze or any(parameter.requires_grad for parameter in self.v.parameters())

    def _valid_frames(self, frames: Tensor | None) -> Tensor | None:
        return frames if self.mask_padding else None

    @property
    def rounding(self) -> Callable[[int], int] | None:
        """The length [frames] at which a clip of so many own frames goes through; None where all have the input's."""
        return self.v.rounded if self.mask_padding else None

    def pooled_states(
        self,
        fbank_BTF: Tensor,
        frames: Tensor | None = None,
        layers: Sequence[int] | None = None,
        task: str | None = None,
    ) -> Tensor:
        """The states numbered `layers` (0..13; None: those that `classify` needs, `model.layers`), pooled: (B, N, D).

        Blocks past the highest of them do not run, no state is kept whole, and a frozen encoder builds no graph.
        `task` pools otherwise than the model's own.
        """
        check_choice("task", task or self.task, POOLINGS)
        wanted = self.layers if layers is None else tuple(check_layer(layer) for layer in layers)
        return self._gather(fbank_BTF, frames, wanted, POOLINGS[task or self.task])

    def _gather(
        self, fbank_BTF: Tensor, frames: Tensor | None, wanted: Sequence[int], pool: Callable[..., Tensor]
    ) -> Tensor:
        """What `pool` makes of each of the states `wanted`, stacked along a new second axis."""
        pooled = {}
        with torch.set_grad_enabled(torch.is_grad_enabled() and self._learns):
            fbank_BTF, valid_BP = self.v.hide_padding(fbank_BTF, self._valid_frames(frames))
            tokens_BLD = self.v.tokens(self.v.embed(self.v.patches(fbank_BTF)))
            for index, state_BLD in enumerate(self.v.stream(tokens_BLD, max(wanted), self.v.key_mask(valid_BP))):
                if index in wanted:
                    pooled[index] = pool(state_BLD, self.v.num_prefix, valid_BP)
            return torch.stack([pooled[index] for index in wanted], dim=1)

    def poolings(
        self, fbank_BTF: Tensor, frames: Tensor | None = None, *, layers: Sequence[int], tasks: Sequence[str]
    ) -> Tensor:
        """The states numbered `layers` in all the poolings `tasks`, from one pass: (B, len(tasks), len(layers), D)."""

        def pool(state_BLD: Tensor, num_prefix: int, valid_BP: Tensor | None) -> Tensor:
            return torch.stack([POOLINGS[task](state_BLD, num_prefix, valid_BP) for task in tasks], dim=1)

        for task in tasks:
            check_choice("task", task, POOLINGS)
        return self._gather(fbank_BTF, frames, [check_layer(layer) for layer in layers], pool).transpose(1, 2)

    def classify(self, pooled_BND: Tensor) -> Tensor:
        """Logits (B, outputs) of states that `pooled_states` gave for the model's own `layers`."""
        return self.mlp_head(self._combine(pooled_BND, self.weightsum))

    def forward(self, fbank_BTF: Tensor, frames: Tensor | None = None) -> Tensor:
        """Logits (B, num_labels) of a normalised fbank (B, target_length, num_mel_bins).

        `frames` (B,) counts each clip's own frames and matters only to a model with `mask_padding`, which takes the
        fbank of clips of one `rounding` as short as that too. UserError: an fbank of another shape.
        """
        return self.classify(self.pooled_states(fbank_BTF, frames))

    def hidden_states(self, fbank_BTF: Tensor, frames: Tensor | None = None) -> list[Tensor]:
        """All 14 states (B, L, D): 0 the embedded input, 1..12 the block outputs, 13 the LayerNorm of 12."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and self._learns):
            return self.v(fbank_BTF, NUM_STATES - 1, self._valid_frames(frames))

    def attentions(self, fbank_BTF: Tensor, frames: Tensor | None = None) -> list[Tensor]:
        """Attention (B, H, L, L) of all 12 blocks, rows summing to 1, float32, without a graph."""
        with torch.no_grad():
            return self.v.trace(fbank_BTF, DEPTH, self._valid_frames(frames)).attentions

    def trace(self, fbank_BTF: Tensor, frames: Tensor | None = None) -> tuple[Tensor, Trace]:
        """Logits (B, num_labels) and the states and attention behind them, in one graph, also for a frozen encoder.

        The trace reaches as far as the logits do. `torch.autograd.grad(logits[:, n].sum(), trace.attentions)` gives
        what gradient-weighted relevance needs; an fbank that requires a gradient gets one too.
        """
        trace = self.v.trace(fbank_BTF, max(self.layers), self._valid_frames(frames))
        _, valid_BP = self.v.hide_padding(fbank_BTF, self._valid_frames(frames))
        pool, prefix = POOLINGS[self.task], self.v.num_prefix
        pooled_BND = torch.stack([pool(trace.states[index], prefix, valid_BP) for index in self.layers], dim=1)
        return self.classify(pooled_BND), trace
