"""Train heads for several layers in one step side by side, each as it would be trained alone.

Shapes: H heads, B batch, D width.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from ssast.model.classification import SSASTForAudioClassification
from ssast.model.encoder import NUM_STATES
from ssast.model.head import POOLINGS, ModelInput

WEIGHTED = "weighted"


class _Loss(nn.Module):
    """A model whose forward is its loss."""

    def __init__(self, model: SSASTForAudioClassification):
        super().__init__()
        self.model = model

    def forward(self, pooled_BD: Tensor, targets_BN: Tensor) -> tuple[Tensor, Tensor]:
        losses = self.model.loss({"pooled": pooled_BD.unsqueeze(1), "targets": targets_BN})
        return losses["loss"], losses["count"]


class ParallelHeads(nn.Module):
    """Something to train: a fresh head on each of some states, all of one model's kind and made from one seed.

    Its loss is the sum of theirs, so each gets the gradient that it would get alone, and the same dropout. Of each the
    weights of its own best validation are kept: `best(number)`. `patience` counts epochs for each head apart.
    """

    def __init__(
        self, model: SSASTForAudioClassification, *, task: str, layers: Sequence[int], seed: int, patience: int
    ):
        super().__init__()
        tops = []
        for layer in layers:
            model.renew_head(task=task, layer=layer, weighted=False, seed=seed)
            tops.append(dict(model.mlp_head.named_parameters()))
        self.names = list(tops[0])
        stacks = [torch.stack([top[name].detach() for top in tops]) for name in self.names]
        self.stacks = nn.ParameterList([nn.Parameter(stack) for stack in stacks])
        self.kept = [stack.clone() for stack in stacks]
        self.patience, self.waited_H = patience, torch.zeros(len(layers), dtype=torch.int64)
        self.lowest_H = torch.full((len(layers),), float("inf"), dtype=torch.float64)
        self.sums_H, self.count = torch.zeros(len(layers), dtype=torch.float64), 0.0
        self._one = [_Loss(model)]  # in a list, so that the model's own weights are none of this module's

    def loss(self, batch: ModelInput, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """The sum of the heads' losses; `batch` has "pooled" (B, H, D), the states of the heads in their order."""
        one = self._one[0]

        def own(stacks: list[Tensor], pooled_BD: Tensor) -> tuple[Tensor, Tensor]:
            named = {f"model.mlp_head.{name}": stack for name, stack in zip(self.names, stacks, strict=True)}
            return functional_call(one, named, (pooled_BD, batch["targets"]))

        losses_H, counts_H = vmap(own, in_dims=(0, 1), randomness="same")(list(self.stacks), batch["pooled"])
        if not self.training:
            self.sums_H += losses_H.detach().cpu().double() * float(counts_H[0])
            self.count += float(counts_H[0])
        return {"loss": losses_H.sum(), "count": counts_H[0]}

    def train(self, mode: bool = True) -> "ParallelHeads":
        """Training or not; turning back to it after a validation keeps the heads that have not been better."""
        if mode and not self.training and self.count:
            self._keep_better()
        self._one[0].train(mode)
        super().train(mode)
        return self

    def _keep_better(self) -> None:
        mean_H = self.sums_H / self.count
        goes_on_H = self.waited_H < self.patience if self.patience else torch.ones_like(self.waited_H, dtype=torch.bool)
        better_H = (mean_H < self.lowest_H) & goes_on_H
        self.lowest_H = torch.where(better_H, mean_H, self.lowest_H)
        self.waited_H = torch.where(better_H, 0, self.waited_H + 1)
        for kept, stack in zip(self.kept, self.stacks, strict=True):
            kept[better_H] = stack.detach()[better_H.to(stack.device)].to(kept.device)
        self.sums_H, self.count = torch.zeros_like(self.sums_H), 0.0

    def best(self, number: int) -> dict[str, Tensor]:
        """The weights of a head, by name."""
        return {name: kept[number] for name, kept in zip(self.names, self.kept, strict=True)}


@dataclass(frozen=True)
class Choice:
    """A way to take one vector of a clip from the base: how tokens are pooled, and in which layer (None: weighted)."""

    task: str
    layer: int | None

    @property
    def shown(self) -> str:
        """The layer as the table names it."""
        return WEIGHTED if self.layer is None else str(self.layer)

    @property
    def options(self) -> str:
        """The options with which `finetune` takes this choice."""
        return f"--task {self.task} " + ("--weighted True" if self.layer is None else f"--layer {self.layer}")


CHOICES = [Choice(task, layer) for layer in (*range(NUM_STATES), None) for task in POOLINGS]
