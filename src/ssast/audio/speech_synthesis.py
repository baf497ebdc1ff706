"""Synthesise clips of nonsense syllables by artificial voices with known traits (a source-filter model).

A pulse train of glottal flow and breath noise pass formant resonators that move from speech sound to speech sound
(Klatt, J. Acoust. Soc. Am. 67, 1980; pulse shape: Rosenberg, J. Acoust. Soc. Am. 49, 1971).
Shapes: S samples, T control frames of 4 ms, K coefficients of a filter, F frequencies.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]

_FRAME_SECONDS = 0.004
FRAMES_A_HOP, HOPS_A_WINDOW, HOPS_A_FFT = 2, 2, 4
UPPER_FORMANTS = ((3500, 220), (4500, 280), (5700, 400))


@dataclass(frozen=True)
class Traits:
    """One speaker in one clip: five yes/no labels that can be heard, and what else sets one voice apart from another.

    `tract_scale` multiplies all formants (1 for a man's vocal tract, about 1.18 for a woman's), `level_db` is the
    clip's level and `room_db` the room's noise, both in dB re full scale, `tilt_hz` the corner above which the pulse
    loses its harmonics, `tremor_hz` the tremor's rate where there is one.
    """

    breathy: bool = False
    tremor: bool = False
    hypernasal: bool = False
    monopitch: bool = False
    slow_rate: bool = False
    f0_hz: float = 120.0
    tract_scale: float = 1.0
    level_db: float = -24.0
    room_db: float = -65.0
    tilt_hz: float = 5000.0
    tremor_hz: float = 5.0
    clip_seconds: float = 2.5


class Phone(NamedTuple):
    """One speech sound: three formants of an adult man [Hz], and how loud voice and noise are in it."""

    f1: float
    f2: float
    f3: float
    voice: float = 1.0
    noise: float = 0.0
    noise_hz: float = 4000.0
    noise_width_hz: float = 2000.0
    nasal: float = 0.0
    breath: float = 0.0


FRONT = (Phone(280, 2250, 2900), Phone(400, 2000, 2600), Phone(560, 1800, 2500), Phone(750, 1250, 2550))
BACK = (Phone(570, 900, 2450), Phone(430, 820, 2400), Phone(310, 850, 2300), Phone(500, 1450, 2450))
VOWELS = FRONT + BACK
SILENCE = Phone(500, 1450, 2450, 0.0)


def _stop(f2: float, f3: float, burst_hz: float, voiced: bool) -> tuple[tuple[float, Phone], ...]:
    """Return the closure, the burst and, after a voiceless one, the breath of a stop, each with its seconds."""
    if voiced:
        return (0.05, Phone(250, f2, f3, 0.12)), (0.013, Phone(300, f2, f3, 0.3, 0.3, burst_hz, 1500))
    closure, burst = Phone(300, f2, f3, 0.0), Phone(300, f2, f3, 0.0, 0.45, burst_hz, 1500)
    return (0.06, closure), (0.018, burst), (0.03, Phone(400, f2, f3, 0.0, breath=1))


CONSONANTS: tuple[tuple[tuple[float, Phone], ...], ...] = (
    *(_stop(*place, voiced) for voiced in (True, False) for place in ((900, 2200, 1000), (1750, 2600, 4500))),
    *(_stop(2000, 2300, 2000, voiced) for voiced in (True, False)),
    ((0.10, Phone(320, 1700, 2600, 0.0, 0.5, 6000, 2500)),),  # s
    ((0.10, Phone(320, 1800, 2500, 0.0, 0.5, 3200, 1400)),),  # sh
    ((0.08, Phone(320, 1100, 2300, 0.0, 0.2, 4500, 5000)),),  # f
    ((0.07, Phone(320, 1700, 2600, 0.35, 0.22, 6000, 2500)),),  # z
    ((0.06, Phone(320, 1000, 2300, 0.4, 0.1, 4500, 5000)),),  # v
    ((0.07, Phone(260, 1000, 2200, 0.5, nasal=1)),),  # m
    ((0.07, Phone(260, 1600, 2500, 0.5, nasal=1)),),  # n
    ((0.06, Phone(360, 1100, 2700, 0.35)),),  # l
    ((0.06, Phone(300, 700, 2200, 0.35)),),  # w
    ((0.06, Phone(290, 2200, 2900, 0.35)),),  # y
    ((0.06, Phone(380, 1200, 1650, 0.35)),),  # r
)


def synthesise(traits: Traits, *, sample_rate: int = 16000, seed: int | list[int]) -> NDArray[np.float32]:
    """Return a clip (S,) of nonsense speech by such a speaker, within -1 .. 1; the same seed gives the same bytes."""
    rng = np.random.default_rng(seed)
    samples = round(traits.clip_seconds * sample_rate)
    step = round(_FRAME_SECONDS * sample_rate)
    frames = -(-samples // step) + FRAMES_A_HOP + 1
    control, stress_T = _articulate(_syllables(traits, rng), frames)
    f0_T, tremor_T = _melody(traits, stress_T, rng)

    def each_sample(value_T: Array) -> Array:
        return np.interp(np.arange(samples) / step, np.arange(frames), value_T)

    flow_S, pulse_S = _glottis(each_sample(f0_T), sample_rate, traits, rng)
    loudness_T = 10 ** (stress_T * (1.0 if traits.monopitch else 4.0) / 20) * tremor_T
    noise_S = rng.standard_normal(samples)
    # Air rushes while the glottis is open; in a breathy voice it never quite closes.
    leak, breath = (0.6, 0.018) if traits.breathy else (0.2, 0.004)
    breath_T = (breath * control["voice"] + 0.05 * control["breath"]) * tremor_T
    air_S = noise_S * (leak + (1 - leak) * flow_S) * each_sample(breath_T)
    voiced_S = pulse_S * each_sample(control["voice"] * loudness_T)
    hiss_S = noise_S * each_sample(0.07 * control["noise"])

    hop = FRAMES_A_HOP * step
    each_hop = slice(0, -(-samples // hop) * FRAMES_A_HOP + 1, FRAMES_A_HOP)
    slower = {name: value_T[each_hop] for name, value_T in control.items()}
    tract_TF, hiss_TF, source_TF = _filters(slower, traits, sample_rate, hop)
    spectrum_TF = (_spectrum(voiced_S, hop) * source_TF + _spectrum(air_S, hop)) * tract_TF
    spectrum_TF += _spectrum(hiss_S, hop) * hiss_TF
    return _finish(_overlap_add(spectrum_TF, hop, samples), traits, rng)


def _syllables(traits: Traits, rng: np.random.Generator) -> list[tuple[float, Phone, float]]:
    """Return (seconds, phone, stress) of each sound, from silence through syllables and pauses to silence."""
    rate, slowing, pause_seconds, phrase_seconds = rng.uniform(4.0, 4.8), 1.0, (0.08, 0.15), (1.0, 1.8)
    if traits.slow_rate:
        rate, slowing, pause_seconds, phrase_seconds = rng.uniform(1.7, 2.2), 1.5, (0.2, 0.35), (0.8, 1.4)
    sounds = [(rng.uniform(0.05, 0.15), SILENCE, 0.0)]
    end = traits.clip_seconds - rng.uniform(0.05, 0.15)
    pause = rng.uniform(*phrase_seconds)
    while (now := sum(seconds for seconds, _, _ in sounds)) < end - 0.6 / rate:
        if now > pause:
            final, phone, stress = sounds.pop()
            sounds += [(1.8 * final, phone, stress), (rng.uniform(*pause_seconds), SILENCE, 0.0)]
            pause = now + rng.uniform(*phrase_seconds)
        stress = rng.normal()
        onset = CONSONANTS[rng.integers(len(CONSONANTS))]
        sounds += [(seconds * slowing * rng.uniform(0.8, 1.2), phone, stress) for seconds, phone in onset]
        spent = sum(seconds for seconds, _ in onset) * slowing
        vowel = max(1 / rate * rng.uniform(0.8, 1.2) - spent, 0.06)
        sounds.append((vowel, VOWELS[rng.integers(len(VOWELS))], stress))
    left = np.clip(end - np.cumsum([0.0] + [seconds for seconds, _, _ in sounds]), 0, None)
    cut = [(min(sound[0], room), *sound[1:]) for sound, room in zip(sounds, left[:-1], strict=True)]
    return [*cut, (traits.clip_seconds, SILENCE, 0.0)]


def _articulate(sounds: list[tuple[float, Phone, float]], frames: int) -> tuple[dict[str, Array], Array]:
    """Return each control (T,) by the phone's field names, and the syllables' stress (T,), all smoothly moving."""
    ends = np.cumsum([seconds for seconds, _, _ in sounds]) / _FRAME_SECONDS
    which_T = np.minimum(np.searchsorted(ends, np.arange(frames), side="right"), len(sounds) - 1)
    phones = np.array([phone for _, phone, _ in sounds])
    # The tongue needs longer than the vocal folds and the lips; the velum is the slowest.
    seconds = {"f1": 0.05, "f2": 0.06, "f3": 0.06, "nasal": 0.07, "noise_hz": 0.02, "noise_width_hz": 0.02}
    control = {name: _smooth(phones[which_T, i], seconds.get(name, 0.025)) for i, name in enumerate(Phone._fields)}
    return control, _smooth(np.array([stress for _, _, stress in sounds])[which_T], 0.12)


def _smooth(value_T: Array, seconds: float) -> Array:
    """Return the curve averaged under a Hann window of that length."""
    half = max(round(seconds / _FRAME_SECONDS / 2), 1)
    window = np.hanning(2 * half + 3)[1:-1]
    return np.convolve(np.pad(value_T, half, mode="edge"), window / window.sum(), mode="valid")


def _melody(traits: Traits, stress_T: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Return f0 [Hz] (T,), and the factor (T,) by which a tremor moves the loudness."""
    place_T = np.linspace(0, 1, len(stress_T))
    seconds_T = np.arange(len(stress_T)) * _FRAME_SECONDS
    wander_T = _smooth(rng.standard_normal(len(stress_T)), 0.45)
    wander_T *= 3 / wander_T.std()
    final = rng.choice([-4.0, 4.0]) * np.clip((place_T - 0.8) / 0.2, 0, 1) ** 2
    semitones_T = 3.0 * stress_T + wander_T + 2.5 - 5 * place_T + final
    semitones_T *= 0.03 if traits.monopitch else 1.0
    swing_T = np.sin(2 * np.pi * (traits.tremor_hz * seconds_T + rng.random())) * traits.tremor
    f0_T = traits.f0_hz * 2 ** ((np.clip(semitones_T, -8, 10) + 2.0 * swing_T) / 12)
    return f0_T, 1 + 0.7 * swing_T


