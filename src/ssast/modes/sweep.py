"""A pretrained model and labelled recordings in; how well a head on each layer and pooling does on validation out."""

import contextlib
import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import nn
from tqdm import tqdm

from ssast import __version__
from ssast.data.features import States, StatesTable
from ssast.data.storage.atomic_writes import atomic_file
from ssast.data.tables.balance import positive_weights
from ssast.data.tables.label_columns import MEAN
from ssast.engine import distributed
from ssast.engine.optimiser import TrainingSettings
from ssast.engine.parallel_heads import ParallelHeads
from ssast.engine.train import TrainingBatches, train
from ssast.errors import UserError
from ssast.metrics.measures import SOFT_POSITIVE
from ssast.metrics.scores import score
from ssast.model.classification import SSASTForAudioClassification
from ssast.model.encoder import NUM_STATES
from ssast.model.finite import check_answers
from ssast.model.head import POOLINGS
from ssast.modes.sweep_journal import Journal, Scores, opened
from ssast.options.declaration import altering
from ssast.options.options import SPECS, Options
from ssast.pages.tables import TITLES, number, text_table
from ssast.runs.audio_settings import Settings, audio_settings
from ssast.runs.context import RunContext, say
from ssast.runs.cross_validation import spread
from ssast.runs.features import Pooler, all_states, check_some, own_states, pooled_table, with_pooled
from ssast.runs.models import classification_model
from ssast.runs.output.changed_recordings import RememberedRecordings
from ssast.runs.output.folder import nothing_half_written, open_folder, run_key, used_files
from ssast.runs.output.lock import alone
from ssast.runs.output.notes import note_recordings
from ssast.runs.output.uploads import uploaded
from ssast.runs.rows import Rows, target_labels, training_rows
from ssast.runs.training import training_batches, training_settings

MEASURES = {"BCE": ("auc",), "MSE": ("spearman", "rmse")}
"""What sweep.csv holds; the first is on the screen and says what is best."""
WEIGHTED = "weighted"


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
        """How finetune is told."""
        return f"--task {self.task} " + ("--weighted True" if self.layer is None else f"--layer {self.layer}")


CHOICES = [Choice(task, layer) for layer in (*range(NUM_STATES), None) for task in POOLINGS]


@alone("sweep")
@uploaded("sweep")
@nothing_half_written
def sweep(options: Options | None = None, /, **overrides: Any) -> Path:
    """Train a head on each layer and pooling of a pretrained model and score it on validation clips; sweep.csv."""
    context = RunContext.of(options, "sweep", overrides)
    if distributed.size() > 1:
        raise UserError("sweep is one process's work; start it without accelerate launch or torchrun.")
    options = context.options
    settings, labels = audio_settings(options), target_labels(options)
    splits = [training_rows(replace(options, seed=options.seed + number), labels) for number in range(options.seeds)]
    train_rows, held_out = splits[0]
    model = classification_model(replace(options, freeze=True), labels, settings)
    runs = [_run(context, options.seed + number, split, settings) for number, split in enumerate(splits)]
    files = used_files(options, train_rows.source)
    clips = {"train": len(train_rows.frame), "validation": len(held_out.frame)}
    folder = open_folder(options, clips=clips, files=files, trains=False)
    _say_left_aside(options)
    _check_held_out([held_out.targets for _, held_out in splits], options)
    # The splits of all seeds are made of the same recordings.
    table = pooled_table(Pooler(context, model, settings, all_states(model), autocast=True), train_rows, held_out)
    check_some(context, table)
    heard = RememberedRecordings.of(options, train_rows, held_out)
    journal = opened(folder / ".parts" / "sweep", f"{run_key(options, files)} {__version__}", heard, options)
    found = _all_heads(runs, model, table, journal)
    best = _best(found, options, clips["validation"])
    with atomic_file(folder / "sweep.csv") as beside:
        _csv(found, options).to_csv(beside, index=False)
    journal.remove()
    note_recordings(context, folder, train_rows.frame.index, held_out.frame.index)
    context.skipped.leave()
    _show(found, best, options, clips["validation"], folder / "sweep.csv")
    return folder / "sweep.csv"


@dataclass(frozen=True)
class _Run:
    """What the heads of one seed have in common."""

    context: RunContext
    training_batches: TrainingBatches
    positives: Sequence[float] | None

    @property
    def name(self) -> str:
        return f"seed-{self.context.options.seed}"


