"""Check what config.json and other files beside a model say, labels.yaml too, and say in one sentence what is wrong."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise
from typing import Any

from ssast.errors import UserError
from ssast.model.blocks import patch_grid
from ssast.model.encoder import DEPTH, SIZES
from ssast.model.head import ACTIVATIONS, HEADS, LOSSES, POOLINGS
from ssast.model.label_kinds import (
    CHOICE,
    ENTRIES,
    LABEL_KINDS,
    LONGEST_LEVEL,
    MOST_LEVELS,
    NUMBER,
    SCALE,
    YES_NO,
    LabelKinds,
)
from ssast.safe_reading import UNSEEN, brief, is_number, json_of

_MOST_WEIGHT = 1_000_000
_MOST_RATERS = 1_000
_BOUND = 1e6


def check_kinds(
    entries: Sequence[Mapping[str, Any]] | None, loss: str, names: Sequence[str], source: str
) -> Sequence[Mapping[str, Any]] | None:
    """Return the entries; UserError where one is not as ssast writes it, or does not fit the loss and the labels."""
    if entries is None:
        if loss not in (YES_NO, NUMBER):
            raise UserError(
                f"{source} says loss {loss} but not the kinds and levels of its labels; save the model again.",
                path=source,
            )
        return None
    if not isinstance(entries, list | tuple) or len(entries) != len(names):
        raise UserError(f"{source} does not say one kind for each of its labels; save the model again.", path=source)
    for name, entry in zip(names, entries, strict=True):
        if wrong := entry_fault(entry) or lacks_levels(entry):
            raise UserError(f"{source} says of the label {brief(name)!r} {wrong}; correct it.", path=source)
    if (found := LabelKinds.of_entries(loss, names, entries).loss) != loss:
        raise UserError(
            f"{source} says loss {loss}, but its labels' kinds are {found}; save the model again.", path=source
        )
    return entries


def lacks_levels(entry: Mapping[str, Any]) -> str:
    """What is wrong where a scale or a choice has no levels."""
    needs = entry["kind"] in (SCALE, CHOICE) and not entry.get("levels")
    return f"kind {entry['kind']} without levels" if needs else ""


def entry_fault(entry: Any) -> str:
    """What came and what was expected, where an entry cannot be meant; else nothing. Levels may be left out."""
    if not isinstance(entry, Mapping):
        return f"{brief(entry, 40)!r}, expected entries such as kind and levels"
    if unknown := [name for name in entry if name not in ENTRIES]:
        return f"{brief(str(unknown[0]), 40)!r}, expected {', '.join(ENTRIES)}"
    if (kind := entry.get("kind")) not in LABEL_KINDS:
        return f"kind {brief(kind, 40)!r}, expected {', '.join(LABEL_KINDS)}"
    found = [_levels(kind, entry.get("levels")), _cut(kind, entry), _weight(entry.get("weight", 1.0))]
    return next(filter(None, [*found, _raters(entry.get("raters", []))]), "")


def _levels(kind: str, levels: Any) -> str:
    if levels is None or levels == []:
        return ""
    if kind not in (SCALE, CHOICE):
        return f"levels for kind {kind}, expected them for {SCALE} or {CHOICE} only"
    is_list = isinstance(levels, list | tuple) and 2 <= len(levels) <= MOST_LEVELS
    if kind == SCALE:
        is_right = is_list and all(map(_is_bounded, levels)) and all(a < b for a, b in pairwise(levels))
        return "" if is_right else f"levels {brief(levels, 60)}, expected 2 to {MOST_LEVELS} rising numbers"
    is_right = is_list and all(map(_is_name, levels)) and len(set(levels)) == len(levels)
    return (
        ""
        if is_right
        else f"levels {brief(levels, 60)}, expected 2 to {MOST_LEVELS} different words (yes and no in quotes)"
    )


def _cut(kind: str, entry: Mapping[str, Any]) -> str:
    cut, levels = entry.get("cut"), entry.get("levels")
    if cut is None:
        return ""
    if kind != SCALE:
        return f"a cut for kind {kind}, expected it for {SCALE} only"
    if not _is_bounded(cut) or (levels and cut not in levels[1:]):
        return f"cut {brief(cut, 40)!r}, expected one of its levels above the lowest"
    return ""


def _weight(weight: Any) -> str:
    is_right = _is_bounded(weight) and 0 < weight <= _MOST_WEIGHT
    return "" if is_right else f"weight {brief(weight, 40)!r}, expected a number above 0"


def _raters(raters: Any) -> str:
    is_list = isinstance(raters, list | tuple) and len(raters) <= _MOST_RATERS
    is_right = is_list and all(map(_is_name, raters)) and len(set(raters)) == len(raters)
    return "" if is_right else f"raters {brief(raters, 60)}, expected the names of different columns"


def _is_bounded(value: Any) -> bool:
    return is_number(value) and abs(value) <= _BOUND


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip()) and len(value) <= LONGEST_LEVEL and not UNSEEN.search(value)


def thresholds_of(text: str, source: str) -> dict[str, float]:
    """The threshold of each label, from 0 to 1; UserError for anything else."""
    try:
        found = json_of(text)["thresholds"]
        wrong = {label: value for label, value in found.items() if not (is_number(value) and 0 <= value <= 1)}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        reason = brief(str(error), 200) if isinstance(error, ValueError) else "it names no thresholds by label"
        raise UserError(
            f"{source} cannot be read ({reason}); remove it to use 0.5, or fine-tune again.", path=source
        ) from error
    for label, value in wrong.items():
        raise UserError(
            f"{source} gives {brief(label)!r} the threshold {brief(value)}, expected a number from 0 to 1; "
            "remove it to use 0.5, or fine-tune again.",
            path=source,
        )
    return {label: float(value) for label, value in found.items()}


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
