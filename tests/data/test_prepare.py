import pytest
import torch

from ssast.audio.frontend import Frontend
from ssast.data.loader import Bad, collate
from ssast.data.prepare import Prepare
from ssast.errors import AudioError, UserError


@pytest.fixture
def frontend():
    return Frontend(16000, 16, 64)


def batch(lengths=(4000, 9000, 16000), labels=1):
    generator = torch.Generator().manual_seed(0)
    items = [
        {
            "uid": str(number),
            "waveform": 0.1 * torch.randn(1, length, generator=generator),
            "targets": torch.full((labels,), float(number % 2)),
        }
        for number, length in enumerate(lengths)
    ]
    return collate(items)


def chance(seed=0):
    return torch.Generator().manual_seed(seed)


def test_a_prepared_batch_has_the_fbank_and_each_clips_own_frames(frontend):
    prepared = Prepare(frontend)(batch())
    assert prepared["fbank"].shape == (3, 64, 16)
    assert prepared["frames"].tolist() == [23, 54, 64]
    assert prepared["uid"] == ["0", "1", "2"]
    assert prepared["targets"].shape == (3, 1)


def test_without_a_generator_there_is_no_chance(frontend):
    loud = Prepare(frontend, freqm=8, timem=20, noise=True, cdo=True, shift=True, mixup=1.0)
    given = batch()
    assert loud(given)["fbank"].equal(frontend(given["waveform"], given["lengths"]))
    assert loud(given)["targets"].equal(given["targets"])


def test_with_nothing_switched_on_a_generator_changes_nothing(frontend):
    given, plain = batch(), Prepare(frontend)
    torch.testing.assert_close(plain(given, chance())["fbank"], plain(given)["fbank"], rtol=0, atol=1e-6)


@pytest.mark.parametrize("on", ["freqm", "timem", "noise", "cdo", "shift", "mixup"])
def test_each_switch_changes_the_fbank_and_the_same_generator_gives_the_same(frontend, on):
    amount = {"freqm": 8, "timem": 40, "mixup": 1.0}.get(on, True)
    prepare, given = Prepare(frontend, **{on: amount}), batch((16000,) * 4)
    first = prepare(given, chance(1))["fbank"]
    assert first.equal(prepare(given, chance(1))["fbank"])
    assert not first.equal(prepare(given)["fbank"])
    assert not first.equal(prepare(given, chance(2))["fbank"])


def test_masks_are_zeros_before_normalising_and_noise_comes_after(frontend):
    # The published order: a masked place holds the same value as padding.
    masked = Prepare(frontend, timem=60)(batch((16000,) * 8), chance())["fbank"]
    padding = frontend.normalise(torch.zeros(()))
    assert (masked == padding).all(dim=2).any()


def test_mixup_mixes_the_targets_too_and_keeps_unknown_labels_unknown(frontend):
    given = batch((9000,) * 8)
    given["targets"][0] = float("nan")
    mixed = Prepare(frontend, mixup=1.0)(given, chance(3))["targets"]
    assert mixed[0].isnan()
    assert ((mixed > 0) & (mixed < 1)).any()


def test_an_empty_batch_stays_empty(frontend):
    prepared = Prepare(frontend, mixup=1.0, noise=True)(collate([]), chance())
    assert prepared["uid"] == []
    assert len(prepared["fbank"]) == 0


def test_a_bad_recording_that_nobody_raised_for_is_raised_here(frontend):
    with pytest.raises(AudioError, match="why"):
        Prepare(frontend)({**batch(), "bad": [Bad("1", "why", True)]})


@pytest.mark.parametrize("wrong", [{"freqm": 17}, {"timem": 65}, {"freqm": -1}])
def test_masks_wider_than_the_fbank_are_one_sentence(frontend, wrong):
    with pytest.raises(UserError, match=f"{next(iter(wrong))} is .*expected 0"):
        Prepare(frontend, **wrong)
