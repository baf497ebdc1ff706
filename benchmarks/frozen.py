"""What a frozen base costs that hears each recording once: twenty epochs of its head against one pass of the base.

    python benchmarks/frozen.py [--clips 16] [--rounds 3] [--size base] [--epochs 20]

Both are the training of `ssast.finetune` once its model is loaded, in turn in one process, on synthetic clips of 10 s
that no cache knows. "One pass" is one epoch without kept states: every clip, trained on or held out, goes through the
base once. On a CPU the base hears eight clips at a time, so take a multiple of eight. The table also holds a second run
and the sweep over layers, and how far the weights of both ways differ.
"""

import argparse
import contextlib
import io
import json
import os
import platform
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import soundfile
import torch

from ssast import SSASTForAudioClassification, sweep
from ssast.engine.train import train
from ssast.model.label_kinds import LabelKinds
from ssast.options.record import resolve
from ssast.runs.batches import ClipReader
from ssast.runs.context import RunContext
from ssast.runs.features import Pooler, own_states, pooled_training_batches
from ssast.runs.models import ModelSettings, audio_settings, classification_model
from ssast.runs.rows import training_rows
from ssast.runs.training import training_batches, training_settings

SECONDS, RATE = 10, 16000
LABELS = ["high", "loud"]


def write_clips(folder: Path, clips: int) -> None:
    """Noisy tones with two labels that can be heard, and the csv files."""
    rng = np.random.default_rng(0)
    rows = []
    for number in range(clips):
        high, loud = number % 2, number // 2 % 2
        time_S = np.arange(SECONDS * RATE) / RATE
        tone_S = np.sin(2 * np.pi * (900 if high else 300) * time_S) * (0.5 if loud else 0.1)
        home = folder / "audio" / f"{number:04d}"
        home.mkdir(parents=True)
        soundfile.write(home / "waveform.wav", tone_S + 0.01 * rng.standard_normal(len(tone_S)), RATE)
        (home / "metadata.json").write_text(json.dumps({"encoding": "WAV", "sample_rate_hz": RATE}))
        rows.append({"uid": f"{number:04d}", "high": high, "loud": loud})
    (folder / "splits").mkdir()
    pd.DataFrame(rows).to_csv(folder / "splits" / "train.csv", index=False)
    (folder / "labels.txt").write_text("\n".join(LABELS))


def options(folder: Path, **others: Any) -> dict[str, Any]:
    found = {"prefix": folder / "audio", "data_split_root": folder / "splits", "label_txt": folder / "labels.txt"}
    found |= {"pretrained_mdl_path": folder / "pretrained", "device": "cpu", "batch_size": 8, "val_share": 0.25}
    return found | others


def training(folder: Path, cache: Path, **given: Any) -> tuple[float, dict[str, torch.Tensor]]:
    """The processor seconds that training takes once the model is loaded, and the weights of its head."""
    os.environ["SSAST_CACHE"] = str(cache)
    asked = resolve(mode="finetune", **options(folder, **given), exp_dir=str(folder / "run"))
    context, audio = RunContext.of(asked), audio_settings(asked)
    how = {"val_share": asked.val_share, "seed": asked.seed, "on_bad_audio": asked.on_bad_audio}
    train_rows, held_out = training_rows(context.paths, LabelKinds.plain(asked.loss, LABELS), **how)
    model = classification_model(context.paths, ModelSettings.of(asked), train_rows.kinds, audio)
    reader = ClipReader.of(context, audio)
    batches = training_batches(reader, train_rows, held_out, piece_size=asked.batch_size)
    began = time.process_time()
    if asked.features == "auto":
        pooler = Pooler(reader, context.engine, model, own_states(model), True, asked.cache_gb)
        batches = pooled_training_batches(pooler, batches, train_rows, held_out)
    with TemporaryDirectory() as run:
        train(model, batches, training_settings(asked), Path(run), context.engine)
    return time.process_time() - began, model.mlp_head.state_dict()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


def one_round(folder: Path, **kind: Any) -> dict[str, float]:
    """The processor seconds of each way; what is kept is kept in a cache that is empty at first."""
    with TemporaryDirectory() as cache, quiet():
        once = training(folder, Path(cache), **{**kind, "epochs": 1}, features="never")[0]
        kept, again = (training(folder, Path(cache), **kind)[0] for _ in range(2))
    return {"pass": once, "kept": kept, "again": again}


def sweep_seconds(folder: Path, **kind: Any) -> float:
    """The processor seconds of a sweep whose states are kept already."""
    with TemporaryDirectory() as cache, quiet():
        os.environ["SSAST_CACHE"] = cache
        sweep(**options(folder, **{**kind, "epochs": 1}, exp_dir=folder / "sweep"))
        began = time.process_time()
        sweep(**options(folder, **kind, exp_dir=folder / "sweep"))
        return time.process_time() - began


def difference(folder: Path, **kind: Any) -> float:
    """The largest difference of a weight of the head between training with kept states and without."""
    with TemporaryDirectory() as cache, quiet():
        heads = [training(folder, Path(cache), **kind, features=features)[1] for features in ("auto", "never")]
    return max(float((heads[0][name] - heads[1][name]).abs().max()) for name in heads[0])


def line(what: str, values: list[float], wanted: str = "-") -> str:
    return f"| {what} | {statistics.median(values):.3f} | {min(values):.3f} to {max(values):.3f} | {wanted} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--size", default="base")
    parser.add_argument("--precision", default="fp32")
    given = parser.parse_args()
    print(f"{given.clips} clips of {SECONDS} s, {given.size}, {given.precision}, {given.epochs} epochs; ", end="")
    print(f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}\n")
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_clips(folder, given.clips)
        SSASTForAudioClassification(1, given.size, seed=0).save_pretrained(folder / "pretrained")
        kind: dict[str, Any] = {"precision": given.precision, "epochs": given.epochs}
        rounds = [one_round(folder, **kind) for _ in range(given.rounds)]
        seconds = sweep_seconds(folder, **kind)
        apart = difference(folder, precision=given.precision, epochs=1)
    ratios = {name: [one[name] / one["pass"] for one in rounds] for name in rounds[0]}
    print("| what | median | range | wanted |\n|---|---|---|---|")
    print(line("one pass of the base, processor seconds", [one["pass"] for one in rounds]))
    print(line(f"{given.epochs} epochs of the head, times one pass", ratios["kept"], "at most 1.2"))
    print(line("the same again, states kept, times one pass", ratios["again"]))
    print(line("sweep of 30 heads, states kept, processor seconds", [seconds]))
    print(f"| largest difference of a weight, 1 epoch | {apart:.1e} | | at most 1e-5 |")


if __name__ == "__main__":
    main()
