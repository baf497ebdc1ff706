"""Read the recordings of a mode's rows in batches, as the options ask, and prepare them on the device."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch

from ssast.audio.alterations import ALTERATIONS, SPECTROGRAM_ALTERATIONS
from ssast.data.batch import Batch
from ssast.data.dataset import AudioDataset
from ssast.data.loader import Loader, loader
from ssast.data.metadata import marker_of
from ssast.data.plain_features import MeasuringPrepare, PlainFeatures
from ssast.data.prepare import AudioSettings, Prepare
from ssast.data.spectrograms import SpectrogramDataset
from ssast.data.storage.location import Location
from ssast.engine.inference import loader_size
from ssast.engine.lengths import Grouping
from ssast.engine.windows import Cutter, window_batches
from ssast.errors import UserError
from ssast.options.checks import check_spectrograms
from ssast.options.parts import Part
from ssast.options.records import MODES
from ssast.processors import worker_count
from ssast.runs.context import RunContext
from ssast.runs.output.skipped_recordings import SkippedRecordings
from ssast.runs.rows import Rows

_WAVEFORM = {each.name: each.key or each.name for each in ALTERATIONS}
_WAVEFORM |= {each.amount.name: each.amount.name for each in ALTERATIONS}
_ALTERING = (*(each.name for each in ALTERATIONS), "mixup", *(each.name for each in SPECTROGRAM_ALTERATIONS))
_BATCH = ("mixup", "mixup_alpha", *(each.name for each in SPECTROGRAM_ALTERATIONS))
"""The augmentations by option: of waveforms with their names in the seed's `audio_conf`, and of batches."""


@dataclass(frozen=True)
class RowBatches:
    """The batches of rows: a function that gives them from one step to another, the steps, and what prepares a batch.

    A step is a batch of `clips_a_step` recordings, or one recording; `unit` is its name. With a `grouping` clips of one
    length go through the model together.
    """

    batches: Callable[[int, int], Iterable[Batch]]
    steps: int
    clips_a_step: int
    prepare: Callable[[Batch], Batch]
    grouping: Grouping | None = None
    unit: str = "batch"


