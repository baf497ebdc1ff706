"""Say how recordings become the input of a model, under one name for each number; model folders keep these."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from ssast.audio.frontend import Frontend

OPTION_OF = {"sample_rate": "resample_rate", "mean": "dataset_mean", "std": "dataset_std"}
"""The options that the seed calls otherwise."""


@dataclass(frozen=True)
class AudioSettings:
    """How audio is heard.

    `sample_rate` [Hz] that recordings are brought to, `num_mel_bins` and `target_length` [frames of 10 ms] of the
    spectrogram, `mean` and `std` of the data set's log-mel values, whether channels are averaged (`reduce`; else the
    first is used), and how much of each recording counts (`clip_length` [s], 0: all).
    """

    sample_rate: int = 16000
    num_mel_bins: int = 128
    target_length: int = 1024
    mean: float = -4.2677393
    std: float = 4.5689974
    reduce: bool = True
    clip_length: float = 0.0

    @classmethod
    def kept(cls, frontend: Mapping[str, Any] | None, **others: Any) -> "AudioSettings":
        """The settings that a model folder keeps, `others` before them, defaults for what neither has."""
        values = {**(frontend or {}), **others}
        return cls(**{one.name: values[one.name] for one in fields(cls) if one.name in values})

    def frontend(self) -> Frontend:
        """The frontend that makes fbanks with these settings."""
        return Frontend(self.sample_rate, self.num_mel_bins, self.target_length, self.mean, self.std)

    def conf(self) -> dict[str, object]:
        """The same as the seed's `audio_conf`, as data sets take it."""
        return {
            "resample_rate" if one.name == "sample_rate" else one.name: getattr(self, one.name) for one in fields(self)
        }
