"""Choose what a model computes with: device, precision, attention kernels that are right, and as many clips as fit.

Shapes: B batch, H heads, L tokens, d width of a head.
"""

import copy
import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

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


LONG_RUN = 10_000
"""Steps from which compiled blocks save more than their compilation takes: a minute or two for a fifth of a step."""
_LENGTH, _WIDTH = 192, 64
"""A number of tokens at which cuDNN's kernel fails (any that leaves 64 of 128 over), and the width of our heads."""
_TOLERANCE = 0.05
"""Of the norm of the gradients; bf16 stays below 0.01."""
_LOW = -120.0
"""All scores so low made cuDNN's gradients NaN: pytorch/pytorch#196678, in torch 2.11 to 2.13."""
_KERNELS = {
    "cuDNN": torch.backends.cuda.enable_cudnn_sdp,
    "flash": torch.backends.cuda.enable_flash_sdp,
    "memory-efficient": torch.backends.cuda.enable_mem_efficient_sdp,
}


def mend_attention(device: torch.device) -> str:
    """Switch off those of torch's attention kernels that give wrong gradients here; a sentence about it, or nothing."""
    off = []
    for name, switch in _KERNELS.items():
        if attention_is_right(device):
            break
        switch(False)
        off.append(name)
    if not off:
        return ""
    return (
        f"torch's {' and '.join(off)} attention gives wrong gradients on this GPU, so other kernels are used; "
        "another version of torch may be faster"
    )


def attention_is_right(device: torch.device) -> bool:
    """Whether torch's fused attention has the gradients of attention written out, with a padding mask and without."""
    generator = torch.Generator().manual_seed(0)
    like = (3, 2, 2, _LENGTH, _WIDTH)
    drawn = torch.randn(like, generator=generator).to(device, torch.bfloat16 if native_bf16(device) else torch.float32)
    mask = (torch.arange(_LENGTH, device=device) < _LENGTH - 3).expand(2, 1, 1, -1)
    low = 0.1 * drawn
    low[0, ..., 0], low[1, ..., 0] = 1.0, _LOW * math.sqrt(_WIDTH)
    if not all(gradient.isfinite().all() for gradient in _gradients(low, mask, written_out=False)):
        return False
    for given in (None, mask):
        ours, wanted = (torch.stack(_gradients(drawn, given, written_out=way)) for way in (False, True))
        if not (ours - wanted).norm() <= _TOLERANCE * wanted.norm():
            return False
    return True


def _gradients(drawn: Tensor, mask: Tensor | None, *, written_out: bool) -> list[Tensor]:
    """The gradients (float32) of queries, keys and values; the one of the output is the values themselves."""
    leaves = [one.float() if written_out else one for one in drawn.detach().clone()]
    query, key, value = (one.requires_grad_() for one in leaves)
    if written_out:
        scores_BHLL = query @ key.transpose(-2, -1) / math.sqrt(_WIDTH)
        scores_BHLL = scores_BHLL if mask is None else scores_BHLL.masked_fill(~mask, -math.inf)
        out = scores_BHLL.softmax(dim=-1) @ value
    else:
        out = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    return [one.float() for one in torch.autograd.grad(out, [query, key, value], value.detach())]


def pays_to_compile(wish: bool | str, engine: Engine, steps: int) -> bool:
    """Whether blocks are compiled: as wished, or for `auto` on a GPU where it works, in a run of LONG_RUN steps."""
    if isinstance(wish, bool):
        return wish
    return engine.device.type == "cuda" and steps >= LONG_RUN and compiler_works(engine.device)


def compiler_works(device: torch.device) -> bool:
    """Whether torch.compile makes a kernel for this device: that takes Triton and a C compiler, and seconds."""
    try:
        doubled = torch.compile(lambda values: 2 * values)(torch.ones(8, device=device))
    except Exception:  # torch has a kind of error for each part that can be missing
        return False
    return bool((doubled == 2).all())


FREE_SHARE = 0.1
"""The share of a GPU's memory that the trial leaves free: what the allocator cannot use, and what comes later."""


def clips_that_fit(model: Any, clips: int, engine: Engine) -> int:
    """`clips`, halved until a training step fits into the memory of every process's device, with some room.

    The memory of a training step depends on the number of clips alone, since no fbank is longer than the model's, so
    one trial before the run tells. UserError where not even one clip fits.
    """
    most = clips
    while not _fits(model, clips, engine, in_pieces=clips < most):
        if clips == 1:
            raise UserError(
                "the memory of this GPU does not hold a training step of one clip; "
                "give a smaller --model_size or --target_length, or --device cpu."
            )
        clips = -(-clips // 2)
    return clips


def _fits(model: Any, clips: int, engine: Engine, *, in_pieces: bool) -> bool:
    """Whether a step fits; of one in pieces the second, which finds the gradients of the first in memory."""
    model.to(engine.device).train()
    failed = 0.0
    with own_chance(engine.device):
        try:
            _try(model, clips, engine, 2 if in_pieces else 1)
        except torch.OutOfMemoryError:
            failed = 1.0
    model.zero_grad(set_to_none=True)
    if engine.device.type == "cuda":
        torch.cuda.empty_cache()
    return distributed.total(torch.tensor([failed])).item() == 0


def _try(model: Any, clips: int, engine: Engine, pieces: int) -> None:
    """The passes of a training step, beside what is in memory in one; torch.OutOfMemoryError where they do not fit."""
    device = engine.device
    held = held_beside(model, device)
    fbank_BTF = torch.zeros(clips, model.v.target_length, model.v.num_mel_bins, device=device)
    kinds = getattr(model, "label_kinds", None)
    targets_BN = torch.zeros(clips, 0 if kinds is None else kinds.width, device=device)
    for _ in range(pieces):
        with engine.autocast():
            losses = model.loss({"fbank": fbank_BTF, "targets": targets_BN}, chance_generator(device, 0))
        losses["loss"].backward()
    del held


def held_beside(model: Any, device: torch.device) -> list[Tensor]:
    """As much memory as Adam's two means of each trained parameter, and on a GPU what is to stay free.

    Several processes keep packs of gradients beside those that are added up.
    """
    trained = [one for one in model.parameters() if one.requires_grad]
    states = [torch.empty_like(one) for one in trained for _ in range(2 + (distributed.size() > 1))]
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        states.append(torch.empty(int(FREE_SHARE * free), dtype=torch.uint8, device=device))
    return states
