"""Say what the training loop asks of a model and of its batches, and validate on them."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from ssast.data.batch import Batch
from ssast.engine import distributed
from ssast.engine.averages import Averages
from ssast.engine.hardware import Engine, chance_generator, own_chance, to_device

VALIDATION = 1 << 20  # keeps the chance of validation apart from that of every training step


class Trainable(Protocol):
    """What the loop asks of a model: a loss, with other numbers worth logging beside it."""

    def loss(self, batch: Batch, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """0-dim tensors, `loss` among them."""
        ...


@dataclass(frozen=True)
class TrainingBatches:
    """The batches: `train(epoch, start)` yields those of an epoch's `steps` from number `start` on.

    A step's batch comes in `pieces`, one after the other, which go through the model one at a time; of several
    processes each gets its own pieces, some perhaps empty. `validation()` gives the process its share of batches.
    `workers` processes read them.
    """

    train: Callable[[int, int], Iterable[Batch]]
    validation: Callable[[], Iterable[Batch]]
    steps: int
    prepare: Callable[..., Batch]
    pieces: int = 1
    workers: int = 0


@torch.no_grad()
def validate(
    model: Trainable,
    batches: TrainingBatches,
    engine: Engine,
    seed: int,
    seen: list[tuple[Tensor, list[str]]],
) -> dict[str, float]:
    """Mean of each number of `model.loss` over the validation clips of all processes; {} without clips.

    The loss of each batch of this process goes to `seen`, with its uids: where the mean is not finite, they are asked.
    """
    sums = Averages(engine.device)
    with own_chance(engine.device):
        for index, batch in enumerate(batches.validation()):
            if not batch["uid"]:  # all its recordings were skipped, or the clips ended with another process
                continue
            # The same masks every epoch, so that epochs can be compared, whoever computes them.
            generator = chance_generator(
                engine.device, seed, VALIDATION, index * distributed.size() + distributed.rank()
            )
            with engine.autocast():
                losses = model.loss(batches.prepare(to_device(batch, engine.device)), generator)
            sums.add(losses, len(batch["uid"]))
            seen.append((losses["loss"].detach(), batch["uid"]))
    return sums.means().numbers
