"""What CONTRIBUTING says of adding an augmentation is true: its example is applied to a copy of the package and run."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TEST = "tests/audio/test_augment.py"
RUNS = """
from ssast import cli
from ssast.data.dataset import AudioConf
from ssast.modes.options import SPECS

assert (SPECS["hum"].limits, SPECS["hum_snr_db"].default, SPECS["hum_snr_db"].unit) == ("0 to 1", 20.0, "dB")
assert AudioConf.of({"hum": 0.5, "hum_snr_db": 30}).waveform.hum == 0.5
cli.main(["finetune", "--help-all"])
"""


def example() -> str:
    return re.search(r"```diff\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.S).group(1)


@pytest.fixture
def contributed(tmp_path):
    """A copy of the package and of the tests of augmentation, with the example applied."""
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    (tmp_path / TEST).parent.mkdir(parents=True)
    shutil.copy(ROOT / TEST, tmp_path / TEST)
    subprocess.run(["git", "apply", "-"], cwd=tmp_path, input=example(), text=True, check=True)
    return tmp_path


def run(contributed, *words):
    environment = {"PYTHONPATH": str(contributed / "src"), "PATH": "", "COLUMNS": "120", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *words]
    return subprocess.run(command, cwd=contributed, env=environment, capture_output=True, text=True)


def test_an_augmentation_is_one_source_file_and_one_test():
    assert re.findall(r"^\+\+\+ b/(.*)$", example(), re.M) == ["src/ssast/audio/alterations.py", TEST]


def test_the_example_becomes_options_keys_and_help(contributed):
    done = run(contributed, "-c", RUNS)
    assert done.returncode == 0, done.stderr
    page = " ".join(done.stdout.split())
    assert "--hum NUMBER add the 50 Hz hum of the mains (probability a clip, 0 to 1; default 0.0)" in page
    assert "--hum_snr_db NUMBER speech is so far above that hum (dB, 0 to 100; default 20.0)" in page


def test_the_example_passes_its_own_test_and_those_of_all_augmentations(contributed):
    words = ["-m", "pytest", "-c", "/dev/null", "--rootdir", ".", "-q", "-k", "hum or short", TEST]
    done = run(contributed, *words)
    assert done.returncode == 0, done.stdout
    assert "passed" in done.stdout
