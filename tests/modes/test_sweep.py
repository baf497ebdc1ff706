"""`ssast sweep`: a head on each layer and pooling, told apart by validation clips alone."""

import json
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

import ssast
from ssast import cli
from ssast.engine.hardware import engine
from ssast.engine.optimiser import TrainingSettings
from ssast.errors import UserError
from ssast.model.classification import SSASTForAudioClassification
from ssast.modes import sweep

pytestmark = pytest.mark.usefixtures("narrow", "own_cache")

torch.set_num_threads(1)

TRAINING = {"epochs": 2, "learning_rate": 1e-2, "batch_size": 4, "val_share": 0.4}


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("pretrained") / "model"
    SSASTForAudioClassification(1, "tiny", target_length=32, seed=7).save_pretrained(folder)
    return str(folder)


@pytest.fixture
def usual(still_corpus, pretrained, tmp_path):
    def of(name: str = "sweep", corpus: Any = still_corpus, **others: Any) -> dict[str, Any]:
        found = {"prefix": str(corpus.audio), "data_split_root": str(corpus.splits)}
        found |= {"label_txt": str(corpus.label_txt), "pretrained_mdl_path": pretrained, "target_length": 32}
        found |= {"device": "cpu", "precision": "fp32", **TRAINING, "exp_dir": str(tmp_path / name)}
        return {**found, **others}

    return of


@pytest.fixture
def few(monkeypatch) -> int:
    """Six heads in place of thirty, where it is not their number that matters."""
    choices = [choice for choice in sweep.CHOICES if choice.layer in (3, 13, None)]
    monkeypatch.setattr(sweep, "CHOICES", choices)
    return len(choices)


def read(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, dtype={"layer": str}).set_index(["task", "layer", "label", "measure"])


def test_every_layer_and_pooling_has_a_score_for_each_label(usual):
    table = read(ssast.sweep(**usual()))
    layers = [*map(str, range(14)), "weighted"]
    expected = {(task, layer, label) for task in ("ft_cls", "ft_avgtok") for layer in layers for label in LABELS}
    assert {key[:3] for key in table.index} == expected
    assert set(table.index.get_level_values("measure")) == {"auc"}
    assert table["mean"].between(0, 1).all()
    halves = table["mean"].unstack("label")
    assert ((halves["high"] + halves["loud"]) / 2).to_numpy() == pytest.approx(halves["mean"].to_numpy())


LABELS = ("high", "loud", "mean")


@pytest.mark.parametrize(
    ("choice", "layer"), [({"task": "ft_avgtok", "layer": 3}, "3"), ({"task": "ft_cls", "weighted": True}, "weighted")]
)
def test_a_row_is_what_finetune_reaches_with_that_layer(usual, choice, layer, tmp_path, few):
    table = read(ssast.sweep(**usual(pos_weight=True)))
    folder = ssast.finetune(**usual("run", **choice, pos_weight=True, resamples=0))
    again = {name: usual()[name] for name in ("prefix", "label_txt", "device", "precision")}
    again |= {"data_split_root": str(folder / "validation.csv"), "finetuned_mdl_path": str(folder), "resamples": 0}
    ssast.evaluate(**again, exp_dir=str(tmp_path / "validation"))
    found = json.loads((tmp_path / "validation" / "metrics.json").read_text())
    for label in ("high", "loud"):
        row = table.loc[choice["task"], layer, label, "auc"]
        assert row["mean"] == pytest.approx(found["labels"][label]["auc"], abs=1e-6)


def test_test_recordings_are_not_looked_at(corpus, usual, pooled, few):
    (corpus.splits / "test.csv").unlink()
    ssast.sweep(**usual(corpus=corpus))
    assert sorted(pooled) == [f"{number:04d}" for number in range(12)]


def test_sweeping_again_and_training_after_it_cost_no_further_pass(usual, pooled, few):
    ssast.sweep(**usual())
    ssast.sweep(**usual("second", learning_rate=1e-3))
    ssast.finetune(**usual("run", layer=3, task="ft_avgtok", resamples=0))
    assert sorted(pooled) == [f"{number:04d}" for number in range(18)]  # the last six are the test clips


def test_the_screen_says_what_is_best_and_what_it_may_be_used_for(usual, capsys, few):
    path = ssast.sweep(**usual())
    shown = capsys.readouterr().out
    means = read(path)["mean"].xs(("mean", "auc"), level=("label", "measure"))
    assert f"(AUC {means.max():.3f}), for finetune" in shown
    best = shown.split("best on validation: ")[1].split(" (")[0].split()
    assert means[best[1], "weighted" if best[2] == "--weighted" else best[3]] == means.max()
    assert "test.csv was not opened: do not choose by test scores" in shown
    assert "on 5 validation clips" in shown
    assert "epoch 1/2" not in shown


def test_several_seeds_show_how_far_chance_moves_a_score(usual, pooled, few):
    table = read(ssast.sweep(**usual(seeds=2, seed=3)))
    assert {"seed-3", "seed-4", "sd", "low", "high"} <= set(table.columns)
    assert table["mean"].to_numpy() == pytest.approx(table[["seed-3", "seed-4"]].mean(axis=1).to_numpy())
    assert len(pooled) == 12
    alone = read(ssast.sweep(**usual("alone", seed=4)))
    assert alone["mean"].to_numpy() == pytest.approx(table["seed-4"].to_numpy(), nan_ok=True)


