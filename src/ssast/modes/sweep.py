"""Train a head on each layer and pooling of a pretrained model, and compare them on validation clips: `ssast sweep`."""

import contextlib
import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import nn
from tqdm import tqdm

from ssast.data.features import States, StatesTable
from ssast.data.storage.atomic_writes import atomic_file
from ssast.data.tables.label_columns import MEAN
from ssast.data.tables.targets import positive_weights
from ssast.engine.hardware import Engine
from ssast.engine.optimiser import TrainingSettings
from ssast.engine.parallel_heads import CHOICES, Choice, ParallelHeads
from ssast.engine.train import train
from ssast.engine.trainable import TrainingBatches
from ssast.errors import UserError
from ssast.metrics.measures import SOFT_POSITIVE
from ssast.metrics.score_entries import measure_of
from ssast.metrics.scores import score
from ssast.model.classification import SSASTForAudioClassification
from ssast.model.head import POOLINGS
from ssast.model.label_kinds import MIXED, NUMBER, LabelKinds
from ssast.options.options import SPECS, Options
from ssast.pages.shown_kinds import SHOWN
from ssast.pages.tables import TITLES, number, text_table
from ssast.runs.batches import ClipReader
from ssast.runs.context import RunContext, say
from ssast.runs.cross_validation import spread
from ssast.runs.features import Pooler, all_states, check_some, own_states, pooled_scores, pooled_table, with_pooled
from ssast.runs.models import ModelSettings, audio_settings, begin_cuts, classification_model
from ssast.runs.output.folder import open_folder, used_files
from ssast.runs.output.notes import Listening, note_recordings
from ssast.runs.rows import Rows, label_kinds, training_rows
from ssast.runs.training import remember_skipped, training_batches, training_settings
from ssast.runs.wrapping.wrapper import Mode

Scores = dict[str, dict[str, float | None]]
"""By label, and under "mean": each measure."""
_Tables = tuple[StatesTable, StatesTable]


@Mode
def sweep(options: Options) -> Path:
    """Train a head on each layer and pooling of a pretrained model and score it on validation clips; sweep.csv."""
    context = RunContext.of(options)
    paths, audio = context.paths, audio_settings(options)
    asked = label_kinds(paths, options.loss, weighs=options.pos_weight + options.balanced)
    seeds = range(options.seed, options.seed + options.seeds)
    share, skips, way = options.val_share, options.on_bad_audio, options.raters
    splits = [training_rows(paths, asked, val_share=share, seed=seed, on_bad_audio=skips, raters=way) for seed in seeds]
    train_rows, held_out = splits[0]
    model = classification_model(paths, replace(ModelSettings.of(options), freeze=True), train_rows.kinds, audio)
    begin_cuts(model, train_rows)
    reader = ClipReader.of(context, audio)
    plan = Plan(training_settings(options), train_rows.kinds, context.engine, options.seeds)
    runs = [_run(plan, reader, options, seed, split) for seed, split in zip(seeds, splits, strict=True)]
    clips = {"train": len(train_rows.frame), "validation": len(held_out.frame)}
    files = used_files(paths, train_rows.source)
    folder = open_folder(context.record, clips=clips, files=files, trains=False)
    _say_left_aside(options)
    _check_held_out([held_out.targets for _, held_out in splits], plan)
    keeps = options.features == "auto"
    pooler = Pooler(reader, context.engine, model, all_states(model), True, options.cache_gb, keeps)
    tables = _tables(pooler, splits)
    check_some(context.skipped, tables[0])
    found = _all_heads(runs, model, tables)
    best = _best(found, plan, clips["validation"])
    with atomic_file(folder / "sweep.csv") as unfinished:
        _csv(found, plan).to_csv(unfinished, index=False)
    uids = (train_rows.frame.index, held_out.frame.index)
    note_recordings(context.record, context.skipped, folder, *uids, listening=Listening(audio, trains=True))
    context.skipped.leave()
    _show(found, best, plan, clips["validation"], folder / "sweep.csv")
    return folder / "sweep.csv"


@dataclass(frozen=True)
class Plan:
    """What all heads have in common: how they are trained, and what they are judged by."""

    training: TrainingSettings
    kinds: LabelKinds
    engine: Engine
    seeds: int

    @property
    def measures(self) -> tuple[str, ...]:
        """Name the measures of sweep.csv."""
        return ("auc",) if self.kinds.loss == MIXED else SHOWN[self.kinds.loss].swept


