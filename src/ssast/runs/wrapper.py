"""Put around every mode what each run needs, once: checked options, privacy, its folder, tidying up, a bucket."""

import contextlib
import functools
import os
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Generic, TypeVar

from ssast.engine import distributed
from ssast.errors import UserError
from ssast.options.options import Options
from ssast.options.records import MODES, ModeRecord
from ssast.options.resolve import resolve
from ssast.runs.environment import check_environment
from ssast.runs.output.lock import held
from ssast.runs.output.tidy import enough_memory, nothing_half_written
from ssast.runs.output.uploads import target, uploading
from ssast.runs.private_runs import private_run
from ssast.runs.terminal import robust_terminal

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
        self.name = function.__name__
        self.function = function

    @property
    def record(self) -> ModeRecord:
        """What the mode says of itself."""
        return MODES[self.name]

    def __call__(self, options: Options | None = None, /, **overrides: Any) -> Result:
        """Run with the options of the command line by name, over `options` where they are given.

        Raises UserError, with one sentence, for what a user can mend.
        """
        if _runs.get():  # within another mode, which has the screen and hides what is private
            return self.run(resolve(options, mode=self.name, **overrides))
        with robust_terminal(), private_run(overrides, options):
            check_environment()
            return self.run(resolve(options, mode=self.name, **overrides))

    def run(self, options: Options) -> Result:
        """Run with options that are resolved and checked."""
        if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not self.record.shared:
            raise UserError(f"{self.name} runs in one process; start it without accelerate launch or torchrun.")
        runs = _runs.set(True)
        try:
            with self._around(options):
                return self.function(options)
        finally:
            _runs.reset(runs)

    @contextlib.contextmanager
    def _around(self, options: Options) -> Iterator[None]:
        record, folder = self.record, Path(options.exp_dir)
        with contextlib.ExitStack() as stack:
            if record.lock:
                stack.enter_context(held(options.exp_dir, self.name, record.lock))
            if record.sends:
                stack.enter_context(_sending(options))
            if record.tidies:
                stack.enter_context(nothing_half_written(folder))
                asked = {name: getattr(options, name) for name in ("batch_size", "target_length", "num_workers")}
                stack.enter_context(enough_memory(self.name, asked))
            yield


@contextlib.contextmanager
def _sending(options: Options) -> Iterator[None]:
    """Send the folder where a bucket is named and --cloud True; within another mode that one does, as one process."""
    if not (options.cloud and options.bucket_name) or _sends.get() or not distributed.is_main():
        yield
        return
    inside = _sends.set(True)
    try:
        with uploading(Path(options.exp_dir), target(options)):
            yield
    finally:
        _sends.reset(inside)
