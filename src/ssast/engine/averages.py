"""Average losses over all batches of all processes, each weighted by the number of values behind it."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ssast.engine import distributed

ROOM = 13
"""Numbers that can be summed at once: a process without clips does not know how many the others have."""


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


class Averages:
    """Averages over several batches, each weighted by its number of values: the entry "count", else the clips."""

    def __init__(self, device: torch.device):
        self.device = device
        self.numbers: dict[str, Tensor] = {}
        self.count = torch.zeros((), device=device)
        self.clips = 0

    def add(self, losses: dict[str, Tensor], clips: int) -> Tensor:
        """Take a batch's numbers; the weight they have."""
        weight = losses.get("count", torch.tensor(float(clips))).detach().float().to(self.device)
        for name, value in losses.items():
            if name != "count":
                self.numbers[name] = self.numbers.get(name, 0.0) + value.detach().float() * weight
        self.count, self.clips = self.count + weight, self.clips + clips
        return weight

    def means(self, *, stop: bool = False, gradient: Tensor | None = None) -> Means:
        """The means over all processes. One that has no clips of its own learns the loss and no other name.

        The norm of this process's `gradient` travels with them, so that looking at it costs no wait of its own.
        """
        names = ["loss", *sorted(self.numbers.keys() - {"loss"})]
        empty = torch.zeros((), device=self.device)
        facts = torch.tensor([float(self.clips), float(stop)], device=self.device)
        norm = empty if gradient is None else gradient.float().to(self.device)
        own = torch.stack([norm, self.count, *(self.numbers.get(name, empty) for name in names)])
        padding = torch.zeros(ROOM - len(own), device=self.device)
        clips, stops, norms, count, *sums = distributed.total(torch.cat([facts, own, padding]).cpu().double()).tolist()
        found = {name: value / (count or 1.0) for name, value in zip(names, sums, strict=False)}
        return Means(found if clips else {}, count, int(clips), int(stops), norms)
