"""The training loop: what it keeps, what it repeats to the byte, and how it stops."""

import dataclasses
import errno
import json
import os
import signal
import traceback
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import ssast
from ssast.audio.frontend import Frontend
from ssast.data.prepare import Prepare
from ssast.engine.checkpoint import CheckpointWriter, read_state, write_state
from ssast.engine.hardware import engine
from ssast.engine.optimiser import TrainingSettings
from ssast.engine.train import train
from ssast.engine.trainable import TrainingBatches
from ssast.engine.training_run import Run
from ssast.errors import Interrupted, UserError
from ssast.model.pretraining import SSASTForPreTraining

pytestmark = pytest.mark.usefixtures("narrow")

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


class Deep(Toy):
    """One with blocks, whose matrices Muon trains."""

    def __init__(self):
        super().__init__()
        self.v = nn.Module()
        self.v.blocks = nn.ModuleList([nn.Linear(6, 6), nn.Linear(6, 9), nn.Linear(9, 6)])

    def loss(self, batch, generator=None):
        x = batch["x"]
        for block in self.v.blocks:
            x = block(x)
        return super().loss(batch | {"x": batch["x"] + x}, generator)


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
    return TrainingBatches(training, lambda: batches(held_out), 4, lambda batch, generator=None: batch)


def run(folder, recipe=None, model=None, **kwargs):
    model = model or Toy()
    outcome = train(model, feed(**kwargs), recipe or RECIPE, folder, engine("cpu", "fp32"), key="a")
    return model, outcome


RECIPE = TrainingSettings(
    epochs=3, learning_rate=0.05, optim="adamw", scheduler="onecycle", max_lr=0.05, seed=5, save_every_seconds=0.0
)


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def test_two_runs_with_one_seed_give_byte_equal_weights_and_another_seed_gives_others(tmp_path):
    first, _ = run(tmp_path / "1")
    second, _ = run(tmp_path / "2")
    other, _ = run(tmp_path / "3", TrainingSettings(epochs=3, learning_rate=0.05, seed=6))
    assert same(first, second)
    assert not same(first, other)


@pytest.fixture
def late(monkeypatch):
    """Numbers are read a step later, as on a GPU."""
    monkeypatch.setattr(Run, "reads_late", True)


def test_numbers_that_are_read_a_step_later_change_nothing_of_a_run(tmp_path, monkeypatch):
    at_once, _ = run(tmp_path / "at once")
    monkeypatch.setattr(Run, "reads_late", True)
    later, outcome = run(tmp_path / "later")
    assert same(at_once, later)
    assert outcome.steps == 12
    reports = [
        [line | {"clips_per_second": 0} for line in map(json.loads, (tmp_path / name / "log.jsonl").open())]
        for name in ("at once", "later")
    ]
    assert reports[0] == reports[1]


def test_while_a_step_is_not_read_no_state_is_written_that_tells_of_it(tmp_path, late, monkeypatch):
    """Each state on the disk has as many steps as its optimiser has done."""
    seen, whole = [], CheckpointWriter.write_last

    def write(self, state, step):
        seen.append((step, {int(kept["step"]) for kept in state["optimizer"]["state"].values()}))
        whole(self, state, step)

    monkeypatch.setattr(CheckpointWriter, "write_last", write)
    run(tmp_path)
    assert [step for step, _ in seen] == [1, 2, 3, 4, 4, 5, 6, 7, 8, 8, 9, 10, 11, 12, 12]
    assert all(done == {step} for step, done in seen)


@pytest.mark.parametrize("stop_at", [(0, 1), (1, 0), (1, 3), (2, 2)])
def test_a_run_that_is_read_late_and_broke_off_goes_on_to_the_same_weights(tmp_path, stop_at, late):
    undisturbed, _ = run(tmp_path / "whole")

    def die():
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        run(tmp_path / "cut", stop_at=stop_at, on_stop=die)
    assert same(undisturbed, run(tmp_path / "cut")[0])


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


