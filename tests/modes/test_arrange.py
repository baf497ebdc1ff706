"""`ssast arrange`: from a folder of audio files and a table to what every other mode reads."""

import json
import shutil
from pathlib import Path

import fsspec
import numpy as np
import pandas as pd
import pytest
import soundfile

import ssast
from ssast import cli
from ssast.data.dataset import AudioDataset
from ssast.data.tables.people import find_people
from ssast.data.tables.splits import read_split
from ssast.data.tables.targets import read_labels

RATE = 8000
PEOPLE, EACH = 12, 3


@pytest.fixture
def mine(tmp_path) -> Path:
    """A folder of 36 files of 12 people, some in a folder below, and a table as a clinic would write it."""
    rng, folder = np.random.default_rng(0), tmp_path / "mine"
    (folder / "old").mkdir(parents=True)
    lines = ["Recording;Speaker;breathy;Strained;grade;age"]
    for number in range(PEOPLE * EACH):
        person = number // EACH
        place = "old/" if number % 5 == 0 else ""
        file = folder / f"{place}Clip {number:02d}.{'flac' if number % 3 else 'WAV'}"
        soundfile.write(file, 0.1 * rng.standard_normal(2000), RATE)
        named = file.name if number % 2 else file.stem.lower()
        breathy, strained = ("yes" if person % 3 == 0 else "No"), ("" if number == 4 else int(person % 4 == 0))
        lines.append(f"{named};P{person};{breathy};{strained};{number % 4};{20 + person}")
    (tmp_path / "mine.csv").write_text("\r\n".join(lines), encoding="utf-8-sig")
    return folder


def arrange(mine: Path, *words: str) -> int:
    return cli.main(["arrange", str(mine), str(mine.parent / "mine.csv"), str(mine.parent / "data"), *words])


def test_the_other_modes_read_what_it_made(mine, monkeypatch, capsys):
    monkeypatch.chdir(mine.parent)
    assert arrange(mine) == 0
    said, data = capsys.readouterr().out, mine.parent / "data"
    assert sorted(path.name for path in data.iterdir()) == ["all.csv", "labels.txt", "recordings", "run.yaml", "splits"]
    whole = read_split(data / "all.csv")
    assert read_labels(data / "labels.txt") == ["breathy", "Strained"]
    assert list(whole.columns) == ["Speaker", "breathy", "Strained", "grade", "age"]
    assert whole.loc["Clip 04"].tolist()[:2] == ["P1", 0]
    assert np.isnan(whole.loc["Clip 04", "Strained"])
    assert whole["breathy"].sum() == 4 * EACH
    found = AudioDataset(whole, ["breathy", "Strained"], {"resample_rate": RATE}, data / "recordings", with_fbank=False)
    assert all(found[index]["waveform"].shape == (1, 2000) for index in range(len(found)))
    for number, name in ((0, "old/Clip 00.WAV"), (1, "Clip 01.flac")):
        folder = data / "recordings" / f"Clip {number:02d}"
        kept = next(folder.glob("waveform.*"))
        assert kept.suffix == Path(name).suffix.lower()
        assert kept.read_bytes() == (mine / name).read_bytes()
        assert json.loads((folder / "metadata.json").read_text())["sample_rate_hz"] == RATE
    assert "the column 'Recording' names the files; 36 of 36 are in" in said
    assert "left as they are: grade, age" in said
    assert f"next: ssast check -i {data}/recordings -d {data}/all.csv -l {data}/labels.txt -o checked" in said
    assert cli.main([word for word in said.split("next: ssast ")[1].splitlines()[0].split() if word]) == 0


def test_whole_people_are_tested_with_both_answers_to_every_label(mine):
    assert arrange(mine) == 0
    train, test = (read_split(mine.parent / "data" / "splits" / f"{name}.csv") for name in ("train", "test"))
    assert len(train) + len(test) == 36
    assert not set(train["Speaker"]) & set(test["Speaker"])
    assert test["Speaker"].nunique() == 3
    for half in (train, test):
        assert half["breathy"].nunique() == half["Strained"].nunique() == 2


def test_python_takes_the_same_words(mine, capsys):
    where = {"prefix": mine, "data_split_root": mine.parent / "mine.csv", "exp_dir": mine.parent / "data"}
    assert ssast.arrange(**where, test_share=0.5) == mine.parent / "data"
    assert read_split(mine.parent / "data" / "splits" / "test.csv")["Speaker"].nunique() == PEOPLE / 2


