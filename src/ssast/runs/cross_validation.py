"""Repeat a fine-tuning over folds of the subjects or over seeds, and report how the scores spread."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ssast.data.storage.atomic_writes import atomic_file
from ssast.data.tables.folds import ValueFolds, assign_folds, people_in_folds
from ssast.data.tables.label_columns import MEAN
from ssast.data.tables.label_file import kinds_in_table
from ssast.data.tables.ratings import Ratings
from ssast.data.tables.splits import read_split
from ssast.engine import distributed
from ssast.metrics.measures import Floats
from ssast.metrics.predictions import Predictions, read_predictions
from ssast.metrics.score_entries import parts_of
from ssast.metrics.threshold_rules import DEFAULT_THRESHOLD
from ssast.model.label_kinds import YES_NO, LabelKinds
from ssast.options.options import Options
from ssast.options.record import RunRecord
from ssast.pages.shown_kinds import SHOWN
from ssast.pages.tables import TITLES, number, text_table
from ssast.runs.batches import ClipReader
from ssast.runs.context import Paths, RunContext, say, split_place
from ssast.runs.models import audio_settings
from ssast.runs.output.folder import open_folder, used_files
from ssast.runs.output.skipped_recordings import read_reasons
from ssast.runs.results import ScoreReport, write_report, write_scores
from ssast.runs.reviewing.groups import group_columns, value_column
from ssast.runs.reviewing.plain_baseline import read_plain_scores
from ssast.runs.reviewing.sites import add_sites, with_sites
from ssast.runs.reviewing.whole_review import reviewed_scores
from ssast.runs.rows import Rows, check_yes_no, data_name, label_kinds
from ssast.runs.scoring import named_subjects
from ssast.runs.thresholds import read_thresholds, weighed_sentence
from ssast.safe_reading import json_file

Finetune = Callable[..., Path]
OUT_OF_FOLD = (
    "Cross-validation: each clip was scored by a model that was trained without its fold, at that model's own "
    "thresholds. Scores of several models are pooled here; folds.csv holds the measures of each fold alone."
)


def repeated(options: Options, finetune: Finetune) -> Path:
    """Fine-tune once a seed (`--seeds`) or once a fold (`--folds`); with both, over the folds for each seed.

    A folder a seed, and seeds.csv with the spread of every measure; for folds see `_over_folds`.
    """
    if options.seeds == 1:
        return _over_folds(options, finetune)
    folder = open_folder(RunRecord.of(options), clips={}, files={}, trains=True)
    homes: list[Path] = []
    for seed in range(options.seed, options.seed + options.seeds):
        say(f"seed {seed}, {len(homes) + 1} of {options.seeds}")
        homes.append(finetune(options, seed=seed, seeds=1, exp_dir=str(folder / f"seed-{seed}")))
    if distributed.is_main():
        _write_spread(folder / "seeds.csv", homes)
    return folder


def _over_folds(options: Options, finetune: Finetune) -> Path:
    """A folder a fold, folds.csv, and the scores and page of the pooled predictions of all clips."""
    paths, record = Paths.of(options), RunRecord.of(options)
    asked, place = label_kinds(paths, options.loss), split_place(paths, "train")
    frame = read_split(place)
    kinds = kinds_in_table(asked, frame, place)
    source = Rows(frame, kinds.names, place, kinds)
    groups = group_columns(options.groups, source)
    check_yes_no(kinds, sensitivity=options.sensitivity, specificity=options.specificity, prevalence=options.prevalence)
    sites = _sites(options.folds, source)
    parts, sentence = _split_by_site(sites) if sites else _split_by_people(source, options.folds, options.seed)
    files = used_files(paths, place)
    folder = open_folder(record, clips={"train": len(frame)}, files=files, trains=True)
    careful = "" if sites else people_in_folds(frame, len(parts))
    for said in filter(None, [sentence, careful]):
        say(said)
    homes: list[Path] = []
    label_txt = options.label_txt if kinds.is_plain else _kept_kinds(folder, kinds)
    for fold, (is_train_R, is_test_R) in enumerate(parts, start=1):
        home = folder / f"fold-{fold}"
        if distributed.is_main():
            _write_split(home / "splits", frame[is_train_R], frame[is_test_R])
        distributed.wait()
        say(f"fold {fold} of {len(parts)}{f', {sites.column} {sites.values[fold - 1]}' if sites else ''}")
        name = data_name(options.dataset, options.data_split_root, place)
        where = {"exp_dir": str(home), "data_split_root": str(home / "splits"), "label_txt": label_txt}
        homes.append(finetune(options, folds=0, dataset=name, **where))
    if not distributed.is_main():
        return folder
    predictions, thresholds = _pooled(homes, kinds, frame)
    metrics = reviewed_scores(
        predictions,
        source,
        {label: thresholds[label] for label in kinds.alike().get(YES_NO, [])},
        resamples=options.resamples,
        prevalence=options.prevalence,
        left_out=len(frame) - len(predictions.uids),
        plain=read_plain_scores(homes, predictions.uids),
        groups=with_sites(sites, groups) if sites else groups,
        reasons={uid: reason for home in homes for uid, reason in read_reasons(home).items()},
    )
    if sites:
        add_sites(metrics, predictions, sites, source)
    if careful:
        metrics["overlap"] = careful
    say(f"all {len(parts)} folds together")
    write_scores(folder, predictions, metrics)
    title = f"Leaving one {sites.column} out" if sites else f"Cross-validation in {len(parts)} folds"
    outside = outside_folds(metrics, [json_file(home / "metrics.json") for home in homes])
    for sentence in outside:
        say(sentence)
    doubts = [sentence for sentence in (careful, *outside, weighed_sentence(record.values)) if sentence]
    report = ScoreReport(record, source, title, remark=OUT_OF_FOLD, careful=doubts)
    reader = ClipReader.of(RunContext.of(options), audio_settings(options))
    write_report(report, reader, folder, predictions, metrics)
    _write_spread(folder / "folds.csv", homes)
    return folder


Split = list[tuple[NDArray[np.bool_], NDArray[np.bool_]]]
"""Of each fold the rows (R,) that a model is trained on, and those that it is tested on."""


def _sites(asked: int | str, source: Rows) -> ValueFolds | None:
    """The folds of a column's values where a column is asked for."""
    if isinstance(asked, int):
        return None
    column = value_column(asked, source, "--folds")
    if column.note:
        say(f"{asked}: {column.note}")
    return ValueFolds.of(source.frame, asked, column.groups)


