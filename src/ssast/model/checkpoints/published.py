"""List the published weights, and read a published file or an own folder. Nothing in it is executed."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ssast.errors import UserError
from ssast.model.checkpoints.checkpoint import Checkpoint, difference, shapes
from ssast.model.checkpoints.config_entries import MOST_OF_ENTRY
from ssast.model.checkpoints.legacy import is_patch, width_of
from ssast.model.checkpoints.model_folder import WEIGHTS, read_folder
from ssast.model.checkpoints.torch_file import load_tensors
from ssast.model.encoder import SIZES, SSASTEncoder
from ssast.model.finite import in_float32
from ssast.safe_reading import brief

# Published: the heads of the image model that the encoder was made from stay in the file, unused.
IMAGENET_CLASSES = 1000
_FRAGMENTS = ("v.head.", "v.head_dist.", "p_input_")
PUBLISHED_ENDING = ".pth"


@dataclass(frozen=True)
class Published:
    """Weights that the authors publish: what they are, and the part of their address that is their own."""

    model_size: str
    fshape: int
    tshape: int
    where: str

    def address(self, name: str) -> str:
        """The address on the authors' page."""
        return f"https://www.dropbox.com/s/{self.where}/{name}{PUBLISHED_ENDING}?dl=1"


# Source: the tables of github.com/YuanGongND/ssast. The number in a name counts the hidden patches of pretraining; the
# audio_model_* are those of the paper's ablation study (table 2), each unlike SSAST-Base-Patch-400 in one thing.
PUBLISHED = {
    "SSAST-Base-Frame-400": Published("base", 128, 2, "nx6nl4d4bl71sm8"),
    "SSAST-Base-Patch-400": Published("base", 16, 16, "ewrzpco95n9jdz6"),
    "SSAST-Base-Frame-250": Published("base", 128, 2, "4e6l7ulhwrfoana"),
    "SSAST-Base-Patch-250": Published("base", 16, 16, "mxrm9qog6aj8hif"),
    "SSAST-Small-Patch-400": Published("small", 16, 16, "i24w446rl9pkf05"),
    "SSAST-Tiny-Frame-400": Published("tiny", 128, 2, "rx7g60ruzawffzv"),
    "SSAST-Tiny-Patch-400": Published("tiny", 16, 16, "fkbtf78y94113wz"),
    "audio_model_100m": Published("base", 16, 16, "0oyrtfbjzkwho2p"),
    "audio_model_dis": Published("base", 16, 16, "znuzgwf2zvrpjkr"),
    "audio_model_gen": Published("base", 16, 16, "u6ws5fjrid10x4p"),
    "audio_model_as20k": Published("base", 16, 16, "y6x2ck2ca3tb7d9"),
    "audio_model_as": Published("base", 16, 16, "m9p782df3faql1q"),
    "audio_model_librispeech": Published("base", 16, 16, "f4bn2qelu3m8ksu"),
}


def published_name(text: str) -> str | None:
    """The name in the table that a bare word means, whatever its capitals, with or without .pth; None for others."""
    bare = text[: -len(PUBLISHED_ENDING)] if text.lower().endswith(PUBLISHED_ENDING) else text
    return next((name for name in PUBLISHED if name.casefold() == bare.casefold()), None)


def read_checkpoint(path: str | os.PathLike) -> Checkpoint:
    """Config (class, sizes) and state dict (float32, published names) of a published `.pth` or an own folder.

    A published file must hold exactly the published tensors; its size, patch shape, mel bins and frames are read off
    them. Nothing in a file is executed. UserError, saying what was found: no such
    path, not a checkpoint, a file that would run code, a fine-tuned file, other tensors than the published ones.
    """
    place = Path(path)
    if os.path.isdir(place):
        return read_folder(place)
    if not os.path.exists(place):
        named = f"; ssast.weights({place.name!r}) fetches it and gives its path" if published_name(str(place)) else ""
        raise UserError(
            f"{place} does not exist; give a published .pth file or a folder made by save_pretrained{named}.",
            path=place,
        )
    if place.name == WEIGHTS:
        raise UserError(
            f"{place} is the weights of a model folder; give the folder, {place.parent}.", path=[place, place.parent]
        )
    return _read_published(load_tensors(place), str(place))


