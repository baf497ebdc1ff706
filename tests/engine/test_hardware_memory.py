"""The number of clips that a device can train on at once."""

import pytest
import torch

from ssast import SSASTForAudioClassification, SSASTForPreTraining
from ssast.engine.hardware import clips_that_fit, engine, held_beside
from ssast.errors import UserError

SIZES = {"model_size": "tiny", "num_mel_bins": 32, "fshape": 32, "tshape": 4, "target_length": 32, "seed": 0}


def with_room_for(model, clips):
    """The model on a device whose memory ends after so many clips, and what was tried."""
    whole, tried = model.loss, []

    def loss(batch, generator=None):
        tried.append(len(batch["fbank"]))
        if tried[-1] > clips:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return whole(batch, generator)

    model.loss = loss
    return tried


@pytest.mark.parametrize(
    ("room", "found", "tries"), [(12, 12, [12]), (5, 3, [12, 6, 3, 3]), (1, 1, [12, 6, 3, 2, 1, 1])]
)
def test_clips_are_halved_until_they_fit(room, found, tries):
    """A batch in pieces is tried with two: the second finds the gradients of the first in memory."""
    model = SSASTForPreTraining(**SIZES, mask_patch=3)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    tried = with_room_for(model, room)
    assert clips_that_fit(model, 12, engine("cpu", "fp32")) == found
    assert tried == tries
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(torch.get_rng_state(), state)


def test_a_device_without_room_for_one_clip_is_named():
    model = SSASTForAudioClassification(2, **SIZES, freeze=False)
    with_room_for(model, 0)
    with pytest.raises(UserError, match="does not hold a training step of one clip; give a smaller --model_size"):
        clips_that_fit(model, 2, engine("cpu", "fp32"))


@pytest.mark.parametrize("freeze", [True, False])
def test_the_means_of_adam_are_counted_for_what_is_trained(freeze):
    """They were left out, so a run could end in its first step with the number of clips that had fit."""
    model = SSASTForAudioClassification(2, **SIZES, freeze=freeze)
    trained = [one for one in model.parameters() if one.requires_grad]
    optimizer = torch.optim.Adam(trained)
    for parameter in trained:
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    means = [state[name] for state in optimizer.state.values() for name in ("exp_avg", "exp_avg_sq")]
    held = held_beside(model, torch.device("cpu"))
    assert sum(one.nbytes for one in held) == sum(one.nbytes for one in means) > 0


def test_what_does_not_fit_beside_the_means_of_adam_does_not_fit(monkeypatch):
    def full(model, device):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("ssast.engine.hardware.held_beside", full)
    with pytest.raises(UserError, match="does not hold a training step of one clip"):
        clips_that_fit(SSASTForPreTraining(**SIZES, mask_patch=3), 2, engine("cpu", "fp32"))
