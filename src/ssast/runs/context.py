"""Hold what a mode carries along: its options, the device it computes on, and the recordings that it skips."""

from dataclasses import dataclass
from typing import Any

from accelerate import Accelerator

from ssast.data.storage.location import forget
from ssast.engine import distributed
from ssast.engine.hardware import engine
from ssast.errors import UserError
from ssast.options.options import Options
from ssast.options.resolve import resolve
from ssast.runs.output.skipped_recordings import SkippedRecordings


@dataclass(frozen=True)
class RunContext:
    """What a mode carries along: its options, the engine they lead to, and the recordings that it leaves out."""

    options: Options
    accelerator: Accelerator
    skipped: SkippedRecordings

    @classmethod
    def of(cls, options: Options | None, mode: str, overrides: dict[str, Any]) -> "RunContext":
        """The work of a mode, its options checked; UserError where they do not go together."""
        resolved = resolve(options, mode=mode, **overrides)
        forget()
        return cls(resolved, engine(resolved.device, resolved.precision, resolved.threads), SkippedRecordings())


def say(text: str) -> None:
    """One line to the user, from the one process that speaks."""
    if distributed.is_main():
        print(text, flush=True)


def needed(value: str | None, name: str, what: str) -> str:
    """The value of an option that the mode cannot do without; UserError where it is missing."""
    if not value:
        raise UserError(f"--{name} is missing; give {what}.")
    return value
