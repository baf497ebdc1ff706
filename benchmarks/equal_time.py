"""Real recordings in; what pretraining learns in equal time, our way and the published way, comes out as a table.

    python benchmarks/equal_time.py ../shared/fsdd --minutes 10

Tiny frame models, the same clips in the same order, batches, optimiser and learning rate. Ours: one encoder pass a step
in the precision that `auto` takes here, fbank by the batch. The published way: float32, a pass for each of the two
objectives, masks clip by clip, fbank clip by clip in the data set; once from its own initial weights, once from ours.
Every way is judged on the clips of the test csv, whose speakers it has not heard, with the same masks. Minutes count
reading, fbank and training; judging stops the clock.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from published import our_step, published_start, published_step

from ssast import AudioDataset, SSASTForPreTraining
from ssast.data.dataset import loader
from ssast.data.tables.splits import read_split
from ssast.engine.hardware import native_bf16
from ssast.engine.optimiser import TrainingSettings, optimiser

CPU = torch.device("cpu")
CONF: dict[str, Any] = {"target_length": 100}
MASK, BATCH, RATE, SEED = 20, 16, 5e-4, 0
LOOKS = (0.1, 0.2, 0.5, 1.0)
"""Shares of the time after which a model is judged."""

Step = Callable[[SSASTForPreTraining, torch.optim.Optimizer, dict[str, Any]], None]


def recordings(root: Path, part: str, *, with_fbank: bool) -> AudioDataset:
    """The clips of one of the two csv files."""
    frame = read_split(root / "splits" / f"{part}.csv")
    return AudioDataset(frame, None, CONF, str(root / "audio"), with_fbank=with_fbank)


def batches(data: AudioDataset) -> Iterator[dict[str, Any]]:
    """Shuffled batches, epoch after epoch."""
    epoch = 0
    while True:
        yield from loader(data, batch_size=BATCH, shuffle_seed=SEED, epoch=epoch)
        epoch += 1


@torch.no_grad()
def judge(model: SSASTForPreTraining, fbank_BTF: torch.Tensor) -> dict[str, float]:
    """Loss and pretext accuracy on clips that the model never trained on; always the same masks."""
    model.eval()
    found = model.loss({"fbank": fbank_BTF}, torch.Generator().manual_seed(SEED))
    model.train()
    return {name: float(value) for name, value in found.items()}


def pretrain(step: Step, data: AudioDataset, test: torch.Tensor, seconds: float, *, start: Any = None) -> list[dict]:
    """What `judge` says after each share of the time, with the steps done by then."""
    model = SSASTForPreTraining("tiny", target_length=CONF["target_length"], mask_patch=MASK, seed=SEED).train()
    if start is not None:
        torch.manual_seed(SEED)
        start(model)
    optimizer = optimiser(model, TrainingSettings(optim="adamw", learning_rate=RATE))
    rows: list[dict] = []
    left, steps, used = list(LOOKS), 0, 0.0
    several, began = batches(data), time.perf_counter()
    while left:
        step(model, optimizer, next(several))
        steps += 1
        used += time.perf_counter() - began
        if used >= left[0] * seconds:
            rows.append({"minutes": left.pop(0) * seconds / 60, "steps": steps, **judge(model, test)})
        began = time.perf_counter()
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, help="folder with audio/ and splits/")
    parser.add_argument("--minutes", type=float, default=10, help="for each way")
    asked = parser.parse_args()
    waveforms, fbanks, unheard = (
        recordings(asked.root, part, with_fbank=whole)
        for part, whole in (("train", False), ("train", True), ("test", True))
    )
    test = torch.stack([unheard[index]["fbank"] for index in range(len(unheard))])
    prepare, half = waveforms.conf.prepare(), native_bf16(CPU)

    def ours(model: SSASTForPreTraining, optimizer: torch.optim.Optimizer, batch: dict[str, Any]) -> None:
        our_step(model, optimizer, prepare(batch)["fbank"], MASK, half)

    def published(model: SSASTForPreTraining, optimizer: torch.optim.Optimizer, batch: dict[str, Any]) -> None:
        published_step(model, optimizer, batch["fbank"], MASK)

    ways = {
        "ours": (ours, waveforms, None),
        "published": (published, fbanks, published_start),
        "published, from our initial weights": (published, fbanks, None),
    }
    print("| way | minutes | steps | loss | InfoNCE | error of reconstruction | accuracy | times chance |")
    print("|---|---|---|---|---|---|---|---|")
    for name, (step, data, start) in ways.items():
        for row in pretrain(step, data, test, 60 * asked.minutes, start=start):
            cells = (f"{row['loss']:.3f}", f"{row['nce']:.3f}", f"{row['mse']:.4f}", f"{row['accuracy']:.3f}")
            line = (name, f"{row['minutes']:g}", str(row["steps"]), *cells, f"{row['accuracy'] / row['chance']:.1f}")
            print(f"| {' | '.join(line)} |", flush=True)


if __name__ == "__main__":
    main()
