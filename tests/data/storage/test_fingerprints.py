"""Names for what is in recordings: equal for equal ones, another for one that changed."""

import os
import shutil

import pytest

from ssast.data.storage import fingerprints as module
from ssast.data.storage.cache import Cache
from ssast.data.storage.fingerprints import file_fingerprints, recording_fingerprints
from ssast.data.storage.location import Location


@pytest.fixture
def disk(tmp_path):
    return Cache(tmp_path / "cache", 1 << 30)


def kept_files(disk):
    return [file for file in disk.folder.glob("files/*/*") if file.is_file()]


def test_equal_recordings_share_a_name_and_others_do_not(corpus, disk):
    root = Location(str(corpus.audio))
    (corpus.audio / "0001" / "waveform.wav").write_bytes((corpus.audio / "0000" / "waveform.wav").read_bytes())
    names = list(recording_fingerprints(root, ["0000", "0001", "0002", "none such"], disk))
    assert names[0] == names[1] != names[2]
    assert names[3] is None


def test_a_recording_that_changed_has_another_name_even_with_its_old_size_and_time(corpus, disk, monkeypatch):
    monkeypatch.setattr(module, "SETTLED_SECONDS", -1.0)
    root, file = Location(str(corpus.audio)), corpus.audio / "0000" / "waveform.wav"
    stat = file.stat()
    before = list(recording_fingerprints(root, ["0000"], disk))
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert list(recording_fingerprints(root, ["0000"], disk)) != before


def test_what_metadata_says_is_part_of_a_recording(corpus, disk):
    root = Location(str(corpus.audio))
    before = list(recording_fingerprints(root, ["0000"], disk))
    (corpus.audio / "0000" / "metadata.json").write_text('{"encoding": "WAV", "sample_rate_hz": 8000}')
    assert list(recording_fingerprints(root, ["0000"], disk)) != before


def test_a_settled_recording_is_read_once(corpus, disk, monkeypatch):
    root, uids = Location(str(corpus.audio)), ["0000", "0001"]
    fresh = list(recording_fingerprints(root, uids, disk))
    assert kept_files(disk) == []  # written a moment ago: it may change within a tick of the clock
    monkeypatch.setattr(module, "SETTLED_SECONDS", -1.0)
    assert list(recording_fingerprints(root, uids, disk)) == fresh
    monkeypatch.setattr(module.hashlib, "file_digest", None)
    assert list(recording_fingerprints(root, uids, disk)) == fresh


def test_a_copy_has_the_name_of_the_original_whatever_its_times(corpus, disk, tmp_path):
    shutil.copytree(corpus.audio, tmp_path / "copy", copy_function=shutil.copyfile)
    uids = list(corpus.frame().index)
    here, there = (
        list(recording_fingerprints(Location(str(root)), uids, disk)) for root in (corpus.audio, tmp_path / "copy")
    )
    assert here == there
    assert None not in here


def test_files_without_metadata_have_names_too(corpus, disk):
    file = corpus.audio / "0000" / "waveform.wav"
    place, missing = Location(str(file)), Location(str(corpus.audio / "none"))
    (before, nothing) = file_fingerprints([place, missing], disk)
    file.write_bytes(file.read_bytes() + b"x")
    assert [before, nothing] != list(file_fingerprints([place, missing], disk))
    assert nothing is None


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_what_is_no_file_has_no_name_and_nobody_waits_for_it(disk, tmp_path):
    """Opening a pipe waits until somebody writes into it: `predict` hung on one."""
    os.mkfifo(tmp_path / "pipe.wav")
    (tmp_path / "folder.wav").mkdir()
    places = [Location(str(tmp_path / name)) for name in ("pipe.wav", "folder.wav", "none.wav")]
    assert list(file_fingerprints(places, disk)) == [None, None, None]


def test_a_cache_that_cannot_be_written_changes_nothing(corpus, tmp_path, monkeypatch):
    """A home that is read-only must not keep anyone from training."""
    monkeypatch.setattr(module, "SETTLED_SECONDS", -1.0)
    (tmp_path / "file").write_text("a file in the place of the cache")
    disk, fine = Cache(tmp_path / "file", 1 << 30), Cache(tmp_path / "cache", 1 << 30)
    root = Location(str(corpus.audio))
    assert list(recording_fingerprints(root, ["0000"], disk)) == list(recording_fingerprints(root, ["0000"], fine))
