"""Tell which kind of checkpoint a file or folder is, by what it lists. Nothing in it is executed."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import safe_open

from ssast.errors import UserError, lacks_means
from ssast.model.checkpoints.checkpoint import check_header
from ssast.model.checkpoints.legacy import OUTPUT, has_numbered_head
from ssast.model.checkpoints.model_folder import CONFIG, WEIGHTS
from ssast.model.checkpoints.torch_file import outline
from ssast.safe_reading import brief, json_file

PUBLISHED_FILE, FINETUNED, OLDER_FILE = "published", "published, fine-tuned", "older"
OWN_PRETRAINED, OWN_FINETUNED, STATE, FOREIGN = "own, pretrained", "own, fine-tuned", "state", "foreign"
KIND_TITLES = {
    PUBLISHED_FILE: "a pretrained model, as the authors of SSAST publish it",
    FINETUNED: "fine-tuned by the published code of SSAST, or of AST, whose files are alike",
    OLDER_FILE: "fine-tuned by the earlier run.py",
    OWN_PRETRAINED: "a model folder of ssast, pretrained",
    OWN_FINETUNED: "a model folder of ssast, fine-tuned",
    STATE: "the state of a training run of ssast, to go on from; not a model",
    FOREIGN: "none of the checkpoints that ssast knows",
}
_OWN = {"SSASTForPreTraining": OWN_PRETRAINED, "SSASTForAudioClassification": OWN_FINETUNED}
SAFE = ".safetensors"
_ENDINGS = (".pth", ".pt", ".bin", ".ckpt", SAFE)
ACCELERATE = "the state that accelerate saves of a training"
WITHOUT_CONFIG = f"the weights of a model folder of ssast, whose {CONFIG} is missing or damaged"
_RUN = {"key", "progress", "model", "optimizer"}
_WRAPPERS = ("module.", "model.", "state_dict.", "model_state_dict.")

Shape = tuple[int, ...]
Listing = Mapping[str, Shape | str]


@dataclass(frozen=True)
class Detected:
    """What a path is: its kind, one of `KIND_TITLES`; the file of its weights; what that lists; else what it is like.

    `config` is what the config.json of a folder holds.
    """

    path: Path
    kind: str
    weights: Path
    listing: Listing
    looks_like: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)

    @property
    def shapes(self) -> dict[str, Shape]:
        """The tensors among what is listed."""
        return {name: shape for name, shape in self.listing.items() if isinstance(shape, tuple)}


def detect(path: str | os.PathLike) -> Detected:
    """What kind of checkpoint a file or folder is; UserError where nothing is there, or it cannot be read.

    For a folder without a model of its own see `checkpoints_in`.
    """
    place = Path(path)
    if not os.path.exists(place):
        raise UserError(f"{place} does not exist; give a checkpoint, or the folder of a model.", path=place)
    if os.path.isdir(place):
        return _folder(place)
    if place.name == WEIGHTS and (place.parent / CONFIG).is_file():
        return _folder(place.parent)
    listing = _listing(place)
    # Of our own making are only whole folders: without its config a .safetensors does not say enough.
    kind = FOREIGN if place.suffix == SAFE else _kind(listing)
    return Detected(place, kind, place, listing, _looks(listing) if kind == FOREIGN else "")


def checkpoints_in(folder: Path) -> list[Path]:
    """What a folder holds that could be a checkpoint: files by their ending, folders by a config or weights in them."""
    found: list[Path] = []
    if not folder.is_dir():
        return found
    for place in sorted(folder.iterdir()):
        holds = place.is_dir() and any((place / name).is_file() for name in (CONFIG, WEIGHTS, "pytorch_model.bin"))
        if holds or (place.is_file() and place.suffix in _ENDINGS):
            found.append(place)
    return found


def _folder(folder: Path) -> Detected:
    config = _config(folder / CONFIG)
    weights = next((folder / name for name in (WEIGHTS, "pytorch_model.bin") if (folder / name).is_file()), None)
    kind = _OWN.get(brief(config.get("class")), FOREIGN)
    if weights is None:
        missing = f"{WEIGHTS} is missing beside its {CONFIG}" if config else f"it has no {CONFIG} and no {WEIGHTS}"
        raise UserError(
            f"{folder} is no model folder: {missing}; give a folder that holds a model, or a checkpoint.", path=folder
        )
    if kind != FOREIGN and weights.name == WEIGHTS:
        return Detected(folder, kind, weights, _listing(weights), config=config)
    listing = _listing(weights)
    looks_like = ACCELERATE if any(folder.glob("random_states_*.pkl")) else _named_by(config) or _looks(listing)
    return Detected(folder, FOREIGN, weights, listing, looks_like, config)


def _config(file: Path) -> dict[str, Any]:
    try:
        content = json_file(file)
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _named_by(config: Mapping[str, Any]) -> str:
    """The kind of model that a config.json of Hugging Face names."""
    named = [brief(config[name]) for name in ("model_type", "peft_type") if config.get(name)]
    return f"a model of Hugging Face ({', '.join(named)})" if named else ""


def _listing(file: Path) -> Listing:
    if file.suffix != SAFE:
        return outline(file)
    try:
        check_header(file)
        with safe_open(file, framework="pt") as opened:
            return {name: tuple(opened.get_slice(name).get_shape()) for name in opened.keys()}  # noqa: SIM118 - no dict
    except Exception as error:  # safetensors has its own exceptions besides OSError
        if lacks_means(error):
            raise
        raise UserError(f"{file} cannot be read ({error}); save or copy it again.", path=file) from error


def _kind(listing: Listing) -> str:
    names = {name.removeprefix("module.") for name in listing}
    if {name.split(".")[0] for name in listing} >= _RUN:
        return STATE
    if {"p_input_fdim", "v.pos_embed"} <= names:
        return PUBLISHED_FILE
    if "v.pos_embed" in names and has_numbered_head(names):
        return FINETUNED
    if {"v.pos_embed", OUTPUT} <= names:
        return OLDER_FILE
    return FOREIGN


def _looks(listing: Listing) -> str:
    """The toolkit whose names a foreign file has; empty where they are unknown."""
    return next((text for text, fits in _LOOKS if fits(_bare(listing))), "")


def _bare(listing: Listing) -> set[str]:
    """The names without what wraps them."""
    names = set(listing)
    for wrapper in _WRAPPERS:
        names |= {name.removeprefix(wrapper) for name in names}
    return names


def _starts(*starts: str) -> Callable[[set[str]], bool]:
    return lambda names: all(any(name.startswith(start) for name in names) for start in starts)


_LOOKS: list[tuple[str, Callable[[set[str]], bool]]] = [
    (WITHOUT_CONFIG, _starts("v.pos_embed", "mlp_head.head.outproj.")),
    (WITHOUT_CONFIG, _starts("v.pos_embed", "cpredlayer.")),
    ("AST as Hugging Face names it", _starts("audio_spectrogram_transformer.")),
    ("AST as Hugging Face names it", _starts("embeddings.distillation_token", "encoder.")),
    ("the head or the encoder alone of a fine-tuned SSAST", _starts("mlp_head.")),
    ("the encoder of an SSAST without its heads", _starts("v.pos_embed")),
    ("an adapter (LoRA)", lambda names: any(".lora_" in name for name in names)),
    ("a masked autoencoder, such as AudioMAE", _starts("decoder_blocks.", "patch_embed.")),
    ("BEATs", _starts("patch_embedding.", "encoder.layers.")),
    ("a vision transformer as timm names it, or AST or AudioMAE made from one", _starts("blocks.0.", "patch_embed.")),
    ("wav2vec 2.0, HuBERT or WavLM", lambda names: any("feature_extractor.conv_layers" in name for name in names)),
    ("Whisper", _starts("encoder.conv1.", "decoder.token_embedding")),
    ("the state of an optimiser", _starts("param_groups")),
]