def test_a_run_with_muon_that_broke_off_goes_on_to_the_same_weights_and_refuses_the_state_of_another(tmp_path):
    muon = dataclasses.replace(RECIPE, optim="muon")
    undisturbed, _ = run(tmp_path / "whole", muon, Deep())
    with pytest.raises(UserError, match="not a state that this version can go on from"):
        run(tmp_path / "whole", RECIPE, Deep())

    def die():
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        run(tmp_path / "cut", muon, Deep(), stop_at=(1, 3), on_stop=die)
    place = tmp_path / "cut" / "checkpoints" / "last.pt"
    whole = place.read_bytes()
    torch.save(with_moments(read_state(place), momentum_buffer="x"), place)
    with pytest.raises(UserError, match="start anew with --resume never"):
        run(tmp_path / "cut", muon, Deep())
    place.write_bytes(whole)
    assert same(undisturbed, run(tmp_path / "cut", muon, Deep())[0])


@pytest.mark.parametrize("read", ["at once", "later"])
def test_sigterm_saves_the_state_and_leaves(tmp_path, monkeypatch, read):
    monkeypatch.setattr(Run, "reads_late", read == "later")
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
    rising = TrainingSettings(epochs=4, learning_rate=3.0, seed=1)  # far too high: later epochs are worse
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
    """It was once trained over without a word."""
    train(Toy(), feed(), TrainingSettings(epochs=1), tmp_path, engine("cpu", "fp32"), key="other")
    before = (tmp_path / "checkpoints" / "last.pt").read_bytes()
    with pytest.raises(UserError, match=r"last\.pt is of a run with other options, data or model; .*--resume never"):
        run(tmp_path)
    assert (tmp_path / "checkpoints" / "last.pt").read_bytes() == before


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


