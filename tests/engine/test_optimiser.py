"""The optimiser and its rates: who learns how fast."""

import pytest
import torch
from torch import nn

from ssast.engine.optimiser import TrainingSettings, optimiser, schedule
from ssast.errors import UserError


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.v, self.mlp_head = nn.Linear(2, 2), nn.Linear(2, 1)


def rates(optimizer):
    return [group["lr"] for group in optimizer.param_groups]


def test_the_head_learns_at_its_own_rate_where_it_has_one():
    model = Model()
    assert rates(optimiser(model, TrainingSettings(learning_rate=0.1))) == [0.1]
    optimizer = optimiser(model, TrainingSettings(learning_rate=0.1, head_lr=0.5))
    assert rates(optimizer) == [0.1, 0.5]
    assert [len(group["params"]) for group in optimizer.param_groups] == [2, 2]
    assert optimizer.param_groups[1]["params"][0] is model.mlp_head.weight
    model.v.requires_grad_(False)
    assert rates(optimiser(model, TrainingSettings(learning_rate=0.1, head_lr=0.5))) == [0.5]


def test_one_cycle_keeps_the_ratio_of_the_rates():
    optimizer = optimiser(Model(), TrainingSettings(learning_rate=0.1, head_lr=0.5))
    course = schedule(
        optimizer, TrainingSettings(learning_rate=0.1, head_lr=0.5, scheduler="onecycle", max_lr=0.02), 10
    )
    seen = []
    for _ in range(9):
        optimizer.step()
        course.step()
        seen.append(rates(optimizer))
    assert max(base for base, _ in seen) == pytest.approx(0.02, rel=0.05)
    assert all(head == pytest.approx(5 * base) for base, head in seen)


@pytest.mark.parametrize("how", [{"optim": "sgd"}, {"scheduler": "cosine"}])
def test_what_is_not_there_is_named(how):
    with pytest.raises(UserError, match=next(iter(how.values()))):
        schedule(optimiser(Model(), TrainingSettings(**how)), TrainingSettings(**how), 5)


def test_weight_decay_belongs_to_adamw():
    assert optimiser(Model(), TrainingSettings(optim="adamw", weight_decay=0.3)).param_groups[0]["weight_decay"] == 0.3
    assert isinstance(optimiser(Model(), TrainingSettings()), torch.optim.Adam)
    assert optimiser(Model(), TrainingSettings(weight_decay=0.3)).param_groups[0]["weight_decay"] == 0
