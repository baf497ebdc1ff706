"""Let the processes of one run work together, as `torchrun`, `accelerate launch` or Slurm's `srun` starts them.

For a process that was started alone everything here costs nothing.
"""

import itertools
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from datetime import timedelta
from typing import TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor

from ssast.errors import UserError

_T = TypeVar("_T")
_LOOK_SECONDS = 0.2
PATIENCE = timedelta(days=1)
"""How long processes wait for each other: the first may take long over scores, a report or an upload.

What started them sees that one of them has ended.
"""

BY_SLURM = "SSAST_BY_SLURM"
"""The variable that says that the others follow from Slurm's."""
_HOSTS = ("SLURM_STEP_NODELIST", "SLURM_JOB_NODELIST", "SLURM_NODELIST")
_PORTS = range(10_000, 32_000)
_MEETING = ("RANK", "MASTER_ADDR", "MASTER_PORT")
"""What one of several processes finds the others by."""


def rank() -> int:
    """The number of this process among those of the run, from 0."""
    return _told("RANK", 0)


def size() -> int:
    """How many processes the run has."""
    return _told("WORLD_SIZE", 1)


def _told(name: str, usual: int) -> int:
    """The whole number of a variable, `usual` where it is empty or not set; UserError where it holds none."""
    text = os.environ.get(name, "").strip() or str(usual)
    if not re.fullmatch(r"[0-9]{1,9}", text) or int(text) < usual:
        raise UserError(f"{name} is {text!r}, expected a whole number, {usual} or more; set it right, or unset it.")
    return int(text)


def heed_slurm(environ: MutableMapping[str, str]) -> int:
    """Take a task of a Slurm step of several for a process among others, where nothing else has started it so.

    How many tasks there are, or 0 where this is none of several: then all stays. A batch script itself is no step, how
    many tasks its job may ever have. UserError where nothing tells how to find the first task.
    """
    is_batch_script = "SLURM_JOB_ID" in environ and "SLURM_STEP_ID" not in environ
    tasks = _number(environ, "SLURM_STEP_NUM_TASKS") or _number(environ, "SLURM_NTASKS")
    if is_batch_script or tasks < 2 or {"RANK", "WORLD_SIZE"} & environ.keys() or "SLURM_PROCID" not in environ:
        return 0
    first = environ.get("MASTER_ADDR") or _first_host(environ)
    if not first:
        raise UserError(
            f"Slurm started this as one of {tasks} tasks, but nothing says where the first of them is; "
            "set MASTER_ADDR to the name of its machine, or WORLD_SIZE=1 to let each task work for itself."
        )
    given = {"MASTER_ADDR": first, "MASTER_PORT": environ.get("MASTER_PORT") or _own_port(environ)}
    numbers = {"RANK": environ["SLURM_PROCID"], "LOCAL_RANK": environ.get("SLURM_LOCALID") or "0"}
    environ.update({**given, **numbers, "WORLD_SIZE": str(tasks), BY_SLURM: "1"})
    return tasks


def _first_host(environ: MutableMapping[str, str]) -> str:
    """The first of the machines, which Slurm lists as in node[07-09,12],other."""
    hosts = next((environ[name] for name in _HOSTS if environ.get(name)), "")
    return re.sub(r"\[([^],-]*)[^]]*\]", r"\1", hosts).split(",")[0]


def _own_port(environ: MutableMapping[str, str]) -> str:
    """A port that the tasks of a step agree on, and hardly those of two; the system gives none of these to others."""
    job, step = (_number(environ, name) for name in ("SLURM_JOB_ID", "SLURM_STEP_ID"))
    return str(_PORTS[(job * 31 + step) % len(_PORTS)])


def _number(environ: MutableMapping[str, str], name: str) -> int:
    """The whole number that a variable holds; 0 where it holds none."""
    return int(re.sub(r"\D", "", environ.get(name, "")) or 0)


def is_main() -> bool:
    """Whether this process is the one that writes files and speaks to the user."""
    return rank() == 0


def wait() -> None:
    """Wait until all processes are here; returns at once where the work is not shared."""
    if size() > 1 and dist.is_initialized():
        total(torch.zeros(1))


