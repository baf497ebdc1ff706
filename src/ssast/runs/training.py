"""Prepare a training run: its batches, its settings, and the folder in which it is continued."""

import json
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ssast.data.batch import Batch
from ssast.data.known_lengths import known_frames
from ssast.data.storage.atomic_writes import atomic_file
from ssast.data.storage.location import Location
from ssast.data.tables.targets import clip_weights
from ssast.engine import distributed
from ssast.engine.optimiser import TrainingSettings
from ssast.engine.trainable import TrainingBatches
from ssast.errors import UserError
from ssast.options.options import Options
from ssast.options.record import RunRecord
from ssast.pages.tables import counted
from ssast.runs.batches import ClipReader
from ssast.runs.context import Paths, say
from ssast.runs.output.folder import add_to_record, open_folder, used_files
from ssast.runs.output.skipped_recordings import JOURNAL
from ssast.runs.resuming import HEARD_CONTENTS, RememberedRecordings, changed_since
from ssast.runs.rows import Rows
from ssast.safe_reading import MOST_BYTES, some, text_of

TRAINED_ON = 2
"""Training goes on from what it heard of train.csv; the test's recordings are heard after it."""

LENGTHS = "lengths.json"
"""The lengths by which batches were put together; beside the state that a run goes on from."""
NOT_KNOWN = -1
LENGTH_BYTES = 16
"""More than a length takes in that file."""


def training_batches(
    reader: ClipReader,
    train: Rows,
    held_out: Rows,
    *,
    piece_size: int,
    balanced: bool = False,
    lengths: "ClipLengths | None" = None,
) -> TrainingBatches:
    """The batches of a training run; each goes through the model in pieces of `piece_size` clips.

    With `lengths` each holds clips of one of them, as far as they are known, and goes through at that length.
    """
    share = (distributed.rank(), distributed.size())
    learned = reader.dataset(train, augment=True)
    if balanced and learned.blocks is not None:
        say(_balanced_sentence(reader.recordings, len(set(learned.blocks))))
    training = reader.load(
        learned,
        batch_size=reader.batch_size,
        share=share,
        shuffle_seed=reader.seed,
        piece_size=piece_size,
        weights=clip_weights(train.targets).tolist() if balanced else None,
    )
    validation = reader.load(
        reader.dataset(held_out),
        batch_size=reader.batch_size * distributed.size(),
        piece_size=reader.batch_size,
        share=share,
    )

    def epoch(number: int, start: int) -> Iterable[Batch]:
        if lengths is not None:  # asked for now, since the folder and its state are open by now
            training.clips.lengths, validation.clips.lengths = lengths.found or (None, None)
        return training.at(number, start)

    return TrainingBatches(
        train=epoch,
        validation=lambda: validation,
        steps=epoch_steps(train, reader.batch_size),
        prepare=reader.prepare(augment=True, rounding=None if lengths is None else lengths.rounding),
        pieces=training.batches.each,
        workers=reader.num_workers,
    )


def _balanced_sentence(root: Location, groups: int) -> str:
    """What drawing by label costs where recordings are fetched in row groups."""
    cost = (
        "which costs a disk more seeking"
        if root.is_local
        else "so that all of them should fit into the cache (--cache_gb): one that is pushed out is fetched again"
    )
    return f"--balanced draws recordings from all {groups} row groups of the shards in any order, {cost}"


def epoch_steps(train: Rows, batch_size: int) -> int:
    """How many batches these rows make."""
    return math.ceil(len(train.frame) / batch_size)


Lengths = list[int]


