"""Hold the predictions of a model beside the targets: read them, write them as tables, and pool them by subject.

Shapes: N clips, L labels, S subjects.
"""

import csv
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ssast import redaction
from ssast.data.tables.label_columns import (
    SUBJECT,
    UID,
    answer_table,
    kind_names,
    kind_numbers,
    level_table,
    output_columns,
    target_columns,
)
from ssast.errors import UserError
from ssast.metrics.intervals import number_subjects
from ssast.model.label_kinds import CHOICE, LabelKinds
from ssast.safe_reading import MOST_BYTES, brief

if TYPE_CHECKING:
    import pandas as pd


TABLES = ("predictions.parquet", "predictions.csv")
_MOST_VALUES, VALUES_A_BYTE = 5_000_000, 8
"""A table of one number a million times takes a few bytes: more than this no real scores shrink to."""
_MOST_COLUMNS, LONGEST_NAME = 100_000, 4096


@dataclass(frozen=True)
class Predictions:
    """`scores` and `targets` (N, L) of the clips, a target NaN where it is not known.

    Where `kinds` says that labels are more than yes/no or numbers, `scores` are those of all outputs (N, W), and a
    target is a level or the number of a kind. `subjects` (N,) says whose each clip is, where the csv has such a
    column, whose name is `unit`.
    """

    uids: list[str]
    labels: list[str]
    scores: NDArray[Any]
    targets: NDArray[np.float64]
    subjects: NDArray[Any] | None = None
    unit: str = "clip"
    kinds: LabelKinds | None = None

    @property
    def answers(self) -> NDArray[Any]:
        """One number a clip and label (N, L): the score, the expected level, or the number of the likeliest kind."""
        return self.scores if self.kinds is None else self.kinds.answers(self.scores)

    def of_label(self, label: int) -> NDArray[Any]:
        """The scores (N, w) of the outputs of one label, by its number."""
        return self.scores[:, [label] if self.kinds is None else self.kinds.slices[label]]

    def table(self) -> "pd.DataFrame":
        """predictions.csv: one column a label with its score, then its targets as `<label>_target`, by uid.

        Of scales and choices there is the expected level or the likeliest kind, and at the end each probability.
        """
        import pandas as pd

        index = pd.Index(self.uids, name="uid")
        if self.kinds is not None and self.kinds.has_levels:
            return self._wide(self.kinds).set_index(index)
        scores = pd.DataFrame(self.scores, index=index, columns=self.labels)
        return scores.join(pd.DataFrame(self.targets, index=index, columns=target_columns(self.labels)))

    def _wide(self, kinds: LabelKinds) -> "pd.DataFrame":
        import pandas as pd

        targets = {}
        for label, name, target_N in zip(kinds.labels, target_columns(self.labels), self.targets.T, strict=True):
            targets[name] = kind_names(label, target_N) if label.kind == CHOICE else target_N
        answers, levels = answer_table(kinds, self.scores, self.labels), level_table(kinds, self.scores)
        return pd.concat([answers, pd.DataFrame(targets), levels], axis=1)

    def write_parquet(self, path: str | Path) -> None:
        """The same table as parquet, with the column `subject` where subjects are known.

        The name that this column has in the csv is in the file's metadata.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = pa.Table.from_pandas(self.table().reset_index(), preserve_index=False)
        if self.subjects is not None and SUBJECT not in table.column_names:
            names = [None if subject != subject or subject is None else str(subject) for subject in self.subjects]
            table = table.append_column(SUBJECT, pa.array(names, pa.string()))
        pq.write_table(table.replace_schema_metadata({"unit": self.unit}), path)

    def shown(self) -> "Predictions":
        """Return the predictions with uids and subjects as they may be shown on a page."""
        whose = self.subjects
        if whose is not None:
            whose = np.array(
                [
                    name if name != name or name is None else redaction.shown_name("subject", str(name))
                    for name in whose
                ],
                dtype=object,
            )
        return replace(self, uids=[redaction.shown_name("uid", uid) for uid in self.uids], subjects=whose)

    def at(self, rows: Sequence[int] | NDArray[np.intp]) -> "Predictions":
        """The clips with these numbers, in this order."""
        subjects = None if self.subjects is None else self.subjects[rows]
        uids = [self.uids[row] for row in rows]
        return replace(self, uids=uids, scores=self.scores[rows], targets=self.targets[rows], subjects=subjects)


def read_predictions(
    folder: str | Path, labels: Sequence[str], *, in_part: bool = False, kinds: LabelKinds | None = None
) -> Predictions:
    """The predictions of a run folder, from predictions.parquet or else predictions.csv; UserError without them.

    `in_part` gives those of the labels that were scored, one at least; `kinds` says what they are, if more than yes/no
    labels or numbers.
    """
    if kinds is not None and not kinds.has_levels:
        kinds = None
    outputs = list(labels) if kinds is None else [name for label in kinds.labels for name in output_columns(label)]
    words = [f"{label.name}_target" for label in (kinds.labels if kinds else ()) if label.kind == CHOICE]
    folder = Path(folder)
    if not any((folder / name).is_file() for name in TABLES):
        raise UserError(f"{folder} has no predictions; give a folder that finetune or evaluate wrote.", path=folder)
    try:
        table, unit = _table(folder, {UID, SUBJECT, *outputs, *target_columns(labels)}, words)
    except Exception as error:  # pyarrow and pandas have families of their own
        raise UserError(
            f"the predictions in {folder} cannot be read ({brief(str(error), 200)}); evaluate that model again.",
            path=folder,
        ) from error
    if in_part:
        labels = [label for label in labels if label in table.columns] or labels
        outputs = list(labels)
    wanted = [UID, *outputs, *target_columns(labels)]
    if missing := [name for name in wanted if name not in table.columns]:
        raise UserError(
            f"the predictions in {folder} lack the column {missing[0]!r}; evaluate that model again.", path=folder
        )
    subjects = table[SUBJECT].to_numpy(dtype=object) if unit != "clip" and SUBJECT not in wanted else None
    redaction.learn("uid", table["uid"])
    redaction.learn("subject", [] if subjects is None else set(subjects) - {None})
    try:
        scores_NL = table[outputs].to_numpy(dtype=np.float64)
        for label in kinds.labels if kinds is not None else ():
            if label.kind == CHOICE:
                name = target_columns([label.name])[0]
                table[name] = kind_numbers(label, table[name])
        targets_NL = table[wanted[1 + len(outputs) :]].to_numpy(dtype=np.float64)
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(
            f"the predictions in {folder} hold more than numbers; evaluate that model again.", path=folder
        ) from error
    if not np.isfinite(scores_NL).all() or np.isinf(targets_NL).any() or table[UID].duplicated().any():
        raise UserError(
            f"the predictions in {folder} hold a score that is no number, or a clip twice; evaluate that model again.",
            path=folder,
        )
    uids = [str(uid) for uid in table[UID]]
    return Predictions(uids, list(labels), scores_NL.astype(np.float32), targets_NL, subjects, unit, kinds)


def _table(folder: Path, wanted: Collection[str], words: Collection[str] = ()) -> tuple["pd.DataFrame", str]:
    """The wanted columns of a run folder's table and what its subjects are called; a ValueError where it is none.

    `words` are those that hold text. Other errors are those of the libraries that read it.
    """
    import pandas as pd

    parquet, text = (folder / name for name in TABLES)
    if parquet.is_file():
        return _parquet(parquet, wanted, words)
    columns = [name for name in _header(text) if name in wanted]
    return pd.read_csv(
        text, usecols=columns, dtype={UID: str, **dict.fromkeys(words, str)}, keep_default_na=False, na_values=[""]
    ), "clip"


def _header(file: Path) -> list[str]:
    """The names of a csv's columns; ValueError where they are more than any model has labels."""
    with open(file, "rb") as opened:
        line = opened.readline(MOST_BYTES + 1)
    if len(line) > MOST_BYTES or line.count(b",") >= _MOST_COLUMNS:
        raise ValueError(f"it has more than {_MOST_COLUMNS:,} columns")
    return next(csv.reader([line.decode("utf-8-sig")]), [])


