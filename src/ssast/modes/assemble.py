"""Checked options in; the parts that every mode is made of out: rows, data sets, batches, models, run folders."""

import math
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from accelerate import Accelerator
from numpy.typing import NDArray

from ssast import veil
from ssast.audio.alterations import ALTERATIONS
from ssast.audio.frontend import Frontend
from ssast.data.balance import clip_weights
from ssast.data.dataset import AudioDataset
from ssast.data.loader import loader
from ssast.data.prepare import Prepare
from ssast.data.recordings import check_uid
from ssast.data.splits import check_targets, find_split, read_labels, read_split, some, split_validation, targets
from ssast.data.storage import Location, forget
from ssast.engine import crew
from ssast.engine.hardware import engine
from ssast.engine.infer import loader_size
from ssast.engine.optimise import Recipe
from ssast.engine.train import Feed
from ssast.errors import UserError
from ssast.modes.declare import specs
from ssast.modes.left_out import JOURNAL, BadAudio
from ssast.modes.options import Options
from ssast.modes.places import at, recordings
from ssast.modes.settle import resolve

Settings = dict[str, Any]


@dataclass(frozen=True)
class Rows:
    """The rows of a csv that a mode works on, with the labels that are asked of them."""

    frame: pd.DataFrame
    labels: list[str]
    source: Location

    @property
    def targets(self) -> NDArray[np.float64]:
        """The rows' labels as numbers (rows, labels), NaN where a cell is empty."""
        return targets(self.frame, self.labels).numpy().astype(np.float64)


@dataclass(frozen=True)
class Work:
    """What a mode carries along: its options, the engine they lead to, and the recordings that it leaves out."""

    options: Options
    accelerator: Accelerator
    bad: BadAudio

    @classmethod
    def of(cls, options: Options | None, mode: str, overrides: dict[str, Any]) -> "Work":
        """The work of a mode, its options checked; UserError where they do not go together."""
        resolved = resolve(options, mode=mode, **overrides)
        forget()
        return cls(resolved, engine(resolved.device, resolved.precision, resolved.threads), BadAudio())


def say(text: str) -> None:
    """One line to the user, from the one process that speaks."""
    if crew.is_main():
        print(text, flush=True)


def training_rows(options: Options, labels: list[str]) -> tuple[Rows, Rows]:
    """train.csv, split into what is trained on and what is held out to choose the best epoch."""
    root = needed(options.data_split_root, "data_split_root", "a folder with train.csv")
    place = find_split(at(options, root), "train")
    if options.mode == "finetune" and str(place) == str(Location(root)):
        raise UserError(
            f"--data_split_root {root} is one csv; give the folder with train.csv and test.csv, or --folds 5", path=root
        )
    frame = read_split(place)
    check_targets(frame, labels, options.loss, place)
    for label in labels:
        if frame[label].isna().all():
            raise UserError(
                f"the label {label!r} is empty in every row of {place}; fill it in, or mend --label_txt.", path=place
            )
        if options.loss == "BCE" and frame[label].dropna().nunique() == 1:
            say(f"Careful: the label {label!r} has one answer in every row of {place}, so it cannot be learned.")
    _check_recordings(options, frame, place)
    train, held_out, sentence = split_validation(frame, options.val_share, options.seed)
    say(sentence)
    return Rows(train, labels, place), Rows(held_out, labels, place)


def rows(options: Options, labels: list[str], loss: str, *, in_part: bool = False) -> Rows:
    """The test.csv of the folder, or the single csv, that --data_split_root gives.

    `in_part` takes those of the labels that it has, one at least, and says which it lacks.
    """
    root = needed(options.data_split_root, "data_split_root", "a folder with test.csv, or a csv")
    place = find_split(at(options, root), "test")
    frame = read_split(place)
    if in_part:
        labels = _labels_there(frame, labels, place)
    check_targets(frame, labels, loss, place)
    _check_recordings(options, frame, place)
    return Rows(frame, labels, place)


def _labels_there(frame: pd.DataFrame, labels: list[str], place: Location) -> list[str]:
    """Those of a model's labels that are columns, the others said; UserError where none is."""
    there = [label for label in labels if label in frame.columns]
    columns = [str(name) for name in frame.columns]
    if labels and not there:
        raise UserError(
            f"none of the model's labels ({some(labels)}) is a column of {place}, "
            f"which has {some(columns) or 'only uid'}; give its columns the names of these labels.",
            path=place,
        )
    for label in (label for label in labels if label not in there):
        alike = [name for name in columns if name.casefold() == label.casefold()]
        hint = f" (it has {alike[0]}, which differs in capital letters)" if alike else ""
        say(f"not scored: {label}, since {place} has no such column{hint}")
    return there


def _check_recordings(options: Options, frame: pd.DataFrame, source: Location) -> None:
    """UserError where the folder of recordings, or that of some uid, is missing: known in a moment, before hours."""
    root = recordings(options)
    if not root.is_dir():
        what = "is a file, not a folder" if root.exists() else "does not exist"
        raise UserError(f"the data folder {root} {what}; check --prefix, --study and --bucket_name.", path=root)
    for uid in frame.index:
        check_uid(uid)
    there = {place.name for place in root.list()}
    # Names may be spelled otherwise on a disk that does not tell capitals from small letters.
    missing = [uid for uid in frame.index if uid not in there and not (root.is_local and (root / uid).exists())]
    if len(missing) == len(frame):
        raise UserError(f"no uid of {source} has a folder in {root}; check --prefix and --study.", path=[source, root])
    if missing and options.on_bad_audio == "error":
        raise UserError(
            f"{len(missing)} of the {len(frame)} uids of {source} have no folder in {root}, the first is {missing[0]}; "
            "put the recordings there, remove the rows, or pass --on_bad_audio skip.",
            uid=missing,
            path=[source, root],
        )


