"""The processes of a run: what each does, and that several leave what one leaves."""

import contextlib
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch

from ssast import cli
from ssast.engine import distributed
from ssast.errors import UserError

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2"]
ALONE = {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
NARROW = "from ssast.model.encoder import SIZES, Size\nSIZES['tiny'] = Size(48, 3)"
"""What the fixture does in this process, for others."""
pytestmark = pytest.mark.usefixtures("narrow")


@pytest.mark.parametrize(
    ("numbers", "processes", "expected"),
    [
        ([range(10)], 3, [[range(3)], [range(3, 6)], [range(6, 10)]]),
        ([range(2), range(5, 9)], 2, [[range(2), range(5, 6)], [range(6, 9)]]),
        ([range(4, 5)], 3, [[], [], [range(4, 5)]]),
        ([], 2, [[], []]),
    ],
)
def test_ranges_of_numbers_are_shared_out_in_order_and_evenly(monkeypatch, numbers, processes, expected):
    monkeypatch.setenv("WORLD_SIZE", str(processes))
    for number, own in enumerate(expected):
        monkeypatch.setenv("RANK", str(number))
        assert distributed.share(numbers) == own


def test_processes_that_would_train_different_models_end_with_a_sentence_instead_of_waiting_a_day(monkeypatch):
    def with_another(other):
        monkeypatch.setattr(distributed, "gather", lambda own: [own, other])

    with_another(([("head.weight", (5, 8))], 3))
    distributed.check_alike(([("head.weight", (5, 8))], 3), "models or training rows")
    for other in (([("head.weight", (4, 8))], 3), ([("head.weight", (5, 8))], 4)):
        with_another(other)
        with pytest.raises(UserError, match="different models or training rows; give each machine the same"):
            distributed.check_alike(([("head.weight", (5, 8))], 3), "models or training rows")


def test_a_process_alone_writes_and_changes_nothing():
    distributed.wait()
    assert distributed.is_main()
    assert distributed.share([range(3)]) == [range(3)]
    assert torch.equal(distributed.total(torch.ones(2)), torch.ones(2))


FOUND = {"RANK": "0", "MASTER_ADDR": "localhost", "MASTER_PORT": "29500"}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "RANK, MASTER_ADDR, MASTER_PORT not set"),
        ({**FOUND, "MASTER_PORT": ""}, "MASTER_PORT not set"),
        ({**FOUND, "RANK": "4"}, "RANK 4, expected 0 to 3"),
    ],
)
def test_one_of_several_processes_that_cannot_find_the_others_is_one_sentence(given, said, monkeypatch):
    """WORLD_SIZE that a script had exported let evaluate hear nothing at all, and say that no recording was sound."""
    for name in FOUND:
        monkeypatch.delenv(name, raising=False)
    for name, value in {**given, "WORLD_SIZE": "4"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=f"one of 4 processes, but with {said} it cannot find the others"):
        distributed.join(torch.device("cpu"))


@pytest.mark.parametrize(("name", "value"), [("WORLD_SIZE", "x"), ("WORLD_SIZE", "0"), ("RANK", "-1")])
def test_a_number_of_processes_that_is_none_is_one_sentence(name, value, monkeypatch):
    monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=f"{name} is '{value}', expected a whole number"):
        distributed.share([range(3)])


def test_a_variable_that_is_empty_is_as_one_that_is_not_set(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "")
    monkeypatch.setenv("RANK", "")
    assert distributed.share([range(3)]) == [range(3)]
    assert distributed.join(torch.device("cpu")) == torch.device("cpu")


STEP = {"SLURM_JOB_ID": "70001", "SLURM_STEP_ID": "0", "SLURM_PROCID": "5", "SLURM_LOCALID": "1"}