@dataclass(frozen=True)
class ClipLengths:
    """The lengths [frames] at which a run's clips go through a model that keeps padding out, by its `rounding`.

    They are found once a run and lie in `folder`, so that one that goes on has the same batches, whatever the cache
    holds by then.
    """

    reader: ClipReader
    rounding: Callable[[int], int]
    folder: Path
    train: Rows
    held_out: Rows

    @classmethod
    def of(
        cls, reader: ClipReader, rounding: Callable[[int], int] | None, folder: Path, train: Rows, held_out: Rows
    ) -> "ClipLengths | None":
        """Take the lengths of a run; None where all clips go through at the length of the model's input."""
        return None if rounding is None else cls(reader, rounding, folder.expanduser(), train, held_out)

    @cached_property
    def found(self) -> tuple[Lengths, Lengths] | None:
        """Those of the training and of the held-out rows, NOT_KNOWN where a length is not known.

        None in a run that an older version began, whose batches are of any lengths. All processes ask together.
        """
        own = self._read_or_find() if distributed.is_main() else None
        return distributed.gather(own)[0]

    def _read_or_find(self) -> tuple[Lengths, Lengths] | None:
        state = self.folder / "checkpoints"
        if (state / "last.pt").exists():
            return self._read(state / LENGTHS)
        found = self._find(self.train), self._find(self.held_out)
        state.mkdir(parents=True, exist_ok=True)
        with atomic_file(state / LENGTHS) as unfinished:
            Path(unfinished).write_text(json.dumps(found), encoding="utf-8")
        return found

    def _read(self, place: Path) -> tuple[Lengths, Lengths] | None:
        if not place.exists():
            return None
        clips = [len(self.train.frame), len(self.held_out.frame)]
        try:
            train, held_out = json.loads(text_of(place, MOST_BYTES + LENGTH_BYTES * sum(clips)))
            if [len(train), len(held_out)] == clips:
                return [int(one) for one in train], [int(one) for one in held_out]
        except (OSError, ValueError, TypeError, RecursionError):
            pass
        raise UserError(f"{place} is damaged, so this run cannot go on; start anew with --resume never.", path=place)

    def _find(self, rows: Rows) -> Lengths:
        frames = known_frames(self.reader.recordings, list(rows.frame.index), self.reader.audio)
        return [NOT_KNOWN if own is None else self.rounding(own) for own in frames]


def remember_skipped(reader: ClipReader, folder: Path, *, resume: str) -> None:
    """Take up which recordings an unfinished run in the folder has skipped already."""
    state = folder / "checkpoints"
    goes_on = resume != "never" and (state / "last.pt").exists()
    reader.skipped.remember(state / JOURNAL, goes_on=goes_on)


def training_settings(options: Options) -> TrainingSettings:
    """How to train, of all the options."""
    names = (field for field in TrainingSettings.__dataclass_fields__)
    return TrainingSettings(**{name: getattr(options, name) for name in names})


def start_training(record: RunRecord, paths: Paths, *sources: Rows) -> tuple[Path, str]:
    """The folder of a training run, with its record and the rows held out, and the key of its result."""
    files = used_files(paths, *(source.source for source in sources))
    names = ("train", "validation", "test")
    clips = {name: len(source.frame) for name, source in zip(names, sources, strict=False)}
    folder = open_folder(
        record,
        clips=clips,
        files=files,
        trains=True,
        heard=lambda: RememberedRecordings.of(paths, *sources[:TRAINED_ON]),
    )
    if distributed.is_main():
        with atomic_file(folder / "validation.csv") as unfinished:
            sources[1].frame.to_csv(unfinished)
    return folder, record.key(files)


def note_changed(record: RunRecord, paths: Paths, folder: Path, *sources: Rows) -> None:
    """Say which recordings changed while a run trained on them, and count them in its record."""
    place = folder / "checkpoints" / HEARD_CONTENTS
    changed = changed_since(place, lambda: RememberedRecordings.of(paths, *sources[:TRAINED_ON]))
    if changed and distributed.is_main():
        say(
            f"Careful: {counted(len(changed), 'recording')} changed while this run trained on them: {some(changed)}; "
            "the model has heard what they were and what they are, and --resume never trains one anew"
        )
        add_to_record(record, folder, {"changed_while_training": len(changed)})
