"""Labels of several kinds from the table to predict and the page: scales, choices, numbers and yes or no."""

import json
import shutil
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

import ssast
from ssast import cli
from ssast.errors import UserError
from ssast.model.checkpoints.model_card import model_card
from ssast.model.classification import SSASTForAudioClassification

pytestmark = pytest.mark.usefixtures("narrow")
torch.set_num_threads(1)

KINDS = {
    "pitch": {"kind": "ordinal", "cut": 2},
    "voice": "CE",
    "level": {"kind": "MSE", "weight": 0.5},
}
SMALL = {"pretrained_mdl_path": "none", "model_size": "tiny", "target_length": 32, "epochs": 2, "learning_rate": 1e-2}


@pytest.fixture(scope="module")
def rated(still_corpus, tmp_path_factory):
    """The tones, rated: a scale of three levels by two raters, a choice of two kinds, a number, with gaps."""
    folder = tmp_path_factory.mktemp("rated")
    for name in ("train", "test"):
        table = pd.read_csv(still_corpus.splits / f"{name}.csv", dtype={"uid": str})
        high, loud = table["high"].to_numpy(), table["loud"].to_numpy()
        table["pitch_r1"] = 2 * high + 1.0
        table["pitch_r2"] = np.where(np.arange(len(table)) % 3 == 0, 3.0, 2.0)
        table.loc[1, "pitch_r2"] = np.nan
        table["voice"] = np.where(high == 1, "bright", "dark")
        table.loc[0, "voice"] = None
        table["level"] = np.where(loud == 1, -6.0, -20.0)
        table.to_csv(folder / f"{name}.csv", index=False)
    (folder / "labels.txt").write_text("pitch\nvoice\nhigh\nlevel\n")
    (folder / "labels.yaml").write_text(yaml.safe_dump(KINDS))
    return folder


def usual(corpus: Any, rated: Any, **more: Any) -> dict[str, Any]:
    found = {"prefix": str(corpus.audio), "data_split_root": str(rated), "label_txt": str(rated / "labels.txt")}
    return {**found, **SMALL, "device": "cpu", "precision": "fp32", "resamples": 20, **more}


@pytest.fixture(scope="module")
def trained(still_corpus, rated, tmp_path_factory):
    return ssast.finetune(**usual(still_corpus, rated, exp_dir=str(tmp_path_factory.mktemp("run"))))


def test_labels_of_several_kinds_train_together_and_each_says_its_own(trained, rated):
    model = SSASTForAudioClassification.from_pretrained(trained)
    assert (model.config["loss"], model.label_kinds.width) == ("mixed", 2 + 2 + 1 + 1)
    assert model.config["kinds"][0] == {
        "kind": "ordinal",
        "levels": [1.0, 2.0, 3.0],
        "cut": 2,
        "raters": ["pitch_r1", "pitch_r2"],
    }
    table = pd.read_csv(trained / "predictions.csv", dtype={"uid": str}).set_index("uid")
    assert list(table.columns) == [
        *("pitch", "voice", "high", "level"),
        *("pitch_target", "voice_target", "high_target", "level_target"),
        *("pitch_is_1", "pitch_is_2", "pitch_is_3", "pitch_atleast_2", "pitch_atleast_3"),
        *("voice_is_bright", "voice_is_dark"),
    ]
    assert table[["pitch_is_1", "pitch_is_2", "pitch_is_3"]].sum(axis=1).to_numpy() == pytest.approx(1, abs=1e-5)
    expected = table[["pitch_is_1", "pitch_is_2", "pitch_is_3"]].to_numpy() @ [1, 2, 3]
    assert table["pitch"].to_numpy() == pytest.approx(expected, abs=1e-4)
    assert table["pitch_target"].isin([1, 1.5, 2, 2.5, 3]).all(), "the mean of two raters"
    assert table["voice_target"].isna().sum() == 1
    likeliest = table[["voice_is_bright", "voice_is_dark"]].to_numpy().argmax(axis=1)
    assert table["voice"].tolist() == np.array(["bright", "dark"])[likeliest].tolist()


