"""`ssast export`: the same model as ONNX and as Hugging Face's AST, equal in every output, or one sentence why not."""

import contextlib
import io
import json
import sys
from importlib import import_module
from importlib.util import find_spec

import numpy as np
import pytest
import torch

from ssast import cli
from ssast.adapters.hugging_face_ast import to_ast
from ssast.adapters.onnx import to_onnx
from ssast.audio.frontend import Frontend
from ssast.errors import UserError
from ssast.model.classification import SSASTForAudioClassification
from ssast.model.pretraining import SSASTForPreTraining
from ssast.modes import export

# Looked for, not imported: every worker of the tests reads this file, and one of them runs it.
NEEDED = ("onnxruntime", "transformers")
pytestmark = pytest.mark.skipif(not all(map(find_spec, NEEDED)), reason="needs the extra `export`")

SQUARE = {"model_size": "tiny", "fshape": 16, "tshape": 16, "num_mel_bins": 64, "target_length": 48}
FRAME = {"model_size": "tiny", "fshape": 64, "tshape": 2, "num_mel_bins": 64, "target_length": 16}
AUDIO = {"sample_rate": 16000, "mean": -5.0, "std": 4.0}


def classifier(sizes=SQUARE, labels=("a", "b"), **more):
    more = {"labels": list(labels), "frontend": AUDIO, "seed": 0} | more
    model = SSASTForAudioClassification(len(labels), **sizes, **more).eval()
    with torch.no_grad():  # as after training: no parameter keeps the value it started from
        for parameter in model.mlp_head.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
    return model


def fbank(model, clips):
    return torch.randn(clips, model.v.target_length, model.v.num_mel_bins, generator=torch.Generator().manual_seed(9))


def onnx(folder, **inputs):
    import onnxruntime

    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
    return [torch.from_numpy(one) for one in session.run(None, {name: value.numpy() for name, value in inputs.items()})]


