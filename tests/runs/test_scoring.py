import json

import numpy as np
import pandas as pd
import pytest

from ssast.errors import UserError
from ssast.metrics.predictions import Predictions
from ssast.model.checkpoints.model_folder import THRESHOLDS
from ssast.model.label_kinds import LabelKind, LabelKinds
from ssast.modes.evaluate import evaluate
from ssast.modes.finetune import finetune
from ssast.options.record import RunRecord, resolve
from ssast.pages.sentences import how_sure
from ssast.runs.batches import ClipReader
from ssast.runs.context import Paths, RunContext
from ssast.runs.models import audio_settings
from ssast.runs.output.folder import open_folder
from ssast.runs.results import ScoreReport, score_predictions, write_report, write_scores
from ssast.runs.rows import check_yes_no, rows
from ssast.runs.thresholds import read_thresholds

RNG = np.random.default_rng(3)
TINY = {"pretrained_mdl_path": None, "model_size": "tiny", "tshape": 4, "target_length": 40, "device": "cpu", "seed": 5}


def made_up(subjects=None, clips=40, labels=("ill", "old")):
    targets = RNG.integers(0, 2, (clips, len(labels))).astype(float)
    scores = np.clip(targets * 0.2 + RNG.random(targets.shape) * 0.7, 0, 1).astype(np.float32)
    named = {} if subjects is None else {"subjects": np.asarray(subjects, dtype=object), "unit": "speaker"}
    return Predictions([f"{n:03d}" for n in range(clips)], list(labels), scores, targets, **named)


@pytest.fixture(scope="module")
def tuned(still_corpus, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tuned")
    place = {"prefix": still_corpus.audio, "data_split_root": still_corpus.splits}
    finetune(**TINY, **place, label_txt=still_corpus.label_txt, exp_dir=folder, resamples=50, val_share=0.3)
    return folder, place


def test_finetune_keeps_thresholds_of_the_validation_clips_and_evaluate_repeats_its_numbers_to_the_byte(
    tuned, tmp_path
):
    folder, place = tuned
    kept = json.loads((folder / THRESHOLDS).read_text())
    assert kept["clips"] == len(pd.read_csv(folder / "validation.csv"))
    evaluate(**place, finetuned_mdl_path=folder, exp_dir=tmp_path, device="cpu", resamples=50, batch_size=3)
    for name in ("metrics.json", "predictions.csv", "predictions.parquet", "aucs.csv"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes(), name
    entries = json.loads((tmp_path / "metrics.json").read_text())["labels"]
    assert {label: entry["threshold"] for label, entry in entries.items()} == kept["thresholds"]
    assert list(pd.read_csv(tmp_path / "aucs.csv").columns) == ["Label", "AUC"]


def test_a_folder_without_thresholds_means_a_half_and_a_broken_file_is_named(tmp_path):
    assert read_thresholds(tmp_path) == read_thresholds(None) == {}
    (tmp_path / THRESHOLDS).write_text("[]")
    with pytest.raises(UserError, match=r"thresholds\.json cannot be read"):
        read_thresholds(tmp_path)


def test_intervals_are_drawn_over_subjects_and_labels_of_subjects_are_scored_by_subject_too():
    subjects = np.repeat([f"p{n}" for n in range(10)], 4)
    predictions = made_up(subjects)
    predictions.targets[:, 0] = np.repeat(np.arange(10) % 2, 4)
    found = score_predictions(predictions, "BCE", {"ill": 0.4}, 60)
    assert (found["unit"], found["subjects"]) == ("speaker", 10)
    by_subject = found["by_subject"]
    assert (by_subject["n"], list(by_subject["labels"]), by_subject["left_out"]) == (10, ["ill"], ["old"])
    assert by_subject["labels"]["ill"]["threshold"] == 0.4
    assert "whole speakers (10)" in how_sure(found)


def test_without_subjects_clips_are_drawn_and_that_is_said():
    found = score_predictions(made_up(), "BCE", {}, 20)
    assert (found["unit"], found["by_subject"]) == ("clip", None)
    assert "resamples of clips" in how_sure(found)
    assert "--resamples" in how_sure(score_predictions(made_up(), "BCE", {}, 0))


def test_a_label_of_one_class_says_why_on_the_screen_and_the_rest_goes_on(tmp_path, capsys):
    predictions = made_up()
    predictions.targets[:, 1] = 0
    write_scores(tmp_path, predictions, score_predictions(predictions, "BCE", {}, 20))
    shown = capsys.readouterr().out
    assert "old: all 40 targets are negative, so there is no AUC" in shown
    assert "95 % interval" in shown
    assert json.loads((tmp_path / "metrics.json").read_text())["labels"]["old"]["auc"] is None


def test_values_are_scored_by_correlation_and_error(tmp_path, capsys):
    predictions = made_up(np.repeat(["a", "b", "c", "d"], 10))
    predictions.targets[:] = RNG.normal(size=predictions.targets.shape)
    write_scores(tmp_path, predictions, score_predictions(predictions, "MSE", {}, 20))
    header = capsys.readouterr().out.splitlines()[0]
    assert "Pearson" in header
    assert "threshold" not in header


def test_a_model_without_a_mistake_gets_its_report_too(tuned, tmp_path, still_corpus):
    folder, place = tuned
    options = resolve(mode="evaluate", **place, finetuned_mdl_path=folder, exp_dir=tmp_path)
    record = RunRecord.of(options)
    open_folder(record, clips={}, files={}, trains=False)
    test = rows(Paths.of(options), LabelKinds.plain("BCE", ["high", "loud"]), on_bad_audio="error")
    targets = test.frame[test.labels].to_numpy(dtype=float)
    predictions = Predictions(list(test.frame.index), test.labels, targets, targets)
    reader = ClipReader.of(RunContext.of(options), audio_settings(options))
    metrics = score_predictions(predictions, "BCE", {}, 0)
    write_report(ScoreReport(record, test), reader, tmp_path, predictions, metrics)
    assert "<audio" not in (tmp_path / "report.html").read_text()


def test_the_report_lets_the_hardest_clips_be_heard_and_shows_the_training_run(tuned):
    text = (tuned[0] / "report.html").read_text()
    assert "data:audio/" in text
    assert "The training run" in text
    assert "record.versions.torch" in text
    assert len(text) < 5e6


@pytest.mark.parametrize("option", ["sensitivity", "specificity", "prevalence"])
def test_what_belongs_to_yes_no_labels_is_refused_where_none_is_one(option):
    kinds = LabelKinds((LabelKind("rough", "ordinal", (0, 1, 2)), LabelKind("age", "MSE")))
    with pytest.raises(UserError, match=f"--{option} belongs to yes/no labels, but rough, age is none; leave it out"):
        check_yes_no(kinds, **{option: 0.9})
    check_yes_no(kinds, **{option: None})
    check_yes_no(LabelKinds((*kinds.labels, LabelKind("ill"))), **{option: 0.9})
