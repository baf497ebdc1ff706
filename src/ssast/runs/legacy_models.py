"""Load an older fine-tuned `.pt` with the options that its args.pkl remembers."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ssast.data.prepare import AudioSettings
from ssast.data.tables.targets import read_labels
from ssast.errors import UserError
from ssast.model.checkpoints.config_entries import check_labels
from ssast.model.checkpoints.legacy import ARGUMENTS, read_arguments, read_legacy
from ssast.model.classification import SSASTForAudioClassification
from ssast.options.checks import FINETUNING_TASKS
from ssast.options.options import SPECS

_MODEL = ("task", "layer", "weighted", "freeze", "activation", "final_dropout", "loss", "mask_padding")
PATCHES = ("fstride", "tstride", "target_length", "num_mel_bins")
_SOUND = {
    "resample_rate": "sample_rate",
    "num_mel_bins": "num_mel_bins",
    "target_length": "target_length",
    "dataset_mean": "mean",
    "dataset_std": "std",
    "reduce": "reduce",
    "clip_length": "clip_length",
}
_SHOWN = ("task", "layer", "weighted", "target_length", "resample_rate", "dataset_mean", "dataset_std", "loss")


def legacy_model(
    path: str, settings: Mapping[str, Any], audio: AudioSettings, label_txt: str | None, given: frozenset[str]
) -> tuple[SSASTForAudioClassification, str]:
    """The model of a `.pt` that the seed's program wrote, and the sentence that says whose options it was made with.

    `settings` and `audio` serve where its args.pkl says nothing, and so do the labels of `label_txt`. Which settings a
    user has `given` goes before what the file tells by itself.
    """
    record = Path(path).parent / ARGUMENTS
    kept = remembered_arguments(record) if record.exists() else {}
    asked = {**settings, **{option: getattr(audio, name) for option, name in _SOUND.items()}}
    values = {name: kept.get(name, asked[name]) for name in {*_MODEL, *PATCHES, *_SOUND}}
    if not kept and "weighted" not in given:
        values["weighted"] = None  # the file tells
    made: dict[str, object] = {name: values[name] for name in (*_MODEL, *PATCHES)}
    made["frontend"] = {name: values[option] for option, name in _SOUND.items()}
    made["labels"] = kept.get("labels") or (read_labels(label_txt) if label_txt else None)
    model = SSASTForAudioClassification.from_checkpoint(read_legacy(path, made))
    values["weighted"] = model.weighted
    return model, _sentence(path, record if kept else None, values)


def remembered_arguments(record: Path) -> dict[str, Any]:
    """Those of the values in an args.pkl that a model depends on, each checked as an option is, and its labels."""
    values = read_arguments(record)
    names = [name for name in (*_MODEL, *_SOUND, *PATCHES) if values.get(name) is not None]
    kept = {name: SPECS[name].check(values[name], f"{record}: {name}") for name in names}
    if kept.get("task", "ft_cls") not in FINETUNING_TASKS:
        raise UserError(
            f"{record}: task is {kept['task']}, expected {' or '.join(FINETUNING_TASKS)}; remove the file.", path=record
        )
    labels = values.get("target_labels")
    if isinstance(labels, list) and labels and all(isinstance(label, str) for label in labels):
        check_labels(labels, str(record))
        kept["labels"] = labels
    return kept


def _sentence(path: str, record: Path | None, values: Mapping[str, object]) -> str:
    shown = ", ".join(f"{name} {values[name]}" for name in _SHOWN)
    if record is not None:
        return f"{os.path.basename(path)} is taken as {record} says: {shown}"
    return (
        f"warning: there is no {ARGUMENTS} beside {path}; it is taken with the current options ({shown}), "
        "and its results mean nothing if it was fine-tuned with others"
    )
