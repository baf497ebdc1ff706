"""Rows to be scored and what the model was trained on in; a sentence where both hold the same clips or people out."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pandas as pd

from ssast.data.splits import find_split, read_split, subject_column
from ssast.errors import UserError
from ssast.modes.options import Options
from ssast.modes.places import at
from ssast.modes.runfile import read_mapping


def overlap(scored: pd.DataFrame, trained: Sequence[pd.DataFrame]) -> str:
    """What is wrong with scores of these rows of a model trained on those; empty where nothing is."""
    if not trained:
        return ""
    known = pd.concat(trained)
    clips = int(scored.index.isin(known.index).sum())
    if clips:
        return (
            f"Careful: {clips} of these {len(scored)} clips were used in training, "
            "so the scores do not say how well the model does on new recordings."
        )
    column = subject_column(scored, least=1)
    if column is None or column not in known.columns:
        return ""
    names = set(scored[column].dropna().astype(str))
    shared = names & set(known[column].dropna().astype(str))
    if not shared:
        return ""
    return (
        f"Careful: {len(shared)} of these {len(names)} subjects (column {column}) were in the training csv too, "
        "so the scores do not say how well the model does on new people."
    )


def trained_rows(options: Options, home: Path) -> list[pd.DataFrame]:
    """The rows that the model in a folder was trained on and chosen by, as far as they can still be read."""
    found = []
    with suppress(UserError):
        if (home / "validation.csv").is_file():
            found.append(read_split(home / "validation.csv"))
    with suppress(UserError):
        root = read_mapping(home / "run.yaml").get("data_split_root") if (home / "run.yaml").is_file() else None
        if root:
            found.append(read_split(find_split(at(options, str(root)), "train")))
    return found
