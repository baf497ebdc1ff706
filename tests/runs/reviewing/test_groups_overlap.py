"""Scores of clips or people that the model has met are called what they are."""

import pandas as pd
import pytest

import ssast
from ssast import cli
from ssast.runs.reviewing.groups import overlap

pytestmark = pytest.mark.usefixtures("narrow")


def options(corpus, tmp_path, **others):
    usual = {"prefix": corpus.audio, "data_split_root": corpus.splits, "label_txt": corpus.label_txt, "epochs": 1}
    usual |= {"pretrained_mdl_path": "none", "model_size": "tiny", "target_length": 32, "device": "cpu"}
    return {name: str(value) for name, value in (usual | {"exp_dir": tmp_path / "run", **others}).items()}


def finetune(corpus, tmp_path):
    words = [f"--{name}={value}" for name, value in options(corpus, tmp_path).items()]
    assert cli.main(["finetune", *words, "--resamples=0"]) == 0


def test_people_in_both_splits_are_told(corpus, tmp_path, capsys):
    """It once said nothing, and a tester took the scores for those of new people."""
    test = corpus.splits / "test.csv"
    first = corpus.frame("train")["speaker"].iloc[0]
    lines = test.read_text().splitlines()
    test.write_text(
        "\n".join([lines[0], *(line.replace(line.split(",")[1], first) for line in lines[1:3]), *lines[3:]])
    )
    finetune(corpus, tmp_path)
    told = "Careful: 1 of these 5 subjects (column speaker) were in the training csv too"
    assert told in capsys.readouterr().out
    assert told in (tmp_path / "run" / "report.html").read_text()


def test_an_evaluation_on_clips_of_the_training_is_told_and_one_on_new_clips_is_not(corpus, tmp_path, capsys):
    finetune(corpus, tmp_path)
    assert "used in training" not in capsys.readouterr().out
    how = {"prefix": str(corpus.audio), "finetuned_mdl_path": str(tmp_path / "run"), "resamples": 0, "device": "cpu"}
    ssast.evaluate(**how, data_split_root=str(corpus.splits / "train.csv"), exp_dir=str(tmp_path / "old"))
    assert "Careful: 12 of these 12 clips were used in training" in capsys.readouterr().out
    ssast.evaluate(**how, data_split_root=str(corpus.splits / "test.csv"), exp_dir=str(tmp_path / "new"))
    said = capsys.readouterr().out
    assert "used in training" not in said
    assert "in the training csv" not in said


def test_a_label_of_one_kind_is_told_before_training(corpus, tmp_path, capsys):
    for name in ("train", "test"):
        frame = corpus.frame(name)
        frame["loud"] = 0
        frame.to_csv(corpus.splits / f"{name}.csv")
    finetune(corpus, tmp_path)
    assert "Careful: the label 'loud' has one answer in every row of" in capsys.readouterr().out


def people(column, *codes):
    return pd.DataFrame({column: list(codes)}, index=[f"{column} {codes} {n}" for n in range(len(codes))])


@pytest.mark.parametrize(
    ("scored", "said"),
    [
        (people("speaker", "1", None, "9"), "Careful: 1 of these 2 subjects (column speaker) were in the training csv"),
        (people("Speaker", "1", "1"), "1 of these 1 subjects (column Speaker"),
        (people("subject", "2", "9"), "1 of these 2 subjects (column subject, in the training csv speaker)"),
        (people("speaker", "02", "9"), "may have been in the training csv too, spelled differently: 02 here, 2 there"),
        (people("client", "1", "2"), "the training csv names people (column speaker) and these rows do not"),
        (people("speaker", "NA", "9"), ""),
        (people("speaker", "2.10", "9"), ""),
    ],
)
def test_people_are_compared_as_they_are_written_whatever_their_column_is_called(scored, said):
    told = overlap(scored, [people("speaker", "1", "2", "2.1"), people("speaker", "3", "NA")])
    assert said in told
    assert bool(said) == bool(told)


def test_what_is_found_in_a_part_of_the_training_rows_is_called_the_least():
    """Of 100 clips of the training it said that 10 were in it: it had opened validation.csv alone."""
    held_out = people("speaker", "1", "2")
    assert overlap(held_out, [held_out], is_all=False).startswith("Careful: at least 2 of these 2 clips were used")
    told = overlap(people("subject", "2", "9"), [held_out], is_all=False)
    assert told.startswith("Careful: at least 1 of these 2 subjects")


def test_two_tables_that_name_nobody_are_passed_over():
    assert overlap(people("age", 1, 2), [people("age", 3, 4)]) == ""


def test_one_empty_cell_hides_nobody_before_training(corpus, tmp_path, capsys):
    """It turned person 1 into 1.0: check and finetune saw nobody twice."""
    for name, codes in (("train", [1, 2] * 6), ("test", [1, "", 9, 9, 9, 9])):
        frame = corpus.frame(name).assign(speaker=codes)
        frame.to_csv(corpus.splits / f"{name}.csv")
    data = [f"--{name}={value}" for name, value in options(corpus, tmp_path).items()]
    assert cli.main(["check", *(word for word in data if word.startswith(("--prefix", "--data", "--exp_dir")))]) == 1
    assert "1: 6 clips in train, 1 in test" in capsys.readouterr().out
    assert cli.main(["finetune", *data, "--resamples=0"]) == 0
    said = "Careful: 1 of these 2 subjects (column speaker) were in the training csv too"
    shown = capsys.readouterr().out
    assert shown.index(said) < shown.index("fine-tuned model of epoch"), "known before hours of training"
