"""`ssast check` looks through a data set and says in its exit code whether a run would suffer."""

import numpy as np
import pandas as pd
import pytest

from ssast import cli
from ssast.data.storage.location import Location
from ssast.dataset_audit.survey import FAULTS, NOTES
from ssast.modes.check import check


@pytest.fixture
def words(corpus, tmp_path):
    data = ["-i", str(corpus.audio), "-d", str(corpus.splits), "-l", str(corpus.label_txt)]
    return ["check", *data, "-o", str(tmp_path / "out")]


def found(tmp_path):
    return pd.read_csv(tmp_path / "out" / "check.csv", dtype={"uid": str})


@pytest.mark.parametrize("workers", [0, 2])
def test_a_good_data_set_passes(words, corpus, tmp_path, capsys, workers):
    assert cli.main([*words, "--num_workers", str(workers)]) == 0
    shown = capsys.readouterr()
    assert "train: 12 rows, 12 recordings read, 0.50 to 0.75 s (median 0.62)" in shown.out
    assert "16000 Hz, 1 channel(s)" in shown.out
    assert "0 faults and 0 notes" in shown.out
    assert "18/18" in shown.err, "the progress bar"
    assert found(tmp_path).empty
    recordings = pd.read_csv(tmp_path / "out" / "recordings.csv", dtype={"uid": str})
    assert list(recordings["uid"]) == [*corpus.frame("train").index, *corpus.frame("test").index]
    assert recordings["usable"].all()
    assert set(recordings["sample_rate_hz"]) == {16000}


def test_each_fault_is_listed_and_the_exit_code_is_1(words, corpus, tmp_path, record, capsys):
    (corpus.audio / "0001" / "waveform.wav").unlink()
    cut = corpus.audio / "0002" / "waveform.wav"
    cut.write_bytes(cut.read_bytes()[:200])
    record(corpus.audio / "0003", np.zeros(8000, np.float32), 16000)
    (corpus.audio / "0016" / "waveform.wav").write_bytes((corpus.audio / "0000" / "waveform.wav").read_bytes())
    record(corpus.audio / "spare", np.ones(8000, np.float32), 16000)
    (corpus.audio / ".hidden").mkdir()
    (corpus.audio / "readme.txt").write_text("not a recording")
    assert cli.main(words) == 1
    table = found(tmp_path)
    assert dict(zip(table["uid"], table["finding"], strict=True)) == {
        "0001": "not found",
        "0002": "not usable",
        "0003": "silent",
        "0016": "sound in both splits",
        "spare": "not in the csv",
    }
    assert list(table["weight"]) == ["fault"] * 4 + ["note"]
    shown = capsys.readouterr().out
    assert "4 faults and 1 notes" in shown
    assert "0001: " in shown


def test_numbers_are_counted_as_numbers_and_what_looks_like_a_code_is_noted(words, corpus, tmp_path, capsys):
    """A table of pitches was counted as 12 yes and 0 no, and its 999 passed."""
    for split in ("train", "test"):
        frame = corpus.frame(split)
        frame["pitch"] = [f"{100 + 2.5 * row}".replace(".", ",") for row in range(len(frame))]
        frame.iloc[:2, list(frame.columns).index("pitch")] = ["999", ""]
        frame.to_csv(corpus.splits / f"{split}.csv", sep=";")
    corpus.label_txt.write_text("pitch\n")
    assert cli.main([*words, "--loss", "MSE"]) == 0
    shown = capsys.readouterr().out
    assert "pitch in train: 11 numbers, 105 to 999 (median 117.5), empty 1\npitch in test: 5 numbers, 105" in shown
    assert "yes" not in shown
    table = found(tmp_path)
    codes = table[table["finding"] == "perhaps a code"]
    assert list(codes["split"]) == ["train", "test"]
    assert set(codes["detail"]) == {"999 counts as a value of 'pitch'; where it means missing, leave the cells empty"}


def test_notes_alone_pass(words, corpus, record):
    record(corpus.audio / "spare", np.ones(8000, np.float32), 16000)
    assert cli.main(words) == 0


def test_a_single_csv_and_no_labels_will_do(corpus, tmp_path, capsys):
    where = {"prefix": str(corpus.audio), "exp_dir": str(tmp_path / "out")}
    assert check(data_split_root=str(corpus.splits / "test.csv"), **where) == 0
    shown = capsys.readouterr().out
    assert "test: 6 rows" in shown
    assert "give --label_txt" in shown
    assert list(found(tmp_path)["finding"].unique()) == ["not in the csv"], "the other split's recordings"


def test_a_study_is_looked_for_below_the_prefix(corpus, tmp_path):
    where = {"prefix": str(corpus.folder), "study": "audio", "exp_dir": str(tmp_path / "out")}
    assert check(data_split_root=str(corpus.splits), **where) == 0


def test_one_unreadable_csv_is_a_fault_and_the_other_is_looked_at(words, corpus, tmp_path):
    (corpus.splits / "train.csv").write_text("name\n1\n")
    assert cli.main(words) == 1
    assert found(tmp_path)["finding"].iloc[0] == "csv not usable"
    (corpus.splits / "test.csv").write_text("")
    assert cli.main(words) == 2


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"-i": "nowhere"}, "the data folder nowhere does not exist"),
        ({"-d": "nowhere"}, "does not exist"),
        ({"-d": "."}, "holds no train.csv and no test.csv"),
        ({"-l": "nowhere.txt"}, "nowhere.txt does not exist"),
    ],
)
def test_what_is_not_there_is_one_sentence(words, tmp_path, monkeypatch, capsys, change, said):
    monkeypatch.chdir(tmp_path)
    for flag, value in change.items():
        words[words.index(flag) + 1] = value
    assert cli.main(words) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_it_leaves_its_record_beside_that_of_a_run(words, tmp_path):
    assert cli.main(words) == 0
    assert "mode: check" in (tmp_path / "out" / "run.yaml").read_text()


def test_every_kind_of_finding_is_explained(request):
    page = (request.config.rootpath / "docs" / "check.md").read_text()
    for kind, meaning in {**FAULTS, **NOTES}.items():
        assert f"| {kind} | {meaning} |" in page


def test_a_bucket_is_looked_through_as_a_disk_is(corpus, tmp_path):
    there = Location("memory://ssast-check")
    (corpus.audio / "0001" / "waveform.wav").unlink()
    for path in corpus.folder.rglob("*.*"):
        with (there / str(path.relative_to(corpus.folder))).open("wb") as file:
            file.write(path.read_bytes())
    with (there / "audio/spare/metadata.json").open("wb") as file:
        file.write(b"{}")
    with (there / "audio/readme.txt").open("wb") as file:
        file.write(b"not a recording")
    where = {"prefix": f"{there}/audio", "data_split_root": f"{there}/splits", "label_txt": f"{there}/labels.txt"}
    assert check(**where, exp_dir=str(tmp_path / "out")) == 1
    table = found(tmp_path)
    assert list(zip(table["uid"], table["finding"], strict=True)) == [
        ("0001", "not found"),
        ("spare", "not in the csv"),
    ]
