"""Low-rank additions: nothing changes when they come, and nothing when they are taken into the weights."""

import sys

import pytest
import torch

from ssast import SSASTForAudioClassification
from ssast.errors import UserError
from ssast.model.lora import add_lora, merge_lora

pytestmark = pytest.mark.usefixtures("narrow")

SIZES = {"model_size": "tiny", "num_mel_bins": 32, "fshape": 32, "tshape": 4, "target_length": 32}


@pytest.fixture
def model():
    return SSASTForAudioClassification(2, **SIZES, seed=0).train()


def learn(model, fbank):
    learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(learned, lr=0.01)
    for _ in range(3):
        optimizer.zero_grad()
        model.loss({"fbank": fbank, "targets": torch.tensor([[1.0, 0.0], [0.0, 1.0]])})["loss"].backward()
        optimizer.step()


def test_they_start_without_effect_learn_and_merge_without_a_change(model):
    fbank = torch.randn(2, 32, 32, generator=torch.Generator().manual_seed(1))
    names = set(model.state_dict())
    before = model.hidden_states(fbank)[-1].detach()
    add_lora(model.v, rank=2, alpha=4, seed=0)
    assert torch.equal(model.hidden_states(fbank)[-1], before)
    learned = {name for name, parameter in model.v.named_parameters() if parameter.requires_grad}
    assert learned
    assert all("lora_" in name and ".attn." in name for name in learned)
    learn(model, fbank)
    after = model.hidden_states(fbank)[-1].detach()
    assert not torch.allclose(after, before, atol=1e-3)
    merge_lora(model.v)
    assert set(model.state_dict()) == names
    assert torch.allclose(model.hidden_states(fbank)[-1], after, atol=1e-5)


def test_the_seed_makes_them(model):
    def first(seed):
        fresh = SSASTForAudioClassification(2, **SIZES, seed=0)
        add_lora(fresh.v, rank=2, alpha=4, seed=seed)
        return next(parameter for name, parameter in fresh.v.named_parameters() if "lora_A" in name)

    assert torch.equal(first(1), first(1))
    assert not torch.equal(first(1), first(2))


def test_an_encoder_without_any_is_left_alone(model):
    before = dict(model.named_parameters())
    merge_lora(model.v)
    assert dict(model.named_parameters()) == before


def test_without_peft_the_extra_is_named(model, monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(UserError, match=r"pip install 'ssast\[lora\]'"):
        add_lora(model.v, rank=2, alpha=4)


@pytest.mark.parametrize(
    ("layer", "blocks", "trained", "norm"),
    [(-1, 2, {10, 11}, True), (6, 2, {4, 5}, False), (1, 3, {0}, False), (12, 1, {11}, False)],
)
def test_the_last_blocks_that_the_layer_needs_can_train_in_a_frozen_base(layer, blocks, trained, norm):
    model = SSASTForAudioClassification(2, **SIZES, layer=layer, seed=0).train()
    model.unfreeze_last(blocks)
    learned = {name for name, parameter in model.v.named_parameters() if parameter.requires_grad}
    assert {int(name.split(".")[1]) for name in learned if name.startswith("blocks.")} == trained
    assert ("norm.weight" in learned) is norm
    assert not {"cls_token", "pos_embed"} & learned
    fbank = torch.randn(2, 32, 32, generator=torch.Generator().manual_seed(1))
    kept, changed = model.v.blocks[max(trained)].mlp.fc1.weight.clone(), model.v.pos_embed.clone()
    learn(model, fbank)
    assert not torch.equal(model.v.blocks[max(trained)].mlp.fc1.weight, kept)
    assert torch.equal(model.v.pos_embed, changed)


def test_a_yes_can_count_for_more(model):
    fbank = torch.randn(2, 32, 32, generator=torch.Generator().manual_seed(1))
    batch = {"fbank": fbank, "targets": torch.ones(2, 2)}
    model.eval()
    plain = model.loss(batch)["loss"]
    model.weigh_positives([3.0, 3.0])
    assert model.loss(batch)["loss"].item() == pytest.approx(3 * plain.item(), rel=1e-5)
    assert "pos_weight" not in model.state_dict()
    with pytest.raises(UserError, match="MSE"):
        SSASTForAudioClassification(2, **SIZES, loss="MSE", seed=0).weigh_positives([1.0, 1.0])
