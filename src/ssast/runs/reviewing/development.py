"""Keep with a fine-tuned model what it was developed on, in quantiles, and read it again.

Shapes: R rows, F mel bins.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ssast.data.features import Values
from ssast.data.plain_features import DECIBEL
from ssast.data.storage.atomic_writes import atomic_file
from ssast.data.tables.people import plain_name
from ssast.metrics.external.development import Development, Spread, person_means
from ssast.metrics.external.place import label_summaries
from ssast.metrics.intervals import number_subjects
from ssast.metrics.measures import Floats
from ssast.metrics.predictions import Predictions
from ssast.metrics.score_entries import Metrics
from ssast.model.checkpoints.model_folder import DEVELOPMENT
from ssast.runs.results import named_subjects
from ssast.runs.reviewing.plain_baseline import PlainBaseline
from ssast.runs.rows import Rows
from ssast.safe_reading import brief, json_file

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


def save_development(
    table: pd.DataFrame, tested: Predictions, metrics: Metrics, thresholds: Mapping[str, float], folder: Path
) -> None:
    """development.json of a model folder: quantiles of what it was trained and chosen on, and of its own test."""
    table = table[table[f"{_MARK}loudness"].notna()] if f"{_MARK}loudness" in table else table
    subjects, unit = named_subjects(table)
    kept = Development(
        recordings=len(table),
        people=_people(subjects, len(table)),
        tested=_people(tested.subjects, len(tested.uids)),
        unit=unit,
        properties=property_spreads(table),
        labels=label_summaries(metrics, tested, thresholds),
    )
    with atomic_file(folder / DEVELOPMENT) as unfinished:
        Path(unfinished).write_text(json.dumps(kept.entries(), indent=1) + "\n", encoding="utf-8")


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
