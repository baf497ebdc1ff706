"""Wrap every mode in what each run needs, once: checked options, privacy, its folder, tidying up, upload."""

import contextlib
import functools
import inspect
import os
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Generic, TypeVar

from ssast.data.storage.atomic_writes import at_home, staying_in, writable_folder
from ssast.data.storage.folder_lock import LOCK, in_use
from ssast.data.storage.location import Location
from ssast.engine import distributed
from ssast.errors import UserError
from ssast.options.options import Options
from ssast.options.parts import Part
from ssast.options.record import resolve
from ssast.options.records import BESIDE, MODES, THERE
from ssast.runs.context import Paths, say
from ssast.runs.output.earlier_results import check_open, left_as_it_was
from ssast.runs.output.uploads import uploading
from ssast.runs.wrapping.environment import check_environment, enough_means
from ssast.runs.wrapping.terminal import private_run, robust_terminal

MEMORY_OPTIONS = ("batch_size", "target_length", "num_workers")
"""What a mode that lacks memory can be given less of."""
Result = TypeVar("Result")
# Whether a mode of this thread runs, and whether one sends its folder, already.
_runs: ContextVar[bool] = ContextVar("runs", default=False)
_sends: ContextVar[bool] = ContextVar("sends", default=False)


class Mode(Generic[Result]):
    """A mode as its users call it, from the command line, from Python, or from within another mode.

    It is made of the function in `modes/` that bears its name and takes the checked options. What surrounds the
    function follows from the mode's record.
    """

    def __init__(self, function: Callable[[Options], Result]):
        functools.update_wrapper(self, function)
        self.__signature__ = inspect.signature(self.__call__)  # not that of the function
        self.name = function.__name__
        self.function = function

    def __call__(self, options: Options | None = None, /, **overrides: Any) -> Result:
        """Run with the options of the command line by name, over `options` where they are given.

        Raises UserError, with one sentence, for what a user can correct.
        """
        if _runs.get():  # within another mode, which has the screen and hides what is private
            return self.run(resolve(options, mode=self.name, **overrides))
        with robust_terminal(), private_run(overrides, is_private=options is not None and options.private):
            check_environment()
            return self.run(resolve(options, mode=self.name, **overrides))

    def run(self, options: Options) -> Result:
        """Run with options that are resolved and checked."""
        tasks = distributed.heed_slurm(os.environ)
        if distributed.size() > 1 and not MODES[self.name].shared:
            how = "with srun --ntasks 1" if tasks else "without accelerate launch or torchrun"
            raise UserError(f"{self.name} runs in one process; start it {how}.")
        if tasks:
            say(f"Slurm started {tasks} tasks: they work as one run (with WORLD_SIZE=1 set, each works for itself)")
        asked = {name: getattr(options, name) for name in MEMORY_OPTIONS}
        runs = _runs.set(True)
        try:
            part = Part.of(options.part)
            with _around(self.name, Paths.of(options), sends=options.cloud, asked=asked, part=part):
                return self.function(options)
        finally:
            _runs.reset(runs)


@contextlib.contextmanager
def _around(name: str, paths: Paths, *, sends: bool, asked: Mapping[str, object], part: Part) -> Iterator[None]:
    """What surrounds a mode of this name; `asked` is what it could be given less of."""
    record, folder = MODES[name], Path(paths.exp_dir)
    with contextlib.ExitStack() as stack:
        stack.enter_context(enough_means(name, asked))
        if record.lock:
            stack.enter_context(_held(paths.exp_dir, name, record.lock, part))
        if record.sends and sends and paths.bucket_name:
            stack.enter_context(_sending(folder, paths.results, part))
        if record.tidies:
            stack.enter_context(left_as_it_was(at_home(paths.exp_dir), part))
            stack.enter_context(enough_means(name, asked))  # what was opened and held is let go before it tidies
        yield


@contextlib.contextmanager
def _held(exp_dir: str, mode: str, lock: str, part: Part) -> Iterator[None]:
    """Refuse an output folder that another run has; within another mode of the same run it may be had.

    A part of a run has what is its own in the folder, and refuses the same part alone.
    Of several processes the main one holds the folder for all, until the last has done its share. `lock` says where the
    lock lies, as in a mode's record.
    """
    holding = _locked(exp_dir, mode, lock, part) if distributed.is_main() else contextlib.nullcontext()
    with staying_in(exp_dir), holding:
        yield
        distributed.wait()


@contextlib.contextmanager
def _locked(exp_dir: str, mode: str, lock: str, part: Part) -> Iterator[None]:
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


@contextlib.contextmanager
def _sending(folder: Path, to: Location, part: Part) -> Iterator[None]:
    """Send the folder to the bucket; within another mode that one does, and of several processes the first."""
    if _sends.get() or not distributed.is_main():
        yield
        return
    inside = _sends.set(True)
    try:
        with uploading(folder, to, part=part):
            yield
    finally:
        _sends.reset(inside)
