"""Settle what a model is and how it hears, make the one that a mode trains or uses, and save it in its folder."""

import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ssast.data.prepare import OPTION_OF, AudioSettings
from ssast.data.tables.targets import positive_weights
from ssast.engine import distributed
from ssast.engine.hardware import Engine, clips_that_fit, pays_to_compile
from ssast.errors import UserError
from ssast.model.checkpoints.legacy import is_legacy
from ssast.model.checkpoints.model_folder import CONFIG
from ssast.model.classification import SSASTForAudioClassification
from ssast.model.label_kinds import SCALE, LabelKinds
from ssast.model.pretraining import SSASTForPreTraining
from ssast.options.options import Options
from ssast.options.record import RunRecord
from ssast.options.records import MODES
from ssast.runs.context import Paths, needed, say
from ssast.runs.legacy_models import legacy_model
from ssast.runs.output.folder import kept_pieces
from ssast.runs.rows import Rows
from ssast.safe_reading import json_file

_WINDOWS = "window_overlap"
Model = SSASTForPreTraining | SSASTForAudioClassification
_SIZE = ("model_size", "fshape", "tshape")
_HEAD = ("task", "fstride", "tstride", "layer", "weighted", "freeze", "activation", "final_dropout", "layernorm")


@dataclass(frozen=True)
class ModelSettings:
    """What the options say of a model; `given` holds the names of those that were asked for."""

    model_size: str
    fshape: int
    tshape: int
    fstride: int | None
    tstride: int | None
    task: str
    layer: int
    weighted: bool
    freeze: bool
    activation: str
    final_dropout: float
    layernorm: bool
    mask_padding: bool
    loss: str
    mask_patch: int
    cluster_factor: int
    mask_layer: int
    seed: int
    label_txt: str | None
    given: frozenset[str]

    @classmethod
    def of(cls, options: Options) -> "ModelSettings":
        """Take the settings from checked options."""
        return cls(**{name: getattr(options, name) for name in cls.__dataclass_fields__})

    def values(self, *names: str, only_given: bool = False) -> dict[str, Any]:
        """Some of them by name."""
        return {name: getattr(self, name) for name in names if name in self.given or not only_given}


def audio_settings(options: Options) -> AudioSettings:
    """How recordings become the model's input: kept in the model folder, so that every later mode does the same."""
    names = [name for name in AudioSettings.__dataclass_fields__ if name not in (_WINDOWS, "spectrograms")]
    sound = AudioSettings(**{name: getattr(options, OPTION_OF.get(name, name)) for name in names})
    in_windows = options.whole_recording and "whole_recording" in MODES[options.mode].options
    return replace(sound, window_overlap=options.window_overlap) if in_windows else sound


def model_settings(
    asked: AudioSettings, model: Model, given: frozenset[str] = frozenset(), *, overlap: float | None = None
) -> AudioSettings:
    """The settings kept with a fine-tuned model, or else those asked for; says which `given` options give way.

    A model that was saved from Python without a frontend still has the size of its input.
    Whether recordings are heard whole, and with which `overlap`, is asked of the model too, but what is given wins.
    """
    size = {"target_length": model.v.target_length, "num_mel_bins": model.v.num_mel_bins}
    if not model.frontend:
        say(
            f"the model does not say how it hears: it gets {asked.sample_rate} Hz, less {asked.mean:g}, over "
            f"2 x {asked.std:g}; check --resample_rate, --dataset_mean and --dataset_std"
        )
    kept = AudioSettings.kept({**asked.entries(), **size, **(model.frontend or {})})
    for name, value in kept.entries().items():
        option = OPTION_OF.get(name, name)
        if name != _WINDOWS and option in given and getattr(asked, name) != value:
            say(f"--{option} {getattr(asked, name)} is left aside: the model was fine-tuned with {value}")
    in_windows = asked if "whole_recording" in given else kept
    if in_windows.window_overlap is None:
        return replace(kept, window_overlap=None)
    return replace(kept, window_overlap=kept.share(overlap if _WINDOWS in given else None))


def pretraining_model(paths: Paths, settings: ModelSettings, audio: AudioSettings) -> SSASTForPreTraining:
    """A new model, or one to go on with where --pretrained_mdl_path was given."""
    # What goes on from a model keeps its own depth of injection, unless another is asked for.
    depth = settings.values("mask_layer", only_given=paths.pretrained_mdl_path is not None)
    kept = (
        depth
        | settings.values("mask_patch", "cluster_factor", "mask_padding")
        | {
            "objective": settings.task,
            "num_mel_bins": audio.num_mel_bins,
            "target_length": audio.target_length,
            "frontend": audio.entries(),
        }
    )
    if paths.pretrained_mdl_path is None:
        return SSASTForPreTraining(**settings.values(*_SIZE), **kept, seed=settings.seed)
    with paths.local_model(paths.pretrained_mdl_path) as path:
        return SSASTForPreTraining.from_published(path, **settings.values(*_SIZE, only_given=True), **kept)


def classification_model(
    paths: Paths, settings: ModelSettings, kinds: LabelKinds, audio: AudioSettings
) -> SSASTForAudioClassification:
    """A pretrained encoder, or random weights with --pretrained_mdl_path none, with a new head for these labels."""
    kept = settings.values(*_HEAD, "mask_padding", "seed") | {"loss": kinds.loss, "kinds": kinds.entries()}
    kept |= {"target_length": audio.target_length, "num_mel_bins": audio.num_mel_bins, "frontend": audio.entries()}
    kept |= {"num_labels": len(kinds.names), "labels": kinds.names}
    if paths.pretrained_mdl_path is None:
        return SSASTForAudioClassification(**settings.values(*_SIZE), **kept)
    with paths.local_model(paths.pretrained_mdl_path) as path:
        model = SSASTForAudioClassification.from_published(path, **settings.values(*_SIZE, only_given=True), **kept)
        _say_unlike(path, audio, settings.given)
    return model


