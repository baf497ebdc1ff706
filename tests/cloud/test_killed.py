"""Runs with a bucket that are ended from outside go on, and what they had finished is in the bucket."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from ssast.model.classification import SSASTForAudioClassification

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
HOW = ["--device", "cpu", "--precision", "fp32", "--target_length", "32", "--resamples", "20"]
TRAINED = ["--pretrained_mdl_path", "none", "--model_size", "tiny", "--freeze", "False", "--epochs", "4"]
TRAINED += ["--batch_size", "4", "--save_every_seconds", "0"]
# A narrow model: each checkpoint goes to the bucket.
NARROW = """
from ssast.model.encoder import SIZES, Size

SIZES["tiny"] = Size(48, 3)
"""
# Small parts, so that there is something to end; where FIRST names a file, the work waits for it at the call AT.
WAITING = """
import os, time
from ssast.engine import inference, train

inference.SECONDS_A_PART, inference.CPU_CLIPS = -1.0, 1

def wait_at(owner, name, number):
    whole, calls = getattr(owner, name), []

    def waiting(*given, **named):
        calls.append(name)
        while len(calls) == number and not os.path.exists(os.environ["FIRST"]):
            time.sleep(0.01)
        return whole(*given, **named)

    setattr(owner, name, waiting)

if "FIRST" in os.environ:
    wait_at(*{"step": (train.Run, "step", 3), "values": (inference, "values", 5)}[os.environ["AT"]])
"""


def code(before: str, words: list[str]) -> str:
    return f"{NARROW}\n{before}\nimport sys\nfrom ssast import cli\nsys.exit(cli.main({words!r}))"


@pytest.fixture(scope="module")
def model(narrow, tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("model") / "model"
    SSASTForAudioClassification(2, "tiny", target_length=32, labels=["high", "loud"], seed=0).save_pretrained(folder)
    return str(folder)


def words(corpus, mode: str, model: str) -> list[str]:
    own = TRAINED if mode == "finetune" else ["--finetuned_mdl_path", model, "--batch_size", "1"]
    return [mode, "-d", str(corpus.splits), "-l", str(corpus.label_txt), *HOW, *own]


def ended_by_a_signal(warm, start: list[str], out: Path, pattern: str, mark: Path) -> subprocess.CompletedProcess[str]:
    """The command, sent SIGTERM once a file of this pattern is there, with what it said."""
    variables = {"FIRST": str(mark), "AT": "step" if pattern.startswith("checkpoints") else "values"}
    running = warm.start(code(WAITING, start), os.environ | variables)
    while not running.has_ended() and not list(out.glob(pattern)):
        time.sleep(0.01)
    os.kill(running.numbers[0], signal.SIGTERM)
    mark.touch()
    return running.end()


@pytest.mark.parametrize(
    ("mode", "pattern", "finished", "result"),
    [
        ("finetune", "checkpoints/last.pt", ["checkpoints/last.pt", "log.jsonl"], "predictions.csv"),
        ("finetune", ".parts/*/part-*", ["model.safetensors", "config.json", "log.jsonl"], "predictions.csv"),
        ("extract", ".parts/*/part-*", [], "*.pqt"),
        ("evaluate", ".parts/*/part-*", [], "predictions.csv"),
    ],
    ids=["training", "scoring", "extraction", "evaluation"],
)
def test_sigterm_leaves_what_is_finished_in_the_bucket_and_the_same_command_goes_on(
    mode, pattern, finished, result, gs, still_corpus, model, tmp_path, request, warm_modes
):
    """A real signal to a process of its own: extraction and evaluation once ended with nothing sent."""
    bucket = request.node.callspec.id
    gs.bucket(bucket)
    gs.put_folder(bucket, still_corpus.audio, "audio/")
    how, whole, out = words(still_corpus, mode, model), tmp_path / "whole", tmp_path / "out"
    first = warm_modes.run(code(WAITING, [*how, "-i", str(still_corpus.audio), "-o", str(whole)]), os.environ)
    assert first.returncode == 0, first.stderr
    start = [*how, "-b", bucket, "-i", "audio", "--cloud_dir", "run", "-o", str(out)]
    ended = ended_by_a_signal(warm_modes, start, out, pattern, tmp_path / "signalled")
    assert ended.returncode == 128 + signal.SIGTERM, ended.stderr
    assert "the same command goes on from" in ended.stdout + ended.stderr
    assert not list(out.glob(result))
    for name in [*finished, "run.yaml"]:
        assert gs.get(bucket, f"run/{name}") == (out / name).read_bytes(), name
    again = warm_modes.run(code(WAITING, start), os.environ)
    assert again.returncode == 0, again.stderr
    (one,), (other,) = out.glob(result), whole.glob(result)
    assert gs.get(bucket, f"run/{one.name}") == one.read_bytes() == other.read_bytes()
    assert not (out / ".parts").exists()


# Where DIES is set, the second of two processes is killed in the middle of its share.
DYING = """
import os, signal
from ssast.engine import distributed, inference

values, inference.SECONDS_A_PART, inference.CPU_CLIPS, done = inference.values, -1.0, 1, []

def dying(*arguments):
    if "DIES" in os.environ and distributed.rank() == 1 and len(done) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    done.append(1)
    return values(*arguments)

inference.values = dying
"""


@pytest.mark.parametrize(("mode", "result"), [("extract", "*.pqt"), ("evaluate", "predictions.csv")])
def test_a_killed_pass_of_two_processes_over_a_bucket_goes_on_to_the_same_bytes(
    mode, result, gs, still_corpus, model, tmp_path, warm_modes
):
    gs.bucket(f"two-{mode}")
    gs.put_folder(f"two-{mode}", still_corpus.audio, "audio/")
    how, whole, cut = words(still_corpus, mode, model), tmp_path / "whole", tmp_path / "cut"
    once = warm_modes.run(code(DYING, [*how, "-i", str(still_corpus.audio), "-o", str(whole)]), os.environ)
    assert once.returncode == 0, once.stderr
    start = code(DYING, [*how, "-b", f"two-{mode}", "-i", "audio", "--cloud_dir", "run", "-o", str(cut)])
    died = warm_modes.run(start, os.environ | {"DIES": "1"}, processes=2)
    assert died.returncode == -signal.SIGKILL, died.stderr
    assert list((cut / ".parts").glob("*/part-*"))
    assert not list(cut.glob(result))
    again = warm_modes.run(start, os.environ, processes=2)
    assert again.returncode == 0, again.stderr
    (one,), (other,) = cut.glob(result), whole.glob(result)
    assert one.read_bytes() == other.read_bytes()
    assert gs.get(f"two-{mode}", f"run/{one.name}") == one.read_bytes()
