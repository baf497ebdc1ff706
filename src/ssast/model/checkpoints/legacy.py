"""Read a fine-tuned file that the seed or the published code made, and the `args.pkl` beside it, as a checkpoint.

Neither is executed: `args.pkl` is read as a list of plain values, the weights as tensors.
"""

import os
from collections.abc import Collection, Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ssast.errors import UserError
from ssast.model.blocks import patch_grid
from ssast.model.checkpoints.checkpoint import Checkpoint
from ssast.model.checkpoints.config_entries import MOST_OF_ENTRY
from ssast.model.checkpoints.pickles import Made, NamedObject, Refused, read_pickle
from ssast.model.checkpoints.torch_file import load_tensors
from ssast.model.encoder import SIZES
from ssast.model.finite import in_float32
from ssast.model.head import DENSE, PUBLISHED_HEAD
from ssast.safe_reading import brief

ARGUMENTS = "args.pkl"
LEGACY_ENDINGS = (".pt", ".pth")
NAMESPACE = "argparse.Namespace"
# How pickles of protocol 0 and 1 spell "an instance of".
RECONSTRUCTORS = ("copy_reg._reconstructor", "copyreg._reconstructor")
PATHS = tuple(
    f"{module}.{name}"
    for module in ("pathlib", "pathlib._local")  # the second: as Python 3.13 pickles them
    for name in ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath")
)
FORESEEN = {NAMESPACE, *RECONSTRUCTORS, "__builtin__.object", "builtins.object", *PATHS}
_MOST_BYTES = 1 << 20
_PLAIN = (bool, int, float, str, type(None))
# The image model's own heads stay in the file, unused.
FRAGMENTS = ("v.head.", "v.head_dist.")
NEEDED = ("v.cls_token", "v.pos_embed", "v.patch_embed.proj.weight")
FIRST_LAYER = {DENSE: "mlp_head.head.dense.weight", PUBLISHED_HEAD: "mlp_head.head.norm.weight"}
OUTPUT = "mlp_head.head.outproj.weight"
# Published: the head is LayerNorm and Linear, numbered and not named.
NUMBERED = {"mlp_head.0.": "mlp_head.head.norm.", "mlp_head.1.": "mlp_head.head.outproj."}
COMMON_LENGTHS = (1024, 512, 256, 128, 100, 400, 800, 200)
"""Lengths in frames that a model is likely to have been made for, the likeliest first."""


def is_legacy(path: str | os.PathLike) -> bool:
    """Whether the path names a single weights file, not a model folder."""
    return os.fspath(path).lower().endswith(LEGACY_ENDINGS)


def read_arguments(place: Path) -> dict[str, object]:
    """The plain values of an `args.pkl` that holds an argparse.Namespace or a dictionary, by their names.

    Values of other kinds are left out. UserError where the file cannot be read, or asks for anything to be imported
    other than a Namespace or a path.
    """
    try:
        if not place.is_file():
            raise ValueError("it is not a regular file")
        with open(place, "rb") as file:
            content = file.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            raise ValueError(f"it is larger than {_MOST_BYTES:,} bytes")
        values = _values(read_pickle(BytesIO(content), FORESEEN).value)
    except Refused as error:
        raise UserError(
            f"{place} asks for {error} and could run code when opened, so it was not; "
            "remove it and give the options of that training on the command line.",
            path=place,
        ) from error
    except (OSError, ValueError) as error:
        raise UserError(
            f"{place} is not the record of an older fine-tuning ({brief(str(error), 200)}); "
            "remove it and give the options of that training on the command line.",
            path=place,
        ) from error
    return {name: value for name, value in values.items() if isinstance(name, str) and _is_plain(value)}


def _values(content: Any) -> dict[Any, Any]:
    """The dictionary, or the attributes of the Namespace."""
    if isinstance(content, Made):
        of = content.arguments[:1] if content.name in RECONSTRUCTORS else (NamedObject(content.name),)
        if of == (NamedObject(NAMESPACE),) and isinstance(content.state, dict):
            return content.state
    if isinstance(content, dict):
        return content
    raise ValueError(f"it holds a {content.name if isinstance(content, Made) else type(content).__name__}")


def _is_plain(value: Any) -> bool:
    return isinstance(value, _PLAIN) or (isinstance(value, list) and all(isinstance(one, _PLAIN) for one in value))


def read_legacy(path: str | os.PathLike, settings: Mapping[str, Any]) -> Checkpoint:
    """The checkpoint of a fine-tuned `.pt`, for `SSASTForAudioClassification.from_checkpoint`.

    The file says the model's size, the shape of its patches, the kind of its head, whether that has a LayerNorm, and
    how many labels it has. `settings` are the other entries of the model's config (task, layer, fstride, tstride,
    target_length, num_mel_bins, labels, ...); `weighted` None takes a `weightsum` that was trained for one that is
    used. UserError where the file is missing, no such model, or contradicts the settings.
    """
    place = Path(path)
    tensors, sizes = read_sizes(place)
    config = {**settings, **sizes}
    config["class"] = "SSASTForAudioClassification"
    config["weighted"] = _weighted(tensors, config.get("weighted"), str(place))
    if not config["weighted"]:
        tensors.pop("weightsum", None)
    _check_positions(tensors["v.pos_embed"], config, str(place))
    _check_labels(config, str(place))
    return Checkpoint(str(place), config, in_float32(tensors, str(place)))


