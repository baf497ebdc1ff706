"""Measure the mean and standard deviation of a data set's log-mel values, to normalise by: `ssast stats`.

Shapes: B clips, T frames, F mel bins.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from tqdm import tqdm

from ssast.data.tables.splits import read_split
from ssast.errors import UserError
from ssast.options.options import SPECS, Options
from ssast.options.record import write_mapping
from ssast.runs.batches import ClipReader
from ssast.runs.context import RunContext, say, split_place
from ssast.runs.models import audio_settings
from ssast.runs.output.folder import fingerprint, open_folder
from ssast.runs.output.notes import note_recordings
from ssast.runs.rows import Rows
from ssast.runs.wrapping.wrapper import Mode

STATS = "stats.yaml"
_SOUND = ("resample_rate", "reduce", "clip_length", "num_mel_bins", "target_length", "lib")


@dataclass(frozen=True)
class Moments:
    """Count, mean and sum of squared differences from it, of numbers that are no longer there."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0

    @classmethod
    def of(cls, numbers: torch.Tensor) -> "Moments":
        """Compute the moments of the numbers of a tensor, in float64."""
        wide = numbers.double()
        return cls(wide.numel(), float(wide.mean()), float(wide.var(correction=0) * wide.numel()))

    def __add__(self, other: "Moments") -> "Moments":
        """Both together, without the loss of digits of a plain sum of squares (Chan, Golub and LeVeque 1979)."""
        count = self.count + other.count
        if not count:
            return self
        step = other.mean - self.mean
        squares = self.squares + other.squares + step * step * self.count * other.count / count
        return Moments(count, self.mean + step * other.count / count, squares)

    @property
    def std(self) -> float:
        """The standard deviation, of the numbers as a population."""
        return math.sqrt(self.squares / self.count) if self.count else 0.0


@Mode
def stats(options: Options) -> Path:
    """Measure mean and std of the log-mel values of train.csv, or of one csv; the path of stats.yaml.

    Takes the command line's options by name.
    """
    context = RunContext.of(options)
    context.skipped.keeps_lengths = False
    paths = context.paths
    place = split_place(paths, "train")
    source = Rows(read_split(place), [], place)
    folder = open_folder(context.record, clips={"stats": len(source.frame)}, files=fingerprint(place), trains=False)
    own, padding, used = Moments(), Moments(), 0
    # With these two the normalisation changes nothing.
    audio = replace(audio_settings(options), mean=0.0, std=0.5)
    for fbank_TF in _fbanks(ClipReader.of(context, audio), source):
        own += Moments.of(fbank_TF)
        padding += Moments((options.target_length - len(fbank_TF)) * options.num_mel_bins)
        used += 1
    note_recordings(context.record, context.skipped, folder, source.frame.index)
    if not used or own.std == 0:
        what = "nothing but silence" if used else "no recording that can be used"
        raise UserError(f"{source.source} names {what}; look into it with `ssast check`.", path=source.source)
    given = {name: value for name in _SOUND if (value := getattr(options, name)) != SPECS[name].default}
    _write(folder / STATS, given, {"own": own, "padded": own + padding}, options.num_mel_bins, used)
    frames = own.count // options.num_mel_bins
    say(f"dataset_mean {own.mean:.7f}, dataset_std {own.std:.7f}, of {frames} frames of {used} clips")
    say(f"in {folder / STATS}; the next run takes them with --config {folder / STATS}")
    return folder / STATS


def _fbanks(reader: ClipReader, source: Rows) -> Iterator[torch.Tensor]:
    """The raw log-mel (T, F) of each recording as a model would see it, without the padding."""
    prepare, data = reader.prepare(), reader.dataset(source)
    with tqdm(total=len(data), desc="stats", unit="clip", dynamic_ncols=True) as bar:
        for batch in reader.load(data, batch_size=reader.batch_size):
            if batch["uid"]:
                made = prepare(batch)
                yield from (
                    fbank_TF[:frames]
                    for fbank_TF, frames in zip(made["fbank"].cpu(), made["frames"].tolist(), strict=True)
                )
            bar.update(len(batch["uid"]))


def _write(path: Path, given: Mapping[str, object], moments: dict[str, Moments], mel_bins: int, clips: int) -> None:
    """Write stats.yaml: the two options, the audio options for which they hold, and what else was measured."""
    own, padded = moments["own"], moments["padded"]
    record = {
        "clips": clips,
        "frames": own.count // mel_bins,
        "with_padding": {"mean": padded.mean, "std": padded.std},
    }
    sections: dict[str, Mapping[str, object]] = {
        "Of the clips' own frames, padding left out": {"dataset_mean": own.mean, "dataset_std": own.std},
        "What they were measured with": given,
        "Not options, and not read": {"record": record},
    }
    comment = f"Mean and standard deviation of log-mel values; use them with `--config {path.name}`."
    write_mapping(path, comment, {title: values for title, values in sections.items() if values})
