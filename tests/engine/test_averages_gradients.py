"""Gradients of several processes: that they train as one does, in every way there is, and go on with any number."""

import json
import os
import re
import runpy
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from ssast.engine.averages import SharedGradients

ALONE = {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}


class Line(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2))

    def loss(self, batch, generator=None):
        return {"loss": (self.weight * batch["x"]).sum()}


def test_a_process_alone_has_its_own_gradients_and_no_others():
    layer = Line()
    shared = SharedGradients(layer, list(layer.parameters()))
    assert shared.is_ready
    with shared.apart():
        shared.loss({"x": torch.ones(2)})["loss"].backward()
    before = layer.weight.grad.clone()
    shared.nothing()
    assert torch.equal(layer.weight.grad, before)


WAYS = Path(__file__).with_name("ways_of_training.py")


@pytest.fixture(scope="module")
def ways(warm_modes) -> Callable[..., int]:
    """The exit code of so many processes that train in the ways named, or in all; one alone is this one."""

    def train(processes: int, folder: Path, *words: str) -> int:
        if processes == 1:
            runpy.run_path(str(WAYS), run_name="ways")["main"]([str(folder), *words])
            return 0
        code = f"import runpy\nrunpy.run_path({str(WAYS)!r}, run_name='ways')['main']({[str(folder), *words]!r})"
        return warm_modes.run(code, os.environ | ALONE, processes=processes).returncode

    return train


def losses(folder: Path) -> list[float]:
    lines = map(json.loads, (folder / "log.jsonl").read_text().splitlines())
    return [line[name] for line in lines for name in ("train_loss", "validation_loss")]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "checkpoints" / "last.pt")["model"]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_processes_train_as_one_does_in_every_way(ways, tmp_path):
    """27 steps; in each third one the second process has no clip at all."""
    for processes in (1, 2):
        assert ways(processes, tmp_path / str(processes)) == 0
    names = sorted(folder.name for folder in (tmp_path / "1").iterdir())
    assert len(names) == 11
    for name in names:
        one, two = (losses(tmp_path / number / name) for number in "12")
        assert len(set(one)) > 15, "it trains"
        assert one == pytest.approx(two, rel=1e-5), name


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_weight_decay_moves_nothing_that_the_chosen_layer_leaves_unused_on_one_process_or_two(ways, tmp_path):
    fresh = runpy.run_path(str(WAYS), run_name="ways")["fresh"]("a layer").state_dict()
    for processes in (1, 2):
        assert ways(processes, tmp_path / str(processes), "a layer") == 0
        after = weights(tmp_path / str(processes) / "a layer")
        assert after.keys() == fresh.keys()
        still = {name for name, value in after.items() if torch.equal(value, fresh[name])}
        assert still == {name for name in fresh if re.match(r"v\.(blocks\.([6-9]|1\d)|norm)\.", name)}


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("way", ["own lengths", "muon"])
def test_a_run_of_two_processes_that_lost_one_goes_on_with_one_with_two_and_with_three(ways, tmp_path, way):
    assert ways(2, tmp_path / "whole", way) == 0
    assert ways(2, tmp_path / "cut", way, "--dies_at", "20") != 0
    whole = tmp_path / "whole" / way
    for processes in (1, 2, 3):
        shutil.copytree(tmp_path / "cut", tmp_path / str(processes))
        assert ways(processes, tmp_path / str(processes), way) == 0
        assert losses(tmp_path / str(processes) / way) == pytest.approx(losses(whole), rel=1e-5)
    again = weights(tmp_path / "2" / way)
    assert all(torch.equal(value, again[name]) for name, value in weights(whole).items()), "of as many processes"
