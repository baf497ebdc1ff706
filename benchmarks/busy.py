"""Time a training step beside other work, with and without the short spin that ssast sets for OpenMP's threads.

    python benchmarks/busy.py [--rounds 5] [--loops 4] [--size tiny|base] [--spins 3000 ...] [--demo [WORDS]]

A step of the tiny model at 304 frames, 4 clips, fp32, is timed quiet and beside four endless loops. Each figure is
the median of the rounds, taken in turn; each round is a process of its own, in which the median of ten steps counts
(fewer where they take over 20 s). With --demo the demo runs too, once each way, quiet and beside the loops (minutes).
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

STEP = """
import sys
if sys.argv[1] == "plain":
    import torch  # before ssast, whose settings then come too late
import statistics, time, warnings
warnings.simplefilter("ignore")
import ssast, torch
from ssast.engine.optimiser import TrainingSettings, optimiser
clips, frames, hidden = (4, 304, 60) if sys.argv[2] == "tiny" else (1, 1024, 400)
model = ssast.SSASTForPreTraining(sys.argv[2], target_length=frames, mask_patch=hidden, seed=0).train()
optimizer, fbank = optimiser(model, TrainingSettings()), torch.randn(clips, frames, 128)
times = []
while len(times) < 3 or (len(times) < 12 and sum(times) < 20):
    began = time.perf_counter()
    loss = model.loss({"fbank": fbank})["loss"]
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    times.append(time.perf_counter() - began)
print(statistics.median(times[2:]), torch.get_num_threads())
"""
WAYS = {"plain": "as torch comes", "short": "with the short spin"}
OWN = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "KMP_LIBRARY")


def fresh_environment(way: str) -> dict[str, str]:
    """The environment without settings of the spin; the demo's plain way gets what GNU's runtime takes by itself."""
    kept = {name: value for name, value in os.environ.items() if name not in OWN}
    spin = {"plain demo": "300000"}.get(way, way)
    return {**kept, "GOMP_SPINCOUNT": spin} if spin.isdigit() else kept


@contextmanager
def busy(loops: int) -> Iterator[None]:
    """Inside, so many processes compute without end."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(loops)]
    try:
        time.sleep(0.5)
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def step_seconds(way: str, size: str = "tiny") -> tuple[float, int]:
    """The median time of a step in a new process, and on how many threads."""
    command = [sys.executable, "-c", STEP, way, size]
    done = subprocess.run(command, env=fresh_environment(way), capture_output=True, text=True, check=True)
    seconds, threads = done.stdout.split()
    return float(seconds), int(threads)


def demo_seconds(way: str, words: Sequence[str]) -> tuple[float, int]:
    """The time of one demo with these further words."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        command = [sys.executable, "-m", "ssast", "demo", "--exp_dir", folder, *words]
        subprocess.run(command, env=fresh_environment(f"{way} demo"), capture_output=True, check=True)
        return time.perf_counter() - began, 0


def table(what: str, ways: Mapping[str, str], measure, rounds: int, loops: int) -> None:
    """Print the medians of these ways, quiet and busy, taken in turn."""
    found: dict[tuple[str, int], list[float]] = {(way, count): [] for way in ways for count in (0, loops)}
    for _ in range(rounds):
        for way, count in found:
            with busy(count):
                seconds, threads = measure(way)
            found[way, count].append(seconds)
    if threads:
        print(f"{threads} threads\n")
    print(f"| {what} | quiet [s] | beside {loops} loops [s] | times |\n|---|---|---|---|")
    for way, words in ways.items():
        quiet, beside = (statistics.median(found[way, count]) for count in (0, loops))
        print(f"| {words} | {quiet:.3f} | {beside:.3f} | {beside / quiet:.1f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--loops", type=int, default=4)
    parser.add_argument("--demo", action="store_true")
    parser.add_argument("--size", choices=("tiny", "base"), default="tiny", help="base: one clip of 1024 frames")
    parser.add_argument("--spins", nargs="*", default=[], help="further values of GOMP_SPINCOUNT for the step")
    asked, words = parser.parse_known_args()
    spins = {spin: f"`GOMP_SPINCOUNT={spin}`" for spin in asked.spins}
    print(f"{platform.machine()}, {os.cpu_count()} processors", end=", ")
    step = f"step of {asked.size}"
    table(step, WAYS | spins, lambda way: step_seconds(way, asked.size), asked.rounds, asked.loops)
    if asked.demo:
        print()
        table("`ssast demo`", WAYS, lambda way: demo_seconds(way, words), 1, asked.loops)


if __name__ == "__main__":
    main()