def test_several_at_once_make_the_same(mine):
    assert arrange(mine) == 0
    data = mine.parent / "data"
    data.rename(mine.parent / "alone")
    assert arrange(mine, "--num_workers", "4") == 0
    for path in (mine.parent / "alone").rglob("*"):
        if path.is_file() and path.name != "run.yaml":
            assert path.read_bytes() == (data / path.relative_to(mine.parent / "alone")).read_bytes()


def test_files_and_table_in_a_bucket_make_the_same(mine):
    fs = fsspec.filesystem("memory")
    fs.put(str(mine), "memory://clinic/mine", recursive=True)
    fs.put(str(mine.parent / "mine.csv"), "memory://clinic/mine.csv")
    assert arrange(mine) == 0
    there = str(mine.parent / "from-bucket")
    assert cli.main(["arrange", "memory://clinic/mine", "memory://clinic/mine.csv", there, "--num_workers", "2"]) == 0
    for path in (mine.parent / "data").rglob("*"):
        if path.is_file() and path.name != "run.yaml":
            assert (Path(there) / path.relative_to(mine.parent / "data")).read_bytes() == path.read_bytes()


def test_the_same_seed_makes_the_same_files_and_another_seed_other_splits(mine):
    found = []
    for seed in ("0", "0", "5"):
        assert arrange(mine, "--seed", seed) == 0
        data = mine.parent / "data"
        found.append((data / "splits" / "test.csv").read_bytes())
        shutil.rmtree(data)
    assert found[0] == found[1] != found[2]


def test_columns_and_labels_can_be_named(mine):
    (mine.parent / "labels.txt").write_text("grade\nbreathy\n")
    table = mine.parent / "mine.csv"
    table.write_text(table.read_text(encoding="utf-8-sig").replace("Speaker", "patient code"))
    words = ["-l", str(mine.parent / "labels.txt"), "--subject_column", "patient code", "--file_column", "Recording"]
    assert arrange(mine, *words, "--test_share", "0") == 0
    data = mine.parent / "data"
    whole = read_split(data / "all.csv")
    assert list(whole.columns) == ["subject", "grade", "breathy", "Strained", "age"]
    assert sorted(whole["grade"].unique()) == [0, 1, 2, 3]
    assert not (data / "splits").exists()


def test_the_column_that_was_asked_for_goes_before_one_of_a_known_name(mine, capsys):
    """Families of three: whoever splits by them means them, though a column Speaker is there."""
    table = mine.parent / "mine.csv"
    lines = table.read_text(encoding="utf-8-sig").splitlines()
    rows = [f"{line};F{(number // EACH) // 3}" for number, line in enumerate(lines[1:])]
    table.write_text("\n".join([f"{lines[0]};family", *rows]))
    assert arrange(mine, "--subject_column", "family") == 0
    halves = [read_split(mine.parent / "data" / "splits" / f"{name}.csv") for name in ("train", "test")]
    assert not set(halves[0]["subject"]) & set(halves[1]["subject"])
    assert find_people(halves[0]).column == "subject"
    table.write_text(table.read_text().replace("grade", "subject"))
    shutil.rmtree(mine.parent / "data")
    assert arrange(mine, "--subject_column", "family") == 2
    assert "has a column 'subject' beside 'family'" in capsys.readouterr().err


def test_without_people_or_answers_it_says_so(mine, capsys):
    table = pd.read_csv(mine.parent / "mine.csv", sep=";")
    table[["Recording", "age"]].to_csv(mine.parent / "mine.csv", index=False)
    assert arrange(mine) == 0
    said = capsys.readouterr().out
    assert "no column says who speaks" in said
    assert "no column holds yes/no answers" in said
    assert not (mine.parent / "data" / "labels.txt").exists()


def test_files_of_one_name_are_told_apart_by_their_folders(mine):
    shutil.copy(mine / "Clip 01.flac", mine / "old" / "Clip 01.flac")
    with open(mine.parent / "mine.csv", "a", encoding="utf-8") as table:
        table.write("\r\nold\\clip 01;P0;yes;1;1;20")
    assert arrange(mine) == 0
    whole = read_split(mine.parent / "data" / "all.csv")
    assert len(whole) == 37
    assert {"old-Clip 01", "Clip 01"} <= set(whole.index)
    assert whole.loc["old-Clip 01", "age"] == whole.loc["Clip 01", "age"] == 20


