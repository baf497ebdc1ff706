"""`ssast convert` makes a folder that answers as the file does, and proves it, or makes none."""

import pandas as pd
import pytest
import torch

from ssast import cli
from ssast.errors import UserError
from ssast.model.checkpoints.torch_file import load_tensors
from ssast.model.classification import SSASTForAudioClassification
from ssast.model.pretraining import SSASTForPreTraining
from ssast.modes.convert import convert, prove

SIZES = {"model_size": "tiny", "fshape": 128, "tshape": 2, "target_length": 32}


@pytest.fixture(scope="module")
def finetuned(tmp_path_factory):
    """A file as the published code leaves it after fine-tuning for two labels."""
    model = SSASTForAudioClassification(2, **SIZES, task="ft_avgtok", head="published", seed=0)
    names = (("head.norm", "0"), ("head.outproj", "1"))
    state = {f"module.{key}": value for key, value in model.state_dict().items()}
    for own, theirs in names:
        state = {key.replace(own, theirs): value for key, value in state.items()}
    for head in ("v.head", "v.head_dist"):
        state |= {f"module.{head}.weight": torch.zeros(1000, 192), f"module.{head}.bias": torch.zeros(1000)}
    path = tmp_path_factory.mktemp("finetuned") / "best_audio_model.pth"
    torch.save(state, path)
    return path