def needed(value: str | None, name: str, what: str) -> str:
    """The value of an option that the mode cannot do without; UserError where it is missing."""
    if not value:
        raise UserError(f"--{name} is missing; give {what}.")
    return value


def target_labels(options: Options, own: list[str] | None = None) -> list[str]:
    """The labels of --label_txt; for a fine-tuned model its own, of which a file that was asked for may name some."""
    path = options.label_txt
    if own is not None and "label_txt" not in options.given:
        return own
    labels = read_labels(at(options, needed(path, "label_txt", "a text file with one label a line")))
    if unknown := [label for label in labels if own is not None and label not in own]:
        raise UserError(
            f"{path} names {', '.join(unknown)}, but the model was fine-tuned for {', '.join(own or [])}; "
            "name some of these in that file, or leave --label_txt out.",
            path=path,
        )
    return labels


def audio_settings(options: Options) -> Settings:
    """How recordings become the model's input: kept in the model folder, so that every later mode does the same."""
    return {
        "sample_rate": options.resample_rate,
        "num_mel_bins": options.num_mel_bins,
        "target_length": options.target_length,
        "mean": options.dataset_mean,
        "std": options.dataset_std,
        "reduce": options.reduce,
        "clip_length": options.clip_length,
    }


OPTION_OF = {"sample_rate": "resample_rate", "mean": "dataset_mean", "std": "dataset_std"}


def model_settings(options: Options, kept: Settings | None) -> Settings:
    """The settings kept with a fine-tuned model, or else those of the options; says which given options give way."""
    asked = audio_settings(options)
    if not kept:
        return asked
    for name, value in kept.items():
        option = OPTION_OF.get(name, name)
        if option in options.given and asked[name] != value:
            say(f"--{option} {asked[name]} is left aside: the model was fine-tuned with {value}")
    return asked | kept


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


def feed(work: Work, train: Rows, held_out: Rows, settings: Settings) -> Feed:
    """The batches of a training run."""
    options, share, how = work.options, (crew.rank(), crew.size()), loading(work)
    state = Path(options.exp_dir) / "checkpoints"
    goes_on = options.resume != "never" and (state / "last.pt").exists()
    work.bad.remember(state / JOURNAL, goes_on=goes_on)
    drawn: Settings = {"shuffle_seed": options.seed, "piece_size": options.micro_batch}
    if options.balanced:
        drawn["weights"] = clip_weights(train.targets).tolist()
    training = loader(
        dataset(options, train, settings, augment=True), batch_size=options.batch_size, share=share, **drawn, **how
    )
    validation = loader(
        dataset(options, held_out, settings, augment=False),
        batch_size=options.batch_size * crew.size(),
        piece_size=options.batch_size,
        share=share,
        **how,
    )
    return Feed(
        train=training.at,
        validation=lambda: validation,
        steps=math.ceil(len(train.frame) / options.batch_size),
        prepare=prepare(options, settings, work.accelerator.device, augment=True),
        pieces=training.batches.each,
    )


def loading(work: Work) -> Settings:
    """How every loader of a mode reads."""
    options = work.options
    return {
        "num_workers": options.num_workers,
        "on_bad_audio": options.on_bad_audio,
        "report": work.bad,
        "note": work.bad.doubt,
        "context": None if options.worker_start == "auto" else options.worker_start,
    }


def row_batches(
    work: Work, source: Rows, settings: Settings
) -> tuple[Callable[[int, int], Iterable[dict[str, Any]]], int, Prepare]:
    """The batches of these rows in their order, from one up to another; how many in all; and what prepares them."""
    options, device = work.options, work.accelerator.device
    data = dataset(options, source, settings, augment=False)
    size = loader_size(options.batch_size, device)

    def batches(start: int, stop: int) -> Iterable[dict[str, Any]]:
        return loader(data, batch_size=size, start=start, stop=stop, **loading(work))

    return batches, math.ceil(len(data) / size), prepare(options, settings, device, augment=False)


def recipe(options: Options) -> Recipe:
    """How to train, of all the options."""
    names = (field for field in Recipe.__dataclass_fields__)
    return Recipe(**{name: getattr(options, name) for name in names})


def data_name(options: Options, source: Location) -> str:
    """--dataset, or the lowest folder of data_split_root, with the file's own name where that is one csv."""
    if options.dataset:
        return options.dataset
    root = Location(options.data_split_root or "")
    name = Location(os.path.abspath(str(root))).name if root.is_local else root.name
    if str(root) == str(source):
        stem = root.name.rsplit(".", 1)[0]
        above = Location(os.path.abspath(str(root))).parent if root.is_local else root.parent
        name = f"{above.name}_{stem}" if above.name else stem
    return veil.shown_name("dataset", name)
