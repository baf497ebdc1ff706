"""Say which row of shards lies where, in which table, and under which uid, and write rows as the text of a csv.

The tables of all modes are read from such a text.
"""

import base64
import csv
import io
import zlib
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import accumulate
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa

from ssast.data.shards.packed_file import PackedFile
from ssast.data.shards.shard_file import METADATA, ShardFile, small_parts
from ssast.data.storage.location import Location
from ssast.data.storage.unfolding import MOST_TIMES, MOST_UNFOLDED_BYTES
from ssast.data.tables.splits import uids_as_written
from ssast.data.tables.uid_list import named_twice
from ssast.errors import UserError
from ssast.safe_reading import brief, json_of, some

_NOTE_KEY, _CSV_KEY = b"ssast", b"ssast_csv"
"""Under which `ssast pack` notes what a shard is part of, and its share of the csv."""


def csv_text(uids: Sequence[str], parts: Sequence[pa.Table]) -> bytes:
    """A csv of uids and the columns of these tables, which follow one another; what one lacks are empty cells."""
    names = list(dict.fromkeys(name for part in parts for name in part.column_names))
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["uid", *names])
    first = 0
    for part in parts if names else ():
        rows, own = part.num_rows, set(part.column_names)
        columns = [_values(part, name) if name in own else [None] * rows for name in names]
        cells = zip(uids[first : first + rows], *columns, strict=True)
        writer.writerows([uid, *map(_cell, values)] for uid, *values in cells)
        first += rows
    writer.writerows([uid] for uid in uids[first:])
    return text.getvalue().encode()


