"""Trainings from shards, killed at random moments on one and on two processes, and gone on with by other numbers.

`make trials` (SSAST_TIMES=20): so many kills instead of one.
"""

import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
NARROW = "from ssast.model.encoder import SIZES, Size\nSIZES['tiny'] = Size(48, 3)"
"""What the fixture of this name does, for others."""
WAITING = f"""
{NARROW}
import time
from ssast.engine import train

step, taken = train.Run.step, []

def waiting(*given, **named):
    taken.append(1)
    if len(taken) > 3:
        time.sleep(600)  # until the kill comes, however late on a loaded machine
    return step(*given, **named)

train.Run.step = waiting
"""
TIMES = int(os.environ.get("SSAST_TIMES", "1"))
HOW = {"model_size": "tiny", "target_length": 32, "device": "cpu", "precision": "fp32", "save_every_seconds": 0}
HOW |= {"epochs": 2 + TIMES, "batch_size": 4, "micro_batch": 2, "seed": 3}
"""Three steps an epoch; a start that is killed takes at most three."""
EPOCHS = 3
"""Where other numbers of processes go on: roundings differ there, and grow with the steps."""
MODES: dict[str, dict[str, Any]] = {
    "pretrain": {"mask_patch": 8},
    "finetune": {"pretrained_mdl_path": "none", "freeze": False, "final_dropout": 0.5, "resamples": 0},
}
RESULTS = {
    "pretrain": ["model.safetensors", "config.json", "validation.csv"],
    "finetune": ["model.safetensors", "thresholds.json", "predictions.csv", "metrics.json"],
}


def words(mode: str, shards: Path, labels: Path, out: Path, **more: Any) -> list[str]:
    options = {"prefix": shards, "exp_dir": out, **HOW, **MODES[mode], **more}
    options |= {"label_txt": labels} if mode == "finetune" else {}
    return [mode, *(f"--{name}={value}" for name, value in options.items())]


@pytest.fixture(scope="module")
def started(warm_modes) -> Callable[..., Any]:
    """So many processes that do a mode together, with what torchrun would tell each of them."""

    def start(command: list[str], processes: int, before: str = NARROW) -> Any:
        code = f"{before}\nimport sys\nfrom ssast import cli\nsys.exit(cli.main({command!r}))"
        return warm_modes.start(code, os.environ | {"OMP_NUM_THREADS": "1"}, processes=processes)

    return start


@pytest.fixture(scope="module")
def run(started) -> Callable[[list[str], int], None]:
    """Do a mode from where it stands to its end."""

    def within(command: list[str], processes: int) -> None:
        done = started(command, processes).end()
        assert done.returncode == 0, done.stderr[-3000:]

    return within


def changed(place: Path) -> int:
    return place.stat().st_mtime_ns if place.exists() else 0


@pytest.fixture(scope="module")
def killed(started) -> Callable[..., None]:
    """Kill a mode up to `within` seconds after it wrote a new state, while it is still at work."""

    def kill(command: list[str], processes: int, out: Path, *, within: float) -> None:
        state = out / "checkpoints" / "last.pt"
        before, running = changed(state), started(command, processes, WAITING)
        while changed(state) in (0, before) and not running.has_ended():
            time.sleep(0.01)
        time.sleep(within)
        running.kill()
        done = running.end()
        assert done.returncode == -signal.SIGKILL, done.stderr[-3000:]

    return kill


def losses(folder: Path) -> list[float]:
    lines = map(json.loads, (folder / "log.jsonl").read_text().splitlines())
    return [line[name] for line in lines for name in ("train_loss", "validation_loss")]


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("mode", list(MODES))
def test_a_training_from_shards_that_is_killed_often_ends_with_the_same_bytes(
    mode, processes, run, killed, still_corpus, still_shards, tmp_path
):
    rng, whole, out = np.random.default_rng(0), tmp_path / "whole", tmp_path / "out"
    run(words(mode, still_shards, still_corpus.label_txt, whole), processes)
    command = words(mode, still_shards, still_corpus.label_txt, out)
    for _ in range(TIMES):
        killed(command, processes, out, within=rng.uniform(0, 0.1))
    run(command, processes)
    for name in RESULTS[mode]:
        assert (out / name).read_bytes() == (whole / name).read_bytes(), name
    assert losses(out) == losses(whole)


@pytest.mark.parametrize("mode", list(MODES))
def test_a_training_from_shards_that_lost_its_two_processes_goes_on_with_one_and_with_three(
    mode, run, killed, still_corpus, still_shards, tmp_path
):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    run(words(mode, still_shards, still_corpus.label_txt, whole, epochs=EPOCHS), 2)
    killed(words(mode, still_shards, still_corpus.label_txt, cut, epochs=EPOCHS), 2, cut, within=0.05)
    for processes in (1, 3):
        own = tmp_path / str(processes)
        shutil.copytree(cut, own)
        run(words(mode, still_shards, still_corpus.label_txt, own, epochs=EPOCHS), processes)
        assert losses(own) == pytest.approx(losses(whole), rel=1e-5)
        assert len(losses(own)) == 2 * EPOCHS
