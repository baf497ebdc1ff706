import os
import pickle
import random

import numpy as np
import pytest
import torch

from ssast.audio import augment
from ssast.audio.alterations import ALTERATIONS
from ssast.audio.augment import WaveformAugment
from ssast.errors import UserError

RATE = 16000
EACH = [each.name for each in ALTERATIONS]
ALL = WaveformAugment(**dict.fromkeys(EACH, 1.0))


def noise(channels=1, samples=8000, seed=0):
    return 0.1 * torch.randn(channels, samples, generator=torch.Generator().manual_seed(seed))


def dice(seed=0):
    return torch.Generator().manual_seed(seed)


def test_an_inactive_augmentation_returns_the_very_same_waveform_without_importing_audiomentations(
    warm_modes,
):
    code = (
        "import sys, torch; from ssast.audio.augment import WaveformAugment as W; x = torch.ones(1, 9);"
        "assert W()(x, 16000, seed=0) is x and not W().active; assert 'audiomentations' not in sys.modules"
    )
    done = warm_modes.run(code, os.environ)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", EACH)
def test_each_alteration_changes_the_waveform_and_repeats_with_its_seed(name):
    altered = WaveformAugment(**{name: 1.0})
    first, again, other = (altered(noise(), RATE, seed=seed) for seed in (5, 5, 6))
    assert first.dtype == torch.float32
    assert torch.equal(first, again)
    assert first.shape != noise().shape or not torch.equal(first, noise())
    assert first.shape != other.shape or not torch.equal(first, other)


@pytest.mark.parametrize("channels", [1, 2, 5])
@pytest.mark.parametrize("samples", [1, 800, 8000])
def test_short_multichannel_and_silent_clips_stay_finite_float32_without_a_warning(channels, samples):
    for waveform in (noise(channels, samples), torch.zeros(channels, samples)):
        for seed in range(3):
            altered = ALL(waveform, RATE, seed=seed)
            assert altered.dtype == torch.float32
            assert altered.shape[0] == channels
            assert altered.shape[1] > 0
            assert torch.isfinite(altered).all()
    assert not ALL(torch.zeros(channels, samples), RATE, seed=0).any()


def test_a_clip_without_samples_comes_back_as_it_is():
    assert ALL(torch.zeros(1, 0), RATE, seed=0).shape == (1, 0)


def test_the_input_is_not_written_to():
    waveform = noise()
    before = waveform.clone()
    ALL(waveform, RATE, seed=1)
    assert torch.equal(waveform, before)


def test_an_augmentation_that_has_been_used_can_be_sent_to_a_worker():
    ALL(noise(), RATE, seed=1)
    assert pickle.loads(pickle.dumps(ALL)) == ALL


def test_the_global_random_states_are_as_before_even_after_an_error():
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    python_state, numpy_state = random.getstate(), np.random.get_state()[1].copy()  # noqa: NPY002
    ALL(noise(), RATE, seed=3)
    with pytest.raises(RuntimeError), augment._global_chance("seed"):
        raise RuntimeError
    assert random.getstate() == python_state
    assert (np.random.get_state()[1] == numpy_state).all()  # noqa: NPY002


def test_the_outcome_ignores_the_global_seed():
    outcomes = []
    for seed in (1, 2):
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        outcomes.append(ALL(noise(), RATE, seed=3))
    assert torch.equal(*outcomes)


def test_switching_one_alteration_on_leaves_the_chance_of_the_others_alone():
    gain = WaveformAugment(gain=1.0)(noise(), RATE, seed=4)
    both = WaveformAugment(gain=1.0, tshift=1.0, tshift_share=0.0)(noise(), RATE, seed=4)
    assert torch.equal(gain, both)


def test_the_probability_is_the_share_of_clips_that_are_altered():
    altered = WaveformAugment(gain=0.3)
    waveform = noise(samples=100)
    changed = sum(not torch.equal(altered(waveform, RATE, seed=seed), waveform) for seed in range(400))
    assert 0.2 < changed / 400 < 0.4


