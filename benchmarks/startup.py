"""How long small runs take from the prompt to the end: what a start costs, since the model's work is little.

    python benchmarks/startup.py [--rounds 5]

A tiny model, clips of half a second: `ssast --help`, `ssast predict` of one clip, and `ssast finetune` of 16 clips
whose states are kept from an earlier run. Each is a process of its own; medians over the rounds, taken in turn.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

import ssast

RATE, CLIPS, TESTS, FRAMES = 16000, 16, 6, 64
AT_MOST = {"help": None, "predict": 2.3, "finetune": 4.0}
"""[s] on two quiet cores."""


def prepare(root: Path) -> dict[str, list[str]]:
    """A corpus and a model in this folder; the words of each command, less its folder for results."""
    chance = np.random.default_rng(0)
    for number in range(CLIPS + TESTS):
        home = root / "audio" / f"{number:03d}"
        home.mkdir(parents=True)
        soundfile.write(home / "waveform.wav", 0.1 * chance.standard_normal(RATE // 2).astype(np.float32), RATE)
        (home / "metadata.json").write_text(json.dumps({"encoding": "WAV", "sample_rate_hz": RATE}))
    for name, numbers in (("train", range(CLIPS)), ("test", range(CLIPS, CLIPS + TESTS))):
        rows = [f"{number:03d},{number % 2}" for number in numbers]
        (root / f"{name}.csv").write_text("\n".join(["uid,odd", *rows]) + "\n")
    (root / "labels.txt").write_text("odd\n")
    how = {"target_length": FRAMES, "frontend": {"sample_rate": RATE, "num_mel_bins": 128, "target_length": FRAMES}}
    ssast.SSASTForPreTraining("tiny", mask_patch=8, seed=0, **how).save_pretrained(root / "pretrained")
    model = ssast.SSASTForAudioClassification(1, "tiny", labels=["odd"], seed=0, **how)
    model.save_pretrained(root / "tuned")
    data = ["-i", f"{root}/audio", "-d", f"{root}", "-l", f"{root}/labels.txt", "--target_length", str(FRAMES)]
    return {
        "help": ["--help"],
        "predict": ["predict", "--finetuned_mdl_path", f"{root}/tuned", f"{root}/audio/000/waveform.wav", "-o"],
        "finetune": ["finetune", "--pretrained_mdl_path", f"{root}/pretrained", *data, "-o"],
    }


def timed(words: list[str], cache: Path) -> tuple[float, float]:
    """The seconds on the clock and on the processor of one process."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    environment = os.environ | {"SSAST_CACHE": str(cache)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # containers set it; each start would compile the package anew
    subprocess.run([sys.executable, "-m", "ssast", *words], env=environment, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - began, spent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    taken: dict[str, list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        commands = prepare(root)
        for number in range(rounds + 1):  # the first keeps the states, and warms the disk
            for name, words in commands.items():
                place = [str(root / "out" / f"{name}-{number}")] if words[-1] == "-o" else []
                taken.setdefault(name, []).append(timed([*words, *place], root / "cache"))
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, medians of {rounds}")
    print("| command | seconds | at most | processor seconds |\n|---|---|---|---|")
    for name, pairs in taken.items():
        clock, spent = (statistics.median(values) for values in zip(*pairs[1:], strict=True))
        most = "" if AT_MOST[name] is None else f"{AT_MOST[name]:.1f}"
        print(f"| {name} | {clock:.2f} | {most} | {spent:.2f} |")


if __name__ == "__main__":
    main()
