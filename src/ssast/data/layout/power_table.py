"""Read power spectrograms and their keys out of a Parquet file, as Bridge2AI-Voice keeps them: one row a recording."""

import itertools
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from ssast.data.storage.location import Location
from ssast.data.storage.unfolding import LEAST_ROW_BYTES, UnfoldingError, bounded_table, bytes_between, check_names
from ssast.errors import AudioError, UserError
from ssast.safe_reading import some

PARQUETS = (".parquet", ".pqt")
COLUMN_NAMES = ("spectrogram", "spectrograms")
FRAME_COUNT = "n_frames"
_MOST_GROUP_BYTES = 8 << 30
_NAMING = ("participant_id", "session_id", "task_name")
"""What the name of a recording is made of, as far as the file has it."""


@dataclass(frozen=True)
class PowerTable:
    """The rows of a Parquet file: `cells` are their plain columns by number, `starts` the first row of each group."""

    place: Location
    column: str
    cells: dict[str, dict[int, str]]
    starts: list[int]

    @classmethod
    def of(cls, place: Location) -> "PowerTable | None":
        """The file at a place; None where that is no Parquet file. UserError where it holds no spectrograms."""
        if not place.name.endswith(PARQUETS) or place.is_dir():
            return None
        file = _opened(place)
        names = file.schema_arrow.names
        check_names(names, place)
        column = next((name for name in COLUMN_NAMES if name in names), None)
        if column is None or not _is_nested(file.schema_arrow.field(column).type):
            raise UserError(
                f"{place} has no column {COLUMN_NAMES[0]} of lists of numbers, only {some(names)}; give a folder "
                "of audio files, or a Parquet file of power spectrograms.",
                path=place,
            )
        sizes = [file.metadata.row_group(at).num_rows for at in range(file.metadata.num_row_groups)]
        with place.open("rb") as content:
            size = content.seek(0, 2)
        if sum(sizes) > size // LEAST_ROW_BYTES:
            raise UserError(
                f"{place} is damaged: it is said to have {sum(sizes):,} rows in {size:,} bytes; get a whole copy.",
                path=place,
            )
        plain = [name for name in names if _is_plain(file.schema_arrow.field(name).type)]
        tables = [_group(place, at, plain) for at in range(len(sizes))]
        cells = {name: dict(enumerate(_texts(tables, name), start=1)) for name in plain}
        if not sum(sizes):
            raise UserError(f"{place} has no rows; give a file with one row a recording.", path=place)
        return cls(place, column, cells, [1, *(1 + total for total in itertools.accumulate(sizes))])

    @property
    def names(self) -> dict[int, str]:
        """What each recording is called: participant, session and task, or the number of its row."""
        parts = [self.cells[name] for name in _NAMING if name in self.cells]
        rows = range(1, self.starts[-1])
        return {row: "_".join(part[row] for part in parts if part[row]) or f"row-{row}" for row in rows}

    @property
    def keys(self) -> dict[str, Mapping[int, str]]:
        """The plain columns of the file, without the number of frames."""
        return {name: cells for name, cells in self.cells.items() if name not in (FRAME_COUNT, "recording")}

    def power(self, row: int) -> Tensor:
        """The numbers (N, T) of a row, as they are; AudioError where there are none."""
        at = bisect_right(self.starts, row) - 1
        found = _numbers(self._group(at)[row - self.starts[at]])
        told = self.cells.get(FRAME_COUNT, {}).get(row, "")
        if told and told != str(found.shape[1]):
            raise AudioError(f"its row says {FRAME_COUNT} {told}, but its spectrogram has {found.shape[1]}; correct it")
        return torch.from_numpy(found)

    @cached_property
    def _group(self) -> Callable[[int], Any]:
        """What gives the spectrograms of a row group; those of the last one are kept."""
        return lru_cache(maxsize=1)(self._read)

    def _read(self, at: int) -> Any:
        return _group(self.place, at, [self.column])[self.column].combine_chunks()


def _group(place: Location, at: int, columns: Sequence[str]) -> pa.Table:
    """Some columns of a row group. UserError where it is damaged, or unfolds to more than can be held."""
    file = _opened(place)
    size = file.metadata.row_group(at).total_byte_size
    if size > _MOST_GROUP_BYTES:
        raise UserError(
            f"{place} has row groups of {size:,} bytes, expected at most {_MOST_GROUP_BYTES:,}; write it with "
            "smaller row groups.",
            path=place,
        )
    try:
        with place.open("rb") as content:
            return bounded_table(file, at, columns, partial(bytes_between, content))
    except (pa.ArrowException, OSError, ValueError) as error:
        why = f"{error}" if isinstance(error, UnfoldingError) else "it cannot be read"
        raise UserError(f"{place} is damaged: row group {at}, {why}; get a whole copy of it.", path=place) from error


def _opened(place: Location) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(place.open("rb"))
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{place} is no readable Parquet file ({str(error).splitlines()[0]}).", path=place) from error


def _is_nested(kind: pa.DataType) -> bool:
    if isinstance(kind, pa.ExtensionType):
        kind = kind.storage_type
    return _is_list(kind) and _is_list(kind.value_type) and _is_number(kind.value_type.value_type)


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _is_plain(kind: pa.DataType) -> bool:
    """Whether cells are text, numbers, or yes and no."""
    return any(is_so(kind) for is_so in (pa.types.is_string, pa.types.is_large_string, _is_number, pa.types.is_boolean))


def _texts(tables: Sequence[pa.Table], name: str) -> list[str]:
    return ["" if value is None else str(value) for table in tables for value in table[name].to_pylist()]


def _numbers(value: Any) -> np.ndarray:
    """The lists of a row as an array of float32; AudioError where there is nothing, or they differ in length."""
    value = getattr(value, "value", value)
    if value is None or (isinstance(value, pa.Scalar) and not value.is_valid) or len(value) == 0:
        raise AudioError("its row has no spectrogram; remove it")
    rows = value.values if isinstance(value, pa.Scalar) else value
    sizes = set(rows.value_lengths().to_pylist())
    if len(sizes) != 1 or None in sizes:
        raise AudioError("the rows of its spectrogram are of several lengths; compute it anew")
    flat = rows.flatten()
    numbers = flat.to_numpy(zero_copy_only=False).astype(np.float32)
    return numbers.reshape(len(rows), -1)