def _tables(pooler: Pooler, splits: Sequence[tuple[Rows, Rows]]) -> _Tables:
    """What heads are trained on, and what they are scored on: where recordings are scored whole, all their windows."""
    table = pooled_table(pooler, *splits[0])
    if not pooler.reader.is_whole:
        return table, table
    scored = splits[0][1:] if len(splits) == 1 else splits[0]  # other seeds hold out other recordings
    return table, pooled_table(replace(pooler, in_windows=True), *scored)


@dataclass(frozen=True)
class _Run:
    """What the heads of one seed have in common."""

    plan: Plan
    seed: int
    batches: TrainingBatches
    held_out: Rows
    positives: Sequence[float] | None

    @property
    def name(self) -> str:
        return f"seed-{self.seed}"


def _run(plan: Plan, reader: ClipReader, options: Options, seed: int, split: tuple[Rows, Rows]) -> _Run:
    positives = positive_weights(split[0].targets).tolist() if options.pos_weight else None
    reader = replace(reader, seed=seed, crop="start")
    remember_skipped(reader, Path(options.exp_dir), resume=options.resume)
    pieces = options.micro_batch or reader.batch_size
    batches = training_batches(reader, *split, piece_size=pieces, balanced=options.balanced)
    return _Run(replace(plan, training=replace(plan.training, seed=seed)), seed, batches, split[1], positives)


def _check_held_out(targets: Sequence[NDArray[np.float64]], plan: Plan) -> None:
    """UserError where no label of any seed's validation rows could be scored: known before the base has run."""
    level = SOFT_POSITIVE if plan.kinds.loss == "BCE" else None
    for targets_RN in targets:
        for label_R in targets_RN.T:
            known_r = label_R[~np.isnan(label_R)]
            if len(np.unique(known_r if level is None else known_r >= level)) > 1:
                return
    raise _no_score(plan, len(targets[0]))


def _no_score(plan: Plan, clips: int) -> UserError:
    return UserError(
        f"the {clips} held-out clips define no {TITLES[plan.measures[0]]} for any label; "
        "hold out more with --val_share."
    )


def _say_left_aside(options: Options) -> None:
    """A config of finetune may alter recordings or train the base, which a sweep does not."""
    names = [*options.altering, "crop", "unfreeze_last", "lora_rank", "freeze"]
    aside = [f"--{name} {getattr(options, name)}" for name in names if getattr(options, name) != SPECS[name].default]
    if aside:
        say(f"{', '.join(aside)} left aside: a sweep keeps the base and the recordings as they are")


def _all_heads(
    runs: Sequence[_Run], model: SSASTForAudioClassification, tables: _Tables
) -> dict[Choice, dict[str, Scores]]:
    """The scores of each choice, by the name of the seed."""
    found: dict[Choice, dict[str, Scores]] = {choice: {} for choice in CHOICES}
    with tqdm(total=len(CHOICES) * len(runs), desc="sweep", unit="head", dynamic_ncols=True) as bar:
        for run, together in itertools.product(runs, _groups(runs[0].plan)):
            for choice, scores in _train_heads(run, model, tables, together).items():
                found[choice][run.name] = scores
            bar.update(len(together))
    return found


def _groups(plan: Plan) -> list[list[Choice]]:
    """The groups of choices whose heads can be trained together; clipping gradients by their norm needs each alone."""
    if plan.training.clip_grad:
        return [[choice] for choice in CHOICES]
    single = [[one for one in CHOICES if one.task == task and one.layer is not None] for task in POOLINGS]
    return [*single, *([choice] for choice in CHOICES if choice.layer is None)]


def _train_heads(
    run: _Run, model: SSASTForAudioClassification, tables: _Tables, together: list[Choice]
) -> dict[Choice, Scores]:
    """Train heads as finetune would, and score the best epoch of each on the validation clips."""
    trained, scored = tables
    if len(together) == 1:
        _renew(run, model, together[0])
        _train(run, model, with_pooled(run.batches, trained, own_states(model)))
        return {together[0]: _score(run, model, scored)}
    layers = [choice.layer for choice in together if choice.layer is not None]
    _renew(run, model, together[0])
    task, patience = together[0].task, run.plan.training.patience
    heads = ParallelHeads(model, task=task, layers=layers, seed=run.seed, patience=patience)
    states = States((task,), tuple(layers), model.v.width)
    _train(run, heads, with_pooled(run.batches, trained, states), patience=0)
    found = {}
    for place, choice in enumerate(together):
        _renew(run, model, choice)
        model.mlp_head.load_state_dict(heads.best(place))
        found[choice] = _score(run, model, scored)
    return found


