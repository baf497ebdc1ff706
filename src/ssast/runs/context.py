"""Hold what a running mode needs everywhere: its options, paths, device, and the recordings that it skips."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ssast import redaction
from ssast.data.storage.location import forget
from ssast.engine import distributed
from ssast.engine.hardware import Engine, engine, mend_attention
from ssast.errors import UserError
from ssast.options.options import Options
from ssast.options.parts import Part
from ssast.options.record import RunRecord
from ssast.runs.output.skipped_recordings import SkippedRecordings
from ssast.runs.paths import Paths


@dataclass(frozen=True)
class RunContext:
    """What a running mode needs everywhere; functions below the modes take only the parts that they use."""

    options: Options
    paths: Paths
    engine: Engine
    skipped: SkippedRecordings
    part: Part

    @classmethod
    def of(cls, options: Options) -> "RunContext":
        """The context of checked options; UserError where the device is not there."""
        forget()
        where = engine(options.device, options.precision, options.threads)
        if where.device.type == "cuda" and (mended := mend_attention(where.device)):
            say(mended)
        part = Part.of(options.part)
        return cls(options, Paths.of(options), where, SkippedRecordings(part), part)

    @property
    def record(self) -> RunRecord:
        """Every option as it is written down."""
        return RunRecord.of(self.options)


def say(text: str) -> None:
    """One line to the user, from the one process that speaks."""
    if distributed.is_main():
        print(text, flush=True)


def words_in(text: str | None) -> list[str]:
    """The words of an option that holds several, with commas between."""
    return [word.strip() for word in (text or "").split(",") if word.strip()]


def run_names(short: Sequence[str], paths: Sequence[Path]) -> list[str]:
    """What runs are called, by their short names or, where two share one, all by their paths; as it may be shown."""
    names = short if len(set(short)) == len(short) else map(str, paths)
    return [redaction.shown_name("run", name) for name in names]


def needed(value: str | None, name: str, what: str) -> str:
    """The value of an option that the mode cannot do without; UserError where it is missing."""
    if not value:
        raise UserError(f"--{name} is missing; give {what}.")
    return value
