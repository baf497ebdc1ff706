"""Turn the columns of a table into labels: yes/no answers, numbers, and one yes/no label for each word of a column."""

import re
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from unicodedata import normalize

from ssast.data.layout.file_column import TableOfFiles, check_column
from ssast.data.layout.filenames import filled, printable, quoted
from ssast.data.tables.label_columns import check_label_names
from ssast.data.tables.people import NO_VALUE, UNGROUPED, answer_of, is_grouped, number_in
from ssast.errors import UserError
from ssast.safe_reading import some

_NOTHING = float("nan")
MOST_LABEL_VALUES = 20
"""A column of more different words is free text, or names something."""
_LONGEST = 60
"""A label's name is part of file names and tables."""
NEARLY = 5
"""A column with at most one other word in so many yes/no answers was probably meant to hold nothing else."""
AMBIGUOUS = {"none", "null"}
"""What may mean that nothing is known, or that a person has none of the diagnoses."""
MADE_OF_LABELS = ("_target", "_call")
"""Endings of the columns that tables of scores add to a label's name."""

Numbers = dict[int, float]
"""The cells of a label by their lines, NaN where nothing is known."""


@dataclass(frozen=True)
class Labels:
    """Labels by name, and which of them were made of the words of a column: (column, word)."""

    cells: dict[str, Numbers]
    made: dict[str, tuple[str, str]]


def find_labels(
    table: TableOfFiles, given: Sequence[str] | None, spread: Sequence[str], leave: Sequence[str]
) -> Labels:
    """The labels that were asked for, else each column of yes/no answers but those to `leave`.

    `given` are columns of numbers or answers; each column of `spread` gives one yes/no label a word, or stays one
    label where its words are yes and no. UserError for a label that is not there or a cell that is none of this.
    """
    found: dict[str, Numbers] = {name: _given(table, name, "--label_txt") for name in given or ()}
    made: dict[str, tuple[str, str]] = {}
    for column in spread:
        check_column(table, column, "--label_column")
        if column in found:
            continue
        if answers := _answers(table[column]):
            found[column] = answers
            continue
        for name, word in _names(column, _words(table, column), {*table, *found}):
            found[name] = {line: _is_word(cell, word) for line, cell in table[column].items()}
            made[name] = (column, word)
    if given is None and not spread:
        found = {name: known for name in table if name not in leave and (known := _answers(table[name]))}
    unfit = [name for name in found if "," in name or name != name.strip("\"' ") or re.search(r"[\r\n]", name)]
    if unfit:
        raise UserError(
            f"labels.txt cannot hold {quoted(unfit[0])}: a comma, a quote or a line break is in the name; "
            "rename the column."
        )
    check_label_names(
        list(found), source="the table", remedy="rename the column, or name other labels with --label_txt"
    )
    return Labels(found, made)


def _given(table: TableOfFiles, name: str, option: str) -> Numbers:
    """A column that was asked for, as numbers."""
    check_column(table, name, option)
    numbers = {line: _number(cell) for line, cell in table[name].items()}
    known = filled(table[name])
    if is_grouped(list(known.values())):
        line = next(line for line, cell in known.items() if "," in cell)
        raise UserError(
            f"line {line} of the table has {quoted(known[line])} for {name!r}, expected {UNGROUPED}; correct it.",
            cell=known[line],
        )
    for line, number in numbers.items():
        if number is None:
            raise UserError(
                f"line {line} of the table has {quoted(table[name][line])} for {name!r}, expected a number, yes, "
                f"no or nothing; correct the cell, or pass --label_column {shlex.quote(name)} to make a "
                "label of each of its entries.",
                cell=table[name][line],
            )
    return {line: number for line, number in numbers.items() if number is not None}


def _answers(cells: Mapping[int, str]) -> Numbers | None:
    """A column of 0 and 1, yes and no, or the like, with both of them; None for any other."""
    numbers = {line: _number(cell) for line, cell in cells.items()}
    known = {line: number for line, number in numbers.items() if number is not None}
    return known if len(known) == len(numbers) and {*known.values()} - {_NOTHING} == {0, 1} else None


