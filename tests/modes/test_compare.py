import json

import numpy as np
import pandas as pd
import pytest

from ssast.cli import main
from ssast.data.storage.atomic_writes import atomic_file
from ssast.errors import UserError
from ssast.metrics.predictions import Predictions
from ssast.metrics.scores import score
from ssast.modes.compare import compare

LABELS = ["ill", "old"]


def write_run(folder, skill, *, seed=0, clips=120, labels=LABELS, loss="BCE", order=None, targets=None):
    """A folder with metrics.json and predictions whose scores follow the truth as far as `skill` says."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, (clips, len(labels))).astype(float) if targets is None else targets
    noise = np.random.default_rng([seed, 1]).random(truth.shape)
    scores = (skill * truth + (1 - skill) * noise).astype(np.float32)
    subjects = np.repeat([f"p{n:02d}" for n in range(clips // 4)], 4).astype(object)
    predictions = Predictions([f"{n:03d}" for n in range(clips)], list(labels), scores, truth, subjects, "speaker")
    predictions = predictions if order is None else predictions.at(order)
    folder.mkdir(parents=True)
    metrics = score(predictions.targets, predictions.scores, labels, loss=loss)
    (folder / "metrics.json").write_text(json.dumps(metrics))
    with atomic_file(folder / "predictions.parquet") as beside:
        predictions.write_parquet(beside)
    return folder


def test_a_better_run_is_told_from_a_worse_one_on_the_command_line(tmp_path, capsys):
    worse, better = write_run(tmp_path / "worse", 0.1), write_run(tmp_path / "better", 0.5, seed=1)
    words = ["compare", str(worse), str(better), "--exp_dir", str(tmp_path / "out"), "--resamples", "200"]
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert "better - worse" in shown
    assert "so it is higher" in shown
    table = pd.read_csv(tmp_path / "out" / "compare.csv")
    assert set(table["label"]) == {*LABELS, "mean"}
    row = table[(table.label == "ill") & (table.measure == "auc")].set_index("run")
    gain = row.loc["better", "value"] - row.loc["worse", "value"]
    assert row.loc["better", "difference"] == pytest.approx(gain)
    assert 0 < row.loc["better", "difference_low"] < gain < row.loc["better", "difference_high"]
    assert pd.isna(row.loc["worse", "difference"])


def test_clips_and_labels_in_another_order_are_the_same_clips(tmp_path, capsys):
    first = write_run(tmp_path / "first", 0.3)
    second = write_run(tmp_path / "second", 0.3, order=np.arange(120)[::-1])
    path = compare(runs=f"{first},{second}", exp_dir=tmp_path / "out", resamples=50)
    table = pd.read_csv(path)
    assert (table["difference"].dropna() == 0).all()
    assert "no difference is shown" in capsys.readouterr().out


def test_three_runs_of_values_stand_side_by_side_under_their_paths_where_names_are_equal(tmp_path, capsys):
    runs = [
        write_run(tmp_path / name / "run", skill, loss="MSE") for name, skill in (("a", 0.2), ("b", 0.4), ("c", 0.6))
    ]
    compare(runs=",".join(map(str, runs)), exp_dir=tmp_path / "out", resamples=50)
    header = capsys.readouterr().out.splitlines()[0]
    assert header.startswith("Pearson")
    assert all(str(run) in header for run in runs)


def test_a_cross_validated_run_is_compared_at_a_half_and_that_is_said(tmp_path, capsys):
    first, second = write_run(tmp_path / "first", 0.3), write_run(tmp_path / "folds", 0.3, seed=1)
    metrics = json.loads((second / "metrics.json").read_text())
    for entry in metrics["labels"].values():
        entry["threshold"] = None
    (second / "metrics.json").write_text(json.dumps(metrics))
    compare(runs=f"{first},{second}", exp_dir=tmp_path / "out", resamples=20)
    assert "folds has no single threshold a label" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"clips": 116}, "other lacks 4 clips of first, such as 116"),
        ({"clips": 124}, "other has 4 more clips, such as 120"),
        ({"labels": ["ill", "tall"]}, "other lacks 1 labels of first, such as old"),
        ({"loss": "MSE"}, "under BCE and other under MSE"),
        ({"targets": np.ones((120, 2))}, "differ in .* targets, first in '.*' of clip"),
    ],
)
def test_runs_that_cannot_be_compared_say_what_differs(tmp_path, other, said):
    first = write_run(tmp_path / "first", 0.3)
    if "clips" in other:
        truth = np.random.default_rng(0).integers(0, 2, (120, 2)).astype(float)
        other["targets"] = np.resize(truth, (other["clips"], 2))
    second = write_run(tmp_path / "other", 0.3, **other)
    with pytest.raises(UserError, match=said):
        compare(runs=f"{first},{second}", exp_dir=tmp_path / "out")


def test_what_is_no_run_or_only_one_is_refused(tmp_path, capsys):
    run = write_run(tmp_path / "run", 0.3)
    for runs, said in (
        (str(tmp_path), "has no metrics.json"),
        (str(run), "needs two runs"),
        (f"{run},{run}", "two runs"),
    ):
        with pytest.raises(UserError, match=said):
            compare(runs=runs, exp_dir=tmp_path / "out")
    (run / "metrics.json").write_text("{}")
    with pytest.raises(UserError, match="cannot be read"):
        compare(runs=f"{run},{run}", exp_dir=tmp_path / "out")
    assert main(["compare"]) == 2
    assert main(["compare", "a", "--runs", "b,c"]) == 2
    assert main(["compare", "a", "b", "--resamples", "0"]) == 2
    assert "at least 2" in capsys.readouterr().err


def test_labels_of_a_strangers_scores_that_steer_a_terminal_are_refused(tmp_path):
    from ssast.modes.compare import _read_run

    (tmp_path / "metrics.json").write_text('{"loss": "BCE", "labels": {"\\u001b[2J": {}}}')
    with pytest.raises(UserError, match=r"names the label '\?\[2J'; expected one line"):
        _read_run(tmp_path, "a")
