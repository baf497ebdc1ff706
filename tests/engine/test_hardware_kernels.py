"""Which kernels a device computes with: the checks themselves run anywhere."""

import pytest
import torch
from torch.nn import functional as F

from ssast.engine import hardware
from ssast.engine.hardware import (
    LONG_RUN,
    Engine,
    attention_is_right,
    compiler_works,
    engine,
    mend_attention,
    pays_to_compile,
)

CPU = torch.device("cpu")
RIGHT = F.scaled_dot_product_attention


class Spoilt(torch.autograd.Function):
    """Gradients as the broken kernel of cuDNN gives them: some are NaN."""

    @staticmethod
    def forward(ctx, values):
        return values.clone()

    @staticmethod
    def backward(ctx, gradient):
        gradient = gradient.clone()
        gradient[..., -1, :] = torch.nan
        return gradient


def broken(query, key, value, attn_mask=None):
    """The fault of pytorch#196678: with a mask, and where every score is far below zero."""
    low = (query[..., 0] * key[..., 0]).mean() / 8 < -88
    return RIGHT(Spoilt.apply(query) if attn_mask is not None and low else query, key, value, attn_mask=attn_mask)


def deaf_to_the_mask(query, key, value, attn_mask=None):
    return RIGHT(query, key, value)


@pytest.fixture
def switched(monkeypatch):
    """The kernels that were switched off."""
    off = []
    fake = {name: lambda on, name=name: off.append((name, on)) for name in hardware._KERNELS}
    monkeypatch.setattr(hardware, "_KERNELS", fake)
    return off


def test_attention_that_is_right_stays_as_it_is(switched):
    assert attention_is_right(CPU)
    assert mend_attention(CPU) == ""
    assert switched == []


@pytest.mark.parametrize("wrong", [broken, deaf_to_the_mask])
def test_a_kernel_with_wrong_gradients_is_switched_off_and_named(monkeypatch, switched, wrong):
    def attention(*given, **named):
        return (RIGHT if switched else wrong)(*given, **named)

    monkeypatch.setattr(hardware.F, "scaled_dot_product_attention", attention)
    assert "torch's cuDNN attention gives wrong gradients on this GPU, so other kernels are used" in mend_attention(CPU)
    assert switched == [("cuDNN", False)]


def test_kernels_are_switched_off_one_after_the_other_until_one_is_right(monkeypatch, switched):
    monkeypatch.setattr(hardware.F, "scaled_dot_product_attention", broken)
    assert "torch's cuDNN and flash and memory-efficient attention" in mend_attention(CPU)


def test_auto_compiles_nothing_on_a_processor_and_on_a_gpu_only_long_runs(monkeypatch):
    gpu = Engine(torch.device("cuda"), bf16=True)
    monkeypatch.setattr(hardware, "compiler_works", lambda device: True)
    assert not pays_to_compile("auto", engine("cpu", "fp32"), 10 * LONG_RUN)
    assert not pays_to_compile("auto", gpu, LONG_RUN - 1)
    assert pays_to_compile("auto", gpu, LONG_RUN)
    assert pays_to_compile(True, engine("cpu", "fp32"), 1)
    assert not pays_to_compile(False, gpu, LONG_RUN)
    monkeypatch.setattr(hardware, "compiler_works", lambda device: False)
    assert not pays_to_compile("auto", gpu, LONG_RUN)


def test_a_compiler_that_fails_is_no_compiler(monkeypatch):
    def fail(function):
        raise RuntimeError("Cannot find a working triton installation")

    monkeypatch.setattr(torch, "compile", fail)
    assert not compiler_works(CPU)
