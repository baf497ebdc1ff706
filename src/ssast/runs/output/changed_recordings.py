"""Notice recordings that changed since a run began that is now continued."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from ssast.data.storage.atomic_writes import atomic_file
from ssast.data.storage.cache import cache
from ssast.data.storage.fingerprints import file_fingerprints, recording_fingerprints
from ssast.data.storage.location import Location
from ssast.pages.tables import counted
from ssast.runs.context import Paths
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
