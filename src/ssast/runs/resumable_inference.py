"""Compute something of every recording in parts, so that a killed run goes on where the recordings have not changed."""

import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ssast import __version__
from ssast.data.batch import Batch
from ssast.engine import distributed, inference
from ssast.engine.hardware import Engine
from ssast.options.parts import Part
from ssast.runs.context import RunContext, say
from ssast.runs.output.changed_recordings import HEARD_CONTENTS, RememberedRecordings
from ssast.runs.output.skipped_recordings import JOURNAL, SkippedRecordings


@dataclass(frozen=True)
class Passes:
    """What the resumable passes of a mode have in common."""

    mode: str
    run_key: str
    resume: str
    engine: Engine
    skipped: SkippedRecordings
    part: Part

    @classmethod
    def of(cls, context: RunContext) -> "Passes":
        """Take the passes of a mode."""
        record = context.record
        return cls(record.mode, record.key({}), record.values["resume"], context.engine, context.skipped, context.part)

    def run(
        self,
        apply: Callable[[Batch], Tensor],
        batches: Callable[[int, int], Iterable[Batch]],
        steps: int,
        folder: Path,
        key: str,
        *,
        heard: Callable[[], RememberedRecordings],
        clips_a_step: int = 1,
        aside: str = "",
        **how: Any,
    ) -> inference.FinishedPass:
        """`run_inference` with its parts and the reasons of skipped recordings below `folder`; `how` as it takes it.

        Passes of one mode lie apart where they differ in `aside`, and those of each part of a run. Of one that goes on,
        what was computed of recordings that changed is computed again.
        """
        parts = folder / ".parts" / f"{self.mode}{aside}{self.part.suffix}"
        if self.resume == "never" and distributed.is_main():
            shutil.rmtree(parts, ignore_errors=True)

        def opened() -> None:
            now = heard()
            changed = now.changed_since(parts / HEARD_CONTENTS)
            if changed is None:
                _forget_all(parts)
            elif changed:
                inference.forget_steps(parts, {row // clips_a_step for row in changed})
                self.skipped.forget(parts / JOURNAL, [now.uids[row] for row in changed])
                say(f"{now.sentence(changed)}; they are computed again")
            now.write(parts / HEARD_CONTENTS)

        def batches_from(start: int, stop: int) -> Iterable[Batch]:
            # Parts that a killed pass left come with the reasons of the recordings that they lack.
            self.skipped.remember(parts / JOURNAL)
            return batches(start, stop)

        done = inference.run_inference(
            apply,
            batches_from,
            steps=steps,
            folder=parts,
            # On another kind of device batches hold other numbers of clips, and steps other clips.
            key=f"{key} {self.run_key} {__version__} {self.engine.device.type} {steps}",
            engine=self.engine,
            title=self.mode,
            opened=opened,
            **how,
        )
        self.skipped.remember(parts / JOURNAL)  # with what other processes noted there
        return done


def _forget_all(parts: Path) -> None:
    """Delete what earlier starts computed, since what was in the recordings then is not known."""
    computed = list(parts.glob("part-*.parquet"))
    if computed:
        say(
            f"{parts / HEARD_CONTENTS} is missing or damaged, so recordings may have changed: "
            "everything is computed again"
        )
    for part in [*computed, parts / JOURNAL]:
        part.unlink(missing_ok=True)
