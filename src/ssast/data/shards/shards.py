"""Hold the recordings and tables of a folder of Parquet shards, and read each recording from its row group."""

import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from ssast.audio.container import sniff
from ssast.audio.decode import EXTENSIONS
from ssast.data.metadata import (
    AUDIO_ENDINGS,
    METADATA_BYTES,
    NOT_TOLD,
    FoundRecording,
    encoding_and_rate,
    parquet_files,
    stamp,
)
from ssast.data.shards.packed_file import PackedFile
from ssast.data.shards.row_groups import Ahead, OpenGroup, fetch_group, opened_group
from ssast.data.shards.row_index import RowIndex, csv_text
from ssast.data.shards.shard_file import ShardFile
from ssast.data.storage.cache import fingerprint_of
from ssast.data.storage.location import Location
from ssast.data.tables.uid_list import UidList
from ssast.errors import AudioError, UserError
from ssast.safe_reading import some

OPEN_GROUPS = 64
"""So many row groups a process has open; of each it holds where its recordings lie, not their sound."""
KINDS_KNOWN = 1000
"""So many kinds of metadata.json are remembered."""


class Shards:
    """The recordings of Parquet files below `root`, by uid."""

    def __init__(self, root: Location):
        self.root = root
        self.stamped = stamp(root)
        named = parquet_files(root)
        self.files = [ShardFile.opened(place) for _, place in named]
        _check_alike(self.files)
        self.index = RowIndex(root, named, self.files)
        self.uids = UidList(self.index.uids())
        self._begin()

    def _begin(self) -> None:
        self._process, self._open = os.getpid(), OrderedDict[int, OpenGroup]()
        self._failed: dict[int, UserError] = {}
        self._described: dict[bytes, tuple[str, int]] = {}
        self._lock, self.ahead = threading.Lock(), Ahead(self._fetch)

    def try_again(self) -> None:
        """Ask for what could not be fetched once more: the bucket may be there again."""
        self._failed.clear()
        self.ahead.forget()

    def __getstate__(self) -> dict[str, Any]:
        return {
            name: value
            for name, value in self.__dict__.items()
            if name not in ("_open", "_lock", "_failed", "_described", "ahead")
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._begin()

    def __contains__(self, uid: object) -> bool:
        return uid in self.uids

    def tables(self) -> list[str]:
        """The names of the tables, such as train and test."""
        return self.index.tables()

    def table(self, name: str) -> Location:
        """The csv of a table, as the shards' columns tell it."""
        content = partial(self._csv, name)
        return PackedFile(f"{self.root}/{name}.csv", self.root.project, self.root.cache_gb, content)

    def _csv(self, name: str) -> bytes:
        told = self.index.text(name)
        if told is not None:
            return told
        numbers = list(self.index.rows_of(name))
        uids = [self.uids[row] for _, rows in numbers for row in rows]
        return csv_text(uids, [self.index.beside(number) for number, _ in numbers])

    def _row(self, uid: str) -> int:
        row = self.uids.row(uid)
        if row is None:
            raise AudioError(
                f"{self.root} has no row of this uid; pack it again with the recording, or remove the uid",
                path=self.root,
            )
        return row

    def _at(self, row: int) -> tuple[OpenGroup, int]:
        """The row group of a row, open, and its number in there; too many are closed again."""
        if self._process != os.getpid():  # a copy of this process shares its open files
            self._begin()
        number = self.index.group_of(row)
        file, group, at = self.index.place_of(row)
        if number in self._failed:
            raise self._failed[number]
        with self._lock:
            found = self._open.get(number)
            if found is None:
                found = self._open[number] = opened_group(file, group)
                self._check_names(number, found)
                if len(self._open) > OPEN_GROUPS:
                    self._open.popitem(last=False)
            self._open.move_to_end(number)
        return found, at

    def _check_names(self, number: int, held: OpenGroup) -> None:
        """UserError where the rows of a row group have other uids than the text of their table says."""
        rows = self.index.rows_in(number)
        if held.uids is not None and [str(uid).strip() for uid in held.uids] != self.uids[rows.start : rows.stop]:
            raise self.index.place_of(rows.start)[0].damaged("its rows are not those of its csv")
        held.uids = None  # they are known

    def find(self, uid: str) -> FoundRecording:
        """The recording of a uid; AudioError for whatever is wrong with its row."""
        row = self._row(uid)
        held, at = self._at(row)
        name, metadata = held.name(at), held.described(at)
        encoding, rate, ending = "", NOT_TOLD, name.rsplit(".", 1)[-1].lower() if "." in name else ""
        if not name:
            self.sound(row)  # of an empty cell that is what there is to say
        if metadata is not None:
            encoding, rate = self._told(metadata[:METADATA_BYTES], uid)
            endings = AUDIO_ENDINGS.get(encoding, (encoding,))
            ending = ending if name else endings[0]
            if ending not in endings:
                odd = {} if ending in EXTENSIONS else {"file": name}
                raise AudioError(
                    f"metadata.json says {encoding.upper()}, but the file is {name}; correct one of them", **odd
                )
        elif ending not in EXTENSIONS:
            ending = sniff(self.sound(row)) or ending
        return FoundRecording(self._file(uid, row, name or f"waveform.{ending}"), ending, rate)

    def _told(self, metadata: bytes, uid: str) -> tuple[str, int]:
        """What metadata.json says; it is read once where recordings have the same."""
        found = self._described.get(metadata)
        if found is None:
            found = encoding_and_rate(metadata, self.root / uid / "metadata.json")
            if len(self._described) < KINDS_KNOWN:
                self._described[metadata] = found
        return found

    def sound(self, row: int) -> bytes:
        """The file of a recording; AudioError where its row holds none."""
        held, at = self._at(row)
        found = held.sound(at)
        if not found:
            place = self.index.place_of(row)[0].location
            raise AudioError(f"its row in {place} holds no sound; write the file's bytes there", path=place)
        return found

    def sounds(self) -> list[Location]:
        """The file of each recording, by the names that the shards give; no sound is read."""
        names = self.index.file_names()
        first = (row for row, uid in enumerate(self.uids) if self.uids.row(uid) == row)
        return [self._file(self.uids[row], row, names[row]) for row in first]

    def _file(self, uid: str, row: int, name: str) -> PackedFile:
        place = f"{self.root}/{uid}/{name}"
        return PackedFile(
            place, self.root.project, self.root.cache_gb, PackedSound(self, row), known_as=self._content_of(row)
        )

    def metadata(self, uid: str) -> bytes:
        """The metadata.json of a recording, or an empty one."""
        held, at = self._at(self._row(uid))
        return (held.described(at) or b"{}")[:METADATA_BYTES]

    def content(self, uid: str) -> str | None:
        """A name for what is in a recording, by its shard and row; None where there is none."""
        row = self.uids.row(uid)
        return None if row is None else self._content_of(row)

    def _content_of(self, row: int) -> str:
        file, group, at = self.index.place_of(row)
        return fingerprint_of("row", file.identity, group, at)

    def is_here(self, uid: str) -> bool:
        """Whether a recording can be read without asking a store."""
        row = self.uids.row(uid)
        if row is None:
            return False
        file, group, _ = self.index.place_of(row)
        return file.is_here(group)

    def blocks_of(self, uids: Sequence[str]) -> list[int]:
        """The row group of each of these recordings."""
        rows = map(self.uids.row, uids)
        return [0 if row is None else self.index.group_of(row) for row in rows]

    def prefetch(self, uids: Sequence[str], order: Sequence[int]) -> None:
        """Fetch the row groups of these recordings, several at once, and begin with those that come next in `order`."""
        self._prefetch(self.blocks_of(uids), order)

    def prefetch_rows(self, rows: Sequence[int]) -> None:
        """Bring recordings to this machine by their rows, which are read as they lie."""
        self._prefetch([self.index.group_of(row) for row in rows], range(len(self.index.groups)))

    def _prefetch(self, numbers: Sequence[int], order: Sequence[int]) -> None:
        if self._process != os.getpid():
            self._begin()
        if not all(file.location.is_local for file in self.files):
            self.ahead.follow(order)
            self.ahead.want(list(dict.fromkeys(numbers)))

    def _fetch(self, number: int) -> None:
        at, group = self.index.groups[number]
        try:
            fetch_group(self.files[at], group)
        except UserError as error:
            self._failed[number] = error  # said when its own turn comes, without another try


@dataclass(frozen=True)
class PackedSound:
    """Reads the file of a recording when it is asked for; it can be sent to another process."""

    shards: Shards
    row: int

    @property
    def group(self) -> int:
        """The row group that it lies in, counted through all shards."""
        return self.shards.index.group_of(self.row)

    def __call__(self) -> bytes:
        """The bytes of the file; AudioError where the row holds none."""
        return self.shards.sound(self.row)


def _check_alike(files: Sequence[ShardFile]) -> None:
    """UserError where the shards of a folder have different columns."""
    for file in files[1:]:
        if (file.audio, file.uid) != (files[0].audio, files[0].uid):
            raise UserError(
                f"{file.location} has the columns {some(file.schema.names)}, but {files[0].location} has "
                f"{some(files[0].schema.names)}; give a folder whose shards are alike.",
                path=[file.location, files[0].location],
            )
