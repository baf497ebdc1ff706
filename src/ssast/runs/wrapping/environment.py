"""Check what a run needs around it: a folder to stand in, one for temporary files, and a home for what is kept."""

import atexit
import os
import shutil
import sys
import tempfile
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from ssast.errors import UserError, lacks_handles, lacks_memory, lacks_processes

# What is kept below the home folder, by us and by libraries, and may be kept elsewhere.
KEPT = {"SSAST_CACHE": "ssast", "MPLCONFIGDIR": "matplotlib", "NUMBA_CACHE_DIR": "numba", "HF_HUB_CACHE": "hub"}
HANDLES = 1024
"""So many open files suffice for a dozen workers."""
OF_THE_HUB = ("HF_HOME", "HUGGINGFACE_HUB_CACHE")


def check_environment() -> None:
    """Make up for a home folder that is missing or cannot be written to; UserError where a run has no ground."""
    try:
        os.getcwd()
    except OSError as error:
        raise UserError(
            "the folder that this was started in is gone; change to another one and start again."
        ) from error
    try:
        tempfile.gettempdir()
    except OSError as error:
        raise UserError("no folder for temporary files can be written; set TMPDIR to one that can.") from error
    missing = [name for name in KEPT if not os.environ.get(name)]
    if missing and not _has_home():
        _keep_in_temporary(missing)


def _has_home() -> bool:
    """Whether something can be kept in ~/.cache, which may still have to be made."""
    try:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "ssast"
    except RuntimeError:  # HOME is not set, and nobody knows this user, as in many containers
        return False
    place = next((place for place in (folder, *folder.parents) if os.path.lexists(place)), folder)
    return place.is_dir() and os.access(place, os.W_OK | os.X_OK)


def _keep_in_temporary(missing: list[str]) -> None:
    """Use a temporary folder, removed with this process, in place of the home folder; child processes use it too."""
    folder = Path(tempfile.mkdtemp(prefix="ssast-home-"))
    atexit.register(_remove, folder, os.getpid())
    for name in missing:
        if name != "HF_HUB_CACHE" or not any(os.environ.get(other) for other in OF_THE_HUB):
            os.environ[name] = str(folder / KEPT[name])
    if "SSAST_CACHE" in missing:
        print(
            f"there is no home folder to write to: what is kept for later lies in {folder} and goes when this ends; "
            "set SSAST_CACHE to a folder that stays",
            file=sys.stderr,
        )


def _remove(folder: Path, process: int) -> None:
    if os.getpid() == process:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def enough_means(mode: str, asked: Mapping[str, object]) -> Iterator[None]:
    """Say in one sentence that the machine lacks memory, open files or processes; `asked` are the options that take it.

    The error lets go of what it met on its way: what lies there may be the memory, or the files.
    """
    try:
        yield
    except (MemoryError, RuntimeError, OSError, ImportError) as error:
        sentence = _lack(error, mode, {name: value for name, value in asked.items() if value})
        if not sentence:
            raise
        traceback.clear_frames(error.__traceback__)
        raise UserError(sentence) from error.with_traceback(None)


def _lack(error: BaseException, mode: str, asked: Mapping[str, object]) -> str:
    """What is lacking, or nothing where something else went wrong."""
    fewer = f", or give a smaller --num_workers than {asked['num_workers']}" if "num_workers" in asked else ""
    if lacks_handles(error):
        return (
            f"{mode} needs more open files at once than the {_handles()} that this machine allows; "
            f"allow more with `ulimit -n {max(HANDLES, 2 * _handles())}`{fewer}."
        )
    if lacks_processes(error):
        return (
            f"this machine lets {mode} start no further process or thread; allow more with `ulimit -u`, or more memory "
            f"for their stacks{fewer}."
        )
    if lacks_memory(error):
        given = ", ".join(f"--{name} {value}" for name, value in asked.items())
        return (
            f"this machine has not enough memory for {mode}{f' with {given}' if given else ''}; give smaller numbers, "
            "in training a --micro_batch too, or a smaller model."
        )
    return ""


def _handles() -> int:
    """How many files this process may have open at once."""
    import resource

    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
