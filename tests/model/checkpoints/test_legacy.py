"""A fine-tuned `.pt` of the seed's own making, with or without its args.pkl, becomes a model; nothing is executed."""

import argparse
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from ssast.errors import UserError
from ssast.model import reference
from ssast.model.checkpoints.legacy import is_legacy, lengths_for, read_arguments, read_legacy
from ssast.model.checkpoints.torch_file import load_tensors
from ssast.model.classification import SSASTForAudioClassification

SIZES = {"model_size": "tiny", "fshape": 128, "tshape": 2, "num_mel_bins": 128, "target_length": 32}
SETTINGS = {"task": "ft_avgtok", "num_mel_bins": 128, "target_length": 32, "labels": ["a", "b"]}
ARGUMENTS = {"task": "ft_avgtok", "layer": -1, "freeze": True, "final_dropout": 0.2, "labels": ["a", "b"], "no": None}


def model(**settings):
    return SSASTForAudioClassification(**{**SIZES, "num_labels": 2, "task": "ft_avgtok", "seed": 0, **settings}).eval()


def older_state(of, prefix="module."):
    """Its state as the seed's program saves it: the image model's heads are still there."""
    state = {prefix + key: value for key, value in of.state_dict().items()}
    for head in ("v.head", "v.head_dist"):
        state |= {f"{prefix}{head}.weight": torch.ones(1000, 192), f"{prefix}{head}.bias": torch.ones(1000)}
    return state


@pytest.fixture
def saved(tmp_path):
    """A function that saves a state and returns the path."""

    def save(state, name="x_epoch1_ast_mdl.pt"):
        torch.save(state, tmp_path / name)
        return tmp_path / name

    return save


def loaded(path, **settings):
    return SSASTForAudioClassification.from_checkpoint(read_legacy(path, {**SETTINGS, **settings}))


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("layernorm", [True, False])
def test_an_older_file_gives_the_logits_of_its_model(saved, noise, prefix, layernorm):
    before = model(layernorm=layernorm)
    after = loaded(saved(older_state(before, prefix)))
    fbank = noise(2, 32, 128)
    assert after(fbank).equal(before(fbank))
    assert after.labels == ["a", "b"]


def test_a_file_written_before_torch_1_6_is_read_too(tmp_path, noise):
    before = model()
    torch.save(older_state(before), tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    fbank = noise(1, 32, 128)
    assert loaded(tmp_path / "old.pt")(fbank).equal(before(fbank))


def test_trained_layer_weights_are_used_and_untrained_ones_are_not_unless_asked_for(saved):
    before = model(weighted=True)
    plain = saved(older_state(before))
    assert not loaded(plain, weighted=None).weighted
    assert loaded(plain, weighted=True).weighted
    with torch.no_grad():
        before.weightsum += torch.linspace(-0.1, 0.1, 13)
    trained = saved(older_state(before), "trained.pt")
    after = loaded(trained, weighted=None)
    assert after.weighted
    assert after.weightsum.equal(before.weightsum)
    assert not loaded(trained, weighted=False).weighted
    with pytest.raises(UserError, match="has no weightsum, but --weighted True"):
        loaded(saved(older_state(model()), "without.pt"), weighted=True)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"target_length": 1024}, "has positions for 16 patches, but .*target_length 1024.* make 512; give --target"),
        ({"labels": ["a", "b", "c"]}, r"was fine-tuned for 2 labels, but 3 are named \(a, b, c\)"),
        ({"num_mel_bins": 100}, "less than the 128 mel bins of one patch"),
    ],
)
def test_settings_that_contradict_the_file_are_one_sentence(saved, settings, said):
    with pytest.raises(UserError, match=said):
        loaded(saved(older_state(model())), **settings)


def without(ending):
    return lambda state: {key: value for key, value in state.items() if not key.endswith(ending)}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (without("dense.weight"), "is no fine-tuned SSAST model: its .* tensors lack mlp_head.head.dense.weight"),
        (lambda state: {"p_input_fdim": torch.tensor(1)}, "is a pretrained model"),
        (lambda state: {**state, "module.v.cls_token": torch.ones(1, 1, 7)}, "none of the published sizes"),
        (without("blocks.3.norm1.bias"), "1 missing: v.blocks.3.norm1.bias"),
        (lambda state: {**state, "extra": torch.ones(1)}, "1 unexpected: extra"),
        (lambda state: {"model": state}, "holds a dictionary with model"),
    ],
)
def test_files_that_are_no_fine_tuned_model_are_one_sentence(saved, change, said):
    with pytest.raises(UserError, match=said):
        loaded(saved(change(older_state(model()))))


def test_a_missing_file_is_one_sentence(tmp_path):
    with pytest.raises(UserError, match="does not exist; give --finetuned_mdl_path"):
        loaded(tmp_path / "nowhere.pt")