def _split_by_site(sites: ValueFolds) -> tuple[Split, str]:
    folds = range(len(sites.values))
    parts = [((sites.fold != fold) & ~sites.elsewhere(fold), sites.fold == fold) for fold in folds]
    sizes = ", ".join(
        f"{value} ({int(is_test_R.sum())})" for value, (_, is_test_R) in zip(sites.values, parts, strict=True)
    )
    return parts, f"{len(parts)} folds, one a {sites.column}, with so many rows: {sizes}"


def _split_by_people(source: Rows, folds: int | str, seed: int) -> tuple[Split, str]:
    fold_R, sentence = assign_folds(source.frame, _dealt_by(source.ratings), int(folds), seed)
    return [(fold_R != fold, fold_R == fold) for fold in range(int(folds))], sentence


def _dealt_by(ratings: Ratings) -> Floats:
    """What folds are to have alike (rows, answers): yes/no labels, the levels of scales, the kinds of choices."""
    kinds = ratings.kinds
    return ratings.targets()[:, [at for at in range(kinds.width) if at not in kinds.numbers]]


def _kept_kinds(folder: Path, kinds: LabelKinds) -> str:
    """Labels and kinds as files for all folds, since the rows of a fold may not have every level; the labels' path."""
    if distributed.is_main():
        entries = dict(zip(kinds.names, kinds.entries() or [], strict=True))
        files = {"labels.txt": "\n".join(kinds.names) + "\n", "labels.yaml": json.dumps(entries, indent=1)}
        for name, text in files.items():
            with atomic_file(folder / name) as unfinished:
                Path(unfinished).write_text(text, encoding="utf-8")
    distributed.wait()
    return str(folder / "labels.txt")


def _write_split(folder: Path, train: pd.DataFrame, test: pd.DataFrame) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in (("train", train), ("test", test)):
        with atomic_file(folder / f"{name}.csv") as unfinished:
            rows.to_csv(unfinished)