def assert_answers(folder, model):
    for clips in (1, 4):
        given = fbank(model, clips)
        logits, embedding = onnx(folder, fbank=given)
        with torch.no_grad():
            kind = "wt" if model.weighted else "pt"
            torch.testing.assert_close(logits, model(given), atol=1e-4, rtol=0)
            torch.testing.assert_close(embedding, model.extract_embedding(given, kind), atol=1e-4, rtol=0)
    assert b"blocks.py" not in (folder / "model.onnx").read_bytes()  # the exporter notes where our source lies


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A fine-tuned model, the folder that `ssast export` made of its own, and what it said of errors."""
    root, model = tmp_path_factory.mktemp("exported"), classifier(FRAME)
    model.save_pretrained(root / "model")
    (root / "model" / "thresholds.json").write_text('{"thresholds": {"a": 0.25, "b": 0.5}}')
    with contextlib.redirect_stderr(io.StringIO()) as said:
        assert cli.main(["export", str(root / "model"), str(root / "out"), "--format", "onnx"]) == 0
    return model, root / "out", said.getvalue()


def test_an_onnx_file_gives_logits_and_embeddings_for_any_number_of_clips(exported):
    model, folder, _ = exported
    assert_answers(folder, model)


@pytest.mark.slow
@pytest.mark.parametrize(
    "how",
    [
        {"sizes": SQUARE | {"fstride": 10, "tstride": 10}, "weighted": True, "task": "ft_avgtok"},
        {"head": "published", "layer": 5},
    ],
    ids=["overlap, weighted", "published head"],
)
def test_an_onnx_file_of_square_patches_does_too(how, tmp_path):
    model = classifier(**how)
    to_onnx(model, tmp_path)
    assert_answers(tmp_path, model)


@pytest.mark.slow
def test_masked_padding_goes_along_as_a_second_input(tmp_path):
    model = classifier(mask_padding=True, task="ft_avgtok")
    to_onnx(model, tmp_path)
    given, frames = fbank(model, 3), torch.tensor([48, 20, 33])
    logits, _ = onnx(tmp_path, fbank=given, frames=frames)
    with torch.no_grad():
        torch.testing.assert_close(logits, model(given, frames), atol=1e-4, rtol=0)
        assert (logits - model(given, torch.full((3,), 48))).abs().max() > 1e-3


@pytest.mark.slow
def test_a_pretrained_model_gives_its_tokens(published_tiny, tmp_path, capsys):
    assert cli.main(["export", str(published_tiny), str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "tokens and embedding are within" in said
    assert "on 1 and on 3 random spectrograms" in said
    model = SSASTForPreTraining.from_published(published_tiny)
    tokens, embedding = onnx(tmp_path / "out", fbank=fbank(model, 2))
    with torch.no_grad():
        own = model.v(fbank(model, 2))[-1]
    torch.testing.assert_close(tokens, own, atol=1e-4, rtol=0)
    torch.testing.assert_close(embedding, own[:, 2:].mean(1), atol=1e-4, rtol=0)


def test_a_fine_tuned_folder_becomes_a_file_that_says_how_to_use_it(exported):
    _, folder, said = exported
    assert sorted(path.name for path in folder.iterdir()) == ["model.json", "model.onnx"]
    told = json.loads((folder / "model.json").read_text())
    assert told["labels"] == ["a", "b"]
    assert told["thresholds"] == {"a": 0.25, "b": 0.5}
    assert (told["inputs"], told["outputs"]) == (["fbank"], ["logits", "embedding"])
    assert told["frontend"] == AUDIO
    assert said == ""


def test_a_published_head_becomes_asts_with_its_labels(tmp_path):
    model = classifier(head="published")
    made = to_ast(model, tmp_path)
    assert made.remarks == ()
    other = import_module("transformers").ASTForAudioClassification.from_pretrained(tmp_path).eval()
    with torch.no_grad():
        torch.testing.assert_close(other(fbank(model, 3)).logits, model(fbank(model, 3)), atol=1e-4, rtol=0)
    assert other.config.id2label == {0: "a", 1: "b"}
    assert other.config.problem_type == "multi_label_classification"


@pytest.mark.parametrize(
    ("made_as", "reason"),
    [
        (lambda: SSASTForPreTraining(**SQUARE, mask_patch=2, seed=0), None),
        (lambda: classifier(SQUARE | {"fstride": 10, "tstride": 12}), "without this one's dense layer"),
        (lambda: classifier(head="published", task="ft_avgtok"), "this one's all patches"),
        (lambda: classifier(head="published", layer=3), "the last state alone"),
    ],
    ids=["pretrained", "dense head", "ft_avgtok", "layer 3"],
)
def test_any_other_head_stays_behind_and_the_encoder_is_equal_in_every_state(tmp_path, made_as, reason):
    model = made_as()
    made = to_ast(model, tmp_path)
    assert [reason in remark for remark in made.remarks] == ([True] if reason else [])
    other = import_module("transformers").ASTModel.from_pretrained(tmp_path).eval()
    with torch.no_grad():
        found = other(fbank(model, 2), output_hidden_states=True)
        own = model.v(fbank(model, 2))
    torch.testing.assert_close(found.last_hidden_state, own[-1], atol=1e-4, rtol=0)
    for theirs, ours in zip(found.hidden_states, own[:-1], strict=True):
        torch.testing.assert_close(theirs, ours, atol=1e-4, rtol=0)


def test_its_feature_extractor_makes_our_input(tmp_path):
    model = classifier()
    to_ast(model, tmp_path)
    extractor = import_module("transformers").AutoFeatureExtractor.from_pretrained(tmp_path)
    wave = 0.1 * np.random.default_rng(0).standard_normal(9000).astype(np.float32)
    theirs = extractor(wave, sampling_rate=16000, return_tensors="pt")["input_values"]
    ours = Frontend(num_mel_bins=64, target_length=48, mean=-5.0, std=4.0)(torch.from_numpy(wave)[None])
    # 64 bins of the extractor come from the same filters; their last digits from another Fourier transform.
    torch.testing.assert_close(theirs.float(), ours, atol=2e-3, rtol=0)


def test_another_sample_rate_has_no_extractor_and_says_so(tmp_path):
    made = to_ast(classifier(frontend=AUDIO | {"sample_rate": 8000}), tmp_path)
    assert "no preprocessor_config.json, since AST's filterbanks are made at 16000 Hz" in made.remarks[-1]
    assert not (tmp_path / "preprocessor_config.json").exists()


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"sizes": FRAME}, "its patches are 64 mel bins x 2 frames, and AST knows square ones alone"),
        ({"sizes": SQUARE | {"model_size": "base_nokd"}}, "one class token"),
        ({"mask_padding": True}, "keeps padding out of attention"),
    ],
    ids=["frame", "one token", "mask_padding"],
)
def test_what_ast_has_no_place_for_is_one_sentence_and_leaves_nothing(tmp_path, capsys, slim_nokd, how, said):
    classifier(**how).save_pretrained(tmp_path / "model")
    assert cli.main(["export", str(tmp_path / "model"), str(tmp_path / "out"), "--format", "ast"]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert "take --format onnx" in error
    assert error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_missing_package_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UserError, match=r"exporting needs onnxruntime, .* run pip install 'ssast\[export\]'"):
        to_onnx(classifier(), tmp_path)


def test_an_export_that_answers_otherwise_is_not_kept(tmp_path, monkeypatch, capsys):
    """As with another epsilon or a lost tensor: the folder is only there when the proof was."""
    classifier().save_pretrained(tmp_path / "model")
    monkeypatch.setattr("ssast.adapters.hugging_face_ast.EPS", 0.1)
    assert cli.main(["export", str(tmp_path / "model"), str(tmp_path / "out"), "--format", "ast"]) == 2
    assert "off the model, so it was not made" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "export needs a checkpoint; write `ssast export FILE OUT`"),
        (["x.pth"], "export needs a folder to make; write `ssast export FILE OUT`"),
        (["x.pth", "out", "--format", "onxx"], "--format is onxx, expected one of onnx, ast; did you mean onnx?"),
        (["nowhere.pth", "out"], "does not exist"),
    ],
)
def test_a_slip_is_one_sentence(tmp_path, monkeypatch, capsys, words, said):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["export", *words]) == 2
    assert said in capsys.readouterr().err


def test_python_may_export_too(tmp_path):
    classifier(head="published").save_pretrained(tmp_path / "model")
    folder = export.export(checkpoint=str(tmp_path / "model"), exp_dir=str(tmp_path / "out"), format="ast")
    assert sorted(path.name for path in folder.iterdir()) == [
        "config.json",
        "model.safetensors",
        "preprocessor_config.json",
    ]
