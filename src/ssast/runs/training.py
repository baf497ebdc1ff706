"""Set a training run up: its batches, its settings, and the folder that it goes on in."""

import math
from pathlib import Path

from ssast.data.loader import loader
from ssast.data.storage.atomic_writes import atomic_file
from ssast.data.tables.balance import clip_weights
from ssast.engine import distributed
from ssast.engine.optimiser import TrainingSettings
from ssast.engine.train import TrainingBatches
from ssast.options.options import Options
from ssast.runs.audio_settings import Settings
from ssast.runs.batches import dataset, loading, prepare
from ssast.runs.context import RunContext
from ssast.runs.output.changed_recordings import RememberedRecordings
from ssast.runs.output.folder import open_folder, run_key, used_files
from ssast.runs.output.skipped_recordings import JOURNAL
from ssast.runs.rows import Rows


def training_batches(context: RunContext, train: Rows, held_out: Rows, settings: Settings) -> TrainingBatches:
    """The batches of a training run."""
    options, share, how = context.options, (distributed.rank(), distributed.size()), loading(context)
    state = Path(options.exp_dir) / "checkpoints"
    goes_on = options.resume != "never" and (state / "last.pt").exists()
    context.skipped.remember(state / JOURNAL, goes_on=goes_on)
    drawn: Settings = {"shuffle_seed": options.seed, "piece_size": options.micro_batch}
    if options.balanced:
        drawn["weights"] = clip_weights(train.targets).tolist()
    training = loader(
        dataset(options, train, settings, augment=True), batch_size=options.batch_size, share=share, **drawn, **how
    )
    validation = loader(
        dataset(options, held_out, settings, augment=False),
        batch_size=options.batch_size * distributed.size(),
        piece_size=options.batch_size,
        share=share,
        **how,
    )
    return TrainingBatches(
        train=training.at,
        validation=lambda: validation,
        steps=math.ceil(len(train.frame) / options.batch_size),
        prepare=prepare(options, settings, context.accelerator.device, augment=True),
        pieces=training.batches.each,
    )


def training_settings(options: Options) -> TrainingSettings:
    """How to train, of all the options."""
    names = (field for field in TrainingSettings.__dataclass_fields__)
    return TrainingSettings(**{name: getattr(options, name) for name in names})


TRAINED_ON = 2
"""Training goes on from what it heard of train.csv; the test's recordings are heard after it."""


def start_training(options: Options, *sources: Rows) -> tuple[Path, str]:
    """The folder of a training run, with its record and the rows held out, and the key of its result."""
    files = used_files(options, *(source.source for source in sources))
    names = ("train", "validation", "test")
    clips = {name: len(source.frame) for name, source in zip(names, sources, strict=False)}
    folder = open_folder(
        options,
        clips=clips,
        files=files,
        trains=True,
        heard=lambda: RememberedRecordings.of(options, *sources[:TRAINED_ON]),
    )
    if distributed.is_main():
        with atomic_file(folder / "validation.csv") as beside:
            sources[1].frame.to_csv(beside)
    return folder, run_key(options, files)
