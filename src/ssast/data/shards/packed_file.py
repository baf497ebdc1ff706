"""Give a file that has no place of its own, such as a recording in a shard, as if it lay in a folder."""

import io
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import IO, Any

from ssast.data.storage.location import Location


@dataclass(frozen=True)
class PackedFile(Location):
    """A file whose bytes `content` gives, at an address where there is none; `known_as` is a name for them."""

    content: Callable[[], bytes] = field(default=bytes, compare=False)
    known_as: str | None = None

    def __post_init__(self) -> None:
        """Take the address as it is: millions of them are made."""

    @property
    def is_local(self) -> bool:
        """Say that this is no file of its own."""
        return False

    @property
    def name(self) -> str:
        """The last part of the address."""
        return self.address.rsplit("/", 1)[-1]

    @property
    def parent(self) -> Location:
        """The folder that it would lie in."""
        return Location(self.address.rsplit("/", 1)[0], self.project, self.cache_gb)

    def open(self, mode: str = "rb") -> IO[Any]:
        """Open the bytes, or the text in UTF-8, as a file."""
        held = io.BytesIO(self.content())
        return held if "b" in mode else io.TextIOWrapper(held, encoding="utf-8")

    def read_bytes(self, limit: int | None = None) -> bytes:
        """Return the content, at most `limit` bytes of it."""
        return self.content()[:limit]

    def exists(self) -> bool:
        """Say that the file is there."""
        return True

    def is_dir(self) -> bool:
        """Say that this is a file."""
        return False

    def content_key(self) -> str | None:
        """A name for the content."""
        return self.known_as