def test_numbers_are_scored_by_rank_and_by_error(corpus, usual, few):
    for split in ("train", "test"):
        frame = corpus.frame(split)
        frame["high"] = [float(number) for number in range(len(frame))]
        frame.to_csv(corpus.splits / f"{split}.csv")
    corpus.label_txt.write_text("high\n")
    table = read(ssast.sweep(**usual(corpus=corpus, loss="MSE")))
    assert set(table.index.get_level_values("measure")) == {"spearman", "rmse"}
    spearman = table["mean"].xs("spearman", level="measure").dropna()
    assert len(spearman) > 0
    assert spearman.between(-1, 1).all()
    assert (table["mean"].xs("rmse", level="measure") > 0).all()


def test_a_number_among_labels_of_several_kinds_is_said_to_have_no_auc(corpus, usual, few, capsys):
    for split in ("train", "test"):
        frame = corpus.frame(split)
        frame["loud"] = [float(number) for number in range(len(frame))]
        frame.to_csv(corpus.splits / f"{split}.csv")
    corpus.label_txt.with_suffix(".yaml").write_text("loud: MSE\n")
    ssast.sweep(**usual(corpus=corpus))
    shown = capsys.readouterr().out
    assert "left out of the mean, since a number has no AUC: loud" in shown
    assert "only one answer" not in shown


def test_a_killed_sweep_trains_its_heads_anew_on_the_states_that_are_kept(usual, dies, pooled, tmp_path, few):
    with dies(sweep, "_train_heads", after=2):
        ssast.sweep(**usual())
    heard = len(pooled)
    path = ssast.sweep(**usual())
    assert len(pooled) == heard, "no recording goes through the base again"
    assert path.read_bytes() == ssast.sweep(**usual("undisturbed")).read_bytes()
    assert sorted(found.name for found in (tmp_path / "sweep").iterdir()) == ["heard.csv", "run.yaml", "sweep.csv"]


def test_recordings_that_cannot_be_used_are_left_out_and_named(corpus, usual, few):
    (corpus.audio / "0002" / "waveform.wav").write_bytes(b"no sound")
    path = ssast.sweep(**usual(corpus=corpus, on_bad_audio="skip"))
    assert pd.read_csv(path.parent / "bad_audio.csv", dtype=str)["uid"].tolist() == ["0002"]


def test_what_alters_recordings_or_trains_the_base_is_left_aside_and_said(usual, capsys, few):
    path = ssast.sweep(**usual(noise=True, freqm=24, freeze=False))
    assert "--freqm 24, --noise True, --freeze False left aside" in capsys.readouterr().out
    assert path.read_bytes() == ssast.sweep(**usual("plain")).read_bytes()


def test_without_keeping_features_the_same_comes_out(usual, pooled, tmp_path, few):
    path = ssast.sweep(**usual(features="never"))
    kept = [file for file in (tmp_path / "cache" / "files").rglob("*") if file.is_file()]
    assert all(file.stat().st_size == 64 for file in kept), "checksums of the recordings alone"
    assert path.read_bytes() == ssast.sweep(**usual("kept")).read_bytes()
    assert len(pooled) == 24


def test_held_out_clips_that_cannot_tell_end_it_before_the_base_has_run(usual, pooled):
    with pytest.raises(UserError, match=r"the 1 held-out clips define no AUC for any label; hold out more"):
        ssast.sweep(**usual(val_share=0.01))
    assert pooled == []


@pytest.mark.parametrize(
    ("others", "sentence"),
    [
        ({"finetuned_mdl_path": "run"}, "sweep cannot have --finetuned_mdl_path"),
        ({"label_txt": None}, "sweep needs -l/--label_txt"),
        ({"data_split_root": None}, "sweep needs -d/--data_split_root, the folder with train.csv"),
        ({"loss": "MSE", "balanced": True}, "--balanced True belongs to yes/no labels"),
        ({"optim": "muon"}, "--optim muon trains the matrices of the blocks, which a frozen base keeps; give another"),
    ],
)
def test_options_that_do_not_go_together_are_refused(usual, others, sentence):
    with pytest.raises(UserError, match=sentence):
        ssast.sweep(**usual(**others))


def test_the_command_line_sweeps(usual, capsys, few):
    words = [word for name, value in usual().items() for word in (f"--{name}", str(value))]
    assert cli.main(["sweep", *words]) == 0
    assert "best on validation" in capsys.readouterr().out
    assert cli.main(["sweep", "--help"]) == 0
    shown = capsys.readouterr().out
    assert "--val_share" in shown
    assert "--freqm" not in shown
    assert not math.isnan(read(Path(usual()["exp_dir"]) / "sweep.csv")["mean"].max())


@pytest.mark.parametrize("others", [{}, {"patience": 1, "scheduler": "onecycle", "max_lr": 0.02}, {"head_lr": 2e-2}])
def test_heads_beside_each_other_learn_what_they_learn_alone(usual, few, monkeypatch, others):
    """Thirty heads in one step are what makes a sweep quick; each must still be the head that finetune trains."""
    together = read(ssast.sweep(**usual("together", epochs=6, **others)))
    monkeypatch.setattr(sweep, "_groups", lambda plan: [[choice] for choice in sweep.CHOICES])
    alone = read(ssast.sweep(**usual("alone", epochs=6, **others)))
    assert together["mean"].to_numpy() == pytest.approx(alone["mean"].to_numpy(), abs=1e-6, nan_ok=True)


def plan(**training: float) -> sweep.Plan:
    return sweep.Plan(TrainingSettings(**training), "BCE", engine("cpu", "fp32"), 1)


def test_bounded_gradients_belong_to_one_head(usual, few):
    assert all(len(group) == 1 for group in sweep._groups(plan(clip_grad=1.0)))
    assert [len(group) for group in sweep._groups(plan())] == [2, 2, 1, 1]
