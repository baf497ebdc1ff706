"""Train a model that has `loss(batch)`: run the epochs, keep the best weights by validation, and log the progress."""

import itertools
import json
import signal
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from torch import nn
from tqdm import tqdm

from ssast import redaction
from ssast.data.batch import Batch
from ssast.data.storage.atomic_writes import check_inside
from ssast.engine import distributed
from ssast.engine.averages import Means
from ssast.engine.checkpoint import BestWeights, load_trainable, read_state
from ssast.engine.hardware import Engine, own_chance
from ssast.engine.optimiser import TrainingSettings
from ssast.engine.signals import StopRequest, asked_to_stop
from ssast.engine.trainable import TrainingBatches
from ssast.engine.training_run import Run
from ssast.errors import Interrupted, UserError
from ssast.safe_reading import json_of, text_of

MOST_LOG_BYTES = 1 << 27
"""Of a log to go on with: a line takes some 200."""
BAR_SECONDS = 0.5
"""The progress bar is drawn anew after so long [s]."""
WATCHED_STEPS, LONG_WAIT = 50, 0.2
"""After so many steps a GPU that waited for more than this share of the time is told of."""


@dataclass(frozen=True)
class Outcome:
    """What training left: the best epoch (from 0), what it reported, and the steps done in this process."""

    best_epoch: int
    report: dict[str, float]
    steps: int


def train(
    model: nn.Module,
    batches: TrainingBatches,
    settings: TrainingSettings,
    folder: Path,
    engine: Engine,
    *,
    key: str = "",
) -> Outcome:
    """Train `model` in place and leave the best weights in it; checkpoints and `log.jsonl` go to `folder`.

    A run of the same `key` in `folder` is gone on with, to the weights that an undisturbed run reaches: all
    chance comes from (seed, epoch, step). Interrupted after SIGINT or SIGTERM, with the state saved; UserError where a
    loss, a gradient or a weight is not finite, and then the last good state is what is kept.
    """
    model.to(engine.device).train()
    distributed.check_alike((_trained(model), batches.steps), "models or training rows")
    run = Run(model, batches, settings, folder, engine, key)
    try:
        _run(run, folder)
    finally:
        run.checkpoints.close()
    report = run.best_report
    if report is None:  # another epoch was better than the last, or all were done before
        best = _best(run)
        load_trainable(model, best["model"])
        report = best["report"]
    model.eval()
    return Outcome(run.progress.best_epoch, report, run.steps_here)


def _trained(model: nn.Module) -> list[tuple[str, tuple[int, ...]]]:
    """The names and shapes of the parameters that are trained."""
    return [(name, tuple(one.shape)) for name, one in model.named_parameters() if one.requires_grad]


def _run(run: Run, folder: Path) -> None:
    """All epochs that are left, each with its report; comes back when the last state is written."""
    resumed = run.restore()
    distributed.wait()  # before the first checkpoint is replaced, all have read it
    log = (
        RunLog(folder, epochs=run.progress.epoch, tensorboard=run.settings.tensorboard)
        if distributed.is_main()
        else None
    )
    if resumed and log:
        tqdm.write(_where(run))
    watch = _Watch(run)
    with own_chance(run.engine.device), asked_to_stop() as asked:
        while not run.is_over:
            _epoch(run, log, asked, watch)
    if log:
        if run.progress.epoch < run.settings.epochs:
            tqdm.write(f"stopped early: no better validation loss in the last {run.settings.patience} epochs")
        log.close()
    run.checkpoints.flush()
    distributed.wait()


def _best(run: Run) -> BestWeights:
    best = read_state(run.checkpoints.best)
    if best is None:
        raise UserError(
            f"{run.checkpoints.best} is gone, and with it the best weights of this run; "
            "start anew with --resume never.",
            path=run.checkpoints.best,
        )
    if not {"model", "report"} <= best.keys() or not isinstance(best["report"], dict):
        raise UserError(
            f"{run.checkpoints.best} does not hold the best weights of a run; start anew with --resume never.",
            path=run.checkpoints.best,
        )
    return cast(BestWeights, best)


def _where(run: Run) -> str:
    place = run.progress
    if run.is_over:
        return "this run is trained already; --resume never trains it anew"
    return f"going on in epoch {place.epoch + 1}, after {place.step_in_epoch} of {run.batches.steps} batches"


def _steps(batches: Iterable[Batch], pieces: int) -> Iterator[list[Batch]]:
    """The pieces of each step together."""
    several = iter(batches)
    while step := list(itertools.islice(several, pieces)):
        yield step


class _Watch:
    """Looks whether a GPU has nothing to do while recordings are read, and says so once."""

    def __init__(self, run: Run):
        self.run, self.steps, self.waited, self.began = run, 0, 0.0, time.monotonic()

    def over(self, steps: Iterator[list[Batch]]) -> Iterator[list[Batch]]:
        """Pass the steps on, and watch how long each is waited for."""
        asked = time.monotonic()
        for pieces in steps:
            if self.run.is_idle:
                self.waited += time.monotonic() - asked
            self.steps += 1
            if self.steps == WATCHED_STEPS:
                self._say(self.waited / (time.monotonic() - self.began))
            yield pieces
            asked = time.monotonic()

    def _say(self, share: float) -> None:
        if share > LONG_WAIT and not self.run.batches.workers and distributed.is_main():
            tqdm.write(
                f"the GPU waits for recordings in {100 * share:.0f} % of the time: "
                "--num_workers auto lets other processes read them"
            )


