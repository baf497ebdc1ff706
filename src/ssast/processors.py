"""Give OpenMP's threads a short wait and a number that fits what this process may use, before torch starts them.

OpenMP's threads spin while they wait for each other, up to milliseconds. Beside other work on the same processors the
one that is waited for does not run meanwhile, and a step takes twenty times as long. All of this is read when
the library is loaded, so it is set when `ssast` is imported; whatever the user has set stays.
"""

import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

SPIN = {"GOMP_SPINCOUNT": "1000", "KMP_BLOCKTIME": "1"}
"""How long a thread spins before it sleeps: turns for GNU's runtime, milliseconds for LLVM's and Intel's."""
BY_THE_USER = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "KMP_LIBRARY")
_NUMBER = "OMP_NUM_THREADS"
TOO_LATE = (
    "torch was imported before ssast, so its threads wait by spinning, which is slow beside other work; "
    "import ssast first, or set GOMP_SPINCOUNT=1000 before Python starts."
)


def settle() -> None:
    """Set in the environment what the user has not; a warning where torch was loaded before and has read it already.

    The number of threads is set only where less than the whole machine may be used: otherwise torch counts best.
    """
    environ = os.environ
    late = "torch" in sys.modules
    if not any(environ.get(name) for name in BY_THE_USER):
        environ.update(SPIN)
        if late and _spins():
            warnings.warn(TOO_LATE, stacklevel=3)
    if not late and (number := wanted_threads(environ)):
        environ[_NUMBER] = str(number)


def wanted_threads(environ: Mapping[str, str]) -> int | None:
    """The threads for this process where a limit or the processes beside it leave less than the machine, else None."""
    if environ.get(_NUMBER) and not _set_by_torchrun(environ):
        return None
    beside = _whole(environ.get("LOCAL_WORLD_SIZE")) or 1
    usable, there = usable_processors(), os.cpu_count() or 1
    if beside == 1 and usable == there:
        return None
    return max(1, min(_cores(), usable) // beside)


MOST_WORKERS = 16
"""More processes that load recordings than these were never of use beside one GPU."""


def worker_count(wish: int | str) -> int:
    """How many processes load recordings: the number itself, or for `auto` all processors of this process but one."""
    if isinstance(wish, int):
        return wish
    beside = _whole(os.environ.get("LOCAL_WORLD_SIZE")) or 1
    return max(0, min(MOST_WORKERS, usable_processors() // beside - 1))


def usable_processors() -> int:
    """How many processors this process may use at once: those that it is bound to, and no more than its quota pays."""
    bound = len(_affinity())
    return max(1, min([bound, *(int(quota) for quota in quotas(Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")))]))


def quotas(membership: Path, tree: Path) -> Iterator[float]:
    """Each limit of processor time, in processors, that the control groups of this process set (versions 1 and 2)."""
    for line in _text(membership).splitlines():
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if not controllers:
            yield from _limits_above(tree, path, _quota_v2)
        elif "cpu" in controllers.split(","):
            for name in dict.fromkeys((controllers, "cpu")):
                yield from _limits_above(tree / name, path, _quota_v1)


def _limits_above(root: Path, path: str, quota: Callable[[Path], float | None]) -> Iterator[float]:
    """The limits of a group and of all above it; in a container the path may be the host's, but the root is there."""
    group = root / path.strip("/")
    for folder in (group, *group.parents):
        if folder == root or root in folder.parents:
            found = quota(folder)
            if found is not None:
                yield found


def _quota_v2(folder: Path) -> float | None:
    words = _text(folder / "cpu.max").split()
    return _share(words[0], words[1]) if len(words) == 2 else None


def _quota_v1(folder: Path) -> float | None:
    return _share(_text(folder / "cpu.cfs_quota_us").strip(), _text(folder / "cpu.cfs_period_us").strip())


def _share(quota: str, period: str) -> float | None:
    if not (quota.isdecimal() and period.isdecimal() and int(quota) and int(period)):
        return None  # "max" or -1: no limit
    return int(quota) / int(period)


def _cores() -> int:
    """The cores behind the processors that this process may use; two threads of one core count once, as in torch."""
    cores = set()
    for processor in _affinity():
        topology = Path(f"/sys/devices/system/cpu/cpu{processor}/topology")
        cores.add(_text(topology / "thread_siblings_list").strip() or str(processor))
    return len(cores)


def _affinity() -> set[int]:
    if hasattr(os, "sched_getaffinity"):  # Linux
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def _set_by_torchrun(environ: Mapping[str, str]) -> bool:
    """Whether the 1 in OMP_NUM_THREADS is what torchrun puts there itself, where its own start had none."""
    if environ.get(_NUMBER) != "1" or "TORCHELASTIC_RUN_ID" not in environ:
        return False
    started_with = _text(Path(f"/proc/{os.getppid()}/environ"))
    return bool(started_with) and f"\0{_NUMBER}=" not in f"\0{started_with}"


def _spins() -> bool:
    import torch

    return torch.get_num_threads() > 1


def _whole(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() else None


def _text(path: Path) -> str:
    """What a small file of the system holds; empty where it is not there or not for this user."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