def total(values: Tensor) -> Tensor:
    """The sum of a tensor over all processes, on its own device."""
    if size() > 1:
        moved = values.to(_device())
        dist.all_reduce(moved)
        return moved.to(values.device)
    return values


def gather(own: _T) -> list[_T]:
    """What each process has, in the order of their numbers, for all of them."""
    if size() == 1:
        return [own]
    found: list[_T | None] = [None] * size()
    dist.all_gather_object(found, own)
    return cast(list[_T], found)


def check_alike(own: object, what: str) -> None:
    """UserError unless every process has the same; else they would wait for each other until their patience ends."""
    if any(other != own for other in gather(own)):
        raise UserError(
            f"the processes of this run have different {what}; "
            "give each machine the same files, options and version of ssast."
        )


def share(numbers: Sequence[range]) -> list[range]:
    """The part of some ranges of numbers that falls to this process: as many as to any other, lying together."""
    count = sum(map(len, numbers))
    first, last = count * rank() // size(), count * (rank() + 1) // size()
    found = []
    for piece in numbers:
        own = piece[max(first, 0) : max(last, 0)]
        found += [own] if own else []
        first, last = first - len(piece), last - len(piece)
    return found


def in_shares(uids: list[str], make: Callable[[list[str]], Iterator[_T]], size: int) -> Iterator[_T]:
    """What is made of some recordings, each process doing its share, handed to all of them `size` at a time."""
    own = [uids[number] for numbers in share([range(len(uids))]) for number in numbers]
    made = make(own) if own else iter(())
    while any(packs := gather(list(itertools.islice(made, size)))):
        yield from itertools.chain.from_iterable(packs)


def anywhere(uids: list[str]) -> list[str]:
    """The recordings that at least one process names, since each machine has a disk of its own."""
    return list(dict.fromkeys(itertools.chain.from_iterable(gather(uids))))


def join(device: torch.device) -> torch.device:
    """Join the other processes of the run, if there are any; this process's own device of that kind.

    UserError where the processes have begun on another kind of device, or nothing brings them together.
    """
    _check_place()
    if not all(os.environ.get(name) for name in ("WORLD_SIZE", *_MEETING)):  # nobody started it among others
        return device
    if device.type == "cuda":
        # Slurm may show each task a GPU of its own alone, which has number 0 there.
        number = _told("LOCAL_RANK", 0) % torch.cuda.device_count()
        device = torch.device("cuda", number)
        torch.cuda.set_device(device)
    backend = "nccl" if device.type == "cuda" else "gloo"
    if not dist.is_initialized():
        _interruptibly(lambda: dist.init_process_group(backend, timeout=PATIENCE))
    if backend not in dist.get_backend():
        raise UserError(
            f"--device {device.type} comes too late: the processes of this run began on another kind of device; "
            "start them anew for another."
        )
    if BY_SLURM in os.environ:  # tasks of a step may well be told to do different things
        check_alike(sys.argv[1:], "options on their command lines")
    return device


def _interruptibly(act: Callable[[], object]) -> None:
    """Do it in a thread: no signal reaches Python while torch waits for the others, and here one ends the waiting."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            act()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run, name="join", daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(_LOOK_SECONDS)
    if raised:
        raise raised[0]


def _check_place() -> None:
    """UserError for one of several processes that could not find the others, and would do its share of the work alone.

    A variable that a job's script exports is enough for that.
    """
    if size() == 1:
        return
    lacking = [name for name in _MEETING if not os.environ.get(name)]
    if lacking or rank() >= size():
        why = f"{', '.join(lacking)} not set" if lacking else f"RANK {rank()}, expected 0 to {size() - 1}"
        raise UserError(
            f"WORLD_SIZE={size()} makes this one of {size()} processes, but with {why} it cannot find the others; "
            "start it with accelerate launch or torchrun, or unset WORLD_SIZE to let it work alone."
        )


def leave() -> None:
    """Take leave of the other processes, so that none waits or warns."""
    if dist.is_initialized():
        dist.destroy_process_group()


def _device() -> torch.device:
    """Where the processes' messages lie: on the GPU under NCCL."""
    return torch.device("cuda", torch.cuda.current_device()) if "nccl" in dist.get_backend() else torch.device("cpu")
