"""Audio files and folders of them, under any name, as items."""

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ssast.data.audio_files import FileDataset, find_audio, look_for_audio
from ssast.data.storage.location import Location
from ssast.errors import AudioError, UserError

NAMES = ["a.wav", "Grüße an alle.WAV", "deep/er/a.wav", "deep/b c.flac", "deep/ä/录音.wav"]


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "my recordings"
    for number, name in enumerate(NAMES):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(root / name, np.full(8000, 0.01 * (number + 1)), 16000, format=name[-4:].strip(".").upper())
    for name in ("notes.txt", ".hidden.wav", "deep/._a.wav", ".git/a.wav"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text("no sound")
    return root


def found(*addresses, **how):
    return [str(file) for file in find_audio([Location(str(address)) for address in addresses], **how)]


def test_a_folder_gives_its_audio_files_and_those_below_it(folder):
    assert sorted(found(folder)) == sorted(str(folder / name) for name in NAMES)
    assert found(folder) == found(folder), "in an order that does not change"


def test_what_is_named_twice_comes_once(folder):
    assert len(found(folder, folder / "a.wav", folder / "deep" / ".." / "a.wav")) == len(NAMES)
    assert found(folder / "deep/er/a.wav", folder)[0].endswith("er/a.wav"), "in the order in which it was named first"


def test_files_without_a_row_of_their_own_are_told_of(folder):
    """`predict FOLDER` passed over kinds it does not know, and one row was too few where a file was named twice."""
    (folder / "deep" / "b.IMA").write_text("of a kind that is not known")
    (folder / "README").write_text("no ending")
    addresses = [Location(str(place)) for place in (folder, folder / "a.wav", folder / "a.wav", folder / "deep")]
    remarks = look_for_audio(addresses).remarks()
    assert remarks == [
        "passed over 3 files with no ending of audio: 1 .ima, 1 .txt, 1 without an ending",
        "4 files came more than once; each has one row",
    ]
    assert look_for_audio([Location(str(folder / "a.wav"))]).remarks() == []


def test_a_private_run_counts_what_is_passed_over_and_shows_no_part_of_a_name(folder, monkeypatch):
    monkeypatch.setattr("ssast.redaction.redaction_in_use", lambda: True)
    assert look_for_audio([Location(str(folder))]).remarks() == ["passed over 1 file with no ending of audio"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_or_a_folder_in_place_of_a_file_is_named_at_once(folder):
    """Opening a pipe waits for somebody who writes into it: for ever."""
    os.mkfifo(folder / "pipe.wav")
    with pytest.raises(AudioError, match=r"pipe.wav: its file cannot be read \(it is a pipe, not a file\)"):
        FileDataset([Location(str(folder / "pipe.wav"))], {})[0]
    (folder / "folder.flac").mkdir()
    (folder / "zero.wav").symlink_to("/dev/zero")
    for name, kind in (("folder.flac", "folder"), ("zero.wav", "device")):
        with pytest.raises(AudioError, match=f"it is a {kind}, not a file"):
            FileDataset([Location(str(folder / name))], {}, hold="windows")[0]


def test_a_relative_folder_stays_relative(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    assert "my recordings/a.wav" in found("my recordings")
    monkeypatch.chdir(folder)
    assert "a.wav" in found(".")


def test_links_are_followed_and_no_circle_is_entered(folder, tmp_path):
    (tmp_path / "linked").mkdir()
    os.symlink(folder, tmp_path / "linked" / "there")
    os.symlink(tmp_path / "linked", tmp_path / "linked" / "round")
    assert len(found(tmp_path / "linked")) == len(NAMES)


@pytest.mark.parametrize(
    ("name", "said"), [("gone.wav", "does not exist"), ("empty", "holds no audio file"), ("notes.txt", "by its name")]
)
def test_what_cannot_be_meant_is_one_sentence(folder, name, said):
    (folder / "empty").mkdir()
    with pytest.raises(UserError, match=said) as caught:
        found(folder / name)
    assert name in str(caught.value)


def test_a_name_of_other_bytes_than_utf_8_is_one_sentence_before_anything_is_read(folder):
    """A folder that came from an old archive ended in pyarrow's UnicodeEncodeError, after the first files were read."""
    os.rename(os.fsencode(folder / "a.wav"), os.fsencode(folder) + b"/gr\xfc\xdfe.wav")
    with pytest.raises(UserError, match=r"the name of the file .*gr\?\?e\.wav is no text in UTF-8.*; rename it"):
        FileDataset(find_audio([Location(str(folder))]), None)


def test_any_name_is_taken_where_bad_files_are_skipped(folder):
    assert found(folder / "notes.txt", any_name=True) == [str(folder / "notes.txt")]


def test_items_are_like_those_of_a_data_set(folder):
    data = FileDataset(find_audio([Location(str(folder))]), {"resample_rate": 8000})
    item = data[data.uids.index(str(folder / "deep/ä/录音.wav")), 0]
    assert item["waveform"].shape == (1, 4000)
    assert item["targets"].shape == (0,)
    assert item["waveform"].mean().item() == pytest.approx(0.05, abs=1e-3)
    assert data[-1]["uid"] == data.uids[-1]


def test_a_file_that_cannot_be_used_is_named(folder):
    (folder / "deep" / "cut.wav").write_bytes((folder / "a.wav").read_bytes()[:500])
    data = FileDataset([Location(str(folder / "deep" / "cut.wav"))], {})
    with pytest.raises(AudioError, match=r"deep/cut\.wav: it is cut off"):
        data[0]


def test_a_bucket_is_searched_and_read_as_a_disk_is(folder):
    there = Location("memory://ssast-files/here")
    for path in Path(folder).rglob("*.*"):
        if path.is_file():
            with (there / path.relative_to(folder).as_posix()).open("wb") as file:
                file.write(path.read_bytes())
    files = find_audio([there])
    assert sorted(map(str, files)) == sorted(f"{there}/{name}" for name in NAMES)
    data = FileDataset(files, {})
    data.prefetch([0])
    assert {data[index]["waveform"].shape for index in range(len(data))} == {(1, 8000)}