def _run(context: RunContext, seed: int, split: tuple[Rows, Rows], settings: Settings) -> _Run:
    own = replace(context, options=replace(context.options, seed=seed))
    positives = positive_weights(split[0].targets).tolist() if own.options.pos_weight else None
    return _Run(own, training_batches(own, *split, settings), positives)


def _check_held_out(targets: Sequence[NDArray[np.float64]], options: Options) -> None:
    """UserError where no label of any seed's validation rows could be scored: known before the base has run."""
    level = SOFT_POSITIVE if options.loss == "BCE" else None
    for targets_RN in targets:
        for label_R in targets_RN.T:
            known_r = label_R[~np.isnan(label_R)]
            if len(np.unique(known_r if level is None else known_r >= level)) > 1:
                return
    raise _no_score(options, len(targets[0]))


def _no_score(options: Options, clips: int) -> UserError:
    return UserError(
        f"the {clips} held-out clips define no {TITLES[MEASURES[options.loss][0]]} for any label; "
        "hold out more with --val_share."
    )


def _say_left_aside(options: Options) -> None:
    """A config of finetune may alter recordings or train the base, which a sweep does not."""
    names = [*altering(options), "unfreeze_last", "lora_rank", "freeze"]
    values = {name: getattr(options, name) for name in names}
    aside = [f"--{name} {value}" for name, value in values.items() if value != SPECS[name].default]
    if aside:
        say(f"{', '.join(aside)} left aside: a sweep keeps the base and the recordings as they are")


def _all_heads(
    runs: Sequence[_Run], model: SSASTForAudioClassification, table: StatesTable, journal: Journal
) -> dict[Choice, dict[str, Scores]]:
    """The scores of each choice, by the name of the seed."""
    found: dict[Choice, dict[str, Scores]] = {choice: {} for choice in CHOICES}
    with tqdm(total=len(CHOICES) * len(runs), desc="sweep", unit="head", dynamic_ncols=True) as bar:
        for run, together in itertools.product(runs, _groups(runs[0].context.options)):
            names = {choice: f"{choice.task} {choice.shown} {run.name}" for choice in together}
            if any(name not in journal.done for name in names.values()):
                for choice, scores in _train_heads(run, model, table, together).items():
                    journal.add(names[choice], scores)
            for choice, name in names.items():
                found[choice][run.name] = journal.done[name]
            bar.update(len(together))
    return found


def _groups(options: Options) -> list[list[Choice]]:
    """The choices whose heads can be trained beside each other: the norm of gradients belongs to one alone."""
    if options.clip_grad:
        return [[choice] for choice in CHOICES]
    single = [[one for one in CHOICES if one.task == task and one.layer is not None] for task in POOLINGS]
    return [*single, *([choice] for choice in CHOICES if choice.layer is None)]


def _train_heads(
    run: _Run, model: SSASTForAudioClassification, table: StatesTable, together: list[Choice]
) -> dict[Choice, Scores]:
    """Train heads as finetune would, and score the best epoch of each on the validation clips."""
    if len(together) == 1:
        _renew(run, model, together[0])
        _train(run, model, with_pooled(run.feed, table, own_states(model)), training_settings(run.context.options))
        return {together[0]: _score(run, model, table)}
    options, layers = run.context.options, [choice.layer for choice in together if choice.layer is not None]
    _renew(run, model, together[0])
    kind: dict[str, Any] = {"task": together[0].task, "layers": layers, "seed": options.seed}
    heads = ParallelHeads(model, **kind, patience=options.patience)
    states = States((together[0].task,), tuple(layers), model.v.width)
    _train(run, heads, with_pooled(run.feed, table, states), replace(training_settings(options), patience=0))
    found = {}
    for place, choice in enumerate(together):
        _renew(run, model, choice)
        model.mlp_head.load_state_dict(heads.best(place))
        found[choice] = _score(run, model, table)
    return found


def _renew(run: _Run, model: SSASTForAudioClassification, choice: Choice) -> None:
    layer = -1 if choice.layer is None else choice.layer
    model.renew_head(task=choice.task, layer=layer, weighted=choice.layer is None, seed=run.context.options.seed)
    if run.positives is not None:
        model.weigh_positives(run.positives)


