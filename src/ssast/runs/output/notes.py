"""Write beside a run's results which recordings were left out, and what of the others its model does not hear."""

import itertools
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from ssast.data.prepare import AudioSettings
from ssast.engine import distributed
from ssast.options.record import RunRecord
from ssast.pages.sound_finding_sentences import UnheardSound, finding_counts
from ssast.runs.context import say
from ssast.runs.output.folder import add_to_record
from ssast.runs.output.skipped_recordings import SkippedRecordings


@dataclass(frozen=True)
class Listening:
    """How much of recordings a run hears: what `audio` says, of those that it `trains` on what `crop` says."""

    audio: AudioSettings
    crop: str = "start"
    trains: bool = False

    def unheard(self, skipped: SkippedRecordings, sources: Sequence[Collection[str]]) -> list[UnheardSound]:
        """What is not heard of the recordings with these uids; the first of the sources is what is trained on."""
        is_whole = self.audio.window_overlap is not None
        if not self.trains or (self.crop == "start" and not is_whole):
            every = dict.fromkeys(itertools.chain.from_iterable(sources))
            return [] if is_whole else [UnheardSound.of(skipped.lengths(every), self.audio)]
        lengths, is_random = skipped.lengths(sources[0]), self.crop == "random"
        trained = UnheardSound.of(lengths, self.audio, what="training recordings", each_epoch=is_random)
        scored = dict.fromkeys(itertools.chain.from_iterable(sources[1:]))
        others = [] if is_whole else [UnheardSound.of(skipped.lengths(scored), self.audio, what="other recordings")]
        return [trained, *others]


def note_recordings(
    record: RunRecord,
    skipped: SkippedRecordings,
    folder: Path,
    *sources: Collection[str],
    listening: Listening | None = None,
) -> None:
    """Write and say what was noted of the recordings with these uids, and count it in the run's record."""
    if not distributed.is_main():
        return
    uids = sources[0] if len(sources) == 1 else dict.fromkeys(itertools.chain.from_iterable(sources))
    skipped.write(folder, uids)
    unheard = [one for one in listening.unheard(skipped, sources) if one.longer] if listening else []
    for one in unheard:
        say(one.sentence)
    facts = {"heard": finding_counts(skipped.of(uids)), "unheard": {one.what: one.facts for one in unheard}}
    add_to_record(record, folder, facts)
