"""Measure how loud, how noisy and how wide in frequency a recording is: traits of a microphone, not of a voice.

Shapes: C channels, S samples, K frames, n samples of a frame, F frequencies.
"""

from dataclasses import dataclass
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from ssast.audio.decode import Recording
from ssast.data.recordings import find_recording, metadata_of
from ssast.data.storage.location import Location

_FRAME_SECONDS = 0.032
FLOOR_DB = -120.0
"""What digital silence counts as."""
GATE_DB = 10.0
"""Frames this far below the mean of all that sound are pauses and do not count for loudness, as in ITU-R BS.1770."""
SILENCE_DB = -70.0
QUIET_SHARE = 0.1
"""The noise floor is the level that the quietest tenth of the frames stays below."""
BAND_DB = 60.0
"""The band ends where the mean spectrum stays this far below its highest point."""
MOST_FRAMES = 4000
"""Frames whose spectrum is taken; of longer recordings every second, third, ..."""

_Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Sound:
    """Levels in dB of full scale, and the highest frequency [Hz] that is heard."""

    loudness_db: float
    noise_db: float
    bandwidth_hz: float


class Device(TypedDict):
    """What tells a recording's making: the file's ending, its levels, and the plain values of metadata.json."""

    container: str
    sound: Sound
    metadata: dict[str, str | int | float]


def device(root: Location, uid: str, recording: Recording) -> Device:
    """`sound`, the file's ending as `container`, and the plain values of metadata.json beside encoding and rate."""
    place = find_recording(root, uid).location
    content = metadata_of(root, uid)
    others = {name: value for name, value in content.items() if name not in ("encoding", "sample_rate_hz")}
    plain = {name: value for name, value in others.items() if isinstance(value, str | int | float)}
    return {
        "container": place.name.rsplit(".", 1)[-1].lower(),
        "sound": measure_acoustics(recording),
        "metadata": plain,
    }


def measure_acoustics(recording: Recording) -> Sound:
    """Loudness of what is no pause, level of the quietest tenth, and bandwidth of the mean of the channels."""
    frames_Kn = _frames(recording)
    power_K = np.einsum("kn,kn->k", frames_Kn, frames_Kn, dtype=np.float64) / frames_Kn.shape[1]
    return Sound(
        round(_loudness(power_K), 3),
        round(_decibel(float(np.quantile(power_K, QUIET_SHARE))), 3),
        round(_bandwidth(frames_Kn, recording.sample_rate), 1),
    )


def bandwidth(recording: Recording) -> float:
    """The highest frequency [Hz] that is heard in the mean of the channels."""
    return round(_bandwidth(_frames(recording), recording.sample_rate), 1)


def _frames(recording: Recording) -> _Floats:
    samples_S: _Floats = recording.waveform.mean(0).numpy()
    size = max(16, round(_FRAME_SECONDS * recording.sample_rate))
    if len(samples_S) < size:
        samples_S = np.pad(samples_S, (0, size - len(samples_S)))
    frames_Kn = samples_S[: len(samples_S) // size * size].reshape(-1, size)
    # The mean of each frame, not that of the clip: what is added to zeros or to a faint noise would be heard as noise.
    return frames_Kn - frames_Kn.mean(1, keepdims=True)


def _decibel(power: float) -> float:
    return max(FLOOR_DB, 10 * float(np.log10(max(power, 1e-12))))


def _loudness(power_K: NDArray[np.float64]) -> float:
    """Mean power of the frames that sound, pauses left out."""
    heard_K = power_K > 10 ** (SILENCE_DB / 10)
    if not heard_K.any():
        return _decibel(float(power_K.mean()))
    gate = power_K[heard_K].mean() / 10 ** (GATE_DB / 10)
    return _decibel(float(power_K[heard_K & (power_K >= gate)].mean()))


def _bandwidth(frames_Kn: _Floats, sample_rate: int) -> float:
    """The highest frequency whose mean power is less than BAND_DB below that of the strongest."""
    step = -(-len(frames_Kn) // MOST_FRAMES)
    size = frames_Kn.shape[1]
    spectrum_KF = np.fft.rfft(frames_Kn[::step] * np.hanning(size).astype(np.float32), axis=1)
    power_F = np.mean(spectrum_KF.real**2 + spectrum_KF.imag**2, axis=0)
    if power_F.max() <= 0:
        return 0.0
    last = int(np.flatnonzero(power_F > power_F.max() / 10 ** (BAND_DB / 10))[-1])
    return last * sample_rate / size
