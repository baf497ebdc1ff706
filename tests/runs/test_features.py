"""A frozen base hears each recording once, and what comes of it is the same as if it had heard it in every epoch."""

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

import ssast
from ssast.data.features import FeatureStore
from ssast.data.loader import collate
from ssast.data.storage.location import Location
from ssast.engine import train
from ssast.errors import UserError
from ssast.model.classification import SSASTForAudioClassification
from ssast.model.label_kinds import LabelKinds
from ssast.modes import finetune
from ssast.options.audio_options import SPECTROGRAM, WAVEFORM
from ssast.options.declaration import option
from ssast.options.options import SPECS, Options
from ssast.options.record import resolve
from ssast.runs import features
from ssast.runs.batches import ClipReader
from ssast.runs.context import Paths, RunContext
from ssast.runs.features import Pooler, own_states
from ssast.runs.models import ModelSettings, audio_settings, classification_model
from ssast.runs.rows import Rows

pytestmark = pytest.mark.usefixtures("narrow", "own_cache")

torch.set_num_threads(1)


def usual(corpus: Any, folder: Path, **others: Any) -> dict[str, Any]:
    found = {"prefix": str(corpus.audio), "data_split_root": str(corpus.splits), "label_txt": str(corpus.label_txt)}
    found |= {"target_length": 32, "device": "cpu", "precision": "fp32", "resamples": 0, "model_size": "tiny"}
    found |= {"pretrained_mdl_path": "none", "epochs": 3, "learning_rate": 1e-2, "batch_size": 5, "val_share": 0.3}
    return {**found, "exp_dir": str(folder), **others}


def head(folder: Path) -> dict[str, torch.Tensor]:
    return {name: value for name, value in load_file(folder / "model.safetensors").items() if name[:2] != "v."}


def predictions(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "predictions.csv", dtype={"uid": str}).set_index("uid")


def losses(folder: Path) -> np.ndarray:
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return np.array([[line["train_loss"], line["validation_loss"]] for line in lines])


def agree(one: Path, other: Path, within: float) -> None:
    """The same weights, losses, thresholds and predictions."""
    first, second = head(one), head(other)
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.allclose(value, second[name], rtol=0, atol=within), name
    assert np.allclose(losses(one), losses(other), rtol=0, atol=within)
    table = predictions(one)
    assert list(table.index) == list(predictions(other).index)
    assert np.allclose(table, predictions(other), rtol=0, atol=within)
    found = [json.loads((folder / "thresholds.json").read_text())["thresholds"] for folder in (one, other)]
    assert found[0] == pytest.approx(found[1], abs=within)


KINDS = {
    "last layer": {},
    "layer 6 of the patches": {"layer": 6, "task": "ft_avgtok", "mask_padding": True},
    "weighted": {"weighted": True, "task": "ft_avgtok"},
    "micro batches, drawn by balance": {"micro_batch": 2, "balanced": True, "pos_weight": True},
}


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_results_are_the_same_as_without(still_corpus, tmp_path, kind):
    one = ssast.finetune(**usual(still_corpus, tmp_path / "kept", **kind))
    other = ssast.finetune(**usual(still_corpus, tmp_path / "not", **kind), features="never")
    agree(one, other, 1e-5)


def test_results_in_bf16_are_the_same_as_without(still_corpus, tmp_path):
    """Both ways take the arithmetic of training for training and that of scoring for scores."""
    one = ssast.finetune(**usual(still_corpus, tmp_path / "kept", precision="bf16"))
    other = ssast.finetune(**usual(still_corpus, tmp_path / "not", precision="bf16"), features="never")
    agree(one, other, 1e-5)