def test_metrics_and_page_have_the_measures_of_each_kind(trained):
    metrics = json.loads((trained / "metrics.json").read_text())
    assert {kind: own["labels"] for kind, own in metrics["kinds"].items()} == {
        "BCE": ["high"],
        "MSE": ["level"],
        "ordinal": ["pitch"],
        "CE": ["voice"],
    }
    assert {"qwk", "spearman", "mae_steps", "auc_at_2", "auc_at_3"} <= metrics["labels"]["pitch"].keys()
    assert {"accuracy", "balanced_accuracy", "confusion"} <= metrics["labels"]["voice"].keys()
    assert metrics["labels"]["voice"]["n"] == metrics["n"] - 1
    assert json.loads((trained / "thresholds.json").read_text())["thresholds"].keys() == {"high"}
    assert metrics["plain_baseline"]["labels"].keys() == {"high", "level"}
    page = (trained / "report.html").read_text()
    for said in ("QWK", "balanced accuracy", "Truth and answer", "AUC at least 3", "in truth bright"):
        assert said in page, said


def test_evaluating_the_saved_model_gives_the_same_predictions(still_corpus, rated, trained, tmp_path):
    again = ssast.evaluate(
        prefix=str(still_corpus.audio),
        data_split_root=str(rated / "test.csv"),
        finetuned_mdl_path=str(trained),
        exp_dir=str(tmp_path),
        device="cpu",
        precision="fp32",
        resamples=20,
    )
    assert (again / "predictions.csv").read_bytes() == (trained / "predictions.csv").read_bytes()
    first, second = (json.loads((place / "metrics.json").read_text())["labels"] for place in (trained, again))
    assert first == second


def test_predict_calls_a_level_and_names_the_likeliest_kind(still_corpus, trained, tmp_path, capsys):
    files = "\n".join(str(place) for place in sorted(still_corpus.audio.glob("*/waveform.wav"))[:2])
    ssast.predict(files=files, finetuned_mdl_path=str(trained), exp_dir=str(tmp_path), device="cpu")
    table = pd.read_csv(tmp_path / "predicted.csv")
    assert list(table.columns)[3:] == [
        *("pitch", "voice", "high", "level"),
        *("pitch_is_1", "pitch_is_2", "pitch_is_3", "pitch_atleast_2", "pitch_atleast_3"),
        *("voice_is_bright", "voice_is_dark", "pitch_call", "high_call", "note"),
    ]
    called = 1 + (table[["pitch_atleast_2", "pitch_atleast_3"]] >= 0.5).sum(axis=1)
    assert table["pitch_call"].tolist() == called.tolist()
    assert set(table["voice"]) <= {"bright", "dark"}
    windows = pd.read_csv(tmp_path / "predicted_windows.csv")
    assert list(windows.columns)[3:7] == ["pitch", "voice", "high", "level"]


def test_compare_holds_each_kind_of_two_runs_against_its_own(trained, tmp_path, capsys):
    other = shutil.copytree(trained, tmp_path / "other")
    ssast.compare(runs=f"{trained},{other}", exp_dir=str(tmp_path), resamples=20)
    table = pd.read_csv(tmp_path / "compare.csv")
    assert {"qwk", "balanced_accuracy", "pearson", "auc"} <= set(table["measure"])
    assert (table["difference"].dropna() == 0).all()


def test_the_model_s_card_says_what_it_gives_for_each_label(trained):
    text = model_card(json.loads((trained / "config.json").read_text()), trained)
    assert (
        "- pitch: the probability of each level of a scale (1, 2, 3) and of at least each, counted as present" in text
    )
    assert "- voice: the probability of each of bright, dark, of which one holds" in text
    assert "| label | QWK | Spearman | MAE (steps) | threshold |" in text


