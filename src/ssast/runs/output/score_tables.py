"""Write tables of predicted scores as csv and as Parquet, a piece at a time."""

import itertools
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO

import pandas as pd
import pyarrow as pa

from ssast.data.storage.atomic_writes import atomic_file
from ssast.data.tables.row_groups import write_rows
from ssast.engine.inference import ROWS_AT_ONCE

PREDICTED, WINDOWS = "predicted", "predicted_windows"
"""The tables' names; apart from predictions.csv, which knows the truth beside each score and is compared by."""
GROUPS = {PREDICTED: 4096, WINDOWS: ROWS_AT_ONCE}
"""The rows of their row groups."""


def save_scores(
    frames: Iterable[pd.DataFrame], path: Path, rows_a_group: int, facts: Mapping[bytes, bytes] | None = None
) -> int:
    """The pieces of a table as path.csv and path.parquet, one piece in memory at a time; the number of rows.

    There is one piece at least, which may be empty. `facts` go into the metadata of the Parquet file.
    """
    with (
        atomic_file(path.with_suffix(".csv")) as unfinished,
        open(unfinished, "w", encoding="utf-8", newline="") as text,
    ):
        tables = _written(frames, text)
        first = next(tables)
        schema = first.schema.with_metadata({**(first.schema.metadata or {}), **(facts or {})})
        return write_rows(path.with_suffix(".parquet"), schema, itertools.chain([first], tables), rows_a_group)


def _written(frames: Iterable[pd.DataFrame], text: IO[str]) -> Iterator[pa.Table]:
    """The pieces as tables, each when it stands in the csv."""
    for number, frame in enumerate(frames):
        frame.to_csv(text, header=not number, index=False)
        yield pa.Table.from_pandas(frame, preserve_index=False)
