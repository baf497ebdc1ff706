"""What a model hears of a recording is judged after mixing down, resampling and cutting."""

import numpy as np
import pytest
import torch

from ssast.audio.conform import conform
from ssast.audio.decode import Recording
from ssast.audio.sound_findings import FINDING_FACTS, ODDITIES, WRONGS, judge, still
from ssast.pages.sound_finding_sentences import KINDS, SAID, finding_counts, finding_note, finding_sentences

RATE = 16000
RNG = np.random.default_rng(0)


def voice(seconds=1.0, rate=RATE):
    """Noise that swells and fades, with its low frequencies strongest."""
    noise = RNG.standard_normal(int(seconds * rate) + 4)
    smooth = (noise[4:] + noise[3:-1] + noise[2:-2] + noise[1:-3]) / 4
    return 0.1 * smooth * (1.2 + np.sin(np.arange(len(smooth)) * 20 / rate))


def findings(*channels, rate=RATE, to=RATE, frames=1024, clip_seconds=0.0, mono=True):
    """The details by kind of a recording with these channels."""
    recording = Recording(torch.from_numpy(np.stack(channels).astype(np.float32)), rate)
    heard = conform(recording, sample_rate=to, mono=mono, clip_seconds=clip_seconds)
    most = (frames - 1) * (to // 100) + int(0.025 * to)
    found = judge(recording, heard, most_samples=most, clip_seconds=clip_seconds, mono=mono)
    assert len({finding.kind for finding in found}) == len(found)
    return {finding.kind: finding.detail for finding in found}


def zeros(seconds):
    return np.zeros(int(seconds * RATE))


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
def test_a_recording_that_is_heard_as_it_is_raises_no_doubt(rate):
    assert findings(voice(rate=rate), rate=rate) == {}


def test_channels_that_cancel_are_not_called_silence_and_their_loss_is_told():
    own = voice()
    told = "channels 1 and 2 have opposite signs, correlation -1.00: nothing is left of them in the mean"
    assert findings(own, -own) == {"channels cancel": told}
    assert findings(own, -0.9 * own)["channels cancel"].endswith("their mean is 26 dB below them")
    assert "channels cancel" in findings(voice(), own, 0.5 * voice(), -own), "two of four"
    assert "channels cancel" not in findings(own, voice()), "unlike channels lose 3 dB only"
    assert findings(own, -own, mono=False) == {}, "the first alone is heard then"


def test_a_dead_channel_makes_the_mean_quieter_by_what_is_told():
    own = voice()
    for channels, lost in (((own, zeros(1)), 6.0), ((own, 1e-5 * voice(), own), 3.5), ((own, zeros(1), zeros(1)), 9.5)):
        told = findings(*channels)["silent channel"]
        mean, live = np.mean(channels, axis=0), np.mean([one for one in channels if one.std() > 0.01], axis=0)
        assert 20 * np.log10(live.std() / mean.std()) == pytest.approx(lost, abs=0.1)
        assert f"{lost:.1f} dB quieter" in told


def test_channels_with_different_sounds_are_told_from_two_microphones_of_one_room():
    own = voice()
    assert "different channels" in findings(own, voice())
    assert findings(own, 0.5 * np.roll(own, 30)) == {}, "the same sound 2 ms later"
    assert "channels cancel" not in findings(own, -np.roll(own, 30))
    assert findings(own, own) == {"copied channels": "its 2 channels hold the same samples"}


@pytest.mark.parametrize("scale", [2.0**15, 2.0**31, 127, 50])
def test_samples_far_beyond_full_scale_are_named_with_their_peak(scale):
    own = voice()
    (told,) = [detail for kind, detail in findings(own * scale).items() if kind == "beyond full scale"]
    assert float(told.split(" is ")[1].split()[0]) == pytest.approx(np.abs(own).max() * scale, rel=0.02)
    assert "beyond full scale" not in findings(own / np.abs(own).max() * 1.4), "lossy coding overshoots"


@pytest.mark.parametrize("samples", [np.zeros(RATE), np.full(RATE, 0.5), 1e-4 * np.sin(np.arange(RATE) / 9)])
def test_silence_is_silence_at_any_offset(samples):
    assert "silent" in findings(samples)


def test_what_is_silent_is_judged_on_what_is_heard():
    late = np.concatenate([zeros(3), voice(9)])
    assert findings(late) == {"cut": "12.00 s long, of which the first 10.24 s are heard"} | {
        "digital silence": "3.00 s at its start; 29% of what is heard"
    }
    assert "the highest sample of what is heard is 0.000000" in findings(late, frames=200)["silent"]
    assert "silent" in findings(late, clip_seconds=2)
    high = 0.3 * np.sin(2 * np.pi * 15000 * np.arange(48000) / 48000) * np.hanning(48000)
    assert findings(high, rate=48000, to=48000) == {}
    assert "silent" in findings(high, rate=48000), "nothing of it is left at 16 kHz"


def test_faint_speech_is_told_apart_from_silence():
    own = voice()
    assert set(findings(own / np.abs(own).max() * 10 ** (-45 / 20))) == {"very quiet"}
    assert set(findings(own / np.abs(own).max() * 10 ** (-70 / 20))) == {"silent"}


def test_padding_is_measured_at_the_start_at_the_end_and_between():
    padded = np.concatenate([zeros(0.5), voice(), zeros(0.25), voice(), zeros(0.125)])
    found = still(padded[None].astype(np.float32), RATE)
    assert (found.start, found.between, found.end) == pytest.approx((0.5, 0.25, 0.125), abs=1e-3)
    assert findings(padded)["digital silence"].startswith("0.50 s at its start, 0.12 s at its end, 0.25 s in between")
    assert findings(np.concatenate([voice(), np.full(RATE, 1 / 128)]))["digital silence"], "muted at another value"
    assert findings(np.concatenate([zeros(0.03), voice(), zeros(0.03)])) == {}, "shorter than two windows"
    left = np.concatenate([voice(), zeros(1)])
    assert "digital silence" not in findings(left, left[::-1]), "the mean of the channels is never still"


def test_zeros_count_up_to_where_the_recording_is_heard():
    padded = np.concatenate([voice(2), zeros(8)])
    assert "8.00 s at its end; 80%" in findings(padded)["digital silence"]
    assert set(findings(padded, clip_seconds=2)) == {"cut"}


def test_clipping_offset_and_8_bits_are_facts_of_the_samples():
    own = voice()
    assert "clipped" in findings(np.clip(40 * own, -1, 1))
    assert findings(own - own.mean() + 0.2)["DC offset"] == "its mean is 0.2000 away from zero"
    assert set(findings(np.round(own * 128) / 128)) == {"8 bit"}
    assert findings(np.round(own * 2**15) / 2**15) == {}


@pytest.mark.parametrize(("samples", "is_cut"), [(1023 * 160 + 400 + 159, False), (1023 * 160 + 400 + 160, True)])
def test_cut_means_that_a_frame_is_lost(samples, is_cut):
    assert ("cut" in findings(voice(11)[:samples])) == is_cut


def test_sentences_count_and_name_the_first_few():
    long = {f"u{number}": "12.30 s long, of which the first 10.24 s are heard" for number in range(27)}
    found = {"cut": long, "silent": {"a": "its highest sample is 0"}, "8 bit": {"b": "coarse"}}
    first, second = finding_sentences(found, 128)
    assert first == "1 of 128 recordings is silent to the model: a (its highest sample is 0)."
    assert second.startswith("27 of 128 recordings are longer than what the model hears of them")
    assert second.endswith(": u0 (12.30 s long, of which the first 10.24 s are heard), u1, u2 and 24 more.")
    assert finding_counts(found) == {"silent": 1, "cut": 27, "8 bit": 1}
    assert finding_sentences({"silent": {"a": "x"}}, 1) == ["The recording is silent to the model: a (x)."]
    assert (
        finding_note({"cut": "12 s long", "silent": "nothing", "8 bit": "coarse"}) == "silent: nothing; cut: 12 s long"
    )


def test_every_kind_has_its_words():
    assert set(SAID) == {*WRONGS, *ODDITIES}
    assert set(KINDS) == {*WRONGS, *ODDITIES, *FINDING_FACTS}


def test_a_constant_is_silence_and_the_words_say_what_it_is():
    assert "the constant 0.5 taken off, is 0.000000 of full scale" in findings(np.full(RATE, 0.5))["silent"]
