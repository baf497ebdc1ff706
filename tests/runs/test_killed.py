"""SIGKILL at every stage of a run's life, and two starts at once: the result is that of one undisturbed run.

`make trials` (SSAST_TIMES=20): so many random kills and double starts instead of one each.
"""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch

from ssast import cli
from ssast.data.storage.folder_lock import in_use
from ssast.engine import inference, train, training_run
from ssast.metrics import predictions
from ssast.model.checkpoints import model_folder
from ssast.modes import finetune, pretrain
from ssast.options import record
from ssast.runs import scoring
from ssast.runs.output import skipped_recordings
from ssast.runs.wrapping import wrapper

# Children are forked: torch's threads would not live in them.
torch.set_num_threads(1)
pytestmark = [
    pytest.mark.usefixtures("narrow"),  # forked children are narrow too
    pytest.mark.slow,
    pytest.mark.timeout(3600),
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),
]
TIMES = int(os.environ.get("SSAST_TIMES", "1"))
HARDENED = {"resamples": 20, "device": "cpu", "precision": "fp32", "target_length": 32, "batch_size": 4}
TRAINED = {"model_size": "tiny", "epochs": 9, "save_every_seconds": 0}

Point = tuple[Any, str, int]
"""A process is killed when it is about to call owner.name for the number-th time."""
TRAINING: list[Point] = [
    (record.RunRecord, "write", 1),
    (train.Run, "restore", 1),
    (train.Run, "step", 1),
    (torch, "save", 1),
    (os, "fsync", 2),
    (train.Run, "step", 4),
    (os, "replace", 3),
    (torch, "save", 3),
    (training_run, "validate", 1),
    (train.Run, "end_epoch", 1),
    (torch, "save", 4),
    (os, "fsync", 5),
    (training_run, "validate", 1),
    (os, "replace", 6),
    (train.Run, "step", 2),
]
SAVING: list[Point] = [
    (model_folder, "save_file", 1),
    (model_folder.shutil, "copymode", 1),
    (model_folder.shutil, "rmtree", 2),
    (skipped_recordings.SkippedRecordings, "write", 1),
]
SCORING: list[Point] = [
    (finetune, "save_thresholds", 1),
    (inference, "values", 1),
    (inference.pq, "write_table", 1),
    (inference.pq, "write_table", 2),
    (inference.FinishedPass, "remove", 1),
    (finetune, "evaluate_model", 1),
    (inference, "values", 2),
    (scoring, "write_scores", 1),
    (predictions.Predictions, "write_parquet", 1),
    (scoring, "write_report", 1),
    (inference.FinishedPass, "remove", 2),
]


def words(corpus: Any, mode: str, **options: Any) -> list[str]:
    options = {"prefix": corpus.audio, "data_split_root": corpus.splits, "label_txt": corpus.label_txt, **options}
    return [mode, *(f"--{name}={value}" for name, value in options.items())]


def forked(do: Callable[[], int]) -> int:
    """The number of a child process that does this, without a word, and ends with what it gives."""
    child = os.fork()
    if child:
        return child
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        os._exit(do())
    except BaseException:
        os._exit(99)


def ended(child: int) -> int:
    """The exit code of a child; below 0 the signal that killed it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def dying(point: Point, command: list[str]) -> Callable[[], int]:
    """The command in a process that kills itself at this point."""
    owner, name, number = point

    def do() -> int:
        whole, calls = getattr(owner, name), []

        def called(*given: Any, **named: Any) -> Any:
            calls.append(name)
            if len(calls) == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return whole(*given, **named)

        setattr(owner, name, called)
        return cli.main(command)

    return do


def assert_same(out: Path, whole: Path, names: Iterable[str]) -> None:
    for name in names:
        assert (out / name).read_bytes() == (whole / name).read_bytes(), name
    assert not [path for path in out.rglob("*") if path.name.startswith(".")]


@pytest.mark.parametrize(
    ("mode", "points", "names"),
    [
        (
            "pretrain",
            [*TRAINING, (pretrain, "save", 1), *SAVING],
            ["model.safetensors", "config.json", "validation.csv", "log.jsonl"],
        ),
        (
            "finetune",
            [*TRAINING, (finetune, "save", 1), *SAVING, *SCORING],
            ["model.safetensors", "thresholds.json", "predictions.csv", "metrics.json", "aucs.csv"],
        ),
    ],
)
def test_a_run_killed_at_every_stage_gives_the_same_bytes(mode, points, names, still_corpus, tmp_path):
    """One run through all of its life: it begins, trains, validates, writes checkpoints, saves, scores and reports."""
    options = HARDENED | TRAINED
    options |= {"mask_patch": 8} if mode == "pretrain" else {"pretrained_mdl_path": "none", "features": "never"}
    start = words(still_corpus, mode, **options)
    whole, out = tmp_path / "whole", tmp_path / "out"
    assert cli.main([*start, f"--exp_dir={whole}"]) == 0  # here, so that the children need not import anew
    for point in points:
        assert ended(forked(dying(point, [*start, f"--exp_dir={out}"]))) == -signal.SIGKILL, point
    assert ended(forked(lambda: cli.main([*start, f"--exp_dir={out}"]))) == 0
    assert_same(out, whole, [name for name in names if name != "log.jsonl"])


def starts(command: list[str], monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The exit codes of two processes that begin the same at the same moment.

    The one that gets the folder's lock keeps it until the other is through: the run itself may be shorter.
    """
    gate, through = os.pipe(), os.pipe()

    @contextlib.contextmanager
    def held(*given: Any) -> Iterator[None]:
        with in_use(*given):
            os.read(through[0], 1)
            yield

    def do() -> int:
        os.close(gate[1])
        os.read(gate[0], 1)
        code = cli.main(command)
        os.write(through[1], b".")
        return code

    with monkeypatch.context() as patched:
        patched.setattr(wrapper, "in_use", held)
        children = [forked(do), forked(do)]
    for end in (*gate, *through):
        os.close(end)
    return sorted(map(ended, children))


