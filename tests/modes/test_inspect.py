"""`ssast inspect` names any checkpoint, and what can be done with it; a file that cannot be read is one sentence."""

import argparse
import os
import pickle
import shutil
import zipfile

import pytest
import torch
from safetensors.torch import save_file

from ssast import cli
from ssast.model.classification import SSASTForAudioClassification
from ssast.model.pretraining import SSASTForPreTraining

SIZES = {"model_size": "tiny", "fshape": 128, "tshape": 2, "target_length": 32}


def tuned(**settings):
    return SSASTForAudioClassification(2, **{**SIZES, "task": "ft_avgtok", "seed": 0, **settings})


def numbered(state):
    """As the published code names and saves what it has fine-tuned."""
    renamed = {key.replace("head.norm", "0").replace("head.outproj", "1"): value for key, value in state.items()}
    return {f"module.{key}": value for key, value in renamed.items()}


@pytest.fixture(scope="module")
def shelf(tmp_path_factory, published_tiny):
    """A folder with a checkpoint of every kind, and some that are none."""
    root = tmp_path_factory.mktemp("shelf")
    shutil.copy(published_tiny, root / "published.pth")
    torch.save(numbered(tuned(head="published").state_dict()), root / "best_audio_model.pth")
    (root / "older").mkdir()
    torch.save(tuned(weighted=True).state_dict(), root / "older" / "model.pt")
    told = argparse.Namespace(task="ft_avgtok", target_length=32, weighted=True, target_labels=["high", "loud"])
    (root / "older" / "args.pkl").write_bytes(pickle.dumps(told))
    frontend = {"sample_rate": 16000, "mean": -4.27}
    tuned(labels=["high", "loud"], frontend=frontend, layer=5).save_pretrained(root / "own")
    (root / "own" / "thresholds.json").write_text('{"thresholds": {"high": 0.25, "loud": 0.5}}')
    SSASTForPreTraining(**SIZES, mask_patch=4, seed=0).save_pretrained(root / "pretrained")
    tuned(head="published").save_pretrained(root / "converted")
    (root / "own" / "checkpoints").mkdir()
    progress = {"epoch": 3, "step": 12, "best_epoch": 1, "best_loss": 0.5}
    state = {"key": "k", "progress": progress, "model": {"w": torch.ones(2)}, "optimizer": {"state": {}}}
    torch.save(state, root / "own" / "checkpoints" / "last.pt")
    wrapped = {"cls_token": torch.ones(1, 1, 8), "decoder_blocks.0.w": torch.ones(2), "patch_embed.w": torch.ones(2)}
    torch.save({"model": wrapped, "args": argparse.Namespace(lr=1), "epoch": 3}, root / "mae.pth")
    (root / "hf").mkdir()
    (root / "hf" / "config.json").write_text('{"model_type": "audio-spectrogram-transformer"}')
    save_file({"classifier.dense.weight": torch.ones(2, 2)}, root / "hf" / "model.safetensors")
    return root


@pytest.fixture
def told(shelf, capsys, monkeypatch):
    """What `ssast inspect` prints, and its exit code."""
    monkeypatch.chdir(shelf)

    def ask(*words):
        code = cli.main(["inspect", *map(str, words)])
        shown = capsys.readouterr()
        return code, shown.out + shown.err

    return ask


def test_a_published_file(told, shelf):
    code, said = told("published.pth")
    assert code == 0
    for fact in (
        "a pretrained model, as the authors of SSAST publish it",
        "tiny: 12 blocks of width 192, 3 heads, 2 class tokens; 5,",
        "128 mel bins x 2 frames, a step of 128 x 2",
        "64 frames, 0.64 seconds",
        "precision    float32",
        "ssast finetune --pretrained_mdl_path published.pth -i RECORDINGS -d SPLITS -l labels.txt -o OUT",
        "ssast convert published.pth OUT",
    ):
        assert fact in said


