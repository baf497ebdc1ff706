"""Read the csv of a split, check its columns and uids, and hold out validation rows.

Shapes: R rows of a table, N labels.
"""

import csv
import hashlib
import io
import re
from array import array
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from ssast import redaction
from ssast.data.storage.location import Address, Location, Missing, as_location
from ssast.data.tables.people import ENOUGH_SUBJECTS, cell_name, find_people, grouped, subject_names
from ssast.data.tables.targets import numbers_or_text, text_cells
from ssast.data.tables.uid_list import named_twice
from ssast.errors import UserError
from ssast.safe_reading import some

SEPARATORS = (",", ";", "\t", "|")
MOST_COLUMNS = 10_000
_MOST_KNOWN = 256
"""Of a column so many different cells are held once each."""
_LINE_ENDS = re.compile("[\n\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
SHEETS = (".xlsx", ".xls", ".ods", ".numbers")


def find_split(root: Address, name: str) -> Location:
    """The csv of a split: `root` itself where it is a csv, else `root`/`name`.csv; UserError where it is missing."""
    root = as_location(root)
    if root.name.lower().endswith((".csv", ".tsv", ".txt")) and not root.is_dir():
        found = root
    elif not root.is_dir():
        raise UserError(
            f"data_split_root {root} does not exist; give a folder with train.csv and test.csv, or one csv.", path=root
        )
    else:
        found = root / f"{name}.csv"
    if not found.exists():
        raise UserError(
            f"{found} does not exist; give --data_split_root a folder with {found.name}, or one csv.",
            path=found,
        )
    return found


def read_split(
    place: Address, *, keep: Callable[[str], bool] = lambda name: True, most: int | None = None
) -> pd.DataFrame:
    """The table of a csv, indexed by `uid` as text; columns that hold only numbers become numbers, empty cells NaN.

    Takes a byte-order mark, any line ends, and `,` `;` tab or `|` between cells. A column with leading zeros stays
    text, as does one whose name says that it tells who speaks. `keep` says of a column's name whether it is wanted.
    UserError where the file, its `uid` column or its rows are missing, where a uid appears twice, or where it is larger
    than `most` bytes.
    """
    place = as_location(place)
    cells = _cells(place, most)
    uid_at = _uid_column(cells.header, place)
    uids = cells.columns[uid_at]
    _learn(cells, uids)
    _check_uids(uids, cells.lines, place)
    told = set(subject_names(cells.header))
    columns = {
        name: (text_cells if name in told else numbers_or_text)(cells.columns[at]).array
        for at, name in enumerate(cells.header)
        if name and at != uid_at and keep(name)
    }
    return pd.DataFrame(columns, index=pd.Index(uids, name="uid", dtype="str"))


@dataclass
class _Cells:
    """A csv as text: its header, the numbers of the lines of its rows, and each column without spaces around cells."""

    header: list[str]
    lines: "array[int]" = field(default_factory=lambda: array("q"))
    columns: list[list[str]] = field(init=False)

    def __post_init__(self) -> None:
        self.columns = [[] for _ in self.header]
        self._known = [dict[str, str]() for _ in self.header]

    def add(self, line: int, row: list[str]) -> None:
        """Take in a row. Cells that are often the same are held once."""
        self.lines.append(line)
        for column, known, cell in zip(self.columns, self._known, row, strict=False):
            cell = cell.strip()
            column.append(known.setdefault(cell, cell) if len(known) < _MOST_KNOWN else known.get(cell, cell))


def _learn(cells: _Cells, uids: list[str]) -> None:
    """Tell the redaction of a private run who is in the table."""
    if redaction.redaction_in_use():
        redaction.learn("uid", uids)
        for at in (at for at, name in enumerate(cells.header) if subject_names([name])):
            redaction.learn("subject", {cell for cell in cells.columns[at] if cell_name(cell)})


def read_table(place: Address) -> dict[str, dict[int, str]]:
    """Any csv as text, the cells of each column by the lines they stand in; separators and errors as `read_split`."""
    cells = _cells(as_location(place))
    columns = zip(cells.header, cells.columns, strict=True)
    return {name: dict(zip(cells.lines, column, strict=True)) for name, column in columns if name}


def uids_as_written(place: Address) -> list[str] | None:
    """The column of the uids of a csv as text; None where it has none."""
    cells = _cells(as_location(place))
    return next(
        (column for name, column in zip(cells.header, cells.columns, strict=True) if name.lower() == "uid"), None
    )


def _cells(place: Location, most: int | None = None) -> _Cells:
    """The header and the rows of a csv; UserError where it is none, or where a row is longer or shorter than it."""
    if place.name.lower().endswith(SHEETS):
        raise UserError(f"{place} is a spreadsheet; save it as csv (UTF-8) and give that.", path=place)
    try:
        text = place.read_text(most)
    except Missing as error:
        raise UserError(
            f"{place} does not exist; give the path of a csv with one row a recording.", path=place
        ) from error
    lines = io.TextIOWrapper(io.BytesIO(text.encode()), "utf-8", newline="")
    reader = csv.reader(lines, delimiter=_separator(text), strict=True)
    del text  # of millions of rows it is large
    try:
        found, wrong = _taken_in(reader, place)
    except csv.Error as error:
        raise UserError(
            f"{place} is no readable csv: line {reader.line_num}: {error}; correct that line.", path=place
        ) from error
    if found is None:
        raise UserError(f"{place} is empty; it needs a header with a uid column and one row a recording.", path=place)
    _check_header(found.header, place)
    if wrong is not None:
        raise UserError(
            f"{place}, line {wrong[0]}, has {wrong[1]} cells; the header has {len(found.header)}: correct that line.",
            path=place,
        )
    return found


def _taken_in(reader: Any, place: Location) -> tuple[_Cells | None, tuple[int, int] | None]:
    """All rows up to one whose length is not that of the header, and the line and length of that one."""
    found: _Cells | None = None
    wrong: tuple[int, int] | None = None
    for row in reader:
        if wrong is not None or not any(cell.strip() for cell in row):
            continue
        if found is None:
            found = _Cells(_header(row, place))
        elif _does_not_fit(row, len(found.header)):
            wrong = reader.line_num, len(row)
        else:
            found.add(reader.line_num, row)
    return found, wrong


def _header(row: list[str], place: Location) -> list[str]:
    """The names of the columns. Some programs end lines with separators: what is unnamed at the end says nothing."""
    if len(row) > MOST_COLUMNS:
        raise UserError(
            f"{place} has {len(row):,} columns, expected {MOST_COLUMNS:,} at most; leave some out.", path=place
        )
    header = [cell.strip() for cell in row]
    return header[: max(at + 1 for at, name in enumerate(header) if name)]


def _check_header(header: list[str], place: Location) -> None:
    twice = [name for name, count in Counter(name for name in header if name).items() if count > 1]
    if twice:
        raise UserError(
            f"{place} has more than one column {redaction.shown_name('cell', twice[0])!r}; "
            "rename or remove all but one.",
            path=place,
        )


def _does_not_fit(row: list[str], width: int) -> bool:
    return len(row) < width or any(cell.strip() for cell in row[width:])


def _separator(text: str) -> str:
    """The separator that makes `uid` a column of the header; else the commonest in it."""
    text = text.lstrip()
    end = _LINE_ENDS.search(text)
    header = text[: end.start()] if end else text
    for separator in SEPARATORS:
        if "uid" in [cell.strip().strip('"').strip().lower() for cell in header.split(separator)]:
            return separator
    return max(SEPARATORS, key=header.count)


def _uid_column(header: list[str], place: Location) -> int:
    """The number of the column with the uids; UserError where there is none."""
    places = [at for at, name in enumerate(header) if name == "uid"] or [
        at for at, name in enumerate(header) if name.lower() == "uid"
    ]
    if not places:
        # A csv without a header has names of people there.
        shown = [redaction.shown_name("cell", name) for name in header if name]
        raise UserError(
            f"{place} has no column uid, only {some(shown)}; name the column of the folder names uid.", path=place
        )
    return places[0]


def _check_uids(uids: list[str], lines: "array[int]", place: Location) -> None:
    if not uids:
        raise UserError(f"{place} has a header but no rows; add one row a recording.", path=place)
    if "" in uids:
        raise UserError(
            f"{place}, line {lines[uids.index('')]}, has an empty uid; fill it in or remove the line.", path=place
        )
    if twice := named_twice(uids):
        sentence = f"{place} names {len(twice)} uid(s) more than once: {some(twice)}; keep one row of each."
        raise UserError(sentence, uid=twice)


def split_validation(frame: pd.DataFrame, share: float, seed: int) -> tuple[pd.DataFrame, pd.DataFrame, str]:
    """(train, validation, a sentence that says how), rows in their order; the choice depends on seed and names alone.

    No subject is in both parts where a subject or speaker column has at least 10 values; else single rows are drawn.
    """
    if not 0 < share < 1:
        raise UserError(f"val_share is {share}; expected a share between 0 and 1, such as 0.1.")
    if len(frame) < 2:
        raise UserError(f"the training csv has {len(frame)} row(s); at least 2 are needed to hold one out.")
    people = find_people(frame, least=ENOUGH_SUBJECTS)
    groups = [str(uid) for uid in frame.index] if people is None else grouped(frame, people)
    names = sorted(set(groups), key=lambda name: hashlib.blake2b(f"{seed}/{name}".encode()).digest())
    chosen = set(names[: min(max(1, round(share * len(names))), len(names) - 1)])
    held = np.array([group in chosen for group in groups])
    sentence = f"validation: {int(held.sum())} of {len(frame)} rows of the training csv held out"
    how = f"by {people.column} ({len(chosen)} of {len(names)})" if people else f"row by row ({_why_rows(frame)})"
    return frame[~held], frame[held], f"{sentence}, {how}, seed {seed}"


def _why_rows(frame: pd.DataFrame) -> str:
    if subject_names(frame.columns):
        return f"the subjects are fewer than {ENOUGH_SUBJECTS}, so subjects are in both parts"
    return "there is no subject or speaker column"
