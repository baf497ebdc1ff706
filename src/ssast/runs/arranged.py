"""Write and show what `arrange` made of a table: the csv files, the labels, and the commands that come next."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ssast import redaction
from ssast.data.layout.file_column import FileColumn
from ssast.data.layout.filenames import in_formats, printable, quoted
from ssast.data.layout.labels import MOST_LABEL_VALUES, Labels, nearly_answers
from ssast.data.tables.folds import choose_test
from ssast.data.tables.people import ENOUGH_SUBJECTS, NO_VALUE, grouped, number_in, people_in, spelled_twice
from ssast.errors import UserError
from ssast.metrics.measures import SOFT_POSITIVE
from ssast.pages.tables import counted
from ssast.runs.context import say
from ssast.safe_reading import some

FIRST_SETTINGS = "--epochs 20 --learning_rate 0.001"
"""What to begin with, as the README does."""
_FEW_SUBJECTS = 3 * ENOUGH_SUBJECTS
"""With fewer people a test of a quarter of them says little; each is better tested once, in folds."""
_SHOWN = 3
"""So many of a kind are named on the screen."""


@dataclass(frozen=True)
class Arranged:
    """A table under uids, its labels and the column that says who speaks, and which rows (R,) are the test."""

    frame: pd.DataFrame
    labels: list[str]
    subject: str | None
    is_test: NDArray[np.bool_] | None

    @classmethod
    def of(
        cls, frame: pd.DataFrame, labels: list[str], subject: str | None, *, test_share: float, seed: int
    ) -> "Arranged":
        """The table with its test chosen; UserError where all recordings are of one person."""
        if test_share == 0:
            return cls(frame, labels, subject, None)
        groups = grouped(frame, people_in(frame, subject) if subject else None)
        if len(set(groups)) < 2:
            raise UserError(
                f"all {len(frame)} recordings are of one {subject or 'file'}, which leaves nobody else to test on; "
                "pass --test_share 0 to do without splits."
            )
        targets_RN = frame[labels].to_numpy(dtype=float)
        return cls(frame, labels, subject, choose_test(groups, targets_RN, test_share, seed))

    @property
    def halves(self) -> dict[str, pd.DataFrame]:
        """The rows of each csv to come, by its name."""
        if self.is_test is None:
            return {"all": self.frame}
        return {"train": self.frame[~self.is_test], "test": self.frame[self.is_test]}

    def write(self, folder: Path) -> None:
        """all.csv, splits/ and labels.txt, as far as there is something to say in them."""
        self.frame.to_csv(folder / "all.csv")
        for name, rows in self.halves.items() if self.is_test is not None else ():
            (folder / "splits").mkdir(exist_ok=True)
            rows.to_csv(folder / "splits" / f"{name}.csv")
        if self.labels:
            (folder / "labels.txt").write_text("\n".join(self.labels) + "\n", encoding="utf-8")

    def show(self, folder: Path, labels: Labels, doubtful: Sequence[str], *, is_sound: bool = True) -> None:
        """Show on the screen: people, labels, columns that were left alone, and the commands that come next.

        `doubtful` are the codes that may stand for two people.
        """
        for name, rows in self.halves.items():
            say(f"{name}: {counted(len(rows), 'recording')}{self._whose(rows)}")
        if not self.subject:
            say("no column says who speaks, so one person may be in both splits; name one with --subject_column")
        self._warn_of_codes(doubtful)
        for label in self.labels:
            say(f"label {_told(label, labels.made)}: {self._counts(label)}")
        self._show_others(labels.made)
        self._show_next(folder, is_sound=is_sound)

    def _warn_of_codes(self, doubtful: Sequence[str]) -> None:
        """Codes that may stand for two people, and people who may have two codes."""
        if doubtful:
            more = f"; and {len(doubtful) - _SHOWN} more" if len(doubtful) > _SHOWN else ""
            codes = "; ".join(doubtful[:_SHOWN]) + more
            say(
                f"warning: one code may stand for two people: {codes}; "
                "if so, give each a code of their own in the table"
            )
        alike = spelled_twice(people_in(self.frame, self.subject).known) if self.subject else ()
        if told := some([" and ".join(own) for own in alike], _SHOWN):
            say(f"warning: one person may have two codes: {told}; if so, write one of them into the table")

    def _whose(self, rows: pd.DataFrame) -> str:
        """How many people the recordings are of, and how many of them are of nobody known."""
        if not self.subject:
            return ""
        people = people_in(rows, self.subject)
        unnamed, number = people.names.count(None), len(people.known)
        unknown = f", {unnamed} of unknown people" if unnamed else ""
        return f" of {number} {'person' if number == 1 else 'people'} ({self.subject}){unknown}"

    def _show_others(self, made: Mapping[str, tuple[str, str]]) -> None:
        """The columns that are no labels, and what would make them some."""
        others = [name for name in self.frame.columns if name not in (self.subject, *self.labels)]
        if others:
            say(f"other columns, left as they are: {some([printable(name) for name in others])}")
        sources = {column for column, _ in made.values()}
        texts = {name: dict(enumerate(map(str, self.frame[name]))) for name in others if name not in sources}
        for name, cells in texts.items():
            if word := nearly_answers(cells):
                held = quoted(redaction.shown_name("cell", word))
                say(
                    f"note: {printable(name)} is no label, since it holds {held} beside yes and no; correct the table "
                    "if it should be one"
                )
        if not self.labels:
            groups = [
                name for name, cells in texts.items() if _has_groups(list(cells.values())) and not nearly_answers(cells)
            ]
            words = (
                f"--label_column {shlex.quote(groups[0])} makes a label of each of its entries, and " if groups else ""
            )
            say(
                f"no column holds yes/no answers, so there is no labels.txt; {words}--label_txt names columns of other "
                "numbers"
            )

    def _counts(self, label: str) -> str:
        """What a label holds, csv by csv."""
        known = {name: rows[label].dropna() for name, rows in self.halves.items()}
        if not self._is_answer(label):
            spans = (f"{own.min():g} to {own.max():g} in {name}" for name, own in known.items() if len(own))
            return f"numbers, {', '.join(spans)}"
        return ", ".join(
            f"{int((own >= SOFT_POSITIVE).sum())} of {len(own)} yes in {name}" for name, own in known.items()
        )

    def _is_answer(self, label: str) -> bool:
        return bool(self.frame[label].dropna().between(0, 1).all())

    def _show_next(self, folder: Path, *, is_sound: bool) -> None:
        """With few people each is to be tested once, in folds."""
        lacking = [label for label in self.labels if any(rows[label].nunique() < 2 for rows in self.halves.values())]
        if lacking and self.is_test is not None:
            say(f"warning: train or test holds only one answer for {some(lacking)}, which then cannot be scored")
        is_few = self.subject is not None and len(people_in(self.frame, self.subject).known) < _FEW_SUBJECTS
        in_folds = self.is_test is None or bool(lacking) or is_few
        named = shlex.quote(str(folder))
        where = f"-i {named}/recordings -d {named}/{'all.csv' if in_folds else 'splits'}"
        where += f" -l {named}/labels.txt" if self.labels else ""
        if is_sound:
            say(f"next: ssast check {where} -o checked")
        if self.labels:
            loss = "" if all(map(self._is_answer, self.labels)) else " --loss MSE"
            say(f"then: ssast finetune {where}{' --folds 3' if in_folds else ''}{loss} {FIRST_SETTINGS} -o runs/first")
        if self.labels and in_folds and self.is_test is not None:
            why = "the test split has too few people" if is_few else "a split holds only one answer of a label"
            say(f"why folds: {why}; in folds everybody is tested once, by a model that was not trained on them")


def _told(label: str, made: Mapping[str, tuple[str, str]]) -> str:
    """A label with what it was made of."""
    return f"{label} ({printable(' is '.join(made[label]))})" if label in made else label


def _has_groups(cells: Sequence[str]) -> bool:
    """Whether words of a column stand for groups of rows."""
    words = {cell for cell in cells if cell.lower() not in NO_VALUE}
    are_numbers = all(number_in(word) is not None for word in words)
    return 2 <= len(words) <= min(MOST_LABEL_VALUES, len(cells) / 2) and not are_numbers


def tell_files(named: FileColumn, kept: int, files: int, folder: Path) -> None:
    """On the screen: which column names the files, how many came, and which were left."""
    how = "names the files"
    if any(len(own) > 1 for own in named.files_of.values()):
        rows = counted(len(named.files_of), "row")
        how = f"holds the folder, or the beginning of the file names, of each of {rows}"
    say(f"the column {named.column!r} {how}; {kept} of {files} are in {folder / 'recordings'}")
    if twice := in_formats(file for own in named.files_of.values() for file in own):
        say(
            "warning: files of one name with different endings were each taken as a recording "
            f"({counted(len(twice), 'such name')}, as of {some([file.shown for file in twice[0]], 3)}); if they are "
            "one recording in several formats, remove all but one"
        )
    if named.unnamed:
        shown = some([file.shown for file in named.unnamed], 3)
        say(f"the table has no row for {counted(len(named.unnamed), 'file')}: {shown}")
    if named.begun:
        say(
            f"the name of {named.begun[0].shown} begins with an entry of the column {named.column!r}; if each row is "
            f"one person with several files, pass --subject_column {shlex.quote(named.column)}"
        )