def test_evaluate_gives_what_finetune_gave(still_corpus, tmp_path):
    folder = ssast.finetune(**usual(still_corpus, tmp_path / "run"))
    names = ("prefix", "data_split_root", "label_txt", "device", "precision", "resamples")
    again = {name: usual(still_corpus, tmp_path)[name] for name in names}
    ssast.evaluate(**again, finetuned_mdl_path=str(folder), exp_dir=str(tmp_path / "again"))
    assert (tmp_path / "again" / "predictions.csv").read_bytes() == (folder / "predictions.csv").read_bytes()


def test_each_recording_goes_through_the_base_once(still_corpus, tmp_path, pooled, capsys):
    ssast.finetune(**usual(still_corpus, tmp_path / "one", epochs=4))
    assert sorted(pooled) == [f"{number:04d}" for number in range(18)]
    assert "each goes through the base once (none of the 12 did before)" in capsys.readouterr().out
    ssast.finetune(**usual(still_corpus, tmp_path / "two", epochs=2, learning_rate=1e-3))
    assert len(pooled) == 18
    assert "(all of the 12 did before)" in capsys.readouterr().out


def test_folds_and_seeds_share_what_was_pooled(still_corpus, tmp_path, pooled):
    ssast.finetune(**usual(still_corpus, tmp_path / "folds", epochs=1, folds=3, batch_size=8))
    assert sorted(pooled) == [f"{number:04d}" for number in range(12)]
    pooled.clear()
    pretrained = SSASTForAudioClassification(2, "tiny", target_length=32, seed=5)
    pretrained.save_pretrained(tmp_path / "pretrained")
    start = {"pretrained_mdl_path": str(tmp_path / "pretrained"), "epochs": 1}
    ssast.finetune(**usual(still_corpus, tmp_path / "seeds", **start, seeds=2))
    assert sorted(pooled) == [f"{number:04d}" for number in range(18)]


def test_nothing_is_kept_where_that_was_asked_for(still_corpus, tmp_path, pooled):
    ssast.finetune(**usual(still_corpus, tmp_path / "run", epochs=1), features="never")
    assert pooled == []
    kept = [file for file in (tmp_path / "cache" / "files").rglob("*") if file.is_file()]
    assert all(file.stat().st_size == 64 for file in kept), "checksums of the recordings alone"


ALTERED = {name: spec.kind(1) for name, spec in SPECS.items() if spec.alters}


def keeps(corpus: Any, folder: Path, **others: Any) -> bool:
    options = resolve(mode="finetune", **usual(corpus, folder, **others))
    return finetune._is_still(options, classifier(options))


def classifier(options: Options) -> SSASTForAudioClassification:
    settings = ModelSettings.of(options)
    return classification_model(
        Paths.of(options), settings, LabelKinds.plain("BCE", ["high", "loud"]), audio_settings(options)
    )


def reader_of(options: Options) -> ClipReader:
    return ClipReader.of(RunContext.of(options), audio_settings(options))


@pytest.mark.parametrize("name", ALTERED)
def test_a_recording_that_is_altered_in_training_is_not_pooled_once(still_corpus, tmp_path, name):
    assert not keeps(still_corpus, tmp_path, **{name: ALTERED[name]})


@pytest.mark.parametrize("others", [{"freeze": False}, {"unfreeze_last": 1}, {"lora_rank": 2}, {"features": "never"}])
def test_a_base_that_trains_is_not_pooled_once(still_corpus, tmp_path, others):
    assert keeps(still_corpus, tmp_path)
    assert not keeps(still_corpus, tmp_path, **others)


def test_every_option_of_an_augmentation_switches_it_on_or_is_the_amount_of_one():
    """What is switched on from the start, or is the amount of nothing, would be counted wrongly."""
    declared = {name: spec for name, spec in SPECS.items() if spec.group in (SPECTROGRAM, WAVEFORM)}
    assert {name for name, spec in declared.items() if spec.alters} == ALTERED.keys()
    for spec in declared.values():
        assert spec.amount_of in ALTERED or not spec.default