def in_pieces(model, size):
    """The feed of `feed`, each batch of 4 in pieces of `size`."""
    whole = feed()

    def training(epoch, start):
        for batch in whole.train(epoch, start):
            for first in range(0, 4, size):
                yield {name: value[first : first + size] for name, value in batch.items()}

    return TrainingBatches(training, whole.validation, 4, whole.prepare, pieces=-(-4 // size))


class Plain(Toy):
    """Without chance, so that pieces and the whole can be compared."""

    def loss(self, batch, generator=None):
        self.out.eval()
        error = self.out(self.frozen(batch["x"]))[:, 0] - batch["y"]
        return {"loss": error.square().mean()}


@pytest.mark.parametrize("size", [1, 2, 3])
def test_a_batch_in_pieces_teaches_what_the_whole_batch_does(tmp_path, size):
    """Pieces of different length too: 3 and 1."""
    whole, pieces = Plain(), Plain()
    train(whole, feed(), RECIPE, tmp_path / "whole", engine("cpu", "fp32"))
    train(pieces, in_pieces(pieces, size), RECIPE, tmp_path / "pieces", engine("cpu", "fp32"))
    for one, other in zip(whole.parameters(), pieces.parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-5)
    lines = [json.loads((tmp_path / name / "log.jsonl").read_text().splitlines()[-1]) for name in ("whole", "pieces")]
    assert lines[0]["train_loss"] == pytest.approx(lines[1]["train_loss"], rel=1e-4)


def test_pieces_count_by_what_their_loss_is_the_mean_of(tmp_path):
    """A piece with one known label must not weigh as much as one with twenty."""

    class Counted(Plain):
        def loss(self, batch, generator=None):
            self.out.eval()
            known = batch["y"] > 0
            error = (self.out(self.frozen(batch["x"]))[:, 0] - batch["y"]).square().masked_fill(~known, 0)
            return {"loss": error.sum() / known.sum().clamp(min=1), "count": known.sum()}

    whole, pieces = Counted(), Counted()
    train(whole, feed(), RECIPE, tmp_path / "whole", engine("cpu", "fp32"))
    train(pieces, in_pieces(pieces, 1), RECIPE, tmp_path / "pieces", engine("cpu", "fp32"))
    for one, other in zip(whole.parameters(), pieces.parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-5)


def test_training_ends_when_validation_has_not_improved_for_as_long_as_was_allowed(tmp_path, capsys):
    rising = TrainingSettings(epochs=50, learning_rate=3.0, seed=1, patience=2)
    _, outcome = run(tmp_path, rising)
    reports = [json.loads(line)["validation_loss"] for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert len(reports) == outcome.best_epoch + 3 < 50
    assert "stopped early: no better validation loss in the last 2 epochs" in capsys.readouterr().out
    assert run(tmp_path, rising)[1].steps == 0, "and is over when it is started again"


def test_gradients_are_cut_to_the_norm_that_was_asked_for(tmp_path, monkeypatch):
    seen = []
    descend = torch.optim.Adam.step

    def step(self, *arguments, **named):
        gradients = [one.grad for group in self.param_groups for one in group["params"] if one.grad is not None]
        seen.append(torch.cat([one.flatten() for one in gradients]).norm().item())
        return descend(self, *arguments, **named)

    monkeypatch.setattr(torch.optim.Adam, "step", step)
    run(tmp_path / "cut", TrainingSettings(clip_grad=0.01))
    assert max(seen) == pytest.approx(0.01, rel=1e-3)
    run(tmp_path / "free", TrainingSettings())
    assert max(seen) > 1


def test_as_many_checkpoints_are_kept_as_were_asked_for(tmp_path):
    run(tmp_path, TrainingSettings(epochs=2, keep_checkpoints=3, save_every_seconds=0.0))
    kept = sorted(path.name for path in (tmp_path / "checkpoints").glob("step-*.pt"))
    assert kept == ["step-000000006.pt", "step-000000007.pt", "step-000000008.pt"]
    steps = [read_state(tmp_path / "checkpoints" / name)["progress"]["step"] for name in kept]
    assert steps == [6, 7, 8]
    assert read_state(tmp_path / "checkpoints" / "last.pt")["progress"]["step"] == 8


def test_a_checkpoint_that_cannot_be_written_ends_the_run_in_a_sentence(tmp_path, room_for):
    """torch raises a RuntimeError about positions in its file, not what the disk said."""
    with room_for(1000), pytest.raises(UserError, match=r"cannot write .*\.pt: file too large; free space"):
        run(tmp_path)
    assert not list((tmp_path / "checkpoints").iterdir())


def poisoned_gradient(value, at=(1, 2)):
    """A Toy whose loss is finite and whose gradient is not in one step, as where a root is taken of nothing."""

    class Poisoned(Toy):
        def loss(self, batch, generator=None):
            losses = super().loss(batch, generator)
            if self.training and self.place == at:
                losses["loss"].register_hook(lambda gradient: torch.full_like(gradient, value))
            return losses

    return Poisoned()


def counted(model, given):
    """The feed, which tells the model where it stands; in pieces each belongs to the batch that it is of."""

    def training(epoch, start):
        for index, batch in enumerate(given.train(epoch, start)):
            model.place = (epoch, start + index // given.pieces)
            yield batch

    return dataclasses.replace(given, train=training)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e30])
@pytest.mark.parametrize("size", [4, 2, 3])
@pytest.mark.parametrize("read", ["at once", "later"])
def test_a_gradient_that_is_not_finite_takes_no_step_and_names_the_clips(tmp_path, monkeypatch, value, size, read):
    """Only the loss was looked at, so the next checkpoint could hold poisoned weights. 1e30: its norm overflows."""
    monkeypatch.setattr(Run, "reads_late", read == "later")
    model = poisoned_gradient(value)
    given = counted(model, feed() if size == 4 else in_pieces(model, size))
    with pytest.raises(UserError, match=r"the gradient became (nan|inf) in epoch 2 on the clips \d+, \d+, \d+, \d+; "):
        train(model, given, RECIPE, tmp_path, engine("cpu", "fp32"), key="a")
    last = read_state(tmp_path / "checkpoints" / "last.pt")
    assert last["progress"]["step"] == 6
    assert all(value.isfinite().all() for value in model.state_dict().values())
    assert torch.equal(last["model"]["out.0.weight"], model.out[0].weight)


def test_a_learning_rate_that_blows_up_the_weights_ends_in_one_sentence_and_nothing_of_it_is_kept(tmp_path):
    wild = TrainingSettings(epochs=2, learning_rate=1e25, seed=1, save_every_seconds=0.0)
    with pytest.raises(UserError, match=r"diverged in epoch 1: out\.\d\.\w+ holds the number .* lower --learning_rate"):
        run(tmp_path, wild)
    assert not list((tmp_path / "checkpoints").glob("*.pt"))


def test_a_validation_loss_that_is_not_finite_names_the_clips_behind_it(tmp_path):
    whole = feed()

    def held_out():
        rows = torch.arange(16, 24)
        for index, batch in enumerate(batches(rows)):
            yield batch | ({"y": torch.full((4,), 1e30)} if index == 1 else {})

    given = dataclasses.replace(whole, validation=held_out)
    with pytest.raises(UserError, match="validation loss became inf in epoch 1 on the clips 20, 21, 22, 23; "):
        train(Toy(), given, RECIPE, tmp_path, engine("cpu", "fp32"))
    assert not (tmp_path / "checkpoints" / "best.pt").exists()
    assert read_state(tmp_path / "checkpoints" / "last.pt")["progress"]["step"] == 4


@pytest.mark.parametrize("part", ["model", "optimizer"])
def test_a_state_that_an_older_version_left_poisoned_is_not_gone_on_with(tmp_path, part):
    run(tmp_path)
    last = tmp_path / "checkpoints" / "last.pt"
    state = torch.load(last, weights_only=True)
    tensor = state["model"]["out.0.bias"] if part == "model" else state["optimizer"]["state"][0]["exp_avg"]
    tensor.view(-1)[0] = torch.nan
    torch.save(state, last)
    with pytest.raises(UserError, match=rf"last\.pt holds a training that diverged \({part}\..* start anew"):
        run(tmp_path)


def test_the_checkpoint_before_stays_where_the_next_does_not_fit(tmp_path, room_for):
    write_state(tmp_path / "last.pt", {"step": 1})
    before = (tmp_path / "last.pt").read_bytes()
    with room_for(20_000), pytest.raises(UserError, match=r"cannot write .*last\.pt: file too large"):
        write_state(tmp_path / "last.pt", {"step": 2, "weights": torch.ones(100_000)})
    assert [path.name for path in tmp_path.iterdir()] == ["last.pt"]
    assert (tmp_path / "last.pt").read_bytes() == before


def test_checkpoints_are_kept_on_a_disk_without_hard_links(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    run(tmp_path, TrainingSettings(epochs=2, keep_checkpoints=2, save_every_seconds=0.0))
    kept = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert kept == ["best.pt", "last.pt", "step-000000007.pt", "step-000000008.pt"]
    assert read_state(tmp_path / "checkpoints" / "step-000000008.pt")["progress"]["step"] == 8


def with_moments(state, **changes):
    """The state with other contents in the optimiser's notes of each parameter."""
    notes = {number: kept | changes for number, kept in state["optimizer"]["state"].items()}
    return state | {"optimizer": state["optimizer"] | {"state": notes}}


def with_groups(state, **changes):
    groups = [group | changes for group in state["optimizer"]["param_groups"]]
    return state | {"optimizer": state["optimizer"] | {"param_groups": groups}}


WRONG = {
    "a list": lambda state: [state],
    "a place in words": lambda state: state | {"progress": state["progress"] | {"epoch": "two"}},
    "a place before the first": lambda state: state | {"progress": state["progress"] | {"step": -3}},
    "sums in words": lambda state: state | {"progress": state["progress"] | {"sums": {"loss": "x"}}},
    "no weights": lambda state: state | {"model": None},
    "weights in a list": lambda state: state | {"model": list(state["model"].values())},
    "numbers for weights": lambda state: state | {"model": dict.fromkeys(state["model"], 1.0)},
    "no optimiser": lambda state: state | {"optimizer": 5},
    "an optimiser of words": lambda state: state | {"optimizer": {"state": "a", "param_groups": "b"}},
    "means of other shapes": lambda state: with_moments(state, exp_avg=torch.zeros(7)),
    "means in words": lambda state: with_moments(state, exp_avg="x", step="y"),
    "a rate in words": lambda state: with_groups(state, lr="x"),
    "one beta": lambda state: with_groups(state, betas=(0.9,)),
    "other parameters": lambda state: with_groups(state, params=[99, 1, 2, 3]),
    "a schedule in words": lambda state: state | {"scheduler": state["scheduler"] | {"last_epoch": "x"}},
    "a schedule without rates": lambda state: state | {"scheduler": {}},
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_state_of_other_types_is_refused_in_a_sentence(kind, tmp_path):
    def die():
        raise RuntimeError

    with pytest.raises(RuntimeError):
        run(tmp_path, stop_at=(1, 1), on_stop=die)
    place = tmp_path / "checkpoints" / "last.pt"
    torch.save(WRONG[kind](read_state(place)), place)
    with pytest.raises(UserError, match="start anew with --resume never"):
        run(tmp_path)


@pytest.mark.parametrize("kind", ["a list", "no weights", "weights in a list", "nothing", "no report"])
def test_best_weights_of_other_types_are_refused_in_a_sentence(kind, tmp_path):
    run(tmp_path)
    place = tmp_path / "checkpoints" / "best.pt"
    wrong = WRONG | {"nothing": lambda state: {}, "no report": lambda state: state | {"report": 5}}
    torch.save(wrong[kind](read_state(place)), place)
    with pytest.raises(UserError, match="start anew with --resume never"):
        run(tmp_path)


SHORT = dataclasses.replace(RECIPE, save_every_seconds=60.0)


def writes(folder, monkeypatch, recipe=SHORT):
    """The steps of all states that a run writes, and the model that it leaves."""
    steps, whole = [], CheckpointWriter.write_last

    def write(self, state, step):
        steps.append(step)
        whole(self, state, step)

    with monkeypatch.context() as patched:
        patched.setattr(CheckpointWriter, "write_last", write)
        return steps, run(folder, recipe)[0]


def test_epochs_of_seconds_are_not_written_each(tmp_path, monkeypatch):
    """The base model's state of 1.4 GB was once written after each epoch, and its best weights beside it."""
    often, always = writes(tmp_path / "often", monkeypatch, RECIPE)
    seldom, rarely = writes(tmp_path / "seldom", monkeypatch)
    assert (len(often), seldom) == (15, [4, 12])
    assert same(always, rarely)
    for name in ("best.pt", "last.pt"):
        one, other = (torch.load(tmp_path / way / "checkpoints" / name) for way in ("often", "seldom"))
        assert one.keys() == other.keys()
        assert all(torch.equal(one["model"][key], other["model"][key]) for key in one["model"])


@pytest.mark.parametrize("stop_at", [(1, 2), (2, 1)])
def test_a_run_whose_last_epochs_were_not_written_goes_on_to_the_same_weights(tmp_path, stop_at):
    undisturbed, _ = run(tmp_path / "whole", SHORT)

    def die():
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        run(tmp_path / "cut", SHORT, stop_at=stop_at, on_stop=die)
    assert read_state(tmp_path / "cut" / "checkpoints" / "last.pt")["progress"]["step"] == 4
    resumed, outcome = run(tmp_path / "cut", SHORT)
    assert (outcome.steps, same(undisturbed, resumed)) == (8, True)
    whole, cut = ((tmp_path / name / "log.jsonl").read_text().splitlines() for name in ("whole", "cut"))
    assert [json.loads(line)["train_loss"] for line in whole] == [json.loads(line)["train_loss"] for line in cut]


def test_a_stop_writes_the_best_weights_too(tmp_path):
    with pytest.raises(Interrupted, match="after step 10"):
        run(tmp_path, SHORT, stop_at=(2, 1), on_stop=lambda: os.kill(os.getpid(), signal.SIGTERM))
    last, best = (read_state(tmp_path / "checkpoints" / name) for name in ("last.pt", "best.pt"))
    assert last["progress"]["step"] == 10
    assert best["epoch"] == last["progress"]["best_epoch"] == 1


@pytest.mark.parametrize(
    ("workers", "reading", "computing", "said"),
    [(0, 0.02, 0.0, True), (2, 0.02, 0.0, False), (0, 0.0, 0.02, False)],
)
def test_a_gpu_that_waits_for_recordings_is_told_of_once(
    tmp_path, monkeypatch, late, capsys, workers, reading, computing, said
):
    """By a clock that only reading and computing move: a loaded machine is slow everywhere."""
    now = [0.0]
    monkeypatch.setattr("ssast.engine.train.WATCHED_STEPS", 5)
    monkeypatch.setattr("ssast.engine.train.time", SimpleNamespace(monotonic=lambda: now[0]))
    whole = feed()

    def slowly(epoch, start):
        for batch in whole.train(epoch, start):
            now[0] += reading
            yield batch

    def prepare(batch, generator=None):
        now[0] += computing
        return batch

    given = dataclasses.replace(whole, train=slowly, prepare=prepare, workers=workers)
    train(Toy(), given, SHORT, tmp_path, engine("cpu", "fp32"))
    assert capsys.readouterr().out.count("--num_workers auto lets other processes read them") == said


PACKAGE = os.path.dirname(ssast.__file__) + os.sep


class Asked(TorchDispatchMode):
    """Notes what asks for numbers, for which a GPU has to be waited for: the functions of ssast that did."""

    def __init__(self):
        super().__init__()
        self.places = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        chosen = args[1] if name in ("index", "index_put", "index_put_") else ()
        by_mask = any(one is not None and one.dtype in (torch.bool, torch.uint8) for one in chosen)
        if by_mask or name in ("_local_scalar_dense", "nonzero", "masked_select", "_unique2", "equal"):
            frames = [frame for frame in traceback.extract_stack() if frame.filename.startswith(PACKAGE)]
            self.places.append(frames[-1].name if frames else name)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("mask_padding", [False, True])
def test_a_step_of_pretraining_asks_the_device_for_nothing(tmp_path, late, mask_padding):
    """On an H100 a step waited three to four times for a number.

    Lengths (`_checked`) and how many patches a row holds (`first_of_own`) are the processor's, and may be looked at.
    """
    shape = {"num_mel_bins": 32, "fshape": 32, "tshape": 4, "target_length": 32}
    model = SSASTForPreTraining("tiny", **shape, mask_patch=5, mask_layer=10, mask_padding=mask_padding, seed=0)
    frontend = Frontend(num_mel_bins=32, target_length=32)
    prepare = Prepare(frontend, rounding=model.rounding, freqm=4, timem=4, noise=True)
    batch = {"uid": ["a", "b"], "waveform": 0.1 * torch.randn(2, 5000), "targets": torch.empty(2, 0)}
    batch["lengths"] = torch.tensor([5000, 3000])
    given = TrainingBatches(lambda epoch, start: [], list, 3, prepare, pieces=2)
    recipe = TrainingSettings(clip_grad=1.0, scheduler="onecycle")
    state = Run(model.train(), given, recipe, tmp_path, engine("cpu", "bf16"), "")
    state.step([batch, batch])
    with Asked() as asked:
        state.step([batch, batch])
    state.settle()
    state.checkpoints.close()
    assert state.progress.step == 2
    assert {"_checked"} <= set(asked.places) <= {"_checked", "first_of_own"}, asked.places
