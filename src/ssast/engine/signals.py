"""Turn signals into a request to stop that a loop can check, or into an exception where there is no loop."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from ssast.errors import Interrupted

# SIGHUP, which Windows lacks, comes when a terminal is closed.
_ENDING = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))
SAME_SECONDS = 2.0
"""A second signal within this time is the same one: `timeout` and launchers send theirs to a process and its group."""

_noted_at = [float("-inf")]


class StopRequest(threading.Event):
    """Set once a signal came, whose `number` it then holds."""

    number = 0


@contextmanager
def asked_to_stop() -> Iterator[StopRequest]:
    """An event that SIGINT, SIGTERM and SIGHUP set; a second SIGINT ends the process at once, as without us."""
    asked = StopRequest()

    def note(number: int, frame: FrameType | None) -> None:
        asked.number = asked.number or number
        _noted_at[0] = time.monotonic()
        asked.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    with _handled(note, (signal.SIGINT, *_ENDING), lambda handler: handler != signal.SIG_IGN):
        yield asked


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Inside the block, SIGTERM and SIGHUP act as Ctrl-C: everything tidies up, and finished files are sent.

    A handler of somebody else stays, and a signal that is ignored (as under `nohup`) is ignored further on.
    """

    def end(number: int, frame: FrameType | None) -> None:
        repeated = time.monotonic() - _noted_at[0] < SAME_SECONDS
        _noted_at[0] = time.monotonic()
        if not repeated:
            name = signal.Signals(number).name
            raise Interrupted(f"ended by {name}; the same command goes on from what was saved", number)

    with _handled(end, _ENDING, lambda handler: handler == signal.SIG_DFL):
        yield


@contextmanager
def _handled(handler: Callable[[int, FrameType | None], None], numbers: Any, replaces: Any) -> Iterator[None]:
    """Inside, the handler takes these signals where it `replaces` the present one; only a main thread can."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in numbers}
    before = {number: present for number, present in before.items() if present is not None and replaces(present)}
    for number in before:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number, present in before.items():
            signal.signal(number, present)