def test_the_amount_of_an_augmentation_alters_nothing_on_its_own(still_corpus, tmp_path):
    amounts = {name: spec.kind(3) for name, spec in SPECS.items() if spec.amount_of and (spec.high or 9) >= 3}
    assert len(amounts) > 3
    assert keeps(still_corpus, tmp_path, **amounts)


@dataclass(frozen=True)
class Blurred(Options):
    """The options of a version with an augmentation that nobody has heard of yet."""

    blur: int = option(0, "blur the spectrogram", SPECTROGRAM, unit="frames")


def test_a_new_augmentation_cannot_be_forgotten_where_states_are_kept_or_where_clips_are_altered(
    still_corpus, tmp_path, monkeypatch
):
    """It was once enough to leave it out of one of two lists: training then ran on kept states, silently without it."""
    options = resolve(mode="finetune", **usual(still_corpus, tmp_path))
    model = classifier(options)
    values = {each.name: getattr(options, each.name) for each in fields(options)}
    for blur in (0, 4):
        assert finetune._is_still(Blurred(**values, blur=blur), model) == (not blur)
    with pytest.raises(TypeError, match="blur"):  # as long as nothing does it
        reader_of(Blurred(**values, blur=4))
    reader_of(Blurred(**values))


@pytest.mark.parametrize("name", ALTERED)
def test_each_augmentation_alters_a_clip_in_training_and_never_else(still_corpus, tmp_path, name):
    value = {"freqm": 60, "timem": 30}.get(name, ALTERED[name])
    reader = reader_of(resolve(mode="finetune", **usual(still_corpus, tmp_path, **{name: value})))
    rows = Rows(still_corpus.frame(), ["high", "loud"], Location(str(still_corpus.splits / "train.csv")))

    def seen(epoch: int, *, augment: bool) -> torch.Tensor:
        data, ready = reader.dataset(rows, augment=augment), reader.prepare(augment=augment)
        dice = torch.Generator().manual_seed(epoch) if augment else None
        return ready(collate([data[0, epoch], data[1, epoch]]), dice)["fbank"]

    assert torch.equal(seen(1, augment=False), seen(2, augment=False))
    assert not torch.equal(seen(1, augment=True), seen(2, augment=True))


def made_by(corpus: Any, folder: Path, **others: Any) -> str:
    options = resolve(mode="finetune", **usual(corpus, folder, **others))
    context, model = RunContext.of(options), classifier(options)
    reader = ClipReader.of(context, audio_settings(options))
    return Pooler(reader, context.engine, model, own_states(model), True, options.cache_gb).made_by()


@pytest.mark.parametrize(
    "others",
    [
        {"seed": 1},
        {"dataset_mean": -4.0},
        {"dataset_std": 4.0},
        {"resample_rate": 8000},
        {"reduce": False},
        {"clip_length": 0.2},
        {"lib": True},
        {"target_length": 30},
        {"tstride": 1},
        {"mask_padding": True},
        {"precision": "bf16"},
    ],
    ids=lambda others: next(iter(others)),
)
def test_states_of_other_weights_sound_or_arithmetic_have_another_name(still_corpus, tmp_path, others):
    assert made_by(still_corpus, tmp_path) == made_by(still_corpus, tmp_path, epochs=7, final_dropout=0.5, layer=3)
    assert made_by(still_corpus, tmp_path) != made_by(still_corpus, tmp_path, **others)


def test_a_recording_that_changed_is_pooled_anew_and_no_other(corpus, tmp_path, pooled, record):
    ssast.finetune(**usual(corpus, tmp_path / "one", epochs=1))
    pooled.clear()
    rng = np.random.default_rng(1)
    record(corpus.audio / "0003", rng.standard_normal(8000).astype(np.float32) * 0.1, 16000)
    two = ssast.finetune(**usual(corpus, tmp_path / "two", epochs=1))
    assert pooled == ["0003"]
    agree(two, ssast.finetune(**usual(corpus, tmp_path / "three", epochs=1), features="never"), 1e-5)


