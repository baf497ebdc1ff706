"""The adapters for s3prl and for the HEAR benchmark keep to the interfaces that those document."""

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch

from ssast import SSASTForAudioClassification, SSASTForPreTraining
from ssast.adapters import hear
from ssast.adapters.s3prl import UpstreamExpert, ssast
from ssast.errors import UserError
from ssast.modes.extract import extract

SIZES = {"model_size": "tiny", "fshape": 128, "tshape": 2, "target_length": 64}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "pre"
    SSASTForPreTraining(**SIZES, mask_patch=8, seed=0).save_pretrained(path)
    return str(path)


def sound(seconds, seed=0):
    return 0.1 * torch.randn(int(16000 * seconds), generator=torch.Generator().manual_seed(seed))


def test_an_upstream_gives_every_state_padded_to_the_longest(folder):
    expert = UpstreamExpert(ckpt=folder, refresh=False)
    waves = [sound(0.3), sound(1.5, 1), sound(0.01, 2)]
    given = expert(waves)
    states = given["hidden_states"]
    assert len(states) == 14
    assert {tuple(state.shape) for state in states} == {(3, 74, 192)}
    assert given["last_hidden_state"] is states[-1]
    assert not states[3][0, 14:].any()
    assert states[3][0, 13].any()
    assert states[0][2, 0].any()
    rate = expert.get_downsample_rates("hidden_states")
    assert rate == 320
    assert abs(states[0].shape[1] - len(waves[1]) / rate) <= 1


def test_a_waveform_has_the_same_states_alone_and_beside_others(folder):
    expert = ssast(folder, None, refresh=False)
    alone, beside = (expert(waves)["hidden_states"][7][0, :14] for waves in ([sound(0.3)], [sound(0.3), sound(2.0)]))
    torch.testing.assert_close(alone, beside, atol=1e-5, rtol=0)


def test_the_states_are_those_that_extract_writes_over_time(folder, still_corpus, tmp_path):
    table = extract(
        prefix=str(still_corpus.audio),
        data_split_root=str(still_corpus.splits / "test.csv"),
        pretrained_mdl_path=folder,
        target_length=64,
        embedding_type="pt",
        layer=5,
        over_time=True,
        exp_dir=str(tmp_path),
        device="cpu",
        precision="fp32",
    )
    rows = pd.read_parquet(table)
    wave, rate = soundfile.read(still_corpus.audio / "0014" / "waveform.wav", dtype="float32")
    own = rows[rows["uid"] == "0014"]
    model = hear.load_model(folder, layer=5)
    embeddings, times = hear.get_timestamp_embeddings(torch.from_numpy(wave)[None], model)
    np.testing.assert_allclose(embeddings[0].numpy(), np.stack(own["embedding"]), atol=1e-5)
    np.testing.assert_allclose(times[0].numpy(), own["time"].to_numpy() * 1000, rtol=1e-6)
    hidden = UpstreamExpert(folder)([torch.from_numpy(wave)])["hidden_states"]
    np.testing.assert_allclose(hidden[5][0].numpy(), np.stack(own["embedding"]), atol=1e-5)
    assert rate == 16000
    assert len(wave) / rate > 0.64  # longer than the model's input, so heard in windows


@pytest.mark.parametrize("freeze", [True, False])
def test_gradients_reach_the_encoder_where_it_may_learn(folder, freeze):
    expert = UpstreamExpert(folder, freeze=freeze)
    states = expert([sound(0.3)])["hidden_states"]
    assert states[6].requires_grad is not freeze
    if not freeze:
        states[6].sum().backward()
        assert expert.steps.model.v.blocks[0].attn.qkv.weight.grad.abs().sum() > 0


def test_the_hear_interface(folder):
    model = hear.load_model(folder)
    assert isinstance(model, torch.nn.Module)
    assert (model.sample_rate, model.scene_embedding_size, model.timestamp_embedding_size) == (16000, 192, 192)
    audio = torch.stack([sound(1.0), sound(1.0, 1)])
    embeddings, times = hear.get_timestamp_embeddings(audio, model)
    assert embeddings.shape == (2, 49, 192)
    assert times.shape == (2, 49)
    steps = times.diff(dim=1)
    torch.testing.assert_close(steps, torch.full_like(steps, 20.0), atol=0.01, rtol=0)
    assert 10 <= float(times[0, 0]) <= 20
    assert not embeddings.requires_grad
    scenes = hear.get_scene_embeddings(audio, model)
    torch.testing.assert_close(scenes, embeddings.mean(1))


def test_an_embedding_is_centred_on_its_time(folder):
    """A click changes most the embeddings at its own time, before any mixing by attention."""
    model = hear.load_model(folder, layer=0)
    quiet = 1e-3 * sound(2.0)[None]
    clicked = quiet.clone()
    clicked[0, 16000] += 1.0
    (before, times), (after, _) = (hear.get_timestamp_embeddings(one, model) for one in (quiet, clicked))
    moved = (after - before).abs().sum(dim=2)[0]
    assert float((moved * times[0]).sum() / moved.sum()) == pytest.approx(1000, abs=20)


def test_a_model_for_another_rate_is_refused_by_s3prl(tmp_path):
    model = SSASTForAudioClassification(1, **SIZES, labels=["a"], frontend={"sample_rate": 8000}, seed=0)
    model.save_pretrained(tmp_path / "m")
    with pytest.raises(UserError, match="s3prl gives 16000 Hz, but this model hears 8000 Hz"):
        UpstreamExpert(str(tmp_path / "m"))
    assert hear.load_model(str(tmp_path / "m")).sample_rate == 8000


def test_both_compute_in_bf16_where_that_is_asked_for(folder):
    waves = [sound(1.0)]
    full, half, usual = (
        UpstreamExpert(folder, **how)(waves)["last_hidden_state"]
        for how in ({"precision": "fp32"}, {"precision": "bf16"}, {})
    )
    assert torch.equal(full, usual), "the default is fp32, as Python takes it"
    assert not torch.equal(full, half)
    assert half.dtype == torch.float32
    assert torch.cosine_similarity(full, half, dim=2).min() > 0.999
    heard = [hear.get_scene_embeddings(waves[0][None], hear.load_model(folder, precision=p)) for p in ("fp32", "bf16")]
    assert not torch.equal(*heard)
    assert torch.cosine_similarity(*heard).min() > 0.999


def test_gradients_reach_float32_weights_from_bf16_states(folder):
    expert = UpstreamExpert(folder, freeze=False, precision="bf16")
    expert([sound(0.3)])["hidden_states"][6].sum().backward()
    weight = expert.steps.model.v.blocks[0].attn.qkv.weight
    assert weight.dtype == weight.grad.dtype == torch.float32
    assert weight.grad.abs().sum() > 0


def test_an_unknown_precision_is_named(folder):
    for make in (hear.load_model, UpstreamExpert):
        with pytest.raises(UserError, match="precision 'fp8' is unknown"):
            make(folder, precision="fp8")
