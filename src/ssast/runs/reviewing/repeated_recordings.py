"""Find people who were recorded in two sessions, and put the values of their recordings side by side.

Shapes: R rows, P people, 2 sessions, D values of a recording.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from ssast import redaction
from ssast.data.storage.location import Location
from ssast.data.storage.unfolding import bounded_table, bytes_between
from ssast.data.tables.people import cell_name, find_people, number_in, plain_name
from ssast.data.tables.splits import read_split
from ssast.errors import UserError
from ssast.metrics.measures import Floats
from ssast.metrics.reliability import LEAST_PEOPLE, SESSIONS
from ssast.pages.tables import counted
from ssast.safe_reading import brief, some

SESSION = "session"
EMBEDDING = "embedding"
_TARGET = "_target"
_MOST_DIMENSIONS = 1 << 16
_MOST_VALUES, _VALUES_A_BYTE = 5_000_000, 8
"""More numbers than this no table of embeddings of its size holds."""
_DAY_FIRST = re.compile(r"\d{1,2}([./-])\d{1,2}\1\d{2,4}\b.*")
_DAY = re.compile(r"\d{4}-\d{1,2}-\d{1,2}\b.*")
_MOST_SHOWN = 6


@dataclass(frozen=True)
class Repeats:
    """The uids of each person's recordings in the first and in the second session, and who was left out.

    `order` are the names of the sessions where nobody but who gave them can know which comes first.
    """

    uids: list[tuple[list[str], list[str]]]
    unit: str
    once: int
    more: int
    order: list[str]

    def sentences(self) -> list[str]:
        """How many people there are, and whose recordings are not used."""
        most = max(len(uids) for sessions in self.uids for uids in sessions)
        told = [f"{len(self.uids)} {self.unit}s were recorded in two sessions."]
        if most > 1:
            told.append(f"A session's value is the mean of its recordings, {most} at most.")
        if self.once:
            told.append(f"Left out: {counted(self.once, self.unit)} with one session only.")
        if self.more:
            told.append(f"Of {self.more} {self.unit}s with more than two sessions the first two count.")
        if self.order:
            shown = some([redaction.shown_name("cell", name) for name in self.order], _MOST_SHOWN)
            told.append(f"Careful: sessions are taken in the order {shown}; number them 1 and 2 if another is right.")
        return told

    def values(self, values_of: Mapping[str, Floats]) -> Floats:
        """The mean of each person's recordings of a session (P, 2, D), of people with values in both."""
        pairs = []
        for sessions in self.uids:
            own = [[values_of[uid] for uid in uids if uid in values_of] for uids in sessions]
            if all(own):
                pairs.append([np.mean(found, axis=0) for found in own])
        return np.array(pairs, dtype=np.float64) if pairs else np.empty((0, SESSIONS, 0))


def find_repeats(place: Location) -> Repeats:
    """The people of a table with two sessions or more, by its columns of people and `session`.

    UserError where a column is missing, or fewer than three people were recorded twice.
    """
    frame = read_split(place)
    people = find_people(frame)
    if people is None:
        raise UserError(f"{place} does not say who speaks; add a column speaker or subject.", path=place)
    named = [str(name) for name in frame.columns if plain_name(name) == SESSION]
    if not named:
        raise UserError(
            f"{place} has no column {SESSION}, only {some([str(name) for name in frame.columns])}; "
            f"add one that tells the first recording of a person from the second.",
            path=place,
        )
    sessions: dict[str, dict[str, list[str]]] = {}
    for uid, person, cell in zip(frame.index, people.names, frame[named[0]].tolist(), strict=True):
        if person is not None and (session := cell_name(cell)) is not None:
            sessions.setdefault(person, {}).setdefault(session, []).append(uid)
    twice = {person: own for person, own in sessions.items() if len(own) >= SESSIONS}
    if len(twice) < LEAST_PEOPLE:
        raise UserError(
            f"{place} has {len(twice)} people with two sessions, expected at least {LEAST_PEOPLE}; "
            "see that its columns name people and sessions.",
            path=place,
        )
    pairs = [_first_two(own) for own in twice.values()]
    more = sum(len(own) > SESSIONS for own in twice.values())
    order = _checked_order({session for own in twice.values() for session in own}, place)
    return Repeats(pairs, people.unit, len(sessions) - len(twice), more, order)


def _first_two(sessions: dict[str, list[str]]) -> tuple[list[str], list[str]]:
    """The uids of the first two sessions."""
    first, second = sorted(sessions, key=_place)[:SESSIONS]
    return sessions[first], sessions[second]


def _place(session: str) -> tuple[float, list[str | float]]:
    """Numbers come by their size, then names by the alphabet, and by the numbers in them: visit 2 before visit 10."""
    parts = re.split(r"(\d+)", session.casefold())
    inside: list[str | float] = [float(part) if at % 2 else part for at, part in enumerate(parts)]
    number = number_in(session)
    return float("inf") if number is None else number, inside


