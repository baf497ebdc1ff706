"""Write tables of predicted scores a piece at a time, and note in the table of one part of a run which part it is.

A note says what the table was made of, too.
"""

import hashlib
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import pandas as pd
import pyarrow as pa

from ssast import __version__
from ssast.data.storage.atomic_writes import atomic_file
from ssast.data.tables.row_groups import write_rows
from ssast.engine.inference import ROWS_AT_ONCE
from ssast.options.parts import Part
from ssast.options.privacy import shown_record
from ssast.options.record import RunRecord
from ssast.safe_reading import brief, json_of

KEY = b"ssast_part"
"""Where the note stands in the metadata of a Parquet file."""
_SAME_CONTENT = ("data_split_root", "label_txt", "pretrained_mdl_path", "finetuned_mdl_path", "files", "prefix")
"""Options that may differ between machines: what lies at these paths is compared by its content, and rows by name."""


@dataclass(frozen=True)
class PartNote:
    """Which part of a run wrote a table: its rows from `start` to `stop` of all `rows`, and what it was made of.

    `options` are those that the result depends on, `files` the SHA-256 of what was read, `uids` that of all names.
    """

    number: int
    count: int
    start: int
    stop: int
    rows: int
    mode: str
    options: dict[str, str]
    files: list[str]
    uids: str
    version: str

    @classmethod
    def of(
        cls, record: RunRecord, bounds: tuple[int, int], uids: Sequence[str], files: Mapping[str, str]
    ) -> "PartNote":
        """The note of a run that takes the rows within these bounds of all that have these uids."""
        part = record.part
        chosen = {name: value for name, value in record.chosen.items() if name not in _SAME_CONTENT}
        options = {name: str(value) for name, value in shown_record(chosen).items()}
        names = hashlib.sha256()
        for uid in uids:
            names.update(uid.encode("utf-8", "surrogatepass") + b"\0")
        return cls(
            *(part.number, part.count, *bounds, len(uids)),
            *(record.mode, options, sorted(files.values()), names.hexdigest(), __version__),
        )

    def metadata(self) -> dict[bytes, bytes]:
        """The note as it stands in a file; nothing for a run that is whole."""
        return {KEY: json.dumps(asdict(self)).encode()} if self.count else {}

    @classmethod
    def read(cls, metadata: Mapping[bytes, bytes] | None) -> "PartNote":
        """The note of a file; ValueError where there is none, or one that nobody of us wrote."""
        found: Any = json_of((metadata or {}).get(KEY, b"").decode("utf-8"))
        try:
            note = cls(**found)
        except TypeError as error:
            raise ValueError("its note is not of this version") from error
        numbers = (note.number, note.count, note.start, note.stop, note.rows)
        is_sound = all(type(one) is int and one >= 0 for one in numbers) and isinstance(note.options, dict)
        if not is_sound or not 1 <= note.number <= note.count or not note.start <= note.stop <= note.rows:
            raise ValueError("its note names no part")
        return note

    @property
    def part(self) -> Part:
        """Which part it is."""
        return Part(self.number, self.count)

    def difference(self, other: "PartNote") -> str:
        """How what another part was made of differs from this; empty where both are of one run."""
        for name in sorted({*self.options, *other.options}):
            here, there = self.options.get(name, "its default"), other.options.get(name, "its default")
            if here != there:
                return f"{brief(name)} {brief(here)} there, {brief(there)} here"
        if self.files != other.files:
            return "made with another model, table or labels"
        if (self.uids, self.rows) != (other.uids, other.rows):
            return f"made of {other.rows} recordings where the other is of {self.rows}, or of others"
        if self.mode != other.mode or self.count != other.count:
            return f"part of {other.count} where the other is one of {self.count}"
        return (
            ""
            if self.version == other.version
            else f"made with ssast {brief(self.version)} there, {brief(other.version)} here"
        )


PREDICTED, WINDOWS = "predicted", "predicted_windows"
"""The tables' names; apart from predictions.csv, which knows the truth beside each score and is compared by."""
GROUPS = {PREDICTED: 4096, WINDOWS: ROWS_AT_ONCE}
"""The rows of their row groups."""


def save_scores(
    frames: Iterable[pd.DataFrame], path: Path, rows_a_group: int, facts: Mapping[bytes, bytes] | None = None
) -> int:
    """The pieces of a table as path.csv and path.parquet, one piece in memory at a time; the number of rows.

    There is one piece at least, which may be empty. `facts` go into the metadata of the Parquet file.
    """
    with (
        atomic_file(path.with_suffix(".csv")) as unfinished,
        open(unfinished, "w", encoding="utf-8", newline="") as text,
    ):
        tables = _written(frames, text)
        first = next(tables)
        schema = first.schema.with_metadata({**(first.schema.metadata or {}), **(facts or {})})
        return write_rows(path.with_suffix(".parquet"), schema, itertools.chain([first], tables), rows_a_group)


def _written(frames: Iterable[pd.DataFrame], text: IO[str]) -> Iterator[pa.Table]:
    """The pieces as tables, each when it stands in the csv."""
    for number, frame in enumerate(frames):
        frame.to_csv(text, header=not number, index=False)
        yield pa.Table.from_pandas(frame, preserve_index=False)
