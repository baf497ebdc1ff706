import json

import numpy as np
import pandas as pd
import pytest

from ssast.data.tables.splits import read_split
from ssast.errors import UserError
from ssast.metrics.predictions import read_predictions
from ssast.modes.finetune import finetune
from ssast.runs import cross_validation
from ssast.runs.thresholds import read_thresholds

pytestmark = pytest.mark.usefixtures("narrow")

TINY = {"pretrained_mdl_path": None, "model_size": "tiny", "tshape": 8, "target_length": 32, "device": "cpu"}
LABELS = ["high", "loud"]


def tuned(corpus, folder, **more):
    place = {"prefix": corpus.audio, "data_split_root": corpus.splits, "label_txt": corpus.label_txt}
    return finetune(**TINY, **place, exp_dir=folder, resamples=20, val_share=0.3, **more)


@pytest.fixture(scope="module")
def folded(still_corpus, tmp_path_factory):
    return tuned(still_corpus, tmp_path_factory.mktemp("folds") / "run", folds=3)


def test_the_folds_had_folders_of_their_own_within_the_one_of_the_run(folded):
    """They are fine-tunings within a fine-tuning that has its folder for itself."""
    assert (folded / "fold-3" / "metrics.json").exists()
    assert not list(folded.rglob("*.lock"))


def test_every_clip_is_scored_once_by_a_model_that_did_not_see_its_subject(folded, still_corpus):
    whole = read_split(still_corpus.splits / "train.csv")
    assert read_predictions(folded, LABELS).uids == list(whole.index)
    for fold in (1, 2, 3):
        train, test = (read_split(folded / f"fold-{fold}" / "splits" / f"{name}.csv") for name in ("train", "test"))
        assert not set(train["speaker"]) & set(test["speaker"])
        assert set(train.index) | set(test.index) == set(whole.index)
        pd.testing.assert_frame_equal(test, whole.loc[test.index])


def test_pooled_calls_are_those_of_each_folds_own_threshold(folded):
    entries = json.loads((folded / "metrics.json").read_text())["labels"]
    calls = {label: [] for label in LABELS}
    for fold in (1, 2, 3):
        home = folded / f"fold-{fold}"
        part, chosen = read_predictions(home, LABELS), read_thresholds(home)
        for at, label in enumerate(LABELS):
            is_positive = part.targets[:, at] == 1
            calls[label] += list(part.scores[is_positive, at] >= chosen[label])
    for label in LABELS:
        assert entries[label]["threshold"] is None
        assert entries[label]["sensitivity"] == pytest.approx(np.mean(calls[label]))


def test_the_spread_of_the_folds_and_a_page_of_all_are_left(folded):
    table = pd.read_csv(folded / "folds.csv").set_index(["label", "measure"])
    brier = table.loc[("mean", "brier")]
    values = [json.loads((folded / f"fold-{n}" / "metrics.json").read_text())["mean"]["brier"] for n in (1, 2, 3)]
    assert list(brier[["fold-1", "fold-2", "fold-3"]]) == pytest.approx(values)
    assert (brier["mean"], brier["sd"]) == pytest.approx((np.mean(values), np.std(values, ddof=1)))
    assert "Cross-validation in 3 folds" in (folded / "report.html").read_text()


def test_the_same_command_trains_nothing_again_and_gives_the_same_bytes(folded, still_corpus):
    names = ["metrics.json", "predictions.parquet", "folds.csv", "fold-2/log.jsonl", "fold-2/model.safetensors"]
    before = [(folded / name).read_bytes() for name in names]
    trained = (folded / "fold-2" / "checkpoints" / "last.pt").stat().st_mtime_ns
    tuned(still_corpus, folded, folds=3)
    assert [(folded / name).read_bytes() for name in names] == before
    assert (folded / "fold-2" / "checkpoints" / "last.pt").stat().st_mtime_ns == trained


def test_seeds_repeat_the_run_and_their_spread_is_left(still_corpus, tmp_path):
    folder = tuned(still_corpus, tmp_path / "seeds", seeds=2, seed=7)
    runs = [json.loads((folder / f"seed-{seed}" / "metrics.json").read_text()) for seed in (7, 8)]
    assert runs[0]["mean"] != runs[1]["mean"]
    row = pd.read_csv(folder / "seeds.csv").set_index(["label", "measure"]).loc[("high", "auc")]
    values = [run["labels"]["high"]["auc"] for run in runs]
    assert (row["mean"], row["low"], row["high"]) == pytest.approx((np.mean(values), min(values), max(values)))


def test_one_fold_is_refused(still_corpus, tmp_path):
    with pytest.raises(UserError, match="--folds 1 leaves nothing to train on"):
        tuned(still_corpus, tmp_path, folds=1)


def test_a_fold_in_which_a_label_has_no_score_is_named_beside_the_spread(tmp_path, capsys):
    for name, auc in (("fold-1", 0.8), ("fold-2", None), ("fold-3", 0.6)):
        entry = {"auc": auc, "intervals": {"auc": None}, "n": 5}
        (tmp_path / name).mkdir()
        found = {"loss": "BCE", "labels": {"ill": entry}, "mean": entry}
        (tmp_path / name / "metrics.json").write_text(json.dumps(found))
    cross_validation._write_spread(tmp_path / "folds.csv", [tmp_path / f"fold-{at}" for at in (1, 2, 3)])
    said = capsys.readouterr().out
    assert "ill has no AUC in fold-2, so its mean is that of the other 2" in said
    assert pd.read_csv(tmp_path / "folds.csv")["mean"].tolist() == pytest.approx([0.7, 0.7])


def test_a_pooled_score_that_no_fold_has_is_told():
    """Three speakers, each told well by a model of the others' (mean AUC 0.71), had 0.47 together without a word."""

    def scored(auc, pearson):
        labels = {"long": {"auc": auc, "kind": "BCE"}, "words": {"pearson": pearson, "kind": "MSE"}}
        kinds = {"BCE": {"mean": {}, "labels": ["long"]}, "MSE": {"mean": {}, "labels": ["words"]}}
        return {"loss": "mixed", "labels": labels, "kinds": kinds}

    folds = [scored(0.476, 0.1), scored(0.96, None), scored(None, 0.4)]
    (told,) = cross_validation.outside_folds(scored(0.467, 0.3), folds)
    assert told.startswith(
        "The AUC of all clips together lies outside that of the folds: long (0.467, in folds 0.476 to 0"
    )
    assert "quote the folds' mean beside it" in told
    assert len(cross_validation.outside_folds(scored(0.97, 0.5), folds)) == 2
    assert cross_validation.outside_folds(scored(0.476, None), folds) == []
    assert cross_validation.outside_folds(scored(0.2, 0.9), folds[:1]) == []