def _epoch(run: Run, log: "RunLog | None", asked: StopRequest, watch: _Watch) -> None:
    """Train the rest of the current epoch, with its progress bar, its checkpoints and its report."""
    place, began, before = run.progress, time.monotonic(), run.clips
    title = f"epoch {place.epoch + 1}/{run.settings.epochs}"
    batches = run.batches.train(place.epoch, place.step_in_epoch)
    with tqdm(
        total=run.batches.steps,
        initial=place.step_in_epoch,
        desc=title,
        unit="batch",
        dynamic_ncols=True,
        mininterval=BAR_SECONDS,
        disable=not distributed.is_main(),
    ) as bar:
        for pieces in watch.over(_steps(batches, run.batches.pieces)):
            means = run.step(pieces, stop=asked.is_set())
            _show(bar, means, run.rate, (run.clips - before) / (time.monotonic() - began))
            if means.stops or (distributed.size() == 1 and asked.is_set()):
                run.save()
                run.checkpoints.flush()
                sentence = f"stopped after step {place.step}; the same command goes on from there"
                raise Interrupted(sentence, asked.number or signal.SIGTERM)
            if time.monotonic() - run.saved_at > run.settings.save_every_seconds:
                run.save()
        run.settle()
    speed = (run.clips - before) / (time.monotonic() - began)
    epoch, step = place.epoch + 1, place.step
    report = run.end_epoch()
    if log:
        log.report(epoch=epoch, step=step, learning_rate=run.rate, clips_per_second=round(speed, 2), **report)
        shown = (f"{name.replace('_', ' ')} {value:.4f}" for name, value in report.items())
        tqdm.write(f"{title}: " + ", ".join(shown))


def _show(bar: tqdm, means: Means, rate: float, speed: float) -> None:
    """Count a batch; the bar is drawn anew every so often, not each time."""
    loss = {"loss": f"{means.numbers['loss']:.4f}"} if means.numbers else {}
    bar.set_postfix({"clips_s": f"{speed:.1f}", **loss, "lr": f"{rate:.2g}"}, refresh=False)
    bar.update()


class RunLog:
    """Appends one JSON line a report to `folder/log.jsonl`; its numbers go to `folder/tensorboard` too where asked."""

    def __init__(self, folder: Path, *, epochs: int = 0, tensorboard: bool = False):
        """Go on with the log of a run that has so many whole epochs behind it; 0 begins anew."""
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "log.jsonl"
        last = self._keep(epochs)
        self.writer = _tensorboard_writer(folder / "tensorboard", last) if tensorboard else None

    def _keep(self, epochs: int) -> int:
        """Drop the lines of later epochs, which run again; the last step that is still reported."""
        check_inside(self.path)
        try:
            lines = text_of(self.path, MOST_LOG_BYTES).splitlines() if epochs and self.path.exists() else []
        except (OSError, ValueError) as error:
            raise UserError(
                f"{self.path} cannot be read ({error}); remove it, and the run goes on.", path=self.path
            ) from error
        kept = [line for line in lines if _number(line, "epoch") <= epochs]
        self.path.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
        return int(max((_number(line, "step") for line in kept), default=0))

    def report(self, **values: Any) -> None:
        """Write one line; `step` must be among the values."""
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps({key: _plain(value) for key, value in values.items()}) + "\n")
        if self.writer is not None:
            for key, value in values.items():
                if isinstance(value, int | float) and key != "step":
                    self.writer.add_scalar(key, value, values["step"])

    def close(self) -> None:
        """Write what TensorBoard has not yet written."""
        if self.writer is not None:
            self.writer.close()


def _number(line: str, name: str) -> float:
    """The epoch or step of a line; later than any for a line that was not written whole."""
    try:
        values = json_of(line)
        found = values[name] if isinstance(values["step"], int) else None
    except (ValueError, KeyError, TypeError):
        return float("inf")
    return found if isinstance(found, int) else float("inf")


def _plain(value: Any) -> Any:
    """Values for JSON: short numbers, null for those that JSON lacks, and text as it may be shown."""
    if isinstance(value, str):
        return redaction.shown(value)
    if isinstance(value, float):
        return float(f"{value:.6g}") if value == value and abs(value) != float("inf") else None
    return value


def _tensorboard_writer(folder: Path, last: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        message = "--tensorboard True needs the package tensorboard; install it with: pip install 'ssast[tensorboard]'."
        raise UserError(message) from error
    # TensorBoard takes away what was reported at this step and later.
    return SummaryWriter(str(folder), purge_step=last + 1 if last else None)
