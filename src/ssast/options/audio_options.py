"""Declare the options about how recordings are heard, and how training alters them.

Those of augmentations are made from the tables in `audio/alterations.py`.
"""

from dataclasses import dataclass, make_dataclass
from typing import TYPE_CHECKING, Any

from ssast.audio.alterations import ALTERATIONS, SPECTROGRAM_ALTERATIONS, Alteration
from ssast.options.data_options import DataOptions
from ssast.options.declaration import OptionGroup, option

AUDIO = OptionGroup("Audio and spectrogram")
WAVEFORM = OptionGroup("Waveform augmentation (training only)", alters=True)
SPECTROGRAM = OptionGroup("Spectrogram augmentation (training only)", alters=True)
AUGMENTATIONS = " ".join(
    [name for each in ALTERATIONS for name in (each.name, each.amount.name)]
    + ["mixup", "mixup_alpha", *(each.name for each in SPECTROGRAM_ALTERATIONS)]
)
_PROBABILITY: dict[str, Any] = {"unit": "probability a clip", "low": 0, "high": 1}


@dataclass(frozen=True)
class SoundOptions(DataOptions):
    """The part of `Options` about how every mode hears recordings; `Options` checks the values."""

    # Audio and spectrogram
    dataset_mean: float = option(
        -4.2677393,
        "mean of the data set's log-mel values",
        AUDIO,
        low=-1e6,
        high=1e6,
        is_rare=True,
        is_public=True,
    )
    dataset_std: float = option(
        4.5689974,
        "their standard deviation; values become (x - mean) / (2 std)",
        AUDIO,
        low=1e-6,
        high=1e6,
        is_rare=True,
        is_public=True,
    )
    resample_rate: int = option(
        16000,
        "sample rate that every recording is brought to",
        AUDIO,
        unit="Hz",
        low=1000,
        high=384000,
        is_public=True,
    )
    reduce: bool = option(
        True,
        "average the channels into one; otherwise the first is used",
        AUDIO,
        is_rare=True,
        is_public=True,
    )
    clip_length: float = option(
        0.0,
        "use only the beginning of each recording, 0: all of it",
        AUDIO,
        unit="seconds",
        low=0,
        is_rare=True,
        is_public=True,
    )
    num_mel_bins: int = option(
        128, "frequency bins of the spectrogram", AUDIO, unit="mel bins", low=1, high=1024, is_rare=True, is_public=True
    )
    target_length: int = option(
        1024,
        "what spectrograms are cut or padded to",
        AUDIO,
        unit="frames of 10 ms",
        low=1,
        high=1_000_000,
        is_public=True,
    )
    whole_recording: bool | None = option(
        None,
        "score and embed recordings longer than target_length whole, by the mean of windows, as predict does",
        AUDIO,
        shown="False; a fine-tuned model's own",
        is_public=True,
    )
    window_overlap: float = option(
        0.5,
        "windows of recordings that are heard whole share so much; a fine-tuned model's own, if it has one",
        AUDIO,
        unit="share of a window",
        low=0,
        high=0.95,
    )
    window_pooling: str = option(
        "mean",
        "how the scores of its windows become those of a recording",
        AUDIO,
        choices=("mean", "max"),
        is_rare=True,
    )


def _fields(alteration: Alteration) -> list[tuple[str, type, Any]]:
    """The two options of a waveform augmentation: how often, then how much."""
    amount = alteration.amount
    often = option(0.0, alteration.help, WAVEFORM, **_PROBABILITY, is_rare=True, is_public=True)
    much = option(
        amount.default,
        amount.help,
        WAVEFORM,
        unit=amount.unit,
        low=0,
        high=amount.largest,
        is_rare=True,
        amount_of=alteration.name,
    )
    return [(alteration.name, float, often), (amount.name, float, much)]


if TYPE_CHECKING:

    class WaveformOptions(SoundOptions):
        """Fields made from a table are known by name only; modes read them with getattr."""

else:
    _WAVEFORM_FIELDS = [field for alteration in ALTERATIONS for field in _fields(alteration)]
    WaveformOptions = make_dataclass("WaveformOptions", _WAVEFORM_FIELDS, bases=(SoundOptions,), frozen=True)


@dataclass(frozen=True)
class BatchOptions(WaveformOptions):
    """The part of `Options` about waveforms of a batch that are altered together."""

    # Waveform augmentation of a batch
    mixup: float = option(
        0.0, "mix with another clip of the batch, labels too", WAVEFORM, **_PROBABILITY, is_public=True
    )
    mixup_alpha: float = option(
        10.0,
        "shares are drawn from Beta(alpha, alpha); large: near halves",
        WAVEFORM,
        above=0,
        is_rare=True,
        amount_of="mixup",
    )


if TYPE_CHECKING:

    class AudioOptions(BatchOptions):
        """Fields made from a table are known by name only; modes read them with getattr."""

else:
    _SPECTROGRAM_FIELDS = [
        (
            each.name,
            type(each.off),
            option(each.off, each.help, SPECTROGRAM, **each.limits, is_rare=each.is_rare, is_public=True),
        )
        for each in SPECTROGRAM_ALTERATIONS
    ]
    AudioOptions = make_dataclass("AudioOptions", _SPECTROGRAM_FIELDS, bases=(BatchOptions,), frozen=True)