def test_each_way_to_learn_from_several_ratings_gives_another_model(still_corpus, rated, tmp_path):
    other = {"label_txt": str(tmp_path / "labels.txt"), "loss": "ordinal", "epochs": 1}
    (tmp_path / "labels.txt").write_text("pitch\n")
    weights = {}
    for way in ("mean", "soft", "draw"):
        run = ssast.finetune(**usual(still_corpus, rated, exp_dir=str(tmp_path / way), raters=way, **other))
        weights[way] = (run / "model.safetensors").read_bytes()
    assert len(set(weights.values())) == 3


def test_folds_keep_levels_that_the_rows_of_one_fold_lack(still_corpus, rated, tmp_path):
    run = ssast.finetune(
        **usual(still_corpus, rated, exp_dir=str(tmp_path), epochs=1, folds=2)
        | {"data_split_root": str(rated / "train.csv")}
    )
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["labels"]["pitch"]["levels"] == [1, 2, 3]
    assert metrics["n"] == 12
    spread = pd.read_csv(run / "folds.csv")
    assert {"qwk", "balanced_accuracy", "mae"} <= set(spread["measure"])


def test_a_sweep_looks_for_the_layer_whose_levels_agree_best(still_corpus, rated, tmp_path):
    (tmp_path / "labels.txt").write_text("pitch\n")
    ssast.sweep(
        **usual(still_corpus, rated, exp_dir=str(tmp_path / "sweep"), epochs=1, val_share=0.5)
        | {"label_txt": str(tmp_path / "labels.txt"), "loss": "ordinal"}
    )
    assert set(pd.read_csv(tmp_path / "sweep" / "sweep.csv")["measure"]) == {"qwk", "spearman", "mae_steps"}


def test_check_counts_levels_and_audit_takes_scales_as_values(still_corpus, rated, tmp_path, capsys):
    where = {"prefix": str(still_corpus.audio), "data_split_root": str(rated), "exp_dir": str(tmp_path)}
    ssast.check(**where, label_txt=str(rated / "labels.txt"), num_workers=1)
    said = capsys.readouterr().out
    assert "pitch in train: 1 0, 2 6, 3 6, empty 0" in said
    assert "voice in test: bright 3, dark 2, empty 1" in said
    assert "high train    6   6      0" in said
    (tmp_path / "scale.txt").write_text("pitch\n")
    ssast.audit(**where, label_txt=str(tmp_path / "scale.txt"), loss="ordinal", num_workers=1, resamples=100)
    found = json.loads((tmp_path / "audit.json").read_text())
    assert (found["loss"], list(found["labels"])) == ("MSE", ["pitch"])
    assert "pitch_r1" not in found["labels"]["pitch"]["traits"], "a rater tells the label, and is no trait"
    with pytest.raises(UserError, match="audit takes labels that are all yes/no, all numbers or all scales"):
        ssast.audit(**where, label_txt=str(rated / "labels.txt"), num_workers=1)


def test_weights_of_the_yes_are_refused_where_other_kinds_are_among_the_labels(still_corpus, rated, tmp_path):
    with pytest.raises(UserError, match=r"belong to yes/no labels, but .*labels\.yaml says that others"):
        ssast.finetune(**usual(still_corpus, rated, exp_dir=str(tmp_path), balanced=True))


def test_a_rating_that_no_rater_may_give_ends_with_one_sentence(still_corpus, rated, tmp_path, capsys):
    table = pd.read_csv(rated / "test.csv", dtype={"uid": str})
    table.loc[2, "pitch_r1"] = 9
    (tmp_path / "splits").mkdir()
    table.to_csv(tmp_path / "splits" / "test.csv", index=False)
    pd.read_csv(rated / "train.csv", dtype={"uid": str}).to_csv(tmp_path / "splits" / "train.csv", index=False)
    asked = usual(still_corpus, rated, exp_dir=str(tmp_path / "run"), data_split_root=str(tmp_path / "splits"))
    words = [word for name, value in asked.items() for word in (f"--{name}", str(value))]
    assert cli.main(["finetune", *words]) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert "'pitch_r1'" in said
    assert "one of the levels 1, 2, 3" in said
