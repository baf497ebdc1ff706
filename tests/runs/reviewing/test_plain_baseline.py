import json

import numpy as np
import pandas as pd
import pytest

import ssast
from ssast.metrics.predictions import Predictions
from ssast.metrics.scores import score
from ssast.pages.remarks import remarks
from ssast.pages.review_sections import plain_section
from ssast.pages.tables import screen_rows
from ssast.runs.reviewing.plain_baseline import PlainBaseline, add_plain_baseline, read_plain_baseline

pytestmark = pytest.mark.usefixtures("narrow", "own_cache")


def usual(corpus, folder, **others):
    found = {"prefix": str(corpus.audio), "data_split_root": str(corpus.splits), "label_txt": str(corpus.label_txt)}
    found |= {"target_length": 32, "device": "cpu", "precision": "fp32", "resamples": 20, "model_size": "tiny"}
    found |= {"pretrained_mdl_path": "none", "epochs": 1, "batch_size": 6, "val_share": 0.3}
    return {**found, "exp_dir": str(folder), **others}


@pytest.fixture
def read(monkeypatch):
    """The uids of recordings that are read for the plain baseline alone."""
    seen: list[str] = []
    whole = PlainBaseline._read

    def watched(self, source):
        seen.extend(source.frame.index)
        return whole(self, source)

    monkeypatch.setattr(PlainBaseline, "_read", watched)
    return seen


def of(folder):
    return json.loads((folder / "metrics.json").read_text())["plain_baseline"]


@pytest.mark.parametrize("freeze", [True, False])
def test_no_recording_is_read_twice_for_the_baseline_and_a_planted_level_is_found(tmp_path, still_corpus, read, freeze):
    ssast.finetune(**usual(still_corpus, tmp_path / "run", freeze=freeze))
    assert read == []
    found = of(tmp_path / "run")["labels"]
    assert found["loud"]["value"] == 1.0, "loudness is a plain feature, and the label is loudness"
    assert set(found) == {"high", "loud"}
    ssast.evaluate(**usual(still_corpus, tmp_path / "again", finetuned_mdl_path=str(tmp_path / "run")))
    assert (tmp_path / "again" / "metrics.json").read_bytes() == (tmp_path / "run" / "metrics.json").read_bytes()
    assert read == []


def test_augmented_training_recordings_are_read_once_as_they_are_and_never_again(tmp_path, still_corpus, read):
    ssast.finetune(**usual(still_corpus, tmp_path / "run", freqm=8))
    trained = set(pd.read_csv(still_corpus.splits / "train.csv", dtype=str)["uid"])
    assert set(read) <= trained
    assert len(read) == len(set(read)) > 0
    read.clear()
    ssast.finetune(**usual(still_corpus, tmp_path / "other", freqm=4))
    assert read == []


def test_each_fold_has_its_own_baseline_and_their_scores_are_pooled(tmp_path, still_corpus):
    ssast.finetune(**usual(still_corpus, tmp_path / "run", folds=2))
    tables = [pd.read_csv(tmp_path / "run" / f"fold-{n}" / "plain_baseline.csv", dtype={"uid": str}) for n in (1, 2)]
    together = pd.concat(tables).set_index("uid")["loud"]
    truth = pd.read_csv(still_corpus.splits / "train.csv", dtype={"uid": str}).set_index("uid")["loud"]
    expected = score(truth.to_numpy(float)[:, None], together[truth.index].to_numpy()[:, None], ["loud"])
    assert of(tmp_path / "run")["labels"]["loud"]["value"] == expected["labels"]["loud"]["auc"]


def made(loss="BCE", better=True):
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 2, (60, 1)).astype(float)
    own, other = (0.3 + 0.4 * targets[:, 0] + 0.1 * rng.random(60), rng.random(60))
    predictions = Predictions([f"u{n}" for n in range(60)], ["ill"], (other if better else own)[:, None], targets)
    metrics = score(targets, predictions.scores, ["ill"], resamples=20, loss=loss) | {"unit": "clip"}
    add_plain_baseline(metrics, predictions, {"ill": own if better else other})
    return metrics


@pytest.mark.parametrize("loss", ["BCE", "MSE"])
def test_a_baseline_that_does_as_well_is_said_on_the_screen_and_on_the_page(loss):
    metrics = made(loss)
    (sentence,) = [line for line in remarks(metrics) if "plain baseline" in line]
    assert "at least as well as the model: ill" in sentence
    assert screen_rows(metrics)[0][-1] == "plain baseline"
    assert screen_rows(metrics)[1][-1].startswith("1.000" if loss == "BCE" else "0.9")
    low, high = metrics["plain_baseline"]["labels"]["ill"]["difference"]["interval"]
    assert low < high < 0
    assert "Beside a plain baseline" in plain_section(metrics)


def test_a_model_that_does_better_is_not_warned_of_and_other_kinds_of_labels_have_no_baseline():
    assert not [line for line in remarks(made(better=False)) if "plain baseline" in line]
    predictions = Predictions(["a", "b"], ["ill"], np.array([[0.1], [0.9]]), np.array([[0.0], [1.0]]))
    metrics = score(predictions.targets, predictions.scores, ["ill"])
    add_plain_baseline(metrics, predictions, {"ill": np.array([0.2, np.nan])})
    metrics["labels"]["ill"]["kind"] = "ordinal"
    add_plain_baseline(metrics, predictions, {"ill": np.array([0.2, 0.3])})
    assert "plain_baseline" not in metrics
    assert plain_section(metrics) == ""
    assert screen_rows(metrics)[0][-1] == "threshold"


@pytest.mark.parametrize("text", ["", "[]", '{"labels": {"ill": {}}}', '{"labels": 3}'])
def test_a_damaged_file_of_the_baseline_is_a_note_and_not_an_error(tmp_path, capsys, text):
    (tmp_path / "plain_baseline.json").write_text(text)
    assert read_plain_baseline(tmp_path, 4) == {}
    assert "no plain baseline" in capsys.readouterr().out
