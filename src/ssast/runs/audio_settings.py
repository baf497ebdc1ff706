"""Say how recordings become the input of a model."""

from typing import Any

from ssast.options.options import Options
from ssast.runs.context import say

Settings = dict[str, Any]


def audio_settings(options: Options) -> Settings:
    """How recordings become the model's input: kept in the model folder, so that every later mode does the same."""
    return {
        "sample_rate": options.resample_rate,
        "num_mel_bins": options.num_mel_bins,
        "target_length": options.target_length,
        "mean": options.dataset_mean,
        "std": options.dataset_std,
        "reduce": options.reduce,
        "clip_length": options.clip_length,
    }


OPTION_OF = {"sample_rate": "resample_rate", "mean": "dataset_mean", "std": "dataset_std"}


def model_settings(options: Options, kept: Settings | None) -> Settings:
    """The settings kept with a fine-tuned model, or else those of the options; says which given options give way."""
    asked = audio_settings(options)
    if not kept:
        return asked
    for name, value in kept.items():
        option = OPTION_OF.get(name, name)
        if option in options.given and asked[name] != value:
            say(f"--{option} {asked[name]} is left aside: the model was fine-tuned with {value}")
    return asked | kept
