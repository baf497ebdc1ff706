"""Average losses over all batches of all processes, each weighted by the number of values behind it."""

from dataclasses import dataclass

import torch
from torch import Tensor

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