def test_a_single_file_is_told_from_a_folder():
    assert is_legacy("a/b.pt")
    assert is_legacy("b.PTH")
    assert not is_legacy("a/model")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("kind", [lambda values: argparse.Namespace(**values), dict])
def test_arguments_are_read_from_every_protocol(tmp_path, protocol, kind):
    (tmp_path / "args.pkl").write_bytes(pickle.dumps(kind(ARGUMENTS), protocol))
    assert read_arguments(tmp_path / "args.pkl") == ARGUMENTS


def test_paths_are_passed_over_and_other_things_refused(tmp_path):
    place = tmp_path / "args.pkl"
    place.write_bytes(pickle.dumps(argparse.Namespace(exp_dir=Path("x"), epochs=3)))
    assert read_arguments(place) == {"epochs": 3}
    plain = pickle.dumps(argparse.Namespace(exp_dir=Path("x"), epochs=3), protocol=0)
    for module in (b"pathlib", b"pathlib._local"):  # the second is how Python 3.13 calls it
        place.write_bytes(re.sub(rb"pathlib(\._local)?\n", module + b"\n", plain))
        assert read_arguments(place) == {"epochs": 3}
    for strange in (np.float32(3), torch.device("cpu"), print):
        place.write_bytes(pickle.dumps(argparse.Namespace(strange=strange)))
        with pytest.raises(UserError, match=r"args.pkl asks for \S+ and could run code when opened, so it was not"):
            read_arguments(place)


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"\x80\x04", pickle.dumps([1]), pickle.dumps(3), pickle.dumps(b"x" * (1 << 21))]
)
def test_what_is_no_record_of_arguments_is_one_sentence(tmp_path, content):
    (tmp_path / "args.pkl").write_bytes(content)
    with pytest.raises(UserError, match="is not the record of an older fine-tuning"):
        read_arguments(tmp_path / "args.pkl")


def published_head(state):
    """The state as the published code names it: its head has no dense layer, and numbers."""
    numbered = {"mlp_head.head.norm": "mlp_head.0", "mlp_head.head.outproj": "mlp_head.1"}
    for own, theirs in numbered.items():
        state = {key.replace(own, theirs): value for key, value in state.items()}
    return state


@pytest.mark.parametrize("task", ["ft_cls", "ft_avgtok"])
def test_a_file_fine_tuned_by_the_published_code_gives_its_logits(saved, noise, task):
    before = model(head="published", task=task)
    path = saved(published_head(older_state(before)), "best_audio_model.pth")
    after = loaded(path, task=task)
    fbank = noise(2, 32, 128)
    assert after(fbank).equal(before(fbank))
    tensors = load_tensors(path)
    with torch.no_grad():
        states = reference.reference_states(tensors, fbank, heads=3, stride=(128, 2))
        expected = reference.logits(tensors, states, task=task, layer=-1, weighted=False, activation="relu")
    assert (after(fbank) - expected).abs().max() < 1e-5
    assert after.config["head"] == "published"
    with pytest.raises(UserError, match="embedding_type ft needs the head's dense layer, and the head of this model"):
        after.extract_embedding(fbank, "ft")
    assert after.extract_embedding(fbank, "pt").shape == (2, 192)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("activation", ["relu", "gelu", "silu", "tanh"])
def test_logits_of_an_older_head_are_those_of_its_formula(saved, noise, activation, weighted):
    before = model(activation=activation, weighted=weighted, layer=5)
    tensors = load_tensors(saved(older_state(before)))
    fbank = noise(2, 32, 128)
    with torch.no_grad():
        states = reference.reference_states(tensors, fbank, heads=3, stride=(128, 2))
        settings = {"task": "ft_avgtok", "layer": 5, "weighted": weighted, "activation": activation}
        assert (before(fbank) - reference.logits(tensors, states, **settings)).abs().max() < 1e-5


@pytest.mark.parametrize(
    ("patches", "shape", "fitting"),
    [
        (512, (128, 2), [(128, 2, 1024), (128, 1, 513)]),
        (1212, (16, 16), [(10, 10, 1024)]),
        (512, (16, 16), [(16, 16, 1024)]),
        (7, (16, 16), []),
    ],
)
def test_the_lengths_that_make_so_many_patches_are_named(patches, shape, fitting):
    assert [tuple(one.values()) for one in lengths_for(patches, *shape)] == fitting


def test_settings_that_do_not_fit_the_positions_come_with_some_that_do(saved):
    path = saved(published_head(older_state(model(head="published"))))
    with pytest.raises(UserError, match="such as --fstride 128 --tstride 2 --target_length 32 or --fstride 128 --tst"):
        loaded(path, target_length=1024)
