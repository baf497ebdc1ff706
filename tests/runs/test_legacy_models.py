"""A fine-tuned `.pt` of the seed's own making is evaluated and extracted from as the folder of the same model is."""

import argparse
import pickle
import shutil

import pandas as pd
import pytest
import torch

from ssast import cli
from ssast.model.checkpoints.detect import detect
from ssast.model.classification import SSASTForAudioClassification
from ssast.modes.convert import model_of
from ssast.options.record import resolve
from ssast.runs.models import ModelSettings, audio_settings

MADE_WITH = {"task": "ft_avgtok", "target_length": 32, "layer": 5, "dataset_mean": -5.0, "resample_rate": 16000}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A folder with `own`, and with `older/model.pt` beside its args.pkl, of the same weights."""
    root = tmp_path_factory.mktemp("models")
    frontend = {"sample_rate": 16000, "num_mel_bins": 128, "target_length": 32, "mean": -5.0, "std": 4.5689974}
    frontend |= {"reduce": True, "clip_length": 0.0}
    kept = {"task": "ft_avgtok", "layer": 5, "target_length": 32, "frontend": frontend, "labels": ["high", "loud"]}
    model = SSASTForAudioClassification(2, "tiny", **kept, seed=0)
    model.save_pretrained(root / "own")
    (root / "older").mkdir()
    torch.save({f"module.{name}": value for name, value in model.state_dict().items()}, root / "older" / "model.pt")
    arguments = argparse.Namespace(**MADE_WITH, target_labels=["high", "loud"], bucket_name=None, epochs=20)
    (root / "older" / "args.pkl").write_bytes(pickle.dumps(arguments))
    return root


@pytest.fixture
def command(still_corpus, tmp_path):
    def words(mode, model, out, *more):
        data = ["-i", str(still_corpus.audio), "-d", str(still_corpus.splits / "test.csv"), "--device", "cpu"]
        data += ["--precision", "fp32", "--resamples", "0"]
        return [mode, *data, "--finetuned_mdl_path", str(model), "-o", str(tmp_path / out), *more]

    return words


def test_its_scores_are_those_of_the_folder(models, command, tmp_path, still_corpus, capsys):
    labels = ["-l", str(still_corpus.label_txt)]
    assert cli.main(command("evaluate", models / "own", "own", *labels)) == 0
    assert cli.main(command("evaluate", models / "older" / "model.pt", "older", *labels)) == 0
    shown = capsys.readouterr().out
    assert "model.pt is taken as" in shown
    assert "args.pkl says: task ft_avgtok, layer 5, weighted False, target_length 32" in shown
    for name in ("predictions.csv", "aucs.csv"):
        assert (tmp_path / "own" / name).read_bytes() == (tmp_path / "older" / name).read_bytes()


@pytest.mark.parametrize("kind", ["ft", "pt"])
def test_its_embeddings_are_those_of_the_folder(models, command, tmp_path, kind):
    more = ("--embedding_type", kind, "--dataset", "x")
    assert cli.main(command("extract", models / "own", "own", *more)) == 0
    assert cli.main(command("extract", models / "older" / "model.pt", "older", *more)) == 0
    own, older = (pd.read_parquet(next((tmp_path / out).glob("x*.pqt"))) for out in ("own", "older"))
    pd.testing.assert_frame_equal(own, older)


def test_without_args_the_current_options_serve_with_a_warning(models, command, tmp_path, capsys):
    bare = tmp_path / "model.pt"
    bare.write_bytes((models / "older" / "model.pt").read_bytes())
    assert cli.main(command("extract", bare, "wrong", "--embedding_type", "pt")) == 2
    assert "has positions for 16 patches" in capsys.readouterr().err
    options = [word for name, value in MADE_WITH.items() for word in (f"--{name}", str(value))]
    assert cli.main(command("extract", bare, "bare", "--embedding_type", "pt", "--dataset", "x", *options)) == 0
    assert "warning: there is no args.pkl beside" in capsys.readouterr().out
    assert cli.main(command("extract", models / "own", "own", "--embedding_type", "pt", "--dataset", "x")) == 0
    own, older = (pd.read_parquet(next((tmp_path / out).glob("x*.pqt"))) for out in ("own", "bare"))
    pd.testing.assert_frame_equal(own, older)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"task": "pretrain_joint"}, "task is pretrain_joint, expected ft_cls or ft_avgtok"),
        ({"layer": 99}, "layer is 99, expected a whole number from -1 to 13"),
        ({"target_length": "long"}, "target_length is long, expected a whole number"),
        ({"target_labels": ["a"]}, "was fine-tuned for 2 labels, but 1 are named"),
        ({"dataset_std": 0}, "dataset_std is 0"),
    ],
)
def test_arguments_that_cannot_be_are_one_sentence(models, command, tmp_path, capsys, change, said):
    (tmp_path / "model.pt").write_bytes((models / "older" / "model.pt").read_bytes())
    (tmp_path / "args.pkl").write_bytes(pickle.dumps(argparse.Namespace(**{**MADE_WITH, **change})))
    assert cli.main(command("extract", tmp_path / "model.pt", "out")) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("label", ["\x1b[2J", "", "x" * 201])
def test_a_label_in_arguments_that_no_label_file_can_hold_is_one_sentence(models, command, tmp_path, capsys, label):
    (tmp_path / "model.pt").write_bytes((models / "older" / "model.pt").read_bytes())
    told = {**MADE_WITH, "target_labels": ["high", label]}
    (tmp_path / "args.pkl").write_bytes(pickle.dumps(argparse.Namespace(**told)))
    assert cli.main(command("extract", tmp_path / "model.pt", "out")) == 2
    assert "expected one line of 1 to 200 characters" in capsys.readouterr().err


def test_a_model_that_is_read_for_another_tool_takes_the_labels_that_were_given(models, tmp_path):
    """For a while `ssast export` passed --label_txt over."""
    shutil.copy(models / "older" / "model.pt", tmp_path / "model.pt")  # without its arguments
    (tmp_path / "labels.txt").write_text("first\nsecond\n")
    given = {"label_txt": str(tmp_path / "labels.txt"), "target_length": 32, "task": "ft_avgtok", "layer": 5}
    settings = resolve(mode="convert", checkpoint=str(tmp_path / "model.pt"), exp_dir=str(tmp_path / "out"), **given)
    found = detect(str(tmp_path / "model.pt"))
    assert model_of(found, ModelSettings.of(settings), audio_settings(settings)).labels == ["first", "second"]


@pytest.mark.parametrize("change", [{"target_length": "long"}, {"layer": "\x1b[2J"}, {"loss": 5}, {"fstride": -1}])
def test_inspect_checks_the_same_arguments(models, tmp_path, capsys, change):
    """It ended in a traceback where target_length was a word."""
    (tmp_path / "model.pt").write_bytes((models / "older" / "model.pt").read_bytes())
    (tmp_path / "args.pkl").write_bytes(pickle.dumps(argparse.Namespace(**{**MADE_WITH, **change})))
    assert cli.main(["inspect", str(tmp_path / "model.pt")]) == 2
    assert f"{next(iter(change))} is" in capsys.readouterr().err