def _glottis(f0_S: Array, sample_rate: int, traits: Traits, rng: np.random.Generator) -> tuple[Array, Array]:
    """Return the glottal opening (S,), 0 .. 1, and the flow (S,) with shimmer, band-limited to half the rate."""
    jitter, shimmer, opening = (0.012, 0.06, 0.9) if traits.breathy else (0.005, 0.03, 0.6)
    f0_S = np.repeat(f0_S, 2) / (2 * sample_rate)
    cycle_S = np.cumsum(f0_S).astype(int)
    wobble = rng.standard_normal((2, cycle_S[-1] + 2))
    phase_S = np.cumsum(f0_S * (1 + jitter * wobble[0, cycle_S]))
    cycle_S = np.minimum(phase_S.astype(int), wobble.shape[1] - 1)
    # Rosenberg's pulse C: a slow opening, a faster closing, then closed for the rest of the cycle.
    rise, fall = opening * 0.67, opening * 0.33
    within_S = phase_S % 1
    flow_S = np.where(
        within_S < rise,
        0.5 - 0.5 * np.cos(np.pi * within_S / rise),
        np.cos(np.pi / 2 * np.clip((within_S - rise) / fall, 0, 1)),
    )
    samples = len(f0_S) // 2
    pulse_S = np.fft.irfft(np.fft.rfft(flow_S * (1 + shimmer * wobble[1, cycle_S]))[: samples // 2 + 1], samples) / 2
    return flow_S[::2], pulse_S - pulse_S.mean()


def _filters(control: dict[str, Array], traits: Traits, sample_rate: int, hop: int) -> tuple[Complex, Complex, Complex]:
    """Return the responses (T, F) of the vocal tract, of the place where a consonant hisses, and of pulse and lips."""
    scale, ones_T = traits.tract_scale, np.ones_like(control["f1"])
    # A velum that does not close lets every sound through the nose, and what is left builds no pressure for a hiss.
    nasal_T = 0.1 + 0.9 * control["nasal"]
    if traits.hypernasal:
        nasal_T = 0.85 + 0.15 * control["nasal"]

    def section(hz: Array | float, width_hz: Array | float) -> Array:
        section_TK = _quadratic(scale * hz * ones_T, width_hz * ones_T, sample_rate)
        return section_TK / section_TK.sum(1, keepdims=True)

    upper = [(hz, width_hz) for hz, width_hz in UPPER_FORMANTS if scale * hz < 0.47 * sample_rate]
    poles = [
        section(control["f1"], 65 + 170 * nasal_T),
        section(control["f2"], 90 + 90 * nasal_T),
        section(control["f3"], 150 + 80 * nasal_T),
        *(section(hz, width_hz) for hz, width_hz in upper),
        section(270, 90),
        section(1000, 140),
    ]
    # Where the zeros meet the poles the nose is shut off; the farther they part, the more it sounds.
    zeros = [section(270 + 230 * nasal_T, 90), section(1000 + 300 * nasal_T, 140)]
    tract_TF = _response(zeros, hop) / _response(poles, hop)

    hiss_TK = _quadratic(scale * control["noise_hz"], control["noise_width_hz"], sample_rate)
    band_TK = np.array([[0.5, 0.0, -0.5]]) * (1 - hiss_TK[:, 2:])
    hiss_TF = _response([band_TK], hop) / _response([hiss_TK], hop) * (0.4 if traits.hypernasal else 1.0)

    corner = np.exp(-2 * np.pi * (700 if traits.breathy else traits.tilt_hz) / sample_rate)
    tilt_TK = np.array([[1.0, -corner]]) / (1 - corner)
    source_TF = _response([np.array([[1.0, -0.98]])], hop) / _response([tilt_TK], hop)
    return tract_TF, hiss_TF, source_TF


def _quadratic(hz_T: Array, width_hz_T: Array, sample_rate: int) -> Array:
    """Return 1 - 2 r cos(w) / z + r^2 / z^2 as coefficients (T, 3): a peak below a fraction line, a dip above it."""
    radius_T = np.exp(-np.pi * width_hz_T / sample_rate)
    angle_T = 2 * np.pi * np.minimum(hz_T / sample_rate, 0.47)
    return np.stack([np.ones_like(hz_T), -2 * radius_T * np.cos(angle_T), radius_T**2], axis=1)


def _response(sections: list[Array], hop: int) -> Complex:
    """Return the response (T, F) of some sections (T, K) one after the other."""
    product_TK = sections[0]
    for section_TK in sections[1:]:
        order = section_TK.shape[1] - 1
        terms = [product_TK * section_TK[:, k : k + 1] for k in range(order + 1)]
        product_TK = np.sum([np.pad(term_TK, ((0, 0), (k, order - k))) for k, term_TK in enumerate(terms)], axis=0)
    return np.fft.rfft(product_TK, HOPS_A_FFT * hop)


def _spectrum(waveform_S: Array, hop: int) -> Complex:
    """Return the short-time spectrum (T, F), window t centred on sample t * hop."""
    size = HOPS_A_WINDOW * hop
    padded = np.pad(waveform_S, (size // 2, size + hop))
    windows_TS = np.lib.stride_tricks.sliding_window_view(padded, size)[::hop][: -(-len(waveform_S) // hop) + 1]
    return np.fft.rfft(windows_TS * np.hanning(size + 1)[:-1], HOPS_A_FFT * hop)


def _overlap_add(spectrum_TF: Complex, hop: int, samples: int) -> Array:
    """Return the waveform (S,) of a short-time spectrum."""
    pieces_TPS = np.fft.irfft(spectrum_TF, HOPS_A_FFT * hop).reshape(len(spectrum_TF), HOPS_A_FFT, hop)
    waveform = np.zeros((len(spectrum_TF) + HOPS_A_FFT, hop))
    for piece in range(HOPS_A_FFT):
        waveform[piece : piece + len(spectrum_TF)] += pieces_TPS[:, piece]
    start = HOPS_A_WINDOW * hop // 2
    return waveform.ravel()[start : start + samples] / (HOPS_A_WINDOW / 2)


def _finish(waveform_S: Array, traits: Traits, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return the clip at its level, in its room."""
    waveform_S = waveform_S * 10 ** (traits.level_db / 20) / (np.sqrt(np.mean(waveform_S**2)) + 1e-12)
    waveform_S += 10 ** (traits.room_db / 20) * rng.standard_normal(len(waveform_S))
    return (waveform_S / max(np.abs(waveform_S).max() / 0.98, 1.0)).astype(np.float32)