def _pooled(
    homes: Sequence[Path], kinds: LabelKinds, frame: pd.DataFrame
) -> tuple[Predictions, dict[str, float | Floats]]:
    """The predictions of all folds in the order of the csv, and for each label the threshold of each clip's fold."""
    labels = kinds.names
    parts = [read_predictions(home, labels, kinds=kinds) for home in homes]
    uids = [uid for part in parts for uid in part.uids]
    place = {uid: at for at, uid in enumerate(uids)}
    used = frame.loc[[uid for uid in frame.index if uid in place]]
    rows = [place[uid] for uid in used.index]
    scores = np.concatenate([part.scores for part in parts])[rows]
    truth = np.concatenate([part.targets for part in parts])[rows]
    clips, chosen = [len(part.uids) for part in parts], [read_thresholds(home) for home in homes]
    thresholds: dict[str, float | Floats] = {
        label: np.repeat([own.get(label, DEFAULT_THRESHOLD) for own in chosen], clips)[rows] for label in labels
    }
    subjects, unit = named_subjects(used)
    return Predictions(list(used.index), labels, scores, truth, subjects, unit, parts[0].kinds), thresholds


def outside_folds(metrics: Mapping[str, Any], folds: Sequence[Mapping[str, Any]]) -> list[str]:
    """A sentence for each kind of label of which the pooled clips say something else than every fold alone."""
    told = []
    for part in parts_of(metrics):
        leading, found = SHOWN[part["loss"]].leading, []
        for label, entry in part["labels"].items():
            known = [value for own in folds if (value := own["labels"].get(label, {}).get(leading)) is not None]
            value = entry.get(leading)
            if value is not None and len(known) > 1 and not min(known) <= value <= max(known):
                found.append(f"{label} ({number(value)}, in folds {number(min(known))} to {number(max(known))})")
        if found:
            what = f"The {TITLES[leading]} of all clips together lies outside that of the folds: {', '.join(found)}"
            why = "Models and people differ from fold to fold, so their scores are not on one scale"
            told.append(f"{what}. {why}; quote the folds' mean beside it.")
    return told


def _write_spread(path: Path, homes: Sequence[Path]) -> None:
    """A row a label and measure: mean, standard deviation and range over the runs, and each run's value."""
    found = {home.name: json_file(home / "metrics.json") for home in homes}
    parts = parts_of(next(iter(found.values())))
    entries = {name: {**own["labels"], MEAN: own["mean"]} for name, own in found.items()}
    rows = [
        {"label": label, "measure": measure} | spread({name: own[label].get(measure) for name, own in entries.items()})
        for label in next(iter(entries.values()))
        for measure in TITLES
        if any(measure in own[label] for own in entries.values())
    ]
    with atomic_file(path) as unfinished:
        pd.DataFrame(rows).to_csv(unfinished, index=False)
    names = ("mean", "sd", "low", "high")
    for part in parts:
        leading, own = SHOWN[part["loss"]].leading, [*part["labels"], *([MEAN] if len(parts) == 1 else [])]
        shown = [row for row in rows if row["measure"] == leading and row["label"] in own]
        head = [f"{TITLES[leading]} over {len(homes)} runs", "mean", "standard deviation", "lowest", "highest"]
        say(text_table([head, *([row["label"], *(number(row[name]) for name in names)] for row in shown)]))
        for row in shown:
            lacking = [name for name in found if row[name] is None]
            if 0 < len(lacking) < len(found):
                which = f"{row['label']} has no {TITLES[leading]} in {', '.join(lacking)}"
                say(f"{which}, so its mean is that of the other {len(found) - len(lacking)}")
    say(f"every measure of every run in {path}")


def spread(values: Mapping[str, float | None]) -> dict[str, float | None]:
    """Mean, standard deviation and range of the values that are defined, then all values."""
    defined = [value for value in values.values() if value is not None]
    if not defined:
        return {"mean": None, "sd": None, "low": None, "high": None, **values}
    deviation = float(np.std(defined, ddof=1)) if len(defined) > 1 else None
    return {"mean": float(np.mean(defined)), "sd": deviation, "low": min(defined), "high": max(defined), **values}