def test_the_count_and_the_digest_are_those_of_the_file(told, shelf):
    import hashlib

    _, said = told("own")
    assert f"SHA-256      {hashlib.sha256((shelf / 'own' / 'model.safetensors').read_bytes()).hexdigest()}" in said
    count = sum(
        value.numel() for value in SSASTForAudioClassification.from_pretrained(shelf / "own").state_dict().values()
    )
    assert f"{count:,} parameters" in said


def test_a_file_that_the_published_code_fine_tuned(told):
    code, said = told("best_audio_model.pth")
    assert code == 0
    for fact in (
        "fine-tuned by the published code of SSAST, or of AST",
        "its 16 patches fit 32 frames (0.32 seconds) with a step of 128 x 2, or 17 frames",
        "labels       2, without names",
        "pooled       not in the file: ft_avgtok or ft_cls",
        "LayerNorm, output layer",
        "--finetuned_mdl_path best_audio_model.pth -i RECORDINGS -d SPLITS --embedding_type pt",
    ):
        assert fact in said


def test_an_older_file_with_its_arguments(told):
    code, said = told("older/model.pt")
    assert code == 0
    for fact in (
        "fine-tuned by the earlier run.py",
        "32 frames, 0.32 seconds",
        "labels       2: high, loud",
        "ft_avgtok, the learned sum of states 0 to 12; loss BCE",
        "dense layer, output layer",
    ):
        assert fact in said


def test_own_folders(told):
    code, said = told("own")
    assert code == 0
    for fact in (
        "a model folder of ssast, fine-tuned",
        "2: high, loud",
        "ft_avgtok, state 5; loss BCE",
        "thresholds   high 0.25, loud 0.5",
        "heard as     sample_rate 16000, mean -4.27",
        "ssast evaluate --finetuned_mdl_path own",
    ):
        assert fact in said
    assert "ssast convert" not in said
    assert "model folder of ssast, pretrained" in told("pretrained")[1]
    assert "extract --finetuned_mdl_path converted -i RECORDINGS -d SPLITS --embedding_type pt" in told("converted")[1]
    assert "a model folder of ssast, fine-tuned" in told("own/model.safetensors")[1]


def test_the_state_of_a_run(told):
    code, said = told("own/checkpoints/last.pt")
    assert code == 0
    assert "the state of a training run of ssast, to go on from; not a model" in said
    assert "3 whole epochs, step 12; best epoch: 2" in said
    assert f"ssast finetune --config {os.path.join('own', 'run.yaml')}" in said


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        (
            "mae.pth",
            [
                "looks like a masked autoencoder, such as AudioMAE",
                "model.cls_token (1, 1, 8)",
                "args (argparse.Namespace)",
            ],
        ),
        (
            "hf",
            ["looks like a model of Hugging Face (audio-spectrogram-transformer)", "classifier.dense.weight (2, 2)"],
        ),
    ],
)
def test_other_peoples_models_are_none_of_these_with_what_they_hold(told, name, facts):
    code, said = told(name)
    assert code == 1
    for fact in ("none of the checkpoints that ssast knows", *facts):
        assert fact in said
    assert "what can be done" not in said


def test_weights_without_their_config_are_told_from_others(told, tmp_path, shelf):
    """They were once taken for an older file, and could then not be read."""
    for name in ("own", "pretrained"):
        shutil.copy(shelf / name / "model.safetensors", tmp_path)
        for path in (tmp_path, tmp_path / "model.safetensors"):
            code, said = told(path)
            assert (code, "whose config.json is missing or damaged" in said) == (1, True)
    (tmp_path / "config.json").write_text("{")
    assert "looks like the weights of a model folder of ssast" in told(tmp_path)[1]
    (tmp_path / "random_states_0.pkl").touch()
    assert "looks like the state that accelerate saves of a training" in told(tmp_path)[1]


