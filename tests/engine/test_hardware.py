"""Which device and precision a wish leads to."""

import pytest
import torch

from ssast.engine.hardware import engine, own_chance, uses_bf16
from ssast.errors import UserError


def test_precision_is_what_was_asked_for_and_may_change_within_a_process():
    assert not uses_bf16(engine("cpu", "fp32"))
    assert uses_bf16(engine("cpu", "bf16"))
    assert not uses_bf16(engine("cpu", "fp32"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_a_device_that_is_not_there_is_named_with_those_that_are():
    with pytest.raises(UserError, match=r"--device cuda was asked for, but PyTorch sees only .*cpu"):
        engine("cuda")


@pytest.mark.parametrize(("device", "precision"), [("tpu", "fp32"), ("cpu", "fp8")])
def test_unknown_wishes_are_named(device, precision):
    with pytest.raises(UserError, match=r"tpu|fp8"):
        engine(device, precision)


def test_own_chance_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    with own_chance(torch.device("cpu")):
        torch.manual_seed(1)
        torch.rand(3)
    assert torch.equal(torch.get_rng_state(), before)
