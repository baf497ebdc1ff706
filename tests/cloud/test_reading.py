"""Files in a bucket, read through emulators on loopback."""

import json
import time

import pytest

from ssast.data.recordings import find_recording
from ssast.data.storage import stores
from ssast.data.storage.location import Location, Missing, forget
from ssast.errors import UserError


def test_a_file_in_a_bucket_reads_lists_and_walks(gs):
    gs.bucket("walk")
    gs.put("walk", "data/17/waveform.wav", b"RIFF")
    gs.put("walk", "data/17/metadata.json", b"{}")
    root = Location("gs://walk/data", project="p")
    assert root.is_dir()
    assert [place.name for place in root.list()] == ["17"]
    assert [place.name for place in (root / "17").list()] == ["metadata.json", "waveform.wav"]
    assert (root / "17" / "waveform.wav").read_bytes() == b"RIFF"
    assert (root / "17" / "waveform.wav").exists()
    assert not (root / "18").exists()
    with pytest.raises(Missing, match="gs://walk/data/18 does not exist"):
        (root / "18").read_bytes()


def test_the_second_reading_fetches_nothing(gs, proxy):
    gs.bucket("twice")
    gs.put("twice", "x", b"content")
    assert Location("gs://twice/x").read_bytes() == b"content"
    assert len(proxy.downloads()) == 1
    assert Location("gs://twice/x").read_bytes() == b"content"
    assert len(proxy.downloads()) == 1


def test_equal_files_are_fetched_once(gs, proxy):
    gs.bucket("equal")
    for name in ("x", "y"):
        gs.put("equal", name, b"same")
        assert Location(f"gs://equal/{name}").read_bytes() == b"same"
    assert len(proxy.downloads()) == 1


def test_a_replaced_file_is_fetched_again(gs):
    gs.bucket("anew")
    gs.put("anew", "x", b"old")
    assert Location("gs://anew/x").read_bytes() == b"old"
    gs.put("anew", "x", b"new")
    assert Location("gs://anew/x").read_bytes() == b"new"


def test_a_kept_folder_is_asked_about_once(gs, proxy):
    gs.bucket("kept")
    gs.put("kept", "17/a", b"a")
    gs.put("kept", "17/b", b"b")
    folder = Location("gs://kept/17")
    folder.keep()
    assert (folder / "a").read_bytes() == b"a"
    assert not (folder / "c").exists()
    folder.keep()
    assert (folder / "b").read_bytes() == b"b"
    assert len(proxy.seen) == 3
    gs.put("kept", "17/c", b"c")
    assert not (folder / "c").exists()
    forget()
    assert (folder / "c").exists()


def test_a_file_replaced_after_its_folder_was_kept_is_looked_at_again(gs):
    gs.bucket("changed")
    gs.put("changed", "17/a", b"old")
    folder = Location("gs://changed/17")
    folder.keep()
    gs.put("changed", "17/a", b"newer")
    assert (folder / "a").read_bytes() == b"newer"


def test_an_empty_file_is_one(s3_emulator, point):
    point("s3", s3_emulator.url)  # Google's emulator cannot hold one
    s3_emulator.bucket("empty")
    s3_emulator.put("empty", "x", b"")
    assert Location("s3://empty/x").read_bytes() == b""


@pytest.mark.parametrize(("code", "said"), [(403, "Forbidden"), (401, "spoilt")])
def test_a_store_that_refuses_is_one_sentence(gs, proxy, code, said):
    gs.bucket(f"refused{code}")
    proxy.refuse = lambda method, path: code
    with pytest.raises(UserError, match=f"{said}.*your rights and your credentials") as caught:
        Location(f"gs://refused{code}/x").read_bytes()
    assert "\n" not in str(caught.value)
    proxy.refuse = lambda method, path: None
    gs.put(f"refused{code}", "x", b"content")
    assert Location(f"gs://refused{code}/x").read_bytes() == b"content"


def test_a_bucket_that_is_not_there_is_one_sentence(gs):
    with pytest.raises(Missing, match="gs://nowhere-at-all/x does not exist; check the bucket and the path"):
        Location("gs://nowhere-at-all/x").read_bytes()
    assert not Location("gs://nowhere-at-all").is_dir()


CONTENT = bytes(range(256)) * 40


def once(proxy, *answers: str) -> None:
    """Let the proxy answer the next requests so, and all that follow whole."""
    coming = iter(answers)
    proxy.draw = lambda: next(coming, "whole")


@pytest.mark.parametrize("fault", ["503", "reset", "short", "silent", "flip"])
def test_a_slip_of_the_network_is_tried_again(either, impatient, fault):
    store, proxy = either
    place = Location(store.bucket(f"slip{fault}")) / "x"
    store.put(f"slip{fault}", "x", CONTENT)
    once(proxy, fault)
    assert not place.is_dir()
    once(proxy, "whole", fault)
    assert place.read_bytes() == CONTENT


def test_a_store_that_never_answers_is_one_sentence_after_a_while(either, impatient_soon):
    store, proxy = either
    place = Location(store.bucket("mute")) / "x"
    proxy.faults = {"silent": 1.0}
    started = time.monotonic()
    with pytest.raises(UserError, match=r"cannot read .*://mute/x: it did not answer within 2 seconds") as caught:
        place.read_bytes()
    assert time.monotonic() - started < 20
    assert "\n" not in str(caught.value)


