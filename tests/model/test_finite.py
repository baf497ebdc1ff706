"""NaN, infinity and absurd numbers are found where weights come in, where a model is saved and where answers leave."""

import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from ssast.adapters.embedding import embedding_model
from ssast.data.storage.download import _admit
from ssast.errors import AudioError, UserError
from ssast.model.checkpoints.legacy import read_legacy
from ssast.model.checkpoints.model_folder import read_hub
from ssast.model.checkpoints.published import read_checkpoint
from ssast.model.classification import SSASTForAudioClassification
from ssast.model.finite import check_answers, fault
from ssast.model.pretraining import SSASTForPreTraining

SIZES = {"model_size": "tiny", "fshape": 16, "tshape": 16, "num_mel_bins": 32, "target_length": 32}
BAD = {
    "nan": r"NaN \(1 of its",
    "inf": r"infinity \(1 of its",
    "-1e30": r"the number -1e\+30, and no trained weight is",
}


def poison(tensor: torch.Tensor, value: str) -> torch.Tensor:
    bad = tensor.clone()
    bad.view(-1)[-1] = float(value)
    return bad


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "tuned"
    SSASTForAudioClassification(1, **SIZES, labels=["a"], seed=0).save_pretrained(folder)
    return folder


def damaged(folder, place, value, name="v.blocks.3.mlp.fc1.weight"):
    shutil.copytree(folder, place)
    state = load_file(place / "model.safetensors")
    save_file(state | {name: poison(state[name], value)}, place / "model.safetensors")
    return place


@pytest.mark.parametrize(("value", "said"), BAD.items(), ids=BAD)
def test_a_model_folder_with_one_bad_number_is_refused_by_the_name_of_its_tensor(tuned, tmp_path, value, said):
    place = damaged(tuned, tmp_path / "bad", value)
    with pytest.raises(UserError, match=rf"of .*bad cannot be used: v\.blocks\.3\.mlp\.fc1\.weight holds {said}"):
        SSASTForAudioClassification.from_pretrained(place)
    with pytest.raises(UserError, match=said):  # as a pretrained model to start from, too
        SSASTForAudioClassification.from_published(place, num_labels=2)
    with pytest.raises(UserError, match=said):
        embedding_model(place)


@pytest.mark.parametrize("name", ["mlp_head.head.outproj.bias", "weightsum"])
def test_a_bad_number_in_the_head_or_the_layer_weights_is_found(tmp_path, name):
    SSASTForAudioClassification(1, **SIZES, weighted=True, seed=0).save_pretrained(tmp_path / "model")
    with pytest.raises(UserError, match=name):
        SSASTForAudioClassification.from_pretrained(damaged(tmp_path / "model", tmp_path / "bad", "nan", name))


def test_a_model_from_the_hub_is_looked_at(tuned, tmp_path, monkeypatch):
    place = damaged(tuned, tmp_path / "bad", "nan")
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda name, filename, **_: place / filename)
    monkeypatch.setattr("ssast.model.checkpoints.model_folder._hub_text", lambda *_: None)
    with pytest.raises(UserError, match="weights of clinic/model cannot be used"):
        read_hub("clinic/model")


def test_a_published_file_is_looked_at_and_not_taken_into_the_cache(published, tmp_path):
    key = "module.v.blocks.0.attn.qkv.weight"
    path = published(change=lambda state: state | {key: poison(state[key], "inf")})
    with pytest.raises(UserError, match=r"v\.blocks\.0\.attn\.qkv\.weight holds infinity"):
        read_checkpoint(path)
    with pytest.raises(UserError, match="is not SSAST-Tiny-Patch-400: the weights of it cannot be used"):
        _admit(path, "SSAST-Tiny-Patch-400", "there")


def test_an_older_file_in_double_precision_whose_number_is_none_in_float32_is_refused(tuned, tmp_path):
    state = {name: value.double() for name, value in load_file(tuned / "model.safetensors").items()}
    state["v.norm.bias"] = poison(state["v.norm.bias"], "1e300")
    torch.save(state, tmp_path / "older.pt")
    settings = {name: SIZES[name] for name in ("num_mel_bins", "target_length")} | {"weighted": False}
    with pytest.raises(UserError, match=r"v\.norm\.bias holds infinity"):
        read_legacy(tmp_path / "older.pt", settings)


@pytest.mark.parametrize("value", BAD)
def test_a_model_that_nobody_could_load_is_not_saved(tmp_path, value):
    model = SSASTForPreTraining(**SIZES, seed=0)
    model.mask_embed.data.view(-1)[0] = float(value)
    with pytest.raises(UserError, match="mask_embed holds"):
        model.save_pretrained(tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_sound_weights_and_empty_tensors_have_no_fault():
    named = {"none": torch.empty(0), "whole": torch.arange(3), "large": torch.tensor([1e30, -1e30])}
    assert fault(named.items()) == ""


@pytest.mark.parametrize(("value", "kind"), [("nan", "NaN"), ("inf", "infinite"), ("-inf", "infinite")])
@pytest.mark.parametrize("shape", [(3,), (3, 2), (3, 2, 4)])
def test_the_clip_whose_answer_is_not_finite_is_named_and_others_are_not(value, kind, shape):
    answers = torch.zeros(shape)
    answers[1].view(-1)[-1] = float(value)
    with pytest.raises(AudioError, match=f"answer is {kind} for the clip b, since") as caught:
        check_answers(["a", "b", "c"], answers)
    assert "more clips" not in str(caught.value)


def test_the_windows_of_one_recording_are_named_once():
    with pytest.raises(AudioError, match=r"for the clip a \(and for 1 more\)"):
        check_answers(["a", "a", "b"], torch.full((3, 2), torch.nan))


@pytest.mark.parametrize("kind", [torch.int8, torch.bool], ids=str)
def test_weights_of_another_kind_than_floating_point_are_refused(tuned, published, tmp_path, kind):
    """A quantised copy without its scales was taken as it stood, and its scores were those of no model."""
    said = "holds numbers of the kind " + str(kind).removeprefix("torch.")
    state = {name: value.to(kind) for name, value in load_file(tuned / "model.safetensors").items()}
    shutil.copytree(tuned, tmp_path / "folder")
    save_file(state, tmp_path / "folder" / "model.safetensors")
    with pytest.raises(UserError, match=said):
        SSASTForAudioClassification.from_pretrained(tmp_path / "folder")
    torch.save(state, tmp_path / "older.pt")
    settings = {name: SIZES[name] for name in ("num_mel_bins", "target_length")} | {"weighted": False}
    with pytest.raises(UserError, match=said):
        read_legacy(tmp_path / "older.pt", settings)
    key = "module.v.blocks.0.attn.qkv.weight"
    with pytest.raises(UserError, match=said):
        read_checkpoint(published(change=lambda state: state | {key: state[key].to(kind)}))
