"""No private run lets a name out: words that nobody else writes are searched in all that was printed and written."""

import io
import json
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import soundfile
import torch

from ssast import cli
from ssast.model.classification import SSASTForAudioClassification
from ssast.model.pretraining import SSASTForPreTraining

torch.set_num_threads(1)
CHANCE = random.Random(11)
FOR_JOINING = ("predictions", "plain_baseline", "predicted", "predicted_windows", "validation", "train", "test")
"""The tables that docs/privacy.md lets hold uids, beside the embeddings."""
SOUND = ["--target_length", "32", "--device", "cpu"]
SMALL = [*SOUND, "--precision", "fp32", "--batch_size", "4"]
TINY = ["--pretrained_mdl_path", "none", "--model_size", "tiny", "--epochs", "1"]


def word() -> str:
    """Ten letters that no language has in this order."""
    return "".join(CHANCE.choice(letters) for letters in ("bdgkzvw", "aou") * 5)


@dataclass
class House:
    """A data set whose every name is made of such words, and where a mode writes."""

    home: Path
    words: set[str] = field(default_factory=set)
    uids: list[str] = field(default_factory=list)

    def new(self, shape: str = "{}") -> str:
        words = [word() for _ in range(shape.count("{}"))]
        self.words |= set(words)
        return shape.format(*words)

    def leaks(self, content: str) -> list[str]:
        content = content.lower()
        return [name for name in self.words if name in content]


@pytest.fixture(scope="module")
def house(tmp_path_factory, still_corpus) -> House:
    home = tmp_path_factory.mktemp("leaks")
    house = House(home)
    house.home = home / house.new("{} {}")
    for number in range(18):
        # Long ones do not fit into a sentence, and short ones are words.
        uid = house.new("{} {}-{}") if number % 3 else house.new("_".join(["{}"] * 12))
        house.uids.append(uid)
        place = house.home / "sounds" / uid
        shutil.copytree(still_corpus.audio / f"{number:04d}", place)
        metadata = json.loads((place / "metadata.json").read_text()) | {"doctor": house.new()}
        (place / "metadata.json").write_text(json.dumps(metadata))
    wards = [house.new("{} {}") for _ in range(3)]
    for split in ("train", "test"):
        frame = still_corpus.frame(split)
        frame.index = pd.Index([house.uids[int(uid)] for uid in frame.index], name="uid")
        frame["speaker"] = [house.new("{} {}") for _ in frame.index]
        frame["ward"] = [wards[at % 3] for at in range(len(frame))]
        (house.home / "split").mkdir(exist_ok=True)
        frame.to_csv(house.home / "split" / f"{split}.csv")
    shutil.copy(still_corpus.label_txt, house.home / "labels.txt")
    return house


@pytest.fixture(autouse=True)
def _place(house, monkeypatch, tmp_path):
    monkeypatch.chdir(house.home)
    monkeypatch.setenv("SSAST_KEYS", str(house.home.parent / "keys"))


Run = Callable[..., str]


@pytest.fixture
def run(house, capfd) -> Run:
    """Run a mode privately; what it shows and all that lies under its output folder then hold none of the words."""

    def run(*line: str, code: int = 0, out: str = "") -> str:
        found = cli.main([*line, "--private", "True", *(["-o", out] if out else [])])
        said = "".join(capfd.readouterr())
        assert found == code, said
        assert not house.leaks(said), said
        if out and (house.home / out).exists():
            check(house, house.home / out)
        return said

    return run


def check(house: House, folder: Path) -> None:
    for place in folder.rglob("*"):
        assert not house.leaks(str(place.relative_to(folder))), place
        if place.is_file() and place.stem not in FOR_JOINING and place.suffix != ".pqt":
            found = house.leaks("\n".join(texts(place)))
            assert not found, (place, found)


