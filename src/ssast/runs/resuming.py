"""Go on with a run that was killed: notice recordings that changed since it began, and compute the rest in parts."""

import json
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor
from tqdm import tqdm

from ssast import __version__
from ssast.data.batch import Batch
from ssast.data.storage.atomic_writes import atomic_file
from ssast.data.storage.cache import cache
from ssast.data.storage.fingerprints import file_fingerprints, recording_fingerprints
from ssast.data.storage.location import Location
from ssast.engine import distributed, inference
from ssast.engine.hardware import Engine
from ssast.errors import UserError
from ssast.options.parts import Part
from ssast.pages.tables import counted
from ssast.runs.context import Paths, RunContext, say
from ssast.runs.output.skipped_recordings import JOURNAL, SkippedRecordings
from ssast.runs.rows import Rows
from ssast.safe_reading import MOST_BYTES, some, text_of

HEARD_CONTENTS = "heard.json"
"""What was in each recording, in the order of the rows; beside the state that a run goes on from."""
LETTERS = 16
BYTES_A_NAME = 8 * LETTERS
"""More than a name takes in the file, whatever is in it."""
_SILENT_SECONDS = 3.0


@dataclass(frozen=True)
class RememberedRecordings:
    """The recordings of a run in the order of its rows, with fingerprints of their contents (empty: it has none)."""

    uids: Sequence[str]
    names: list[str]

    @classmethod
    def of(cls, paths: Paths, *sources: Rows) -> "RememberedRecordings":
        """What the recordings of these rows hold now; nothing is decoded."""
        uids = [uid for source in sources for uid in source.frame.index]
        return cls(uids, _names(recording_fingerprints(paths.recordings, uids, cache(paths.cache_gb)), len(uids)))

    @classmethod
    def of_files(cls, paths: Paths, files: Sequence[Location]) -> "RememberedRecordings":
        """Take the fingerprints of what these audio files hold now; nothing is decoded."""
        return cls([str(file) for file in files], _names(file_fingerprints(files, cache(paths.cache_gb)), len(files)))

    def write(self, place: Path) -> None:
        """Keep the names for the next start."""
        place.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(place) as unfinished:
            unfinished.write_text(json.dumps(self.names), encoding="utf-8")

    def changed_since(self, place: Path) -> list[int] | None:
        """The numbers of the rows whose recordings changed since `place` was written; None if that cannot be told."""
        try:
            before = json.loads(text_of(place, MOST_BYTES + len(self.names) * BYTES_A_NAME))
        except (OSError, ValueError, RecursionError):
            return None
        if not isinstance(before, list) or len(before) != len(self.names):
            return None
        return [row for row, (then, now) in enumerate(zip(before, self.names, strict=True)) if then != now]

    def sentence(self, rows: Sequence[int]) -> str:
        """Which recordings changed."""
        changed = some([self.uids[row] for row in rows])
        return f"{counted(len(rows), 'recording')} changed since this run began: {changed}"


def _names(found: Iterable[str | None], count: int) -> list[str]:
    """Short names; the bar shows up only where there is much to read."""
    bar = tqdm(found, desc="look at recordings", total=count, unit="clip", dynamic_ncols=True, delay=_SILENT_SECONDS)
    return [(name or "")[:LETTERS] for name in bar]


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
        refuse_changed(changed_since(parts / HEARD_CONTENTS, heard))
        return done


def changed_since(place: Path, heard: Callable[[], RememberedRecordings]) -> list[str]:
    """The recordings that changed since `place` was written, as the main process sees them."""
    changed = []
    if distributed.is_main():
        now = heard()
        changed = [now.uids[row] for row in now.changed_since(place) or ()]
    return distributed.gather(changed)[0]


def refuse_changed(uids: Sequence[str]) -> None:
    """UserError that names recordings which changed while they were read, where there are any."""
    if uids:
        raise UserError(
            f"{counted(len(uids), 'recording')} changed while this run read them: {some(uids)}; let nothing change "
            "them, and give the same command again: it reads them anew, and goes on with what it has of the others.",
            uid=uids,
        )


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
