"""Choose the device and the precision that a model computes with."""

import copy
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar, cast

import numpy as np
import torch
from torch import nn

from ssast.data.batch import Batch
from ssast.engine import distributed
from ssast.errors import UserError

_Model = TypeVar("_Model", bound=nn.Module)


def native_bf16(device: torch.device) -> bool:
    """Whether this device multiplies bfloat16 itself: CUDA from Ampere on, CPUs with AMX or AVX-512 BF16."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        # Older torch cannot tell what the processor has; fp32 is right everywhere.
        capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
        return bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16"))
    return False


def pick_device(wish: str) -> torch.device:
    """The device asked for; `auto` takes CUDA, then Apple's MPS, then the CPU. UserError where it is not there."""
    present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if wish == "auto":
        return torch.device(next(kind for kind in ("cuda", "mps", "cpu") if present[kind]))
    if wish not in present:
        raise UserError(f"device {wish!r} is unknown; give --device auto, cpu, cuda or mps.")
    if not present[wish]:
        have = ", ".join(kind for kind, there in present.items() if there)
        raise UserError(f"--device {wish} was asked for, but PyTorch sees only {have} here; give --device auto.")
    return torch.device(wish)


def wants_bf16(device: torch.device, precision: str) -> bool:
    """Whether `precision` (auto, fp32, bf16) means bfloat16 on this device; UserError for another word."""
    if precision not in ("auto", "fp32", "bf16"):
        raise UserError(f"precision {precision!r} is unknown; give --precision auto, fp32 or bf16.")
    return native_bf16(device) if precision == "auto" else precision == "bf16"


def in_precision(model: _Model, precision: str, device: torch.device) -> _Model:
    """The model itself in fp32; in bf16 a copy whose encoder has such weights, as the command line's modes take it."""
    if not wants_bf16(device, precision):
        return model
    copied: Any = copy.deepcopy(model)
    copied.v.to(torch.bfloat16)
    return copied


@dataclass(frozen=True)
class Engine:
    """Where a model computes, and whether its products are in bfloat16 (`bf16`)."""

    device: torch.device
    bf16: bool

    def autocast(self) -> AbstractContextManager[None]:
        """Inside, products are in the engine's precision."""
        return torch.autocast(self.device.type, torch.bfloat16) if self.bf16 else nullcontext()


def engine(device: str = "auto", precision: str = "auto", threads: int | None = None) -> Engine:
    """The engine for a device and a precision (`auto`, `fp32` or `bf16`); UserError where they cannot be had.

    With `threads` torch computes on so many threads of the processor from now on. One of several processes joins the
    others here.
    """
    if threads:
        torch.set_num_threads(threads)
    chosen = pick_device(device)
    bf16 = wants_bf16(chosen, precision)
    return Engine(distributed.join(chosen), bf16)


def to_device(batch: Batch, device: torch.device) -> Batch:
    """The batch with its tensors on the device; the rest as it is.

    To a GPU they are copied beside what it computes. Lengths stay with the processor, which has to know them.
    """
    if device.type != "cuda":
        return _moved(batch, device)
    copying, computing = _copying_stream(device), torch.cuda.current_stream(device)
    with torch.cuda.stream(copying):
        moved = _moved(batch, device, stay=("lengths", "whole_lengths"))
    computing.wait_stream(copying)
    for value in moved.values():
        if torch.is_tensor(value) and value.device.type == "cuda":
            value.record_stream(computing)
    return moved


def _moved(batch: Batch, device: torch.device, stay: tuple[str, ...] = ()) -> Batch:
    moved = {
        key: value.to(device, non_blocking=True) if torch.is_tensor(value) and key not in stay else value
        for key, value in batch.items()
    }
    return cast(Batch, moved)


@lru_cache
def _copying_stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)


@contextmanager
def own_chance(device: torch.device) -> Iterator[None]:
    """Inside the block torch's global generators may be seeded; afterwards they are as before."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        yield


def chance_generator(device: torch.device, *key: int) -> torch.Generator:
    """A generator that depends on the key alone; torch's global generators are seeded alike, for dropout."""
    seed = int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> 1)
    if device.type == "cpu":
        torch.default_generator.manual_seed(seed)  # torch.manual_seed notes a stack trace for each kind of GPU, too
    else:
        torch.manual_seed(seed)
    return torch.Generator(device=device).manual_seed(seed)
