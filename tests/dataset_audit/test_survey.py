"""One pass over a data set hears what is in each recording and finds what a run would suffer from."""

import json

import numpy as np
import pandas as pd
import pytest
import soundfile

from ssast.data.storage.location import Location
from ssast.data.tables.people import subject_names
from ssast.dataset_audit.listening import listen, listen_to_all
from ssast.dataset_audit.survey import FAULTS, NOTES, findings, label_counts

RNG = np.random.default_rng(0)
RATE = 16000


def noise(seconds=0.5, level=0.3, rate=RATE):
    return RNG.uniform(-level, level, int(seconds * rate)).astype(np.float32)


@pytest.fixture
def heard_of(tmp_path, record):
    """A function that writes samples and hears them."""

    def hear(samples, rate=RATE):
        record(tmp_path / "x", samples, rate)
        return listen(Location(str(tmp_path)), "x")

    return hear


def table(**columns):
    """A split of as many people as clips, unless a column says otherwise."""
    people = [f"person {uid}" for uid in columns["uid"]]
    return pd.DataFrame(columns if subject_names(columns) else {**columns, "speaker": people}).set_index("uid")


def kinds(found):
    return [(one.finding, one.uid) for one in found]


def test_a_sound_recording_is_measured(heard_of):
    samples = np.stack([noise(0.5, 0.5), np.zeros(8000, np.float32)], axis=1)
    heard = heard_of(samples)
    assert (heard.finding, heard.sample_rate, heard.channels, heard.seconds) == ("", RATE, 2, 0.5)
    assert heard.peak_db == pytest.approx(-6.02, abs=0.05)
    assert heard.clipped == 0
    assert abs(heard.offset) < 0.01


@pytest.mark.parametrize("level", [0, 0.0009])
def test_silence_is_a_fault(heard_of, level):
    heard = heard_of(noise(0.5, level))
    assert heard.finding == "silent"
    assert "of full scale; replace or remove it" in heard.reason


def test_a_quiet_recording_is_no_silence(heard_of):
    assert heard_of(noise(0.5, 0.002)).finding == ""


def test_clipping_is_counted_where_neighbours_stand_at_full_scale(heard_of):
    assert heard_of(np.clip(noise(0.5, 0.9) * 3, -1, 1)).clipped > 0.1
    once = noise()
    once[100] = 1
    assert heard_of(once).clipped == 0, "a single sample at full scale is a peak, not clipping"


def test_a_dc_offset_is_measured(heard_of):
    assert heard_of(noise() + 0.2).offset == pytest.approx(0.2, abs=0.01)


def test_a_recording_shorter_than_a_window_cannot_be_used(heard_of):
    heard = heard_of(noise(0.01))
    assert heard.finding == "not usable"
    assert "10.0 ms, less than one window" in heard.reason


def test_the_same_samples_have_the_same_digest_in_another_lossless_format(tmp_path, record):
    samples = np.round(noise() * 2**15) / 2**15
    record(tmp_path / "a", samples, RATE)
    record(tmp_path / "b", samples, RATE, "flac")
    record(tmp_path / "c", samples[:-1], RATE)
    a, b, c = listen_to_all(Location(str(tmp_path)), ["a", "b", "c"])
    assert a.digest == b.digest != c.digest


def test_what_cannot_be_used_is_told_apart_from_what_is_not_there(tmp_path, record):
    for uid in ("cut", "nofile", "nometa", "otherrate"):
        record(tmp_path / uid, noise(), RATE)
    cut = tmp_path / "cut" / "waveform.wav"
    cut.write_bytes(cut.read_bytes()[:1000])
    (tmp_path / "nofile" / "waveform.wav").unlink()
    (tmp_path / "nometa" / "metadata.json").unlink()
    (tmp_path / "otherrate" / "metadata.json").write_text(json.dumps({"encoding": "WAV", "sample_rate_hz": 8000}))
    uids = ["cut", "nofile", "nometa", "otherrate", "absent", "../x"]
    found = {one.uid: one for one in listen_to_all(Location(str(tmp_path)), uids)}
    assert {uid: one.finding for uid, one in found.items()} == {
        "cut": "not usable",
        "nofile": "not found",
        "nometa": "not found",
        "otherrate": "not usable",
        "absent": "not found",
        "../x": "refused",
    }
    assert found["cut"].reason.startswith("it is cut off"), "the uid has its own column"


@pytest.mark.parametrize("workers", [0, 2])
def test_workers_change_nothing(still_corpus, workers):
    uids = [f"{number:04d}" for number in range(18)]
    heard = list(listen_to_all(Location(str(still_corpus.audio)), uids, num_workers=workers))
    assert [one.uid for one in heard] == uids
    assert heard == [listen(Location(str(still_corpus.audio)), uid) for uid in uids]


