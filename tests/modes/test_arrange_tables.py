"""`ssast arrange` on the kinds of tables that clinics write: the files that it leaves, the words on the screen."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from ssast import cli
from ssast.data.tables.splits import read_split
from ssast.data.tables.targets import read_labels
from ssast.options.options import Options
from ssast.options.record import resolve

RATE = 8000


@pytest.fixture
def clinic(tmp_path):
    """Writes files of these names and a table, arranges them, and gives the exit code and where they lie."""

    def run(files: list[str], table: str, *words: str) -> int:
        for at, name in enumerate(files):
            (tmp_path / "mine" / name).parent.mkdir(parents=True, exist_ok=True)
            sound = 0.1 * np.random.default_rng(at).standard_normal(1000)
            soundfile.write(tmp_path / "mine" / name, sound, RATE)
        (tmp_path / "mine.csv").write_text(table, encoding="utf-8")
        return cli.main(["arrange", str(tmp_path / "mine"), str(tmp_path / "mine.csv"), str(tmp_path / "data"), *words])

    run.data = tmp_path / "data"
    return run


def rows(*lines: str) -> str:
    return "\n".join([*lines, ""])


def whole(data: Path) -> pd.DataFrame:
    frame = read_split(data / "all.csv")
    for uid in frame.index:
        assert len(list((data / "recordings" / uid).glob("waveform.*"))) == 1
    return frame


def test_a_row_number_is_not_taken_for_the_file(clinic, capsys):
    """Files 1.wav to 8.wav, rows 1 to 8 that name them backwards: every label would land on another recording."""
    files = [f"{number}.wav" for number in range(1, 9)]
    lines = [f"{number},{9 - number},s{number},{int(number > 4)}" for number in range(1, 9)]
    assert clinic(files, rows("nr,recording,speaker,y", *lines)) == 2
    assert "the columns 'nr' and 'recording' could both name the audio files" in capsys.readouterr().err
    assert not clinic.data.exists()
    assert clinic(files, rows("nr,recording,speaker,y", *lines), "--file_column", "recording") == 0
    assert whole(clinic.data)["y"].to_dict() == {str(number): int(number < 5) for number in range(1, 9)}


def test_one_column_names_file_and_person(clinic, capsys):
    files = [f"P{number:02d}.wav" for number in range(8)]
    table = rows("patient,dysarthric", *(f"P{number:02d},{'no' if number % 2 else 'yes'}" for number in range(8)))
    assert clinic(files, table) == 0
    frame = whole(clinic.data)
    assert list(frame.columns) == ["patient", "dysarthric"]
    assert list(frame["patient"]) == list(frame.index) == [name[:-4] for name in files]
    assert "the column 'patient' names the files; 8 of 8 are in" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("files", "header", "cells", "said"),
    [
        (
            ["P{0}/a.wav", "P{0}/a.flac"],
            "patient",
            ["P{0}"],
            "8 such names, as of P0/a.flac, P0/a.wav",
        ),
        (
            ["P{0}_1.wav", "P{0}_1.flac"],
            "patient",
            ["P{0}"],
            "8 such names, as of P0_1.flac, P0_1.wav",
        ),
        (
            ["{0}.wav", "{0}.flac"],
            "file",
            ["{0}.wav", "{0}.flac"],
            "8 such names, as of 0.wav, 0.flac",
        ),
        (["P{0}/a.wav", "P{0}/b.flac"], "patient", ["P{0}"], None),
    ],
)
def test_one_recording_in_two_formats_is_told(clinic, capsys, files, header, cells, said):
    lines = [f"{cell.format(number)},{number % 2}" for number in range(8) for cell in cells]
    assert clinic([name.format(number) for number in range(8) for name in files], rows(f"{header},y", *lines)) == 0
    shown = capsys.readouterr().out
    assert "formats" not in shown if said is None else said in shown


@pytest.mark.parametrize(
    ("table", "person"),
    [("uid,code,y\nu{0},a{0},{1}", "u"), ("code,uid,y\na{0},u{0},{1}", "u"), ("code,y\na{0},{1}", "a")],
)
def test_the_column_of_the_files_or_uids_may_say_who_speaks(clinic, table, person):
    header, line = table.split("\n")
    files = [f"a{number}.wav" for number in range(8)]
    name = "uid" if "uid" in header else "code"
    table = rows(header, *(line.format(number, number % 2) for number in range(8)))
    assert clinic(files, table, "--subject_column", name) == 0
    frame = whole(clinic.data)
    assert list(frame["subject"]) == list(frame.index) == [f"{person}{number}" for number in range(8)]


def test_a_row_a_patient_and_a_diagnosis_in_words_are_ready_for_check(clinic, capsys, monkeypatch):
    monkeypatch.chdir(clinic.data.parent)
    people = range(1, 13)
    files = [f"P{person}/{take}.wav" if person % 2 else f"p{person}_{take}.flac" for person in people for take in "ab"]
    words = ["PD", "HC", "MSA"]
    lines = [f"P{person},{words[person % 3] if person > 1 else ''},{50 + person}" for person in people]
    assert clinic(files, rows("code,diagnosis,age", *lines), "--label_column", "diagnosis") == 0
    frame, said = whole(clinic.data), capsys.readouterr().out
    labels = read_labels(clinic.data / "labels.txt")
    assert labels == ["diagnosis_HC", "diagnosis_MSA", "diagnosis_PD"]
    assert list(frame.columns) == ["subject", *labels, "diagnosis", "age"]
    assert frame["subject"].value_counts().to_dict() == {f"P{person}": 2 for person in people}
    assert frame[frame["subject"] == "P1"][labels].isna().all(axis=None)
    assert (frame[frame["subject"] == "P10"]["diagnosis_HC"] == 1).all()
    assert (frame[labels].dropna().sum(axis=1) == 1).all()
    halves = [read_split(clinic.data / "splits" / f"{name}.csv") for name in ("train", "test")]
    assert not set(halves[0]["subject"]) & set(halves[1]["subject"])
    assert "holds the folder, or the beginning of the file names, of each of 12 rows; 24 of 24 are in" in said
    assert "label diagnosis_PD (diagnosis is PD): " in said
    assert cli.main(said.split("next: ssast ")[1].splitlines()[0].split()) == 0


def test_left_out_rows_are_counted_one_by_one_and_told_apart(clinic, capsys):
    """Two files that fit one name were called missing, and two rows of one name counted once."""
    files = ["A/001.wav", "B/001.wav", "A/002.wav", "B/003.wav"]
    lines = ["001.wav,a,1", "001.wav,b,0", "002,c,1", "003,d,0", "004,e,0", "004,f,0"]
    table = rows("file,speaker,y", *lines)
    assert clinic(files, table) == 2
    said = capsys.readouterr().err
    assert (
        "fit more than one audio file in 2 rows, the first in line 2, where '001.wav' in the column 'file' fits" in said
    )
    assert "2 files: A/001.wav, B/001.wav" in said
    assert clinic(files, table, "--on_bad_audio", "skip") == 0
    bad = pd.read_csv(clinic.data / "bad_audio.csv", dtype=str)
    assert len(whole(clinic.data)) + len(bad) == len(lines)
    assert bad["reason"].str.contains("fits 2 files").tolist() == [True, True, False, False]
    said = capsys.readouterr().out
    assert "the table has no row for 2 files: A/001.wav, B/001.wav" in said
    assert "4 recordings left out" in said


def test_links_to_nothing_and_pipes_are_bad_recordings_and_no_waiting(clinic, capsys):
    (clinic.data.parent / "mine").mkdir()
    (clinic.data.parent / "mine" / "c.wav").symlink_to("nowhere.wav")
    os.mkfifo(clinic.data.parent / "mine" / "d.wav")
    table = rows("file,speaker,y", "a,s1,1", "b,s2,0", "c,s3,1", "d,s4,0")
    assert clinic(["a.wav", "b.wav"], table) == 2
    assert "c.wav is not a file, or a link to nothing" in capsys.readouterr().err
    assert clinic(["a.wav", "b.wav"], table, "--on_bad_audio", "skip") == 0
    assert list(whole(clinic.data).index) == ["a", "b"]


def test_doubtful_codes_unknown_people_and_near_answers_are_told(clinic, capsys):
    files = [f"a{number}.wav" for number in range(10)]
    lines = [
        f"a{n},{'NA' if n == 9 else n // 2:},{'AB'[n % 2]},{'?' if n == 3 else ['no', 'yes'][n % 2]},{n % 2}"
        for n in range(10)
    ]
    assert clinic(files, rows("file,subject,site,hoarse,y", *lines)) == 0
    said = capsys.readouterr().out
    assert (
        "warning: one code may stand for two people: 0 (site A and B); 1 (site A and B); 2 (site A and B); and 1 more"
        in said
    )
    assert "1 of unknown people" in said
    assert "one person may have two codes" not in said
    assert "note: hoarse is no label, since it holds '?' beside yes and no" in said


def test_a_column_that_nearly_holds_answers_is_not_proposed_as_text(clinic, capsys):
    lines = [f"a{n},s{n},{'?' if n == 9 else ['no', 'yes'][n % 2]}" for n in range(10)]
    assert clinic([f"a{n}.wav" for n in range(10)], rows("file,speaker,hoarse", *lines)) == 0
    said = capsys.readouterr().out
    assert "note: hoarse is no label, since it holds '?' beside yes and no" in said
    assert "--label_column hoarse" not in said


def test_two_spellings_of_one_code_are_told(clinic, capsys):
    lines = [f"a{n},{['P1', 'p01', 'P2', '3'][n]},{n % 2}" for n in range(4)]
    assert clinic([f"a{n}.wav" for n in range(4)], rows("file,subject,y", *lines)) == 0
    assert "warning: one person may have two codes: P1 and p01; if so," in capsys.readouterr().out


def test_without_answers_the_screen_says_which_column_of_words_could_be_labels(clinic, capsys):
    lines = [f"a{n},s{n},{['PD', 'HC'][n % 2]}" for n in range(4)]
    assert clinic([f"a{n}.wav" for n in range(4)], rows("file,speaker,the diagnosis", *lines)) == 0
    assert "--label_column 'the diagnosis' makes a label of each of its entries" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("header", "words", "said"),
    [
        ("file,speaker,y", ["--label_column", "speaker"], "names files or people, so it is no label"),
        ("file,speaker,y", ["--label_column", "y,z"], "the table has no column 'z'"),
        ("file,who,y", ["--subject_column", "y"], "holds nothing but 0 and 1 or yes and no"),
    ],
)
def test_options_that_do_not_fit_the_table_are_refused(clinic, capsys, header, words, said):
    assert clinic(["a.wav", "b.wav"], rows(header, "a,s1,1", "b,s2,0"), *words) == 2
    assert said in capsys.readouterr().err
    assert not clinic.data.exists()


def test_a_table_without_rows_is_refused(clinic, capsys):
    assert clinic(["a.wav"], "file,speaker,y\n") == 2
    assert "has a header but no rows" in capsys.readouterr().err


def test_label_columns_may_be_listed_repeated_or_a_python_list(clinic):
    files, lines = [f"a{n}.wav" for n in range(4)], [f"a{n},s{n},{'xy'[n % 2]},{'pq'[n // 2]}" for n in range(4)]
    table, found = rows('file,speaker,d,"e, f"', *lines), []
    for words in (
        ["--label_column", "d", "--label_column", "e, f"],
        ["--label_column", "e, f"],
        ["--label_column", "d"],
    ):
        assert clinic(files, table, *words) == 0
        found.append(read_labels(clinic.data / "labels.txt"))
        clinic.data.rename(clinic.data.with_name(f"data-{len(found)}"))
    assert found[0] == [*found[2], *found[1]] == ["d_x", "d_y", "e_f_p", "e_f_q"]
    given = resolve(Options(), mode="arrange", prefix="a", data_split_root="b", exp_dir="c", label_column=["d", "e"])
    assert given.label_column == "d\ne"


def test_a_private_run_hides_codes_and_names_of_missing_files(clinic, monkeypatch, capsys):
    monkeypatch.setenv("SSAST_KEYS", str(clinic.data.parent / "keys"))
    table = rows("patient,dysarthric", "Meier7,yes", "Schulz8,no", "Lehmann9,no")
    assert clinic(["Meier7/a.wav", "Meier7/b.wav", "Schulz8/c.wav"], table, "--private", "True") == 2
    words = ("--private", "True", "--on_bad_audio", "skip")
    assert clinic(["Meier7/a.wav", "Meier7/b.wav", "Schulz8/c.wav", "Mohr3/d.wav"], table, *words) == 0
    shown = capsys.readouterr()
    for name in ("Meier7", "Schulz8", "Lehmann9", "Mohr3"):
        assert name not in shown.out + shown.err