def test_a_download_that_trickles_for_ever_is_given_up(either, impatient_soon, monkeypatch):
    """Each piece comes in time, the whole never: a limit on silence alone would wait for days."""
    store, proxy = either
    place = Location(store.bucket("slow")) / "x"
    store.put("slow", "x", CONTENT)
    monkeypatch.setattr(stores, "LEAST_BYTES_A_SECOND", 10 * len(CONTENT))
    once(proxy, "whole", *["trickle"] * 100)
    started = time.monotonic()
    with pytest.raises(UserError, match="did not answer within 2 seconds"):
        place.read_bytes()
    assert time.monotonic() - started < 20


def test_a_client_that_cannot_be_interrupted_is_left_behind(monkeypatch, impatient_soon, tmp_path):
    """Stores other than Google's and Amazon's have clients that may wait inside one call."""
    from fsspec.implementations.memory import MemoryFileSystem

    monkeypatch.setattr(MemoryFileSystem, "info", lambda *_, **__: time.sleep(30))
    started = time.monotonic()
    with pytest.raises(UserError, match="cannot look at memory://x/y: it did not answer within 2 seconds"):
        Location("memory://x/y").exists()
    assert time.monotonic() - started < 20


def test_a_byte_that_is_always_wrong_is_refused(either, impatient):
    store, proxy = either
    place = Location(store.bucket("wrong")) / "x"
    store.put("wrong", "x", CONTENT)
    proxy.faults = {"flip": 1.0}
    with pytest.raises(UserError, match=r"cannot read .*wrong/x: the .*checksum.* differs"):
        place.read_bytes()
    proxy.faults = {}
    assert place.read_bytes() == CONTENT


def test_a_byte_that_changed_in_the_cache_is_fetched_again(either, fresh):
    store, proxy = either
    place = Location(store.bucket("rot")) / "x"
    store.put("rot", "x", CONTENT)
    assert place.read_bytes() == CONTENT
    (kept,) = (file for file in (fresh / "files").rglob("*") if file.is_file() and not file.suffix)
    kept.write_bytes(b"\1" + CONTENT[1:])
    assert place.read_bytes() == CONTENT
    assert len(proxy.downloads()) == 2


def test_a_damaged_listing_is_asked_for_again(gs, proxy, monkeypatch):
    gs.bucket("listed")
    gs.put("listed", "17/a", b"a")
    whole, answers = json.loads, iter([json.JSONDecodeError("Expecting value", "x", 0)])

    def loads(text, **how):
        for error in answers:
            raise error
        return whole(text, **how)

    monkeypatch.setattr("gcsfs.core.json.loads", loads)
    assert [place.name for place in Location("gs://listed/17").list()] == ["a"]


def test_s3_reads_lists_and_writes(s3_emulator, point, tmp_path):
    point("s3", s3_emulator.url)
    s3_emulator.bucket("amazon")
    s3_emulator.put("amazon", "data/17/waveform.wav", b"RIFF")
    root = Location("s3://amazon/data")
    assert root.is_dir()
    assert [place.name for place in root.list()] == ["17"]
    (root / "17").keep()
    assert (root / "17" / "waveform.wav").read_bytes() == b"RIFF"
    (tmp_path / "x").write_bytes(b"sent")
    (root / "17" / "sent").send(tmp_path / "x")
    assert (root / "17" / "sent").read_bytes() == b"sent"
    assert [place.name for place in (root / "17").list()] == ["sent", "waveform.wav"]
    with pytest.raises(Missing, match="does not exist"):
        (root / "18").read_bytes()
    with pytest.raises(Missing, match="does not exist"):
        Location("s3://nowhere-at-all/x").read_bytes()


def test_a_model_folder_comes_under_its_own_names(gs):
    gs.bucket("models")
    gs.put("models", "run/config.json", b"{}")
    gs.put("models", "run/model.safetensors", b"weights")
    gs.put("models", "run/checkpoints/last.pt", b"large")
    folder = Location("gs://models/run").on_disk("config.json", "model.safetensors", "absent")
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]
    file = Location("gs://models/run/model.safetensors").on_disk("config.json", "args.pkl")
    assert file.name == "model.safetensors"
    assert file.read_bytes() == b"weights"
    assert sorted(path.name for path in file.parent.iterdir()) == ["config.json", "model.safetensors"]
    with pytest.raises(Missing):
        Location("gs://models/none.pth").on_disk()


def test_a_name_that_was_changed_on_its_way_is_no_missing_recording(gs, proxy, monkeypatch):
    """A listing has no checksum; one wrong letter in it left a recording out of a run."""
    gs.bucket("letters")
    gs.put("letters", "17/waveform.wav", b"RIFF")
    gs.put("letters", "17/metadata.json", b'{"encoding": "WAV", "sample_rate_hz": 16000}')
    asked, wrong = stores.listing, iter([{"mEtadata.json": "metadata.json"}, {"wavEform.wav": "waveform.wav"}])

    def listing(address, project):
        true = asked(address, project)
        for seen, meant in (next(wrong, {}) if "waveform.wav" in true else {}).items():
            true[seen] = true.pop(meant)
        return true

    monkeypatch.setattr(stores, "listing", listing)
    for _ in range(2):
        forget()
        assert find_recording(Location("gs://letters"), "17").location.name == "waveform.wav"