def _train(run: _Run, heads: nn.Module, batches: TrainingBatches, how: TrainingSettings) -> None:
    """`train` without its words and its checkpoints."""
    how = replace(how, tensorboard=False, save_every_seconds=float("inf"))
    with TemporaryDirectory(prefix="ssast-sweep-") as folder, _silence():
        train(heads, batches, how, Path(folder), run.context.accelerator)


def _score(run: _Run, model: SSASTForAudioClassification, table: StatesTable) -> Scores:
    options, device = run.context.options, run.context.accelerator.device
    model.eval()
    seen = [batch for batch in with_pooled(run.feed, table, own_states(model)).validation() if batch["uid"]]
    scores = torch.cat(
        [check_answers(batch["uid"], model.score_pooled(batch["pooled"].to(device)).cpu()) for batch in seen]
    )
    targets = torch.cat([batch["targets"] for batch in seen])
    metrics = score(targets.numpy(), scores.numpy(), model.labels or [], loss=options.loss)
    return {
        name: {measure: entry[measure] for measure in MEASURES[options.loss]}
        for name, entry in (*metrics["labels"].items(), (MEAN, metrics["mean"]))
    }


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Thirty trainings would fill the screen with their epochs."""
    with (
        open(os.devnull, "w", encoding="utf-8") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        yield


def _mean(of_choice: Mapping[str, Scores], measure: str) -> float | None:
    """The mean over labels and seeds, of what is defined."""
    return spread({seed: scores[MEAN][measure] for seed, scores in of_choice.items()})["mean"]


def _best(found: Mapping[Choice, Mapping[str, Scores]], options: Options, clips: int) -> Choice:
    means = {choice: _mean(scores, MEASURES[options.loss][0]) for choice, scores in found.items()}
    known = {choice: mean for choice, mean in means.items() if mean is not None}
    if not known:
        raise _no_score(options, clips)
    return max(known, key=lambda choice: known[choice])


def _undefined(found: Mapping[Choice, Mapping[str, Scores]], measure: str) -> list[str]:
    """The labels whose measure no head has in any seed."""
    (first, *_) = found.values()
    labels = [label for label in next(iter(first.values())) if label != MEAN]
    return [label for label in labels if all(scores[label][measure] is None for scores in first.values())]


def _csv(found: Mapping[Choice, Mapping[str, Scores]], options: Options) -> pd.DataFrame:
    """A row a choice, label and measure: the mean over the seeds, how it spreads, and each seed's value."""
    rows = [
        {"task": choice.task, "layer": choice.shown, "label": label, "measure": measure}
        | spread({seed: scores[label][measure] for seed, scores in of_choice.items()})
        for choice, of_choice in found.items()
        for label in next(iter(of_choice.values()))
        for measure in MEASURES[options.loss]
    ]
    return pd.DataFrame(rows)


def _show(found: Mapping[Choice, Mapping[str, Scores]], best: Choice, options: Options, clips: int, path: Path) -> None:
    """The table, what is best, and what it may be used for."""
    measure = MEASURES[options.loss][0]
    title = f"{TITLES[measure]}, mean of the labels"
    rows = [["layer", *(f"{task}" for task in POOLINGS)]]
    for layer in dict.fromkeys(choice.layer for choice in CHOICES):
        choices = [Choice(task, layer) for task in POOLINGS]
        rows.append([choices[0].shown, *(number(_mean(found[choice], measure)) for choice in choices)])
    say(f"\n{title}, on {clips} validation clips" + (f", mean of {options.seeds} seeds" if options.seeds > 1 else ""))
    say(text_table(rows) + "\n")
    undefined = _undefined(found, measure)
    if undefined:
        say(f"left out of the mean, since the validation clips have only one answer to it: {', '.join(undefined)}")
    top = [choice for choice in found if _mean(found[choice], measure) == _mean(found[best], measure)]
    if len(top) > 1:
        say(f"{len(top)} heads tie at {number(_mean(found[best], measure))}: these clips cannot choose between them")
    say(f"best on validation: {best.options} ({TITLES[measure]} {number(_mean(found[best], measure))}), for finetune")
    say(
        f"The best of {len(CHOICES)} looks better on the clips that chose it than it is. test.csv was not opened: "
        "do not choose by test scores; let finetune score the choice there once."
    )
    say(f"every label and seed in {path}")
