"""The training loop: what it keeps, what it repeats to the byte, and how it stops."""

import json
import os
import signal

import pytest
import torch
from torch import nn

from ssast.engine.checkpoint import read_state
from ssast.engine.hardware import engine
from ssast.engine.optimise import Recipe
from ssast.engine.train import Feed, train
from ssast.errors import Interrupted, UserError

DATA = torch.randn(24, 6, generator=torch.Generator().manual_seed(1))
TARGET = DATA @ torch.arange(6.0)


class Toy(nn.Module):
    """A regression with dropout and chance of its own, so that a wrong generator shows."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.frozen = nn.Linear(6, 6)
        self.frozen.requires_grad_(False)
        self.out = nn.Sequential(nn.Linear(6, 8), nn.Dropout(0.3), nn.Linear(8, 1))

    def loss(self, batch, generator=None):
        noise = torch.rand(len(batch["uid"]), generator=generator) if self.training else 0.0
        error = self.out(self.frozen(batch["x"]))[:, 0] + noise - batch["y"]
        return {"loss": error.square().mean(), "error": error.abs().mean().detach()}


def batches(rows, size=4):
    for start in range(0, len(rows), size):
        part = rows[start : start + size]
        yield {"uid": [str(int(row)) for row in part], "x": DATA[part], "y": TARGET[part]}


def feed(stop_at=None, on_stop=None, validation=True):
    def training(epoch, start):
        order = torch.randperm(16, generator=torch.Generator().manual_seed(epoch))
        for index, batch in enumerate(batches(order)):
            if (epoch, index) == stop_at:
                on_stop()
            if index >= start:
                yield batch

    held_out = torch.arange(16, 24) if validation else torch.arange(0)
    return Feed(training, lambda: batches(held_out), 4, lambda batch, generator=None: batch)


def run(folder, recipe=None, **kwargs):
    model = Toy()
    outcome = train(model, feed(**kwargs), recipe or RECIPE, folder, engine("cpu", "fp32"), key="a")
    return model, outcome


RECIPE = Recipe(
    epochs=3, learning_rate=0.05, optim="adamw", scheduler="onecycle", max_lr=0.05, seed=5, save_every_seconds=0.0
)


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def test_two_runs_with_one_seed_give_byte_equal_weights_and_another_seed_gives_others(tmp_path):
    first, _ = run(tmp_path / "1")
    second, _ = run(tmp_path / "2")
    other, _ = run(tmp_path / "3", Recipe(epochs=3, learning_rate=0.05, seed=6))
    assert same(first, second)
    assert not same(first, other)


@pytest.mark.parametrize("stop_at", [(0, 1), (1, 0), (1, 3), (2, 2)])
def test_a_run_that_broke_off_goes_on_to_the_weights_of_an_undisturbed_run(tmp_path, stop_at):
    undisturbed, _ = run(tmp_path / "whole")

    def die():
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        run(tmp_path / "cut", stop_at=stop_at, on_stop=die)
    resumed, outcome = run(tmp_path / "cut")
    assert same(undisturbed, resumed)
    assert outcome.steps < 12
    whole, cut = ((tmp_path / name / "log.jsonl").read_text().splitlines() for name in ("whole", "cut"))
    drop = "clips_per_second"
    assert [{**json.loads(line), drop: 0} for line in cut] == [{**json.loads(line), drop: 0} for line in whole]


def test_sigterm_saves_the_state_and_leaves(tmp_path):
    with pytest.raises(Interrupted, match="after step 6"):
        run(tmp_path, stop_at=(1, 1), on_stop=lambda: os.kill(os.getpid(), signal.SIGTERM))
    assert read_state(tmp_path / "checkpoints" / "last.pt")["progress"]["step"] == 6
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_the_frozen_part_stays_and_is_not_in_the_checkpoint(tmp_path):
    before = Toy()
    model, _ = run(tmp_path)
    assert torch.equal(before.frozen.weight, model.frozen.weight)
    assert not any(name.startswith("frozen") for name in read_state(tmp_path / "checkpoints" / "last.pt")["model"])


def test_the_weights_left_in_the_model_are_those_of_the_best_epoch(tmp_path):
    rising = Recipe(epochs=4, learning_rate=3.0, seed=1)  # far too high: later epochs are worse
    model, outcome = run(tmp_path, rising)
    losses = [json.loads(line)["validation_loss"] for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert outcome.best_epoch == losses.index(min(losses))
    best = read_state(tmp_path / "checkpoints" / "best.pt")["model"]
    assert torch.equal(best["out.0.weight"], model.out[0].weight)


def test_without_validation_clips_the_last_weights_count_as_best(tmp_path):
    model, outcome = run(tmp_path, validation=False)
    last = read_state(tmp_path / "checkpoints" / "last.pt")["model"]
    assert outcome.best_epoch == 2
    assert torch.equal(last["out.0.weight"], model.out[0].weight)


def test_a_loss_that_is_not_finite_names_the_clips_and_keeps_the_state_before(tmp_path):
    def poison():  # the batch in hand is drawn already: the next one is the first to feel it
        DATA[:, 0] = float("nan")

    kept = DATA.clone()
    try:
        with pytest.raises(UserError, match=r"loss became nan in epoch 2 on the clips \d+, \d+"):
            run(tmp_path, stop_at=(1, 2), on_stop=poison)
    finally:
        DATA.copy_(kept)
    assert read_state(tmp_path / "checkpoints" / "last.pt")["progress"]["step"] == 7


def test_the_global_generator_stands_as_before(tmp_path):
    torch.manual_seed(0)
    Toy()
    before = torch.get_rng_state()
    model = Toy()
    after_build = torch.get_rng_state()
    train(model, feed(), RECIPE, tmp_path, engine("cpu", "fp32"))
    assert torch.equal(torch.get_rng_state(), after_build)
    assert torch.equal(before, after_build)


def test_an_unreadable_checkpoint_is_named(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "last.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(UserError, match=r"last\.pt is not a readable checkpoint"):
        run(tmp_path)


def test_another_runs_checkpoint_is_left_alone(tmp_path):
    train(Toy(), feed(), Recipe(epochs=1), tmp_path, engine("cpu", "fp32"), key="other")
    _, outcome = run(tmp_path)
    assert outcome.steps == 12


def test_a_finished_run_is_not_trained_again_and_leaves_the_same_model(tmp_path):
    first, _ = run(tmp_path)
    again, outcome = run(tmp_path)
    assert outcome.steps == 0
    assert same(first, again)


def test_a_finished_run_whose_best_weights_were_deleted_says_so(tmp_path):
    """It once passed the last weights off as the best."""
    run(tmp_path)
    (tmp_path / "checkpoints" / "best.pt").unlink()
    with pytest.raises(UserError, match=r"best\.pt is gone, .* start anew with --resume never"):
        run(tmp_path)
