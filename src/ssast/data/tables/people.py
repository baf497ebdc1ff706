"""Find out who speaks in the tables of a run: which column says it, and whose the rows are.

Whether a column tells people apart is decided over all tables of a run together. Shapes: R rows of a table.
"""

import math
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

NO_VALUE = {"", "na", "n/a", "#n/a", "nan", "null", "none"}
PEOPLE = ("subject", "speaker", "patient", "participant")
SUBJECTS = (*PEOPLE, *(f"{one}_id" for one in PEOPLE))
NO_WORDS = ("0", "no", "n", "false", "nein", "falsch", "non", "faux", "nee", "nej", "nei", "n\u00e3o", "nao", "falso")
YES_WORDS = (
    *("1", "yes", "y", "true", "ja", "wahr", "oui", "vrai", "si", "s\u00ed", "s\u00ec", "sim", "vero", "verdadero"),
    "verdadeiro",
)
"""What tables in English, German, French, Spanish, Italian, Portuguese, Dutch and the Nordic languages write."""
ANSWERS = {**dict.fromkeys(NO_WORDS, 0.0), **dict.fromkeys(YES_WORDS, 1.0)}
ENOUGH_SUBJECTS = 10
UNGROUPED = "numbers without marks of thousands, since 1,234 may be 1234 or 1.234"
"""What is expected where `is_grouped`."""
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}[.,]\d{3}")


@dataclass(frozen=True)
class People:
    """Who speaks in each row of a table: `column` says so, `names` (R,) are its cells, None where nobody is named."""

    column: str
    names: list[str | None]

    @property
    def known(self) -> set[str]:
        """All people who are named."""
        return {name for name in self.names if name is not None}

    @property
    def unit(self) -> str:
        """What one of them is called: subject, speaker, patient or participant."""
        return person_name(self.column).removesuffix("_id")


def plain_name(column: object) -> str:
    """A column's name without capitals, its words joined by `_`."""
    return re.sub(r"[\s-]+", "_", str(column).strip().lower())


def person_name(column: object) -> str:
    """Which of SUBJECTS a column is, also as SubjectID or speakerid; its plain name where it is none of them."""
    plain = plain_name(column)
    return next((name for name in SUBJECTS if name.replace("_", "") == plain.replace("_", "")), plain)


def subject_names(columns: Iterable[Any]) -> list[str]:
    """The columns whose names say that they name speakers, the plainest first; those in one word come last."""
    found = {name: person_name(name) for name in map(str, columns)}
    own = [name for name in found if found[name] in SUBJECTS]
    return sorted(own, key=lambda name: (found[name] != plain_name(name), SUBJECTS.index(found[name])))


def answer_of(cell: Any) -> float | None:
    """1 for yes and 0 for no, in the words of several languages; None for anything else."""
    return ANSWERS.get(unicodedata.normalize("NFC", str(cell).strip().lower()))


def number_for(cells: pd.Series) -> str:
    """What a label expects in place of the text in its cells: where that is yes and no, what stands for them."""
    if is_grouped([str(cell) for cell in cells.dropna()]):
        return UNGROUPED
    is_answered = all(answer_of(cell) is not None for cell in cells.dropna())
    return "a number: 1 for yes, 0 for no" if is_answered else "a number"


def is_naming(values: Iterable[Any]) -> bool:
    """Whether these tell people apart: a column `patient` may also say yes for patients and no for others."""
    plain = {str(value).strip().lower().removesuffix(".0") for value in values}
    return any(answer_of(value) is None and value not in NO_VALUE for value in plain)


def number_in(cell: Any) -> float | None:
    """The number that a cell holds, with a decimal point or comma; None for anything else, infinity among it."""
    text = str(cell)
    try:
        number = float(text.replace(",", "."))
    except ValueError:
        return None
    return number if math.isfinite(number) and "_" not in text else None