def test_a_published_file_becomes_a_folder_that_pretraining_goes_on_from(published_tiny, tmp_path, capsys):
    assert cli.main(["convert", str(published_tiny), str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "160 tensors are equal bit by bit; on 2 random spectrograms the folder's outputs are within" in said
    model = SSASTForPreTraining.from_pretrained(tmp_path / "out")
    assert model.frontend["target_length"] == 64
    assert model.v.pos_embed.equal(load_tensors(published_tiny)["v.pos_embed"])
    assert "proof: 160 tensors" in (tmp_path / "out" / "run.yaml").read_text()


def test_half_precision_is_kept_to_the_bit(published_tiny, tmp_path):
    state = torch.load(published_tiny, weights_only=True)
    torch.save({k: v.half() if v.is_floating_point() else v for k, v in state.items()}, tmp_path / "half.pth")
    convert(checkpoint=str(tmp_path / "half.pth"), exp_dir=str(tmp_path / "out"))
    kept = SSASTForPreTraining.from_pretrained(tmp_path / "out").state_dict()["v.pos_embed"]
    assert kept.equal(state["module.v.pos_embed"].half().float())


def test_a_file_fine_tuned_by_the_published_code_works_in_every_mode(
    finetuned, still_corpus, tmp_path, capsys, monkeypatch
):
    """Such a file names no labels and no length, and its head has no dense layer."""
    settings = ["--task", "ft_avgtok", "--target_length", "32", "-l", str(still_corpus.label_txt)]
    assert cli.main(["convert", str(finetuned), str(tmp_path / "model"), *settings]) == 0
    model = SSASTForAudioClassification.from_pretrained(tmp_path / "model")
    assert (model.labels, model.config["head"], model.task) == (["high", "loud"], "published", "ft_avgtok")
    data = ["-i", str(still_corpus.audio), "-d", str(still_corpus.splits / "test.csv"), "--device", "cpu"]
    data += ["--precision", "fp32", "--resamples", "0"]
    for name, path, more in (("folder", tmp_path / "model", []), ("file", finetuned, settings)):
        words = [*data, "--finetuned_mdl_path", str(path), *more]
        assert cli.main(["evaluate", *words, "-o", str(tmp_path / f"{name}-scores")]) == 0
        kind = ["--embedding_type", "pt", "--dataset", "x"]
        assert cli.main(["extract", *words, *kind, "-o", str(tmp_path / f"{name}-embeddings")]) == 0
    one, other = (pd.read_csv(tmp_path / f"{name}-scores" / "predictions.csv") for name in ("folder", "file"))
    pd.testing.assert_frame_equal(one, other)
    one, other = (pd.read_parquet(next((tmp_path / f"{n}-embeddings").glob("*.pqt"))) for n in ("folder", "file"))
    pd.testing.assert_frame_equal(one, other)
    words = [*data, "--finetuned_mdl_path", str(tmp_path / "model")]
    monkeypatch.setattr("ssast.modes.attention.can_draw", lambda: False)  # pictures take half of the time
    assert cli.main(["attention", *words, "--max_clips", "1", "-o", str(tmp_path / "seen")]) == 0
    capsys.readouterr()
    assert cli.main(["extract", *words, "-o", str(tmp_path / "ft")]) == 2
    assert "embedding_type ft needs the head's dense layer" in capsys.readouterr().err


def test_labels_that_nobody_names_are_numbered(finetuned, tmp_path, capsys):
    folder = convert(checkpoint=str(finetuned), exp_dir=str(tmp_path / "out"), target_length=32)
    assert SSASTForAudioClassification.from_pretrained(folder).labels == ["label_0", "label_1"]
    said = capsys.readouterr().out
    assert "the labels are called label_0 to label_1; give --label_txt to name them" in said
    assert "warning: there is no args.pkl beside" in said
    assert "156 tensors" not in said
    assert "155 tensors are equal bit by bit" in said


def test_a_length_that_does_not_fit_leaves_nothing(finetuned, tmp_path, capsys):
    assert cli.main(["convert", str(finetuned), str(tmp_path / "out")]) == 2
    assert "such as --fstride 128 --tstride 2 --target_length 32" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["v.blocks.3.attn.qkv.weight", "mlp_head.0.bias"])
def test_a_weight_that_got_lost_on_the_way_is_noticed(finetuned, tmp_path, name):
    folder = convert(checkpoint=str(finetuned), exp_dir=str(tmp_path / "out"), target_length=32)
    model, tensors = SSASTForAudioClassification.from_pretrained(folder), load_tensors(finetuned)
    tensors[name] = tensors[name] + 1e-3
    with pytest.raises(UserError, match=f"the folder would hold another {name} than the file"):
        prove(model, tensors)


def test_a_model_that_computes_otherwise_is_noticed(finetuned, tmp_path, monkeypatch):
    """Equal weights are not enough: with another epsilon or pooling the answers differ."""
    folder = convert(checkpoint=str(finetuned), exp_dir=str(tmp_path / "out"), target_length=32, task="ft_avgtok")
    model = SSASTForAudioClassification.from_pretrained(folder)
    model.mlp_head.head.norm.eps = 0.1
    with pytest.raises(UserError, match=r"outputs would be .* off the original's formula"):
        prove(model, load_tensors(finetuned))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda p: torch.save({"fc.weight": torch.ones(2)}, p), "is none of the checkpoints that ssast knows; give"),
        (lambda p: p.write_text("<html>"), "it is a web page"),
        (lambda p: SSASTForPreTraining(**SIZES, mask_patch=4).save_pretrained(p), "is a model folder of ssast already"),
        (
            lambda p: torch.save(
                {"key": "", "progress": {"epoch": 1}, "model": {"w": torch.ones(1)}, "optimizer": {}}, p
            ),
            "is the state of a training run, not a model; finish the run",
        ),
        (lambda p: None, "does not exist; give a checkpoint"),
    ],
)
def test_what_cannot_be_converted_is_one_sentence_and_leaves_nothing(tmp_path, capsys, make, said):
    make(tmp_path / "x.pth")
    before = sorted(tmp_path.iterdir())
    assert cli.main(["convert", str(tmp_path / "x.pth"), str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before


def test_nothing_that_is_there_is_replaced(published_tiny, tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("mine")
    assert cli.main(["convert", str(published_tiny), str(tmp_path)]) == 2
    assert "is there already, and nothing is replaced" in capsys.readouterr().err
    assert [entry.name for entry in tmp_path.iterdir()] == ["mine.txt"]


def test_a_folder_must_be_named(published_tiny, capsys):
    assert cli.main(["convert", str(published_tiny)]) == 2
    assert "convert needs a folder to make; write `ssast convert FILE OUT`" in capsys.readouterr().err
