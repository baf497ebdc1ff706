"""Power spectrograms in the place of sound: how near their log-mel values come, and what is refused."""

import pytest
import torch

from ssast.audio.frontend import Frontend
from ssast.audio.power_spectrogram import LogMelFrontend, check_power, log_mel_of_power
from ssast.errors import AudioError

RATE = 16000


def power(waveform_S: torch.Tensor) -> torch.Tensor:
    window = torch.hann_window(400)
    return torch.stft(waveform_S, 400, 160, window=window, center=True, return_complex=True).abs().square()


def speech_like(seconds: float = 2.0) -> torch.Tensor:
    """A voice that glides, under noise: harmonics of 110 to 150 Hz that fall by 12 dB an octave."""
    times = torch.arange(int(seconds * RATE)) / RATE
    phase = 2 * torch.pi * torch.cumsum(110 + 20 * times, 0) / RATE
    voice = sum(torch.cos(order * phase) / order**2 for order in range(1, 40))
    return 0.2 * voice + 1e-3 * torch.randn(len(times), generator=torch.Generator().manual_seed(0))


def test_log_mel_values_of_power_are_near_those_of_the_sound():
    waveform_S = speech_like()
    ours, theirs = Frontend().fbank(waveform_S[None])[0], log_mel_of_power(check_power(power(waveform_S)))
    assert abs(len(theirs) - len(ours)) <= 1
    frames = min(len(ours), len(theirs))
    gap = theirs[:frames] - ours[:frames]
    assert gap.square().mean().sqrt() < 0.8  # the sound has a deviation of 3
    assert gap.mean().abs() < 0.15


def test_frames_lie_where_those_of_the_sound_do():
    """A click in the middle of a frame of ours, and not one frame before or behind it."""
    waveform_S = torch.zeros(RATE)
    waveform_S[160 * 50 + 200] = 1.0
    ours, theirs = Frontend().fbank(waveform_S[None])[0], log_mel_of_power(check_power(power(waveform_S)))
    assert ours.mean(1).argmax() == theirs.mean(1).argmax() == 50


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda power_NT: power_NT[:150], r"150 rows of 101 values, expected 201 frequencies"),
        (lambda power_NT: power_NT.T, "time and frequency are exchanged"),
        (lambda power_NT: 10 * power_NT.clamp(min=1e-10).log10(), "negative values, so they are decibels"),
        (lambda power_NT: power_NT / 0, "no numbers"),
        (lambda power_NT: power_NT[:, :3], "has 3 frames, expected at least 4"),
        (lambda power_NT: power_NT[0], "has 0 rows"),
    ],
)
def test_what_is_no_power_spectrogram_is_refused(change, said):
    with pytest.raises(AudioError, match=said):
        check_power(change(power(speech_like(1.0)) + 1e-9))


def test_clips_of_log_mel_frames_go_the_way_of_waveforms():
    frontend = LogMelFrontend(num_mel_bins=8, target_length=6)
    clips = [torch.randn(frames, 8) for frames in (5, 3)]
    rows_BS = torch.nn.utils.rnn.pad_sequence([clip.flatten() for clip in clips], batch_first=True)
    rows_BS, lengths = torch.nn.functional.pad(rows_BS, (0, 11)), torch.tensor([40, 24])
    assert frontend.frames(lengths).tolist() == [5, 3]
    made = frontend(rows_BS, lengths)
    for row, clip in enumerate(clips):
        expected = frontend.normalise(torch.nn.functional.pad(clip, (0, 0, 0, 6 - len(clip))))
        assert torch.equal(made[row], expected)
    assert torch.equal(frontend(rows_BS, lengths, length=3), made[:, :3])


def test_the_level_of_frames_is_that_of_the_sound_after_pre_emphasis():
    noise_S = 0.1 * torch.randn(2 * RATE, generator=torch.Generator().manual_seed(0))
    mel_TF = log_mel_of_power(check_power(power(noise_S)))
    frontend = LogMelFrontend()
    level_BT, frames_B, rate = frontend.levels(mel_TF.reshape(1, -1), torch.tensor([mel_TF.numel()]))
    weakened = noise_S[1:] - 0.97 * noise_S[:-1]
    assert (frames_B.tolist(), rate) == ([len(mel_TF)], 100)
    assert level_BT.square().mean() == pytest.approx(float(weakened.square().mean()), rel=0.2)  # 1 dB
