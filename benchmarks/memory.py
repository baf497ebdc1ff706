"""The peak memory of an extraction from few and from many clips: it should not grow with their number.

    python benchmarks/memory.py [--few 1000] [--many 10000]

Clips of half a second, tiny model; each extraction is a process of its own. Then 64 clips of three seconds with a
model that hears them whole, alone and with one recording of 30 minutes (44.1 kHz, stereo) among them.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import soundfile

LINKS = 10_000
PEAK = """
import resource, sys
from ssast import cli
code = cli.main(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
sys.exit(code)
"""


def write_clips(folder: Path, clips: int, seconds: float) -> None:
    """One recording under many uids, as hard links, of which a disk allows so many to one file."""
    first = folder / "audio" / "0"
    first.mkdir(parents=True)
    soundfile.write(first / "waveform.wav", 0.1 * np.random.default_rng(0).standard_normal(int(16000 * seconds)), 16000)
    (first / "metadata.json").write_text(json.dumps({"encoding": "WAV", "sample_rate_hz": 16000}))
    for number in range(1, clips):
        home = folder / "audio" / str(number)
        home.mkdir()
        is_first = number % LINKS == 0
        for file in first.iterdir():
            (shutil.copy if is_first else os.link)(file, home / file.name)
        first = home if is_first else first
    pd.DataFrame({"uid": [str(number) for number in range(clips)]}).to_csv(folder / "all.csv", index=False)


def add_long(folder: Path) -> None:
    """One more recording, of 30 minutes, in the middle of the table."""
    home = folder / "audio" / "long"
    home.mkdir()
    noise = 0.1 * np.random.default_rng(1).standard_normal((44100, 2))
    with soundfile.SoundFile(home / "waveform.wav", "w", 44100, 2) as file:
        for _ in range(30 * 60):
            file.write(noise)
    (home / "metadata.json").write_text(json.dumps({"encoding": "WAV", "sample_rate_hz": 44100}))
    uids = pd.read_csv(folder / "all.csv", dtype=str)["uid"].tolist()
    uids.insert(len(uids) // 2, "long")
    pd.DataFrame({"uid": uids}).to_csv(folder / "all.csv", index=False)


def peak_mb(clips: int, *, seconds: float = 0.5, target_length: int = 64, with_long: bool = False) -> float:
    """The largest resident memory of an extraction from so many clips."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        write_clips(folder, clips, seconds)
        if with_long:
            add_long(folder)
        words = ["extract", "-i", str(folder / "audio"), "-d", str(folder / "all.csv"), "-o", str(folder / "out")]
        words += ["--pretrained_mdl_path", "none", "--model_size", "tiny", "--target_length", f"{target_length}"]
        words += ["--embedding_type", "pt", "--device", "cpu"]
        done = subprocess.run([sys.executable, "-c", PEAK, *words], capture_output=True, text=True, check=True)
        return int(done.stdout.splitlines()[-1]) / 1024


STEP = """
import resource, torch
from ssast import SSASTForPreTraining
from ssast.engine.optimiser import TrainingSettings, optimiser
model = SSASTForPreTraining("base", seed=0).train()
optimizer, fbank = optimiser(model, TrainingSettings()), torch.randn(1, 1024, 128)
for _ in range(2):
    with torch.autocast("cpu", torch.bfloat16):
        loss = model.loss({"fbank": fbank})["loss"]
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
states = [value for of in optimizer.state.values() for value in of.values()]
held = [*model.parameters(), *(one.grad for one in model.parameters() if one.grad is not None), *states]
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, sum(one.nbytes for one in held))
"""


def training_gb() -> tuple[float, float]:
    """The largest resident memory of training the base model on one clip of 10 s; what sharding could divide of it."""
    done = subprocess.run([sys.executable, "-c", STEP], capture_output=True, text=True, check=True)
    kilobytes, held = map(int, done.stdout.splitlines()[-1].split())
    return kilobytes / 1e6, held / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--few", type=int, default=1000)
    parser.add_argument("--many", type=int, default=10000)
    asked = parser.parse_args()
    few, many = peak_mb(asked.few), peak_mb(asked.many)
    print("| clips | peak memory, MB |\n|---|---|")
    print(f"| {asked.few} | {few:.0f} |\n| {asked.many} | {many:.0f} ({100 * (many / few - 1):+.1f} %) |")
    alone, among = (peak_mb(64, seconds=3.0, target_length=304, with_long=long) for long in (False, True))
    more = f"{100 * (among / alone - 1):+.1f} %"
    print(f"\n64 clips of 3 s: {alone:.0f} MB; with one of 30 minutes: {among:.0f} MB ({more})")
    whole, held = training_gb()
    print(f"\ntraining the base model on one clip: {whole:.1f} GB, {held:.1f} of it weights, gradients, Adam's state")


if __name__ == "__main__":
    main()
