"""Join a further table to the rows of another by the keys that both have, and tell what did not fit.

Each row of the further table goes to all rows with its keys; its keys must be its own.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ssast import redaction
from ssast.data.layout.bids_names import PARTICIPANT_NAMES, SESSION_NAMES
from ssast.data.layout.file_column import COLUMNS, TableOfFiles
from ssast.data.layout.filenames import is_nothing, printable
from ssast.data.tables.people import across, person_name, plain_name
from ssast.errors import UserError
from ssast.safe_reading import some

ROLES = {
    "participant": PARTICIPANT_NAMES,
    "session": SESSION_NAMES,
    "task": ("task", "task_name"),
    "recording": ("recording_id",),
}
"""What the columns of keys are called that are found without --join_on, as in BIDS and in Bridge2AI-Voice."""
_PREFIXES = {"participant": "sub-", "session": "ses-", "task": "task-"}
_SHOWN = 3
KeyCells = tuple[str, ...]


@dataclass(frozen=True)
class JoinKey:
    """A column of each table that holds the same: `left` of the rows, `right` of the further table."""

    left: str
    right: str
    role: str

    @property
    def shown(self) -> str:
        """Both names, or the one."""
        return self.left if self.left == self.right else f"{self.left} = {self.right}"

    def plain(self, cell: str) -> str:
        """A cell to compare by: without the `sub-` or `ses-` of BIDS, and empty where it says nothing."""
        if is_nothing(cell):
            return ""
        prefix = _PREFIXES.get(self.role, "")
        bare = cell[len(prefix) :] if cell.lower().startswith(prefix) else cell
        return re.sub(r"[\s_-]+", "-", bare).casefold() if self.role == "task" else bare


@dataclass(frozen=True)
class Joined:
    """A table with the columns of another, the keys, and sentences that say what was joined and what did not fit."""

    cells: TableOfFiles
    keys: list[JoinKey]
    told: list[str]


def read_keys(text: str | None) -> list[tuple[str, str]]:
    """The pairs of columns that --join_on names: `participant_id,session=session_id`."""
    words = [word.strip() for word in (text or "").replace("\n", ",").split(",") if word.strip()]
    pairs = [(left.strip(), (right or left).strip()) for left, _, right in (word.partition("=") for word in words)]
    if empty := [word for word, pair in zip(words, pairs, strict=True) if not all(pair)]:
        raise UserError(f"--join_on has {empty[0]!r}; write a column, or two with = between, as session=session_id.")
    return pairs


def join_table(base: TableOfFiles, further: TableOfFiles, name: str, named: Sequence[tuple[str, str]]) -> Joined:
    """The rows of `base` with the columns of `further`, a table called `name`, by the keys that are `named` or found.

    Rows without a match keep empty cells. UserError where the tables share no key, where different rows of `further`
    have the same, or where nothing fits.
    """
    keys = _keys(base, further, name, named)
    theirs = _by_key({line: _values(keys, further, line, "right") for line in _lines(further)})
    told_twice = _check_doubled(theirs, further, name, keys)
    own = {line: _values(keys, base, line, "left") for line in _lines(base)}
    match = {line: theirs[values][0] for line, values in own.items() if values in theirs and all(values)}
    known = set(own.values())
    alone = [values for values in theirs if values not in known or not all(values)]
    lone_lines = [line for line in own if line not in match]
    _learn(keys, [*own.values(), *theirs])
    by = " and ".join(key.shown for key in keys)
    if not match:
        raise UserError(
            f"no row of {name} fits a recording by {by}: it has {_listed(alone)}, the recordings have "
            f"{_listed(own.values())}; correct the cells, or name the columns with --join_on.",
            subject=[value for values in (*alone, *own.values()) for value in values],
        )
    told = f"{name} joined by {by}: {len(match)} of {len(own)} recordings found their row"
    if lone_lines:
        told += f", {len(lone_lines)} have none and empty cells there ({_listed(own[line] for line in lone_lines)})"
    if alone:
        told += f"; {len(alone)} of its {len(theirs)} rows fit no recording ({_listed(alone)})"
    near = _near([own[line] for line in lone_lines], alone)
    cells, of_columns = _with_columns(base, further, name, keys, match)
    return Joined(cells, keys, [told + near, *told_twice, *of_columns])


def _keys(base: TableOfFiles, further: TableOfFiles, name: str, named: Sequence[tuple[str, str]]) -> list[JoinKey]:
    """The keys that both tables have, of those that are named if any of them is there, else of known names."""
    if found := [JoinKey(*pair, _role(pair[0])) for pair in named if pair[0] in base and pair[1] in further]:
        return found
    found = [key for role in ROLES if (key := _key_of(role, base, further)) is not None]
    if not found:
        pairs = some([left if left == right else f"{left}={right}" for left, right in named])
        asked = f"none of --join_on {pairs}, and " if named else ""
        raise UserError(
            f"{name} ({some(list(further), COLUMNS)}) has {asked}no column of participants or sessions that the "
            f"recordings' table has too ({some(list(base), COLUMNS)}); name some with --join_on: code=participant_id."
        )
    return found


def _key_of(role: str, base: TableOfFiles, further: TableOfFiles) -> JoinKey | None:
    lefts, rights = ([column for column in table if _role(column) == role] for table in (base, further))
    if not (lefts and rights):
        return None
    left = next((column for column in lefts if column in rights), lefts[0])
    return JoinKey(left, left if left in rights else rights[0], role)


def _role(column: str) -> str:
    plain = {person_name(column), plain_name(column)}
    return next((role for role, known in ROLES.items() if plain & set(known)), "")


def _lines(table: TableOfFiles) -> list[int]:
    return list(next(iter(table.values()), {}))


def _values(keys: Sequence[JoinKey], table: TableOfFiles, line: int, side: str) -> KeyCells:
    return tuple(key.plain(table[getattr(key, side)][line]) for key in keys)


def _by_key(values: Mapping[int, KeyCells]) -> dict[KeyCells, list[int]]:
    found: dict[KeyCells, list[int]] = defaultdict(list)
    for line, own in values.items():
        found[own].append(line)
    return dict(found)


def _check_doubled(
    theirs: Mapping[KeyCells, list[int]], further: TableOfFiles, name: str, keys: Sequence[JoinKey]
) -> list[str]:
    """A sentence where rows are there twice; UserError where rows of the same keys differ."""
    doubled = {values: lines for values, lines in theirs.items() if len(lines) > 1 and all(values)}
    by = " and ".join(key.right for key in keys)
    unlike = {
        values: lines
        for values, lines in doubled.items()
        if any(len({cells[line] for line in lines}) > 1 for name, cells in further.items() if not _is_key(name, keys))
    }
    if unlike:
        values, lines = next(iter(unlike.items()))
        raise UserError(
            f"{name} has {len(unlike)} of {len(theirs)} keys ({by}) in more than one row, and these differ, as those "
            f"of {_shown(values)} in lines {' and '.join(map(str, lines[:2]))}; name a further column that tells them "
            "apart with --join_on, or keep one row each.",
            subject=values,
        )
    return [f"rows of {name} that are there twice count once ({len(doubled)})"] if doubled else []


def _is_key(column: str, keys: Sequence[JoinKey]) -> bool:
    return any(column == key.right for key in keys)


def _with_columns(
    base: TableOfFiles, further: TableOfFiles, name: str, keys: Sequence[JoinKey], match: Mapping[int, int]
) -> tuple[TableOfFiles, list[str]]:
    """The columns of both; one that both have stays one where its cells agree, and gets a second name where not."""
    found: dict[str, Mapping[int, str]] = dict(base)
    told = []
    for column, cells in further.items():
        if _is_key(column, keys):
            continue
        own = {line: cells[match[line]] if line in match else "" for line in _lines(base)}
        is_uid = column.lower() == "uid"
        if column not in found and not is_uid:
            found[column] = own
            continue
        differing = 0 if is_uid else _differing(base[column], own) if column in base else 1
        if differing or is_uid:
            second = _free(f"{re.sub(r'[^0-9A-Za-z]+', '_', name.rsplit('.', 1)[0]).strip('_')}_{column}", found)
            found[second] = own
            why = "" if is_uid else f", since {differing} recordings have other values in the recordings' own column"
            told.append(f"the column {printable(column)} of {name} is called {printable(second)}{why}")
            continue
        filled = sum(is_nothing(base[column][line]) and not is_nothing(cell) for line, cell in own.items())
        found[column] = {
            line: cell if is_nothing(base[column][line]) else base[column][line] for line, cell in own.items()
        }
        more = f"; {filled} empty cells were filled from it" if filled else ""
        told.append(f"the column {printable(column)} is in {name} too and agrees, so it is kept once{more}")
    return found, told


def _differing(ours: Mapping[int, str], theirs: Mapping[int, str]) -> int:
    """In how many rows two columns say different things."""
    filled = [line for line in theirs if not is_nothing(theirs[line]) and not is_nothing(ours[line])]
    return sum(ours[line] != theirs[line] for line in filled)


def _free(name: str, taken: Mapping[str, object]) -> str:
    numbered = (name if number == 1 else f"{name}_{number}" for number in range(1, len(taken) + 2))
    return next(one for one in numbered if one not in taken)


def _near(lone: Iterable[KeyCells], alone: Iterable[KeyCells]) -> str:
    """Keys on both sides that may be the same in another spelling."""
    here, there = ({" ".join(values): values for values in side} for side in (lone, alone))
    pairs = [f"{_shown(here[one])} and {_shown(there[other])}" for one, other in across(here, there)]
    return f"; {len(pairs)} may be the same, spelled otherwise: {some(pairs, _SHOWN)}" if pairs else ""


def _shown(values: KeyCells) -> str:
    """The cells of a key, each as it may be shown: short codes are hidden in a private run too."""
    return " ".join(printable(redaction.shown_name("subject", value)) if value else "(empty)" for value in values)


def _listed(keys: Iterable[KeyCells]) -> str:
    return some(list(dict.fromkeys(map(_shown, keys))), _SHOWN)


def _learn(keys: Sequence[JoinKey], found: Iterable[KeyCells]) -> None:
    """Tell the redaction of a private run who is in the keys."""
    at = [number for number, key in enumerate(keys) if key.role in ("participant", "recording", "")]
    redaction.learn("subject", {values[number] for values in found for number in at if values[number]})
