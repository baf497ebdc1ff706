"""Extract embeddings of clips, or of each step of time; the classifier inherits this.

Shapes: B batch, T frames, F mel bins, P patches, L tokens, N chosen states, S steps of time, D width, K = S * D.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ssast.errors import UserError
from ssast.model.encoder import SSASTEncoder, check_choice, check_layer
from ssast.model.head import POOLINGS, PUBLISHED_HEAD, ClassificationHead, pool_columns

EMBEDDING_TYPES = ("pt", "wt", "ft")


class EmbeddingMixin:
    """`extract_embedding` and `frame_embeddings` for a model that pools states and has a head."""

    config: dict[str, Any]
    v: SSASTEncoder
    mlp_head: ClassificationHead
    weightsum: nn.Parameter | None
    task: str
    layer: int
    layers: tuple[int, ...]
    weighted: bool
    _combine: Callable[..., Tensor]
    _gather: Callable[..., Tensor]
    pooled_states: Callable[..., Tensor]

    def check_embedding(self, embedding_type: str, layer: int | None = None, task: str | None = None) -> None:
        """Raise the UserError that `extract_embedding` would, before any recording is read."""
        check_choice("embedding_type", embedding_type, EMBEDDING_TYPES)
        check_choice("task", task or self.task, POOLINGS)
        check_layer(self.layer if layer is None else layer)
        if embedding_type == "wt" and not self.weighted:
            raise UserError(
                "embedding_type wt needs learned layer weights, but this model was made with weighted False; "
                "fine-tune with weighted True, or extract pt or ft."
            )
        if embedding_type == "ft" and self.config["head"] == PUBLISHED_HEAD:
            raise UserError(
                "embedding_type ft needs the head's dense layer, and the head of this model, fine-tuned by the "
                "published code, has none; extract pt."
            )

    def extract_embedding(
        self,
        fbank_BTF: Tensor,
        embedding_type: str = "ft",
        layer: int | None = None,
        task: str | None = None,
        frames: Tensor | None = None,
    ) -> Tensor:
        """An embedding (B, D) of each clip, without a graph.

        "pt" is the pooled state number `layer` (None: the model's own), "wt" the pooled states in their learned sum,
        both pooled by `task` where it is given; "ft" is the output of the head's first dense layer, before activation,
        which needs neither. UserError: another type, "wt" of a model that is not weighted, "ft" of a published head, a
        layer that does not exist.
        """
        self.check_embedding(embedding_type, layer, task)
        with torch.no_grad():
            if embedding_type == "pt":
                wanted = self.layer if layer is None else layer
                return self.pooled_states(fbank_BTF, frames, (wanted,), task)[:, 0]
            if embedding_type == "wt":
                return self._combine(self.pooled_states(fbank_BTF, frames, task=task), self.weightsum)
            return self.mlp_head.dense(self._combine(self.pooled_states(fbank_BTF, frames), self.weightsum))

    def check_over_time(self, embedding_type: str, layer: int | None = None) -> None:
        """Raise the UserError that `frame_embeddings` would, before any recording is read."""
        self.check_embedding(embedding_type, layer)
        if embedding_type == "ft" and self.task == "ft_cls":
            raise UserError(
                "embedding_type ft over time needs a head that has learned from patches, but this model's (ft_cls) "
                "knows class tokens alone; take pt, or a model fine-tuned with task ft_avgtok."
            )

    def frame_embeddings(
        self,
        fbank_BTF: Tensor,
        layer: int | None = None,
        embedding_type: str = "pt",
        frames: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Embeddings over time (B, steps, D), without a graph, and the middle of each step (steps,) in frames.

        A step is a patch of a frame model, else the mean of the patches one above the other. Types and `layer` as in
        `extract_embedding`; the mean over the steps is that of ft_avgtok. Steps of padding are among them: those that
        start past a clip's own frames. `Frontend.seconds` turns frames into seconds. UserError: as there, and "ft" of
        a model with task ft_cls.
        """
        self.check_over_time(embedding_type, layer)
        wanted = (self.layer if layer is None else layer,) if embedding_type == "pt" else self.layers
        with torch.no_grad():
            states_BNSD = self.column_states(fbank_BTF, wanted, frames)
            middles_S = self.v.middles[: states_BNSD.shape[2]]
            if embedding_type == "pt":
                return states_BNSD[:, 0], middles_S
            summed_BK = self._combine(states_BNSD.flatten(2), self.weightsum)
            steps_BSD = summed_BK.unflatten(1, states_BNSD.shape[2:])
            return self.mlp_head.dense(steps_BSD) if embedding_type == "ft" else steps_BSD, middles_S

    def column_states(self, fbank_BTF: Tensor, layers: Sequence[int], frames: Tensor | None = None) -> Tensor:
        """The states numbered `layers` over time (B, N, steps, D), with a graph where the encoder learns."""

        def pool(state_BLD: Tensor, num_prefix: int, valid_BP: Tensor | None) -> Tensor:
            return pool_columns(state_BLD, num_prefix, self.v.grid[0])

        return self._gather(fbank_BTF, frames, tuple(check_layer(layer) for layer in layers), pool)
