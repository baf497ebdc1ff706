"""Trainings from shards, killed at random moments on one and on two processes, and gone on with by other numbers.

`make trials` (SSAST_TIMES=20): so many kills instead of one.
"""

import json
import os
import shutil
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ssast  # noqa: F401 - children are forked, and should not import it anew
from ssast import cli
from ssast.modes import finetune, pretrain  # noqa: F401

# Children are forked: torch's threads would not live in them.
torch.set_num_threads(1)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(3600),
    pytest.mark.usefixtures("narrow"),
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),
]
TIMES = int(os.environ.get("SSAST_TIMES", "1"))
HOW = {"model_size": "tiny", "target_length": 32, "device": "cpu", "precision": "fp32", "save_every_seconds": 0}
HOW |= {"epochs": 4 + 2 * TIMES, "batch_size": 4, "micro_batch": 2, "seed": 3}
"""Three steps an epoch: so many that a run is not through before the last kill."""
EPOCHS = 6
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


def forked(do: Callable[[], int], environment: dict[str, str], log: Path) -> int:
    """The number of a child process that does this in such an environment, and says in a file what it says."""
    child = os.fork()
    if child:
        return child
    try:
        there = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(there, 1)
        os.dup2(there, 2)
        os.environ.update(environment)
        os._exit(do())
    except BaseException:
        os._exit(99)


def started(command: list[str], processes: int, log: Path) -> list[int]:
    """The numbers of so many processes that do a mode together, with what torchrun would tell each of them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    shared |= {"WORLD_SIZE": str(processes), "LOCAL_WORLD_SIZE": str(processes)}
    if processes == 1:
        return [forked(lambda: cli.main(command), {}, log)]
    ranks = ({"RANK": str(number), "LOCAL_RANK": str(number)} for number in range(processes))
    return [forked(lambda: cli.main(command), shared | rank, log) for rank in ranks]


def run(command: list[str], processes: int, log: Path) -> None:
    """Do a mode from where it stands to its end."""
    children = started(command, processes, log)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0] * processes, (
        log.read_text()[-3000:]
    )


def changed(place: Path) -> int:
    return place.stat().st_mtime_ns if place.exists() else 0


def killed(command: list[str], processes: int, out: Path, log: Path, *, within: float) -> bool:
    """Kill a mode up to `within` seconds after it wrote a new state; whether it was still at work."""
    state = out / "checkpoints" / "last.pt"
    before, children = changed(state), started(command, processes, log)
    while changed(state) in (0, before) and not os.waitid(os.P_PID, children[0], os.WEXITED | os.WNOHANG | os.WNOWAIT):
        time.sleep(0.01)
    time.sleep(within)
    for child in children:
        os.kill(child, signal.SIGKILL)
    ends = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    return ends == [-signal.SIGKILL] * processes


def losses(folder: Path) -> list[float]:
    lines = map(json.loads, (folder / "log.jsonl").read_text().splitlines())
    return [line[name] for line in lines for name in ("train_loss", "validation_loss")]


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("mode", list(MODES))
def test_a_training_from_shards_that_is_killed_often_ends_with_the_same_bytes(
    mode, processes, still_corpus, still_shards, tmp_path
):
    rng, log = np.random.default_rng(0), tmp_path / "log.txt"
    whole, out = tmp_path / "whole", tmp_path / "out"
    run(words(mode, still_shards, still_corpus.label_txt, whole), processes, log)
    command = words(mode, still_shards, still_corpus.label_txt, out)
    kills = [killed(command, processes, out, log, within=rng.uniform(0, 0.1)) for _ in range(TIMES)]
    assert all(kills), log.read_text()[-3000:]
    run(command, processes, log)
    for name in RESULTS[mode]:
        assert (out / name).read_bytes() == (whole / name).read_bytes(), name
    assert losses(out) == losses(whole)


@pytest.mark.parametrize("mode", list(MODES))
def test_a_training_from_shards_that_lost_its_two_processes_goes_on_with_one_and_with_three(
    mode, still_corpus, still_shards, tmp_path
):
    log, whole, cut = tmp_path / "log.txt", tmp_path / "whole", tmp_path / "cut"
    run(words(mode, still_shards, still_corpus.label_txt, whole, epochs=EPOCHS), 2, log)
    assert killed(words(mode, still_shards, still_corpus.label_txt, cut, epochs=EPOCHS), 2, cut, log, within=0.05)
    for processes in (1, 3):
        own = tmp_path / str(processes)
        shutil.copytree(cut, own)
        run(words(mode, still_shards, still_corpus.label_txt, own, epochs=EPOCHS), processes, log)
        assert losses(own) == pytest.approx(losses(whole), rel=1e-5)
        assert len(losses(own)) == 2 * EPOCHS
