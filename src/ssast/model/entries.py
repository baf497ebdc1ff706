"""The entries of a model folder's config.json go in; one sentence comes out where one cannot be meant."""

from collections.abc import Mapping
from typing import Any

from ssast.errors import UserError

MOST = 1_000_000
"""Above any size, count or number of labels that a model can have: memory is not asked for what cannot be."""
COUNTS = {"num_labels", "fshape", "tshape", "num_mel_bins", "target_length", "mask_patch", "cluster_factor"}
STEPS = {"fstride", "tstride"}
SWITCHES = {"weighted", "freeze", "layernorm", "mask_padding"}
WORDS = {"class", "model_size", "task", "activation", "loss", "objective", "head"}


def check_entries(config: Mapping[str, Any], source: str) -> None:
    """UserError for the first known entry whose value is of another kind than ssast writes; others are passed over."""
    for name, value in config.items():
        expected = _expected(name, value)
        if expected:
            raise UserError(
                f"config.json of {source} says {name} {str(value)[:40]!r}, expected {expected}; save the model again."
            )


def _expected(name: str, value: Any) -> str:
    """What is expected where the value is something else; empty where it is right, or the entry is not known."""
    is_count = isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MOST
    if name in COUNTS and not is_count:
        return f"a whole number from 1 to {MOST}"
    if name in STEPS and not (is_count or value is None):
        return f"a whole number from 1 to {MOST}, or null"
    if name in SWITCHES and not isinstance(value, bool):
        return "true or false"
    if name in WORDS and not isinstance(value, str):
        return "a word"
    if name == "final_dropout" and not _is_number(value):
        return "a number"
    if name == "labels" and not (value is None or (isinstance(value, list) and all(isinstance(v, str) for v in value))):
        return "a list of words, or null"
    if name == "frontend" and not (value is None or _is_frontend(value)):
        return "the settings of the spectrogram, or null"
    return ""


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_frontend(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(one, int | float) for one in value.values())
