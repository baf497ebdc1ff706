"""Runs with a bucket that are ended from outside go on, and what they had finished is in the bucket."""

import os
import signal
import subprocess
import sys
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
# Slow steps and small parts, so that there is something to end; the model sees what it always sees.
SLOWLY = f"""{NARROW}
import sys, time
from ssast import cli
from ssast.engine import inference, train

def slow(owner, name, seconds):
    whole = getattr(owner, name)

    def slowly(*given, **named):
        time.sleep(seconds)
        return whole(*given, **named)

    setattr(owner, name, slowly)

inference.SECONDS_A_PART, inference.CPU_CLIPS = -1.0, 1
slow(train.Run, "step", 0.05)
slow(inference, "values", 0.3)
sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def model(narrow, tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("model") / "model"
    SSASTForAudioClassification(2, "tiny", target_length=32, labels=["high", "loud"], seed=0).save_pretrained(folder)
    return str(folder)


def words(corpus, mode: str, model: str) -> list[str]:
    own = TRAINED if mode == "finetune" else ["--finetuned_mdl_path", model, "--batch_size", "1"]
    return [mode, "-d", str(corpus.splits), "-l", str(corpus.label_txt), *HOW, *own]


def ended_by_a_signal(start: list[str], out: Path, pattern: str) -> subprocess.Popen:
    """The command, sent SIGTERM once a file of this pattern is there, with what it said."""
    running = subprocess.Popen(start, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while running.poll() is None and not list(out.glob(pattern)):
        time.sleep(0.01)
    running.send_signal(signal.SIGTERM)
    running.said = "".join(running.communicate(timeout=300))
    return running


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
    mode, pattern, finished, result, gs, still_corpus, model, tmp_path, request
):
    """A real signal to a process of its own: extraction and evaluation once ended with nothing sent."""
    bucket = request.node.callspec.id
    gs.bucket(bucket)
    gs.put_folder(bucket, still_corpus.audio, "audio/")
    whole, out = tmp_path / "whole", tmp_path / "out"
    start = [sys.executable, "-c", SLOWLY, *words(still_corpus, mode, model)]
    subprocess.run([*start, "-i", str(still_corpus.audio), "-o", str(whole)], check=True, capture_output=True)
    start += ["-b", bucket, "-i", "audio", "--cloud_dir", "run", "-o", str(out)]
    ended = ended_by_a_signal(start, out, pattern)
    assert ended.returncode == 128 + signal.SIGTERM, ended.said
    assert "the same command goes on from" in ended.said
    assert not list(out.glob(result))
    for name in [*finished, "run.yaml"]:
        assert gs.get(bucket, f"run/{name}") == (out / name).read_bytes(), name
    again = subprocess.run(start, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    (one,), (other,) = out.glob(result), whole.glob(result)
    assert gs.get(bucket, f"run/{one.name}") == one.read_bytes() == other.read_bytes()
    assert not (out / ".parts").exists()


# Where DIES is set, the second of two processes is killed in the middle of its share.
DYING = f"""{NARROW}
import os, signal, sys
from ssast import cli
from ssast.engine import distributed, inference

values, inference.SECONDS_A_PART, inference.CPU_CLIPS, done = inference.values, -1.0, 1, []

def dying(*arguments):
    if "DIES" in os.environ and distributed.rank() == 1 and len(done) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    done.append(1)
    return values(*arguments)

inference.values = dying
sys.exit(cli.main(sys.argv[1:]))
"""
TOGETHER = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2"]


@pytest.mark.parametrize(("mode", "result"), [("extract", "*.pqt"), ("evaluate", "predictions.csv")])
def test_a_killed_pass_of_two_processes_over_a_bucket_goes_on_to_the_same_bytes(
    mode, result, gs, still_corpus, model, tmp_path
):
    gs.bucket(f"two-{mode}")
    gs.put_folder(f"two-{mode}", still_corpus.audio, "audio/")
    alone = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    (tmp_path / "dying.py").write_text(DYING)
    how, whole, cut = words(still_corpus, mode, model), tmp_path / "whole", tmp_path / "cut"
    once = [sys.executable, str(tmp_path / "dying.py"), *how, "-i", str(still_corpus.audio), "-o", str(whole)]
    subprocess.run(once, check=True, env=alone, capture_output=True)
    start = [*TOGETHER, str(tmp_path / "dying.py"), *how, "-b", f"two-{mode}", "-i", "audio", "--cloud_dir", "run"]
    start += ["-o", str(cut)]
    assert subprocess.run(start, env=alone | {"DIES": "1"}, capture_output=True).returncode != 0
    assert list((cut / ".parts").glob("*/part-*"))
    assert not list(cut.glob(result))
    again = subprocess.run(start, env=alone, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    (one,), (other,) = cut.glob(result), whole.glob(result)
    assert one.read_bytes() == other.read_bytes()
    assert gs.get(f"two-{mode}", f"run/{one.name}") == one.read_bytes()
