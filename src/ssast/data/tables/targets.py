"""Read the labels of a data set, check them, give them as targets, and weigh rare ones for training."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from ssast.data.storage.location import Address, Missing, as_location
from ssast.data.tables.label_columns import check_label_names
from ssast.data.tables.people import NO_VALUE, cell_name, is_grouped, number_for, subject_names
from ssast.errors import UserError
from ssast.model.checkpoints.config_entries import check_labels
from ssast.safe_reading import some


def answer_cells(frame: pd.DataFrame, label: str) -> pd.Series:
    """A label's column as numbers where it holds nothing else, also where its name says that it tells who speaks."""
    cells = frame[label]
    if not subject_names([label]):
        return cells
    return pd.Series(numbers_or_text([cell_name(cell) or "" for cell in cells]).array, index=cells.index, name=label)


def read_labels(place: Address) -> list[str]:
    """The labels of a text file, one a line or with commas between.

    UserError where there are none, where one is twice, or where one has the name of something else in result tables.
    """
    place = as_location(place)
    try:
        text = place.read_text()
    except Missing as error:
        raise UserError(
            f"{place} does not exist; give --label_txt a file with one label a line.", path=place
        ) from error
    labels = [cell.strip().strip("\"'").strip() for line in text.splitlines() for cell in line.split(",")]
    labels = [label for label in labels if label]
    if not labels:
        raise UserError(f"{place} holds no label; write one label a line, as the csv names its columns.", path=place)
    twice = [label for label, count in Counter(labels).items() if count > 1]
    if twice:
        raise UserError(f"{place} names the label {twice[0]!r} more than once; keep one line of it.", path=place)
    check_labels(labels, str(place))
    check_label_names(labels, source=place)
    return labels


def label_list(labels: Iterable[Any] | None) -> list[str]:
    """Labels as a list of text; None, [] and an empty array all mean none."""
    return [] if labels is None else [str(label) for label in labels]


def label_values(frame: pd.DataFrame, labels: Sequence[str]) -> np.ndarray:
    """The label columns as float64 (R, N), NaN where a cell is empty or no number."""
    columns = [pd.to_numeric(answer_cells(frame, label), errors="coerce") for label in labels]
    values = [column.to_numpy(dtype=np.float64, na_value=np.nan) for column in columns]
    return np.stack(values, axis=1) if values else np.empty((len(frame), 0))


def targets(frame: pd.DataFrame, labels: Sequence[str], source: object = "the csv") -> Tensor:
    """The label columns as float32 (R, N), NaN where a cell is empty; UserError for a missing label or a text."""
    missing = [label for label in labels if label not in frame.columns]
    if missing:
        columns = some([str(column) for column in frame.columns]) or "none but uid"
        raise UserError(
            f"the label {missing[0]!r} is not in {source}, whose columns are {columns}; correct --label_txt.",
            path=source,
        )
    values = np.empty((len(frame), len(labels)), dtype=np.float32)
    for at, label in enumerate(labels):
        cells = answer_cells(frame, label)
        numbers = label_values(frame, [label])[:, 0]
        refuse_cells(label, cells, np.isnan(numbers) & cells.notna().to_numpy(), number_for(cells), source)
        with np.errstate(over="ignore"):
            values[:, at] = numbers
        refuse_cells(label, cells, np.isinf(values[:, at]), "a finite number", source)
    return torch.from_numpy(values)


def check_targets(frame: pd.DataFrame, labels: Sequence[str], loss: str, source: object = "the csv") -> None:
    """UserError unless every label is a column of numbers that `loss` can take; empty cells are left out of the loss.

    BCE takes 0 to 1, soft labels in between included; MSE takes any finite number.
    """
    values_RN = targets(frame, labels, source).numpy()
    if loss != "BCE":
        return
    for at, label in enumerate(labels):
        outside = (values_RN[:, at] < 0) | (values_RN[:, at] > 1)
        refuse_cells(label, answer_cells(frame, label), outside, "0 or 1 (or between) under --loss BCE", source)


def refuse_cells(label: str, cells: pd.Series, wrong: np.ndarray, expected: str, source: object) -> None:
    """UserError that names the first of the wrong cells."""
    if wrong.any():
        at = int(np.argmax(wrong))
        others = f" and {int(wrong.sum()) - 1} more" if wrong.sum() > 1 else ""
        raise UserError(
            f"the label {label!r} of uid {cells.index[at]} is {str(cells.iloc[at])!r}{others}, expected {expected}; "
            f"correct {source}, or leave a cell empty where the label is not known.",
            uid=cells.index[at],
            cell=cells.iloc[at],
            path=source,
        )


def numbers_or_text(cells: list[str]) -> pd.Series:
    """Numbers where every filled cell is one and none has leading zeros, else the text; empty cells are NaN.

    Where a comma may part thousands, cells stay text.
    """
    missing = np.array([cell.lower() in NO_VALUE for cell in cells])
    filled = [cell for cell, empty in zip(cells, missing, strict=True) if not empty]
    if is_grouped(filled):
        return text_cells(cells)
    numbers = pd.to_numeric(pd.Series([_with_point(cell) for cell in filled], dtype=object), errors="coerce")
    if filled and not numbers.isna().any() and not any(re.match(r"[+-]?0\d", cell) for cell in filled):
        if not missing.any():
            return numbers
        values = np.full(len(cells), np.nan)
        values[~missing] = numbers.to_numpy(dtype=float)
        return pd.Series(values)
    if not filled:
        return pd.Series(np.full(len(cells), np.nan))
    return text_cells(cells)


def _with_point(cell: str) -> str:
    """A number with a decimal comma, as spreadsheets of many countries write it, with a point."""
    return re.sub(r"^([+-]?\d+),(\d+)$", r"\1.\2", cell)


def text_cells(cells: list[str]) -> pd.Series:
    """The cells as they are written; empty ones are NaN."""
    return pd.Series([None if cell == "" else cell for cell in cells], dtype="str")


_Floats = NDArray[np.float64]


def positive_weights(targets_RN: _Floats) -> _Floats:
    """For each label how many no there are for one yes (N,); 1 where it has but one of the two. NaN cells are left out.

    A soft label counts for both sides by its share.
    """
    yes_N, no_N = np.nansum(targets_RN, axis=0), np.nansum(1 - targets_RN, axis=0)
    both_N = (yes_N > 0) & (no_N > 0)
    return np.divide(no_N, yes_N, out=np.ones_like(yes_N), where=both_N)


def clip_weights(targets_RN: _Floats) -> _Floats:
    """For each clip how often to draw it (R,), so that each label's yes and no come about equally often.

    Of each label a clip has 1 / (2 x the share of clips with its value), of several labels their mean; 1 without any.
    """
    share_N = np.nansum(targets_RN, axis=0) / np.maximum((~np.isnan(targets_RN)).sum(axis=0), 1)
    yes_N = np.divide(0.5, share_N, out=np.ones_like(share_N), where=share_N > 0)
    no_N = np.divide(0.5, 1 - share_N, out=np.ones_like(share_N), where=share_N < 1)
    weights_RN = targets_RN * yes_N + (1 - targets_RN) * no_N
    known_R = (~np.isnan(weights_RN)).sum(axis=1)
    return np.divide(np.nansum(weights_RN, axis=1), known_R, out=np.ones(len(weights_RN)), where=known_R > 0)
