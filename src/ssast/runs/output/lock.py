"""Keep an output folder for one run at a time, until the last of its processes has ended."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from ssast.data.storage.atomic_writes import staying_in, writable_folder
from ssast.data.storage.folder_lock import LOCK, in_use
from ssast.engine import distributed
from ssast.options.parts import WHOLE, Part
from ssast.options.records import BESIDE, THERE
from ssast.runs.output.earlier_results import check_open


@contextlib.contextmanager
def held(exp_dir: str, mode: str, lock: str, part: Part = WHOLE) -> Iterator[None]:
    """Refuse an output folder that another run has; within another mode of the same run it may be had.

    A part of a run has what is its own in the folder, and refuses the same part alone.
    Of several processes the main one holds the folder for all, until the last has done its share. `lock` says where the
    lock lies, as in a mode's record.
    """
    holding = _held(exp_dir, mode, lock, part) if distributed.is_main() else contextlib.nullcontext()
    with staying_in(exp_dir), holding:
        yield
        distributed.wait()


@contextlib.contextmanager
def _held(exp_dir: str, mode: str, lock: str, part: Part) -> Iterator[None]:
    folder = Path(exp_dir).expanduser().absolute()
    if "://" in exp_dir or (lock == THERE and not folder.is_dir()):
        yield  # the mode says what is wrong with it
        return
    check_open(folder)
    home = folder.parent if lock == BESIDE else folder
    absent = [place for place in (home, *home.parents) if not place.exists()]
    try:
        writable_folder(home)
        name = f".{folder.name}{LOCK}" if lock == BESIDE else f"{LOCK}{part.suffix}"
        by = mode if part.is_whole else f"{mode} --part {part.number}/{part.count}"
        with in_use(Path(exp_dir), home / name, by):
            yield
    finally:
        with contextlib.suppress(OSError):  # something lies in it
            for made in absent:
                made.rmdir()
