"""Keep with a fine-tuned model what it was developed on, in quantiles, and read it again.

Shapes: R rows, F mel bins.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ssast.data.features import Values
from ssast.data.plain_features import DECIBEL
from ssast.data.storage.atomic_writes import atomic_file
from ssast.data.tables.people import plain_name
from ssast.metrics.estimates import people_with
from ssast.metrics.external.categories import Shares
from ssast.metrics.external.development import Development, Spread, person_means
from ssast.metrics.external.place import label_summaries
from ssast.metrics.intervals import number_subjects
from ssast.metrics.level_measures import truth
from ssast.metrics.measures import SOFT_POSITIVE, Floats
from ssast.metrics.predictions import Predictions
from ssast.metrics.score_entries import Metrics
from ssast.model.checkpoints.model_folder import DEVELOPMENT
from ssast.model.label_kinds import YES_NO, LabelKind, LabelKinds
from ssast.runs.results import named_subjects
from ssast.runs.reviewing.categories import category_shares, kept_categories
from ssast.runs.reviewing.plain_baseline import PlainBaseline
from ssast.runs.rows import Rows
from ssast.safe_reading import brief, json_file

_PARTS = ("training", "validation")
_AGE, _OLDEST = "age", 90
"""Who is older than that counts as that old, since so few are that an age would name them."""


def property_table(baseline: PlainBaseline, *sources: Rows) -> pd.DataFrame:
    """What was measured of these rows' recordings, a row a uid, and the age of who speaks, with all columns of theirs.

    NaN where it is not known; all processes ask together.
    """
    std = baseline.reader.audio.std
    parts = [source.frame.assign(**_properties(baseline.measured(source), source.frame, std)) for source in sources]
    return pd.concat(parts)


def _properties(measured: Values, frame: pd.DataFrame, std: float) -> dict[str, Floats]:
    columns = measured.astype(np.float64)
    found = {}
    if columns.shape[1]:
        bins = (columns.shape[1] - 4) // 2
        level_RF = columns[:, :bins] * 2 * std * DECIBEL
        bright_R = level_RF[:, bins // 2 :].mean(1) - level_RF[:, : bins // 2].mean(1)
        loudness_R, length_R, noise_R, bandwidth_R = columns[:, -4:].T
        found = {"loudness": loudness_R, "noise": noise_R, "bandwidth": bandwidth_R}
        found |= {"brightness": bright_R, "length": length_R}
    names = [str(name) for name in frame.columns if plain_name(name) == _AGE]
    if names:
        ages = pd.to_numeric(frame[names[0]], errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
        found[_AGE] = np.minimum(ages, _OLDEST)
    return {f"{_MARK}{name}": values for name, values in found.items()}


_MARK = "\0"
"""No column of a csv begins so."""


def property_spreads(table: pd.DataFrame) -> dict[str, Spread]:
    """How each property of such a table is spread over the people; those that are known of nobody are left out."""
    subjects, _ = named_subjects(table)
    subject_R = number_subjects(subjects, len(table))
    means = {
        str(name).removeprefix(_MARK): person_means(table[name].to_numpy(dtype=np.float64), subject_R)
        for name in table.columns
        if str(name).startswith(_MARK)
    }
    return {name: Spread.of(own) for name, own in means.items() if len(own)}


def categories_of(table: pd.DataFrame, tested: Predictions) -> dict[str, Shares]:
    """How the people of such a table are spread over its categories; the labels of `tested` are none."""
    kinds = tested.kinds or LabelKinds.plain(YES_NO, tested.labels)
    columns = [str(name) for name in table.columns if not str(name).startswith(_MARK)]
    return category_shares(table, kinds.labels, columns)


def save_development(
    table: pd.DataFrame,
    trained: Sequence[Rows],
    tested: Predictions,
    metrics: Metrics,
    thresholds: Mapping[str, float],
    folder: Path,
) -> None:
    """development.json of a model folder: quantiles of what it was trained and chosen on, and of its own test.

    `table` has the properties of the rows of training and of validation, `trained`.
    """
    table = table[table[f"{_MARK}loudness"].notna()] if f"{_MARK}loudness" in table else table
    subjects, unit = named_subjects(table)
    kept = Development(
        recordings=len(table),
        people=_people(subjects, len(table)),
        tested=_people(tested.subjects, len(tested.uids)),
        unit=unit,
        properties=property_spreads(table),
        categories=kept_categories(categories_of(table, tested)),
        labels=label_summaries(metrics, tested, thresholds),
        parts={name: part_counts(rows, table) for name, rows in zip(_PARTS, trained, strict=True)},
    )
    with atomic_file(folder / DEVELOPMENT) as unfinished:
        Path(unfinished).write_text(json.dumps(kept.entries(), indent=1) + "\n", encoding="utf-8")


def part_counts(source: Rows, used: pd.DataFrame) -> dict[str, object]:
    """The recordings and people of a part of the table that were `used`, and how many have which answer, by label."""
    kept_R = source.frame.index.isin(used.index)
    subjects, _ = named_subjects(used)  # of both parts: one person alone would not count as named
    row_r = used.index.get_indexer(source.frame.index[kept_R])
    subject_r = number_subjects(subjects, len(used))[row_r]
    labels = {
        label.name: answer_counts(label, targets_R[kept_R], subject_r)
        for label, targets_R in zip(source.kinds.labels, source.targets.T, strict=True)
    }
    return {"recordings": len(subject_r), "people": len(np.unique(subject_r)), "labels": labels}


def answer_counts(label: LabelKind, targets_R: Floats, subject_R: NDArray[np.intp]) -> dict[str, object]:
    """Rows with an answer; of a yes/no label those with it and the people of both, of a scale or choice by level."""
    known_R = ~np.isnan(targets_R)
    found: dict[str, object] = {"known": int(known_R.sum())}
    if label.has_levels:
        number_r = truth(label, targets_R[known_R]).astype(np.intp)
        counts = np.bincount(number_r, minlength=len(label.levels)).tolist()
        found["levels"] = dict(zip(label.shown_levels, counts, strict=True))
    elif label.kind == YES_NO:
        with_R = known_R & (targets_R >= SOFT_POSITIVE)
        found["with"] = int(with_R.sum())
        found["people_with"] = people_with(with_R, subject_R)
        found["people_without"] = people_with(known_R & ~with_R, subject_R)
    return found


def _people(subjects: NDArray[Any] | None, recordings: int) -> int:
    return len(np.unique(number_subjects(subjects, recordings)))


def read_development(home: Path) -> tuple[Development | None, str]:
    """What a model folder keeps of its development, or None and the reason."""
    path = home / DEVELOPMENT
    if not path.is_file():
        return None, f"the model's folder keeps no {DEVELOPMENT}; finetune of this version writes it"
    try:
        if path.is_symlink():
            raise ValueError("it is a link")
        return Development.of_entries(json_file(path)), ""
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return None, f"{DEVELOPMENT} of the model cannot be read ({brief(str(error), 100)})"
