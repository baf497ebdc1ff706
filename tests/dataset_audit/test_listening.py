import dataclasses
import tracemalloc

import pytest

from ssast.audio.sound_findings import SoundFinding, Still
from ssast.data.storage.location import Location
from ssast.dataset_audit.acoustics import Sound
from ssast.dataset_audit.listening import HeardRecordings, ListenedRecording, listen_to_all

DIGEST = "00" * 31 + "0f"


@pytest.fixture
def heard():
    still = Still(0.0, 0.0, 0.0, 0.1)
    usual = ListenedRecording("a", "", "", 16000, 1, 0.1, 1 / 3, 1e-17, 0.0, DIGEST, still=still, bandwidth_hz=70.5)
    odd = (SoundFinding("clipped", "3% of it"),)
    sound = Sound(-20.125, -50.5, 7000.3)
    return [
        usual,
        dataclasses.replace(usual, uid="b", container="wav", sound=sound, metadata={"room": 1}),
        dataclasses.replace(usual, uid="c", container="wav", sound=sound, metadata={"room": True}),
        dataclasses.replace(usual, uid="d", still=Still(0.25, 0.0, 0.5, 2.0), sound_findings=odd, peak=float("inf")),
        ListenedRecording("e", "not usable", "it is cut off", names={"file": ("x.wav",)}),
        dataclasses.replace(usual, uid="f", container="wav", sound=sound, metadata={"room": 1}),
    ]


def test_recordings_come_out_of_the_columns_as_they_went_in(heard):
    held = HeardRecordings("abcdef", heard)
    assert (list(held), len(held)) == (list("abcdef"), 6)
    assert list(held.values()) == heard
    for one in reversed(heard):
        assert repr(held[one.uid]) == repr(one), "1 and True are equal, and are not the same"
    assert held["f"].metadata is held["b"].metadata
    assert "g" not in held
    with pytest.raises(KeyError):
        held["g"]


def test_what_is_held_of_real_ones_is_what_was_heard(still_corpus):
    uids = [f"{number:04d}" for number in range(6)] + ["absent"]
    heard = list(listen_to_all(Location(str(still_corpus.audio)), uids, closely=True))
    assert list(HeardRecordings(uids, iter(heard)).values()) == heard


def test_each_of_many_recordings_takes_few_bytes():
    count, still = 5000, Still(0.0, 0.0, 0.0, 0.1)
    uids = [f"{number:07d}" for number in range(count)]
    made = (
        ListenedRecording(uid, sample_rate=16000, channels=1, seconds=at / 7, digest=f"{at:064x}", still=still)
        for at, uid in enumerate(uids, 1)
    )
    tracemalloc.start()
    held = HeardRecordings(uids, made)
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert taken < 150 * count
    assert held["0000006"].seconds == 1.0
