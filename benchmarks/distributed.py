"""Time a pretraining step of two processes: gradients by DistributedDataParallel against gradients summed afterwards.

    torchrun --nproc_per_node 2 benchmarks/distributed.py [--size base] [--clips 1] [--pieces 1] [--rounds 8]

The sums are those of version 0.1.0 in their plainest form: after the backward pass the gradients go in packs of 128 MB
from all processes to all. Both ways take turns in the same processes, on models of the same weights. At the end torch's
profiler says how much of the time that gradients were under way lies within the backward pass.
"""

import argparse
import statistics
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from ssast import SSASTForPreTraining
from ssast.engine import distributed
from ssast.engine.averages import Totals
from ssast.engine.hardware import Engine, engine
from ssast.engine.optimiser import TrainingSettings
from ssast.engine.trainable import TrainingBatches
from ssast.engine.training_run import Run

PACK_VALUES = 1 << 25
LENGTH, MASK = 1024, 400
NODE = "autograd::engine::evaluate_function"


class Apart:
    """What `Run` asks of shared gradients where nothing travels in the backward pass."""

    is_ready = True

    def __init__(self, model: Any):
        self.loss = model.loss

    def apart(self) -> Any:
        """Every piece alike."""
        return nullcontext()

    def nothing(self) -> None:
        """Only the gradients that there are."""


class Summing(Run):
    """A run whose gradients are summed over the processes when all of them are there."""

    def __init__(self, *given: Any):
        super().__init__(*given)
        self.shared: Any = Apart(self.model)

    def _descend(self, totals: Totals) -> None:
        gradients = [one.grad for one in self.parameters if one.grad is not None]
        for pack in packs(gradients):
            flat = torch.cat([gradient.flatten() for gradient in pack])
            dist.all_reduce(flat)
            for gradient, summed in zip(pack, flat.split([one.numel() for one in pack]), strict=True):
                gradient.copy_(summed.view_as(gradient))
        torch._foreach_mul_(gradients, (1 / totals.count).float())
        optimizer: Any = self.optimizer
        optimizer.found_inf = totals.unfit
        optimizer.step()


def packs(gradients: list[torch.Tensor]) -> list[list[torch.Tensor]]:
    """The gradients in packs of at least so many values."""
    found: list[list[torch.Tensor]] = [[]]
    for gradient in gradients:
        if sum(one.numel() for one in found[-1]) > PACK_VALUES:
            found.append([])
        found[-1].append(gradient)
    return found


def run_of(kind: type[Run], where: Engine, folder: str, options: argparse.Namespace) -> Run:
    """A run that is ready for its first step."""
    sizes = {"target_length": LENGTH, "mask_patch": MASK, "mask_layer": options.mask_layer, "seed": 0}
    model = SSASTForPreTraining(options.size, **sizes).to(where.device).train()
    feed = TrainingBatches(lambda *_: [], list, 1, lambda batch, *_: batch, pieces=options.pieces)
    return kind(model, feed, TrainingSettings(), Path(folder), where, "")


def step_time(run: Run, pieces: list[Any]) -> float:
    """How long all processes take over one step [s]."""
    distributed.wait()
    began = time.perf_counter()
    run.step(pieces)
    run.settle()
    distributed.wait()
    return time.perf_counter() - began


def overlap(run: Run, pieces: list[Any]) -> str:
    """How much of the all-reduces' time lies within the backward pass, as a sentence."""
    kinds = [torch.profiler.ProfilerActivity.CPU]
    kinds += [torch.profiler.ProfilerActivity.CUDA] if run.engine.device.type == "cuda" else []
    with torch.profiler.profile(activities=kinds) as profiled:
        step_time(run, pieces)
    events = [(one.name, one.time_range.start, one.time_range.end) for one in profiled.events()]
    nodes = [(start, end) for name, start, end in events if name.startswith(NODE)]
    first, last = min(start for start, _ in nodes), max(end for _, end in nodes)
    names = ("gloo:all_reduce", "ncclDevKernel_AllReduce", "nccl:all_reduce")
    # That of the numbers follows.
    travels = [(start, end) for name, start, end in events if name.startswith(names) and first < start < last]
    whole = sum(end - start for start, end in travels)
    within = sum(min(end, last) - start for start, end in travels)
    return (
        f"backward pass {(last - first) / 1e3:.0f} ms: {len(travels)} all-reduces begin in it, the first after "
        f"{100 * (min(travels)[0] - first) / (last - first):.0f} % of it, and {100 * within / whole:.0f} % of the time "
        "that they take lies in it"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", default="base")
    parser.add_argument("--clips", type=int, default=1, help="in a piece")
    parser.add_argument("--pieces", type=int, default=1, help="of each process, a step")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--mask_layer", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    where = engine(options.device, "auto")
    drawn = torch.Generator().manual_seed(distributed.rank())
    fbank = torch.randn(options.clips, LENGTH, 128, generator=drawn)
    pieces: list[Any] = [{"uid": ["clip"] * options.clips, "fbank": fbank}] * options.pieces
    with tempfile.TemporaryDirectory() as folder:
        shared, summing = (run_of(kind, where, folder, options) for kind in (Run, Summing))
        times = [[step_time(run, pieces) for run in (shared, summing)] for _ in range(options.rounds + 1)][1:]
        shown = overlap(shared, pieces)
    if distributed.is_main():
        ratios = [ours / sums for ours, sums in times]
        ours, sums = (statistics.median(column) for column in zip(*times, strict=True))
        print(f"{options.size}, {distributed.size()} processes, {options.pieces} x {options.clips} clips each, {where}")
        print(f"DistributedDataParallel {ours:.3f} s, sums afterwards {sums:.3f} s a step (medians)")
        print(f"ratio {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})")
        print(shown)
    distributed.leave()


if __name__ == "__main__":
    main()
