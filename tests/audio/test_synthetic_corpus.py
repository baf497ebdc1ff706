import csv
import json
import wave

import numpy as np
import pytest

from ssast.audio import synthetic_corpus
from ssast.audio.synthetic_corpus import LABELS, Traits, synthesise, write_corpus
from ssast.errors import UserError

RATE = 16000


def envelope(waveform, seconds=0.016):
    size = round(seconds * RATE)
    return np.sqrt((waveform[: len(waveform) // size * size].reshape(-1, size) ** 2).mean(1))


def spectrum(waveform):
    windows = np.lib.stride_tricks.sliding_window_view(waveform, 1024)[::256] * np.hanning(1024)
    return (np.abs(np.fft.rfft(windows)) ** 2).mean(0)


def pitches(waveform, low=80, high=400):
    """Autocorrelation pitch [Hz] of the clearly voiced windows."""
    windows = np.lib.stride_tricks.sliding_window_view(waveform, 800)[::160] * np.hanning(800)
    power = np.abs(np.fft.rfft(windows, 2048)) ** 2
    correlation = np.fft.irfft(power)[:, : RATE // low]
    lag = correlation[:, RATE // high :].argmax(1) + RATE // high
    peak = correlation[np.arange(len(lag)), lag] / (correlation[:, 0] + 1e-12)
    return RATE / lag[(peak > 0.6) & (correlation[:, 0] > 0.1 * correlation[:, 0].max())]


def spread_semitones(waveform):
    pitch = 12 * np.log2(pitches(waveform))
    return np.subtract(*np.percentile(pitch, [90, 10]))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("corpus") / "voices", speakers=8, clips_per_speaker=4, seed=3)


def read(corpus, split):
    return list(csv.DictReader((corpus / "splits" / f"{split}.csv").open()))


def test_a_clip_has_its_length_level_and_finite_samples_and_repeats_with_its_seed():
    clip = synthesise(Traits(level_db=-25), seed=4)
    assert clip.shape == (40000,)
    assert clip.dtype == np.float32
    assert np.abs(clip).max() <= 0.98
    assert 20 * np.log10(np.sqrt((clip**2).mean())) == pytest.approx(-25, abs=0.2)
    assert clip.tobytes() == synthesise(Traits(level_db=-25), seed=4).tobytes()
    assert clip.tobytes() != synthesise(Traits(level_db=-25), seed=5).tobytes()


@pytest.mark.parametrize("sample_rate", [8000, 22050])
def test_other_sample_rates_work(sample_rate):
    clip = synthesise(Traits(clip_seconds=1.003), sample_rate=sample_rate, seed=0)
    assert len(clip) == round(1.003 * sample_rate)
    assert np.isfinite(clip).all()


def test_the_voice_has_the_pitch_it_is_given():
    for f0 in (120, 220):
        clip = synthesise(Traits(monopitch=True, f0_hz=f0), seed=0)
        assert np.median(pitches(clip)) == pytest.approx(f0, rel=0.03)


def test_monopitch_flattens_the_melody():
    for seed in range(4):
        flat = synthesise(Traits(monopitch=True, f0_hz=130), seed=seed)
        lively = synthesise(Traits(f0_hz=130), seed=seed)
        assert spread_semitones(flat) < 1.5
        assert spread_semitones(lively) > 3


def test_tremor_moves_pitch_and_loudness_at_its_rate():
    def swing(clip):
        loudness = envelope(clip)
        return abs(np.exp(-2j * np.pi * 5 * 0.016 * np.arange(len(loudness))) @ loudness) / loudness.sum()

    steady, shaking = (Traits(monopitch=True, f0_hz=130, slow_rate=True, tremor=t, tremor_hz=5) for t in (False, True))
    pairs = [(synthesise(steady, seed=seed), synthesise(shaking, seed=seed)) for seed in range(4)]
    assert all(spread_semitones(b) > spread_semitones(a) + 1 for a, b in pairs)
    assert np.mean([swing(b) for _, b in pairs]) > 2 * np.mean([swing(a) for a, _ in pairs])


def test_a_breathy_voice_has_more_noise_between_its_harmonics_and_a_softer_spectrum():
    for seed in range(3):
        clear, breathy = (spectrum(synthesise(Traits(monopitch=True, breathy=b), seed=seed)) for b in (False, True))
        # f0 is 120 Hz: bins of 15.6 Hz, so the harmonics lie 7.7 bins apart; 1 to 2 kHz is looked at.
        harmonic = np.array([round(120 * k / 15.625) for k in range(9, 17)])
        valley = np.array([round(120 * (k + 0.5) / 15.625) for k in range(9, 17)])
        depth = [np.log10(power[harmonic] / power[valley]).mean() for power in (clear, breathy)]
        assert depth[0] > depth[1] + 0.3


def test_a_hypernasal_voice_keeps_less_of_its_energy_above_the_nasal_murmur():
    for seed in range(3):
        oral, nasal = (spectrum(synthesise(Traits(hypernasal=n), seed=seed)) for n in (False, True))
        share = [power[38:96].sum() / power[10:30].sum() for power in (oral, nasal)]  # 600-1500 Hz over 160-470 Hz
        assert share[1] < 0.6 * share[0]


def test_a_slow_speaker_moves_from_sound_to_sound_less_often():
    def moves(slow):
        clips = [synthesise(Traits(slow_rate=slow, monopitch=True), seed=seed) for seed in range(6)]
        return np.mean([np.abs(np.diff(np.log(envelope(clip) + 1e-3))).mean() for clip in clips])

    assert moves(True) < 0.75 * moves(False)


def test_the_corpus_has_the_layout_of_a_data_set(corpus):
    assert (corpus / "labels.txt").read_text().split() == list(LABELS)
    rows = read(corpus, "train") + read(corpus, "test")
    assert list(rows[0]) == ["uid", "speaker", *LABELS]
    assert len({row["uid"] for row in rows}) == len(rows) == 32
    assert {folder.name for folder in (corpus / "audio").iterdir()} == {row["uid"] for row in rows}
    for row in rows:
        folder = corpus / "audio" / row["uid"]
        assert json.loads((folder / "metadata.json").read_text()) == {"encoding": "WAV", "sample_rate_hz": RATE}
        with wave.open(str(folder / "waveform.wav")) as file:
            assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (RATE, 1, 2)
            assert 2 <= file.getnframes() / RATE <= 3


def test_speakers_are_in_one_split_only_and_each_label_has_both_answers_in_both(corpus):
    train, test = read(corpus, "train"), read(corpus, "test")
    assert not {row["speaker"] for row in train} & {row["speaker"] for row in test}
    assert len({row["speaker"] for row in test}) == 2
    for rows in (train, test):
        for label in LABELS:
            assert {row[label] for row in rows} == {"0", "1"}


def test_breathy_tremor_and_hypernasal_belong_to_the_speaker(corpus):
    rows = read(corpus, "train")
    for label in ("breathy", "tremor", "hypernasal"):
        assert len({(row["speaker"], row[label]) for row in rows}) == len({row["speaker"] for row in rows})


@pytest.mark.parametrize(("speakers", "clips"), [(4, 1), (5, 2)])
def test_the_smallest_corpora_still_have_both_answers_everywhere(tmp_path, speakers, clips):
    folder = write_corpus(tmp_path / "small", speakers=speakers, clips_per_speaker=clips)
    for split in ("train", "test"):
        for label in LABELS:
            assert {row[label] for row in read(folder, split)} == {"0", "1"}


def test_one_seed_gives_the_same_bytes_and_another_gives_others(tmp_path, corpus):
    def content(folder):
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    again = write_corpus(tmp_path / "again", speakers=8, clips_per_speaker=4, seed=3)
    other = write_corpus(tmp_path / "other", speakers=8, clips_per_speaker=4, seed=4)
    assert content(again) == content(corpus)
    assert content(other) != content(corpus)


def test_the_default_corpus_has_48_speakers_and_480_clips():
    defaults = write_corpus.__kwdefaults__
    assert defaults["speakers"] * defaults["clips_per_speaker"] == 480
    assert defaults["speakers"] == 48


def test_a_failure_on_the_way_leaves_nothing_behind(tmp_path, monkeypatch):
    written = []

    def failing(folder, waveform):
        written.append(folder)
        if len(written) == 3:
            raise OSError(28, "No space left on device")
        folder.mkdir(parents=True)

    monkeypatch.setattr(synthetic_corpus, "_write_recording", failing)
    with pytest.raises(UserError, match=r"cannot be written \(No space left on device\)"):
        write_corpus(tmp_path / "voices", speakers=4, clips_per_speaker=1)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_holds_something_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="is there already"):
        write_corpus(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_too_few_speakers_are_refused(tmp_path):
    with pytest.raises(UserError, match="at least 4 speakers"):
        write_corpus(tmp_path / "voices", speakers=3)
