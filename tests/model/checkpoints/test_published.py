import os

import pytest
import torch

from ssast.errors import UserError
from ssast.model.checkpoints.published import read_checkpoint
from ssast.model.classification import SSASTForAudioClassification


@pytest.mark.parametrize(
    "sizes",
    [
        {"model_size": "tiny", "fshape": 128, "tshape": 2, "tdim": 20},
        {"model_size": "small"},
        {"model_size": "base_nokd", "tdim": 32},
        {"model_size": "tiny", "fdim": 64, "tdim": 48},
    ],
)
def test_a_published_file_says_its_own_sizes(published, sizes):
    checkpoint = read_checkpoint(published(**sizes))
    expected = {"model_size": "tiny", "fshape": 16, "tshape": 16, "tdim": 128, "fdim": 128} | sizes
    expected["target_length"], expected["num_mel_bins"] = expected.pop("tdim"), expected.pop("fdim")
    assert checkpoint.config == {"class": "SSASTForPreTraining", **expected}
    assert not any(key.startswith(("module.", "p_input", "v.head")) for key in checkpoint.state_dict)


def test_a_file_without_the_module_prefix_and_in_half_precision_is_read_too(published):
    plain = read_checkpoint(published()).state_dict
    bare = published("bare.pth", lambda state: {key.removeprefix("module."): value for key, value in state.items()})
    half = published("half.pth", lambda state: {k: v.half() if v.is_floating_point() else v for k, v in state.items()})
    assert all(torch.equal(plain[key], value) for key, value in read_checkpoint(bare).state_dict.items())
    assert {value.dtype for value in read_checkpoint(half).state_dict.values()} == {torch.float32}


def without(*names):
    return lambda state: {key: value for key, value in state.items() if not key.endswith(names)}


def with_head(state):
    return without("p_input_fdim", "p_input_tdim")(state) | {"module.mlp_head.1.weight": torch.ones(35, 192)}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (without("blocks.3.attn.qkv.bias"), "1 missing: v.blocks.3.attn.qkv.bias"),
        (without("norm1.bias"), r"12 missing: v.blocks.0.norm1.bias, .*, \.\.\."),
        (lambda state: state | {"module.extra": torch.ones(1)}, "1 unexpected: extra"),
        (
            lambda state: state | {"module.mask_embed": torch.ones(1, 1, 5)},
            r"1 of another shape: mask_embed \(1, 1, 5\) instead of \(1, 1, 192\)",
        ),
        (with_head, "is a fine-tuned model .it has mlp_head"),
        (without("p_input_tdim"), "is not an SSAST checkpoint: its 165 tensors .* lack p_input_tdim"),
        (lambda state: {"fc.weight": torch.ones(2)}, "is not an SSAST checkpoint: its 1 tensors .fc.weight"),
        (lambda state: state | {"module.v.cls_token": torch.ones(1, 1, 100)}, "none of the published sizes"),
        (lambda state: {"epoch": 3, "model": state}, "holds a dictionary with epoch, model, not a state dict"),
        (lambda state: [1, 2], "holds a list, not a state dict"),
    ],
)
def test_other_files_get_a_sentence_that_says_what_they_are(published, change, said):
    with pytest.raises(UserError, match=said):
        read_checkpoint(published(change=change))


class Trap:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_file_that_would_run_code_is_refused_and_runs_none(published, tmp_path):
    path = published(change=lambda state: state | {"trap": Trap(tmp_path / "sprung")})
    with pytest.raises(UserError, match="could run code when opened, so it was not"):
        read_checkpoint(path)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("content", [b"", b"hello, this is text", b"PK\x03\x04 cut off", b"\x80\x02}q\x00."])
def test_a_file_that_is_no_checkpoint_gets_a_sentence(tmp_path, content):
    (tmp_path / "x.pth").write_bytes(content)
    with pytest.raises(UserError, match=r"x\.pth (is not|holds)"):
        read_checkpoint(tmp_path / "x.pth")


def test_a_truncated_file_gets_a_sentence(published):
    path = published()
    path.write_bytes(path.read_bytes()[:100_000])
    with pytest.raises(UserError, match="is not a checkpoint that torch can read"):
        read_checkpoint(path)


def test_a_published_name_that_is_no_file_here_leads_to_the_function_that_fetches_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"ssast.weights\('SSAST-Tiny-Frame-400'\) fetches it and gives its path"):
        SSASTForAudioClassification.from_published("SSAST-Tiny-Frame-400", num_labels=1)


def test_a_missing_path_gets_a_sentence(tmp_path):
    with pytest.raises(UserError, match="does not exist; give a published"):
        read_checkpoint(tmp_path / "nowhere.pth")


@pytest.mark.parametrize("asked", [{"model_size": "base"}, {"fshape": 128, "tshape": 2}])
def test_sizes_asked_for_in_vain_are_named_beside_those_of_the_file(published, asked):
    name, value = next(iter(asked.items()))
    there = {"model_size": "tiny", "fshape": 16}[name]
    with pytest.raises(UserError, match=f"pretrained with {name} {there}.* but {name} {value}"):
        SSASTForAudioClassification.from_published(published(), num_labels=1, **asked)
