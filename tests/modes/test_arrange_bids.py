"""`ssast arrange` on folders and tables of BIDS and Bridge2AI-Voice."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from ssast import cli
from ssast.data.storage.location import Location
from ssast.data.tables.splits import read_split
from ssast.runs.reviewing.repeated_recordings import find_repeats

PEOPLE = range(1, 5)


@pytest.fixture
def study(tmp_path) -> Path:
    """Four people with two sessions of two tasks, participants.tsv, and a table of sessions in each person's folder."""
    root, rng = tmp_path / "study", np.random.default_rng(0)
    people = ["participant_id\tage\tdysphonia"]
    for person in PEOPLE:
        sub, lines = f"sub-{person:02d}", ["session_id\tmedicated"]
        for session in (1, 2):
            folder = root / sub / f"ses-{session}" / "audio"
            folder.mkdir(parents=True)
            for task in ("vowel", "reading"):
                name = f"{sub}_ses-{session}_task-{task}_audio.wav"
                soundfile.write(folder / name, 0.1 * rng.standard_normal(800), 8000)
            lines.append(f"ses-{session}\t{'yes' if session == 2 else 'no'}")
        (root / sub / f"{sub}_sessions.tsv").write_text("\n".join([*lines, ""]))
        people.append(f"{sub}\t{40 + person}\t{person % 2}")
    (root / "participants.tsv").write_text("\n".join([*people, ""]))
    (root / "phenotype").mkdir()
    vhi = [f"{person:02d}\t{session}\t{10 * person + session}" for person in PEOPLE for session in (1, 2)]
    (root / "phenotype" / "vhi.tsv").write_text("\n".join(["record_id\tsession_id\tvhi", *vhi, ""]))
    return root


def arrange(root: Path, table: str, *words: str) -> int:
    return cli.main(["arrange", str(root), str(root / table), str(root.parent / "data"), *words])


def made(root: Path) -> pd.DataFrame:
    return read_split(root.parent / "data" / "all.csv")


def test_participants_sessions_and_names_of_files_become_one_table(study, capsys):
    assert arrange(study, "participants.tsv") == 0
    frame, said = made(study), capsys.readouterr().out
    assert list(frame.columns) == ["participant_id", "dysphonia", "medicated", "age", "session", "task"]
    row = frame.loc["sub-03_ses-2_task-vowel_audio"]
    assert row.tolist() == ["sub-03", 1, 1, 43, 2, "vowel"]
    assert "sessions.tsv of 4 participants joined by participant_id and session = session_id: 16 of 16" in said
    assert "tables that were not joined: phenotype/vhi.tsv" in said
    train, test = (read_split(study.parent / "data" / "splits" / f"{name}.csv") for name in ("train", "test"))
    assert not set(train["participant_id"]) & set(test["participant_id"])


def test_retest_finds_the_sessions(study):
    assert arrange(study, "participants.tsv") == 0
    repeats = find_repeats(Location(str(study.parent / "data" / "all.csv")))
    assert repeats.uids[0] == (
        [f"sub-01_ses-1_task-{task}_audio" for task in ("reading", "vowel")],
        [f"sub-01_ses-2_task-{task}_audio" for task in ("reading", "vowel")],
    )


def test_a_table_of_sessions_as_of_bridge2ai_may_be_the_first(study, capsys):
    table = study / "phenotype" / "vhi.tsv"
    assert arrange(study, "phenotype/vhi.tsv", "--join_table", str(study / "participants.tsv")) == 0
    frame = made(study)
    assert frame.loc["sub-02_ses-2_task-reading_audio", ["participant_id", "vhi", "age"]].tolist() == ["02", 22, 42]
    assert set(frame.groupby("participant_id")["dysphonia"].nunique()) == {1}
    assert f"{table.name} joined by participant_id = record_id and session = session_id" in capsys.readouterr().out


def test_recordings_sessions_and_participants_are_joined_one_after_the_other(tmp_path, capsys):
    rng, folder = np.random.default_rng(0), tmp_path / "files"
    folder.mkdir()
    for number in range(8):
        soundfile.write(folder / f"r{number}.wav", 0.1 * rng.standard_normal(800), 8000)
    lines = [f"r{number},s{number // 2}" for number in range(8)]
    (folder / "recordings.csv").write_text("\n".join(["file,session_id", *lines, ""]))
    (folder / "sessions.csv").write_text("session_id,patient_id\n" + "".join(f"s{at},P{at // 2}\n" for at in range(4)))
    (folder / "patients.csv").write_text("patient_id,ill\nP0,yes\nP1,no\n")
    further = ["--join_table", str(folder / "sessions.csv"), "--join_table", str(folder / "patients.csv")]
    assert arrange(folder, "recordings.csv", *further, "--subject_column", "patient_id") == 0
    frame = made(folder)
    assert list(frame.columns) == ["patient_id", "ill", "session"]
    assert frame.loc["r5"].tolist() == ["P1", 0, "s2"]
    assert "patients.csv joined by patient_id: 8 of 8 recordings found their row" in capsys.readouterr().out


def test_a_name_that_contradicts_its_folder_is_refused(study, capsys):
    folder = study / "sub-01" / "ses-1" / "audio"
    (folder / "sub-01_ses-1_task-vowel_audio.wav").rename(folder / "sub-01_ses-2_task-other_audio.wav")
    assert arrange(study, "participants.tsv") == 2
    assert "1 of 16 files lie in the folder of another participant or session" in capsys.readouterr().err
    assert not (study.parent / "data").exists()


def test_derived_files_are_left_aside_and_counted(study, capsys):
    there = study / "derivatives" / "sub-01"
    there.mkdir(parents=True)
    soundfile.write(there / "sub-01_ses-1_task-vowel_audio.wav", np.ones(800) / 9, 8000)
    assert arrange(study, "participants.tsv") == 0
    assert len(made(study)) == 16
    assert "1 audio file in derivatives, sourcedata, code, stimuli" in capsys.readouterr().out


def test_keys_that_no_table_has_are_refused(study, capsys):
    words = ["--join_table", str(study / "phenotype" / "vhi.tsv"), "--join_on", "sesion=visit"]
    assert arrange(study, "participants.tsv", *words) == 2
    assert "--join_on names sesion=visit, but no table was joined by it" in capsys.readouterr().err


def test_a_private_run_shows_no_key_that_fits_nothing(study, capsys):
    (study / "more.tsv").write_text("participant_id\tsite\nsub-01\tx\nMiller-7\ty\n")
    words = ["--join_table", str(study / "more.tsv"), "--private", "True"]
    assert arrange(study, "participants.tsv", *words) == 0
    said = capsys.readouterr().out
    assert "1 of its 2 rows fit no recording (subject-" in said
    assert "Miller" not in said
