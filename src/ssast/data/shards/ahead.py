"""Fetch row groups before they are asked for, in threads of this process."""

import threading
from collections.abc import Callable, Sequence
from queue import SimpleQueue

from ssast.data.workers import in_threads

BLOCKS_AHEAD = 4
"""So many row groups are on their way beside those that are read."""
THREADS = 2


class Ahead:
    """Calls `fetch` for the row groups that are wanted, and in the background for those that follow in `order`.

    `fetch` may be called twice for one: it comes once. What it raises in the background is raised to who wants that
    row group; it is asked for anew when it is wanted again.
    """

    def __init__(self, fetch: Callable[[int], None]):
        self._fetch = fetch
        self._asked: set[int] = set()
        self._errors: dict[int, Exception] = {}
        self._queue: SimpleQueue[int] | None = None
        self._order: Sequence[int] = ()
        self._places: dict[int, int] = {}

    def forget(self) -> None:
        """Fetch what was asked for anew when it is wanted again."""
        self._asked.clear()
        self._errors.clear()

    def follow(self, order: Sequence[int]) -> None:
        """The order in which row groups are read from now on."""
        if order != self._order:
            self._order, self._places = order, {number: at for at, number in enumerate(order)}
            self._asked.clear()

    def want(self, numbers: Sequence[int]) -> None:
        """Come back when these row groups are here; those that follow are on their way then."""
        for number in numbers:
            if error := self._errors.pop(number, None):
                self._asked.discard(number)
                raise error
        now = [number for number in numbers if number not in self._asked]
        places = [self._places[number] for number in numbers if number in self._places]
        self._asked.update(now)
        if places:
            for number in self._order[max(places) + 1 : max(places) + 1 + BLOCKS_AHEAD]:
                self._later(number)
        list(in_threads(self._fetch, now))

    def _later(self, number: int) -> None:
        if number in self._asked:
            return
        self._asked.add(number)
        if self._queue is None:
            self._queue = SimpleQueue()
            for _ in range(THREADS):
                threading.Thread(target=self._work, args=(self._queue,), name="shards", daemon=True).start()
        self._queue.put(number)

    def _work(self, queue: "SimpleQueue[int]") -> None:
        while True:
            number = queue.get()
            try:
                self._fetch(number)
            except Exception as error:
                self._errors[number] = error
