"""The frontend gives Kaldi's filterbanks, whatever the rate, the number of mel bins and the neighbours in the batch."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from ssast.audio.frontend import Frontend
from ssast.errors import UserError

REFERENCE = Path(__file__).parents[1] / "reference" / "fbank.npz"
FLOOR = 1.1920928955078125e-07


def slow_fbank(waveform, sample_rate, num_mel_bins):
    """Compute the fbank from Kaldi's definition, a value at a time, in float64."""
    window, shift = int(sample_rate * 0.001 * 25), int(sample_rate * 0.001 * 10)
    size = 2 ** math.ceil(math.log2(window))
    hann = [0.5 - 0.5 * math.cos(2 * math.pi * i / (window - 1)) for i in range(window)]
    corners = np.linspace(hz_to_mel(20), hz_to_mel(sample_rate / 2), num_mel_bins + 2)
    waveform = waveform.astype(np.float64) - waveform.astype(np.float64).mean()
    rows = []
    for start in range(0, len(waveform) - window + 1, shift):
        frame = waveform[start : start + window]
        frame = frame - frame.mean()
        frame = np.concatenate([[frame[0] * (1 - 0.97)], frame[1:] - 0.97 * frame[:-1]]) * hann
        power = np.abs(np.fft.rfft(frame, size)) ** 2
        rows.append(
            [
                math.log(max(FLOOR, triangle(power, sample_rate / size, *corners[m : m + 3])))
                for m in range(num_mel_bins)
            ]
        )
    return np.array(rows)


def hz_to_mel(frequency):
    return 1127 * math.log(1 + frequency / 700)


def triangle(power, bin_hz, left, centre, right):
    mels = 1127 * np.log(1 + np.arange(len(power) - 1) * bin_hz / 700)
    weights = np.where(mels <= centre, (mels - left) / (centre - left), (right - mels) / (right - centre))
    return float((np.clip(weights, 0, None) * power[:-1]).sum())


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * 0.1


@pytest.fixture(scope="module")
def reference():
    return np.load(REFERENCE)


@pytest.mark.parametrize("sound", ["noise", "chirp"])
def test_the_reference_is_reproduced(reference, sound):
    """The reference was made with MKL's transform for Intel, where every value is equal to 1e-6.

    Other float32 transforms (MKL on AMD, a GPU's) round otherwise, which shows in bins 100 dB below the loudest of
    their frame: so far down the reference itself is up to 1e-2 away from a float64 computation.
    """
    fbank = Frontend().fbank(torch.from_numpy(reference[f"{sound}_wave"])[None])[0].numpy()
    expected = reference[f"{sound}_fbank"]
    assert fbank.shape == expected.shape
    difference = np.abs(fbank - expected)
    assert difference[expected > expected.max(axis=1, keepdims=True) - np.log(1e8)].max() < 1e-3
    assert np.quantile(difference, 0.97) < 1e-3
    assert difference.max() < 2e-2


def test_silence_is_the_log_of_float32_eps(reference):
    fbank = Frontend().fbank(torch.zeros(1, 16000))[0].numpy()
    np.testing.assert_allclose(fbank, reference["silence_fbank"], atol=1e-6)


