"""Judge what a model hears of a recording, and say what about it is not as it should be.

Shapes: C channels, S samples.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssast.audio.decode import Recording

SILENT_DB = -60.0
"""What stays below this peak, against full scale, says nothing."""
QUIET_DB = -40.0
LOUD = 2.0
"""Lossy coding overshoots full scale by less than this; what goes further was never scaled to it."""
FULL_SCALE = 0.999
CLIPPED_SHARE = 0.001
"""Noted above this share of samples that stand at full scale beside another one there."""
DC_OFFSET = 0.01
"""Noted above this mean, full scale being 1."""
DEAD_DB = 40.0
"""A channel so far below the loudest one counts as silent."""
OPPOSITE = -0.75
"""Channels that correlate below this take more than 9 dB from each other in their mean."""
UNLIKE = 0.3
"""Channels that correlate less than this, whatever the delay between them, hold different sounds."""
DELAY_SECONDS = 0.02
"""Microphones of one room hear the same sound at most so far apart: 7 m."""
COMPARED_SECONDS = 30.0
STILL_SECONDS = 0.05
"""A stretch without any change counts from this length on: two windows of the spectrogram."""
STEPS_OF_8_BITS = 128

# Under these a model learns, or is asked about, something else than the recording.
WRONGS = {
    "silent": f"nothing that a model hears of it is above {SILENT_DB:g} dB of full scale",
    "channels cancel": "channels of opposite sign cancel each other in the mean that a model hears",
    "beyond full scale": f"its samples go beyond {LOUD:g} times full scale, which shifts its whole spectrogram",
}
ODDITIES = {
    "cut": "it is longer than what a model hears of it (--target_length or --clip_length)",
    "silent channel": "a channel without sound makes the mean that a model hears quieter than the others",
    "different channels": "its channels hold different sounds, and a model hears their mean",
    "very quiet": f"nothing that a model hears of it is above {QUIET_DB:g} dB of full scale",
    "clipped": f"more than {CLIPPED_SHARE:.1%} of its samples are at full scale, side by side",
    "digital silence": f"stretches of {STILL_SECONDS * 1000:g} ms or more without any change of the samples: "
    "padding, muting or a noise gate, whose amount can tell a label",
}
# Worth knowing of a data set; no run needs to hear of it.
FINDING_FACTS = {
    "DC offset": f"its mean is more than {DC_OFFSET:g} of full scale away from zero; the spectrogram takes it out",
    "8 bit": "its samples take only the 256 steps of 8 bits, whose noise a model hears",
    "copied channels": "all its channels hold the same samples",
}

LENGTH = "length"
"""No finding: the seconds of every recording that is judged, so that a run can tell how much sound it does not hear."""

_Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class SoundFinding:
    """One thing that is not as it should be: `kind` is a key of WRONGS, ODDITIES or FACTS, `detail` has the numbers."""

    kind: str
    detail: str


@dataclass(frozen=True, slots=True)
class Still:
    """How many seconds are without any change: at the start, at the end and between, and the length of it all."""

    start: float
    end: float
    between: float
    whole: float

    @property
    def seconds(self) -> float:
        """All of it together."""
        return self.start + self.end + self.between

    @property
    def share(self) -> float:
        """Return the stillness as a share of the whole."""
        return self.seconds / self.whole if self.whole else 0.0


def judge(
    recording: Recording,
    heard: Recording,
    *,
    most_samples: int | None = None,
    clip_seconds: float = 0.0,
    mono: bool = True,
) -> list[SoundFinding]:
    """The findings about a recording as a model hears it: the first `most_samples` (None: all) of `heard`.

    `heard` is what `conform` made of it, its first channel counting; `clip_seconds` and `mono` as given there.
    """
    heard_S = _array(heard)[0, :most_samples]
    seconds = len(heard_S) / heard.sample_rate
    channels_CS = _array(recording)[:, : max(1, round(seconds * recording.sample_rate))]
    found = [*_cut(recording, heard, most_samples, clip_seconds), *_channels(channels_CS, recording.sample_rate, mono)]
    if not any(finding.kind == "channels cancel" for finding in found):
        found += _level(heard_S, is_whole=not found or found[0].kind != "cut")
    found += _samples(channels_CS)
    if all(finding.kind not in ("silent", "channels cancel") for finding in found):
        found += _stillness(still(channels_CS, recording.sample_rate, mono=mono))
    return found


def length_entry(seconds: float) -> SoundFinding:
    """The entry that tells how long a recording is."""
    return SoundFinding(LENGTH, f"{seconds:.4f}")


def still(channels_CS: _Floats, sample_rate: int, *, mono: bool = True) -> Still:
    """How long the mean of the channels (else the first) does not change, full scale left out."""
    samples_S = channels_CS.mean(0) if mono and len(channels_CS) > 1 else channels_CS[0]
    last = np.flatnonzero(np.append(samples_S[1:] != samples_S[:-1], True))  # where each stretch of one value ends
    first = np.append(0, last[:-1] + 1)
    is_long = (last - first + 1 >= STILL_SECONDS * sample_rate) & (np.abs(samples_S[first]) < FULL_SCALE)
    first, length = first[is_long], (last - first + 1)[is_long] / sample_rate
    at_start, at_end = first == 0, last[is_long] == len(samples_S) - 1
    start, end = float(length[at_start].sum()), float(length[at_end & ~at_start].sum())
    return Still(start, end, float(length[~at_start & ~at_end].sum()), len(samples_S) / sample_rate)


def clipped_share(channels_CS: _Floats) -> float:
    """The share of samples at full scale whose next one is there too, with the same sign."""
    if channels_CS.shape[1] < 2:
        return 0.0
    at_top_CS, at_bottom_CS = channels_CS >= FULL_SCALE, channels_CS <= -FULL_SCALE
    if not (at_top_CS.any() or at_bottom_CS.any()):
        return 0.0
    pairs = (at_top_CS[:, 1:] & at_top_CS[:, :-1]) | (at_bottom_CS[:, 1:] & at_bottom_CS[:, :-1])
    return float(pairs.mean())


def decibel(ratio: float) -> float:
    """An amplitude, full scale being 1, in dB; -180 for nothing."""
    return 20 * float(np.log10(max(ratio, 1e-9)))


def _array(recording: Recording) -> _Floats:
    values: _Floats = recording.waveform.numpy()
    return values


def _cut(recording: Recording, heard: Recording, most: int | None, clip_seconds: float) -> Iterator[SoundFinding]:
    """Whether its end is not heard; windows that hold less than one more step of 10 ms do not count."""
    whole = recording.samples / recording.sample_rate
    step = heard.sample_rate // 100
    is_long = most is not None and heard.waveform.shape[1] >= most + step
    if is_long:
        frames = (most - int(heard.sample_rate * 0.025)) // step + 1 if most is not None else 0
        yield SoundFinding("cut", f"{whole:.2f} s long, of which the first {frames / 100:.2f} s are heard")
    elif clip_seconds and whole >= clip_seconds + 0.01:
        yield SoundFinding("cut", f"{whole:.2f} s long, of which the first {clip_seconds:.2f} s are heard")


def _level(heard_S: _Floats, *, is_whole: bool) -> Iterator[SoundFinding]:
    """Too little or too much sound; a constant is none."""
    middle = heard_S.mean(dtype=np.float64)
    peak = max(float(heard_S.max() - middle), float(middle - heard_S.min()))
    what = "its highest sample" if is_whole else "the highest sample of what is heard"
    if abs(middle) > DC_OFFSET:
        what += f", the constant {middle:.3g} taken off,"
    if decibel(peak) < SILENT_DB:
        yield SoundFinding("silent", f"{what} is {peak:.6f} of full scale; replace or remove it")
    elif decibel(peak) < QUIET_DB:
        yield SoundFinding("very quiet", f"{what} is {decibel(peak):.1f} dB of full scale")
    elif peak > LOUD:
        yield SoundFinding(
            "beyond full scale", f"{what} is {peak:.6g} times full scale; save it again with samples from -1 to 1"
        )


def _channels(channels_CS: _Floats, sample_rate: int, mono: bool) -> Iterator[SoundFinding]:
    """The findings about its channels and their mean."""
    count = len(channels_CS)
    if count == 1 or not mono:
        return
    if (channels_CS == channels_CS[0]).all():
        yield SoundFinding("copied channels", f"its {count} channels hold the same samples")
        return
    free_CS = channels_CS - channels_CS.mean(1, keepdims=True)
    power_C = np.einsum("cs,cs->c", free_CS, free_CS, dtype=np.float64) / free_CS.shape[1]
    peak = float(np.abs(free_CS).max())
    if decibel(peak) < SILENT_DB:
        return
    is_live_C = power_C > power_C.max() / 10 ** (DEAD_DB / 10)
    live = np.flatnonzero(is_live_C)
    if len(live) < count:
        lost = 20 * np.log10(count / len(live))
        dead = _numbered(np.flatnonzero(~is_live_C), count)
        yield SoundFinding("silent channel", f"{dead} silent: the mean is {lost:.1f} dB quieter than the rest alone")
    if len(live) > 1:
        yield from _together(free_CS[live], power_C[live], live, sample_rate)


def _together(live_CS: _Floats, power_C: NDArray[np.float64], names: Any, sample_rate: int) -> Iterator[SoundFinding]:
    """Whether channels that sound cancel each other or have nothing in common."""
    alike_CC = (live_CS @ live_CS.T).astype(np.float64) / live_CS.shape[1] / np.sqrt(np.outer(power_C, power_C))
    one, other = np.unravel_index(int(alike_CC.argmin()), alike_CC.shape)
    if alike_CC[one, other] < OPPOSITE:
        pair = sorted((names[one] + 1, names[other] + 1))
        mean_S = live_CS.mean(0)
        left = 10 * np.log10(max(float(np.mean(mean_S**2)), 1e-18) / power_C.mean())
        rest = "nothing is left of them in the mean" if left < -100 else f"their mean is {-left:.0f} dB below them"
        much = f"correlation {alike_CC[one, other]:.2f}"
        yield SoundFinding("channels cancel", f"channels {pair[0]} and {pair[1]} have opposite signs, {much}: {rest}")
        return
    loudest = int(power_C.argmax())
    for at in np.flatnonzero(np.abs(alike_CC[loudest]) < UNLIKE):
        most = _likeness(live_CS[loudest], live_CS[at], sample_rate)
        if most < UNLIKE:
            first, second = sorted((names[loudest] + 1, names[at] + 1))
            yield SoundFinding("different channels", f"channels {first} and {second} correlate at {most:.2f} at most")
            return


def _likeness(one_S: _Floats, other_S: _Floats, sample_rate: int) -> float:
    """The highest correlation of two channels over delays of up to DELAY_SECONDS, their signs set aside."""
    most, delay = int(COMPARED_SECONDS * sample_rate), int(DELAY_SECONDS * sample_rate)
    one_S, other_S = one_S[:most], other_S[:most]
    size = 1 << (len(one_S) + delay - 1).bit_length()
    crossed = np.fft.irfft(np.fft.rfft(one_S, size) * np.fft.rfft(other_S, size).conj(), size)
    near = np.concatenate([crossed[: delay + 1], crossed[-delay:]])
    scale = float(np.linalg.norm(one_S) * np.linalg.norm(other_S))
    return float(np.abs(near).max()) / scale if scale else 0.0


def _numbered(places: Any, count: int) -> str:
    """`channel 2 of 2 is`, `channels 2, 3 of 4 are`."""
    names = ", ".join(str(place + 1) for place in places)
    return f"channel {names} of {count} is" if len(places) == 1 else f"channels {names} of {count} are"


def _samples(channels_CS: _Floats) -> Iterator[SoundFinding]:
    """The findings about the samples of the file itself."""
    share, offset = clipped_share(channels_CS), float(np.abs(channels_CS.mean(1)).max())
    if share > CLIPPED_SHARE and np.abs(channels_CS).max() <= LOUD:
        yield SoundFinding("clipped", f"{share:.2%} of its samples are at full scale")
    if offset > DC_OFFSET * max(1.0, float(np.abs(channels_CS).max())):
        yield SoundFinding("DC offset", f"its mean is {offset:.4f} away from zero")
    if _is_coarse(channels_CS[:, :1000]) and _is_coarse(channels_CS) and np.ptp(channels_CS) > 0:
        yield SoundFinding("8 bit", "its samples take only the 256 steps of 8 bits")


def _is_coarse(channels_CS: _Floats) -> bool:
    steps_CS = channels_CS * STEPS_OF_8_BITS
    return bool((steps_CS == np.round(steps_CS)).all()) and bool(np.abs(steps_CS).max() <= STEPS_OF_8_BITS)


def _stillness(found: Still) -> Iterator[SoundFinding]:
    parts = [(found.start, "at its start"), (found.end, "at its end"), (found.between, "in between")]
    stretches = [f"{seconds:.2f} s {where}" for seconds, where in parts if seconds]
    if stretches:
        yield SoundFinding("digital silence", f"{', '.join(stretches)}; {found.share:.0%} of what is heard")
