"""Share the gradients of a run's processes by torch's DistributedDataParallel, while the backward pass goes on."""

import warnings
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ssast.engine import distributed


class _Loss(nn.Module):
    """A model whose forward is its loss; without a batch a loss of 0, of which all that learns has gradients of 0."""

    def __init__(self, model: Any, learning: list[nn.Parameter]):
        super().__init__()
        self.model = model
        self.learning = tuple(learning)

    def forward(self, batch: Any, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        if batch is None:
            return {"loss": 0.0 * torch.stack([parameter.sum() for parameter in self.learning]).sum()}
        return self.model.loss(batch, generator)


class SharedGradients:
    """A model's loss, of which each process gets the mean of the gradients of all; for one alone it is the loss itself.

    In each step every process takes one backward pass outside `apart`, in which the gradients travel: that of its last
    piece, or of `nothing`. Parameters that no loss reaches, such as blocks behind the chosen layer, take no part: they
    have no gradient, so that the optimiser passes them over and weight decay does not move them, as on one process.
    """

    def __init__(self, model: Any, parameters: list[nn.Parameter]):
        self.model, self.parameters = model, parameters
        self.together: DistributedDataParallel | None = None

    @property
    def is_ready(self) -> bool:
        """Whether the processes have met, or this one is alone."""
        return self.together is not None or distributed.size() == 1

    def meet(self, loss: Tensor | None) -> None:
        """Let the processes find out which parameters learn: those that the loss of a first piece reaches in any.

        A process without a piece gives None; where none of them has one, they meet another time.
        """
        reached = torch.zeros(len(self.parameters))
        if loss is not None:
            found = torch.autograd.grad(loss, self.parameters, allow_unused=True)
            reached = torch.tensor([float(one is not None) for one in found])
        learns = (distributed.total(reached) > 0).tolist()
        if not any(learns):
            return
        for parameter, own in zip(self.parameters, learns, strict=True):
            parameter.requires_grad_(own)
        learning = [parameter for parameter in self.parameters if parameter.requires_grad]
        # A token's gradient is cut from that of several: torch takes the stride of its axes of length 1 for a fault.
        warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
        self.together = DistributedDataParallel(_Loss(self.model, learning), gradient_as_bucket_view=True)
        self.together.broadcast_buffers = False  # the option of this name is called otherwise from torch 2.13 on
        for parameter in self.parameters:  # what is trained, and so the checkpoint, is the same on one process
            parameter.requires_grad_(True)
        # After the first pass torch puts the gradients into packs anew, by the order in which they came. After this one
        # that order is the same whenever a run is gone on with, and so is the rounding of their sums.
        self.nothing()
        for parameter in learning:
            parameter.grad = None

    def loss(self, batch: Any, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """The model's loss."""
        return self.model.loss(batch, generator) if self.together is None else self.together(batch, generator)

    def apart(self) -> AbstractContextManager[Any]:
        """Inside, gradients stay with this process and are added up: for all pieces of a step but the last."""
        return nullcontext() if self.together is None else self.together.no_sync()

    def nothing(self) -> None:
        """Take part in a step without clips of one's own."""
        if self.together is not None:
            self.together(None)["loss"].backward()
