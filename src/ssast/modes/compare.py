"""Compare the scores of runs on the same clips, with paired intervals of their differences."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypedDict

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ssast.data.storage.atomic_writes import atomic_file, writable_folder
from ssast.data.tables.label_columns import MEAN, check_label_names, score_table
from ssast.errors import UserError
from ssast.metrics.predictions import Predictions, read_predictions
from ssast.metrics.score_entries import Difference, Differences, LabelScores, Metrics, kinds_of, measure_of
from ssast.metrics.scores import paired_differences, score
from ssast.model.checkpoints.config_entries import check_labels, entry_fault, lacks_levels
from ssast.model.head import LOSSES
from ssast.model.label_kinds import LabelKinds
from ssast.options.options import Options
from ssast.pages.shown_kinds import SHOWN
from ssast.pages.tables import TITLES, number, span, text_table
from ssast.runs.context import run_names, words_in
from ssast.runs.wrapping.wrapper import Mode
from ssast.safe_reading import brief, is_number, json_file


@dataclass(frozen=True)
class Scored:
    """A run that scored clips: its predictions, its thresholds and its measures."""

    name: str
    kinds: LabelKinds
    predictions: Predictions
    thresholds: dict[str, float]

    def part(self, names: list[str]) -> "Scored":
        """The run with some of its labels."""
        found, kinds = self.predictions, self.kinds.some(names)
        scores = found.scores[:, self.kinds.columns(names)]
        targets = found.targets[:, [found.labels.index(name) for name in names]]
        predictions = replace(found, labels=names, scores=scores, targets=targets, kinds=kinds)
        return Scored(self.name, kinds, predictions, self.thresholds)


@Mode
def compare(options: Options) -> Path:
    """Put runs on the same clips side by side, each against the first, with paired intervals; the csv with all of it.

    Takes the command line's options by name; `runs` holds the folders, with commas between.
    """
    runs = _same_clips(_read_runs(words_in(options.runs)))
    subjects = next((run.predictions.subjects for run in runs if run.predictions.subjects is not None), None)
    path, lines = writable_folder(options.exp_dir) / "compare.csv", list[_Row]()
    for names in runs[0].kinds.alike().values():
        own = [run.part(names) for run in runs]
        alone = [_alone(run, subjects, options.resamples) for run in own]
        against = [_against(own[0], run, subjects, options.resamples) for run in own[1:]]
        lines += _long_rows(own, alone, [None, *against])
        print(text_table(_screen_rows(own, alone, against)))
        for run, differences in zip(own[1:], against, strict=True):
            print(_sentence(own[0], run, differences))
    with atomic_file(path) as unfinished:
        pd.DataFrame(lines).to_csv(unfinished, index=False)
    for run in runs:
        if "BCE" in run.kinds.alike() and not run.thresholds:
            print(
                f"{run.name} has no single threshold a label, so its sensitivity, specificity and F1 are those at 0.5"
            )
    print(f"every measure in {path}", flush=True)
    return path


def _read_runs(words: Sequence[str]) -> list[Scored]:
    folders = [Path(word) for word in words]
    names = run_names([folder.resolve().name for folder in folders], folders)
    return [_read_run(folder, name) for folder, name in zip(folders, names, strict=True)]


def _read_run(folder: Path, name: str) -> Scored:
    path = folder / "metrics.json"
    if not path.is_file():
        raise UserError(f"{folder} has no metrics.json; give folders that finetune or evaluate wrote.", path=folder)
    try:
        metrics = json_file(path)
        labels = metrics["labels"]
        thresholds = {label: entry["threshold"] for label, entry in labels.items() if entry.get("threshold")}
        if metrics["loss"] not in LOSSES or not labels or not all(map(is_number, thresholds.values())):
            raise ValueError("it names no loss, no labels, or thresholds that are no numbers")
        kinds = _checked(kinds_of(metrics))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = error if isinstance(error, OSError | ValueError) else "ssast did not write it"
        raise UserError(
            f"{path} cannot be read ({brief(str(reason), 200)}); evaluate that model again.", path=path
        ) from error
    check_labels(list(labels), str(path))
    check_label_names(
        list(labels), [score_table], source=path, remedy="fine-tune that model with another name for the label"
    )
    predictions = read_predictions(folder, list(labels), kinds=kinds)
    return Scored(name, kinds, predictions, thresholds)


def _checked(kinds: LabelKinds) -> LabelKinds:
    """Return the kinds; ValueError where a stranger's file says of a label what cannot be."""
    for label in kinds.labels:
        entry = label.entry()
        if wrong := entry_fault(entry) or lacks_levels(entry):
            raise ValueError(f"it says of a label {wrong}")
    return kinds


def _same_clips(runs: list[Scored]) -> list[Scored]:
    """The runs with their clips and labels in the order of the first; UserError that says where they differ."""
    if len({run.name for run in runs}) < 2:
        raise UserError(
            "compare needs two runs or more; write `ssast compare RUN RUN`, each a folder with metrics.json."
        )
    return [runs[0], *(_like(runs[0], run) for run in runs[1:])]


