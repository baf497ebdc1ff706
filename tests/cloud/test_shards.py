"""Shards in a bucket: few requests, each row group fetched once, and a bucket that goes away."""

import pyarrow.parquet as pq
import pytest
import torch

import ssast
from ssast import SSASTForAudioClassification, cli

torch.set_num_threads(1)
OTHERS = 8
"""Requests beside those for row groups: of the listing, and the footers."""


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    frontend = {"sample_rate": 16000, "num_mel_bins": 32, "target_length": 32, "mean": -4.0, "std": 4.0}
    kept = {"labels": ["high", "loud"], "frontend": {**frontend, "reduce": True, "clip_length": 0.0}, "seed": 0}
    folder = tmp_path_factory.mktemp("models") / "fine"
    shape = {"model_size": "tiny", "fshape": 16, "tshape": 8, "num_mel_bins": 32, "target_length": 32}
    SSASTForAudioClassification(2, **shape, **kept).save_pretrained(folder)
    return folder


def upload(store, shards, name):
    address = store.bucket(name)
    store.put_folder(name, shards)
    return f"{address}/"


def options(model, where, out):
    how = {"device": "cpu", "precision": "fp32", "num_workers": 2, "dataset": "tones", "cloud": False}
    return {"finetuned_mdl_path": str(model), "prefix": str(where), "exp_dir": str(out), **how}


@pytest.fixture(scope="module")
def shards(still_corpus, shards_of, tmp_path_factory):
    tables = {name: still_corpus.frame(name) for name in ("train", "test")}
    return shards_of(tmp_path_factory.mktemp("single") / "shards", still_corpus.audio, tables, group=1, told=True)


def test_extraction_asks_once_for_each_row_group(either, shards, model, tmp_path):
    store, proxy = either
    address = upload(store, shards, "packed")
    here = ssast.extract(**options(model, shards, tmp_path / "here"))
    proxy.seen.clear()
    there = ssast.extract(**options(model, address, tmp_path / "there"))
    assert there.read_bytes() == here.read_bytes()
    groups = pq.read_metadata(shards / "test-00000-of-00001.parquet").num_row_groups
    assert groups == 6
    assert len(proxy.seen) <= groups + OTHERS
    proxy.seen.clear()
    ssast.extract(**options(model, address, tmp_path / "again"))
    assert len(proxy.seen) <= OTHERS


def test_a_bucket_that_goes_away_gives_one_sentence_and_leaves_no_table(
    proxy, gs_emulator, shards, model, tmp_path, impatient_soon, capsys
):
    address = upload(gs_emulator, shards, "leaving")
    asked = []

    def refuse(method, path):
        asked.extend([path] if "alt=media" in path else [])
        return 503 if len(asked) > 4 else None  # two footers and two row groups have come

    proxy.refuse = refuse
    words = [word for name, value in options(model, address, tmp_path / "out").items() for word in (f"--{name}", value)]
    assert cli.main(["extract", *map(str, words)]) == 2
    said = capsys.readouterr().err
    assert "cannot read gs://leaving/test-00000-of-00001.parquet" in said
    lines = [line for line in said.splitlines() if line.strip() and "batch/s" not in line]
    assert len(lines) == 1, "beside the bar, where there was time for one"
    assert not list((tmp_path / "out").glob("*.pqt"))


@pytest.mark.slow
def test_a_training_whose_bucket_goes_away_goes_on_later_to_the_same_bytes(
    proxy, gs_emulator, shards, still_corpus, tmp_path, impatient, capsys
):
    address = upload(gs_emulator, shards, "halfway")
    how = {"pretrained_mdl_path": "none", "model_size": "tiny", "target_length": 32, "freeze": False, "epochs": 2}
    how |= {"batch_size": 2, "label_txt": still_corpus.label_txt, "resamples": 0, "save_every_seconds": 0}
    how |= {"device": "cpu", "precision": "fp32", "cloud": False, "dataset": "tones"}

    def words(where, out):
        return ["finetune", *(f"--{name}={value}" for name, value in {**how, "prefix": where, "exp_dir": out}.items())]

    assert cli.main(words(shards, tmp_path / "whole")) == 0
    capsys.readouterr()
    asked = []

    def refuse(method, path):
        asked.extend([path] if "alt=media" in path else [])
        return 503 if len(asked) > 9 else None

    proxy.refuse = refuse
    out = tmp_path / "out"
    assert cli.main(words(address, out)) == 2
    assert "cannot read gs://halfway/t" in (said := capsys.readouterr().err.strip().splitlines()[-1])
    assert said.count(". ") == 0
    assert (out / "checkpoints" / "last.pt").exists()
    assert not (out / "model.safetensors").exists()
    proxy.refuse = lambda method, path: None
    assert cli.main(words(address, out)) == 0
    for name in ("model.safetensors", "predictions.csv", "metrics.json"):
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
