"""Check the entries of a model folder's config.json, and say in one sentence which is the first that is wrong."""

from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any

from ssast.errors import UserError
from ssast.model.checkpoints.kind_entries import check_kinds
from ssast.model.encoder import DEPTH, SIZES
from ssast.model.head import ACTIVATIONS, HEADS, LOSSES, POOLINGS
from ssast.model.patch_grid import patch_grid
from ssast.safe_reading import UNSEEN, brief, is_number

MOST_OF_ENTRY = 1_000_000
"""Above any size, count or number of labels that a model can have: memory is not asked for what cannot be."""
COUNTS = {"num_labels", "fshape", "tshape", "num_mel_bins", "target_length", "mask_patch", "cluster_factor"}
_STEPS = {"fstride", "tstride"}
SWITCHES = {"weighted", "freeze", "layernorm", "mask_padding"}
WORDS = {"class", "model_size", "task", "activation", "loss", "objective", "head"}
_OBJECTIVES = ("pretrain_mpc", "pretrain_mpg", "pretrain_joint")
_CHOICES: dict[str, Collection[str]] = {
    "model_size": SIZES,
    "activation": ACTIVATIONS,
    "loss": LOSSES,
    "task": POOLINGS,
    "head": HEADS,
    "objective": _OBJECTIVES,
}
USUAL = {"fshape": 128, "tshape": 2, "num_mel_bins": 128, "target_length": 1024}
"""What a model is made with where its config says nothing."""
LONGEST_LABEL = 200
HIGHEST_OVERLAP = 0.95
"""The largest share of a window that it has in common with the next."""
FRONTEND = {
    "sample_rate": ("a whole number from 100 to 1000000", lambda value: _is_count(value) and value >= 100),
    "num_mel_bins": ("a whole number from 1 to 1000000", lambda value: _is_count(value)),
    "target_length": ("a whole number from 1 to 1000000", lambda value: _is_count(value)),
    "mean": ("a number", lambda value: _is_number(value) and abs(value) < MOST_OF_ENTRY),
    "std": (
        "a number of at least 0.000001",
        lambda value: _is_number(value) and 1 / MOST_OF_ENTRY <= value <= MOST_OF_ENTRY,
    ),
    "reduce": ("true or false", lambda value: isinstance(value, bool)),
    "window_overlap": (
        f"a share from 0 to {HIGHEST_OVERLAP}",
        lambda value: _is_number(value) and 0 <= value <= HIGHEST_OVERLAP,
    ),
    "clip_length": ("a number of seconds, 0 for all", lambda value: _is_number(value) and 0 <= value < MOST_OF_ENTRY),
}


def check_entries(config: Mapping[str, Any], source: str) -> None:
    """UserError for the first known entry whose value is of another kind than ssast writes; others are passed over."""
    for name, value in config.items():
        expected = _expected(name, value)
        if expected:
            raise UserError(
                f"config.json of {source} says {name} {brief(value, 40)!r}, expected {expected}; save the model again.",
                path=source,
            )
    if config.get("class") == "SSASTForAudioClassification" and "num_labels" not in config:
        raise UserError(
            f"config.json of {source} lacks num_labels, the number of labels; save the model again.", path=source
        )
    _check_frontend(config, source)
    _check_patches(config, source)
    if config.get("labels") is not None:
        check_labels(config["labels"], f"config.json of {source}")
        count = config.get("num_labels", len(config["labels"]))
        if len(config["labels"]) != count:
            raise UserError(
                f"config.json of {source} names {len(config['labels'])} labels and says num_labels {count}; "
                "save the model again.",
                path=source,
            )
    if config.get("class") == "SSASTForAudioClassification":
        names = config.get("labels") or [f"label {number}" for number in range(config["num_labels"])]
        check_kinds(config.get("kinds"), config.get("loss", "BCE"), names, f"config.json of {source}")


def _check_patches(config: Mapping[str, Any], source: str) -> None:
    """UserError where the sizes hold no patch, or lie further apart than a model hears."""
    sizes = {name: config.get(name, usual) for name, usual in USUAL.items()}
    steps = {name: config.get(name) or sizes[name.replace("stride", "shape")] for name in _STEPS}
    try:
        patch_grid(**sizes, **steps)
    except UserError as error:
        raise error.said(f"config.json of {source} cannot be meant: {error}") from error


def check_labels(labels: Collection[str], source: str) -> None:
    """UserError for a label that no label file can hold, or for one that is there twice."""
    for label in labels:
        check_label(label, source)
    twice = [label for label, count in Counter(labels).items() if count > 1]
    if twice:
        raise UserError(f"{source} names the label {brief(twice[0])!r} twice; correct it.", path=source)


def check_label(label: str, source: str) -> None:
    """UserError for a label that no label file can hold: an empty one, one of several lines, an endless one."""
    if not label.strip() or len(label) > LONGEST_LABEL or UNSEEN.search(label):
        raise UserError(
            f"{source} names the label {brief(label)!r}; expected one line of 1 to {LONGEST_LABEL} characters: "
            "correct it.",
            path=source,
        )


def _check_frontend(config: Mapping[str, Any], source: str) -> None:
    """UserError where the settings of the spectrogram cannot be meant, or are not those of the model itself."""
    for name, value in (config.get("frontend") or {}).items():
        if name not in FRONTEND:
            continue
        expected, is_right = FRONTEND[name]
        own = config.get(name, value) if name in USUAL else value
        if not is_right(value) or own != value:
            expected = f"{brief(own)}, as the model itself" if is_right(value) else expected
            raise UserError(
                f"config.json of {source} says {brief(name)} {brief(value, 40)} of the spectrogram, expected "
                f"{expected}; save the model again.",
                path=source,
            )


def _expected(name: str, value: Any) -> str:
    """What is expected where the value is something else; empty where it is right, or the entry is not known."""
    if name in COUNTS and not _is_count(value):
        return f"a whole number from 1 to {MOST_OF_ENTRY}"
    if name in _STEPS and not (_is_count(value) or value is None):
        return f"a whole number from 1 to {MOST_OF_ENTRY}, or null"
    if name in SWITCHES and not isinstance(value, bool):
        return "true or false"
    if name in WORDS and not isinstance(value, str):
        return "a word"
    if name in _CHOICES and value not in _CHOICES[name]:
        return f"one of {', '.join(_CHOICES[name])}"
    if name == "mask_layer" and not (isinstance(value, int) and not isinstance(value, bool) and 0 <= value < DEPTH):
        return f"a whole number from 0 to {DEPTH - 1}"
    if name == "layer" and not (isinstance(value, int) and not isinstance(value, bool) and -1 <= value <= 13):
        return "a whole number from -1 to 13"
    if name == "final_dropout" and not (_is_number(value) and 0 <= value <= 1):
        return "a number from 0 to 1"
    if name == "labels" and not (value is None or (isinstance(value, list) and all(isinstance(v, str) for v in value))):
        return "a list of words, or null"
    if name == "frontend" and not (value is None or _is_frontend(value)):
        return "the settings of the spectrogram, or null"
    return ""


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MOST_OF_ENTRY


def _is_number(value: Any) -> bool:
    return is_number(value) and value == value


def _is_frontend(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(one, int | float) for one in value.values())
