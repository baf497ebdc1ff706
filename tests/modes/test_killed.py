"""SIGKILL at random moments, twenty times each: training and extraction come out as if nothing had happened."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

KILLS = 20
QUIET: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


def words(corpus: Any, **options: Any) -> list[str]:
    options = {"prefix": corpus.audio, "label_txt": corpus.label_txt, "device": "cpu", "resamples": 0, **options}
    return [word for name, value in options.items() for word in (f"--{name}", str(value))]


def newest(folder: Path, pattern: str) -> int:
    return max((path.stat().st_mtime_ns for path in folder.glob(pattern)), default=0)


def kill_often(start: list[str], folder: Path, pattern: str, *, within: float) -> int:
    """Start the command again and again, each time killed up to `within` seconds after it wrote something new.

    The number of times that the kill came before it was through.
    """
    rng, kills = np.random.default_rng(0), 0
    for _ in range(KILLS):
        process = subprocess.Popen(start, **QUIET)
        before = newest(folder, pattern)
        while process.poll() is None and newest(folder, pattern) == before:
            time.sleep(0.005)
        time.sleep(rng.uniform(0, within))
        kills += process.poll() is None
        process.kill()
        process.wait()
    subprocess.run(start, check=True, **QUIET)
    return kills


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_training_killed_twenty_times_gives_the_same_bytes(still_corpus, tmp_path):
    """While it starts, trains, writes a checkpoint and validates: a checkpoint is written after every step."""
    options = {"data_split_root": still_corpus.splits, "pretrained_mdl_path": "none", "model_size": "tiny"}
    options |= {"target_length": 32, "epochs": 40, "batch_size": 2, "freeze": False, "save_every_seconds": 0}
    start = [sys.executable, "-m", "ssast", "finetune", *words(still_corpus, **options), "--exp_dir"]
    whole, out = tmp_path / "whole", tmp_path / "out"
    subprocess.run([*start, str(whole)], check=True, **QUIET)
    assert kill_often([*start, str(out)], out / "checkpoints", "last.pt", within=0.25) == KILLS
    for name in ("model.safetensors", "predictions.csv", "aucs.csv", "metrics.json"):
        assert (out / name).read_bytes() == (whole / name).read_bytes()
    assert not [path for path in out.rglob("*") if path.name.startswith(".")]


# Small parts and slow clips, so that there is something to kill; the model sees what it always sees.
SLOWLY = """
import sys, time
from ssast import cli
from ssast.engine import infer

values, infer.SECONDS_A_PART = infer.values, -1.0

def slowly(*arguments):
    time.sleep(0.05)
    return values(*arguments)

infer.values = slowly
sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_extraction_killed_twenty_times_gives_the_same_rows(still_corpus, tmp_path):
    frame = pd.concat([still_corpus.frame("train"), still_corpus.frame("test")])
    for number in range(60):  # further uids, links to the same recordings
        for uid in frame.index:
            (tmp_path / "audio").mkdir(exist_ok=True)
            (tmp_path / "audio" / f"{number}-{uid}").mkdir()
            for file in (still_corpus.audio / uid).iterdir():
                (tmp_path / "audio" / f"{number}-{uid}" / file.name).hardlink_to(file)
    uids = [f"{number}-{uid}" for number in range(60) for uid in frame.index]
    pd.DataFrame({"uid": uids}).to_csv(tmp_path / "all.csv", index=False)
    options = {"prefix": tmp_path / "audio", "data_split_root": tmp_path / "all.csv", "pretrained_mdl_path": "none"}
    options |= {"model_size": "tiny", "target_length": 32, "embedding_type": "pt", "batch_size": 8}
    start = [sys.executable, "-c", SLOWLY, "extract", *words(still_corpus, **options), "--exp_dir"]
    whole, out = tmp_path / "whole", tmp_path / "out"
    subprocess.run([*start, str(whole)], check=True, **QUIET)
    assert kill_often([*start, str(out)], out / ".parts" / "extract", "part-*", within=0.1) == KILLS
    one, other = (pq.read_table(next(folder.glob("*.pqt"))) for folder in (whole, out))
    assert one["uid"].to_pylist() == uids
    assert one.equals(other)
    assert not (out / ".parts").exists()
