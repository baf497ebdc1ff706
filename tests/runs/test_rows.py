"""Where a csv, a list of labels or a run knows only some of a model's labels, these are used and the others said."""

import json

import numpy as np
import pandas as pd
import pytest

import ssast
from ssast import cli
from ssast.data.storage.location import Location
from ssast.data.tables.ratings import Ratings
from ssast.metrics.predictions import Predictions, read_predictions
from ssast.metrics.scores import score
from ssast.model.classification import SSASTForAudioClassification
from ssast.model.label_kinds import LabelKinds
from ssast.runs.rows import Rows

pytestmark = pytest.mark.usefixtures("narrow")

SHAPE = {"model_size": "tiny", "fshape": 32, "tshape": 8, "num_mel_bins": 32, "target_length": 48}
FRONTEND = {"sample_rate": 16000, "num_mel_bins": 32, "target_length": 48, "mean": -4.0, "std": 4.0}


def save(folder, labels):
    kept = {"frontend": FRONTEND, "task": "ft_avgtok", "layer": 2, "seed": 0}
    SSASTForAudioClassification(len(labels), **SHAPE, labels=labels, **kept).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save(tmp_path_factory.mktemp("models") / "fine", ["nasal", "high", "breathy", "loud"])


def run(mode, corpus, model, out, *words):
    where = ["-i", corpus.audio, "-d", corpus.splits / "test.csv", "--finetuned_mdl_path", model, "-o", out]
    return cli.main([mode, *map(str, where), "--device", "cpu", *words])


def test_a_foreign_csv_is_scored_on_the_labels_that_it_has(still_corpus, model, tmp_path, capsys):
    """Two messages once sent users in a circle: correct --label_txt, and give the labels that it was trained with."""
    assert run("evaluate", still_corpus, model, tmp_path, "--resamples", "0") == 0
    shown = capsys.readouterr().out
    for label in ("nasal", "breathy"):
        assert f"not scored: {label}, since {still_corpus.splits / 'test.csv'} has no such column" in shown
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert list(metrics["labels"]) == ["high", "loud"]
    assert metrics["not_scored"] == ["nasal", "breathy"]
    assert "which were not scored here: nasal, breathy" in (tmp_path / "report.html").read_text()
    of_some = read_predictions(tmp_path, ["high", "loud"])
    still_corpus.frame("test").assign(nasal=1, breathy=0).to_csv(tmp_path / "all.csv")
    where = {"prefix": still_corpus.audio, "data_split_root": tmp_path / "all.csv", "exp_dir": tmp_path / "all"}
    ssast.evaluate(**where, finetuned_mdl_path=model, device="cpu", resamples=0)
    np.testing.assert_array_equal(read_predictions(tmp_path / "all", of_some.labels).scores, of_some.scores)


def test_labels_may_be_named_in_part_and_in_another_order(still_corpus, model, tmp_path, capsys):
    (tmp_path / "labels.txt").write_text("loud\nhigh\n")
    words = ["--resamples", "0", "-l", str(tmp_path / "labels.txt")]
    assert run("evaluate", still_corpus, model, tmp_path / "two", *words) == 0
    (tmp_path / "labels.txt").write_text("high\n")
    assert run("evaluate", still_corpus, model, tmp_path / "one", *words) == 0
    two, one = (pd.read_csv(tmp_path / name / "predictions.csv", dtype={"uid": str}) for name in ("two", "one"))
    assert list(two.columns) == ["uid", "loud", "high", "loud_target", "high_target"]
    assert list(one.columns) == ["uid", "high", "high_target"]
    pd.testing.assert_frame_equal(one, two[one.columns])
    (tmp_path / "labels.txt").write_text("high\nfast\n")
    assert run("evaluate", still_corpus, model, tmp_path / "no", *words) == 2
    assert "names fast, but the model was fine-tuned for nasal, high" in capsys.readouterr().err


def test_a_csv_without_any_of_the_labels_is_one_sentence(still_corpus, tmp_path, capsys):
    other = save(tmp_path / "m", ["nasal", "Loud"])
    assert run("evaluate", still_corpus, other, tmp_path / "out") == 2
    assert "none of the model's labels (nasal, Loud) is a column of" in capsys.readouterr().err
    mixed = save(tmp_path / "n", ["high", "Loud"])
    assert run("evaluate", still_corpus, mixed, tmp_path / "out", "--resamples", "0") == 0
    assert "has no such column (it has loud, which differs in capital letters)" in capsys.readouterr().out


