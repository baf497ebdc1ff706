"""Muon: its directions, its steps beside torch's own, and what becomes of gradients that are not finite."""

import pytest
import torch
from torch import nn

from ssast.engine.muon import Muon, orthogonalised
from ssast.engine.optimiser import TrainingSettings, optimiser, schedule

SETTINGS = TrainingSettings(optim="muon", learning_rate=0.02, weight_decay=0.1)


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.v = nn.Module()
        self.v.blocks = nn.ModuleList([nn.Linear(8, 24), nn.Linear(24, 8), nn.Linear(8, 24)])
        self.mlp_head = nn.Linear(8, 1)


def with_gradients(model, seed=0):
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)
    return model


def weights(model):
    return [parameter.detach().clone() for parameter in model.parameters()]


def same(one, other):
    return all(map(torch.equal, one, other))


@pytest.mark.parametrize("shape", [(3, 16, 16), (2, 8, 40), (2, 40, 8)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_directions_have_singular_values_near_one_and_those_of_the_matrix(shape, dtype):
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    found = orthogonalised((1e-3 * matrices).to(dtype)).float()
    left, values, right = torch.linalg.svd(matrices, full_matrices=False)
    assert (values[:, -1] / values.norm(dim=1) > 0.004).all(), "none is too small to be brought near 1"
    turned = torch.linalg.svdvals(found)
    assert ((turned > 0.3) & (turned < 1.3)).all()
    assert torch.nn.functional.cosine_similarity(found.flatten(1), (left @ right).flatten(1)).min() > 0.95


def test_a_gradient_of_zero_has_no_direction():
    assert not orthogonalised(torch.zeros(2, 4, 6)).any()


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="this torch has no Muon to compare with")
def test_steps_are_those_of_torchs_muon_beside_its_adamw():
    ours, theirs = Model(), Model()
    own = optimiser(ours, SETTINGS, torch.bfloat16)
    matrices = [value for name, value in theirs.named_parameters() if name.startswith("v.blocks") and value.ndim == 2]
    rest = [value for value in theirs.parameters() if all(value is not one for one in matrices)]
    muon = torch.optim.Muon(matrices, lr=0.02, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    adamw = torch.optim.AdamW(rest, lr=0.02, weight_decay=0.1)
    for seed in range(4):
        with_gradients(ours, seed), with_gradients(theirs, seed)
        for each in (own, muon, adamw):
            each.step()
    start = weights(Model())
    for one, other, before in zip(weights(ours), weights(theirs), start, strict=True):
        assert (one - other).norm() < 0.01 * (other - before).norm()


def test_fp32_differs_from_bf16_by_rounding_alone():
    found = []
    for dtype in (None, torch.bfloat16):
        model = with_gradients(Model())
        optimiser(model, SETTINGS, dtype).step()
        found.append(weights(model))
    for exact, rounded, before in zip(*found, weights(Model()), strict=True):
        assert (exact - rounded).norm() <= 0.03 * (exact - before).norm()


def test_matrices_of_blocks_are_muons_and_all_else_is_adamws():
    model = Model()
    model.v.blocks[0].register_parameter("lora_A", nn.Parameter(torch.ones(2, 8)))
    model.v.blocks[2].requires_grad_(False)
    optimizer = optimiser(with_gradients(model), SETTINGS)
    matrices, rest = (group["params"] for group in optimizer.param_groups)
    assert [id(one) for one in matrices] == [id(model.v.blocks[0].weight), id(model.v.blocks[1].weight)]
    still = weights(model.v.blocks[2])
    optimizer.step()
    assert same(weights(model.v.blocks[2]), still)
    assert len(rest) == 5
    assert all("momentum_buffer" in optimizer.state[one] for one in matrices)
    assert all("exp_avg_sq" in optimizer.state[one] for one in rest)


def test_without_matrices_it_is_adamw():
    models = [with_gradients(nn.Sequential(nn.Linear(4, 2))) for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    for model, optim in zip(models, ("muon", "adamw"), strict=True):
        optimiser(model, TrainingSettings(optim=optim)).step()
    assert same(*map(weights, models))


def test_the_head_has_its_own_rate_and_one_cycle_moves_all_rates_together():
    settings = TrainingSettings(optim="muon", learning_rate=0.1, head_lr=0.5, scheduler="onecycle", max_lr=0.2)
    optimizer = optimiser(with_gradients(Model()), settings)
    course = schedule(optimizer, settings, 6)
    for _ in range(5):
        optimizer.step()
        course.step()
        matrices, encoder, head = (group["lr"] for group in optimizer.param_groups)
        assert matrices == encoder == pytest.approx(head / 5)
    assert [group["is_matrix"] for group in optimizer.param_groups] == [True, False, False]


def test_a_parameter_without_a_gradient_stays_whatever_the_decay():
    model = with_gradients(Model())
    model.v.blocks[1].weight.grad = None
    before = weights(model.v.blocks[1])[0]
    optimiser(model, SETTINGS).step()
    assert torch.equal(model.v.blocks[1].weight, before)


def test_gradients_that_are_not_finite_change_nothing_where_the_step_is_said_to_be_unfit():
    model = with_gradients(Model())
    optimizer = optimiser(model, SETTINGS)
    optimizer.step()
    before, kept = weights(model), [one.clone() for notes in optimizer.state.values() for one in notes.values()]
    for parameter in with_gradients(model, 1).parameters():
        parameter.grad[0] = torch.nan
    optimizer.found_inf = torch.ones(())
    optimizer.step()
    assert same(before, weights(model))
    assert same(kept, [one for notes in optimizer.state.values() for one in notes.values()])
    with_gradients(model, 1)
    optimizer.found_inf = torch.zeros(())
    optimizer.step()
    assert not any(map(torch.equal, before, weights(model)))


@pytest.mark.parametrize("unfit", [0.0, 1.0])
def test_a_gpu_that_is_not_asked_takes_the_same_step_or_none(unfit):
    """What only a GPU does, with tensors of this processor."""
    models = [with_gradients(Model()) for _ in range(2)]
    steps = [optimiser(model, SETTINGS) for model in models]
    assert all(isinstance(one, Muon) for one in steps)
    for model, one in zip(models, steps, strict=True):
        one.step()
        with_gradients(model, 1)
    matrices = [optimizer.param_groups[0] for optimizer in steps]
    of_one_shape = [[group["params"][0], group["params"][2]] for group in matrices]
    before = weights(models[0])
    if unfit:
        of_one_shape[0][1].grad[0, 0] = torch.inf
    with torch.no_grad():
        if not unfit:
            steps[1]._step(of_one_shape[1], matrices[1], None)
        steps[0]._step(of_one_shape[0], matrices[0], torch.tensor(unfit))
    after = weights(models[0])
    assert same(before, after) is bool(unfit)
    for one, other in zip(after, before if unfit else weights(models[1]), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-7)


def test_a_state_that_was_kept_goes_on_to_the_same_weights(tmp_path):
    whole, cut = Model(), Model()
    optimizers = [optimiser(model, SETTINGS) for model in (whole, cut)]
    for seed in range(4):
        if seed == 2:
            torch.save(optimizers[1].state_dict(), tmp_path / "state")
            optimizers[1] = optimiser(cut, SETTINGS)
            optimizers[1].load_state_dict(torch.load(tmp_path / "state"))
        for model, optimizer in zip((whole, cut), optimizers, strict=True):
            with_gradients(model, seed)
            optimizer.step()
    assert same(weights(whole), weights(cut))
