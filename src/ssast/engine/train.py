"""A model with `loss(batch)` and batches in; trained weights, the best of them by validation, and a log out."""

import math
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR
from tqdm import tqdm

from ssast.engine.checkpoint import Progress, load_trainable, read_state, sweep_strays, trainable_state, write_state
from ssast.engine.hardware import own_chance, to_device
from ssast.engine.log import RunLog
from ssast.errors import UserError

Batch = dict[str, Any]
VALIDATION = 1 << 20  # keeps the chance of validation apart from that of every training step


class Trainable(Protocol):
    """What the loop asks of a model: a loss, with other numbers worth logging beside it."""

    def loss(self, batch: Batch, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """0-dim tensors, `loss` among them."""
        ...


@dataclass(frozen=True)
class Recipe:
    """How to train: rates per optimiser step, seeds, and the longest time [s] between two checkpoints."""

    epochs: int = 1
    learning_rate: float = 3e-4
    optim: str = "adam"
    weight_decay: float = 1e-4
    scheduler: str | None = None
    max_lr: float = 0.01
    seed: int = 0
    save_every_seconds: float = 60.0
    tensorboard: bool = False


@dataclass(frozen=True)
class Feed:
    """The batches: `train(epoch, start)` yields an epoch's `steps` from number `start` on, `validation()` all."""

    train: Callable[[int, int], Iterable[Batch]]
    validation: Callable[[], Iterable[Batch]]
    steps: int
    prepare: Callable[..., Batch]


@dataclass(frozen=True)
class Outcome:
    """What training left: the best epoch (from 0), what it reported, and the steps done in this process."""

    best_epoch: int
    report: dict[str, float]
    steps: int


class Interrupted(Exception):  # noqa: N818 - it is an event, not an error
    """SIGINT or SIGTERM came and the run's state is saved."""


def chance(device: torch.device, *key: int) -> torch.Generator:
    """A generator that depends on the key alone; torch's global generators are seeded alike, for dropout."""
    seed = int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> 1)
    torch.manual_seed(seed)
    return torch.Generator(device=device).manual_seed(seed)


