"""Name beside a run's results which recordings were left out, and which its model does not hear rightly."""

import itertools
from collections.abc import Iterable
from pathlib import Path

from ssast.engine import crew
from ssast.modes.assemble import Work
from ssast.modes.runfolder import add_to_record
from ssast.report.doubt_words import doubt_counts


def note_recordings(work: Work, folder: Path, *sources: Iterable[str]) -> None:
    """Write and say what was noted of the recordings with these uids, and count it in the run's record."""
    if crew.is_main():
        uids = dict.fromkeys(itertools.chain.from_iterable(sources))
        work.bad.write(folder, uids)
        add_to_record(work.options, folder, {"heard": doubt_counts(work.bad.of(uids))})