def _renew(run: _Run, model: SSASTForAudioClassification, choice: Choice) -> None:
    layer = -1 if choice.layer is None else choice.layer
    model.renew_head(task=choice.task, layer=layer, weighted=choice.layer is None, seed=run.seed)
    if run.positives is not None:
        model.weigh_positives(run.positives)


def _train(run: _Run, heads: nn.Module, batches: TrainingBatches, patience: int | None = None) -> None:
    """`train` without its words and its checkpoints."""
    how = replace(run.plan.training, tensorboard=False, save_every_seconds=float("inf"))
    how = how if patience is None else replace(how, patience=patience)
    with TemporaryDirectory(prefix="ssast-sweep-") as folder, _silence():
        train(heads, batches, how, Path(folder), run.plan.engine)


def _score(run: _Run, model: SSASTForAudioClassification, table: StatesTable) -> Scores:
    plan, device = run.plan, run.plan.engine.device
    model.eval()
    seen = [batch for batch in with_pooled(run.batches, table, own_states(model)).validation() if batch["uid"]]
    scores = torch.cat([pooled_scores(model, table, batch, device) for batch in seen])
    rows = run.held_out.frame.index.get_indexer(pd.Index([uid for batch in seen for uid in batch["uid"]]))
    metrics = score(run.held_out.targets[rows], scores.numpy(), model.labels or [], kinds=plan.kinds)
    return {
        name: {measure: measure_of(entry, measure) for measure in plan.measures}
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
    """The mean over labels and seeds of the values that are defined."""
    return spread({seed: scores[MEAN][measure] for seed, scores in of_choice.items()})["mean"]


def _best(found: Mapping[Choice, Mapping[str, Scores]], plan: Plan, clips: int) -> Choice:
    means = {choice: _mean(scores, plan.measures[0]) for choice, scores in found.items()}
    known = {choice: mean for choice, mean in means.items() if mean is not None}
    if not known:
        raise _no_score(plan, clips)
    return max(known, key=lambda choice: known[choice])


def _undefined(found: Mapping[Choice, Mapping[str, Scores]], measure: str) -> list[str]:
    """The labels whose measure no head has in any seed."""
    (first, *_) = found.values()
    labels = [label for label in next(iter(first.values())) if label != MEAN]
    return [label for label in labels if all(scores[label][measure] is None for scores in first.values())]


def _csv(found: Mapping[Choice, Mapping[str, Scores]], plan: Plan) -> pd.DataFrame:
    """A row a choice, label and measure: the mean over the seeds, how it spreads, and each seed's value."""
    rows = [
        {"task": choice.task, "layer": choice.shown, "label": label, "measure": measure}
        | spread({seed: scores[label][measure] for seed, scores in of_choice.items()})
        for choice, of_choice in found.items()
        for label in next(iter(of_choice.values()))
        for measure in plan.measures
    ]
    return pd.DataFrame(rows)


def _show(found: Mapping[Choice, Mapping[str, Scores]], best: Choice, plan: Plan, clips: int, path: Path) -> None:
    """Print the table, the best choice, and what the choice may be used for."""
    measure = plan.measures[0]
    title = f"{TITLES[measure]}, mean of the labels"
    rows = [["layer", *(f"{task}" for task in POOLINGS)]]
    for layer in dict.fromkeys(choice.layer for choice in CHOICES):
        choices = [Choice(task, layer) for task in POOLINGS]
        rows.append([choices[0].shown, *(number(_mean(found[choice], measure)) for choice in choices)])
    say(f"\n{title}, on {clips} validation clips" + (f", mean of {plan.seeds} seeds" if plan.seeds > 1 else ""))
    say(text_table(rows) + "\n")
    numbers = plan.kinds.alike().get(NUMBER, []) if plan.kinds.loss == MIXED else []
    if without := [label for label in _undefined(found, measure) if label in numbers]:
        say(f"left out of the mean, since a number has no {TITLES[measure]}: {', '.join(without)}")
    if steady := [label for label in _undefined(found, measure) if label not in numbers]:
        say(f"left out of the mean, since the validation clips have only one answer to it: {', '.join(steady)}")
    top = [choice for choice in found if _mean(found[choice], measure) == _mean(found[best], measure)]
    if len(top) > 1:
        say(f"{len(top)} heads tie at {number(_mean(found[best], measure))}: these clips cannot choose between them")
    say(f"best on validation: {best.options} ({TITLES[measure]} {number(_mean(found[best], measure))}), for finetune")
    say(
        f"The best of {len(CHOICES)} looks better on the clips that chose it than it is. test.csv was not opened: "
        "do not choose by test scores; let finetune score the choice there once."
    )
    say(f"every label and seed in {path}")