def check_sizes(checkpoint: Checkpoint, **asked: Any) -> None:
    """Raise a UserError that names both sides where a size asked for (not None) is not the checkpoint's."""
    differing = [name for name, value in asked.items() if value is not None and value != checkpoint.config[name]]
    if differing:
        there = ", ".join(f"{name} {checkpoint.config[name]}" for name in differing)
        wanted = ", ".join(f"{name} {asked[name]}" for name in differing)
        raise UserError(
            f"{checkpoint.source} was pretrained with {there}, but {wanted} was asked for; "
            f"give the same or leave it out.",
            path=checkpoint.source,
        )


def _read_published(tensors: dict[str, Tensor], source: str) -> Checkpoint:
    _refuse_foreign(tensors, source)
    config = _sizes(tensors, source)
    differs = difference(_published_shapes(config), shapes(tensors))
    if differs:
        raise UserError(
            f"{source} is not a published SSAST checkpoint as it stands ({differs}); give the file as it was "
            "published.",
            path=source,
        )
    kept = {key: value for key, value in tensors.items() if not key.startswith(_FRAGMENTS)}
    return Checkpoint(source, config, in_float32(kept, source))


def _refuse_foreign(tensors: dict[str, Tensor], source: str) -> None:
    """Raise a UserError that says what the file is, unless it has what every pretrained file has."""
    if any(key.startswith("mlp_head.") for key in tensors):
        raise UserError(
            f"{source} is a fine-tuned model (it has mlp_head.* and no p_input_fdim, p_input_tdim), and a pretrained "
            "one was expected; give the pretrained file it was made from, or make a folder of it with `ssast convert`.",
            path=source,
        )
    needed = ("p_input_fdim", "p_input_tdim", "v.cls_token", "v.pos_embed", "v.patch_embed.proj.weight")
    lacking = [key for key in needed if key not in tensors]
    if lacking:
        some = ", ".join(map(brief, list(tensors)[:3]))
        raise UserError(
            f"{source} is not an SSAST checkpoint: its {len(tensors)} tensors ({some} ...) lack {', '.join(lacking)}; "
            "give a published pretrained .pth file.",
            path=source,
        )


def _sizes(tensors: dict[str, Tensor], source: str) -> dict[str, Any]:
    """The config that a published file's own tensors imply."""
    width, prefix = width_of(tensors["v.cls_token"]), 2 if "v.dist_token" in tensors else 1
    named = [name for name, size in SIZES.items() if (size.width, size.prefix) == (width, prefix)]
    proj, inputs = tensors["v.patch_embed.proj.weight"], (tensors["p_input_fdim"], tensors["p_input_tdim"])
    if not named or not is_patch(proj) or not all(_is_size(value) for value in inputs):
        raise UserError(
            f"{source} has width {width}, {prefix} prefix tokens and patch weights {tuple(proj.shape)}, "
            f"which is none of the published sizes ({', '.join(SIZES)}); give a published pretrained .pth file.",
            path=source,
        )
    return {
        "class": "SSASTForPreTraining",
        "model_size": named[0],
        "fshape": proj.shape[2],
        "tshape": proj.shape[3],
        "num_mel_bins": int(inputs[0]),
        "target_length": int(inputs[1]),
    }


def _is_size(value: Tensor) -> bool:
    return value.numel() == 1 and not value.is_complex() and 1 <= float(value) <= MOST_OF_ENTRY


def _published_shapes(config: dict[str, Any]) -> dict[str, torch.Size]:
    """Name and shape of every tensor in a published file of these sizes, `module.` taken off."""
    sizes = {name: value for name, value in config.items() if name != "class"}
    with torch.device("meta"):
        encoder = SSASTEncoder(**sizes)
    width, values = encoder.width, config["fshape"] * config["tshape"]
    listed: dict[str, tuple[int, ...]] = {"p_input_fdim": (), "p_input_tdim": (), "mask_embed": (1, 1, width)}
    for head in ("v.head", "v.head_dist")[: encoder.num_prefix]:
        listed |= {f"{head}.weight": (IMAGENET_CLASSES, width), f"{head}.bias": (IMAGENET_CLASSES,)}
    for layer, outputs in (("0", width), ("2", values)):
        for head in ("cpredlayer", "gpredlayer"):
            listed |= {f"{head}.{layer}.weight": (outputs, width), f"{head}.{layer}.bias": (outputs,)}
    found = {f"v.{key}": value.shape for key, value in encoder.state_dict().items()}
    return found | {key: torch.Size(shape) for key, shape in listed.items()}