@pytest.mark.parametrize("mode", ["pretrain", "finetune", "extract"])
def test_of_two_starts_at_once_in_one_folder_one_is_refused_and_the_other_undisturbed(
    mode, still_corpus, tmp_path, monkeypatch
):
    options = HARDENED | (TRAINED | {"epochs": 2} if mode != "extract" else {"model_size": "tiny"})
    options |= {"mask_patch": 8} if mode == "pretrain" else {"pretrained_mdl_path": "none"}
    options |= {"embedding_type": "pt"} if mode == "extract" else {}
    start = words(still_corpus, mode, **options)
    whole = tmp_path / "whole"
    assert cli.main([*start, f"--exp_dir={whole}"]) == 0  # here, so that the children need not import anew
    results = {"pretrain": "model.safetensors", "finetune": "predictions.csv", "extract": "*.pqt"}
    name = next(whole.glob(results[mode])).name
    for number in range(TIMES):
        out = tmp_path / str(number)
        assert starts([*start, f"--exp_dir={out}"], monkeypatch) == [0, cli.USER_ERROR]
        assert_same(out, whole, [name])


def newest(folder: Path, pattern: str) -> int:
    return max((path.stat().st_mtime_ns for path in folder.glob(pattern)), default=0)


NARROW = "from ssast.model.encoder import SIZES, Size\nSIZES['tiny'] = Size(48, 3)"
"""What the fixture does in this process, for others."""
WAITING = """
import time
from ssast.engine import inference, train

inference.SECONDS_A_PART = -1.0

def wait_at(owner, name, number):
    whole, calls = getattr(owner, name), []

    def waiting(*given, **named):
        calls.append(name)
        if len(calls) == number:
            time.sleep(600)  # until the kill comes, however late on a loaded machine
        return whole(*given, **named)

    setattr(owner, name, waiting)

wait_at(train.Run, "step", 4)
wait_at(inference, "values", 4)
"""


def kill_often(warm: Any, command: list[str], folder: Path, pattern: str, *, within: float) -> None:
    """Start the command again and again, each time killed up to `within` seconds after it wrote something new."""
    rng = np.random.default_rng(0)
    code = f"import sys\nfrom ssast import cli\nsys.exit(cli.main({command!r}))"
    for _ in range(TIMES):
        before, running = newest(folder, pattern), warm.start(f"{NARROW}\n{WAITING}\n{code}", os.environ)
        while not running.has_ended() and newest(folder, pattern) == before:
            time.sleep(0.005)
        time.sleep(rng.uniform(0, within))
        running.kill()
        done = running.end()
        assert done.returncode == -signal.SIGKILL, done.stderr
    done = warm.run(f"{NARROW}\n{code}", os.environ)
    assert done.returncode == 0, done.stderr


def test_training_killed_at_random_moments_gives_the_same_bytes(warm_modes, still_corpus, tmp_path):
    """Processes of their own, with whatever threads they have: a checkpoint is written after every step."""
    epochs = 2 + TIMES  # of three steps: a start that is killed takes at most three
    options = {"pretrained_mdl_path": "none", "freeze": False, **HARDENED, **TRAINED, "epochs": epochs}
    start, whole, out = words(still_corpus, "finetune", **options), tmp_path / "whole", tmp_path / "out"
    assert cli.main([*start, f"--exp_dir={whole}"]) == 0
    kill_often(warm_modes, [*start, f"--exp_dir={out}"], out / "checkpoints", "last.pt", within=0.25)
    assert_same(out, whole, ["model.safetensors", "predictions.csv", "aucs.csv", "metrics.json"])


def test_extraction_killed_at_random_moments_gives_the_same_rows(warm_modes, still_corpus, tmp_path):
    frame, copies = pd.concat([still_corpus.frame("train"), still_corpus.frame("test")]), 3 + 2 * TIMES
    for number in range(copies):  # further uids, links to the same recordings
        for uid in frame.index:
            (tmp_path / "audio").mkdir(exist_ok=True)
            (tmp_path / "audio" / f"{number}-{uid}").mkdir()
            for file in (still_corpus.audio / uid).iterdir():
                (tmp_path / "audio" / f"{number}-{uid}" / file.name).hardlink_to(file)
    uids = [f"{number}-{uid}" for number in range(copies) for uid in frame.index]
    pd.DataFrame({"uid": uids}).to_csv(tmp_path / "all.csv", index=False)
    options = {"prefix": tmp_path / "audio", "data_split_root": tmp_path / "all.csv", "pretrained_mdl_path": "none"}
    options |= {"model_size": "tiny", "target_length": 32, "embedding_type": "pt", "batch_size": 8}
    start, whole, out = words(still_corpus, "extract", **options), tmp_path / "whole", tmp_path / "out"
    assert cli.main([*start, f"--exp_dir={whole}"]) == 0
    kill_often(warm_modes, [*start, f"--exp_dir={out}"], out / ".parts" / "extract", "part-*", within=0.1)
    one, other = (pq.read_table(next(folder.glob("*.pqt"))) for folder in (whole, out))
    assert one["uid"].to_pylist() == uids
    assert one.equals(other)
    assert not (out / ".parts").exists()