def _checked_order(sessions: Iterable[str], place: Location) -> list[str]:
    """The sessions in their order where their names do not tell it; UserError for dates that countries read apart."""
    names = sorted(sessions, key=_place)
    if dates := [name for name in names if _DAY_FIRST.fullmatch(name)]:
        raise UserError(
            f"{place} has the session {dates[0]!r}, whose day and month have no order that all countries share; write "
            "dates as 2024-05-31, or number the sessions 1 and 2.",
            path=place,
            cell=dates[0],
        )
    words = {re.sub(r"[\W\d_]+", " ", name.casefold()).strip() for name in names}
    are_numbers = all(_DAY.fullmatch(name) or number_in(name) is not None for name in names)
    is_plain = len(words) == 1 and (words != {""} or are_numbers)
    return [] if is_plain else names


def table_of(word: str) -> Path:
    """The table that a word names: the predictions of a run folder, or the file itself. UserError where it is not."""
    path = Path(word)
    if path.is_dir():
        path = path / "predictions.csv"
    if not path.is_file():
        raise UserError(
            f"{path} does not exist; give a folder of evaluate, a csv of scores, or a file of embeddings.", path=path
        )
    return path


def read_scores(path: Path) -> dict[str, dict[str, Floats]]:
    """The scores (1,) by column and uid, of a csv with a column uid; targets and text are left aside."""
    frame = read_split(Location(str(path)))
    columns = [str(name) for name in frame.columns if pd.api.types.is_numeric_dtype(frame[name])]
    columns = [name for name in columns if not (name.endswith(_TARGET) and name.removesuffix(_TARGET) in columns)]
    if not columns:
        raise UserError(f"{path} has no column of numbers beside uid; give predictions.csv of a run.", path=path)
    found = {}
    for name in columns:
        values = frame[name].dropna()
        numbers = values.to_numpy(dtype=np.float64)
        if np.isinf(numbers).any():
            raise UserError(f"{path} has an infinite value in {brief(name)}, expected scores; take it out.", path=path)
        found[name] = {str(uid): numbers[at : at + 1] for at, uid in enumerate(values.index)}
    return found


def read_embeddings(path: Path) -> dict[str, Floats]:
    """The embeddings (D,) by uid of a parquet file that `extract` wrote; UserError for any other."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with open(path, "rb") as content, pq.ParquetFile(content) as file:
            _check_size(file, path)
            read = partial(bytes_between, content)
            groups = [bounded_table(file, at, ["uid", EMBEDDING], read) for at in range(file.metadata.num_row_groups)]
            table = pa.concat_tables(groups) if groups else file.read(columns=["uid", EMBEDDING])
        kind = table.schema.field(EMBEDDING).type
        if not (pa.types.is_list(kind) or pa.types.is_large_list(kind)) or not pa.types.is_floating(kind.value_type):
            raise ValueError(f"its column {EMBEDDING} holds {kind}")
        uids = [str(uid) for uid in table.column("uid").to_pylist()]
        rows = [np.asarray(row, dtype=np.float64) for row in table.column(EMBEDDING).to_pylist()]
        _check_numbers(uids, rows)
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(
            f"{path} cannot be read as embeddings ({str(error)[:200]}); give a file that extract wrote.", path=path
        ) from error
    redaction.learn("uid", uids)
    if len({row.shape for row in rows}) > 1 or len(set(uids)) < len(uids):
        raise UserError(
            f"{path} has more than one embedding of a recording, or of several sizes; extract without --over_time.",
            path=path,
        )
    return dict(zip(uids, rows, strict=True))


def _check_numbers(uids: list[str], rows: list[Floats]) -> None:
    """UserError for the first recording without an embedding of finite numbers."""
    for uid, row in zip(uids, rows, strict=True):
        if row.ndim != 1 or not 0 < len(row) <= _MOST_DIMENSIONS or not np.isfinite(row).all():
            raise UserError(
                f"the embedding of {brief(uid)} is no list of 1 to {_MOST_DIMENSIONS:,} finite numbers; extract "
                "it again, or take it out.",
                uid=uid,
            )


def _check_size(file: object, path: Path) -> None:
    """ValueError where a file holds more numbers than its size allows: some bytes can unfold to a million times."""
    metadata = file.metadata  # type: ignore[attr-defined]
    values = sum(
        metadata.row_group(group).column(at).num_values
        for group in range(metadata.num_row_groups)
        for at in range(metadata.num_columns)
    )
    if values > _MOST_VALUES + _VALUES_A_BYTE * path.stat().st_size:
        raise ValueError(f"it unfolds to {values:,} values")
