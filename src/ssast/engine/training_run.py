"""Hold one training run: take its steps, validate, and save and load where it stands."""

import math
import time
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from ssast.data.batch import Batch
from ssast.engine import distributed
from ssast.engine.averages import NOTHING, Averages, Means, SharedGradients, Totals
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
from ssast.engine.hardware import Engine, chance_generator, to_device
from ssast.engine.optimiser import TrainingSettings, optimiser, schedule
from ssast.engine.trainable import TrainingBatches, validate
from ssast.errors import UserError
from ssast.model.finite import LARGEST_WEIGHT, fault

EPOCH_SECONDS = 60.0
"""The state at an epoch's end is not written within this time of the one before: epochs may take seconds [s]."""


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
        self.optimizer = optimiser(model, settings, torch.bfloat16 if engine.bf16 else None)
        self.parameters = [one for group in self.optimizer.param_groups for one in group["params"]]
        self.scheduler = schedule(self.optimizer, settings, settings.epochs * batches.steps)
        self.progress = TrainState()
        self.checkpoints = CheckpointWriter(folder / "checkpoints", older=settings.keep_checkpoints - 1)
        self.saved_at = time.monotonic()
        self.best_report: dict[str, float] | None = None  # while the model has the weights of its best epoch
        self.first_step = 0
        self.clips = 0
        self.queued: tuple[Totals, list[str]] | None = None
        self.newest = NOTHING
        self.shared = SharedGradients(model, self.parameters)

    @property
    def steps_here(self) -> int:
        """The steps that this process has done."""
        return self.progress.step - self.first_step

    @property
    def reads_late(self) -> bool:
        """Whether a step's numbers are read while the device is at the next: looking at once would wait for it."""
        return self.engine.device.type == "cuda"

    @property
    def is_idle(self) -> bool:
        """Whether the device, where it works by itself, has done all that it was given."""
        return self.queued is not None and self.queued[0].is_here

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
        """Write `last.pt` in the background, complete or not at all, and the best weights where they are new.

        UserError where the last step or the weights are not finite: nothing is written then.
        """
        self.settle()
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
        """Take one optimiser step on a batch in pieces; the means of `model.loss` on all processes, of the newest step.

        A GPU is left at work: its means are those of the step before, whose numbers have come meanwhile. `stop` says
        that this process was asked to stop. UserError with the uids where the loss or the gradient is not finite; no
        step was taken then, nor one after it.
        """
        sums = Averages(self.engine.device)
        self.optimizer.zero_grad(set_to_none=True)
        self._add_gradients(pieces, sums)
        self.settle()
        totals = sums.totals(stop=stop, gradient=gradient_norm(self.parameters))
        self.queued = totals, [uid for piece in pieces for uid in piece["uid"]]
        newest = self.newest
        self._descend(totals)
        self.progress.step_in_epoch += 1  # batches after one that was skipped keep their numbers
        return newest if self.reads_late else self.settle()

    def settle(self) -> Means:
        """Read the numbers of the newest step, if that was not done, and count it; its means.

        UserError with the uids where they are not finite.
        """
        if self.queued is None:
            return self.newest
        (totals, uids), self.queued = self.queued, None
        self.newest = means = totals.means()
        if not all(map(math.isfinite, means.numbers.values())):
            raise self._astray("loss", means.numbers["loss"], uids)
        if not math.isfinite(means.gradient):
            raise self._astray("gradient", means.gradient, uids)
        if means.clips:
            self._count(means)
        return means

    def _add_gradients(self, pieces: list[Batch], sums: Averages) -> None:
        """Gradients and numbers of the step's pieces; those of several processes travel with this one's last."""
        numbers = range(distributed.rank(), distributed.size() * len(pieces), distributed.size())
        # A piece may be empty: all its recordings were skipped, or the epoch ended before it.
        own = [(number, piece) for number, piece in zip(numbers, pieces, strict=True) if piece["uid"]]
        if not self.shared.is_ready:
            self.shared.meet(self._losses(*own[0])["loss"] if own else None)
        for number, piece in own[:-1]:
            with self.shared.apart():
                self._add_gradient(number, piece, sums)
        if own:
            self._add_gradient(*own[-1], sums)
        else:
            self.shared.nothing()

    def _add_gradient(self, number: int, piece: Batch, sums: Averages) -> None:
        losses = self._losses(number, piece)
        weight = sums.add(losses, len(piece["uid"]))
        (losses["loss"] if self._is_whole else losses["loss"] * weight).backward()

    def _losses(self, number: int, piece: Batch) -> dict[str, Tensor]:
        """What the model says of piece `number` of the step, which draws its own chance."""
        place, device = self.progress, self.engine.device
        generator = chance_generator(device, self.settings.seed, place.epoch, place.step_in_epoch, number)
        with self.engine.autocast():
            return self.shared.loss(self.batches.prepare(to_device(piece, device), generator), generator)

    @property
    def _is_whole(self) -> bool:
        """Whether a step's batch goes through the model at once, so that its mean needs no other's."""
        return self.batches.pieces == 1 and distributed.size() == 1

    def _descend(self, totals: Totals) -> None:
        """The optimiser's step with the gradients of all pieces; a GPU sees by itself where they are unfit for one."""
        gradients = [parameter.grad for parameter in self.parameters if parameter.grad is not None]
        if gradients and not self._is_whole:  # several processes have the mean of theirs
            torch._foreach_mul_(gradients, (distributed.size() / totals.count.clamp(min=1)).float())
        if self.settings.clip_grad:
            nn.utils.clip_grad_norm_(self.parameters, self.settings.clip_grad)
        optimizer: Any = self.optimizer
        if optimizer.defaults["fused"]:
            optimizer.found_inf = totals.unfit
        elif totals.unfit:  # Apple's devices have to be waited for
            return
        optimizer.step()

    def _count(self, means: Means) -> None:
        """Note that a step was taken, and what it said."""
        place = self.progress
        for name, value in means.numbers.items():
            place.sums[name] = place.sums.get(name, 0.0) + value * means.count
        place.sums["count"] = place.sums.get("count", 0.0) + means.count
        place.step += 1
        self.clips += means.clips
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
        self.settle()
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
        self.best_report = None
        # Without validation clips the last epoch counts as the best.
        if not found or found["loss"] < place.best_loss or place.best_epoch < 0:
            place.best_loss, place.best_epoch = found.get("loss", float("nan")), place.epoch
            self.best_report, weights = report, trainable_state(self.model)
            if distributed.is_main():
                self.checkpoints.keep_best({"key": self.key, "epoch": place.epoch, "model": weights, "report": report})
        place.epoch, place.step_in_epoch, place.sums = place.epoch + 1, 0, {}
        spacing = min(EPOCH_SECONDS, self.settings.save_every_seconds)
        if place.epoch == 1 or self.is_over or time.monotonic() - self.saved_at >= spacing:
            self.save()
        return report