def test_a_published_file_that_lacks_something_is_one_sentence(told, tmp_path, published_tiny):
    state = torch.load(published_tiny, weights_only=True)
    del state["module.v.norm.bias"]
    torch.save(state, tmp_path / "x.pth")
    code, said = told(tmp_path / "x.pth")
    assert (code, said.count("\n")) == (2, 1)
    assert "1 missing: v.norm.bias" in said


def test_a_folder_of_checkpoints_is_listed(told):
    code, said = told(".")
    assert code == 0
    for line in (
        ". is no model itself; it holds",
        "  mae.pth: none of the checkpoints that ssast knows: a masked autoencoder",
        "  own: a model folder of ssast, fine-tuned",
        "  published.pth: a pretrained model, as the authors of SSAST publish it",
    ):
        assert line in said


def test_several_are_told_one_after_the_other(told):
    code, said = told("mae.pth", "own")
    assert code == 0
    assert said.index("AudioMAE") < said.index("a model folder of ssast")


class Trap:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_file_that_would_run_code_is_described_and_runs_none(told, tmp_path):
    torch.save({"weight": torch.ones(3), "trap": Trap(tmp_path / "sprung")}, tmp_path / "x.pth")
    code, said = told(tmp_path / "x.pth")
    assert code == 1
    assert f"trap ({os.mkdir.__module__}.mkdir)" in said
    assert not (tmp_path / "sprung").exists()


def write_zip(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", "hello")


@pytest.mark.parametrize(
    ("name", "make", "said"),
    [
        ("empty.pth", lambda p: p.touch(), "it is empty"),
        ("page.pth", lambda p: p.write_text("<!DOCTYPE html><html>"), "it is a web page, as comes where a login was"),
        (
            "lfs.pth",
            lambda p: p.write_text("version https://git-lfs.github.com/spec/v1\n"),
            "it is a pointer of git-lfs",
        ),
        (
            "cut.pth",
            lambda p: p.write_bytes(b"PK\x03\x04" + bytes(900)),
            "it is a zip archive that is cut off, or none",
        ),
        ("zip.pth", write_zip, "holds 0 lists of tensors"),
        ("text.pth", lambda p: p.write_text("hello"), "is not a checkpoint that torch can read (ValueError)"),
        ("x.safetensors", lambda p: p.write_bytes(b"hello"), "cannot be read"),
        ("nothing", lambda p: p.mkdir(), "holds no checkpoint; give a file such as x.pth, or the folder of a model"),
        ("nowhere.pth", lambda p: None, "does not exist; give a checkpoint"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(told, tmp_path, name, make, said):
    make(tmp_path / name)
    code, shown = told(tmp_path / name)
    assert code == 2
    assert said in shown
    assert shown.count("\n") == 1


def test_a_folder_with_a_config_alone_is_one_sentence(told, tmp_path, shelf):
    shutil.copy(shelf / "own" / "config.json", tmp_path)
    code, shown = told(tmp_path)
    assert (code, "is no model folder: model.safetensors is missing beside its config.json" in shown) == (2, True)


def test_a_damaged_file_in_a_folder_does_not_hide_the_others(told, tmp_path, shelf):
    shutil.copy(shelf / "mae.pth", tmp_path)
    (tmp_path / "bad.pth").write_text("hello")
    code, shown = told(tmp_path)
    assert code == 1
    assert "  bad.pth: cannot be read: is not a checkpoint that torch can read" in shown
    assert "  mae.pth: none of" in shown


def test_nothing_named_is_one_sentence(told):
    assert told() == (2, "ssast: inspect needs a checkpoint; write `ssast inspect FILE`\n")


def test_a_strangers_thresholds_cannot_steer_the_terminal(told, tmp_path, shelf):
    shutil.copytree(shelf / "own", tmp_path / "own")
    (tmp_path / "own" / "thresholds.json").write_text('{"thresholds": {"\\u001b[2J\\u202eloud": 0.5}}')
    assert "thresholds   ?[2J?loud 0.5" in told(tmp_path / "own")[1]
