"""Let the processes of one run work together, as `accelerate launch` or `torchrun` starts them.

For a process that was started alone everything here costs nothing.
"""

import os
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ssast.errors import UserError

_T = TypeVar("_T")
PATIENCE = timedelta(days=1)
"""How long processes wait for each other: the first may take long over scores, a report or an upload.

What started them sees that one of them has ended.
"""
BUCKET_VALUES = 1 << 25
"""Gradients travel in packs of about so many values: few messages, little memory beside them."""


def rank() -> int:
    """The number of this process among those of the run, from 0."""
    return int(os.environ.get("RANK", "0"))


def size() -> int:
    """How many processes the run has."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main() -> bool:
    """Whether this process is the one that writes files and speaks to the user."""
    return rank() == 0


def wait() -> None:
    """Wait until all processes are here; returns at once where the work is not shared."""
    if size() > 1 and dist.is_initialized():
        total(torch.zeros(1))


def total(values: Tensor) -> Tensor:
    """The sum of a tensor over all processes, on its own device."""
    if size() > 1:
        moved = values.to(_device())
        dist.all_reduce(moved)
        return moved.to(values.device)
    return values


def gather(own: _T) -> list[_T]:
    """What each process has, in the order of their numbers, for all of them."""
    if size() == 1:
        return [own]
    found: list[_T | None] = [None] * size()
    dist.all_gather_object(found, own)
    return cast(list[_T], found)


def check_alike(own: object, what: str) -> None:
    """UserError unless every process has the same; else they would wait for each other until their patience ends."""
    if any(other != own for other in gather(own)):
        raise UserError(
            f"the processes of this run have different {what}; "
            "give each machine the same files, options and version of ssast."
        )


def share(numbers: Sequence[range]) -> list[range]:
    """The part of some ranges of numbers that falls to this process: as many as to any other, lying together."""
    count = sum(map(len, numbers))
    first, last = count * rank() // size(), count * (rank() + 1) // size()
    found = []
    for piece in numbers:
        own = piece[max(first, 0) : max(last, 0)]
        found += [own] if own else []
        first, last = first - len(piece), last - len(piece)
    return found


def with_gradients(parameters: Iterable[nn.Parameter]) -> list[nn.Parameter]:
    """The parameters that have a gradient in at least one process; asking waits for all of them."""
    everyone = list(parameters)
    used = total(torch.tensor([float(one.grad is not None) for one in everyone]))
    return [one for one, count in zip(everyone, used.tolist(), strict=True) if count]


def sum_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Give every process the sum of the gradients of these parameters; one that has none of its own adds nothing."""
    if size() == 1:
        return
    wanted = list(parameters)
    for parameter in wanted:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    for bucket in _buckets([parameter.grad for parameter in wanted if parameter.grad is not None]):
        flat = torch.cat([gradient.flatten() for gradient in bucket])
        dist.all_reduce(flat)
        for gradient, summed in zip(bucket, flat.split([one.numel() for one in bucket]), strict=True):
            gradient.copy_(summed.view_as(gradient))


def _buckets(gradients: list[Tensor]) -> Iterable[list[Tensor]]:
    bucket: list[Tensor] = []
    for gradient in gradients:
        bucket.append(gradient)
        if sum(one.numel() for one in bucket) > BUCKET_VALUES:
            yield bucket
            bucket = []
    if bucket:
        yield bucket


def join(device: torch.device) -> torch.device:
    """Join the other processes of the run, if there are any; this process's own device of that kind.

    UserError where the processes have begun on another kind of device.
    """
    if not {"WORLD_SIZE", "MASTER_ADDR"} <= os.environ.keys():  # nobody started it among others
        return device
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    backend = "nccl" if device.type == "cuda" else "gloo"
    if not dist.is_initialized():
        dist.init_process_group(backend, timeout=PATIENCE)
    if backend not in dist.get_backend():
        raise UserError(
            f"--device {device.type} comes too late: the processes of this run began on another kind of device; "
            "start them anew for another."
        )
    return device


def leave() -> None:
    """Take leave of the other processes, so that none waits or warns."""
    if dist.is_initialized():
        dist.destroy_process_group()


def _device() -> torch.device:
    """Where the processes' messages lie: on the GPU under NCCL."""
    return torch.device("cuda", torch.cuda.current_device()) if "nccl" in dist.get_backend() else torch.device("cpu")