def texts(place: Path) -> list[str]:
    """A file's bytes as they lie, and what is packed in it."""
    content = place.read_bytes()
    found = [content.decode("latin-1")]
    if place.suffix == ".parquet":
        found.append(str(pq.read_table(io.BytesIO(content)).to_pylist()))
    if place.suffix == ".npz":
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            found += [f"{name} {arrays[name] if arrays[name].dtype.kind in 'US' else ''}" for name in arrays]
    return found


def data(*, audio: str = "sounds", split: str = "split", labels: str = "labels.txt") -> list[str]:
    return ["-i", audio, "-d", split, "-l", labels]


@pytest.fixture(scope="module")
def model(house) -> str:
    sizes = {"model_size": "tiny", "fshape": 128, "tshape": 2, "target_length": 32}
    name = house.new()
    SSASTForAudioClassification(2, **sizes, labels=["high", "loud"], seed=0).save_pretrained(house.home / name)
    return name


@pytest.fixture(scope="module")
def base(house) -> str:
    name = house.new()
    SSASTForPreTraining("tiny", 128, 2, target_length=32, mask_patch=4, seed=0).save_pretrained(house.home / name)
    return name


def test_the_search_finds_what_is_not_private(house, capfd):
    assert cli.main(["check", *data(), "-o", "open"]) in (0, 1)
    assert house.leaks((house.home / "open" / "recordings.csv").read_text())
    capfd.readouterr()


def test_a_check_and_an_audit_let_no_name_out(house, run):
    broken = house.home / "broken"
    shutil.copytree(house.home / "sounds", broken)
    (broken / house.uids[0] / "waveform.wav").unlink()
    (broken / house.uids[1] / "waveform.wav").write_bytes(b"RIFF")
    (broken / house.uids[2] / "metadata.json").write_text(
        json.dumps({"encoding": house.new("{} {}"), "sample_rate_hz": 1})
    )
    (broken / house.uids[3] / "metadata.json").write_text(
        json.dumps({"encoding": "WAV", "sample_rate_hz": house.new()})
    )
    (broken / house.uids[4] / "waveform.wav").rename(broken / house.uids[4] / f"waveform.{house.new()}")
    (broken / house.new()).mkdir()
    soundfile.write(broken / house.uids[5] / "waveform.wav", np.zeros(0), 16000)
    run("check", *data(audio="broken"), code=1, out="checked")
    run("audit", *data(), "--resamples", "100", out="audited")
    assert "ward" in (house.home / "audited" / "traits.csv").read_text()
    run("report", "audited", "checked", "--checklist", "both", out="sheet")


@pytest.mark.parametrize(
    ("rows", "part"),
    [
        ("{uid},1,0\n{uid},1,0\n", "has no column uid"),
        ("uid,high,loud\n{uid},{new},0\n", "expected a number"),
        ("uid,high,loud\n{uid},1,0\n{uid},1,0\n", "more than once"),
        ("uid,high,loud\n{new},1,0\n", "no uid of"),
        ("uid,high,loud\n../{new},1,0\n", "is not a plain folder name"),
        ("uid,high,loud\n{uid},1,0,{new}\n", "cells"),
        ('uid,high,loud\n"{uid},1,0\n', "no readable csv"),
        ("{new},{new},uid\n", "no rows"),
    ],
)
def test_a_csv_that_is_wrong_lets_no_name_out(house, run, model, rows, part):
    name = house.new("{} {}.csv")
    while "{new}" in rows:
        rows = rows.replace("{new}", house.new("{} {}"), 1)
    (house.home / name).write_text(rows.replace("{uid}", house.uids[0]))
    said = run("evaluate", *data(split=name), *SMALL, "--finetuned_mdl_path", model, code=2, out="wrong")
    assert part in said


