"""Fetch stretches of a file from a store, each with one request, several at a time."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from ssast.data.storage import stores
from ssast.data.storage.checksums import DamagedError

AT_ONCE = 8
_One = TypeVar("_One")
_Made = TypeVar("_Made")


def fetch_range(address: str, project: str | None, begin: int, end: int) -> bytes:
    """The bytes of an address from one place to another; tried again until all of them have come."""
    client, path = stores.client_of(address, project)

    def once() -> bytes:
        seconds = stores.seconds_for(end - begin)
        found = bytes(stores.asked(client, "cat_file", path, seconds=seconds, start=begin, end=end))
        if len(found) != end - begin:
            raise DamagedError(f"{len(found)} of {end - begin} bytes arrived")
        return found

    return stores.again(once) if end > begin else b""


def several(one: Callable[[_One], _Made], of: Iterable[_One]) -> list[_Made]:
    """What a function gives for each, in their order; AT_ONCE of them at a time, since stores keep one waiting."""
    with ThreadPoolExecutor(AT_ONCE) as threads:
        return list(threads.map(one, of))
