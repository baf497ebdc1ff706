"""Which device and precision a wish leads to."""

import os

import pytest
import torch

from ssast.engine.hardware import engine, own_chance
from ssast.errors import UserError


def test_precision_is_what_was_asked_for_and_may_change_within_a_process():
    assert not engine("cpu", "fp32").bf16
    assert engine("cpu", "bf16").bf16
    assert not engine("cpu", "fp32").bf16


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


AMONG_OTHERS = """
import sys
from datetime import timedelta
import torch
import torch.distributed as dist

torch.cuda.is_available = lambda: True  # as on a machine with a GPU
torch.cuda.device_count = lambda: 1
formed = dist.init_process_group

def form(*arguments, **named):
    print("waits", named.get("timeout", timedelta(minutes=10)) >= timedelta(hours=12))
    return formed(*arguments, **named)

dist.init_process_group = form
from ssast.engine.hardware import engine

print("device", engine("cpu", "fp32").device.type)
print("backend", dist.get_backend())
print("again", engine("cpu", "bf16").device.type)
dist.destroy_process_group()
"""


def test_the_processes_of_torchrun_run_where_they_are_told_and_wait_for_a_long_report(warm_modes):
    """They once ran on CUDA whatever --device said, and gave up waiting after ten minutes."""
    place = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1"}
    place |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0", "OMP_NUM_THREADS": "1"}
    done = warm_modes.run(AMONG_OTHERS, os.environ | place)
    assert done.stdout.split() == ["waits", "True", "device", "cpu", "backend", "gloo", "again", "cpu"], done.stderr