def part_bounds(part: Part, rows: int, reader: "ClipReader", blocks: Sequence[int] | None = None) -> tuple[int, int]:
    """The rows from one number to another that a part of a run takes, of `rows` in all: the one place that decides it.

    On a GPU, where a clip's last digits go with its batch, a part makes the batches that one run makes. With `blocks`,
    the row group of each row, it ends where one of those does, or on a GPU with the batch in which that is.
    """
    size = 1 if reader.device.type == "cpu" else reader.loader_size
    starts = [] if blocks is None else [row for row in range(1, rows) if blocks[row] != blocks[row - 1]]
    ends = sorted({min(rows, -(-row // size) * size) for row in starts})
    if len(ends) + 1 < part.count:  # too few row groups to share out
        return part.bounds(rows, () if size == 1 else range(0, rows + 1, size))
    return part.bounds(rows, [0, *ends, rows])


def part_key(part: Part, bounds: tuple[int, int]) -> str:
    """What sets the state of a part of a run apart from that of the same number with other bounds."""
    return "" if part.is_whole else f" {part.number}/{part.count} {bounds}"


@dataclass(frozen=True)
class ClipReader:
    """Reads recordings below a folder as a model hears them (`audio`); those that cannot be used go to `skipped`.

    `augmentation` has the amounts of all augmentations by option; they act only where a data set is asked to `augment`.
    So does `crop`, which says whether training hears the start of long ones or a random stretch. What `is_part` of a
    run may have no recording that can be used.
    """

    recordings: Location
    audio: AudioSettings
    augmentation: Mapping[str, Any]
    skipped: SkippedRecordings
    device: torch.device
    batch_size: int
    librosa: bool
    seed: int
    num_workers: int
    on_bad_audio: str
    worker_start: str
    crop: str
    is_part: bool = False
    plain: PlainFeatures | None = None
    """Where it is given, what is prepared as it was recorded is measured for the plain baseline."""

    @classmethod
    def of(cls, context: RunContext, audio: AudioSettings) -> "ClipReader":
        """The reader of a mode."""
        options, paths = context.options, context.paths
        if unknown := options.altering.keys() - {*_WAVEFORM, *_BATCH}:
            raise TypeError(f"nothing is done for the augmentation {', '.join(sorted(unknown))}")
        recordings = paths.recordings if paths.prefix else paths.at("")
        if paths.prefix and marker_of(recordings):
            sound_alone = [*(each.name for each in ALTERATIONS), "mixup"]
            readers = [name for name, record in MODES.items() if record.reads_spectrograms]
            if wrong := next(check_spectrograms(options.mode, readers, context.record.values, sound_alone), None):
                raise UserError(f"{wrong}.")
            audio = replace(audio, spectrograms=True)
        return cls(
            recordings,
            audio,
            {name: getattr(options, name) for name in (*_WAVEFORM, *_BATCH)},
            context.skipped,
            context.engine.device,
            options.batch_size,
            options.lib,
            options.seed,
            worker_count(options.num_workers),
            options.on_bad_audio,
            options.worker_start,
            options.crop,
            not context.part.is_whole,
        )

    @property
    def loader_size(self) -> int:
        """How many clips are loaded at once where nothing is learned."""
        return loader_size(self.batch_size, self.device)

    def dataset(self, rows: Rows, *, augment: bool = False, hold: str = "heard") -> AudioDataset:
        """The recordings of these rows; the first is read now, so that a wrong folder shows.

        `hold` says what of long ones is held, as in `AudioDataset`, unless it is to `augment` and crops them at random.
        """
        conf = self.audio.conf()
        if augment:
            conf |= {key: self.augmentation[name] for name, key in _WAVEFORM.items()}
            hold = "stretch" if self.crop == "random" else hold
        kind = SpectrogramDataset if self.audio.spectrograms else AudioDataset
        data = kind(
            rows.frame,
            [],
            conf,
            self.recordings,
            librosa=self.librosa,
            with_fbank=False,
            seed=self.seed,
            hold=hold,
        )
        data.labels, data.targets = rows.labels, rows.outputs
        data.drawn = rows.drawn(self.seed) if augment else None
        if self.on_bad_audio == "error" and len(rows.frame):
            next(iter(loader(data, batch_size=1)))
        data.judges, data.refuses_damage = True, self.on_bad_audio == "error"
        return data

    def load(self, data: Any, *, is_part: bool = False, **how: Any) -> Loader:
        """The batches of a data set; `how` as `loader` takes it."""
        return loader(
            data,
            num_workers=self.num_workers,
            on_bad_audio=self.on_bad_audio,
            report=self.skipped,
            note=self.skipped.add_findings,
            is_part=is_part or self.is_part,
            context=None if self.worker_start == "auto" else self.worker_start,
            **how,
        )

    def prepare(self, *, augment: bool = False, rounding: Callable[[int], int] | None = None) -> Prepare:
        """Waveforms -> fbank on the device; spectrogram augmentation and mixup only for training.

        `rounding` is that of the model, for its own lengths of clips.
        """
        amounts = {name: self.augmentation[name] for name in _BATCH} if augment else {}
        if self.plain is None:
            return Prepare(self.audio.frontend(), rounding=rounding, **amounts).to(self.device)
        frontend, alters = self.audio.frontend(), augment and self._alters
        return MeasuringPrepare(self.plain, frontend, alters=alters, rounding=rounding, **amounts).to(self.device)

    @property
    def _alters(self) -> bool:
        """Whether training hears clips otherwise than they are."""
        return self.crop == "random" or any(self.augmentation[name] for name in _ALTERING)

    def row_batches(self, source: Rows, rounding: Callable[[int], int] | None = None) -> RowBatches:
        """The batches of these rows, with their beginnings, or where they are heard whole with all their windows."""
        prepare, size = self.prepare(rounding=rounding), self.loader_size
        grouping = Grouping.of(prepare, size)
        if self.is_whole:
            data = self.window_dataset(source)
            return RowBatches(partial(self.windows, data), len(data), 1, prepare, grouping, "recording")
        data = self.dataset(source)

        def batches(start: int, stop: int) -> Iterable[Batch]:
            return self.load(data, batch_size=self.loader_size, start=start, stop=stop)

        return RowBatches(batches, math.ceil(len(data) / size), size, prepare, grouping)

    @property
    def is_whole(self) -> bool:
        """Whether recordings are scored and embedded whole, in windows."""
        return self.audio.window_overlap is not None

    def window_dataset(self, rows: Rows) -> AudioDataset:
        """The recordings of these rows, to be cut into windows; a clip_length bounds those, as in `predict`."""
        return replace(self, audio=replace(self.audio, clip_length=0.0)).dataset(rows, hold="windows")

    def windows(self, data: AudioDataset, start: int, stop: int, **how: Any) -> Iterable[Batch]:
        """Batches of the windows of recordings from one number to another, those that `predict` cuts."""
        audio = self.audio
        cutter = Cutter.of(audio.frontend(), audio.window_overlap or 0.0, most_seconds=audio.clip_length)
        one_by_one = self.load(data, batch_size=1, start=start, stop=stop, **how)
        return window_batches(one_by_one, cutter, self.loader_size)