def _like(first: Scored, run: Scored) -> Scored:
    here, there = first.predictions, run.predictions
    if first.kinds.loss != run.kinds.loss:
        raise UserError(
            f"{first.name} was scored under {first.kinds.loss} and {run.name} under {run.kinds.loss}; "
            "compare like runs.",
        )
    for what, ours, theirs in (("label", here.labels, there.labels), ("clip", here.uids, there.uids)):
        missing, extra = sorted(set(ours) - set(theirs)), sorted(set(theirs) - set(ours))
        if missing or extra:
            told = [f"{run.name} lacks {len(missing)} {what}s of {first.name}, such as {missing[0]}"] if missing else []
            told += [f"{run.name} has {len(extra)} more {what}s, such as {extra[0]}"] if extra else []
            said = f"{' and '.join(told)}; evaluate both on the same csv with the same labels."
            raise UserError(said, **({"uid": [*missing[:1], *extra[:1]]} if what == "clip" else {}))
    ordered_kinds = run.kinds.some(here.labels)
    for own, other in zip(first.kinds.labels, ordered_kinds.labels, strict=True):
        if (own.kind, own.levels) != (other.kind, other.levels):
            raise UserError(
                f"the label {own.name!r} has other levels in {run.name} than in {first.name}; compare like runs."
            )
    row = {uid: at for at, uid in enumerate(there.uids)}
    column = [there.labels.index(label) for label in here.labels]
    ordered = there.at([row[uid] for uid in here.uids])
    scores, targets = ordered.scores[:, run.kinds.columns(here.labels)], ordered.targets[:, column]
    differs = np.argwhere(~((targets == here.targets) | (np.isnan(targets) & np.isnan(here.targets))))
    if len(differs):
        at, label = here.uids[differs[0][0]], here.labels[differs[0][1]]
        raise UserError(
            f"{first.name} and {run.name} differ in {len(differs)} targets, first in {label!r} of clip {at}; "
            "evaluate both on the same csv.",
            uid=at,
        )
    predictions = Predictions(here.uids, here.labels, scores, targets, ordered.subjects, ordered.unit)
    return Scored(run.name, ordered_kinds, predictions, run.thresholds)


def _alone(run: Scored, subjects: NDArray[np.object_] | None, resamples: int) -> Metrics:
    found = run.predictions
    return score(
        found.targets,
        found.scores,
        found.labels,
        kinds=run.kinds,
        thresholds=run.thresholds,
        subjects=subjects,
        resamples=resamples,
    )


def _against(first: Scored, run: Scored, subjects: NDArray[np.object_] | None, resamples: int) -> Differences:
    here, there = first.predictions, run.predictions
    return paired_differences(
        here.targets,
        here.scores,
        there.scores,
        here.labels,
        kinds=first.kinds,
        thresholds=(first.thresholds, run.thresholds),
        subjects=subjects,
        resamples=resamples,
    )


def _entries(found: Metrics) -> dict[str, LabelScores]:
    """The entry of each label, then of the mean."""
    return {**found["labels"], MEAN: found["mean"]}


def _difference(other: Differences | None, label: str, name: str) -> Difference:
    """That of a label, or of the mean, in a measure; the first run has none."""
    if other is None:
        return {"difference": None, "interval": None}
    return (other["mean"] if label == MEAN else other["labels"][label])[name]


class _Row(TypedDict):
    """A row of compare.csv: one label, measure and run."""

    label: str
    measure: str
    run: str
    value: float | None
    low: float | None
    high: float | None
    against: str | None
    difference: float | None
    difference_low: float | None
    difference_high: float | None


def _long_rows(
    runs: Sequence[Scored], alone: Sequence[Metrics], against: Sequence[Differences | None]
) -> Iterator[_Row]:
    for run, own, other in zip(runs, alone, against, strict=True):
        for label, entry in _entries(own).items():
            for name, pair in entry["intervals"].items():
                low, high = pair or (None, None)
                paired = _difference(other, label, name)
                difference_low, difference_high = paired["interval"] or (None, None)
                yield {
                    "label": label,
                    "measure": name,
                    "run": run.name,
                    "value": measure_of(entry, name),
                    "low": low,
                    "high": high,
                    "against": runs[0].name if other else None,
                    "difference": paired["difference"],
                    "difference_low": difference_low,
                    "difference_high": difference_high,
                }


def _screen_rows(runs: Sequence[Scored], alone: Sequence[Metrics], against: Sequence[Differences]) -> list[list[str]]:
    """The leading measure of each label by run, and each run's difference from the first."""
    name = SHOWN[runs[0].kinds.loss].leading
    header = [TITLES[name], *(run.name for run in runs)]
    for run in runs[1:]:
        header += [f"{run.name} - {runs[0].name}", "95 % interval"]
    rows = [header]
    for label in _entries(alone[0]):
        row = [label, *(number(measure_of(_entries(own)[label], name)) for own in alone)]
        for other in against:
            paired = _difference(other, label, name)
            row += [_signed(paired["difference"]), span(paired["interval"])]
        rows.append(row)
    return rows


def _signed(value: float | None) -> str:
    return number(value) if value is None else f"{value:+.3f}"


def _sentence(first: Scored, run: Scored, differences: Differences) -> str:
    """Whether the run is better or worse than the first on average, as far as the interval says."""
    name = SHOWN[first.kinds.loss].leading
    paired = differences["mean"][name]
    if paired["difference"] is None or paired["interval"] is None:
        return f"{run.name} and {first.name}: no interval of the difference can be given; there are too few clips"
    low, high = paired["interval"]
    verdict = "no difference is shown" if low <= 0 <= high else "it is higher" if low > 0 else "it is lower"
    return (
        f"{run.name} against {first.name}, mean {TITLES[name]}: {_signed(paired['difference'])} "
        f"({span(paired['interval'])}), so {verdict}; of 20 such intervals one misses the truth"
    )