@pytest.mark.parametrize("sample_rate", [8000, 11025, 16000, 22050, 44100, 48000])
@pytest.mark.parametrize("num_mel_bins", [1, 23, 128])
def test_any_rate_and_number_of_mel_bins_follow_kaldis_definition(sample_rate, num_mel_bins):
    waveform = noise(1, sample_rate // 5 + 17, seed=sample_rate) + 0.05
    fbank = Frontend(sample_rate, num_mel_bins).fbank(waveform)[0].numpy()
    expected = slow_fbank(waveform[0].numpy(), sample_rate, num_mel_bins)
    assert fbank.shape == expected.shape
    np.testing.assert_allclose(fbank, expected, atol=1e-3)


def test_an_empty_mel_filter_is_kept_and_gives_the_floor():
    fbank = Frontend(16000, 128).fbank(noise(1, 4000))[0]
    assert fbank.shape[1] == 128
    assert ((fbank - math.log(FLOOR)).abs().amax(dim=0) < 1e-5).sum() == 1


@pytest.mark.parametrize(
    ("samples", "frames"), [(0, 0), (1, 0), (399, 0), (400, 1), (559, 1), (560, 2), (16000, 98), (163840, 1022)]
)
def test_only_whole_windows_count_as_frames(samples, frames):
    assert Frontend().frames(torch.tensor([samples])).tolist() == [frames]


def test_frame_counts_are_int64_for_any_integer_lengths():
    assert Frontend().frames(torch.tensor([16000], dtype=torch.int32)).dtype == torch.int64


def test_a_clip_is_the_same_alone_and_in_any_batch():
    frontend = Frontend()
    clips = [noise(1, n, seed=n) + 0.3 for n in (300, 400, 5000, 16000)]
    batch = torch.full((4, 20000), float("nan"))
    for row, clip in zip(batch, clips, strict=True):
        row[: clip.shape[1]] = clip
    together = frontend.fbank(batch, torch.tensor([clip.shape[1] for clip in clips]))
    assert together.shape == (4, 98, 128)
    for own, clip in zip(together, clips, strict=True):
        alone = frontend.fbank(clip)[0]
        torch.testing.assert_close(own[: len(alone)], alone, atol=1e-6, rtol=0)
        assert not own[len(alone) :].any()


def test_a_constant_offset_does_not_matter():
    frontend, waveform = Frontend(), noise(1, 4000)
    torch.testing.assert_close(frontend.fbank(waveform + 0.5), frontend.fbank(waveform), atol=2e-2, rtol=0)


def test_a_clip_shorter_than_a_window_becomes_padding_alone():
    frontend = Frontend(target_length=16)
    prepared = frontend(torch.ones(2, 399))
    assert prepared.shape == (2, 16, 128)
    torch.testing.assert_close(prepared, torch.full_like(prepared, 4.2677393 / (2 * 4.5689974)))
    assert frontend.fbank(torch.ones(2, 399)).shape == (2, 0, 128)
    assert frontend.fbank(torch.ones(0, 399)).shape == (0, 0, 128)


@pytest.mark.parametrize("target_length", [1, 50, 98, 200])
def test_forward_cuts_or_pads_and_divides_by_twice_the_std(target_length):
    frontend = Frontend(target_length=target_length, mean=-3.0, std=2.0)
    waveform, lengths = noise(2, 16000), torch.tensor([16000, 9000])
    fbank = torch.nn.functional.pad(frontend.fbank(waveform, lengths), (0, 0, 0, 200))[:, :target_length]
    torch.testing.assert_close(frontend(waveform, lengths), (fbank + 3.0) / 4.0, atol=1e-6, rtol=0)


def test_a_long_recording_in_pieces_is_the_same(monkeypatch):
    waveform = noise(2, 16000)
    whole = Frontend().fbank(waveform)
    monkeypatch.setattr("ssast.audio.frontend._FRAMES_AT_ONCE", 20)
    assert torch.equal(Frontend().fbank(waveform), whole)


def test_precision_stays_float32_under_autocast_half_modules_and_coarse_products():
    waveform = noise(1, 4000)
    expected = Frontend().fbank(waveform)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(Frontend().fbank(waveform), expected)
    assert torch.equal(Frontend().to(torch.bfloat16).fbank(waveform), expected)
    assert torch.equal(Frontend().half().fbank(waveform.double()), expected)
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        assert torch.equal(Frontend().fbank(waveform), expected)
    finally:
        torch.set_float32_matmul_precision(before)


def test_the_state_holds_nothing_to_save():
    assert not Frontend().state_dict()


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"sample_rate": 0}, "sample_rate is 0"),
        ({"sample_rate": -16000}, "sample_rate is -16000"),
        ({"num_mel_bins": 0}, "num_mel_bins is 0"),
        ({"num_mel_bins": 513}, "num_mel_bins is 513; at 16000 Hz it must be from 1 to 512"),
        ({"target_length": 0}, "target_length is 0"),
        ({"std": 0.0}, "std 0"),
        ({"mean": math.nan}, "mean is nan"),
    ],
)
def test_impossible_options_are_named(options, named):
    with pytest.raises(UserError, match=named):
        Frontend(**options)


def test_wrong_shapes_and_lengths_are_named():
    frontend = Frontend()
    with pytest.raises(UserError, match=r"shape \(4000,\); expected \(clips, samples\)"):
        frontend.fbank(torch.zeros(4000))
    with pytest.raises(UserError, match="one length for each of 2 clips"):
        frontend.fbank(torch.zeros(2, 4000), torch.tensor([4000]))
    with pytest.raises(UserError, match="from 10 to 4001; expected 0 to"):
        frontend.fbank(torch.zeros(2, 4000), torch.tensor([10, 4001]))
