"""Keep an output folder for one run at a time, until the last of its processes has ended."""

import contextlib
import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from ssast.data.storage.atomic_writes import staying_in, writable_folder
from ssast.data.storage.folder_lock import LOCK, in_use
from ssast.engine import distributed
from ssast.options.options import Options
from ssast.options.resolve import resolve
from ssast.runs.output.earlier_results import check_open

Mode = TypeVar("Mode", bound=Callable[..., Any])
INSIDE, BESIDE, THERE = "inside", "beside", "there"
"""Where the lock of a mode's folder lies: in it, beside a folder that the mode makes whole, in it if it is there."""


def alone(mode: str, *, lock: str = INSIDE) -> Callable[[Mode], Mode]:
    """Make a mode refuse an output folder that another run has; within another mode of the same run it may have it.

    Of several processes the main one holds the folder for all, until the last has done its share.
    """

    def around(function: Mode) -> Mode:
        @functools.wraps(function)
        def run(options: Options | None = None, /, **overrides: Any) -> Any:
            resolved = resolve(options, mode=mode, **overrides)
            holding = _holding(resolved.exp_dir, mode, lock) if distributed.is_main() else contextlib.nullcontext()
            with staying_in(resolved.exp_dir), holding:
                outcome = function(resolved)
                distributed.wait()
            return outcome

        return run  # type: ignore[return-value]

    return around


@contextlib.contextmanager
def _holding(exp_dir: str, mode: str, lock: str) -> Iterator[None]:
    folder = Path(exp_dir).expanduser().absolute()
    if "://" in exp_dir or (lock == THERE and not folder.is_dir()):
        yield  # the mode says what is wrong with it
        return
    check_open(folder)
    home = folder.parent if lock == BESIDE else folder
    absent = [place for place in (home, *home.parents) if not place.exists()]
    try:
        writable_folder(home)
        with in_use(Path(exp_dir), home / (f".{folder.name}{LOCK}" if lock == BESIDE else LOCK), mode):
            yield
    finally:
        with contextlib.suppress(OSError):  # something lies in it
            for made in absent:
                made.rmdir()