def _parquet(file: Path, wanted: Collection[str], words: Collection[str]) -> tuple["pd.DataFrame", str]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    named = [name for name in (UID, SUBJECT, *words) if name in pq.read_schema(file).names]
    with pq.ParquetFile(file, read_dictionary=named) as opened:
        values = opened.metadata.num_rows * opened.metadata.num_columns
        if values > _MOST_VALUES + VALUES_A_BYTE * file.stat().st_size:
            raise ValueError(f"it unfolds to {values:,} values")
        schema = opened.schema_arrow
        columns = [name for name in schema.names if name in wanted]
        if not all(_is_plain(schema.field(name), pa.types, name in named) for name in columns):
            raise ValueError("they hold more than numbers")
        content = opened.read(columns=columns)
    for at, name in enumerate(content.column_names):
        if pa.types.is_dictionary(content.schema.field(at).type):
            content = content.set_column(at, name, _unfolded(content.column(at), pa))
    return content.to_pandas(), brief((schema.metadata or {}).get(b"unit", b"clip").decode())


def _is_plain(field: Any, types: Any, is_name: bool) -> bool:
    """Whether a column holds names, where it should, or numbers: a text can unfold to a million times its bytes."""
    kind = field.type.value_type if types.is_dictionary(field.type) else field.type
    if is_name:
        return types.is_dictionary(field.type) or types.is_integer(kind) or types.is_null(kind)
    return any(is_so(kind) for is_so in (types.is_floating, types.is_integer, types.is_boolean, types.is_null))


