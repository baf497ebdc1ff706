"""Make the columns and rows that result tables hold of labels of any kind, and refuse labels of the same name.

Everything that writes or reads such a table takes the names from here, and so does the check.
Shapes: N clips, L labels, W outputs of all labels, w of one.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ssast.errors import UserError
from ssast.model.label_kinds import CALLED, CHOICE, SCALE, LabelKind, LabelKinds, shown_level

UID, SUBJECT, MEAN = "uid", "subject", "mean"
RECORDING = ("file", "seconds", "windows")
NOTE = "note"
WINDOW = ("file", "start_seconds", "end_seconds")


def target_columns(labels: Sequence[str]) -> list[str]:
    """The columns of predictions.csv that hold the labels' targets."""
    return [f"{label}_target" for label in labels]


def score_columns(labels: Sequence[str]) -> list[str]:
    """The columns of predicted.csv and predicted_windows.csv that hold the labels' scores."""
    taken = {*RECORDING, *WINDOW, NOTE}
    return [f"{label}_score" if label.casefold() in taken else label for label in labels]


def call_column(label: str) -> str:
    """The column of predicted.csv that says yes or no for a label."""
    return f"{label}_call"


@dataclass(frozen=True)
class ResultTable:
    """A kind of table: what it is, and the names that it makes up beside those that labels have there."""

    what: str
    labels: Sequence[str]
    others: Sequence[str]

    def meeting(self) -> tuple[str, str] | None:
        """The first label that has the name of something else, capitals or not, and that name."""
        own = {label.casefold(): label for label in self.labels}
        return next(((own[name.casefold()], name) for name in self.others if name.casefold() in own), None)


def predictions_table(labels: Sequence[str]) -> ResultTable:
    """predictions.csv and predictions.parquet."""
    return ResultTable("a column of predictions.csv", labels, [UID, SUBJECT, *target_columns(labels)])


def predicted_table(labels: Sequence[str]) -> ResultTable:
    """predicted.csv and predicted_windows.csv."""
    scores = score_columns(labels)
    apart = [score for score, label in zip(scores, labels, strict=True) if score != label]
    own = [label for label in labels if label in scores]
    return ResultTable("a column of predicted.csv", own, [*apart, *map(call_column, labels)])


def score_table(labels: Sequence[str]) -> ResultTable:
    """compare.csv, folds.csv, seeds.csv, sweep.csv and the tables on the screen and on pages."""
    return ResultTable("the row of the labels' mean in tables of scores", labels, [MEAN])


ALL_TABLES = (predictions_table, predicted_table, score_table)


def check_label_names(
    labels: Sequence[str],
    tables: Sequence[Callable[[Sequence[str]], ResultTable]] = ALL_TABLES,
    *,
    source: object = "the label file",
    remedy: str = "rename it there and in the csv",
) -> None:
    """UserError where a label has the name of something else in one of these tables of results."""
    for table in tables:
        made = table(labels)
        if met := made.meeting():
            label, name = met
            raise UserError(
                f"the label {label!r} of {source} has the same name as {made.what} ({name}); {remedy}.", path=source
            )


def level_columns(label: LabelKind) -> list[str]:
    """The columns with the probability of each level or kind, and of a scale also of at least each level."""
    if not label.has_levels:
        return []
    exact = [f"{label.name}_is_{level}" for level in label.shown_levels]
    return exact + (at_least_columns(label) if label.kind == SCALE else [])


def at_least_columns(label: LabelKind) -> list[str]:
    """The columns of a scale with the probability of at least each level above the lowest."""
    return [f"{label.name}_atleast_{level}" for level in label.shown_levels[1:]]


def output_columns(label: LabelKind) -> list[str]:
    """The columns from which a label's scores can be read again."""
    if label.kind == SCALE:
        return at_least_columns(label)
    return level_columns(label) if label.kind == CHOICE else [label.name]


def answer_table(kinds: LabelKinds, scores_NW: NDArray[Any], names: Sequence[str]) -> pd.DataFrame:
    """A column a label, called `names`: a probability, a number, the expected level, or the likeliest kind."""
    pairs = zip(kinds.labels, kinds.slices, names, strict=True)
    return pd.DataFrame({name: _answer(label, scores_NW[:, own]) for label, own, name in pairs})


def _answer(label: LabelKind, scores_Nw: NDArray[Any]) -> Any:
    if label.kind == CHOICE:
        return kind_names(label, label.answers(scores_Nw))
    return label.answers(scores_Nw).astype(np.float32) if label.has_levels else scores_Nw[:, 0]


def kind_names(label: LabelKind, numbers_N: NDArray[Any]) -> list[str | None]:
    """The kinds with these numbers; None for NaN."""
    return [None if number != number else label.levels[int(number)] for number in numbers_N]


def kind_numbers(label: LabelKind, names: Iterable[Any]) -> list[float]:
    """The numbers of these kinds, NaN for none; KeyError for what is no kind of the label."""
    number = {level: float(at) for at, level in enumerate(label.levels)}
    return [np.nan if pd.isna(name) else number[str(name)] for name in names]


def level_table(kinds: LabelKinds, scores_NW: NDArray[Any]) -> pd.DataFrame:
    """The columns of `level_columns` of all labels, as float32."""
    found: dict[str, NDArray[Any]] = {}
    for label, own in zip(kinds.labels, kinds.slices, strict=True):
        if label.has_levels:
            parts = [label.level_chances(scores_NW[:, own])]
            parts += [np.asarray(scores_NW[:, own])] if label.kind == SCALE else []
            found |= dict(zip(level_columns(label), np.concatenate(parts, axis=1).T.astype(np.float32), strict=True))
    return pd.DataFrame(found, index=pd.RangeIndex(len(scores_NW)))


def called_levels(label: LabelKind, scores_Nw: NDArray[Any]) -> list[str]:
    """The level that a scale's scores call: the highest that is reached with a probability of at least a half."""
    return [shown_level(label.levels[int(steps)]) for steps in (scores_Nw >= CALLED).sum(axis=1)]


def check_kind_columns(kinds: LabelKinds, source: object) -> None:
    """UserError where two columns of result tables would have one name because of a label's levels."""
    made = [name for label in kinds.labels for name in (*level_columns(label), call_column(label.name))]
    others = ["uid", "subject", *target_columns(kinds.names), *made]
    twice = [name for name, count in Counter(name.casefold() for name in others).items() if count > 1]
    met = ResultTable("", kinds.names, made).meeting() if kinds.has_levels else None
    if kinds.has_levels and (twice or met):
        name = twice[0] if twice else (met or ("", ""))[1]
        raise UserError(
            f"two columns of predictions.csv would be called {name!r} with the labels and levels of {source}; "
            "rename a label or a level.",
            path=source,
        )
