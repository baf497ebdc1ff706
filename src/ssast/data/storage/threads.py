"""Ask disks and stores for much at once, since they keep one waiting."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

_One = TypeVar("_One")
_Made = TypeVar("_Made")
AT_ONCE = 8
"""So many are asked of a store at a time."""
_AHEAD = 32
"""So many calls a thread are waiting at most: each takes more memory than what it gives."""


def in_threads(one: Callable[[_One], _Made], of: Iterable[_One], threads: int = AT_ONCE) -> Iterator[_Made]:
    """What a function gives for each, in their order, asked for in so many threads."""
    left = iter(of)
    with ThreadPoolExecutor(threads) as pool:
        while some := list(islice(left, _AHEAD * threads)):
            yield from pool.map(one, some)