def test_the_same_sound_is_found_within_and_across_splits(tmp_path, record):
    same, other = noise(), noise()
    for uid, samples in {"a": same, "b": same, "c": other, "d": same, "e": noise()}.items():
        record(tmp_path / uid, samples, RATE)
    train = table(uid=["a", "b", "c"], ill=[1, 0, 1])
    test = table(uid=["d", "e"], ill=[1, 0])
    heard = {one.uid: one for one in listen_to_all(Location(str(tmp_path)), list("abcde"))}
    found = findings(heard, {"train": train, "test": test}, ["ill"])
    assert kinds(found) == [("sound in both splits", "d"), ("same sound, other labels", "b"), ("same sound", "b")]
    assert found[0].detail == "the same samples as a of train; keep one of them"
    assert found[1].detail == "ill differ from a's"


def test_silent_recordings_are_not_called_the_same_sound(tmp_path, record):
    for uid in "ab":
        record(tmp_path / uid, np.zeros(8000, np.float32), RATE)
    heard = {one.uid: one for one in listen_to_all(Location(str(tmp_path)), ["a", "b"])}
    assert kinds(findings(heard, {"train": table(uid=["a", "b"], x=[0, 1])})) == [("silent", "a"), ("silent", "b")]


def test_uids_and_subjects_in_both_splits_are_faults():
    train = table(uid=["1", "2", "3"], Speaker=["ann", "bob", "bob"])
    test = table(uid=["3", "4"], Speaker=["ann", None])
    found = findings({}, {"train": train, "test": test})
    assert kinds(found) == [("uid in both splits", "3"), ("subject in both splits", "")]
    assert found[1].detail == "ann: 1 clips in train, 1 in test"
    assert all(one.is_fault for one in found)


def test_labels_that_cannot_be_used_or_learned_are_faults_and_empty_cells_are_notes():
    frame = table(uid=["1", "2"], good=[0, 1], always=[1, 1], wrong=["yes", "no"], gap=[0.0, None], two=[0, 2])
    found = findings({}, {"train": frame}, ["good", "always", "wrong", "gap", "absent", "two"])
    assert [(one.finding, one.uid, one.is_fault) for one in found] == [
        ("label not usable", "", True),
        ("label not usable", "", True),
        ("label not usable", "", True),
        ("label of one class", "", True),
        ("label of one class", "", True),
        ("label missing", "2", False),
    ]
    said = " ".join(one.detail for one in found)
    for piece in ("'wrong' of uid 1 is 'yes'", "'absent' is not in the csv", "'two' of uid 2", "always is 1 in every"):
        assert piece in said
    assert not [one for one in findings({}, {"t": frame}, ["two"], loss="MSE") if one.is_fault]


def test_another_rate_than_most_is_noted(tmp_path, record):
    for uid, rate in {"a": RATE, "b": RATE, "c": 8000}.items():
        record(tmp_path / uid, noise(rate=rate), rate)
    heard = {one.uid: one for one in listen_to_all(Location(str(tmp_path)), list("abc"))}
    found = findings(heard, {"train": table(uid=list("abc"), x=[1, 2, 3])}, unlisted=["z"])
    assert kinds(found) == [("other rate", "c"), ("not in the csv", "z")]
    assert found[0].detail == "8000 Hz, most have 16000 Hz"


def test_labels_are_counted_by_split():
    """Where one of two raters said yes, the scores counted a yes and the check a no."""
    frame = table(uid=["1", "2", "3", "4", "5"], ill=[1, 0.7, 0, None, 0.5])
    counts = label_counts({"train": frame}, ["ill", "absent"])
    assert counts.to_dict("records") == [{"label": "ill", "split": "train", "yes": 3, "no": 1, "empty": 1}]


def test_nothing_is_found_in_a_good_data_set(still_corpus):
    splits = {split: still_corpus.frame(split) for split in ("train", "test")}
    uids = [uid for frame in splits.values() for uid in frame.index]
    heard = {one.uid: one for one in listen_to_all(Location(str(still_corpus.audio)), uids)}
    assert findings(heard, splits, ["high", "loud"]) == []


def test_no_kind_is_both_fault_and_note():
    assert not FAULTS.keys() & NOTES.keys()


def test_real_recordings_are_heard(shared):
    root = Location(str(shared / "fsdd" / "audio"))
    heard = listen(root, "0_george_0")
    assert (heard.finding, heard.sample_rate, heard.channels) == ("", 8000, 1)
    assert heard.seconds == soundfile.info(root.path / "0_george_0" / "waveform.wav").duration


def test_a_split_that_names_nobody_is_noted(tmp_path, record):
    record(tmp_path / "a", noise(), RATE)
    heard = {one.uid: one for one in listen_to_all(Location(str(tmp_path)), ["a"])}
    frame = table(uid=["a"], x=[1]).drop(columns="speaker")
    (found,) = findings(heard, {"train": frame})
    assert (found.finding, found.split, found.is_fault) == ("nobody named", "train", False)
