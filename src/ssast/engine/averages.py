"""Average over all processes of a run: losses, weighted by the number of values behind them, and gradients.

Gradients travel by torch's DistributedDataParallel, while the backward pass goes on.
"""

import warnings
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ssast.engine import distributed

ROOM = 13
"""Numbers that can be summed at once: a process without clips does not know how many the others have."""
_CLIPS, _STOPS, _GRADIENT, _COUNT = range(4)


@dataclass(frozen=True)
class Means:
    """Means by name, the `count` of values they are means of, the clips, and how many processes were asked to stop.

    `gradient` is the sum of what the processes gave for the norm of theirs: finite where all are.
    """

    numbers: dict[str, float]
    count: float
    clips: int
    stops: int
    gradient: float = 0.0


NOTHING = Means({}, 0.0, 0, 0)


class Totals:
    """Sums over all batches of all processes, which a GPU may still be at; only `means` and `is_here` ask the host."""

    def __init__(self, values: Tensor, names: list[str]):
        self.values, self.names = distributed.total(values), names
        self.host, self.copied = self.values, None
        if self.values.device.type == "cuda":
            self.host = torch.empty_like(self.values, device="cpu", pin_memory=True)
            self.host.copy_(self.values, non_blocking=True)
            self.copied = torch.cuda.Event()
            self.copied.record()

    @property
    def count(self) -> Tensor:
        """How many values the means are of, 0-dim, where it was computed."""
        return self.values[_COUNT]

    @property
    def unfit(self) -> Tensor:
        """1 where a number or a gradient is not finite or there are no clips, else 0: an optimiser's `found_inf`."""
        return (~(self.values.isfinite().all() & (self.values[_CLIPS] > 0))).float()

    @property
    def is_here(self) -> bool:
        """Whether all that was queued before is done."""
        return self.copied is None or self.copied.query()

    def means(self) -> Means:
        """The means, once they are here. A process that has no clips of its own learns the loss and no other name."""
        if self.copied is not None:
            self.copied.synchronize()
        clips, stops, gradient, count, *sums = self.host.tolist()
        found = {name: value / (count or 1.0) for name, value in zip(self.names, sums, strict=False)}
        return Means(found if clips else {}, count, int(clips), int(stops), gradient)


class Averages:
    """Averages over several batches, each weighted by its number of values: the entry "count", else the clips."""

    def __init__(self, device: torch.device):
        self.device = device
        self.numbers: dict[str, Tensor] = {}
        self.count = torch.zeros((), device=device)
        self.clips = 0

    def add(self, losses: dict[str, Tensor], clips: int) -> Tensor:
        """Take a batch's numbers; the weight they have."""
        counted = losses.get("count")
        if counted is None:
            counted = torch.full((), float(clips), device=self.device)
        weight = counted.detach().float().to(self.device)
        for name, value in losses.items():
            if name != "count":
                self.numbers[name] = self.numbers.get(name, 0.0) + value.detach().float() * weight
        self.count, self.clips = self.count + weight, self.clips + clips
        return weight

    def totals(self, *, stop: bool = False, gradient: Tensor | None = None) -> Totals:
        """The sums over all processes; nothing waits for a GPU.

        The norm of this process's `gradient` travels with them, so that looking at it costs no wait of its own.
        """
        names = ["loss", *sorted(self.numbers.keys() - {"loss"})]
        empty = torch.zeros((), device=self.device)
        clips, stops = (torch.full((), float(fact), device=self.device) for fact in (self.clips, stop))
        norm = empty if gradient is None else gradient.float().to(self.device)
        own = [clips, stops, norm, self.count, *(self.numbers.get(name, empty) for name in names)]
        values = torch.stack([*own, *[empty] * (ROOM + 2 - len(own))])
        # Apple's devices have no float64.
        return Totals((values if values.device.type == "cuda" else values.cpu()).double(), names)

    def means(self) -> Means:
        """The means over all processes, as `Totals` gives them."""
        return self.totals().means()


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
