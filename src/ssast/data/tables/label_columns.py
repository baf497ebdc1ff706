"""Name the columns and rows that result tables hold beside the labels, and refuse labels of the same name.

Everything that writes or reads such a table takes the names from here, and so does the check.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ssast.errors import UserError

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
