"""`--on_bad_audio skip` in real runs: what is left out is named, with or without workers, and after a kill too."""

import json
import shutil
import tracemalloc

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import soundfile
import torch

import ssast
from ssast.audio.sound_findings import length_entry
from ssast.engine import inference, train
from ssast.errors import UserError
from ssast.model.classification import SSASTForAudioClassification
from ssast.runs.output.skipped_recordings import JOURNAL, SkippedRecordings

pytestmark = pytest.mark.usefixtures("narrow")

torch.set_num_threads(1)

BAD = {"0001": "is cut off", "0002": "NaN or infinite", "0013": "does not exist", "0016": "metadata.json says 8000"}


@pytest.fixture
def broken(corpus, record):
    """The corpus with two recordings of each split that cannot be used."""
    cut = corpus.audio / "0001" / "waveform.wav"
    cut.write_bytes(cut.read_bytes()[:3000])
    samples = np.zeros(8000, np.float32)
    samples[5] = np.nan
    soundfile.write(corpus.audio / "0002" / "waveform.wav", samples, 16000, subtype="FLOAT")
    shutil.rmtree(corpus.audio / "0013")
    metadata = corpus.audio / "0016" / "metadata.json"
    metadata.write_text(metadata.read_text().replace("16000", "8000"))
    return corpus


@pytest.fixture
def usual(broken, tmp_path):
    found = {"prefix": str(broken.audio), "data_split_root": str(broken.splits), "label_txt": str(broken.label_txt)}
    found |= {"target_length": 32, "device": "cpu", "precision": "fp32", "resamples": 0, "exp_dir": str(tmp_path / "o")}
    return found | {"on_bad_audio": "skip"}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "model"
    SSASTForAudioClassification(2, "tiny", target_length=32, labels=["high", "loud"], seed=0).save_pretrained(folder)
    return str(folder)


def named(folder):
    table = pd.read_csv(folder / "bad_audio.csv", dtype=str)
    assert list(table.columns) == ["uid", "reason"]
    for uid, reason in zip(table["uid"], table["reason"], strict=True):
        assert reason.startswith(f"clip {uid}: ")
        assert BAD[uid] in reason
    return sorted(table["uid"])


@pytest.mark.parametrize("workers", [0, 2])
def test_fine_tuning_names_what_it_left_out_of_both_splits(usual, workers, capsys):
    small = {"pretrained_mdl_path": "none", "model_size": "tiny", "epochs": 2, "batch_size": 4, "num_workers": workers}
    folder = ssast.finetune(**usual, **small)
    assert named(folder) == sorted(BAD)
    assert "4 recordings left out: " in capsys.readouterr().out
    predicted = pd.read_csv(folder / "predictions.csv", dtype={"uid": str})
    assert predicted["uid"].tolist() == ["0012", "0014", "0015", "0017"]
    assert json.loads((folder / "metrics.json").read_text())["left_out"] == 2
    assert "; 2 of the csv could not be used and were left out." in (folder / "report.html").read_text()


@pytest.mark.parametrize("workers", [0, 2])
def test_embeddings_keep_the_remaining_uids_in_order(usual, model, broken, workers):
    usual |= {"data_split_root": str(broken.splits / "train.csv"), "num_workers": workers, "batch_size": 3}
    path = ssast.extract(**usual, finetuned_mdl_path=model)
    uids = pq.read_table(path)["uid"].to_pylist()
    assert uids == [uid for uid in broken.frame("train").index if uid not in BAD]
    assert named(path.parent) == ["0001", "0002"]


def test_reasons_from_before_a_kill_are_not_lost(usual, model, broken, monkeypatch, dies):
    """They once were: the parts of a killed pass came without the reasons for what they lack."""
    monkeypatch.setattr(inference, "SECONDS_A_PART", -1.0)
    monkeypatch.setattr(inference, "CPU_CLIPS", 1)
    usual |= {"data_split_root": str(broken.splits / "train.csv"), "batch_size": 1, "finetuned_mdl_path": model}
    with dies(inference, "values", after=6):
        ssast.extract(**usual)
    path = ssast.extract(**usual)
    assert named(path.parent) == ["0001", "0002"]
    assert len(pq.read_table(path)) == 10
    assert not (path.parent / ".parts").exists()


