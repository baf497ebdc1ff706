"""Give the batches of a mode's rows, and what prepares them on the device."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch

from ssast.audio.alterations import ALTERATIONS
from ssast.audio.frontend import Frontend
from ssast.data.dataset import AudioDataset
from ssast.data.loader import loader
from ssast.data.prepare import Prepare
from ssast.engine.inference import loader_size
from ssast.options.declaration import specs
from ssast.options.options import Options
from ssast.runs.audio_settings import OPTION_OF, Settings
from ssast.runs.context import RunContext
from ssast.runs.paths import recordings
from ssast.runs.rows import Rows


def dataset(options: Options, rows: Rows, settings: Settings, *, augment: bool, hold: str = "heard") -> AudioDataset:
    """The recordings of these rows, altered only for training; the first is read now, so that a wrong folder shows.

    `hold` says what of long ones is held, as in `AudioDataset`.
    """
    conf = {OPTION_OF.get(name, name): value for name, value in settings.items()}
    conf |= {"mean": conf.pop("dataset_mean"), "std": conf.pop("dataset_std")}
    if augment:
        for each in ALTERATIONS:
            conf |= {each.key or each.name: getattr(options, each.name)}
            conf |= {each.amount.name: getattr(options, each.amount.name)}
    place = recordings(options)
    how: dict[str, Any] = {"librosa": options.lib, "with_fbank": False, "seed": options.seed, "hold": hold}
    data = AudioDataset(rows.frame, rows.labels, conf, place, **how)
    if options.on_bad_audio == "error" and len(rows.frame):
        next(iter(loader(data, batch_size=1)))
    data.judges = True
    return data


def prepare(options: Options, settings: Settings, device: torch.device, *, augment: bool) -> Prepare:
    """Waveforms -> fbank on the device; spectrogram augmentation and mixup only for training."""
    frontend = Frontend(
        **{name: settings[name] for name in ("sample_rate", "num_mel_bins", "target_length", "mean", "std")}
    )
    # All that alters clips and is not done to waveforms in `dataset`: what is declared and unknown here is an error.
    on_waveforms = {name for each in ALTERATIONS for name in (each.name, each.amount.name)}
    declared = [name for name, spec in specs(type(options)).items() if spec.group.alters and name not in on_waveforms]
    chance = {name: getattr(options, name) for name in declared} if augment else {}
    return Prepare(frontend, **chance).to(device)


def loading(context: RunContext) -> Settings:
    """How every loader of a mode reads."""
    options = context.options
    return {
        "num_workers": options.num_workers,
        "on_bad_audio": options.on_bad_audio,
        "report": context.skipped,
        "note": context.skipped.doubt,
        "context": None if options.worker_start == "auto" else options.worker_start,
    }


def row_batches(
    context: RunContext, source: Rows, settings: Settings
) -> tuple[Callable[[int, int], Iterable[dict[str, Any]]], int, Prepare]:
    """The batches of these rows in their order, from one up to another; how many in all; and what prepares them."""
    options, device = context.options, context.accelerator.device
    data = dataset(options, source, settings, augment=False)
    size = loader_size(options.batch_size, device)

    def batches(start: int, stop: int) -> Iterable[dict[str, Any]]:
        return loader(data, batch_size=size, start=start, stop=stop, **loading(context))

    return batches, math.ceil(len(data) / size), prepare(options, settings, device, augment=False)
