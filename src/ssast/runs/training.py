"""Prepare a training run: its batches, its settings, and the folder in which it is continued."""

import math
from pathlib import Path

from ssast.data.storage.atomic_writes import atomic_file
from ssast.data.tables.balance import clip_weights
from ssast.engine import distributed
from ssast.engine.optimiser import TrainingSettings
from ssast.engine.trainable import TrainingBatches
from ssast.options.options import Options
from ssast.options.record import RunRecord
from ssast.runs.batches import ClipReader
from ssast.runs.output.changed_recordings import RememberedRecordings
from ssast.runs.output.folder import open_folder, used_files
from ssast.runs.output.skipped_recordings import JOURNAL
from ssast.runs.paths import Paths
from ssast.runs.rows import Rows

TRAINED_ON = 2
"""Training goes on from what it heard of train.csv; the test's recordings are heard after it."""


def training_batches(
    reader: ClipReader, train: Rows, held_out: Rows, *, piece_size: int, balanced: bool = False
) -> TrainingBatches:
    """The batches of a training run; each goes through the model in pieces of `piece_size` clips."""
    share = (distributed.rank(), distributed.size())
    training = reader.load(
        reader.dataset(train, augment=True),
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
    return TrainingBatches(
        train=training.at,
        validation=lambda: validation,
        steps=epoch_steps(train, reader.batch_size),
        prepare=reader.prepare(augment=True),
        pieces=training.batches.each,
        workers=reader.num_workers,
    )


def epoch_steps(train: Rows, batch_size: int) -> int:
    """How many batches these rows make."""
    return math.ceil(len(train.frame) / batch_size)


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
