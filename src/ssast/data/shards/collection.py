"""Tell whether an address holds recordings in another form than a folder each, and keep such a collection open.

There are two: Parquet shards, as `ssast pack` and Hugging Face's datasets write them, and folders of the kind
`audiofolder`, whose metadata.csv names sound files.
"""

from collections.abc import Sequence
from typing import Protocol

from ssast.data.metadata import FoundRecording, holds_more, parquet_files, stamp
from ssast.data.shards.audiofolder import AudioFolder, metadata_tables
from ssast.data.shards.shard_file import NoSoundError
from ssast.data.shards.shards import Shards
from ssast.data.storage.location import Location
from ssast.errors import UserError
from ssast.safe_reading import some


class Collection(Protocol):
    """Recordings and tables that lie together."""

    @property
    def root(self) -> Location:
        """Where it lies."""

    @property
    def uids(self) -> Sequence[str]:
        """Name the recordings."""

    @property
    def stamped(self) -> object:
        """What was there when it was opened."""

    def __contains__(self, uid: object) -> bool:
        """Whether it has the recording."""

    def find(self, uid: str) -> FoundRecording:
        """The recording; AudioError where there is none."""

    def is_here(self, uid: str) -> bool:
        """Whether the recording can be read without asking a store."""

    def try_again(self) -> None:
        """Forget what could not be fetched, so that it is asked for once more."""

    def content(self, uid: str) -> str | None:
        """A name for what is in the recording; None where its file has to tell."""

    def metadata(self, uid: str) -> bytes:
        """The metadata.json of the recording, or an empty one."""

    def blocks_of(self, uids: Sequence[str]) -> list[int] | None:
        """Which recordings are fetched together; None where each comes by itself."""

    def prefetch(self, uids: Sequence[str], order: Sequence[int]) -> None:
        """Bring these recordings to this machine, and begin with the blocks that come next in `order`."""

    def sounds(self) -> list[Location]:
        """The file of each recording, nothing of it read."""

    def tables(self) -> list[str]:
        """The names of the tables, such as train and test."""

    def table(self, name: str) -> Location:
        """The csv of a table."""


_opened: dict[tuple[str, str | None], Collection | None] = {}


def opened(root: Location) -> Collection | None:
    """The collection at an address, looked for once in a process; None where recordings lie in folders."""
    if root._id not in _opened:
        keep_open(root, _found(root))
    return _opened[root._id]


def already_open(root: Location) -> Collection | None:
    """The collection at an address, as far as that is known without asking a store."""
    return opened(root) if root.is_local else _opened.get(root._id)


def keep_open(root: Location, collection: Collection | None) -> None:
    """Let a process have what another one opened."""
    _opened[root._id] = collection


def opened_anew(root: Location) -> Collection | None:
    """Return the collection at an address, looked for again, since files may have changed."""
    known = _opened.pop(root._id, None)
    root.ask_again()
    if known is not None and known.stamped == stamp(root):
        known.try_again()
        keep_open(root, known)
    return opened(root)


def table_named(collection: Collection, name: str) -> Location:
    """The csv of a table, of the only one whatever its name. UserError where there is none of this name."""
    tables = collection.tables()
    if name not in tables and len(tables) != 1:
        raise UserError(
            f"{collection.root} holds the tables {some(tables)}, but none named {name}; give one as a csv with -d, "
            f"or name its shards {name}-00000-of-00001.parquet.",
            path=collection.root,
        )
    return collection.table(name if name in tables else tables[0])


def _found(root: Location) -> Collection | None:
    if parquet_files(root):
        try:
            return Shards(root)
        except NoSoundError:
            if not holds_more(root):
                raise
    if metadata_tables(root):
        return AudioFolder(root)
    root.ask_again()  # a long listing is not held
    return None