def read_sizes(place: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of a fine-tuned file under the names that they have here, and the settings that they tell.

    UserError where the file is missing or no such model.
    """
    if not place.is_file():
        raise UserError(
            f"{place} does not exist; give --finetuned_mdl_path a model folder, or an older .pt file.", path=place
        )
    tensors = {key: value for key, value in load_tensors(place).items() if not key.startswith(FRAGMENTS)}
    head = PUBLISHED_HEAD if has_numbered_head(tensors) else DENSE
    if head == PUBLISHED_HEAD:
        tensors = {own_parameter_name(key): value for key, value in tensors.items()}
    return tensors, _sizes(tensors, head, str(place))


def has_numbered_head(names: Collection[str]) -> bool:
    """Whether tensors are those of a model that the published code fine-tuned."""
    return "mlp_head.0.weight" in names and "mlp_head.1.weight" in names


def own_parameter_name(key: str) -> str:
    """The name here of a tensor of the published head, `module.` taken off; that of any other is its own."""
    start = len("mlp_head.0.")
    return NUMBERED.get(key[:start], key[:start]) + key[start:]


def _sizes(tensors: Mapping[str, Tensor], head: str, source: str) -> dict[str, Any]:
    """The settings that the tensors themselves show; UserError where they are no fine-tuned model."""
    lacking = [key for key in (*NEEDED, FIRST_LAYER[head], OUTPUT) if key not in tensors]
    if lacking:
        kind = "a pretrained model" if "p_input_fdim" in tensors else "no fine-tuned SSAST model"
        raise UserError(
            f"{source} is {kind}: its {len(tensors)} tensors lack {', '.join(lacking[:3])}; "
            "give the file that fine-tuning wrote, or a model folder.",
            path=source,
        )
    width, prefix = width_of(tensors["v.cls_token"]), 2 if "v.dist_token" in tensors else 1
    named = [name for name, size in SIZES.items() if (size.width, size.prefix) == (width, prefix)]
    proj, output = tensors["v.patch_embed.proj.weight"], tensors[OUTPUT]
    if not named or not is_patch(proj) or output.dim() != 2 or tensors["v.pos_embed"].dim() != 3:
        raise UserError(
            f"{source} has width {width}, {prefix} prefix tokens and patch weights {tuple(proj.shape)}, "
            f"which is none of the published sizes ({', '.join(SIZES)}); give a fine-tuned .pt file.",
            path=source,
        )
    return {
        "model_size": named[0],
        "fshape": proj.shape[2],
        "tshape": proj.shape[3],
        "num_labels": len(output),
        "layernorm": "mlp_head.head.norm.weight" in tensors,
        "head": head,
    }


def width_of(token: Tensor) -> int:
    """The width D of a class token of shape (1, 1, D); 0 for another shape."""
    return int(token.shape[-1]) if token.dim() == 3 else 0


def is_patch(weights: Tensor) -> bool:
    """Whether the weights of a patch embedding have the shape (D, 1, F, T), with a patch that can be."""
    return weights.dim() == 4 and all(1 <= size <= MOST_OF_ENTRY for size in weights.shape)


def _weighted(tensors: Mapping[str, Tensor], asked: bool | None, source: str) -> bool:
    """Whether the hidden states are summed by `weightsum`; a model that only carries it still has all weights equal."""
    there = tensors.get("weightsum")
    if asked and there is None:
        raise UserError(f"{source} has no weightsum, but --weighted True was asked for; leave it out.", path=source)
    if asked is not None or there is None:
        return bool(asked)
    return not torch.allclose(there.float(), torch.full_like(there, 1 / max(there.numel(), 1), dtype=torch.float32))


def _check_positions(positions_1LD: Tensor, config: Mapping[str, Any], source: str) -> None:
    """UserError unless the file has one position for each patch of the spectrogram that the settings describe."""
    shape = {name: config[name] for name in ("fshape", "tshape", "num_mel_bins", "target_length")}
    steps = {name: config.get(name) or shape[name.replace("stride", "shape")] for name in ("fstride", "tstride")}
    high, wide = patch_grid(**shape, **steps)
    there = positions_1LD.shape[1] - SIZES[config["model_size"]].prefix
    if high * wide != there:
        described = ", ".join(f"{name} {value}" for name, value in {**shape, **steps}.items() if name[1:] != "shape")
        raise UserError(
            f"{source} has positions for {there} patches, but {described} make {high * wide}; "
            "give --target_length, --fstride, --tstride and --num_mel_bins as it was fine-tuned with"
            f"{_such_as(there, shape)}",
            path=source,
        )


def _such_as(patches: int, shape: Mapping[str, int]) -> str:
    """The end of a sentence: what would fit."""
    found = list(lengths_for(patches, shape["fshape"], shape["tshape"], shape["num_mel_bins"]))
    shown = (" ".join(f"--{name} {value}" for name, value in one.items()) for one in found)
    return f", such as {' or '.join(shown)}." if found else "."


def lengths_for(patches: int, fshape: int, tshape: int, num_mel_bins: int = 128) -> Iterator[dict[str, int]]:
    """Strides that fine-tuning often takes (the patch; 10, or one frame), with a length that makes so many patches."""
    closer = (fshape, 1) if fshape == num_mel_bins else (min(10, fshape), min(10, tshape))
    for fstride, tstride in dict.fromkeys([(fshape, tshape), closer]):
        high = (num_mel_bins - fshape) // fstride + 1
        if high < 1 or patches % high:
            continue
        shortest = (patches // high - 1) * tstride + tshape
        fitting = range(shortest, shortest + tstride)
        length = next((length for length in COMMON_LENGTHS if length in fitting), shortest)
        yield {"fstride": fstride, "tstride": tstride, "target_length": length}


def _check_labels(config: Mapping[str, Any], source: str) -> None:
    labels = config.get("labels")
    if labels is not None and len(labels) != config["num_labels"]:
        raise UserError(
            f"{source} was fine-tuned for {config['num_labels']} labels, but {len(labels)} are named "
            f"({brief(', '.join(labels[:5]))}); give --label_txt the file that it was fine-tuned with.",
            path=source,
        )
