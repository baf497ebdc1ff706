"""What the loop asks of batches, and how it validates on them."""

import pytest
import torch

from ssast.engine.hardware import engine
from ssast.engine.trainable import TrainingBatches, validate

CPU = engine("cpu", "fp32")


class Guess:
    """A model whose loss is what its clips hold, and a number drawn by chance."""

    def loss(self, batch, generator=None):
        return {"loss": batch["x"].mean(), "drawn": torch.rand((), generator=generator)}


def batches(*held_out):
    return TrainingBatches(lambda epoch, start: [], lambda: held_out, 0, lambda batch, generator=None: batch)


def batch(*values):
    return {"uid": [f"clip {value}" for value in values], "x": torch.tensor(values)}


def test_batches_count_by_their_clips_and_empty_ones_not_at_all():
    found = validate(Guess(), batches(batch(1.0, 2.0, 3.0), batch(), batch(10.0)), CPU, 0, [])
    assert found["loss"] == pytest.approx(4.0)
    assert validate(Guess(), batches(batch()), CPU, 0, []) == {}


def test_chance_is_the_same_in_every_epoch_and_another_with_another_seed():
    given = batches(batch(1.0), batch(2.0))
    state = torch.get_rng_state()
    first, again, other = (validate(Guess(), given, CPU, seed, [])["drawn"] for seed in (3, 3, 4))
    assert first == again != other
    assert torch.equal(torch.get_rng_state(), state)


def test_the_loss_of_each_batch_is_noted_with_its_clips():
    seen = []
    validate(Guess(), batches(batch(1.0), batch(float("nan"), 2.0)), CPU, 0, seen)
    assert [uids for loss, uids in seen if not loss.isfinite()] == [["clip nan", "clip 2.0"]]
