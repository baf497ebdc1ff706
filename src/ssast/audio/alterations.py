"""List every way to alter a waveform or a spectrogram in training, with its options, amounts and units.

Each entry of ALTERATIONS becomes two options (how often, how much), two keys of the seed's `audio_conf` and a step of
training. Nothing heavy is imported here before it is used, since the command line reads this table.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

SNR_SPREAD_DB = 25.0

Alter = Callable[[Any, int], Any]
"""(samples (C, S) float32 of numpy, sample rate in Hz) -> altered samples (C, S')."""


@dataclass(frozen=True)
class Amount:
    """How much: an option with its default, the largest that makes sense (the smallest is 0), its unit and its help."""

    name: str
    default: float
    largest: float
    unit: str
    help: str


@dataclass(frozen=True)
class Alteration:
    """One way to alter a waveform: `name` is the option that says how often, `make` makes what does it so much.

    `make` takes the amount and the sample rate in Hz. Chance comes from `random` and `numpy.random`, which are seeded
    around each call. `key` is its name in the seed's `audio_conf` where that is another.
    """

    name: str
    help: str
    amount: Amount
    make: Callable[[float, int], Alter]
    key: str = ""


def _shift(amount: float, rate: int) -> Alter:
    from audiomentations import Shift

    return Shift(-amount, amount, p=1.0)


def _speed(amount: float, rate: int) -> Alter:
    from audiomentations import Resample

    # Read at another rate and played at the old one, a clip is as much faster as its rate is lower.
    return Resample(round(rate / (1 + amount)), round(rate / (1 - amount)), p=1.0)


def _pitch(amount: float, rate: int) -> Alter:
    from audiomentations import PitchShift

    return PitchShift(-amount, amount, p=1.0)


def _stretch(amount: float, rate: int) -> Alter:
    from audiomentations import TimeStretch

    return TimeStretch(1 - amount, 1 + amount, leave_length_unchanged=False, p=1.0)


def _gain(amount: float, rate: int) -> Alter:
    from audiomentations import Gain

    return Gain(-amount, amount, p=1.0)


def _noise(amount: float, rate: int) -> Alter:
    from audiomentations import AddGaussianSNR

    return AddGaussianSNR(amount, amount + SNR_SPREAD_DB, p=1.0)


# In the order of their application: noise comes last, so nothing colours it. Speed and stretch change the length:
# keeping it would cut speech off or append silence, and the frontend fits the length anyway. Half a clip is the
# farthest that a circular shift goes; the other limits are those of what audiomentations can do.
ALTERATIONS = (
    Alteration(
        "tshift",
        "shift in time",
        Amount("tshift_share", 0.25, 0.5, "share of the clip", "shift by at most so much, either way"),
        _shift,
    ),
    Alteration(
        "speed",
        "play faster or slower, pitch going with it",
        Amount("speed_range", 0.1, 0.9, "share of the speed", "at most so much faster or slower"),
        _speed,
    ),
    Alteration(
        "pshift",
        "shift the pitch, the length staying",
        Amount("pshiftn", 2.0, 24, "semitones", "at most so much up or down"),
        _pitch,
    ),
    Alteration(
        "stretch",
        "stretch or squeeze in time, the pitch staying",
        Amount("stretch_range", 0.2, 0.9, "share of the speed", "at most so much faster or slower"),
        _stretch,
    ),
    Alteration("gain", "make louder or quieter", Amount("gain_db", 6.0, 60, "dB", "at most so much"), _gain),
    Alteration(
        "gauss",
        "add Gaussian noise",
        Amount("gauss_snr_db", 15.0, 100, "dB", "speech is at least so far above that noise"),
        _noise,
        key="gauss_noise",
    ),
)


@dataclass(frozen=True)
class SpectrogramAlteration:
    """One way to alter the spectrograms of a batch: `name` is the option, `apply` the function in `augment.py`.

    `off` is the option's default, which leaves all as it is: False, or 0 for a width. A width takes up to `at_most`,
    an attribute of the frontend. With `is_raw` it is done before the values are normalised.
    """

    name: str
    help: str
    apply: str
    off: bool | int = False
    unit: str = ""
    at_most: str = ""
    is_raw: bool = False
    is_rare: bool = False

    @property
    def limits(self) -> dict[str, Any]:
        """The unit and the lowest value of its option."""
        return {"unit": self.unit, "low": 0} if self.unit else {}


# In the order of their application.
SPECTROGRAM_ALTERATIONS = (
    SpectrogramAlteration(
        *("freqm", "hide a band narrower than this", "mask_frequency", 0, "mel bins", "num_mel_bins"), is_raw=True
    ),
    SpectrogramAlteration(
        *("timem", "hide a stretch shorter than this", "mask_time", 0, "frames", "target_length"), is_raw=True
    ),
    SpectrogramAlteration("noise", "add noise and roll by up to 10 frames", "add_noise"),
    SpectrogramAlteration("cdo", "coarse dropout: hide small rectangles", "coarse_dropout", is_rare=True),
    SpectrogramAlteration("shift", "shift by a little in time and frequency", "shift", is_rare=True),
)