@pytest.mark.parametrize(
    ("hosts", "first"),
    [
        ("gpu-[07-09,12],other", "gpu-07"),
        ("a,b", "a"),
        ("rack[2-3]n[11,13]-ib", "rack2n11-ib"),
        ("login", "login"),
    ],
)
def test_a_task_of_a_slurm_step_takes_its_place_from_slurm(hosts, first):
    environ = STEP | {"SLURM_STEP_NUM_TASKS": "8", "SLURM_NTASKS": "16", "SLURM_STEP_NODELIST": hosts}
    assert distributed.heed_slurm(environ) == 8
    found = [environ[name] for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR")]
    assert found == ["5", "8", "1", first]
    other = STEP | {"SLURM_NTASKS": "2", "SLURM_NODELIST": hosts, "SLURM_STEP_ID": "1", "MASTER_ADDR": "own"}
    assert distributed.heed_slurm(other) == 2
    assert other["MASTER_ADDR"] == "own"
    assert other["MASTER_PORT"] != environ["MASTER_PORT"], "two steps may share a machine"
    assert distributed.heed_slurm(environ) == 0, "once is enough"


@pytest.mark.parametrize(
    "given",
    [
        {"SLURM_NTASKS": "1"},
        {"SLURM_NTASKS": "4", "SLURM_STEP_NUM_TASKS": "1"},
        {"SLURM_NTASKS": "4", "SLURM_STEP_ID": None},  # the batch script itself
        {"SLURM_NTASKS": "4", "RANK": "0", "WORLD_SIZE": "2"},  # torchrun, one a machine
        {"SLURM_NTASKS": "4", "WORLD_SIZE": "1"},
        {"SLURM_NTASKS": "4", "SLURM_PROCID": None},
        {"SLURM_NTASKS": "many"},
        {},
    ],
)
def test_what_slurm_did_not_start_as_one_of_several_tasks_stays_as_it_is(given):
    environ = {name: value for name, value in (STEP | given).items() if value is not None}
    before = dict(environ)
    assert distributed.heed_slurm(environ) == 0
    assert environ == before


def test_tasks_that_nothing_brings_together_are_told_what_to_set():
    with pytest.raises(UserError, match=r"one of 3 tasks, but nothing says where .* set MASTER_ADDR"):
        distributed.heed_slurm(STEP | {"SLURM_NTASKS": "3"})


ASTRAY = """
import sys
from pathlib import Path
import torch
from torch import nn
from ssast.engine import distributed
from ssast.engine.hardware import engine
from ssast.engine.optimiser import TrainingSettings
from ssast.engine.train import train
from ssast.engine.trainable import TrainingBatches
from ssast.errors import UserError

accelerator = engine("cpu", "fp32")


class Line(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2))

    def loss(self, batch, generator=None):
        loss = (self.weight * batch["x"]).sum()
        if distributed.rank() == 1 and batch["uid"] == ["b2"]:
            loss.register_hook(lambda gradient: gradient * torch.nan)
        return {"loss": loss}


def batches(epoch, start):
    for number in range(start, 4):
        yield {"uid": [f"{'ab'[distributed.rank()]}{number}"], "x": torch.ones(2)}


model, folder = Line(), Path(sys.argv[1])
feed = TrainingBatches(batches, lambda: [], 4, lambda batch, generator=None: batch)
try:
    train(model, feed, TrainingSettings(epochs=1, save_every_seconds=0.0), folder, accelerator)
except UserError as error:
    (folder / f"{distributed.rank()}.txt").write_text(f"{error}\\n{model.weight.isfinite().all()}")
distributed.leave()
"""


@pytest.mark.slow
def test_a_gradient_that_one_process_of_two_cannot_use_stops_both_before_the_step(warm_modes, tmp_path):
    code = f"import sys\nsys.argv[1:] = [{str(tmp_path)!r}]\n{ASTRAY}"
    done = warm_modes.run(code, os.environ | ALONE, processes=2)
    assert done.returncode == 0, done.stderr
    for rank in "01":
        said = (tmp_path / f"{rank}.txt").read_text()
        assert "the gradient became nan in epoch 1 on the clips a2, b2; lower --learning_rate" in said
        assert said.endswith("True")
    assert torch.load(tmp_path / "checkpoints" / "last.pt")["progress"]["step"] == 2


@dataclass(frozen=True)
class Ssast:
    """`ssast(2, "extract", ...)`: the mode in so many processes; one alone is this one, which has everything loaded."""

    warm: Any

    def __call__(self, processes: int, *words: str, before: str = "", **more: str) -> subprocess.CompletedProcess[str]:
        if processes == 1:
            return in_this_process(words, more)
        done = self.apart(processes, *words, before=before, **more)
        assert done.returncode == 0, done.stderr
        return done

    def apart(self, processes: int, *words: str, before: str = "", **more: str) -> subprocess.CompletedProcess[str]:
        """In processes of their own, which run some code before, and may end as they do."""
        given = f"import sys\nfrom ssast import cli\nsys.argv[1:] = {list(words)!r}"
        code = f"{NARROW}\n{before}\n{given}\nsys.exit(cli.main(sys.argv[1:]))"
        return self.warm.run(code, os.environ | ALONE | more, processes=processes)


@pytest.fixture(scope="module")
def ssast(warm_modes) -> Ssast:
    return Ssast(warm_modes)


def in_this_process(words: Sequence[str], more: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    said = io.StringIO()
    with pytest.MonkeyPatch.context() as patched, contextlib.redirect_stdout(said):
        for name, value in more.items():
            patched.setenv(name, value)
        assert cli.main(words) == 0
    return subprocess.CompletedProcess(words, 0, said.getvalue())


def data(corpus) -> list[str]:
    return ["-i", str(corpus.audio), "-l", str(corpus.folder / "labels.txt"), "--device", "cpu", "--precision", "fp32"]


def losses(folder: Path) -> list[float]:
    lines = map(json.loads, (folder / "log.jsonl").read_text().splitlines())
    return [line[name] for line in lines for name in ("train_loss", "validation_loss")]


@pytest.mark.slow
def test_two_processes_train_as_one_does(ssast, still_corpus, tmp_path):
    """Fifty steps with everything that draws chance: dropout, masks, mixup, noise."""
    how = [*data(still_corpus), "-d", str(still_corpus.splits), "--pretrained_mdl_path", "none", "--model_size", "tiny"]
    how += ["--target_length", "32", "--freeze", "False", "--epochs", "17", "--batch_size", "4", "--micro_batch", "2"]
    how += ["--mixup", "0.5", "--noise", "True", "--freqm", "8", "--gauss", "0.5", "--learning_rate", "0.001"]
    how += ["--resamples", "0", "--clip_grad", "1"]
    for processes in (1, 2):
        ssast(processes, "finetune", *how, "-o", str(tmp_path / str(processes)))
    one, two = losses(tmp_path / "1"), losses(tmp_path / "2")
    assert len(one) == 34
    assert one == pytest.approx(two, rel=1e-5)
    assert len(set(one)) > 30, "it trains"
    for name in ("predictions.csv", "aucs.csv", "validation.csv"):
        assert (tmp_path / "1" / name).read_text().count("\n") == (tmp_path / "2" / name).read_text().count("\n")


@pytest.mark.slow
def test_two_processes_share_out_the_one_pass_through_a_frozen_base(ssast, still_corpus, tmp_path):
    how = [*data(still_corpus), "-d", str(still_corpus.splits), "--pretrained_mdl_path", "none", "--model_size", "tiny"]
    how += ["--target_length", "32", "--epochs", "5", "--batch_size", "4", "--micro_batch", "2", "--resamples", "0"]
    for processes in (1, 2):
        own = {"SSAST_CACHE": str(tmp_path / f"cache{processes}")}
        first = ssast(processes, "finetune", *how, "-o", str(tmp_path / str(processes)), **own)
        assert "each goes through the base once (none of the 12 did before)" in first.stdout
        again = ssast(
            processes, "finetune", *how, "--head_lr", "0.01", "-o", str(tmp_path / f"again{processes}"), **own
        )
        assert "each goes through the base once (all of the 12 did before)" in again.stdout
    assert losses(tmp_path / "1") == pytest.approx(losses(tmp_path / "2"), rel=1e-5)
    one, two = (pd.read_csv(tmp_path / number / "predictions.csv") for number in "12")
    pd.testing.assert_frame_equal(one, two, rtol=1e-4)


@pytest.fixture(scope="module")
def model(ssast, still_corpus, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "run"
    how = ["--pretrained_mdl_path", "none", "--model_size", "tiny", "--target_length", "32", "--resamples", "0"]
    ssast(1, "finetune", *data(still_corpus), "-d", str(still_corpus.splits), *how, "-o", str(folder))
    return folder


def rows(folder: Path) -> list:
    return pq.read_table(next(folder.glob("*.pqt"))).to_pylist()


@pytest.mark.slow
def test_extraction_by_one_two_and_three_processes_gives_the_same_table(ssast, still_corpus, model, tmp_path):
    how = [*data(still_corpus), "-d", str(still_corpus.splits / "train.csv"), "--finetuned_mdl_path", str(model)]
    for processes in (1, 2, 3):
        ssast(processes, "extract", *how, "--batch_size", "1", "-o", str(tmp_path / str(processes)))
    one, two, three = (rows(tmp_path / str(processes)) for processes in (1, 2, 3))
    assert len(one) == 12
    assert one == two == three
    words = ["evaluate", *how[:-4], "-d", str(still_corpus.splits), *how[-2:], "-o", str(tmp_path / "scores")]
    script = tmp_path / "narrow.py"
    script.write_text(f"{NARROW}\nimport sys\nfrom ssast import cli\nsys.exit(cli.main(sys.argv[1:]))")
    done = subprocess.run([*TORCHRUN, str(script), *words], env=os.environ | ALONE, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "scores" / "predictions.csv").read_bytes() == (model / "predictions.csv").read_bytes()


@pytest.mark.slow
def test_two_processes_share_a_part_and_the_parts_make_the_table_of_one_run(
    ssast, still_corpus, still_shards, model, tmp_path
):
    """From shards, of which a part ends where a row group does."""
    how = [*data(still_corpus)[2:], "-i", str(still_shards), "--finetuned_mdl_path", str(model), "--dataset", "tones"]
    how += ["-d", str(still_corpus.splits / "train.csv")]
    ssast(1, "extract", *how, "-o", str(tmp_path / "whole"))
    for part in (1, 2):
        ssast(2, "extract", *how, "-o", str(tmp_path / "parts"), "--part", f"{part}/2")
    ssast(1, "merge", str(tmp_path / "parts"), "-o", str(tmp_path / "merged"))
    (whole,) = (tmp_path / "whole").glob("*.pqt")
    assert (tmp_path / "merged" / whole.name).read_bytes() == whole.read_bytes()


@pytest.mark.slow
def test_recordings_that_any_process_left_out_are_written_down(ssast, still_corpus, model, tmp_path):
    shutil.copytree(still_corpus.audio, tmp_path / "audio")
    broken = list(still_corpus.frame().index[[0, -1]])  # one in the share of each process
    for uid in broken:
        (tmp_path / "audio" / uid / "waveform.wav").write_bytes(b"RIFF")
    how = [*data(still_corpus), "-d", str(still_corpus.splits / "train.csv"), "--finetuned_mdl_path", str(model)]
    how[1] = str(tmp_path / "audio")
    for processes in (1, 2):
        skip = ["--on_bad_audio", "skip", "--batch_size", "1", "-o", str(tmp_path / str(processes))]
        ssast(processes, "extract", *how, *skip)
    one, two = ((tmp_path / number / "bad_audio.csv").read_text() for number in "12")
    assert all(uid in one for uid in broken)
    assert one == two
    assert rows(tmp_path / "1") == rows(tmp_path / "2")


@pytest.mark.slow
def test_every_recording_that_a_training_left_out_is_written_down_whoever_met_it(ssast, still_corpus, tmp_path):
    """What the second process met in training was once lost: the scoring that follows has a journal of its own."""
    shutil.copytree(still_corpus.audio, tmp_path / "audio")
    broken = sorted([*still_corpus.frame().index[:6], still_corpus.frame("test").index[0]])
    for uid in broken:
        (tmp_path / "audio" / uid / "waveform.wav").write_bytes(b"RIFF")
    how = [*data(still_corpus), "-d", str(still_corpus.splits), "--pretrained_mdl_path", "none", "--model_size", "tiny"]
    how[1] = str(tmp_path / "audio")
    how += ["--target_length", "32", "--freeze", "False", "--batch_size", "4", "--resamples", "0"]
    how += ["--val_share", "0.4"]
    ssast(2, "finetune", *how, "--on_bad_audio", "skip", "-o", str(tmp_path / "run"))
    assert sorted(pd.read_csv(tmp_path / "run" / "bad_audio.csv", dtype=str)["uid"]) == broken


LONG_SCORES = """
import pathlib, time
from ssast.engine import distributed
from ssast.runs import scoring

write, leave = scoring.write_scores, distributed.leave

def slowly(*arguments):
    time.sleep(2)
    write(*arguments)
    (folder / "scored").write_text(str(time.time()))

def leaving():
    (folder / f"left {distributed.rank()}").write_text(str(time.time()))
    leave()

scoring.write_scores, distributed.leave = slowly, leaving
"""


@pytest.mark.slow
def test_the_others_stay_while_the_first_still_scores(ssast, still_corpus, model, tmp_path):
    how = [*data(still_corpus), "-d", str(still_corpus.splits), "--finetuned_mdl_path", str(model), "--resamples", "0"]
    before = f"{LONG_SCORES}\nfolder = pathlib.Path({str(tmp_path)!r})"
    ssast(2, "evaluate", *how, "-o", str(tmp_path / "out"), before=before)
    assert float((tmp_path / "left 1").read_text()) > float((tmp_path / "scored").read_text())
    assert not list((tmp_path / "out").glob(".*"))


@pytest.mark.slow
def test_a_run_that_one_process_began_goes_on_with_two(ssast, still_corpus, tmp_path):
    """In the pieces that it began with, although two would take smaller ones."""
    how = [*data(still_corpus), "-d", str(still_corpus.splits), "--pretrained_mdl_path", "none", "--model_size", "tiny"]
    how += ["--target_length", "32", "--freeze", "False", "--epochs", "4", "--batch_size", "4", "--resamples", "0"]
    how += ["--save_every_seconds", "0"]
    ssast(1, "finetune", *how, "-o", str(tmp_path / "whole"))
    ended = (
        "import os\nfrom ssast.engine import train\nwhole, done = train.Run.step, []\n"
        "def step(self, *given, **named):\n"
        "    if len(done) == 7:\n        self.checkpoints.flush()\n        os._exit(9)\n"
        "    done.append(1)\n    return whole(self, *given, **named)\n"
        "train.Run.step = step"
    )
    assert ssast.apart(1, "finetune", *how, "-o", str(tmp_path / "cut"), before=ended).returncode == 9
    done = ssast(2, "finetune", *how, "-o", str(tmp_path / "cut"))
    assert "going on in epoch 3" in done.stdout
    assert "micro_batch: 4\n" in (tmp_path / "cut" / "run.yaml").read_text()
    assert losses(tmp_path / "cut") == pytest.approx(losses(tmp_path / "whole"), rel=1e-4)


DYING = """
import os, signal
from ssast.engine import distributed, inference

whole, inference.SECONDS_A_PART, done = inference.values, -1.0, []

def dying(*arguments):
    if distributed.rank() == 1 and len(done) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    done.append(1)
    return whole(*arguments)

inference.values = dying
"""


@pytest.mark.slow
def test_what_a_process_that_died_left_is_done_by_the_next_start(ssast, still_corpus, model, tmp_path):
    uids = [f"{number}-{uid}" for number in range(6) for uid in still_corpus.frame().index]
    for uid in uids:  # further uids, links to the same recordings
        (tmp_path / "audio" / uid).mkdir(parents=True)
        for file in (still_corpus.audio / uid.split("-")[1]).iterdir():
            (tmp_path / "audio" / uid / file.name).hardlink_to(file)
    (tmp_path / "all.csv").write_text("\n".join(["uid", *uids]))
    how = [*data(still_corpus), "-d", str(tmp_path / "all.csv"), "--finetuned_mdl_path", str(model)]
    how[1] = str(tmp_path / "audio")
    assert ssast.apart(2, "extract", *how, "-o", str(tmp_path / "cut"), before=DYING).returncode == -signal.SIGKILL
    parts = list((tmp_path / "cut" / ".parts" / "extract").glob("part-*"))
    assert parts
    assert not list((tmp_path / "cut").glob("*.pqt"))
    ssast(1, "extract", *how, "-o", str(tmp_path / "cut"))
    ssast(1, "extract", *how, "-o", str(tmp_path / "whole"))
    assert rows(tmp_path / "cut") == rows(tmp_path / "whole")
    assert [row["uid"] for row in rows(tmp_path / "cut")] == uids


@pytest.mark.slow
def test_modes_for_one_process_say_so(ssast, still_corpus, tmp_path):
    done = ssast.apart(2, "check", *data(still_corpus), "-d", str(still_corpus.splits), "-o", str(tmp_path))
    assert done.returncode == cli.USER_ERROR
    assert "check runs in one process; start it without accelerate launch or torchrun." in done.stderr


@pytest.mark.slow
def test_a_signal_to_one_process_stops_all_with_the_state_saved(still_corpus, tmp_path):
    how = [*data(still_corpus), "-d", str(still_corpus.splits), "--model_size", "tiny", "--target_length", "32"]
    how += ["--mask_patch", "6", "--epochs", "10000", "--batch_size", "2", "-o", str(tmp_path / "run")]
    running = subprocess.Popen(
        [*TORCHRUN, "-m", "ssast", "pretrain", *how], env=os.environ | ALONE, stderr=subprocess.PIPE, text=True
    )
    log = tmp_path / "run" / "log.jsonl"
    while running.poll() is None and not (log.exists() and log.read_text()):
        time.sleep(0.2)
    running.send_signal(signal.SIGTERM)  # the launcher hands it on
    said = running.communicate(timeout=60)[1]
    assert "the same command goes on from there" in said
    assert (tmp_path / "run" / "checkpoints" / "last.pt").exists()


WAITING = """
import torch
from ssast.engine import distributed
from ssast.engine.signals import ended_by_signals

with ended_by_signals():
    print("here", flush=True)
    distributed.join(torch.device("cpu"))
"""


def test_a_process_that_waits_for_others_which_never_start_ends_with_a_signal():
    """It stayed deaf to SIGTERM and to Ctrl-C in the one call of torch that waits for a day."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    place = {"WORLD_SIZE": "2", "RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    command = [sys.executable, "-c", WAITING]
    with subprocess.Popen(command, env=os.environ | place, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            assert process.stdout.readline() == b"here\n"
            time.sleep(0.5)
            process.send_signal(signal.SIGTERM)
            assert b"ended by SIGTERM" in process.communicate(timeout=30)[1]
        finally:
            process.kill()