def test_speed_moves_pitch_and_length_stretch_only_length_pitch_shift_only_pitch():
    tone = torch.sin(2 * torch.pi * 400 * torch.arange(RATE) / RATE)[None]

    def peak(waveform):
        spectrum = torch.fft.rfft(waveform[0] * torch.hann_window(waveform.shape[1]))
        return float(spectrum.abs().argmax()) * RATE / waveform.shape[1]

    for seed in range(5):
        fast = WaveformAugment(speed=1.0, speed_range=0.1)(tone, RATE, seed=seed)
        assert RATE / 1.11 < fast.shape[1] < RATE / 0.89
        assert peak(fast) == pytest.approx(400 * RATE / fast.shape[1], abs=2)
        stretched = WaveformAugment(stretch=1.0)(tone, RATE, seed=seed)
        assert stretched.shape[1] != RATE
        assert peak(stretched) == pytest.approx(400, abs=4)
        shifted = WaveformAugment(pshift=1.0)(tone, RATE, seed=seed)
        assert shifted.shape == tone.shape
        assert 400 / 2 ** (2.1 / 12) < peak(shifted) < 400 * 2 ** (2.1 / 12)


def test_amounts_bound_gain_noise_and_time_shift():
    waveform = noise(samples=16000)
    for seed in range(10):
        ratio = (WaveformAugment(gain=1.0)(waveform, RATE, seed=seed).norm() / waveform.norm()).log10() * 20
        assert abs(float(ratio)) <= 6.01
        added = WaveformAugment(gauss=1.0)(waveform, RATE, seed=seed) - waveform
        assert 14.5 < float((waveform.norm() / added.norm()).log10() * 20) < 40.5
        click = torch.zeros(1, 1000).index_fill(1, torch.tensor(500), 1.0)
        assert 250 <= int(WaveformAugment(tshift=1.0)(click, 100, seed=seed).argmax()) <= 750


@pytest.mark.parametrize(
    ("name", "value"),
    [("gain", 1.1), ("tshift", -0.1), ("pshift", float("nan")), ("gain_db", -1), ("speed_range", 1), ("pshiftn", -2)],
)
def test_a_value_out_of_range_is_named_with_its_range(name, value):
    with pytest.raises(UserError, match=f"^{name} is .* between 0 and"):
        WaveformAugment(**{name: value})


def test_masks_hide_one_run_of_zero_to_width_less_one_and_reach_every_place():
    fbank = torch.ones(4000, 30, 20)
    for mask, axis in ((augment.mask_frequency, 2), (augment.mask_time, 1)):
        masked = mask(fbank, 6, dice())
        hidden = (masked == 0).all(3 - axis)
        assert torch.equal((masked == 0).any(3 - axis), hidden)
        assert hidden.sum(1).unique().tolist() == [0, 1, 2, 3, 4, 5]
        assert (hidden.int().diff(dim=1) == 1).sum(1).max() <= 1
        assert hidden.any(0).all()


def test_a_mask_of_width_zero_hides_nothing_a_wider_one_than_the_clip_stays_inside_and_a_negative_one_is_refused():
    fbank = torch.ones(50, 4, 6)
    assert torch.equal(augment.mask_time(fbank, 0, dice()), fbank)
    assert augment.mask_time(fbank, 400, dice()).shape == fbank.shape
    with pytest.raises(UserError, match="freqm is -1"):
        augment.mask_frequency(fbank, -1, dice())


def test_noise_stays_under_a_tenth_and_rolls_by_minus_ten_to_nine_frames():
    fbank = 100.0 * torch.arange(40.0)[None, :, None].expand(3000, 40, 2)
    noisy = augment.add_noise(fbank, dice())
    added = noisy - (noisy / 100).floor() * 100
    assert added.min() >= 0
    assert 0.09 < added.max() < 0.1
    assert len(added.amax((1, 2)).round(decimals=4).unique()) > 100
    start = (noisy[:, :, 0] / 100).floor().argmin(1)
    rolls = torch.where(start > 20, start - 40, start)
    assert rolls.unique().tolist() == list(range(-10, 10))


def test_coarse_dropout_cuts_eight_by_eight_squares():
    fbank = torch.ones(20, 400, 128)
    dropped = augment.coarse_dropout(fbank, dice()) == 0
    assert (dropped.sum((1, 2)) <= 16 * 64).all()
    assert (dropped.sum((1, 2)) >= 4 * 64).all()
    assert augment.coarse_dropout(torch.ones(2, 3, 5), dice()).shape == (2, 3, 5)


