import contextlib
import sqlite3

import numpy as np
import pytest
import torch

from ssast.audio.frontend import Frontend
from ssast.data.loader import collate
from ssast.data.plain_features import KeptPlainFeatures, MeasuringPrepare, PlainFeatures, complete, plain_values
from ssast.data.storage.cache import Cache

RATE = 16000


def clip(uid, seconds, level=0.1):
    generator = torch.Generator().manual_seed(len(uid) + int(100 * seconds))
    samples = int(seconds * RATE)
    return {"uid": uid, "waveform": level * torch.randn(1, samples, generator=generator), "targets": torch.zeros(1)}


def prepared(*clips, plain=None, generator=None, length=64, **how):
    plain = PlainFeatures() if plain is None else plain
    prepare = MeasuringPrepare(plain, Frontend(target_length=length), **how)
    prepare(collate(clips), generator)
    return plain.found


def test_features_are_mean_and_deviation_of_a_clips_own_frames_its_loudness_and_its_seconds():
    own = clip("a", 0.4)
    found = prepared(own, clip("longer", 0.9))["a"]
    frontend, length = Frontend(target_length=64), torch.tensor([6400])
    fbank = frontend(own["waveform"], length)[0][: int(frontend.frames(length))]
    np.testing.assert_allclose(found[:128], fbank.mean(0), atol=1e-5)
    np.testing.assert_allclose(found[128:256], fbank.std(0, correction=0), atol=1e-4)
    assert found[256] == pytest.approx(10 * np.log10(float(own["waveform"].square().mean())), abs=1e-3)
    assert found[257] == pytest.approx(0.4)


def test_features_of_a_clip_do_not_depend_on_the_batch_and_silence_has_some():
    alone, beside = (prepared(*clips)["a"] for clips in ([clip("a", 0.4)], [clip("a", 0.4), clip("bb", 0.7)]))
    np.testing.assert_allclose(alone, beside, atol=1e-5)
    silent = plain_values(torch.zeros(1, 4, 3), torch.tensor([4]), torch.zeros(1, 800), torch.tensor([800]), RATE)
    assert torch.isfinite(silent).all()
    assert silent[0, -2] == -100


def test_noise_is_the_level_of_the_quietest_frames_and_the_band_ends_where_nothing_is_heard():
    generator = torch.Generator().manual_seed(0)
    noise = 0.05 * torch.randn(1, RATE, generator=generator)
    spectrum = torch.fft.rfft(noise)
    spectrum[:, 2000:] = 0  # nothing above 2 kHz
    narrow = torch.fft.irfft(spectrum, n=RATE)
    paused = torch.cat([noise[:, :4800], 0.1 * noise[:, 4800:8000], noise[:, 8000:]], dim=1)
    clips = {"wide": noise, "narrow": narrow, "softer": 0.1 * noise, "paused": paused, "nothing": 0 * noise}
    items = [{"uid": uid, "waveform": own, "targets": torch.zeros(1)} for uid, own in clips.items()]
    found = {uid: own[-2:] for uid, own in prepared(*items, length=98).items()}
    assert found["wide"][1] > 7500
    assert found["narrow"][1] == pytest.approx(2000, abs=250)
    assert found["softer"][0] == pytest.approx(found["wide"][0] - 20, abs=0.01)
    assert found["softer"][1] == found["wide"][1], "quiet is not narrow"
    assert found["paused"][0] == pytest.approx(found["wide"][0] - 20, abs=2)
    assert found["nothing"][1] == 0


def test_a_clip_shorter_than_a_window_has_measures_too():
    assert np.isfinite(prepared(clip("a", 0.01), clip("long", 0.5))["a"]).all()


def test_what_training_alters_is_not_measured_and_the_first_window_of_a_recording_counts():
    chance = torch.Generator().manual_seed(0)
    assert prepared(clip("a", 0.4), generator=chance, alters=True) == {}
    assert set(prepared(clip("a", 0.4), generator=chance)) == {"a"}
    plain = PlainFeatures()
    first = prepared(clip("a", 0.4), plain=plain)["a"].copy()
    np.testing.assert_array_equal(prepared(clip("a", 0.6), plain=plain)["a"], first)


def test_features_are_kept_by_content_and_damaged_ones_are_measured_again(tmp_path):
    kept = KeptPlainFeatures(Cache(tmp_path, 10**6), "as heard", 3)
    kept.keep({"one": np.array([1.0, 2, 3], np.float32)})
    found = kept.find(["one", "two", None])
    np.testing.assert_array_equal(found.pop("one"), [1, 2, 3])
    assert found == {}
    assert KeptPlainFeatures(Cache(tmp_path, 10**6), "otherwise", 3).find(["one"]) == {}
    with kept.values as values, contextlib.closing(sqlite3.connect(values.place)) as database, database:
        database.execute("UPDATE kept SET value = x'78' || substr(value, 2)")
    assert kept.find(["one"]) == {}
    kept.keep({"one": np.array([4.0, 5, 6], np.float32)})
    np.testing.assert_array_equal(kept.find(["one"])["one"], [4, 5, 6])


def test_only_what_was_neither_measured_nor_kept_is_read_and_bad_recordings_stay_empty(tmp_path):
    kept = KeptPlainFeatures(Cache(tmp_path, 10**6), "as heard", 2)
    kept.keep({"content of b": np.array([3.0, 4], np.float32)})
    plain, read = PlainFeatures(), []
    plain.take({"a": np.array([1.0, 2], np.float32)})

    def reads(missing):
        read.extend(missing)
        plain.take({"c": np.array([5.0, 6], np.float32)})

    contents = ["content of a", "content of b", "content of c", None]
    complete(plain, ["a", "b", "c", "bad"], contents, kept, reads)
    found = plain.values(["a", "b", "c", "bad"])
    np.testing.assert_array_equal(found, [[1, 2], [3, 4], [5, 6], [np.nan, np.nan]])
    assert read == ["c", "bad"]
    np.testing.assert_array_equal(kept.find(["content of a"])["content of a"], [1, 2])
    assert PlainFeatures().values([]).shape == (0, 0)
