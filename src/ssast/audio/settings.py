"""Say how recordings become the input of a model, under one name for each number; model folders keep these."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from ssast.audio.frontend import Frontend
from ssast.audio.power_spectrogram import LogMelFrontend

OPTION_OF = {"sample_rate": "resample_rate", "mean": "dataset_mean", "std": "dataset_std"}
"""The options that the seed calls otherwise."""
USUAL_OVERLAP = 0.5
"""The share of a window that it has in common with the next."""


@dataclass(frozen=True)
class AudioSettings:
    """How audio is heard.

    `sample_rate` [Hz] that recordings are brought to, `num_mel_bins` and `target_length` [frames of 10 ms] of the
    spectrogram, `mean` and `std` of the data set's log-mel values, whether channels are averaged (`reduce`; else the
    first is used), and how much of each recording counts (`clip_length` [s], 0: all). With a `window_overlap`, a share
    of a window, recordings are scored and embedded whole, in windows (None: their beginning is). `spectrograms` says
    that recordings come as power spectrograms; that is true of data, so no model folder keeps it.
    """

    sample_rate: int = 16000
    num_mel_bins: int = 128
    target_length: int = 1024
    mean: float = -4.2677393
    std: float = 4.5689974
    reduce: bool = True
    clip_length: float = 0.0
    window_overlap: float | None = None
    spectrograms: bool = False

    @classmethod
    def kept(cls, frontend: Mapping[str, Any] | None, **others: Any) -> "AudioSettings":
        """The settings that a model folder keeps, `others` before them, defaults for what neither has."""
        values = {**(frontend or {}), **others}
        return cls(**{one.name: values[one.name] for one in fields(cls) if one.name in values})

    def share(self, given: float | None = None) -> float:
        """What windows have in common: as `given`, else as the model was fine-tuned, else half."""
        return next(share for share in (given, self.window_overlap, USUAL_OVERLAP) if share is not None)

    def entries(self) -> dict[str, object]:
        """The values by name, as model folders keep them; what is None is left out."""
        found = {one.name: value for one in fields(self) if (value := getattr(self, one.name)) is not None}
        return found if self.spectrograms else {name: found[name] for name in found if name != "spectrograms"}

    def frontend(self) -> Frontend:
        """The frontend that makes fbanks with these settings."""
        kind = LogMelFrontend if self.spectrograms else Frontend
        return kind(self.sample_rate, self.num_mel_bins, self.target_length, self.mean, self.std)

    def conf(self) -> dict[str, object]:
        """Return the settings as the seed's `audio_conf`, which data sets take."""
        values = replace(self, window_overlap=None, spectrograms=False).entries()
        return {"resample_rate" if name == "sample_rate" else name: value for name, value in values.items()}
