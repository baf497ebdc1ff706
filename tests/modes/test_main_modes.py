"""The modes from end to end, on tones and a tiny model: what they leave behind, repeat to the byte and keep apart."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import soundfile
import torch
import yaml
from safetensors.torch import load_file

import ssast
from ssast import cli
from ssast.engine import inference, train
from ssast.errors import UserError
from ssast.model.classification import SSASTForAudioClassification
from ssast.model.pretraining import SSASTForPreTraining

pytestmark = pytest.mark.usefixtures("narrow")

torch.set_num_threads(1)

SCORES = ("aucs.csv", "predictions.csv", "metrics.json")
PRETRAINING = {"model_size": "tiny", "mask_patch": 8, "epochs": 2, "learning_rate": 1e-3}
FINETUNING = {"epochs": 2, "learning_rate": 1e-2}
ALTERED = {"tshift": 1.0, "speed": 1.0, "gauss": 1.0, "pshift": 1.0, "gain": 1.0, "stretch": 1.0, "mixup": 1.0}
ALTERED |= {"freqm": 20, "timem": 8, "noise": True, "cdo": True, "shift": True}


def usual(corpus: Any, **others: Any) -> dict[str, Any]:
    """Options that every mode needs; fp32, since that is what is compared to 1e-5 or to the byte."""
    found = {"prefix": str(corpus.audio), "data_split_root": str(corpus.splits), "label_txt": str(corpus.label_txt)}
    return {**found, "target_length": 32, "device": "cpu", "precision": "fp32", "resamples": 20, **others}


def command(options: dict[str, Any]) -> list[str]:
    return [word for name, value in options.items() for word in (f"--{name}", str(value))]


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


def predictions(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "predictions.csv", dtype={"uid": str}).set_index("uid")


def embeddings(path: Path) -> dict[str, np.ndarray]:
    table = pq.read_table(path)
    assert table.column_names == ["uid", "embedding"]
    return dict(zip(table["uid"].to_pylist(), map(np.array, table["embedding"].to_pylist()), strict=True))


def same_scores(one: Path, other: Path) -> bool:
    return all((one / name).read_bytes() == (other / name).read_bytes() for name in SCORES)


@pytest.fixture(scope="module")
def pretrained(still_corpus, tmp_path_factory):
    return ssast.pretrain(**usual(still_corpus), **PRETRAINING, exp_dir=str(tmp_path_factory.mktemp("pre") / "run"))


@pytest.fixture(scope="module")
def finetuned(still_corpus, pretrained, tmp_path_factory):
    options = usual(still_corpus, pretrained_mdl_path=str(pretrained), **FINETUNING)
    return ssast.finetune(**options, exp_dir=str(tmp_path_factory.mktemp("fine") / "run"))


@pytest.fixture(scope="module")
def weighted(still_corpus, pretrained, tmp_path_factory):
    options = usual(still_corpus, pretrained_mdl_path=str(pretrained), **FINETUNING, weighted=True)
    return ssast.finetune(**options, exp_dir=str(tmp_path_factory.mktemp("weighted") / "run"))


def by_hand(model: SSASTForAudioClassification, corpus: Any, uid: str, **settings: Any) -> torch.Tensor:
    """The fbank of one recording without the data room: file, mean off, frontend."""
    samples, rate = soundfile.read(corpus.audio / uid / "waveform.wav", dtype="float32")
    waveform_1S = torch.from_numpy(samples)[None]
    frontend = ssast.Frontend(sample_rate=rate, target_length=32, **settings)
    return frontend(waveform_1S - waveform_1S.mean())


def test_pretraining_leaves_a_folder_that_explains_itself(pretrained, still_corpus):
    names = {path.name for path in pretrained.iterdir()}
    assert {"config.json", "model.safetensors", "run.yaml", "log.jsonl", "validation.csv", "checkpoints"} <= names
    model = SSASTForPreTraining.from_pretrained(pretrained)
    assert model.v.grid == (1, 16)
    record = yaml.safe_load((pretrained / "run.yaml").read_text())
    assert (record["mode"], record["task"], record["mask_patch"]) == ("pretrain", "pretrain_joint", 8)
    assert record["record"]["clips"] == {"train": 11, "validation": 1}
    assert set(record["record"]["versions"]) >= {"ssast", "torch", "python"}
    held_out = pd.read_csv(pretrained / "validation.csv", dtype=str)
    assert set(held_out["uid"]) < set(still_corpus.frame().index)
    lines = [json.loads(line) for line in (pretrained / "log.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2]
    assert {"step", "learning_rate", "clips_per_second", "train_loss", "validation_loss"} <= lines[0].keys()


def test_fine_tuning_leaves_scores_and_predictions(finetuned, still_corpus):
    table = predictions(finetuned)
    assert list(table.index) == list(still_corpus.frame("test").index)
    assert list(table.columns) == ["high", "loud", "high_target", "loud_target"]
    assert table[["high", "loud"]].to_numpy().min() >= 0
    assert table[["high", "loud"]].to_numpy().max() <= 1
    assert table["high_target"].tolist() == still_corpus.frame("test")["high"].tolist()
    aucs = pd.read_csv(finetuned / "aucs.csv")
    assert list(aucs.columns) == ["Label", "AUC"]
    assert aucs["Label"].tolist() == ["high", "loud"]
    metrics = json.loads((finetuned / "metrics.json").read_text())
    assert metrics["n"] == 6
    assert metrics["labels"]["high"]["auc"] == pytest.approx(aucs["AUC"][0])
    assert metrics["mean"]["auc"] == pytest.approx(aucs["AUC"].mean())


def test_what_is_predicted_is_what_the_model_says_of_one_clip_alone(finetuned, still_corpus):
    model = SSASTForAudioClassification.from_pretrained(finetuned)
    table = predictions(finetuned)
    for uid in table.index:
        with torch.inference_mode():
            probabilities = torch.sigmoid(model(by_hand(model, still_corpus, uid)))[0]
        said = table.loc[uid, ["high", "loud"]].to_numpy(dtype=np.float32)
        np.testing.assert_allclose(said, probabilities.numpy(), atol=1e-5, rtol=0)


def test_evaluation_of_the_saved_folder_gives_the_same_bytes(finetuned, still_corpus, tmp_path):
    folder = ssast.evaluate(**usual(still_corpus), finetuned_mdl_path=str(finetuned), exp_dir=str(tmp_path / "out"))
    assert same_scores(folder, finetuned)


def test_a_fine_tuned_folder_needs_no_pretrained_file_no_label_file_and_no_sizes(finetuned, still_corpus, tmp_path):
    home = tmp_path / "moved"
    shutil.copytree(finetuned, home)
    bare = {"prefix": str(still_corpus.audio), "data_split_root": str(still_corpus.splits), "resamples": 20}
    bare |= {"finetuned_mdl_path": str(home), "device": "cpu", "precision": "fp32"}
    assert same_scores(ssast.evaluate(**bare, exp_dir=str(tmp_path / "out")), finetuned)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ({"embedding_type": "ft"}, "splits_tiny_layerNA_ft_cls_ft_embeddings.pqt"),
        ({"embedding_type": "wt"}, "splits_tiny_layerNA_ft_cls_wt_embeddings.pqt"),
        ({"embedding_type": "pt"}, "splits_tiny_layerFinal_ft_cls_pt_embeddings.pqt"),
        ({"embedding_type": "pt", "layer": 6}, "splits_tiny_layer6_ft_cls_pt_embeddings.pqt"),
        ({"embedding_type": "pt", "layer": 0, "task": "ft_avgtok"}, "splits_tiny_layer0_ft_avgtok_pt_embeddings.pqt"),
        ({"embedding_type": "wt", "task": "ft_avgtok"}, "splits_tiny_layerNA_ft_avgtok_wt_embeddings.pqt"),
    ],
)
def test_embeddings_are_the_models_and_their_file_says_what_they_are(weighted, still_corpus, tmp_path, kind, name):
    path = ssast.extract(**usual(still_corpus), **kind, finetuned_mdl_path=str(weighted), exp_dir=str(tmp_path / "out"))
    assert path == tmp_path / "out" / name
    found = embeddings(path)
    assert list(found) == list(still_corpus.frame("test").index)
    model = SSASTForAudioClassification.from_pretrained(weighted)
    for uid, embedding in found.items():
        with torch.inference_mode():
            expected = model.extract_embedding(by_hand(model, still_corpus, uid), **kind)[0].numpy()
        assert embedding.shape == (48,)
        np.testing.assert_allclose(embedding, expected, atol=1e-5 * np.abs(expected).max())


def test_what_a_pretrained_model_heard_otherwise_is_named(pretrained, still_corpus, tmp_path, capsys):
    """Nobody gives --target_length again by himself, and 320 ms stretched over ten seconds teach little."""
    for name, rows in (("train", 4), ("test", 2)):  # as long as a model is by itself, clips take their time
        still_corpus.frame(name)[:rows].to_csv(tmp_path / f"{name}.csv")
    options = usual(still_corpus, pretrained_mdl_path=str(pretrained), **FINETUNING, data_split_root=str(tmp_path))
    del options["target_length"]
    ssast.finetune(**options | {"epochs": 1, "resamples": 0}, dataset_mean=-5.0, exp_dir=str(tmp_path / "other"))
    note = f"{pretrained} was pretrained with --target_length 32, and this run has --target_length 1024; give the same"
    assert note in capsys.readouterr().out
    ssast.finetune(**options | {"epochs": 1, "target_length": 48}, exp_dir=str(tmp_path / "meant"))
    assert "was pretrained with" not in capsys.readouterr().out


def test_extraction_from_a_pretrained_folder_needs_no_labels(pretrained, still_corpus, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert not Path("labels.txt").exists()
    options = usual(still_corpus, embedding_type="pt", pretrained_mdl_path=str(pretrained))
    del options["label_txt"]
    options["data_split_root"] = str(still_corpus.splits / "train.csv")
    path = ssast.extract(**options)
    assert path == Path("experiments/splits_train_tiny_layerFinal_ft_cls_pt_embeddings.pqt")
    assert len(embeddings(path)) == 12


def test_run_py_takes_the_whole_job_under_the_seeds_names(still_corpus, tmp_path, capsys, pretrained, finetuned):
    def mode(name: str, **options: Any) -> dict[str, Any]:
        return {"mode": name, **options}

    def start(folder: str, options: dict[str, Any]) -> Path:
        words = command(usual(still_corpus, **options, exp_dir=str(tmp_path / folder)))
        assert cli.main(words, prog="run.py") == 0, capsys.readouterr().err
        return tmp_path / folder

    first = start("pre", mode("train", task="pretrain_joint", **PRETRAINING))
    assert weights(first) == weights(pretrained)
    tuning = {"pretrained_mdl_path": str(pretrained), **FINETUNING}
    for name in ("train", "finetune"):
        assert weights(start(f"ft-{name}", mode(name, **tuning))) == weights(finetuned)
    for name in ("eval", "eval-only"):
        assert same_scores(start(name, mode(name, finetuned_mdl_path=str(finetuned))), finetuned)
    folder = start("ex", mode("extraction", finetuned_mdl_path=str(finetuned), dataset="tones"))
    assert (folder / "tones_tiny_layerNA_ft_cls_ft_embeddings.pqt").exists()


def test_the_same_words_after_the_mode_do_the_same(still_corpus, tmp_path, pretrained, finetuned):
    words = command(usual(still_corpus, pretrained_mdl_path=str(pretrained), **FINETUNING))
    assert cli.main(["finetune", *words, "-o", str(tmp_path / "out")]) == 0
    assert weights(tmp_path / "out") == weights(finetuned)


def test_run_yaml_repeats_the_run(finetuned, pretrained, tmp_path):
    for folder, name in ((pretrained, "pre"), (finetuned, "fine")):
        out = tmp_path / name
        assert cli.main(["--config", str(folder / "run.yaml"), "--exp_dir", str(out)]) == 0
        assert weights(out) == weights(folder)
    assert same_scores(tmp_path / "fine", finetuned)


def published_file(path: Path) -> Path:
    """A published file with patches of 16x16, made of a new model."""
    model = SSASTForPreTraining(model_size="tiny", fshape=16, tshape=16, target_length=64, mask_patch=8, seed=3)
    state = {**model.state_dict(), "p_input_fdim": torch.tensor(128), "p_input_tdim": torch.tensor(64)}
    for head in ("v.head", "v.head_dist"):
        state |= {f"{head}.weight": torch.zeros(1000, model.v.width), f"{head}.bias": torch.zeros(1000)}
    torch.save({f"module.{key}": value for key, value in state.items()}, path)
    return path


def test_a_published_file_with_square_patches_brings_its_own_shape(still_corpus, tmp_path):
    """And its run.yaml repeats the run: the record's default patch shape once could have stood against the file's."""
    path = published_file(tmp_path / "square.pth")
    options = usual(still_corpus, pretrained_mdl_path=str(path), task="ft_avgtok", **FINETUNING)
    first = ssast.finetune(**options, exp_dir=str(tmp_path / "first"))
    config = json.loads((first / "config.json").read_text())
    assert (config["fshape"], config["tshape"]) == (16, 16)
    assert SSASTForAudioClassification.from_pretrained(first).v.grid == (8, 2)
    assert cli.main(["--config", str(first / "run.yaml"), "-o", str(tmp_path / "second")]) == 0
    assert weights(tmp_path / "second") == weights(first)
    going_on = usual(still_corpus, pretrained_mdl_path=str(path), mask_patch=8, target_length=64)
    assert SSASTForPreTraining.from_pretrained(ssast.pretrain(**going_on, exp_dir=str(tmp_path / "on"))).v.grid == (
        8,
        4,
    )


def test_strides_that_overlap_are_for_fine_tuning(still_corpus, tmp_path):
    options = usual(still_corpus, pretrained_mdl_path=str(published_file(tmp_path / "square.pth")), **FINETUNING)
    folder = ssast.finetune(**options, fstride=10, tstride=10, exp_dir=str(tmp_path / "out"))
    assert SSASTForAudioClassification.from_pretrained(folder).v.grid == (12, 2)


def test_one_seed_gives_the_same_bytes_and_another_seed_others(still_corpus, pretrained, finetuned, tmp_path):
    options = usual(still_corpus, pretrained_mdl_path=str(pretrained), **FINETUNING)
    assert weights(ssast.finetune(**options, exp_dir=str(tmp_path / "again"))) == weights(finetuned)
    assert weights(ssast.finetune(**options, seed=1, exp_dir=str(tmp_path / "other"))) != weights(finetuned)


def test_workers_do_not_change_what_is_trained(still_corpus, pretrained, tmp_path):
    options = usual(still_corpus, pretrained_mdl_path=str(pretrained), **ALTERED)
    alone = ssast.finetune(**options, exp_dir=str(tmp_path / "alone"))
    helped = ssast.finetune(**options, num_workers=2, exp_dir=str(tmp_path / "helped"))
    assert weights(alone) == weights(helped)
    assert same_scores(alone, helped)


@pytest.mark.parametrize("how", [{"batch_size": 1}, {"batch_size": 3}, {"batch_size": 64}, {"num_workers": 4}])
def test_batch_size_and_workers_do_not_change_what_is_predicted(still_corpus, finetuned, tmp_path, how):
    options = usual(still_corpus, finetuned_mdl_path=str(finetuned), **how)
    assert same_scores(ssast.evaluate(**options, exp_dir=str(tmp_path / "out")), finetuned)


def test_one_clip_alone_gets_the_bytes_it_gets_among_others(still_corpus, finetuned, tmp_path):
    lines = (still_corpus.splits / "test.csv").read_text().splitlines()
    whole = (finetuned / "predictions.csv").read_text().splitlines()
    for number in (1, 4):
        one = tmp_path / f"one{number}.csv"
        one.write_text(f"{lines[0]}\n{lines[number]}\n")
        options = usual(still_corpus, finetuned_mdl_path=str(finetuned)) | {"data_split_root": str(one)}
        folder = ssast.evaluate(**options, exp_dir=str(tmp_path / f"out{number}"))
        assert (folder / "predictions.csv").read_text().splitlines() == [whole[0], whole[number]]


def encoder(folder: Path) -> dict[str, torch.Tensor]:
    return {key: value for key, value in load_file(folder / "model.safetensors").items() if key.startswith("v.")}


def test_a_frozen_base_stays_as_it_was_and_a_free_one_learns(still_corpus, pretrained, finetuned, tmp_path):
    options = usual(still_corpus, pretrained_mdl_path=str(pretrained), **FINETUNING)
    before, frozen = encoder(pretrained), encoder(finetuned)
    free = encoder(ssast.finetune(**options, freeze=False, exp_dir=str(tmp_path / "free")))
    assert before.keys() == frozen.keys() == free.keys()
    assert all(torch.equal(before[key], frozen[key]) for key in before)
    assert not any(torch.equal(before[key], free[key]) for key in before if key.endswith("attn.qkv.weight"))


def test_a_weighted_sum_is_learned_with_the_base_frozen(weighted, pretrained):
    weightsum = SSASTForAudioClassification.from_pretrained(weighted).weightsum
    assert weightsum.shape == (13,)
    assert not torch.allclose(weightsum, torch.full((13,), 1 / 13))
    before, after = encoder(pretrained), encoder(weighted)
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_numbers_are_learned_with_mse(corpus, pretrained, tmp_path):
    for name in ("train", "test"):
        path = corpus.splits / f"{name}.csv"
        table = pd.read_csv(path, dtype={"uid": str})
        table["high"] = 3.5 * table["high"] - 10
        table.to_csv(path, index=False)
    options = usual(corpus, pretrained_mdl_path=str(pretrained), **FINETUNING | {"epochs": 8}, loss="MSE")
    folder = ssast.finetune(**options, freeze=False, exp_dir=str(tmp_path / "out"))
    assert predictions(folder)["high"].mean() < -1
    again = usual(corpus, finetuned_mdl_path=str(folder))
    assert same_scores(ssast.evaluate(**again, exp_dir=str(tmp_path / "again")), folder)


def test_everything_at_once_trains_and_is_scored_without_augmentation(still_corpus, pretrained, tmp_path):
    options = usual(still_corpus, pretrained_mdl_path=str(pretrained), **ALTERED, mask_padding=True, weighted=True)
    options |= {"freeze": False, "optim": "adamw", "scheduler": "onecycle", "max_lr": 1e-3, "activation": "gelu"}
    folder = ssast.finetune(**options, layernorm=False, exp_dir=str(tmp_path / "out"))
    again = usual(still_corpus, finetuned_mdl_path=str(folder))
    assert same_scores(ssast.evaluate(**again, exp_dir=str(tmp_path / "again")), folder)
    pre = ssast.pretrain(
        **usual(still_corpus), **PRETRAINING, **ALTERED, mask_padding=True, exp_dir=str(tmp_path / "p")
    )
    assert weights(pre) != weights(pretrained)


@pytest.mark.parametrize("task", ["pretrain_mpc", "pretrain_mpg"])
def test_each_pretext_task_alone_is_learned(still_corpus, tmp_path, task):
    folder = ssast.pretrain(**usual(still_corpus), **PRETRAINING, task=task, exp_dir=str(tmp_path / "out"))
    line = json.loads((folder / "log.jsonl").read_text().splitlines()[0])
    assert ("train_accuracy" in line) == (task == "pretrain_mpc")
    assert ("train_mse" in line) == (task == "pretrain_mpg")


def test_without_reduce_the_first_channel_counts(still_corpus, finetuned, pretrained, record, tmp_path):
    rng = np.random.default_rng(0)
    for folder in still_corpus.audio.iterdir():
        samples, rate = soundfile.read(folder / "waveform.wav", dtype="float32")
        stereo = np.stack([samples, rng.standard_normal(len(samples)).astype(np.float32) / 4], axis=1)
        record(tmp_path / "stereo" / folder.name, stereo, rate)
    options = usual(still_corpus, pretrained_mdl_path=str(pretrained), **FINETUNING)
    first = ssast.finetune(**options | {"prefix": str(tmp_path / "stereo")}, reduce=False, exp_dir=str(tmp_path / "1"))
    assert weights(first) == weights(finetuned)
    mixed = ssast.finetune(**options | {"prefix": str(tmp_path / "stereo")}, exp_dir=str(tmp_path / "2"))
    assert weights(mixed) != weights(finetuned)


def test_clip_length_uses_only_the_beginning(still_corpus, finetuned, record, tmp_path, capsys):
    cut = tmp_path / "cut"
    for folder in still_corpus.audio.iterdir():
        samples, rate = soundfile.read(folder / "waveform.wav", dtype="float32")
        record(cut / folder.name, samples[: int(0.2 * rate)], rate)
    options = usual(still_corpus, pretrained_mdl_path="none", model_size="tiny", clip_length=0.2)
    whole = ssast.finetune(**options, exp_dir=str(tmp_path / "whole"))
    short = ssast.finetune(**options | {"prefix": str(cut)}, exp_dir=str(tmp_path / "short"))
    assert weights(whole) == weights(short)
    # What the model was trained with holds, whatever is asked for later; that is said.
    again = usual(still_corpus, finetuned_mdl_path=str(whole), clip_length=0.5, exp_dir=str(tmp_path / "again"))
    assert same_scores(ssast.evaluate(**again), whole)
    assert "--clip_length 0.5 is left aside: the model was fine-tuned with 0.2" in capsys.readouterr().out


@pytest.mark.parametrize(
    "how",
    [
        {"resample_rate": 8000},
        {"num_mel_bins": 64, "fshape": 64},
        {"lib": True},
        {"dataset_mean": -6.0, "dataset_std": 3.0},
        {"layer": 3},
        {"model_size": "small", "tshape": 4},
    ],
)
def test_other_settings_are_kept_with_the_model(still_corpus, tmp_path, how):
    new = {"pretrained_mdl_path": "none", "model_size": "tiny", **FINETUNING, "epochs": 1, **how}
    folder = ssast.finetune(**usual(still_corpus), **new, exp_dir=str(tmp_path / "out"))
    again = usual(still_corpus, finetuned_mdl_path=str(folder))
    assert same_scores(ssast.evaluate(**again, exp_dir=str(tmp_path / "again")), folder)


def test_librosa_reads_the_same_samples(still_corpus, finetuned, tmp_path):
    options = usual(still_corpus, finetuned_mdl_path=str(finetuned), lib=True)
    table = predictions(ssast.evaluate(**options, exp_dir=str(tmp_path / "out")))
    pd.testing.assert_frame_equal(table, predictions(finetuned), atol=1e-5)


def test_a_study_lies_below_the_prefix(still_corpus, finetuned, tmp_path):
    options = usual(still_corpus, finetuned_mdl_path=str(finetuned), study="audio")
    options["prefix"] = str(still_corpus.folder)
    assert same_scores(ssast.evaluate(**options, exp_dir=str(tmp_path / "out")), finetuned)


def test_a_recording_that_cannot_be_used_is_left_out_and_named(corpus, finetuned, tmp_path):
    (corpus.audio / "0013" / "waveform.wav").write_bytes(b"RIFF")
    shutil.rmtree(corpus.audio / "0015")
    options = usual(corpus, finetuned_mdl_path=str(finetuned), on_bad_audio="skip")
    folder = ssast.evaluate(**options, exp_dir=str(tmp_path / "out"))
    assert list(predictions(folder).index) == ["0012", "0014", "0016", "0017"]
    bad = pd.read_csv(folder / "bad_audio.csv", dtype=str)
    assert bad["uid"].tolist() == ["0013", "0015"]
    pd.testing.assert_frame_equal(predictions(folder), predictions(finetuned).drop(["0013", "0015"]))
    path = ssast.extract(**options, exp_dir=str(tmp_path / "ex"))
    assert list(embeddings(path)) == ["0012", "0014", "0016", "0017"]


def test_a_finished_run_is_not_trained_again(still_corpus, pretrained, tmp_path, monkeypatch):
    options = usual(still_corpus, pretrained_mdl_path=str(pretrained), **FINETUNING, exp_dir=str(tmp_path / "out"))
    first = weights(ssast.finetune(**options))

    def refuse(*args, **kwargs):
        raise AssertionError("it trains")

    with monkeypatch.context() as patched:
        patched.setattr(train.Run, "step", refuse)
        assert weights(ssast.finetune(**options)) == first
        with pytest.raises(UserError, match=r"holds another run \(epochs 2 there, 3 now\).*--resume never"):
            ssast.finetune(**options | {"epochs": 3})
        with pytest.raises(AssertionError, match="it trains"):
            ssast.finetune(**options, resume="never")
    assert weights(ssast.finetune(**options, resume="never")) == first


def test_a_model_whose_checkpoints_were_deleted_is_not_overwritten_by_another_run(still_corpus, pretrained, tmp_path):
    home = tmp_path / "home"
    shutil.copytree(pretrained, home)
    shutil.rmtree(home / "checkpoints")
    options = {**usual(still_corpus), **PRETRAINING, "exp_dir": str(home)}
    with pytest.raises(UserError, match=r"holds another run \(seed 0 there, 1 now\)"):
        ssast.pretrain(**options, seed=1)
    assert weights(home) == weights(pretrained)
    assert weights(ssast.pretrain(**options, seed=1, resume="never")) != weights(pretrained)


def test_a_folder_made_with_another_train_csv_is_refused(corpus, pretrained, tmp_path):
    options = usual(corpus, pretrained_mdl_path=str(pretrained), exp_dir=str(tmp_path / "out"))
    ssast.finetune(**options)
    path = corpus.splits / "train.csv"
    path.write_text("\n".join(path.read_text().splitlines()[:-1]))
    with pytest.raises(UserError, match=r"made with other contents of .*train\.csv"):
        ssast.finetune(**options)


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_a_run_that_is_cut_off_goes_on_to_the_same_bytes(
    still_corpus, finetuned, pretrained, tmp_path, monkeypatch, dies, steps
):
    options = usual(still_corpus, pretrained_mdl_path=str(pretrained), **FINETUNING, save_every_seconds=0)
    options |= {"exp_dir": str(tmp_path / "out"), "batch_size": 4}
    undisturbed = ssast.finetune(**options | {"exp_dir": str(tmp_path / "whole")})
    with dies(train.Run, "step", after=steps):
        ssast.finetune(**options)
    assert not (tmp_path / "out" / "model.safetensors").exists()
    step, seen = train.Run.step, []
    monkeypatch.setattr(train.Run, "step", lambda run, batch, **how: (seen.append(batch), step(run, batch, **how))[1])
    folder = ssast.finetune(**options)
    assert len(seen) + steps == 6
    assert weights(folder) == weights(undisturbed)
    assert same_scores(folder, undisturbed)


def test_an_extraction_that_is_cut_off_goes_on_and_gives_the_same_rows(
    still_corpus, finetuned, tmp_path, monkeypatch, dies
):
    monkeypatch.setattr(inference, "SECONDS_A_PART", -1.0)
    monkeypatch.setattr(inference, "CPU_CLIPS", 1)
    options = usual(still_corpus, finetuned_mdl_path=str(finetuned), batch_size=1)
    options["data_split_root"] = str(still_corpus.splits / "train.csv")
    whole = embeddings(ssast.extract(**options, exp_dir=str(tmp_path / "whole")))
    with dies(inference, "values", after=5):
        ssast.extract(**options, exp_dir=str(tmp_path / "out"))
    assert not list((tmp_path / "out").glob("*.pqt"))
    values, calls = inference.values, []
    monkeypatch.setattr(inference, "values", lambda *args: (calls.append(args[1]["uid"]), values(*args))[1])
    found = embeddings(ssast.extract(**options, exp_dir=str(tmp_path / "out")))
    assert len(calls) == 7
    assert list(found) == list(whole)
    assert all(np.array_equal(found[uid], whole[uid]) for uid in whole)
    assert not (tmp_path / "out" / ".parts").exists()


def test_a_mode_that_reads_a_run_folder_leaves_its_record_and_its_files_alone(still_corpus, finetuned, tmp_path):
    home = tmp_path / "home"
    shutil.copytree(finetuned, home)
    kept = {name: (home / name).read_bytes() for name in ("run.yaml", "config.json", "log.jsonl", "validation.csv")}
    ssast.evaluate(**usual(still_corpus), finetuned_mdl_path=str(home), exp_dir=str(home))
    ssast.extract(**usual(still_corpus), finetuned_mdl_path=str(home), exp_dir=str(home))
    assert same_scores(home, finetuned)
    assert {name: (home / name).read_bytes() for name in kept} == kept
    assert yaml.safe_load((home / "run-evaluate.yaml").read_text())["mode"] == "evaluate"
    assert (home / "run-extract.yaml").exists()
    assert weights(home) == weights(finetuned)


def test_nothing_unfinished_is_left_in_a_folder(finetuned, pretrained):
    for folder in (finetuned, pretrained):
        assert not [path for path in folder.rglob("*") if path.name.startswith(".")]
        assert not [path for path in folder.rglob("*") if os.path.getsize(path) == 0]
