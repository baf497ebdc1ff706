"""Work beside the main thread: processes that load, and threads that ask disks and stores, which keep one waiting.

Loading goes on where a process dies: the recording that killed it is found and named. A decoder written in C that meets
damaged bytes may end its process, and so may a system that runs out of memory.
"""

import errno
import multiprocessing
import multiprocessing.queues
import os
import pickle
import signal
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from multiprocessing import parent_process
from multiprocessing.connection import wait
from typing import Any, TypeVar

import torch
from torch.utils.data import DataLoader, Sampler
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from ssast.errors import lacks_handles

DEATHS = ("exited unexpectedly", "is killed by signal")  # torch's own words
_POLL_SECONDS = 1.0
_NO_HANDLES, _NOT_SENT = 24, 25
"""The exit codes of a worker that cannot hand over what it has read, for lack of open files or of anything else."""


class _From(Sampler[Any]):
    """The batches of a sampler from number `first` on."""

    def __init__(self, batches: Any):
        self.batches, self.first = batches, 0

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Any]:
        return islice(iter(self.batches), self.first, None)


class _Passing(_MultiProcessingDataLoaderIter):
    """torch's own, which also ends the processes that it has where it cannot start as many as it should."""

    def __init__(self, loader: DataLoader[Any]):
        states: Any = defaultdict(lambda: True)
        self._shutdown, self._workers_status = True, states  # until it says so itself
        super().__init__(loader)


class Workers(DataLoader[Any]):
    """A DataLoader of `batches` whose workers may die; `dead(key, signal)` is the item in place of one that killed.

    After a death some batches are read item by item in a process of their own, which tells the one that kills. With
    num_workers=0 nothing protects this process.
    """

    def __init__(self, dataset: Any, batches: Any, dead: Callable[[Any, str], Any], **how: Any):
        self._from, self._dead = _From(batches), dead
        # A generator of its own: else torch draws the workers' seed from its global one.
        how |= {"generator": torch.Generator(), "worker_init_fn": _begin}
        super().__init__(dataset, batch_sampler=self._from, **how)

    def check_worker_number_rationality(self) -> None:
        """Stay silent: more workers than cores is what waiting for a disk or a bucket asks for."""

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        given = 0
        while True:
            self._from.first = given
            processes: list[Any] = []
            try:
                batches = self._quietly()
                processes = getattr(batches, "_workers", processes)
                for batch in batches:
                    yield batch
                    given += 1
                return
            except (RuntimeError, ConnectionError, EOFError, FileNotFoundError) as error:
                if not self.num_workers or not _is_death(error):
                    raise
                if any(process.exitcode == _NO_HANDLES for process in processes):
                    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE)) from error
            finally:
                self._from.first = 0
            self._iterator = None
            self._from.first = given
            # As many as the workers may have been at when one of them died.
            ahead = list(islice(iter(self._from), 1 + self.num_workers * (self.prefetch_factor or 1)))
            for keys in ahead:
                yield self.collate_fn(self._read_apart(keys))
                given += 1

    def _get_iterator(self) -> Any:
        return _Passing(self) if self.num_workers else super()._get_iterator()

    def _quietly(self) -> Iterator[Any]:
        """The loader of torch; a worker's death is reported here, not by a signal in the middle of other code."""
        before = signal.getsignal(signal.SIGCHLD) if hasattr(signal, "SIGCHLD") else None
        batches = super().__iter__()
        if self.num_workers and before is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGCHLD, before)
        return batches

    def _read_apart(self, keys: Sequence[Any]) -> list[Any]:
        """The items of these keys, read one after the other in a process that each death starts anew."""
        items: list[Any] = []
        context: Any = self.multiprocessing_context or multiprocessing
        while len(items) < len(keys):
            ours, theirs = context.Pipe(duplex=False)
            process = context.Process(target=_send_each, args=(self.dataset, keys[len(items) :], theirs), daemon=True)
            process.start()
            theirs.close()
            try:
                while len(items) < len(keys):
                    items.append(pickle.loads(ours.recv_bytes()))
            except (EOFError, ConnectionError):
                process.join()
                items.append(self._dead(keys[len(items)], _name_of(process.exitcode)))
            finally:
                process.join()
        return items


def _is_death(error: Exception) -> bool:
    """Whether a worker died: torch says so, or what it had sent can no longer be fetched from it."""
    if isinstance(error, RuntimeError):
        return any(words in str(error) for words in DEATHS)
    return "DataLoader worker process" not in str(error)  # torch's words for an error that a living worker met


def _send_each(dataset: Any, keys: Sequence[Any], pipe: Any) -> None:
    torch.set_num_threads(1)  # as in torch's own workers
    end_with_parent()
    for key in keys:
        pipe.send_bytes(pickle.dumps(dataset[key]))


def _name_of(exitcode: int) -> str:
    """How a process ended, in words."""
    try:
        return f"signal {signal.Signals(-exitcode).name}"
    except ValueError:
        return f"exit code {exitcode}"


def killed(name: str, ending: str) -> str:
    """The sentence about a recording whose reading ended a process."""
    return (
        f"clip {name}: the process that read it died ({ending}), because a decoder failed on damaged bytes or memory "
        "ran out; get a whole copy or remove it"
    )


def _begin(worker: int) -> None:
    """For DataLoader's `worker_init_fn`: let a worker end where it could only be waited for, for ever."""
    end_with_parent()
    setattr(multiprocessing.queues.Queue, "_on_queue_feeder_error", staticmethod(_end_unsent))  # noqa: B010


def _end_unsent(error: BaseException, batch: object) -> None:
    """End this worker: Python would print the error, drop the batch and let the main process wait for it."""
    os._exit(_NO_HANDLES if lacks_handles(error) else _NOT_SENT)


def end_with_parent() -> None:
    """After a kill of the parent a worker would wait for ever to hand over a batch.

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