def test_reasons_of_a_killed_training_are_not_lost(usual, dies):
    small = {"model_size": "tiny", "epochs": 1, "batch_size": 2, "mask_patch": 8, "save_every_seconds": 0}
    with dies(train.Run, "step", after=5):
        ssast.pretrain(**usual, **small)
    folder = ssast.pretrain(**usual, **small)
    assert named(folder) == ["0001", "0002"]
    ssast.pretrain(**usual, **small)
    assert named(folder) == ["0001", "0002"], "a finished run that is started again keeps its list"


def test_without_skip_the_first_one_ends_the_run_in_a_sentence(usual, model):
    with pytest.raises(UserError, match=r"0013.*--on_bad_audio skip"):
        ssast.evaluate(**usual | {"on_bad_audio": "error"}, finetuned_mdl_path=model)


def test_a_journal_cut_by_a_kill_is_read_as_far_as_it_goes(tmp_path):
    first = SkippedRecordings()
    first.remember(tmp_path / "j.jsonl")
    first("1", "reason, with\nlines and ü")
    first("1", "another reason")
    with open(tmp_path / "j.jsonl", "a") as file:
        file.write('\n["2", "rea')
    second = SkippedRecordings()
    second.remember(tmp_path / "j.jsonl")
    second("3", "later")
    assert second.reasons == {"1": "reason, with\nlines and ü", "3": "later"}
    third = SkippedRecordings()
    third.remember(tmp_path / "j.jsonl")
    assert third.reasons == second.reasons
    second.remember(tmp_path / "j.jsonl", goes_on=False)
    assert not (tmp_path / "j.jsonl").exists()


def test_a_journal_that_no_run_wrote_is_passed_over(tmp_path, pipe):
    """A stranger's folder, or a disk that failed: a pipe of that name would never have ended."""
    (tmp_path / "bytes.jsonl").write_bytes(b'\xff\xfe\n["a", "no sound"]\n')
    (tmp_path / "kinds.jsonl").write_text('[]\n5\n{"a": 1}\n["b", [1], 2]\n["c", "cut off"]\n["d", "' + "x" * 50)
    pipe(tmp_path / "pipe.jsonl")
    noted = SkippedRecordings()
    for name in ("bytes.jsonl", "kinds.jsonl", "pipe.jsonl", "none.jsonl"):
        noted.remember(tmp_path / name)
    assert noted.reasons == {"c": "cut off"}
    assert noted.findings == {}


def test_recordings_are_listed_in_the_order_of_the_run_whoever_met_them_first(tmp_path):
    """Two processes note in one journal, in the order in which they come: the tables of a run once told it."""
    noted, other = SkippedRecordings(), SkippedRecordings()
    for each in (noted, other):
        each.remember(tmp_path / JOURNAL)
    noted("3", "no sound")
    other("1", "cut off")
    other("elsewhere", "no row of this run")
    noted("2", "no sound")
    noted.write(tmp_path, ["1", "2", "3", "4"])
    assert pd.read_csv(tmp_path / "bad_audio.csv", dtype=str)["uid"].tolist() == ["1", "2", "3", "elsewhere"]


def test_what_was_noted_of_many_recordings_is_taken_up_in_little_memory(tmp_path):
    """Asked for all at once, a file took the memory of the largest that it might have been: 64 MB."""
    count, noted = 5_000, SkippedRecordings()
    noted.remember(tmp_path / JOURNAL)
    for number in range(count):
        noted.add_findings(f"{number:06d}", [length_entry(1.0)])
    tracemalloc.start()
    try:
        noted.gather()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 500 * count
    assert noted.lengths([f"{number:06d}" for number in range(count)]) == [1.0] * count
