"""What a recording in a bucket holds is known from the store, without fetching it."""

import json

from ssast.data.storage.cache import cache
from ssast.data.storage.fingerprints import recording_fingerprints
from ssast.data.storage.location import Location, forget


def test_a_recording_that_was_replaced_in_a_bucket_has_another_name_and_none_is_fetched(either):
    store, proxy = either
    metadata = json.dumps({"encoding": "WAV", "sample_rate_hz": 16000}).encode()
    root = Location(f"{store.bucket('changing')}/audio")
    for uid in ("1", "2"):
        store.put("changing", f"audio/{uid}/waveform.wav", b"RIFF-one")
        store.put("changing", f"audio/{uid}/metadata.json", metadata)
    before = list(recording_fingerprints(root, ["1", "2", "3"], cache(1)))
    store.put("changing", "audio/1/waveform.wav", b"RIFF-two")
    forget()
    after = list(recording_fingerprints(root, ["1", "2", "3"], cache(1)))
    assert [one != other for one, other in zip(before, after, strict=True)] == [True, False, False]
    assert before[2] is None
    assert not [path for path in proxy.downloads() if "waveform" in path]