def optimiser(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Adam or AdamW over what is trainable; weight decay belongs to AdamW, as in the seed."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    fused = parameters[0].device.type in ("cpu", "cuda")
    if recipe.optim == "adamw":
        return torch.optim.AdamW(parameters, lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=fused)
    if recipe.optim == "adam":
        return torch.optim.Adam(parameters, lr=recipe.learning_rate, fused=fused)
    raise UserError(f"optim {recipe.optim!r} is unknown; give --optim adam or adamw.")


def schedule(optimizer: torch.optim.Optimizer, recipe: Recipe, steps: int) -> LRScheduler | None:
    """The learning-rate schedule over all `steps`, stepped once an optimiser step."""
    if recipe.scheduler is None:
        return None
    if recipe.scheduler == "onecycle":
        return OneCycleLR(optimizer, max_lr=recipe.max_lr, total_steps=steps)
    raise UserError(f"scheduler {recipe.scheduler!r} is unknown; give --scheduler onecycle or None.")


@torch.no_grad()
def validate(model: Trainable, feed: Feed, accelerator: Accelerator, seed: int) -> dict[str, float]:
    """Mean of each number of `model.loss` over the validation clips, all counting alike; {} without clips."""
    sums: dict[str, float] = {}
    clips = 0
    with own_chance(accelerator.device):
        for index, batch in enumerate(feed.validation()):
            if not batch["uid"]:  # all its recordings were skipped
                continue
            # The same masks every epoch, so that epochs can be compared.
            generator = chance(accelerator.device, seed, VALIDATION, index)
            with accelerator.autocast():
                losses = model.loss(feed.prepare(to_device(batch, accelerator.device)), generator)
            _add(sums, _numbers(losses), len(batch["uid"]))
            clips += len(batch["uid"])
    return {name: value / clips for name, value in sums.items()}


def _numbers(losses: dict[str, Tensor]) -> dict[str, float]:
    return {name: float(value.detach()) for name, value in losses.items()}


def _add(sums: dict[str, float], numbers: dict[str, float], clips: int) -> None:
    for name, value in numbers.items():
        sums[name] = sums.get(name, 0.0) + value * clips


@contextmanager
def _asked_to_stop() -> Iterator[threading.Event]:
    """An event that SIGINT and SIGTERM set; a second SIGINT ends the process at once, as without us."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def note(number: int, frame: FrameType | None) -> None:
        asked.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Run:
    """One training run: its optimiser, where it stands, and the folder that holds its checkpoints."""

    def __init__(self, model: nn.Module, feed: Feed, recipe: Recipe, folder: Path, accelerator: Accelerator, key: str):
        self.model, self.feed, self.recipe, self.accelerator, self.key = model, feed, recipe, accelerator, key
        self.trained: Any = model  # the same object, seen as something with a loss
        self.optimizer = optimiser(model, recipe)
        self.scheduler = schedule(self.optimizer, recipe, recipe.epochs * feed.steps)
        self.progress = Progress()
        self.last, self.best = folder / "checkpoints" / "last.pt", folder / "checkpoints" / "best.pt"
        self.saved_at = time.monotonic()

    @property
    def rate(self) -> float:
        """The learning rate that the next step takes."""
        return float(self.optimizer.param_groups[0]["lr"])

    def restore(self) -> bool:
        """Go on from `last.pt` where it holds a run of the same key."""
        sweep_strays(self.last.parent)
        state = read_state(self.last)
        if state is None or state["key"] != self.key:
            return False
        load_trainable(self.model, state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.scheduler is not None:
            self.scheduler.load_state_dict(state["scheduler"])
        self.progress = Progress(**state["progress"])
        return True

    def save(self) -> None:
        """Write `last.pt`, whole or not at all."""
        scheduler = self.scheduler.state_dict() if self.scheduler is not None else None
        state = {
            "key": self.key,
            "progress": asdict(self.progress),
            "model": trainable_state(self.model),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": scheduler,
        }
        write_state(self.last, state)
        self.saved_at = time.monotonic()

    def step(self, batch: Batch) -> dict[str, float]:
        """One optimiser step; the numbers of `model.loss`. UserError with the uids when the loss is not finite."""
        place = self.progress
        if not batch["uid"]:  # all its recordings were skipped; the batches after it keep their numbers
            place.step_in_epoch += 1
            return {}
        generator = chance(self.accelerator.device, self.recipe.seed, place.epoch, place.step_in_epoch)
        with self.accelerator.autocast():
            prepared = self.feed.prepare(to_device(batch, self.accelerator.device), generator)
            losses = self.trained.loss(prepared, generator)
        numbers = _numbers(losses)
        if not math.isfinite(numbers["loss"]):
            uids = ", ".join(batch["uid"])
            kept = f"; the state before is in {self.last.parent}" if self.last.exists() else ""
            raise UserError(
                f"the loss became {numbers['loss']} in epoch {place.epoch + 1} on the clips {uids}; lower "
                f"--learning_rate or --max_lr, or look at these clips{kept}."
            )
        self.optimizer.zero_grad(set_to_none=True)
        self.accelerator.backward(losses["loss"])
        self.optimizer.step()
        if self.scheduler is not None:
            self.scheduler.step()
        _add(place.sums, numbers | {"clips": 1.0}, len(batch["uid"]))
        place.step += 1
        place.step_in_epoch += 1
        return numbers

    def end_epoch(self) -> dict[str, Any]:
        """Validate, keep the weights where they are the best so far, and turn to the next epoch; the epoch's report."""
        place = self.progress
        clips = place.sums.pop("clips", 0.0)
        report = {f"train_{name}": value / clips for name, value in place.sums.items()} if clips else {}
        self.model.eval()
        found = validate(self.trained, self.feed, self.accelerator, self.recipe.seed)
        self.model.train()
        report |= {f"validation_{name}": value for name, value in found.items()}
        # Without validation clips the last epoch counts as the best.
        if not found or found["loss"] < place.best_loss or place.best_epoch < 0:
            place.best_loss, place.best_epoch = found.get("loss", float("nan")), place.epoch
            best = {"key": self.key, "epoch": place.epoch, "model": trainable_state(self.model), "report": report}
            write_state(self.best, best)
        place.epoch, place.step_in_epoch, place.sums = place.epoch + 1, 0, {}
        self.save()
        return report


def train(
    model: nn.Module, feed: Feed, recipe: Recipe, folder: Path, accelerator: Accelerator, *, key: str = ""
) -> Outcome:
    """Train `model` in place and leave the best weights in it; checkpoints and `log.jsonl` go to `folder`.

    A run of the same `key` in `folder` is gone on with, to the weights that an undisturbed run reaches: all
    chance comes from (seed, epoch, step). Interrupted after SIGINT or SIGTERM, with the state saved; UserError when the
    loss is not finite.
    """
    model.to(accelerator.device).train()
    run = Run(model, feed, recipe, folder, accelerator, key)
    resumed = run.restore()
    log = RunLog(folder, resume_step=run.progress.step, tensorboard=recipe.tensorboard)
    if resumed:
        tqdm.write(_where(run))
    first = run.progress.step
    with own_chance(accelerator.device), _asked_to_stop() as asked:
        while run.progress.epoch < recipe.epochs:
            _epoch(run, log, asked)
    log.close()
    best = read_state(run.best)
    if best is None:
        raise UserError(
            f"{run.best} is gone, and with it the best weights of this run; start anew with --resume never."
        )
    load_trainable(model, best["model"])
    model.eval()
    return Outcome(run.progress.best_epoch, best["report"], run.progress.step - first)


def _where(run: Run) -> str:
    place = run.progress
    if place.epoch == run.recipe.epochs:
        return "this run is trained already; --resume never trains it anew"
    return f"going on in epoch {place.epoch + 1}, after {place.step_in_epoch} of {run.feed.steps} batches"


def _epoch(run: Run, log: RunLog, asked: threading.Event) -> None:
    """The rest of the epoch that the run stands in, with its bar, its checkpoints and its report."""
    place, began, seen = run.progress, time.monotonic(), 0
    title = f"epoch {place.epoch + 1}/{run.recipe.epochs}"
    batches = run.feed.train(place.epoch, place.step_in_epoch)
    with tqdm(total=run.feed.steps, initial=place.step_in_epoch, desc=title, unit="batch", dynamic_ncols=True) as bar:
        for batch in batches:
            losses = run.step(batch)
            seen += len(batch["uid"])
            speed = seen / (time.monotonic() - began)
            bar.set_postfix(loss=f"{losses.get('loss', math.nan):.4f}", lr=f"{run.rate:.2g}", clips_s=f"{speed:.1f}")
            bar.update()
            if asked.is_set():
                run.save()
                raise Interrupted(f"stopped after step {place.step}; the same command goes on from there")
            if time.monotonic() - run.saved_at > run.recipe.save_every_seconds:
                run.save()
    speed = seen / (time.monotonic() - began)
    epoch, step = place.epoch + 1, place.step
    report = run.end_epoch()
    log.report(epoch=epoch, step=step, learning_rate=run.rate, clips_per_second=round(speed, 2), **report)
    tqdm.write(f"{title}: " + ", ".join(f"{name.replace('_', ' ')} {value:.4f}" for name, value in report.items()))
