"""Convert a published or older checkpoint to a model folder, and test how closely both agree."""

import os
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from ssast.data.prepare import AudioSettings
from ssast.data.storage.atomic_writes import at_home, atomic_folder
from ssast.errors import UserError
from ssast.model import reference
from ssast.model.checkpoints.detect import FINETUNED, FOREIGN, OLDER_FILE, PUBLISHED_FILE, STATE, Detected, detect
from ssast.model.checkpoints.legacy import own_parameter_name
from ssast.model.checkpoints.model_card import PUBLIC
from ssast.model.checkpoints.published import read_checkpoint
from ssast.model.checkpoints.torch_file import load_tensors
from ssast.model.classification import SSASTForAudioClassification
from ssast.model.finite import farthest
from ssast.model.pretraining import SSASTForPreTraining
from ssast.options.options import Options
from ssast.options.record import RunRecord, public_options
from ssast.runs.context import Paths, say
from ssast.runs.models import Model, ModelSettings, audio_settings, read_finetuned
from ssast.runs.output.folder import fingerprint, versions
from ssast.runs.wrapping.wrapper import Mode

_CLIPS, _SEED = 2, 0
_CLOSE = 1e-4
"""How far outputs may be apart, as a share of the largest: float32 added up in another order stays far below."""


@dataclass(frozen=True)
class Proof:
    """How a saved model compares with the file that it was made of."""

    tensors: int
    largest: float
    of_up_to: float

    def __str__(self) -> str:
        return (
            f"{self.tensors} tensors are equal bit by bit; on {_CLIPS} random spectrograms the folder's outputs are "
            f"within {self.largest:.1e} of the original's formula, of values up to {self.of_up_to:.3g}"
        )


@Mode
def convert(options: Options) -> Path:
    """Make a model folder of a published or older file; it is kept only where it answers as the file's code does."""
    folder, address = free_folder(options.exp_dir), options.checkpoint or ""
    settings, audio = ModelSettings.of(options), audio_settings(options)
    with Paths.of(options).local_model(address) as path:
        found = _convertible(detect(path), address)
        model = model_of(found, settings, audio)
        with atomic_folder(folder) as unfinished:
            model.save_pretrained(unfinished)
            proof = prove(type(model).from_pretrained(unfinished), load_tensors(found.path))
            extra = {"files": fingerprint(str(found.path)), "versions": versions(), "proof": str(proof)}
            extra[PUBLIC] = public_options()
            RunRecord.of(options).write(unfinished / "run.yaml", extra)
    say(str(proof))
    say(f"model folder in {folder}")
    return folder


def free_folder(exp_dir: str) -> Path:
    """The folder to make; UserError where something is there."""
    folder = at_home(exp_dir)
    if os.path.lexists(folder) and not (folder.is_dir() and not any(folder.iterdir())):
        raise UserError(f"{folder} is there already, and nothing is replaced; name a new folder.", path=folder)
    return folder


def _convertible(found: Detected, address: str) -> Detected:
    """UserError with what it is instead, unless it is a single file that can become a folder."""
    check_model(found, address)
    if found.kind in (PUBLISHED_FILE, FINETUNED, OLDER_FILE):
        return found
    raise UserError(f"{address} is a model folder of ssast already; copy it to have it in another place.", path=address)


def check_model(found: Detected, address: str) -> None:
    """UserError with what it is instead, unless it is a model."""
    if found.kind == STATE:
        raise UserError(
            f"{address} is the state of a training run, not a model; finish the run with the command that began it, "
            "and its folder is the model.",
            path=address,
        )
    if found.kind == FOREIGN:
        looks = f" and looks like {found.looks_like}" if found.looks_like else ""
        raise UserError(
            f"{address} is none of the checkpoints that ssast knows{looks}; give a published or an older file, "
            "and see `ssast inspect` for what this one holds.",
            path=address,
        )


def model_of(found: Detected, settings: ModelSettings, audio: AudioSettings) -> Model:
    """The model of a single file, fine-tuned or published."""
    if found.kind == PUBLISHED_FILE:
        checkpoint = read_checkpoint(found.path)
        sizes = {name: checkpoint.config[name] for name in ("num_mel_bins", "target_length")}
        return SSASTForPreTraining.from_checkpoint(checkpoint, frontend=replace(audio, **sizes).entries())
    tuned = read_finetuned(str(found.path), settings, audio)
    if tuned.labels is None:
        names = [f"label_{number}" for number in range(tuned.num_labels)]
        tuned.labels = tuned.config["labels"] = names
        say(f"the labels are called {names[0]} to {names[-1]}; give --label_txt to name them")
    return tuned


def prove(model: Model, tensors: dict[str, Tensor]) -> Proof:
    """Compare a saved model with the tensors of its file; UserError where they do not answer the same."""
    tensors = {name: value.float() for name, value in tensors.items()}
    own = model.state_dict()
    kept = {name: value for name, value in tensors.items() if own_parameter_name(name) in own}
    changed = [name for name, value in kept.items() if not torch.equal(own[own_parameter_name(name)], value)]
    missing = own.keys() - {own_parameter_name(name) for name in kept}
    if changed or missing:
        first = sorted({*changed, *missing})[0]
        raise UserError(f"the folder would hold another {first} than the file, so it was not made; report this file.")
    fbank_BTF = torch.randn(
        _CLIPS, model.v.target_length, model.v.num_mel_bins, generator=torch.Generator().manual_seed(_SEED)
    )
    with torch.no_grad():
        pairs = _pairs(model, tensors, fbank_BTF)
    largest, of_up_to = farthest(pairs)
    if not largest <= _CLOSE * max(of_up_to, 1.0):
        raise UserError(f"the folder's outputs would be {largest:.1e} off the original's formula, so it was not made.")
    return Proof(len(kept), largest, of_up_to)


def _pairs(model: Model, tensors: dict[str, Tensor], fbank_BTF: Tensor) -> list[tuple[Tensor, Tensor]]:
    """(output of the model, the same by the original's formula): the last state, and logits or pretext losses."""
    heads = model.v.heads
    states = reference.reference_states(tensors, fbank_BTF, heads=heads, stride=model.v.stride)
    pairs = [(model.v(fbank_BTF)[-1], states[-1])]
    if isinstance(model, SSASTForAudioClassification):
        names = ("task", "layer", "weighted", "activation")
        asked = {name: model.config[name] for name in names}
        return [*pairs, (model(fbank_BTF), reference.logits(tensors, states, **asked))]
    masked_M = torch.arange(0, model.v.num_patches, 2)
    output = model(fbank_BTF, mask_index=masked_M.expand(_CLIPS, -1))
    nce, mse = reference.pretext_losses(tensors, fbank_BTF, masked_M, heads=heads, shape=model.v.shape)
    return [*pairs, (output.nce, nce), (output.mse, mse)]
