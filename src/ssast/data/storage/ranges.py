"""Fetch stretches of a file from a store, each with one request."""

from ssast.data.storage import stores
from ssast.data.storage.checksums import DamagedError


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
