"""Hold one training run: take its steps, validate, and save and load where it stands."""

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from ssast.data.batch import Batch
from ssast.engine import distributed
from ssast.engine.averages import Averages, Means
from ssast.engine.checkpoint import (
    CheckpointWriter,
    RunState,
    TrainState,
    check_like,
    load_optimiser,
    load_trainable,
    read_state,
    sweep_strays,
    trainable_state,
)
from ssast.engine.hardware import Engine, chance_generator, own_chance, to_device
from ssast.engine.optimiser import TrainingSettings, optimiser, schedule
from ssast.errors import UserError
from ssast.model.finite import LARGEST_WEIGHT, fault

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
    """

    train: Callable[[int, int], Iterable[Batch]]
    validation: Callable[[], Iterable[Batch]]
    steps: int
    prepare: Callable[..., Batch]
    pieces: int = 1


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


def gradient_norm(parameters: Iterable[nn.Parameter]) -> Tensor:
    """The norm of this process's gradients, 0-dim and where they are: NaN or infinite where one of them is."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    return nn.utils.get_total_norm(gradients) if gradients else torch.zeros(())


class Run:
    """One training run: its optimiser, where it stands, and the folder that holds its checkpoints."""

    def __init__(
        self,
        model: nn.Module,
        batches: TrainingBatches,
        settings: TrainingSettings,
        folder: Path,
        engine: Engine,
        key: str,
    ):
        self.model, self.batches, self.settings, self.engine, self.key = model, batches, settings, engine, key
        self.trained: Any = model  # the same object, seen as something with a loss
        self.optimizer = optimiser(model, settings)
        self.parameters = [one for group in self.optimizer.param_groups for one in group["params"]]
        self.scheduler = schedule(self.optimizer, settings, settings.epochs * batches.steps)
        self.progress = TrainState()
        self.checkpoints = CheckpointWriter(folder / "checkpoints", older=settings.keep_checkpoints - 1)
        self.saved_at = time.monotonic()
        self.first_step = 0

    @property
    def steps_here(self) -> int:
        """The steps that this process has done."""
        return self.progress.step - self.first_step

    @property
    def rate(self) -> float:
        """The learning rate that the next step takes."""
        return float(self.optimizer.param_groups[0]["lr"])

    @property
    def is_over(self) -> bool:
        """Whether all epochs are done, or the validation loss has not fallen for `patience` of them."""
        place, patience = self.progress, self.settings.patience
        return place.epoch >= self.settings.epochs or bool(patience and place.epoch - 1 - place.best_epoch >= patience)

    def restore(self) -> bool:
        """Go on from `last.pt` where there is one; UserError where it is another run's, or nothing to go on from."""
        if distributed.is_main():
            sweep_strays(self.checkpoints.folder)
        state = read_state(self.checkpoints.last)
        if state is None:
            return False
        try:
            self._take_up(cast(RunState, state))
        except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
            if isinstance(error, UserError):
                raise
            raise UserError(
                f"{self.checkpoints.last} is not a state that this version can go on from; go on with the version that "
                "run.yaml names, or start anew with --resume never.",
                path=self.checkpoints.last,
            ) from error
        self.first_step = self.progress.step
        return True

    def _take_up(self, state: RunState) -> None:
        if state["key"] != self.key:
            raise UserError(
                f"{self.checkpoints.last} is of a run with other options, data or model; "
                "give another --exp_dir, or --resume never to replace it.",
                path=self.checkpoints.last,
            )
        load_trainable(self.model, state["model"])
        load_optimiser(self.optimizer, state["optimizer"])
        if self.scheduler is not None:
            check_like(self.scheduler.state_dict(), state["scheduler"])
            self.scheduler.load_state_dict(state["scheduler"])
        self.progress = TrainState(**state["progress"])

    def save(self) -> None:
        """Write `last.pt` in the background, complete or not at all. UserError where the weights are not finite."""
        self.saved_at = time.monotonic()
        self._check_weights()
        if not distributed.is_main():
            return
        scheduler = self.scheduler.state_dict() if self.scheduler is not None else None
        state: RunState = {
            "key": self.key,
            "progress": asdict(self.progress),
            "model": trainable_state(self.model),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": scheduler,
        }
        self.checkpoints.write_last(state, self.progress.step)

    def step(self, pieces: list[Batch], *, stop: bool = False) -> Means:
        """One optimiser step on a batch in pieces; the means of `model.loss` over all of it, on all processes.

        `stop` says that this process was asked to stop. UserError with the uids, and no step, where the loss or the
        gradient is not finite.
        """
        place, sums = self.progress, Averages(self.engine.device)
        self.optimizer.zero_grad(set_to_none=True)
        for number, piece in enumerate(pieces):
            if piece["uid"]:  # else all its recordings were skipped, or the epoch ended before it
                self._add_gradients(piece, number * distributed.size() + distributed.rank(), sums)
        means = sums.means(stop=stop, gradient=gradient_norm(self.parameters))
        uids = [uid for piece in pieces for uid in piece["uid"]]
        if not all(map(math.isfinite, means.numbers.values())):
            raise self._astray("loss", means.numbers["loss"], uids)
        if not math.isfinite(means.gradient):
            raise self._astray("gradient", means.gradient, uids)
        if means.clips:
            self._descend(means.count)
            for name, value in means.numbers.items():
                place.sums[name] = place.sums.get(name, 0.0) + value * means.count
            place.sums["count"] = place.sums.get("count", 0.0) + means.count
            place.step += 1
        place.step_in_epoch += 1  # batches after one that was skipped keep their numbers
        return means

    def _add_gradients(self, piece: Batch, number: int, sums: Averages) -> None:
        """Gradients and numbers of piece `number` of the step, which draws its own chance."""
        place, device = self.progress, self.engine.device
        generator = chance_generator(device, self.settings.seed, place.epoch, place.step_in_epoch, number)
        with self.engine.autocast():
            losses = self.trained.loss(self.batches.prepare(to_device(piece, device), generator), generator)
        weight = sums.add(losses, len(piece["uid"]))
        (losses["loss"] if self._is_whole else losses["loss"] * weight).backward()

    @property
    def _is_whole(self) -> bool:
        """Whether a step's batch goes through the model at once, so that its mean needs no other's."""
        return self.batches.pieces == 1 and distributed.size() == 1

    def _descend(self, count: float) -> None:
        """The optimiser's step with the gradients of all pieces, whose losses are means of `count` values in all."""
        distributed.sum_gradients(self.parameters)
        gradients = [parameter.grad for parameter in self.parameters if parameter.grad is not None]
        if not self._is_whole:
            torch._foreach_mul_(gradients, 1 / max(count, 1.0))
        if self.settings.clip_grad:
            nn.utils.clip_grad_norm_(self.parameters, self.settings.clip_grad)
        self.optimizer.step()
        if self.scheduler is not None:
            self.scheduler.step()

    def _astray(self, what: str, value: float, uids: list[str]) -> UserError:
        """The sentence for a number that is not finite; `uids` are this process's clips behind it."""
        behind = [uid for own in distributed.gather(uids) for uid in own]
        return UserError(
            f"the {what} became {value} in epoch {self.progress.epoch + 1} on the clips {', '.join(behind)}; lower "
            f"--learning_rate or --max_lr, or look at these clips{self._kept()}.",
            uid=behind,
            path=self.checkpoints.folder,
        )

    def _check_weights(self) -> None:
        """UserError where no state may be kept any more, since a weight is not finite or of an absurd size."""
        found = fault(trainable_state(self.model).items(), LARGEST_WEIGHT)
        if found:
            raise UserError(
                f"the training diverged in epoch {self.progress.epoch + 1}: {found}; "
                f"lower --learning_rate or --max_lr{self._kept()}.",
                path=self.checkpoints.folder,
            )

    def _kept(self) -> str:
        """The part of a sentence that names the last good state."""
        self.checkpoints.flush()
        return f"; the last good state is in {self.checkpoints.folder}" if self.checkpoints.last.exists() else ""

    def end_epoch(self) -> dict[str, float]:
        """Validate, keep the weights where they are the best so far, and turn to the next epoch; the epoch's report."""
        place = self.progress
        count = place.sums.pop("count", 0.0)
        report = {f"train_{name}": value / count for name, value in place.sums.items()} if count else {}
        self.model.eval()
        self._check_weights()
        seen: list[tuple[Tensor, list[str]]] = []
        found = validate(self.trained, self.batches, self.engine, self.settings.seed, seen)
        self.model.train()
        if not all(map(math.isfinite, found.values())):
            behind = [uid for loss, uids in seen if not loss.isfinite() for uid in uids]
            raise self._astray("validation loss", found["loss"], behind)
        report |= {f"validation_{name}": value for name, value in found.items()}
        # Without validation clips the last epoch counts as the best.
        if not found or found["loss"] < place.best_loss or place.best_epoch < 0:
            place.best_loss, place.best_epoch = found.get("loss", float("nan")), place.epoch
            weights = trainable_state(self.model)
            if distributed.is_main():
                self.checkpoints.write_best({"key": self.key, "epoch": place.epoch, "model": weights, "report": report})
        place.epoch, place.step_in_epoch, place.sums = place.epoch + 1, 0, {}
        self.save()
        return report
