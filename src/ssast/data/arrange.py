"""A table and audio files in; which row is whose file, its yes/no answers as numbers, and the people to test on, out.

Shapes: R rows of a table, N labels, G groups of rows that stay together.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ssast.data.people import ANSWERS, NO_VALUE, is_naming, subject_names
from ssast.data.recordings import check_uid
from ssast.data.splits import some
from ssast.data.storage import Location
from ssast.errors import UserError

Table = Mapping[str, Mapping[int, str]]
"""The cells of each column by the lines they stand in."""
NOTHING = float("nan")
COLUMNS = 20
"""So many columns of a table are named at most where one is missing."""
DRAWS = 200
"""So many divisions of the people are drawn; the one whose halves are most alike is taken."""
LACKING = 10.0
"""What it costs a division that a label has only one answer in one of its halves."""


@dataclass(frozen=True)
class Named:
    """The column of a table that names audio files, the file of each row by its line, and the lines without one."""

    column: str
    file_of: dict[int, Location]
    lacking: dict[int, str]


def name_files(table: Table, files: Sequence[Location], folder: Location, column: str | None = None) -> Named:
    """Find the column that names the most of `files`, or take the one asked for; names may lack folder and ending.

    UserError where no column names any, where the column is not there, and where two rows name one file.
    """
    _check_column(table, column, "--file_column")
    known = _by_name(files, folder)
    found = {name: _matches(table[name], known) for name in ([column] if column else table)}
    best = max(found, key=lambda name: len(found[name]))
    if not found[best]:
        raise UserError(
            f"no column of the table ({some(list(table), COLUMNS)}) names files in {folder} "
            f"({some([_relative(file, folder) for file in files], 3)}); write their names in one of them."
        )
    twice = [address for address, count in Counter(file.address for file in found[best].values()).items() if count > 1]
    if twice:
        lines = [str(line) for line, file in found[best].items() if file.address == twice[0]]
        raise UserError(f"the lines {', '.join(lines)} of the table all name {twice[0]}; keep one row a recording.")
    lacking = {line: cell for line, cell in table[best].items() if line not in found[best]}
    return Named(best, found[best], lacking)


def _check_column(table: Table, name: str | None, option: str) -> None:
    if name is not None and name not in table:
        raise UserError(f"the table has no column {name!r}, only {some(list(table), COLUMNS)}; mend {option}.")


def uid_column(table: Table) -> str | None:
    """The table's own column of uids, if it has one."""
    return next((name for name in table if name.lower() == "uid"), None)


def _matches(cells: Mapping[int, str], known: Mapping[str, Location | None]) -> dict[int, Location]:
    pairs = ((line, known.get(_key(cell))) for line, cell in cells.items())
    return {line: file for line, file in pairs if file is not None}


def _by_name(files: Sequence[Location], folder: Location) -> dict[str, Location | None]:
    """Files by every way to write them, a whole path before a bare name; None where two are written alike."""
    known: dict[str, Location | None] = {}
    paths = {file: _relative(file, folder) for file in files}
    names = [_stem, lambda file: file.name, lambda file: paths[file].rsplit(".", 1)[0], lambda file: paths[file]]
    for name in names:
        times = Counter(_key(name(file)) for file in files)
        known |= {_key(name(file)): file if times[_key(name(file))] == 1 else None for file in files}
    return known


def _key(name: str) -> str:
    return name.replace("\\", "/").removeprefix("./").casefold()


def _relative(file: Location, folder: Location) -> str:
    return str(file).removeprefix(str(folder)).lstrip("/\\")


def _stem(file: Location) -> str:
    return file.name.rsplit(".", 1)[0]


def name_rows(table: Table, named: Named, folder: Location) -> dict[int, str]:
    """The uid of each row that has a file: of its own column `uid`, else the file's name, with its folders if need be.

    UserError where that gives a name twice, or one that is no plain folder name.
    """
    own = uid_column(table)
    if own is not None and own != named.column:
        uids = {line: table[own][line] for line in named.file_of}
    else:
        uids = {line: _stem(file) for line, file in named.file_of.items()}
        if len(set(map(str.casefold, uids.values()))) < len(uids):
            paths = {line: _relative(file, folder) for line, file in named.file_of.items()}
            uids = {line: path.rsplit(".", 1)[0].replace("\\", "/").replace("/", "-") for line, path in paths.items()}
    twice = [name for name, count in Counter(map(str.casefold, uids.values())).items() if count > 1]
    if twice:
        lines = [str(line) for line, uid in uids.items() if uid.casefold() == twice[0]]
        raise UserError(f"the table's lines {', '.join(lines)} would all be called {twice[0]!r}; give each a uid.")
    for uid in uids.values():
        check_uid(uid)
    return uids