def csv_of(columns: Mapping[str, Sequence[str]]) -> bytes:
    """A csv of columns of text, all of one length."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return text.getvalue().encode()


def csv_share(notes: Mapping[bytes, bytes]) -> bytes | None:
    """The text of the csv that `ssast pack` put into a footer; None where there is none, or rows were left out."""
    try:
        note = json_of(notes[_NOTE_KEY].decode())
        if note.get("left_out") != 0:
            return None
        unfold, packed = zlib.decompressobj(), base64.b64decode(notes[_CSV_KEY], validate=True)
        text = unfold.decompress(packed, MOST_UNFOLDED_BYTES + MOST_TIMES * len(packed))
        return None if unfold.unconsumed_tail else text
    except (KeyError, ValueError, AttributeError, zlib.error):
        return None


def _values(part: pa.Table, name: str) -> list[Any]:
    try:
        return part.column(name).to_pylist()
    except (OverflowError, ValueError) as error:
        raise UserError(
            f"the column {brief(name)} of the shards holds a value that no csv can have ({brief(str(error))}); "
            "write it as text, or leave it out."
        ) from error


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return repr(value) if isinstance(value, float) else str(value)


class RowIndex:
    """The rows of shards, counted through all files: `groups` are the file and number of each row group.

    `named` are the tables and places of the files, which `root` holds.
    """

    def __init__(self, root: Location, named: Sequence[tuple[str, Location]], files: Sequence[ShardFile]):
        self.root, self.named, self.files = root, named, files
        groups = [(at, group) for at, file in enumerate(files) for group in range(file.groups)]
        self.groups = [one for one in groups if files[one[0]].rows(one[1])]
        self.edges = [0, *accumulate(files[at].rows(group) for at, group in self.groups)]
        self._around: dict[int, Callable[[int, int], bytes]] = {}

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_around": {}}

    def tables(self) -> list[str]:
        """The names of the tables, such as train and test."""
        return list(dict.fromkeys(name for name, _ in self.named))

    def rows_of(self, name: str) -> Iterator[tuple[int, range]]:
        """(number of the row group, its rows) of a table."""
        for number, (at, _) in enumerate(self.groups):
            if self.named[at][0] == name:
                yield number, self.rows_in(number)

    def rows_in(self, number: int) -> range:
        """The rows of a row group."""
        return range(*self.edges[number : number + 2])

    def group_of(self, row: int) -> int:
        """The row group of a row, counted through all files."""
        return bisect_right(self.edges, row) - 1

    def place_of(self, row: int) -> tuple[ShardFile, int, int]:
        """The shard of a row, its row group in there, and its number in that."""
        number = self.group_of(row)
        at, group = self.groups[number]
        return self.files[at], group, row - self.edges[number]

    def beside(self, number: int) -> pa.Table:
        """The columns of a row group that are no sound and can stand in a csv."""
        at, group = self.groups[number]
        file = self.files[at]
        left_out = {file.audio, file.uid, METADATA}
        wanted = [one.name for one in file.schema if one.name not in left_out and not pa.types.is_nested(one.type)]
        return file.table(group, wanted, self._small_parts(at))

    def _small_parts(self, at: int) -> Callable[[int, int], bytes]:
        if at not in self._around:
            self._around[at] = small_parts(self.files[at])
        return self._around[at]

    def text(self, name: str) -> bytes | None:
        """The csv of a table as the footers of its shards hold it; None where they do not, or lack some of its rows."""
        files = [self.files[at] for at, (table, _) in enumerate(self.named) if table == name]
        shares = [csv_share(file.footer.metadata or {}) for file in files]
        return None if None in shares else b"".join(share for share in shares if share is not None)

    def _told_uids(self) -> list[str] | None:
        """The uids by the texts of the tables, so that no column is fetched; None where these are not known."""
        found: list[str] = []
        for name in self.tables():
            text = self.text(name)
            if text is None:
                return None
            found += uids_as_written(PackedFile(f"{self.root}/{name}.csv", content=partial(bytes, text))) or []
        return found if len(found) == self.edges[-1] else None

    def uids(self) -> list[str]:
        """The uid of each row: of the column, else by the name of its file, else by its table and number."""
        told = self._told_uids()
        if told is not None:
            self._check_uids(told)
            return told
        if all(file.uid for file in self.files):
            found = [value for number in range(len(self.groups)) for value in self._column(number, "uid")]
            self._check_uids(found)
            return [str(value).strip() for value in found]
        names = [PurePosixPath(name).stem for name in self.file_names()]
        if all(names) and len(set(names)) == len(names):
            return names
        numbered: list[str] = []
        for name in self.tables():
            rows = [row for _, group in self.rows_of(name) for row in group]
            numbered += [f"{name}-{at}" for at in range(len(rows))]
        return numbered

    def file_names(self) -> list[str]:
        """The name of the file of each row, as far as the shards give it."""
        return [_base(value) for number in range(len(self.groups)) for value in self._column(number, "path")]

    def _column(self, number: int, name: str) -> list[Any]:
        at, group = self.groups[number]
        file, read = self.files[at], self._small_parts(at)
        if name == "uid":
            return file.table(group, ["uid"], read).column("uid").to_pylist()
        if f"{file.audio}.path" not in file.columns:
            return [None] * file.rows(group)
        chunks = file.table(group, [f"{file.audio}.path"], read).column(file.audio).chunks
        return [value for chunk in chunks for value in chunk.field("path").to_pylist()]

    def _check_uids(self, found: Sequence[Any]) -> None:
        """UserError where a row has no uid, or two rows of a table have the same."""
        for row, value in enumerate(found):
            if value is None or not str(value).strip():
                at = self.groups[self.group_of(row)][0]
                raise UserError(
                    f"row {row - self._first_row(at)} of {self.named[at][1]} has no uid; write one in each row.",
                    path=self.named[at][1],
                )
        for name in self.tables():
            if twice := named_twice([str(found[row]).strip() for _, group in self.rows_of(name) for row in group]):
                raise UserError(
                    f"{self.root}/{name} has {len(twice)} uid(s) more than once: {some(twice)}; keep one row of each.",
                    uid=twice,
                    path=self.root,
                )

    def _first_row(self, at: int) -> int:
        return self.edges[next(number for number, (file, _) in enumerate(self.groups) if file == at)]


def _base(path: Any) -> str:
    """The name of a file without its folders, however they are separated."""
    return str(path or "").replace("\\", "/").rsplit("/", 1)[-1]
