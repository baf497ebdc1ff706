"""Time training steps of every kind on a device, and say what kinds of operations they are of: parts of `gpu.py`."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import limits
import torch
from bounds import KINDS, kind_of
from published import our_step, published_step
from torch import Tensor

from ssast import SSASTForPreTraining
from ssast.engine.hardware import Engine

LATE = {"failed": "no time left"}


@dataclass
class Bench:
    """Where is measured, how much, and until when."""

    engine: Engine
    small: bool
    deadline: float
    found: dict[str, Any] = field(default_factory=dict)

    @property
    def device(self) -> torch.device:
        """Where the models are."""
        return self.engine.device

    @property
    def is_gpu(self) -> bool:
        """Whether there is something to capture, to compile for and to wait for."""
        return self.device.type == "cuda"

    @property
    def length(self) -> int:
        """Frames of a spectrogram."""
        return 64 if self.small else 1024

    @property
    def left(self) -> float:
        """Seconds until the end."""
        return self.deadline - time.monotonic()

    def model(self, size: str = "tiny", late: int = 0, **how: Any) -> SSASTForPreTraining:
        """A new model, the same each time; about four fifths of its patches are hidden, as in the paper."""
        hidden = self.length // 2 * 400 // 512
        made = SSASTForPreTraining(size, target_length=self.length, mask_patch=hidden, mask_layer=late, seed=0, **how)
        return made.to(self.device).train()

    def fbank(self, clips: int) -> Tensor:
        """Noise that looks like so many clips."""
        return torch.randn(clips, self.length, 128, generator=torch.Generator().manual_seed(0)).to(self.device)


def graph_of(step: Callable[[], object]) -> Callable[[], object]:
    """A training step captured as one CUDA graph, after warming up on a side stream."""
    beside, now = torch.cuda.Stream(), torch.cuda.current_stream()
    beside.wait_stream(now)
    with torch.cuda.stream(beside):
        for _ in range(3):
            step()
    now.wait_stream(beside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()

    def replay(kept: object = step) -> None:  # what the step reads must live as long as the graph
        graph.replay()

    return replay


@dataclass(frozen=True)
class SteppingWay:
    """A model, the way in which it is trained, and what gives its step for so many clips."""

    model: SSASTForPreTraining
    way: str
    of: Callable[[int], Callable[[], object]]


def _rounded(block: torch.nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
    """What a block is given, its tokens in bf16: then they stay so between its parts."""
    return given[0].bfloat16(), *given[1:]


def way_to_step(bench: Bench, size: str, late: int, way: str) -> SteppingWay:
    """A new model trained that way; its compiled blocks serve all numbers of clips."""
    model, half = bench.model(size, late), bench.engine.bf16
    fused = bench.device.type in ("cpu", "cuda")
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-4, fused=fused, capturable=bench.is_gpu)
    for block in model.v.blocks:
        if way == "bf16 stream":
            block.register_forward_pre_hook(_rounded)
        elif "compiled" in way:
            block.compile()

    def of(clips: int) -> Callable[[], object]:
        fbank, hidden = bench.fbank(clips), model.mask_patch
        if way == "published":
            return lambda: published_step(model, optimizer, fbank, hidden)

        def step() -> None:
            our_step(model, optimizer, fbank, hidden, half)

        return graph_of(step) if "graph" in way else step

    return SteppingWay(model, way, of)


def timed(bench: Bench, step: Callable[[], object], seconds: float) -> float:
    """The mean time of a step, over as many as fit into the time, after two that do not count."""
    count = int(min(50, max(2, seconds / limits.best_seconds(step, 1, bench.device))))
    limits.wait_for(bench.device)
    start = time.perf_counter()
    for _ in range(count):
        step()
    limits.wait_for(bench.device)
    return (time.perf_counter() - start) / count


def plan(bench: Bench) -> Iterator[tuple[str, int, str, tuple[int, ...]]]:
    """What is timed, the most telling first: size, N, way, clips."""
    if bench.small:
        yield from (("tiny", 0, "eager", (2,)), ("tiny", 10, "eager", (2,)), ("tiny", 0, "published", (2,)))
        return
    yield from ((size, 0, "published", (24,)) for size in ("base", "tiny"))
    several = (128, 24, 64, 256)
    for way in ("eager", "compiled", "graph", "compiled graph", "bf16 stream") if bench.is_gpu else ("eager",):
        for size in ("base", "tiny"):
            yield from ((size, late, way, several) for late in (10, 0))


def rates(bench: Bench) -> list[dict[str, Any]]:
    """Time, clips a second, share of the matrix rate and peak memory of each kind of step."""
    best = max((value for name, value in bench.found["machine"].items() if "FLOP" in name), default=float("nan"))
    rows, until = [], time.monotonic() + 0.65 * bench.left
    for size, late, way, several in plan(bench):
        row = {"size": size, "N": late, "way": way}
        try:
            made = way_to_step(bench, size, late, way)
        except Exception as error:  # a way that this machine does not know is a row of the table
            rows.append(row | {"clips": several[0], "failed": f"{type(error).__name__}: {error}"[:200]})
            continue
        for clips in several:
            rows.append(
                row | {"clips": clips} | (_rate(bench, made, clips, best) if time.monotonic() < until else LATE)
            )
    return rows


def _rate(bench: Bench, made: SteppingWay, clips: int, best: float) -> dict[str, Any]:
    try:
        if bench.is_gpu:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        seconds = timed(bench, made.of(clips), 0.1 if bench.small else 1.0)
    except Exception as error:
        return {"failed": f"{type(error).__name__}: {error}"[:200]}
    passes = 2 * limits.training_operations(made.model.v, clips)  # one for each objective
    operations = passes if made.way == "published" else limits.pretraining_operations(made.model, clips)
    share = operations / seconds / best
    peak = torch.cuda.max_memory_reserved() / 1e9 if bench.is_gpu else None
    return {"ms": 1000 * seconds, "clips a second": clips / seconds, "share of the rate": share, "GB": peak}


def profile(bench: Bench) -> dict[str, float]:
    """The share of each kind of operation in the time of an eager step."""
    kinds = [torch.profiler.ProfilerActivity.CPU, *([torch.profiler.ProfilerActivity.CUDA] if bench.is_gpu else [])]
    step = way_to_step(bench, "tiny" if bench.small else "base", 0, "eager").of(2 if bench.small else 24)
    step()
    with torch.profiler.profile(activities=kinds) as seen:
        step()
        limits.wait_for(bench.device)
    spent: Counter[str] = Counter()
    for event in seen.key_averages():
        if str(event.device_type).endswith("CPU"):  # the kernels' own events would count twice
            spent[kind_of(event.key)] += event.self_device_time_total if bench.is_gpu else event.self_cpu_time_total
    return {kind: spent[kind] / (sum(spent.values()) or 1) for kind in (*KINDS, "the rest")}