def find_subject(table: Table, column: str | None) -> str | None:
    """The column that says who speaks: the one asked for, else one of a known name (speaker, subject, ...)."""
    _check_column(table, column, "--subject_column")
    return column or next((name for name in subject_names(table) if is_naming(table[name].values())), None)


def answers(table: Table, labels: Sequence[str] | None, leave: Sequence[str]) -> dict[str, dict[int, float]]:
    """The labels as numbers, NaN where a cell is empty: those of the list, else each column of yes/no answers.

    Without a list a column counts that holds 0 and 1, yes and no, or the like, and both of them. UserError for a label
    that is not there or a cell that is no number and no such answer.
    """
    found = {}
    for name in table if labels is None else labels:
        _check_column(table, name, "--label_txt")
        numbers = {line: _number(cell) for line, cell in table[name].items()}
        known = {line: number for line, number in numbers.items() if number is not None}
        if labels is None:
            if name not in leave and len(known) == len(numbers) and {*known.values()} - {NOTHING} == {0, 1}:
                found[name] = known
        elif len(known) == len(numbers):
            found[name] = known
        else:
            line = next(line for line, number in numbers.items() if number is None)
            raise UserError(
                f"line {line} of the table has {table[name][line]!r} for {name!r}, expected a number, yes, no or "
                "nothing; mend the cell."
            )
    unfit = [name for name in found if "," in name or name != name.strip("\"' ")]
    if unfit:
        raise UserError(f"labels.txt cannot hold {unfit[0]!r}: a comma or a quote is in the name; rename the column.")
    return found


def _number(cell: str) -> float | None:
    """What a cell stands for, NaN for nothing; None where it is no number and no answer."""
    cell = cell.strip().lower()
    if cell in NO_VALUE:
        return NOTHING
    if cell in ANSWERS:
        return ANSWERS[cell]
    try:
        number = float(cell.replace(",", "."))
    except ValueError:
        return None
    return number if np.isfinite(number) else None


def choose_test(groups: Sequence[str], targets_RN: NDArray[np.float64], share: float, seed: int) -> NDArray[np.bool_]:
    """Which rows are the test (R,): whole groups, about `share` of them, with each label's answers in both halves.

    Of `DRAWS` divisions drawn from `seed` the one whose rates of yes are closest in both halves.
    """
    names, group_R = np.unique(np.array(groups, dtype=object), return_inverse=True)
    known_RN = ~np.isnan(targets_RN)
    yes_RN = np.where(known_RN, targets_RN, 0.0)
    counted = (yes_RN, known_RN - yes_RN, np.ones((len(groups), 1)))
    sums = [_by_group(values, group_R, len(names)) for values in counted]
    size = min(max(1, round(share * len(names))), len(names) - 1)
    random = np.random.default_rng(seed)
    drawn = [np.isin(np.arange(len(names)), random.permutation(len(names))[:size]) for _ in range(DRAWS)]
    chosen_G = min(drawn, key=lambda chosen_G: _cost(chosen_G, share, *sums))
    return chosen_G[group_R]


def _by_group(values_RN: NDArray[np.float64], group_R: NDArray[np.int64], groups: int) -> NDArray[np.float64]:
    """Sums over the rows of each group (G, N)."""
    sums_GN = np.zeros((groups, values_RN.shape[1]))
    np.add.at(sums_GN, group_R, values_RN)
    return sums_GN


def _cost(
    chosen_G: NDArray[np.bool_],
    share: float,
    yes_GN: NDArray[np.float64],
    no_GN: NDArray[np.float64],
    rows_G1: NDArray[np.float64],
) -> float:
    """How unlike the two halves are."""
    cost = abs(rows_G1[chosen_G].sum() / rows_G1.sum() - share)
    rates = []
    for half_G in (chosen_G, ~chosen_G):
        yes_N, no_N = yes_GN[half_G].sum(0), no_GN[half_G].sum(0)
        cost += LACKING * float(np.sum((yes_N == 0) | (no_N == 0)))
        rates.append(yes_N / np.maximum(yes_N + no_N, 1.0))
    return float(cost + np.abs(rates[0] - rates[1]).sum())
