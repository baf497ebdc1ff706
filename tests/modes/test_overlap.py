"""Scores of clips or people that the model has met are called what they are."""

import ssast
from ssast import cli


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
    assert "Careful" not in capsys.readouterr().out
    how = {"prefix": str(corpus.audio), "finetuned_mdl_path": str(tmp_path / "run"), "resamples": 0, "device": "cpu"}
    ssast.evaluate(**how, data_split_root=str(corpus.splits / "train.csv"), exp_dir=str(tmp_path / "old"))
    assert "Careful: 12 of these 12 clips were used in training" in capsys.readouterr().out
    ssast.evaluate(**how, data_split_root=str(corpus.splits / "test.csv"), exp_dir=str(tmp_path / "new"))
    assert "Careful" not in capsys.readouterr().out


def test_a_label_of_one_kind_is_told_before_training(corpus, tmp_path, capsys):
    for name in ("train", "test"):
        frame = corpus.frame(name)
        frame["loud"] = 0
        frame.to_csv(corpus.splits / f"{name}.csv")
    finetune(corpus, tmp_path)
    assert "Careful: the label 'loud' has one answer in every row of" in capsys.readouterr().out
