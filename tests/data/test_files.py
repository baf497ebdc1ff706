"""Audio files and folders of them, under any name, as items."""

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ssast.data.files import FileDataset, find_audio
from ssast.data.storage import Location
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
