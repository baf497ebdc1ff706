"""End the processes that load recordings when the one that started them ends, however it ended."""

import os
import threading
from multiprocessing import parent_process
from multiprocessing.connection import wait

_POLL_SECONDS = 1.0


def end_with_parent(worker: int = 0) -> None:
    """For DataLoader's `worker_init_fn`: after a kill of the parent a worker would wait for ever to hand over a batch.

    The parent's end of a pipe tells (a handle on Windows). Processes that were forked later may hold that end open, so
    that the number of the parent is looked at too, which Linux and macOS change.
    """
    parent = parent_process()
    if parent is not None:
        arguments = (parent.sentinel, os.getppid())
        threading.Thread(target=_watch, args=arguments, name="parent", daemon=True).start()


def _watch(sentinel: int, parent: int) -> None:
    while not wait([sentinel], timeout=_POLL_SECONDS) and os.getppid() == parent:
        pass
    os._exit(1)