def is_grouped(cells: Sequence[str]) -> bool:
    """Whether a comma or a point of a column may part thousands: `1,234` beside `987`, and `1.234` beside `98,5`.

    Then nobody knows whether it is 1.234 or 1234. A comma in every cell, and `0,345` or `1,25` in any, are decimal.
    """
    commas = [cell for cell in cells if "," in cell]
    if not commas:
        return False
    if all(_THOUSANDS.fullmatch(cell) for cell in commas):
        return len(commas) < len(cells)
    return any("." in cell and _THOUSANDS.fullmatch(cell) for cell in cells)


def is_empty(cell: Any) -> bool:
    """Whether a cell has nothing in it, or says so, as R's NA does."""
    return bool(cell is None or cell is pd.NA or cell != cell or str(cell).strip().lower() in NO_VALUE)


def cell_name(cell: Any) -> str | None:
    """The person that a cell names, as it is written; None where it is empty."""
    return None if is_empty(cell) else str(cell)


def people_in(frame: pd.DataFrame, column: str) -> People:
    """Who speaks in each row, as this column says."""
    return People(column, [cell_name(cell) for cell in frame[column].tolist()])


def find_people(frame: pd.DataFrame, beside: Iterable[pd.DataFrame] = (), *, least: int = 1) -> People | None:
    """Who speaks in a table: the first column of a known name that tells people apart and names `least` of them.

    `beside` are the other tables of the run: one that holds person 1 alone does not say whether 1 is a yes.
    """
    naming = _naming([frame, *beside])
    found = (people_in(frame, name) for name in subject_names(frame.columns) if person_name(name) in naming)
    return next((people for people in found if len(people.known) >= least), None)


def find_all_people(frames: Sequence[pd.DataFrame]) -> list[People | None]:
    """Who speaks in each of a run's tables, of columns with the same name where all that name people have one."""
    naming = _naming(frames)
    own = [[name for name in subject_names(frame.columns) if person_name(name) in naming] for frame in frames]
    plain = [{person_name(name) for name in names} for names in own if names]
    shared = set.intersection(*plain) if plain else set()
    chosen = [[name for name in names if person_name(name) in shared or not shared][:1] for names in own]
    return [people_in(frame, *name) if name else None for frame, name in zip(frames, chosen, strict=True)]


def _naming(frames: Sequence[pd.DataFrame]) -> set[str]:
    """The plain names of those columns that tell people apart, judged by what they hold in all of the tables."""
    cells: dict[str, set[str]] = {}
    for frame in frames:
        for name in subject_names(frame.columns):
            cells.setdefault(person_name(name), set()).update(people_in(frame, name).known)
    return {name for name, values in cells.items() if values and (name.endswith("_id") or is_naming(values))}


def one_spelling(name: str) -> tuple[str, ...]:
    """What is left of a name when capitals, signs between its parts, leading zeros and the 0 of 1.0 do not count.

    2.1 and 2.10 stay apart: they are the first and the tenth of the second.
    """
    plain = re.sub(r"^(\d+)\.0+$", r"\1", unicodedata.normalize("NFKC", name).casefold().strip())
    parts = re.findall(r"[^\W\d_]+|\d+", plain)
    return tuple(part.lstrip("0") or "0" if part.isdigit() else part for part in parts) or (plain,)


def spelled_twice(names: Iterable[str]) -> Iterator[list[str]]:
    """The names that differ, but may be those of one person: 01 and 1, P1 and p01."""
    alike: dict[tuple[str, ...], list[str]] = {}
    for name in sorted(set(names)):
        alike.setdefault(one_spelling(name), []).append(name)
    yield from (own for own in alike.values() if len(own) > 1)


def across(here: Iterable[str], there: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Each name of the one side beside the first of the other that differs and may be the same person's."""
    other: dict[tuple[str, ...], str] = {}
    for name in sorted(there):
        other.setdefault(one_spelling(name), name)
    pairs = ((name, other.get(one_spelling(name), name)) for name in sorted(here))
    yield from ((name, second) for name, second in pairs if second != name)


def grouped(frame: pd.DataFrame, people: People | None) -> list[str]:
    """The group of each row (R,): its person, or the row's own uid where nobody is named."""
    alone = [f"uid {uid}" for uid in frame.index]
    if people is None:
        return alone
    return [uid if name is None else f"subject {name}" for name, uid in zip(people.names, alone, strict=True)]
