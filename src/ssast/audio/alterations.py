"""An amount and a sample rate go in, what alters a waveform by that much comes out: every waveform augmentation, once.

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