def _unfolded(names: Any, pa: Any) -> Any:
    """A column of names, each written out; ValueError where they are longer than any file's."""
    import pyarrow.compute as pc

    longest = max((pc.max(pc.binary_length(part.dictionary)).as_py() or 0 for part in names.chunks), default=0)
    if longest > LONGEST_NAME:
        raise ValueError(f"it holds a name of {longest} bytes")
    return names.cast(pa.string())


def pool(predictions: Predictions) -> tuple[Predictions, list[str]]:
    """One row a subject: the mean of its clips' scores, and its target; and the labels that vary within a subject.

    A clip without a target does not speak against its subject's other clips; a label that varies is left out.
    """
    subject_N = number_subjects(predictions.subjects, len(predictions.uids))
    count = int(subject_N.max(initial=-1)) + 1
    clips_S1 = np.bincount(subject_N, minlength=count)[:, None]
    targets_NL = np.asarray(predictions.targets, dtype=np.float64)
    low_SL, high_SL = (np.full((count, targets_NL.shape[1]), start) for start in (np.inf, -np.inf))
    scores_SW = np.zeros((count, predictions.scores.shape[1]))
    np.add.at(scores_SW, subject_N, predictions.scores.astype(np.float64))
    np.fmin.at(low_SL, subject_N, targets_NL)
    np.fmax.at(high_SL, subject_N, targets_NL)
    steady_L = np.all(low_SL >= high_SL, axis=0)
    first_S, kinds = first_clips(predictions), predictions.kinds
    labels = [label for label, steady in zip(predictions.labels, steady_L.tolist(), strict=True) if steady]
    pooled = Predictions(
        [_name(predictions, row) for row in first_S],
        labels,
        (scores_SW / clips_S1)[:, steady_L if kinds is None else kinds.columns(labels)],
        np.where(np.isinf(low_SL), np.nan, low_SL)[:, steady_L],
        unit=predictions.unit,
        kinds=None if kinds is None else kinds.some(labels),
    )
    return pooled, [label for label, steady in zip(predictions.labels, steady_L.tolist(), strict=True) if not steady]


def first_clips(predictions: Predictions) -> NDArray[np.intp]:
    """The row of each subject's first clip (S,), in the order of `pool`."""
    return np.unique(number_subjects(predictions.subjects, len(predictions.uids)), return_index=True)[1]


def _name(predictions: Predictions, row: int) -> str:
    subject = None if predictions.subjects is None else predictions.subjects[row]
    return predictions.uids[row] if subject is None or subject != subject else str(subject)
