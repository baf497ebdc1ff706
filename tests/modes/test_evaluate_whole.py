"""With `--whole_recording` all modes hear the windows that `predict` hears, and what they say is the windows' mean."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch

import ssast
from ssast.engine import inference
from ssast.engine.predictor import SSASTForAudioClassification

pytestmark = pytest.mark.usefixtures("narrow")

torch.set_num_threads(1)
LABELS = ["high", "loud"]
HERE = {"device": "cpu", "precision": "fp32"}
RESULTS = ("predictions.csv", "predictions.parquet", "metrics.json", "aucs.csv")


pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture
def usual(still_corpus, tmp_path):
    """The options of a run on the corpus, whose clips are of two to three windows of 32 frames."""

    def of(name: str, **others: Any) -> dict[str, Any]:
        found = {"prefix": str(still_corpus.audio), "data_split_root": str(still_corpus.splits), **HERE}
        return found | {"resamples": 0, "exp_dir": str(tmp_path / name)} | others

    return of


TINY = {"pretrained_mdl_path": "none", "model_size": "tiny", "target_length": 32, "epochs": 2, "val_share": 0.4}
TINY |= {"learning_rate": 1e-2, "whole_recording": True, "resamples": 0}


@pytest.fixture
def tuned(usual, still_corpus):
    """A function that fine-tunes a model which hears recordings whole."""

    def of(name: str, **others: Any) -> Path:
        return ssast.finetune(**usual(name, label_txt=str(still_corpus.label_txt), **TINY | others))

    return of


@pytest.fixture(scope="module")
def whole_model(still_corpus, tmp_path_factory) -> Path:
    """A model that was fine-tuned so; not to be changed."""
    place = {"prefix": str(still_corpus.audio), "data_split_root": str(still_corpus.splits)}
    place |= {"label_txt": str(still_corpus.label_txt), "exp_dir": str(tmp_path_factory.mktemp("whole") / "run")}
    return ssast.finetune(**place, **HERE, **TINY)


def scores(folder: Path) -> np.ndarray:
    return pd.read_parquet(folder / "predictions.parquet")[LABELS].to_numpy()


def files_of(corpus: Any) -> list[str]:
    return [str(corpus.audio / uid / "waveform.wav") for uid in corpus.frame("test").index]


def predicted(folder: Path, corpus: Any, out: Path, **others: Any) -> pd.DataFrame:
    ssast.predict(finetuned_mdl_path=str(folder), files=files_of(corpus), exp_dir=str(out), **HERE, **others)
    return pd.read_parquet(out / "predicted.parquet")


def test_a_model_that_was_tuned_on_whole_recordings_gives_the_same_bytes_in_every_mode(
    whole_model, usual, still_corpus, tmp_path
):
    folder = whole_model
    ssast.evaluate(**usual("again", finetuned_mdl_path=str(folder)))
    for name in RESULTS:
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes(), name
    table = predicted(folder, still_corpus, tmp_path / "predicted")
    assert set(table["windows"]) == {2, 3, 4}
    assert table[LABELS].to_numpy().tobytes() == scores(folder).tobytes()
    heard = SSASTForAudioClassification.from_pretrained(folder).predict(files_of(still_corpus))
    np.testing.assert_allclose(heard.to_numpy(), scores(folder), atol=1e-6)


def test_what_is_asked_for_goes_before_what_the_folder_remembers(tuned, usual, still_corpus, tmp_path):
    folder = tuned("run", window_overlap=0.75)
    assert json.loads((folder / "config.json").read_text())["frontend"]["window_overlap"] == 0.75
    beginnings = ssast.evaluate(**usual("beginnings", finetuned_mdl_path=str(folder), whole_recording=False))
    assert not np.allclose(scores(beginnings), scores(folder), atol=1e-4)
    repeated = ssast.evaluate(config=str(beginnings / "run.yaml"), exp_dir=str(tmp_path / "repeated"))
    assert scores(repeated).tobytes() == scores(beginnings).tobytes()
    table = predicted(folder, still_corpus, tmp_path / "own")
    assert table[LABELS].to_numpy().tobytes() == scores(folder).tobytes()
    wide = predicted(folder, still_corpus, tmp_path / "wide", window_overlap=0.0)
    other = ssast.evaluate(**usual("wide again", finetuned_mdl_path=str(folder), window_overlap=0.0))
    assert wide["windows"].sum() < table["windows"].sum()
    assert wide[LABELS].to_numpy().tobytes() == scores(other).tobytes()


def test_a_model_that_hears_beginnings_says_nothing_of_windows_and_can_be_asked_to_hear_all(
    tuned, usual, still_corpus, tmp_path
):
    folder = tuned("run", whole_recording=None)
    assert "window_overlap" not in json.loads((folder / "config.json").read_text())["frontend"]
    again = ssast.evaluate(**usual("again", finetuned_mdl_path=str(folder)))
    assert scores(again).tobytes() == scores(folder).tobytes()
    whole = ssast.evaluate(**usual("whole", finetuned_mdl_path=str(folder), whole_recording=True))
    table = predicted(folder, still_corpus, tmp_path / "predicted")
    assert table[LABELS].to_numpy().tobytes() == scores(whole).tobytes() != scores(folder).tobytes()


def test_windows_are_as_long_as_the_clips_that_the_model_learned_from(tuned, still_corpus, tmp_path):
    folder = tuned("run", clip_length=0.2)
    table = predicted(folder, still_corpus, tmp_path / "predicted")
    assert table["windows"].min() > 4
    assert table[LABELS].to_numpy().tobytes() == scores(folder).tobytes()


@pytest.mark.parametrize("how", [{}, {"weighted": True, "mask_padding": True}], ids=["plain", "weighted"])
def test_states_of_windows_are_kept_and_change_nothing(tuned, pooled, how):
    kept = tuned("kept", **how)
    assert len(pooled) == 12 + 5 + 6, "the beginnings to train on, and all windows of what is scored"
    pooled.clear()
    again = tuned("again", **how)
    assert pooled == []
    never = tuned("never", features="never", **how)
    for name in (*RESULTS, "thresholds.json"):
        assert (again / name).read_bytes() == (kept / name).read_bytes(), name
    np.testing.assert_allclose(scores(never), scores(kept), atol=1e-5)


def test_a_sweep_scores_as_finetune_does(tuned, usual, still_corpus):
    how = usual("sweep", label_txt=str(still_corpus.label_txt), **TINY | {"epochs": 1})
    table = pd.read_csv(ssast.sweep(**how), dtype={"layer": str})
    folder = tuned("run", epochs=1, layer=3, task="ft_avgtok")
    held_out = usual("held out", finetuned_mdl_path=str(folder)) | {"data_split_root": str(folder / "validation.csv")}
    found = json.loads((ssast.evaluate(**held_out) / "metrics.json").read_text())["labels"]
    row = table.query("task == 'ft_avgtok' and layer == '3' and measure == 'auc'").set_index("label")["mean"]
    assert [row[label] for label in LABELS] == pytest.approx([found[label]["auc"] for label in LABELS], abs=1e-6)


def test_an_embedding_is_the_mean_of_its_windows(whole_model, usual, still_corpus, tmp_path, record):
    """Each window by itself, as a recording of its own, is the reference."""
    folder = whole_model
    whole = pd.read_parquet(ssast.extract(**usual("whole", finetuned_mdl_path=str(folder)))).set_index("uid")
    samples, _ = soundfile.read(still_corpus.audio / "0017" / "waveform.wav", dtype="float32")
    cuts = ((0, 5360), (2560, 7920), (5120, 10480), (6560, 12000))
    for number, (begin, end) in enumerate(cuts):
        record(tmp_path / "windows" / f"w{number}", samples[begin:end], 16000)
    (tmp_path / "windows.csv").write_text("uid\n" + "".join(f"w{number}\n" for number in range(len(cuts))))
    alone = usual("alone", finetuned_mdl_path=str(folder), whole_recording=False)
    alone |= {"prefix": str(tmp_path / "windows"), "data_split_root": str(tmp_path / "windows.csv")}
    pieces = np.stack(pd.read_parquet(ssast.extract(**alone))["embedding"].tolist())
    assert np.ptp(pieces, axis=0).max() > 1e-3
    np.testing.assert_allclose(whole["embedding"].tolist()[-1], pieces.mean(axis=0), atol=1e-4)
    assert whole.index[-1] == "0017"
    assert len(whole) == 6


def test_a_pass_that_was_killed_goes_on_to_the_same_scores(whole_model, usual, tmp_path, monkeypatch, dies):
    model = str(whole_model)
    whole = ssast.evaluate(**usual("whole", finetuned_mdl_path=model, batch_size=1))
    monkeypatch.setattr(inference, "SECONDS_A_PART", -1.0)
    with dies(inference, "values", after=2):
        ssast.evaluate(**usual("out", finetuned_mdl_path=model, batch_size=1))
    assert list((tmp_path / "out").glob(".parts/evaluate/part-*.parquet"))
    found = ssast.evaluate(**usual("out", finetuned_mdl_path=model, batch_size=1))
    np.testing.assert_allclose(scores(found), scores(whole), atol=1e-6)
    assert not (tmp_path / "out" / ".parts").exists()