def test_attention_tells_what_the_csv_knows(still_corpus, model, tmp_path, capsys):
    assert run("attention", still_corpus, model, tmp_path, "--max_clips", "1") == 0
    assert "the csv has no column nasal, breathy" in capsys.readouterr().out
    assert "In the csv: none of the labels" in (tmp_path / "attention" / "attention.html").read_text()


def test_audit_takes_a_run_that_scored_some_of_the_labels(still_corpus, tmp_path, capsys):
    uids = list(still_corpus.frame("test").index)
    scores = np.linspace(0.1, 0.9, len(uids), dtype=np.float32)[:, None]
    run_folder = tmp_path / "run"
    run_folder.mkdir()
    found = Predictions(uids, ["high"], scores, still_corpus.frame("test")[["high"]].to_numpy(float))
    found.table().to_csv(run_folder / "predictions.csv")
    words = ["-i", still_corpus.audio, "-d", still_corpus.splits, "-l", still_corpus.label_txt, "--runs", run_folder]
    assert cli.main(["audit", *map(str, words), "-o", str(tmp_path / "out"), "--resamples", "100"]) == 0
    assert "has no scores of loud, so the page does not show" in capsys.readouterr().out
    assert read_predictions(run_folder, ["loud", "high"], in_part=True).labels == ["high"]


def test_runs_of_models_with_a_label_that_is_called_mean_are_not_compared(tmp_path, capsys):
    """The label's number once stood where the mean of the labels belongs."""
    truth = np.array([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0], [0.0, 0.0]])
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        made = Predictions(list("abcd"), ["ill", "mean"], truth.astype(np.float32) * 0.5, truth)
        made.table().to_csv(tmp_path / name / "predictions.csv")
        (tmp_path / name / "metrics.json").write_text(json.dumps(score(truth, made.scores, made.labels)))
    assert cli.main(["compare", str(tmp_path / "first"), str(tmp_path / "second"), "-o", str(tmp_path / "out")]) == 2
    assert "'mean' of" in capsys.readouterr().err


@pytest.mark.parametrize("labels", [["high", "high_call"], ["high", "HIGH_call"]])
def test_predict_refuses_a_model_whose_labels_meet_its_columns(still_corpus, tmp_path, capsys, labels):
    words = [save(tmp_path / "m", labels), still_corpus.audio / "0000", "-o", tmp_path / "out", "--device", "cpu"]
    assert cli.main(["predict", *map(str, words)]) == 2
    assert (
        f"the label '{labels[1]}' of the model has the same name as a column of predicted.csv"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize("mode", ["finetune", "sweep", "check", "audit"])
def test_such_a_label_is_refused_before_anything_is_done(corpus, tmp_path, capsys, mode):
    for name in ("train", "test"):
        corpus.frame(name).rename(columns={"loud": "high_target"}).to_csv(corpus.splits / f"{name}.csv")
    corpus.label_txt.write_text("high\nhigh_target\n")
    words = ["-i", corpus.audio, "-d", corpus.splits, "-l", corpus.label_txt, "-o", tmp_path / "out"]
    assert cli.main([mode, *map(str, words)]) == 2
    assert "the label 'high_target' of" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_part_of_rows_keeps_what_was_read_of_them_and_says_the_same_as_one_that_is_read_anew():
    cells = pd.DataFrame({"fluent": ["1;2;3", "4", "2;3", ""]}, index=pd.Index(list("abcd"), name="uid"))
    kinds, place = LabelKinds.plain("MSE", ["fluent"]), Location("t.csv")
    part = Rows(cells, ["fluent"], place, kinds, read=Ratings.of(cells, kinds, place)).part(cells.loc[["c", "d", "a"]])
    assert part.read is not None
    np.testing.assert_array_equal(part.targets, [[2.5], [np.nan], [2]])
    np.testing.assert_array_equal(part.targets, Rows(part.frame, ["fluent"], place, kinds).targets)
    assert part.part(cells.loc[["a"]]).ratings.by_label[0].tolist() == [[1, 2, 3]]
