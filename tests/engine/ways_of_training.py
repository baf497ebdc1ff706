"""Train tiny models in all the ways that there are, on as many processes as torchrun starts, and note the losses.

    torchrun --nproc_per_node 2 tests/engine/ways_of_training.py FOLDER WAY... [--dies_at STEP]

FOLDER gets a run's folder for each WAY, with what `train` writes there. Pretraining is computed in float64: the last
bias under InfoNCE and those of keys have a gradient of 0 but for rounding, which Adam makes as large as any other, and
in float32 two orders of one sum become two trainings.
"""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import torch
from torch import nn

from ssast import SSASTForAudioClassification, SSASTForPreTraining
from ssast.engine import distributed
from ssast.engine.hardware import engine
from ssast.engine.optimiser import TrainingSettings
from ssast.engine.parallel_heads import ParallelHeads
from ssast.engine.train import train
from ssast.engine.trainable import TrainingBatches
from ssast.engine.training_run import Run
from ssast.model import encoder
from ssast.model.lora import add_lora

CLIPS, BATCH, PIECE, FRAMES, BINS, LABELS, WIDTH = 14, 6, 2, 32, 32, 3, 48
"""Batches of 6, 6 and 2 clips: three pieces, three pieces and one, so that a process may have none."""
SIZES = {"model_size": "tiny", "num_mel_bins": BINS, "fshape": BINS, "tshape": 4, "target_length": FRAMES, "seed": 0}
HOW = {"learning_rate": 3e-4, "weight_decay": 0.1, "seed": 5}


def pretraining(**more: object) -> SSASTForPreTraining:
    return SSASTForPreTraining(**SIZES, mask_patch=5, **more).double()


def classification(**more: object) -> SSASTForAudioClassification:
    return SSASTForAudioClassification(LABELS, **SIZES, final_dropout=0.5, **more)


def adapted() -> nn.Module:
    model = classification()
    add_lora(model.v, rank=2, alpha=4, seed=0)
    return model


def last_blocks() -> nn.Module:
    model = classification(layer=7)
    model.unfreeze_last(2)
    return model


def heads() -> nn.Module:
    return ParallelHeads(classification(), task="ft_cls", layers=(2, 5, 13), seed=1, patience=0)


WAYS: dict[str, Callable[[], nn.Module]] = {
    "pretrain": pretraining,
    "late": lambda: pretraining(mask_layer=10),
    "muon": lambda: pretraining(mask_layer=10),
    "own lengths": lambda: pretraining(mask_layer=10, mask_padding=True),
    "one objective": lambda: pretraining(objective="pretrain_mpc"),
    "full": lambda: classification(freeze=False),
    "frozen": lambda: classification(weighted=True),
    "a layer": lambda: classification(freeze=False, layer=6, mask_padding=True),
    "last blocks": last_blocks,
    "lora": adapted,
    "heads": heads,
}


def piece(clips: torch.Tensor, *, pooled: bool, like: torch.Tensor) -> dict:
    """Some clips with what a model may ask for; another number of labels is missing in each."""
    drawn = [torch.Generator().manual_seed(int(clip)) for clip in clips]
    batch: dict = {"uid": [f"clip {clip}" for clip in clips.tolist()]}
    if not batch["uid"]:
        return batch
    labels = torch.stack([torch.rand(LABELS, generator=one).round() for one in drawn])
    labels[torch.rand(labels.shape, generator=drawn[0]) < 0.2] = torch.nan
    if pooled:
        return batch | {
            "targets": labels,
            "pooled": torch.stack([torch.randn(3, WIDTH, generator=g) for g in drawn]),
        }
    fbank = torch.stack([torch.randn(FRAMES, BINS, generator=one) for one in drawn])
    return batch | {"targets": labels, "fbank": fbank.to(like), "frames": 8 + 3 * (clips % 8)}


def batches(*, pooled: bool, like: torch.Tensor) -> TrainingBatches:
    rank, size = distributed.rank(), distributed.size()
    each = -(-BATCH // (PIECE * size))

    def training(epoch: int, start: int) -> Iterator[dict]:
        order = torch.randperm(CLIPS, generator=torch.Generator().manual_seed(epoch))
        for batch in order.split(BATCH)[start:]:
            for number in range(rank, each * size, size):
                yield piece(batch[number * PIECE : (number + 1) * PIECE], pooled=pooled, like=like)

    held_out = [piece(part, pooled=pooled, like=like) for part in torch.arange(20, 24).split(2)][rank::size]
    return TrainingBatches(training, lambda: held_out, 3, lambda batch, generator=None: batch, pieces=each)


def fresh(way: str) -> nn.Module:
    """The model that a way begins with, narrower than any that is offered."""
    with mock.patch.dict(encoder.SIZES, {"tiny": encoder.Size(WIDTH, 3)}):
        return WAYS[way]()


def train_in(way: str, folder: Path) -> nn.Module:
    """The model after 27 steps."""
    model = fresh(way)
    feed = batches(pooled=way == "heads", like=next(model.parameters()))
    settings = TrainingSettings(epochs=9, optim="muon" if way == "muon" else "adamw", **HOW)
    train(model, feed, settings, folder, engine("cpu", "fp32"), key=way)
    return model


def die_at(last: int) -> None:
    """Let the main process end as by SIGKILL after the step of this number, which is saved."""
    whole = Run.step

    def step(run: Run, *given: object, **named: object) -> object:
        means = whole(run, *given, **named)
        if run.progress.step == last:
            run.save()
            run.checkpoints.flush()
            if distributed.is_main():
                os._exit(9)
        return means

    Run.step = step


def main(words: list[str]) -> None:
    folder, *ways = words
    if "--dies_at" in ways:
        die_at(int(ways.pop()))
        ways.pop()
    for way in ways or WAYS:
        train_in(way, Path(folder) / way)
    distributed.leave()


if __name__ == "__main__":
    main(sys.argv[1:])