def nearly_answers(cells: Mapping[int, str]) -> str:
    """The first word that keeps a column from being yes/no answers, where it nearly is; empty elsewhere."""
    entries = list(filled(cells).values())
    numbers = [_number(cell) for cell in entries]
    others = [cell for cell, number in zip(entries, numbers, strict=True) if number is None]
    is_near = NEARLY * len(others) <= len(entries) and {*numbers} == {0, 1, None}
    return others[0] if is_near else ""


def _number(cell: str) -> float | None:
    """The number that a cell means, NaN for an empty one; None where it is no number and no answer."""
    cell = cell.strip().lower()
    if cell in NO_VALUE:
        return _NOTHING
    if (answer := answer_of(cell)) is not None:
        return answer
    return number_in(cell)


def _words(table: TableOfFiles, column: str) -> list[str]:
    """The different words of a column in their order; UserError where they make no labels."""
    cells = {line: cell for line, cell in table[column].items() if cell and _is_known(cell)}
    words = sorted(dict.fromkeys(cells.values()), key=lambda word: (word.casefold(), word))
    _check_words(words, cells, column)
    return words


def _check_words(words: Sequence[str], cells: Mapping[int, str], column: str) -> None:
    shown = some([printable(word[:_LONGEST]) for word in words], 3)
    if len(words) < 2:
        what = f"only '{shown}'" if words else "nothing"
        raise UserError(
            f"the column {column!r} holds {what}, and a label needs two answers; name another column.", cell=words
        )
    held = f"the column {column!r} holds {len(words)} different entries ({shown})"
    if len(words) > MOST_LABEL_VALUES:
        raise UserError(
            f"{held}, and at most {MOST_LABEL_VALUES} can become labels; write groups of them into a new column, or, "
            "if they are numbers, name the column in a file for --label_txt.",
            cell=words,
        )
    alike = Counter(map(_alike, words)).most_common(1)[0]
    if alike[1] > 1:
        twice = [quoted(word) for word in words if _alike(word) == alike[0]]
        raise UserError(
            f"the column {column!r} holds {' and '.join(twice)}, which look like one entry; write it in one way.",
            cell=[word for word in words if _alike(word) == alike[0]],
        )
    if 2 < len(words) == len(cells):
        raise UserError(f"{held}, each in one row only, which no model can learn; name a column of groups.", cell=words)
    for line, cell in cells.items():
        if cell.lower() in AMBIGUOUS or re.fullmatch(r"#[A-Z0-9/]+[!?]?", cell):
            raise UserError(
                f"line {line} of the table has {cell!r} for {column!r}, which may mean that nothing is known; leave "
                "such cells empty, or write a word such as healthy.",
                cell=cell,
            )


def _is_known(cell: str) -> bool:
    """Whether a cell says something; `none` does, perhaps, and so is asked about."""
    return cell.lower() not in NO_VALUE - AMBIGUOUS


def _is_word(cell: str, word: str) -> float:
    return float(cell == word) if cell and _is_known(cell) else _NOTHING


def _alike(word: str) -> str:
    return " ".join(normalize("NFKC", word).casefold().split())


def _names(column: str, words: Sequence[str], taken: set[str]) -> Iterator[tuple[str, str]]:
    """A label's name for each word: column_word, with a number behind it where another column is called so."""
    used = {name.casefold() for name in taken}
    for word in words:
        plain = re.sub(r"[^\w.+-]+", "_", normalize("NFC", f"{column}_{word}"))[:_LONGEST].strip("_.") or "label"
        numbered = (plain if number == 1 else f"{plain}_{number}" for number in range(1, len(words) + len(used) + 2))
        name = next(name for name in numbered if not _is_taken(name.casefold(), used))
        used.add(name.casefold())
        yield name, word


def _is_taken(name: str, used: set[str]) -> bool:
    """Whether a name is a column's already, or would be one of those that tables of scores make of a label."""
    ends = [name.removesuffix(end) for end in MADE_OF_LABELS if name.endswith(end)]
    return name in used or any(f"{name}{end}" in used for end in MADE_OF_LABELS) or any(end in used for end in ends)


def listed(text: str, table: TableOfFiles) -> list[str]:
    """The columns that an option names, one a line or with commas between; a name may hold a comma itself."""
    lines = [line.strip() for line in text.splitlines()]
    found = (name for line in lines for name in ([line] if line in table else line.split(",")))
    return list(dict.fromkeys(name.strip() for name in found if name.strip()))