def test_broken_and_missing_recordings_end_it_or_are_named(mine, capsys):
    (mine / "Clip 01.flac").write_bytes(b"fLaC")
    (mine / "Clip 02.flac").unlink()
    assert arrange(mine) == 2
    assert "names no audio file in 1 row, the first in line 4" in capsys.readouterr().err
    (mine / "Clip 02.flac").write_bytes(b"fLaC")
    assert arrange(mine) == 2
    assert "clip Clip 01" in capsys.readouterr().err
    assert not (mine.parent / "data").exists()
    (mine / "Clip 02.flac").unlink()
    assert arrange(mine, "--on_bad_audio", "skip") == 0
    data = mine.parent / "data"
    assert len(read_split(data / "all.csv")) == 34
    bad = pd.read_csv(data / "bad_audio.csv")["uid"].tolist()
    assert sorted(bad) == ["Clip 01", "clip 02"]
    assert len(list((data / "recordings").iterdir())) == 34


@pytest.mark.parametrize(
    ("change", "words", "said"),
    [
        ({}, ["--file_column", "File"], "the table has no column 'File', only Recording, Speaker, breathy"),
        ({}, ["--subject_column", "who"], "the table has no column 'who'"),
        ({}, ["--file_column", "age"], "the column 'age' names no file in"),
        ({"Clip": "Band", "clip": "Band"}, [], "no column of the table"),
        (
            {"P1;No": "P1;perhaps"},
            ["-l", "{tmp}/labels.txt"],
            "has 'perhaps' for 'breathy', expected a number, yes, no",
        ),
        ({"Recording": "Speaker"}, [], "more than one column 'Speaker'"),
        ({"Clip 05.flac": "Clip 01.flac"}, [], "all name"),
        ({f";P{number};": ";P0;" for number in range(1, PEOPLE)}, [], "are of one Speaker"),
        ({"Strained": "strained, overall"}, [], "labels.txt cannot hold 'strained, overall'"),
        ({}, ["--test_share", "1"], "--test_share is 1"),
    ],
)
def test_what_is_wrong_is_one_sentence_and_nothing_is_left(mine, capsys, change, words, said):
    table = mine.parent / "mine.csv"
    text = table.read_text(encoding="utf-8-sig")
    for old, new in change.items():
        text = text.replace(old, new)
    table.write_text(text)
    (mine.parent / "labels.txt").write_text("breathy\n")
    assert arrange(mine, *(word.format(tmp=mine.parent) for word in words)) == 2
    error = capsys.readouterr().err
    assert said in error.replace("clip ", "Clip ")
    assert "Traceback" not in error
    assert not (mine.parent / "data").exists()


def test_a_folder_that_holds_something_is_left_alone(mine, capsys):
    data = mine.parent / "data"
    data.mkdir()
    (data / "notes.txt").write_text("mine")
    assert arrange(mine) == 2
    assert "holds files already; give the name of a new one." in capsys.readouterr().err
    assert [path.name for path in data.iterdir()] == ["notes.txt"]


def test_a_spreadsheet_and_a_word_too_many_are_refused(mine, capsys):
    assert arrange(mine, "more") == 2
    assert "'more' belongs to no option" in capsys.readouterr().err
    (mine.parent / "mine.csv").rename(mine.parent / "mine.xlsx")
    assert cli.main(["arrange", str(mine), str(mine.parent / "mine.xlsx"), str(mine.parent / "data")]) == 2
    assert "mine.xlsx is a spreadsheet; save it as csv (UTF-8) and give that." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "lacks"), [([], "a folder of audio files"), (["a"], "a table"), (["a", "b"], "a new folder")]
)
def test_it_says_what_it_lacks(capsys, words, lacks):
    assert cli.main(["arrange", *words]) == 2
    assert f"arrange lacks {lacks}; write `ssast arrange FOLDER TABLE NEW_FOLDER`" in capsys.readouterr().err


def test_a_private_run_shows_nobody(mine, monkeypatch, capfd):
    monkeypatch.setenv("SSAST_KEYS", str(mine.parent / "keys"))
    (mine / "Clip 01.flac").write_bytes(b"fLaC")
    assert arrange(mine, "--private", "True", "--on_bad_audio", "skip") == 0
    shown = capfd.readouterr()
    assert "Clip 01" not in shown.out + shown.err
    assert "Clip 01" not in (mine.parent / "data" / "bad_audio.csv").read_text()
