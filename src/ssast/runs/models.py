"""Checked options in; the model that a mode trains or uses out, and the ways in which it trains and is kept."""

import dataclasses
import os
import shutil
from pathlib import Path

from ssast.data.tables.balance import positive_weights
from ssast.engine import distributed
from ssast.engine.memory_probe import clips_that_fit
from ssast.errors import UserError
from ssast.model.checkpoints.legacy import is_legacy
from ssast.model.checkpoints.model_folder import CONFIG
from ssast.model.classification import SSASTForAudioClassification
from ssast.model.encoder import SSASTEncoder
from ssast.model.lora import add_lora
from ssast.model.pretraining import SSASTForPreTraining
from ssast.options.options import Options
from ssast.runs.audio_settings import OPTION_OF, Settings
from ssast.runs.context import RunContext, needed, say
from ssast.runs.legacy_models import legacy_model
from ssast.runs.output.folder import kept_pieces
from ssast.runs.paths import local_model
from ssast.runs.rows import Rows
from ssast.safe_reading import json_file


def pretraining_model(options: Options, settings: Settings) -> SSASTForPreTraining:
    """A new model, or one to go on with where --pretrained_mdl_path was given."""
    kept: Settings = {
        "objective": options.task,
        "mask_patch": options.mask_patch,
        "cluster_factor": options.cluster_factor,
        "mask_padding": options.mask_padding,
        "num_mel_bins": options.num_mel_bins,
        "target_length": options.target_length,
        "frontend": settings,
    }
    size: Settings = {name: getattr(options, name) for name in ("model_size", "fshape", "tshape")}
    if options.pretrained_mdl_path is not None:
        size = {name: value for name, value in size.items() if name in options.given}
        with local_model(options, options.pretrained_mdl_path) as path:
            return SSASTForPreTraining.from_published(path, **size, **kept)
    return SSASTForPreTraining(**size, **kept, seed=options.seed)


def classification_model(options: Options, labels: list[str], settings: Settings) -> SSASTForAudioClassification:
    """A pretrained encoder, or random weights with --pretrained_mdl_path none, with a new head for these labels."""
    names = ("task", "fstride", "tstride", "layer", "weighted", "freeze", "activation", "final_dropout", "layernorm")
    kept: Settings = {name: getattr(options, name) for name in (*names, "target_length", "mask_padding", "loss")}
    kept |= {"num_labels": len(labels), "labels": labels, "frontend": settings, "seed": options.seed}
    kept |= {"num_mel_bins": options.num_mel_bins}
    size: Settings = {name: getattr(options, name) for name in ("model_size", "fshape", "tshape")}
    if options.pretrained_mdl_path is None:
        return SSASTForAudioClassification(**size, **kept)
    size = {name: value for name, value in size.items() if name in options.given}
    with local_model(options, options.pretrained_mdl_path) as path:
        model = SSASTForAudioClassification.from_published(path, **size, **kept)
        _say_unlike(options, path, settings)
    return model


def _say_unlike(options: Options, path: str, settings: Settings) -> None:
    """Name what an own pretrained model heard otherwise than this run will, where nobody asked for that."""
    config = Path(path) / CONFIG
    before = json_file(config).get("frontend") if config.is_file() else None
    unlike = {
        OPTION_OF.get(name, name): (value, settings[name])
        for name, value in (before or {}).items()
        if value != settings.get(name, value) and OPTION_OF.get(name, name) not in options.given
    }
    if unlike:
        there, here = (", ".join(f"--{option} {both[at]}" for option, both in unlike.items()) for at in (0, 1))
        say(f"note: {path} was pretrained with {there}, and this run has {here}; give the same unless you mean that")


def finetuned_model(options: Options) -> SSASTForAudioClassification:
    """The model of --finetuned_mdl_path; --mask_padding, where it is given, goes before its own."""
    model = _finetuned(options)
    if "mask_padding" in options.given:
        model.mask_padding = options.mask_padding
    return model


def _finetuned(options: Options) -> SSASTForAudioClassification:
    address = needed(options.finetuned_mdl_path, "finetuned_mdl_path", "the folder that fine-tuning wrote")
    with local_model(options, address) as path:
        if is_legacy(path):
            older, sentence = legacy_model(options, path)
            say(sentence)
            return older
        folder = os.path.dirname(path) if os.path.basename(path) == "model.safetensors" else path
        if not os.path.exists(folder):
            # from_pretrained would take runs/frist for a name on the hub, and try for half a minute.
            raise UserError(
                f"{folder} does not exist; give --finetuned_mdl_path the folder that finetune wrote.", path=folder
            )
        return SSASTForAudioClassification.from_pretrained(folder)


def trained_parts(options: Options, model: SSASTForAudioClassification, train: Rows) -> None:
    """Make the model learn what the options ask for beside the head, and count rare labels as they ask."""
    if options.unfreeze_last:
        model.unfreeze_last(options.unfreeze_last)
    if options.lora_rank:
        add_lora(model.v, rank=options.lora_rank, alpha=options.lora_alpha, seed=options.seed)
    if options.pos_weight:
        weights = positive_weights(train.targets)
        shown = ", ".join(f"{label} {weight:.3g}" for label, weight in zip(train.labels, weights, strict=True))
        say(f"each yes counts: {shown}")
        model.weigh_positives(weights.tolist())


def in_pieces(context: RunContext, model: SSASTForPreTraining | SSASTForAudioClassification) -> RunContext:
    """The work with the size of a batch's pieces settled: each process its share, on a GPU as much as it can hold.

    A run that goes on keeps its size, so that it may go on with other GPUs.
    """
    if context.options.micro_batch is not None:
        return context
    own = kept_pieces(context.options) or -(-context.options.batch_size // distributed.size())
    clips = clips_that_fit(model, own, context.accelerator) if context.accelerator.device.type == "cuda" else own
    if clips < own:
        say(f"the GPU holds {clips} clips at once: a batch goes through the model in pieces (--micro_batch {clips})")
    return dataclasses.replace(context, options=dataclasses.replace(context.options, micro_batch=clips))


def compiled(options: Options, encoder: SSASTEncoder) -> None:
    """With --compile, the encoder's blocks compiled when they first run; UserError where there is no compiler."""
    if not options.compile:
        return
    if not any(map(shutil.which, ("g++", "clang++", "c++"))):
        raise UserError("--compile True needs a C++ compiler, and none was found; install g++, or leave it out.")
    for block in encoder.blocks:
        block.compile()


def save(model: SSASTForPreTraining | SSASTForAudioClassification, folder: Path) -> None:
    """The model in its folder, written by one process and seen by all."""
    if distributed.is_main():
        model.save_pretrained(folder)
    distributed.wait()