def begin_cuts(model: SSASTForAudioClassification, train: Rows) -> None:
    """Let the cuts of the model's scales start where the training rows have them: far from there they need long."""
    outputs_RW, shares = train.outputs, []
    for label, own in zip(train.kinds.labels, train.kinds.slices, strict=True):
        if label.kind == SCALE:
            known_Rw = outputs_RW[:, own][~outputs_RW[:, own.start].isnan()]
            shares.append(((known_Rw.sum(dim=0) + 0.5) / (len(known_Rw) + 1)).tolist())
    model.begin_at(shares)


def _say_unlike(path: str, audio: AudioSettings, given: frozenset[str]) -> None:
    """Say which audio settings of an own pretrained model differ from those of this run without being asked for."""
    config = Path(path) / CONFIG
    before = json_file(config).get("frontend") if config.is_file() else None
    now = audio.entries()
    unlike = {
        OPTION_OF.get(name, name): (value, now[name])
        for name, value in (before or {}).items()
        if value != now.get(name, value) and OPTION_OF.get(name, name) not in given
    }
    if unlike:
        there, here = (", ".join(f"--{option} {both[at]}" for option, both in unlike.items()) for at in (0, 1))
        say(f"note: {path} was pretrained with {there}, and this run has {here}; give the same unless you mean that")


def finetuned_model(
    paths: Paths, settings: ModelSettings, audio: AudioSettings, *, needs_labels: bool = False
) -> SSASTForAudioClassification:
    """The model of --finetuned_mdl_path; --mask_padding, where it is given, goes before its own.

    `settings` and `audio` are for a file of the seed's that does not say what it is, and so are the labels of
    --label_txt, where that is given or the mode `needs_labels`.
    """
    address = needed(paths.finetuned_mdl_path, "finetuned_mdl_path", "the folder that fine-tuning wrote")
    with paths.local_model(address) as path:
        model = _finetuned(path, settings, audio, needs_labels=needs_labels)
    if "mask_padding" in settings.given:
        model.mask_padding = settings.mask_padding
    return model


def _finetuned(
    path: str, settings: ModelSettings, audio: AudioSettings, *, needs_labels: bool = False
) -> SSASTForAudioClassification:
    if is_legacy(path):
        return read_finetuned(path, settings, audio, needs_labels=needs_labels)
    folder = os.path.dirname(path) if os.path.basename(path) == "model.safetensors" else path
    if not os.path.exists(folder):
        # from_pretrained would take runs/frist for a name on the hub, and try for half a minute.
        raise UserError(
            f"{folder} does not exist; give --finetuned_mdl_path the folder that finetune wrote.", path=folder
        )
    return SSASTForAudioClassification.from_pretrained(folder)


def read_finetuned(
    path: str, settings: ModelSettings, audio: AudioSettings, *, needs_labels: bool = False
) -> SSASTForAudioClassification:
    """The model of a `.pt` of the seed's; what it was taken for is said."""
    values = settings.values(*_HEAD, "loss", "mask_padding")
    label_txt = settings.label_txt if needs_labels or "label_txt" in settings.given else None
    model, sentence = legacy_model(path, values, audio, label_txt, settings.given)
    say(sentence)
    return model


def weigh_rare_labels(model: SSASTForAudioClassification, train: Rows) -> None:
    """Let each label's yes count as its rarity asks for."""
    weights = positive_weights(train.targets)
    shown = ", ".join(f"{label} {weight:.3g}" for label, weight in zip(train.labels, weights, strict=True))
    say(f"each yes counts: {shown}")
    model.weigh_positives(weights.tolist())


def piece_size(record: RunRecord, model: Model, engine: Engine) -> int:
    """How many clips of a batch go through the model at once: each process its share, on a GPU what it can hold.

    A run that goes on keeps its size, so that it may go on with other GPUs.
    """
    if record.values["micro_batch"] is not None:
        return int(record.values["micro_batch"])
    own = kept_pieces(record) or -(-record.values["batch_size"] // distributed.size())
    clips = clips_that_fit(model, own, engine) if engine.device.type == "cuda" else own
    if clips < own:
        say(f"the GPU holds {clips} clips at once: a batch goes through the model in pieces (--micro_batch {clips})")
    return clips


def compile_blocks(model: Model, wish: bool | str, engine: Engine, steps: int = 0) -> None:
    """Let the encoder's blocks be compiled when they first run, where that is wished or pays in so many steps.

    The blocks are alike, so one compilation serves all. UserError where it was wished and there is no compiler.
    """
    if not pays_to_compile(wish, engine, steps):
        return
    if not any(map(shutil.which, ("g++", "clang++", "c++"))):
        if wish == "auto":
            return
        raise UserError("--compile True needs a C++ compiler, and none was found; install g++, or leave it out.")
    for block in model.v.blocks:
        # Clips at their own length make sizes vary from batch to batch; else torch learns which ones do.
        block.compile(dynamic=True if model.mask_padding else None)


def save(model: Model, folder: Path) -> None:
    """The model in its folder, written by one process and seen by all."""
    if distributed.is_main():
        model.save_pretrained(folder)
    distributed.wait()