def test_shift_moves_the_picture_and_lets_zeros_in():
    fbank = torch.rand(200, 100, 40, generator=dice()) + 1
    moved = augment.shift(fbank, dice(1))
    for before, after in zip(fbank, moved, strict=True):
        held = (after != 0).nonzero()
        low, high = held.amin(0), held.amax(0) + 1
        piece = after[low[0] : high[0], low[1] : high[1]]
        assert piece.shape[0] >= 90
        assert piece.shape[1] >= 38
        rows = 100 - high[0] if low[0] == 0 else 0
        columns = 40 - high[1] if low[1] == 0 else 0
        assert torch.equal(piece, before[rows : rows + len(piece), columns : columns + piece.shape[1]])


@pytest.mark.parametrize("name", ["add_noise", "coarse_dropout", "shift"])
def test_fbank_alterations_repeat_with_the_generator_and_leave_input_and_global_state_alone(name):
    fbank = torch.rand(3, 50, 16, generator=dice())
    before, state = fbank.clone(), torch.get_rng_state()
    first, again = (getattr(augment, name)(fbank, dice(7)) for _ in range(2))
    assert torch.equal(first, again)
    assert torch.equal(fbank, before)
    assert torch.equal(torch.get_rng_state(), state)


def batch():
    waveform = noise(6, 100) + 3
    lengths = torch.tensor([100, 40, 70, 55, 1, 90])
    waveform = waveform * (torch.arange(100) < lengths[:, None])
    return waveform, lengths, torch.eye(6)


def test_mixup_mixes_waveform_and_labels_with_one_lambda():
    waveform, lengths, targets = batch()
    mixed, same_lengths, labels = augment.mixup(waveform, lengths, targets, 1.0, dice(2))
    assert torch.equal(same_lengths, lengths)
    centred = torch.zeros_like(waveform)
    for row, length in enumerate(lengths):
        centred[row, :length] = waveform[row, :length] - waveform[row, :length].mean()
    for row, length in enumerate(lengths):
        expected = sum(labels[row, other] * centred[other] for other in range(6))
        expected[length:] = 0
        torch.testing.assert_close(mixed[row], expected)
    torch.testing.assert_close(labels.sum(1), torch.ones(6))
    assert (labels.diagonal() < 1).any()


def test_mixup_keeps_padding_zero_and_leaves_clips_alone_that_are_not_drawn():
    waveform, lengths, targets = batch()
    same, _, labels = augment.mixup(waveform, lengths, targets, 0.0, dice())
    assert torch.equal(same, waveform)
    assert torch.equal(labels, targets)
    half, _, labels = augment.mixup(waveform, lengths, targets, 0.5, dice(0))
    untouched = (half == waveform).all(1)
    assert 0 < untouched.sum() < 6
    assert not half[torch.arange(100) >= lengths[:, None]].any()


def test_mixup_draws_lambda_from_the_beta_distribution():
    targets = torch.arange(4000.0)[:, None]
    silent = torch.zeros(4000, 2)
    _, _, labels = augment.mixup(silent, torch.full((4000,), 2), torch.ones(4000, 1), 1.0, dice())
    torch.testing.assert_close(labels, torch.ones(4000, 1))
    _, _, labels = augment.mixup(silent, torch.full((4000,), 2), (targets % 2), 1.0, dice())
    weights = labels[(labels > 0) & (labels < 1)]
    assert float(weights.mean()) == pytest.approx(0.5, abs=0.02)
    assert float(weights.var()) == pytest.approx(1 / 84, rel=0.15)


def test_mixup_takes_batches_without_labels_and_refuses_what_is_no_probability():
    waveform, lengths, _ = batch()
    assert augment.mixup(waveform, lengths, torch.zeros(6, 0), 1.0, dice())[2].shape == (6, 0)
    with pytest.raises(UserError, match="mixup is 2"):
        augment.mixup(waveform, lengths, torch.zeros(6, 0), 2, dice())
    with pytest.raises(UserError, match="mixup_alpha is 0"):
        augment.mixup(waveform, lengths, torch.zeros(6, 0), 0.5, dice(), alpha=0)
