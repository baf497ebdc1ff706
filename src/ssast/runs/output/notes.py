"""Write beside a run's results which recordings were left out, and which its model does not hear rightly."""

import itertools
from collections.abc import Iterable
from pathlib import Path

from ssast.engine import distributed
from ssast.options.record import RunRecord
from ssast.pages.sound_finding_sentences import finding_counts
from ssast.runs.output.folder import add_to_record
from ssast.runs.output.skipped_recordings import SkippedRecordings


def note_recordings(record: RunRecord, skipped: SkippedRecordings, folder: Path, *sources: Iterable[str]) -> None:
    """Write and say what was noted of the recordings with these uids, and count it in the run's record."""
    if distributed.is_main():
        uids = dict.fromkeys(itertools.chain.from_iterable(sources))
        skipped.write(folder, uids)
        add_to_record(record, folder, {"heard": finding_counts(skipped.of(uids))})