def test_a_pass_that_was_killed_goes_on_from_what_it_kept(still_corpus, tmp_path, pooled, dies):
    options = usual(still_corpus, tmp_path / "killed", batch_size=4)
    with dies(FeatureStore, "keep", after=5):
        ssast.finetune(**options)
    pooled.clear()
    folder = ssast.finetune(**options)
    assert len(pooled) == 18 - 5
    other = ssast.finetune(**usual(still_corpus, tmp_path / "undisturbed", batch_size=4), features="never")
    agree(folder, other, 1e-5)


def test_a_training_that_was_killed_reaches_the_same_weights(still_corpus, tmp_path, dies):
    options = usual(still_corpus, tmp_path / "killed", save_every_seconds=0)
    with dies(train.Run, "step", after=5):
        ssast.finetune(**options)
    folder = ssast.finetune(**options)
    other = ssast.finetune(**usual(still_corpus, tmp_path / "undisturbed"))
    assert (folder / "model.safetensors").read_bytes() == (other / "model.safetensors").read_bytes()


def test_recordings_that_cannot_be_used_are_left_out_alike(corpus, tmp_path):
    for uid in ("0001", "0007", "0014"):
        (corpus.audio / uid / "waveform.wav").write_bytes(b"no sound")
    runs = {
        name: ssast.finetune(**usual(corpus, tmp_path / name, on_bad_audio="skip", **others))
        for name, others in {"one": {}, "again": {}, "without": {"features": "never"}}.items()
    }
    for name in ("one", "again"):
        agree(runs[name], runs["without"], 1e-5)
        left_out = pd.read_csv(runs[name] / "bad_audio.csv", dtype=str)
        assert sorted(left_out["uid"]) == ["0001", "0007", "0014"]


def test_a_recording_that_cannot_be_used_ends_the_run_in_one_sentence(corpus, tmp_path):
    (corpus.audio / "0005" / "waveform.wav").write_bytes(b"no sound")
    with pytest.raises(UserError, match=r"clip 0005: .*--on_bad_audio skip"):
        ssast.finetune(**usual(corpus, tmp_path / "run"))


def test_no_usable_recording_at_all_ends_the_run_in_one_sentence(corpus, tmp_path):
    for folder in corpus.audio.iterdir():
        (folder / "waveform.wav").write_bytes(b"no sound")
    with pytest.raises(UserError, match=r"none of the 12 recordings can be used; the first: clip 00"):
        ssast.finetune(**usual(corpus, tmp_path / "run", on_bad_audio="skip"))


def test_a_cache_that_is_too_small_for_all_costs_time_and_nothing_else(still_corpus, tmp_path, pooled):
    small = usual(still_corpus, tmp_path / "small", cache_gb=1600 / 10**9)  # six clips of a narrow model
    folder = ssast.finetune(**small)
    kept = [path for path in (tmp_path / "cache" / "files").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in kept) <= 1600
    other = ssast.finetune(**usual(still_corpus, tmp_path / "not"), features="never")
    agree(folder, other, 1e-5)


def test_a_cache_that_cannot_be_written_ends_the_run_in_one_sentence(still_corpus, tmp_path):
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(UserError, match=r"cannot write the cache .* SSAST_CACHE"):
        ssast.finetune(**usual(still_corpus, tmp_path / "run"))


def test_the_option_does_not_make_another_run_of_it(still_corpus, tmp_path, capsys):
    options = usual(still_corpus, tmp_path / "run", epochs=1)
    ssast.finetune(**options)
    ssast.finetune(**options, features="never")
    assert "this run is trained already" in capsys.readouterr().out + capsys.readouterr().err


def test_nothing_of_a_run_is_held_after_it(still_corpus, tmp_path):
    ssast.finetune(**usual(still_corpus, tmp_path / "run", epochs=1))
    assert features.cache(SPECS["cache_gb"].default).folder == tmp_path / "cache"
    assert list((tmp_path / "cache" / "held").glob("*/states")) == []
