"""How loud, how noisy and how wide a recording is."""

import numpy as np
import pytest
import soxr
import torch

from ssast.audio.decode import Recording
from ssast.dataset_audit.acoustics import FLOOR_DB, measure_acoustics

RATE = 16000
RNG = np.random.default_rng(0)


def heard(samples, rate=RATE):
    return measure_acoustics(Recording(torch.from_numpy(np.atleast_2d(samples).astype(np.float32)), rate))


def tone(seconds=1.0, hz=500, level=0.5):
    return level * np.sin(2 * np.pi * hz * np.arange(int(RATE * seconds)) / RATE)


def test_a_tone_has_its_own_level_and_half_of_it_6_db_less():
    assert heard(tone()).loudness_db == pytest.approx(20 * np.log10(0.5 / 2**0.5), abs=0.1)
    assert heard(tone()).loudness_db - heard(tone(level=0.25)).loudness_db == pytest.approx(6.02, abs=0.01)


def test_pauses_do_not_make_it_quieter_but_are_the_noise_floor():
    noise = 0.001 * RNG.standard_normal(RATE)
    with_pause = heard(np.concatenate([tone(), noise]))
    assert with_pause.loudness_db == pytest.approx(heard(tone()).loudness_db, abs=0.2)
    assert with_pause.noise_db == pytest.approx(-60, abs=1.5)


def test_a_copy_at_another_rate_is_as_wide_as_before():
    narrow = 0.1 * RNG.standard_normal(8000)
    assert heard(narrow, 8000).bandwidth_hz == pytest.approx(4000, rel=0.02)
    assert heard(soxr.resample(narrow, 8000, 16000)).bandwidth_hz == pytest.approx(4000, rel=0.05)
    assert heard(0.1 * RNG.standard_normal(16000)).bandwidth_hz == pytest.approx(8000, rel=0.02)


@pytest.mark.parametrize("samples", [np.zeros(RATE), np.zeros(100), np.full(RATE, 0.5)])
def test_nothing_but_a_constant_is_at_the_floor(samples):
    sound = heard(samples)
    assert (sound.loudness_db, sound.noise_db, sound.bandwidth_hz) == (FLOOR_DB, FLOOR_DB, 0)


def test_a_recording_shorter_than_a_frame_is_measured():
    assert heard(tone(0.026)).loudness_db > -20


def test_channels_are_averaged():
    assert heard(np.stack([tone(), np.zeros(RATE)])).loudness_db == pytest.approx(
        heard(tone()).loudness_db - 6.02, abs=0.1
    )


@pytest.mark.parametrize("offset", [0.0, 0.002, 0.3])
def test_the_noise_floor_of_digital_silence_is_the_floor_whatever_the_mean_of_the_speech(offset):
    """It once was -56 dB: the mean of the whole clip was subtracted from zeros."""
    assert heard(np.concatenate([tone() + offset, np.zeros(RATE // 2)])).noise_db == FLOOR_DB
    faint = np.concatenate([tone() + offset, 1e-5 * RNG.standard_normal(RATE // 2)])
    assert heard(faint).noise_db == pytest.approx(-100, abs=1.5)
    assert heard(tone() + offset).loudness_db == pytest.approx(heard(tone()).loudness_db, abs=0.01)
