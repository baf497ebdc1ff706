import json

import fsspec
import numpy as np
import pytest

from ssast.data.known_lengths import known_frames
from ssast.data.prepare import AudioSettings
from ssast.data.storage import stores
from ssast.data.storage.location import Location

AUDIO = AudioSettings(num_mel_bins=32, target_length=200)


def test_frames_are_those_of_the_model_as_headers_tell_them(tmp_path, record):
    rng = np.random.default_rng(0)
    for uid, seconds, rate in (("a", 0.5, 16000), ("b", 1.0, 44100), ("c", 9.0, 8000)):
        record(tmp_path / uid, 0.1 * rng.standard_normal(int(seconds * rate)), rate)
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "waveform.wav").write_bytes(b"RIFF")
    found = known_frames(Location(tmp_path), ["c", "a", "gone", "d", "b"], AUDIO)
    assert found == [200, 48, None, None, 98]


def test_what_clip_length_cuts_off_is_not_counted(tmp_path, record):
    record(tmp_path / "a", np.zeros(16000), 16000)
    assert known_frames(Location(tmp_path), ["a"], AudioSettings(target_length=200, clip_length=0.3)) == [28]


def refuse(*_, **__):
    raise AssertionError("the store is asked")


@pytest.mark.parametrize("kept", [False, True])
def test_a_bucket_is_not_asked_and_the_cache_tells_what_it_has(tmp_path, record, kept, monkeypatch):
    """One request a clip would take longer than the epoch that it makes faster."""
    store = fsspec.filesystem("memory")
    record(tmp_path / "a", np.zeros(8000), 16000)
    for name in ("waveform.wav", "metadata.json"):
        store.pipe(f"/known-{kept}/a/{name}", (tmp_path / "a" / name).read_bytes())
    root = Location(f"memory://known-{kept}")
    if kept:
        (root / "a").keep()
        assert json.loads((root / "a" / "metadata.json").read_text())
        (root / "a" / "waveform.wav").read_bytes()
    for request in ("ask_store", "listing", "fetch"):
        monkeypatch.setattr(stores, request, refuse)
    assert known_frames(root, ["a"], AUDIO) == [48 if kept else None]