def test_recordings_and_models_that_are_wrong_let_no_name_out(house, run, model):
    broken = house.new("{} {}")
    shutil.copytree(house.home / "sounds", house.home / broken)
    (house.home / broken / house.uids[13] / "waveform.wav").write_bytes(b"RIFF")
    line = ["evaluate", *data(audio=broken), *SMALL, "--finetuned_mdl_path"]
    assert "clip uid-" in run(*line, model, code=2, out="wrong")
    run(*line, model, "--on_bad_audio", "skip", "--resamples", "5", out="skipped")
    assert "uid-" in (house.home / "skipped" / "bad_audio.csv").read_text()
    damaged = house.home / house.new("{} {}")
    shutil.copytree(house.home / model, damaged)
    (damaged / "model.safetensors").write_bytes(b"x" * 100)
    assert "cannot be read" in run(*line, damaged.name, code=2, out="wrong")
    checkpoint = house.home / house.new("{} {}.pth")
    checkpoint.write_bytes(b"no checkpoint")
    run("inspect", checkpoint.name, code=2)
    run("convert", checkpoint.name, house.new(), code=2)
    run("convert", house.new("{} {}/{}.pth"), house.new(), code=2)


def test_a_prediction_of_a_folder_lets_no_name_out(house, run, model):
    assert "folder-" in run("predict", model, "sounds", *SOUND, out="listened")


@pytest.mark.parametrize("more", [[], ["--label_column", "ward"], ["--file_column", "speaker"]])
def test_an_arrangement_of_names_that_do_not_fit_lets_no_name_out(house, run, more):
    (files := house.home / house.new("{} {}")).mkdir()
    rows = ["file,speaker,ward,high"]
    for number in range(4):
        name = house.new("{} {}")
        shutil.copy(house.home / "sounds" / house.uids[number] / "waveform.wav", files / f"{name}.wav")
        told = house.new("{} {}") if number else name
        rows.append(f"{told},{house.new()},{house.new('{} {}')},{house.new() if number > 2 else number % 2}")
    table = house.new("{} {}.csv")
    (house.home / table).write_text("\n".join(rows))
    run("arrange", str(files), table, house.new(), *more, code=2)


@pytest.mark.slow
def test_no_mode_that_trains_or_uses_a_model_lets_a_name_out(house, run, base):
    run("pretrain", *data()[:4], *SMALL, *TINY, "--mask_patch", "4", out="pretrained")
    tuned = ["finetune", *data(), *SMALL, "--pretrained_mdl_path", base, "--epochs", "1", "--resamples", "5"]
    run(*tuned, out="tuned")
    run(*tuned, out="tuned")
    run(*tuned, "--folds", "2", out="folds")
    run("sweep", *data(), *SMALL, "--pretrained_mdl_path", base, "--epochs", "1", "--val_share", "0.5", out="swept")
    uses = [*SMALL, "--finetuned_mdl_path", "tuned"]
    run("evaluate", *data(), *uses, "--resamples", "5", out="evaluated")
    run("extract", *data()[:4], *uses, out="extracted")
    run("attention", *data(), *uses, "--uids", house.uids[13], out="looked")
    run("predict", "tuned", f"sounds/{house.uids[13]}", *SOUND, out="predicted")
    run("stats", *data()[:4], *SOUND, out="measured")
    run("compare", "tuned", "evaluated", "--resamples", "5", out="compared")
    run("inspect", "tuned")
    run("export", "tuned", "exported", "--format", "onnx")
    check(house, house.home / "exported")


@pytest.mark.slow
def test_a_training_that_goes_wrong_lets_no_name_out(house, run, base):
    tuned = ["finetune", *data(), *SMALL, "--pretrained_mdl_path", base, "--epochs", "2", "--resamples", "5"]
    run(*tuned, out="corrected")
    for state in (house.home / "corrected" / "checkpoints").glob("*.pt"):
        state.write_bytes(b"no state")
    run(*tuned, "--epochs", "3", code=2, out="corrected")
    run(*tuned, "--freeze", "False", "--learning_rate", "1e30", "--max_lr", "1e30", code=2, out="burst")
    (house.home / "corrected" / "run.yaml").write_text("options: [")
    run(*tuned, code=2, out="corrected")
