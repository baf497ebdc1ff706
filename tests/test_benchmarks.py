"""The script for a GPU runs on a processor in a small form, so that it is ready when a GPU can be had."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.slow
def test_the_script_for_a_gpu_measures_every_part_on_a_processor(tmp_path):
    words = [sys.executable, str(ROOT / "benchmarks" / "gpu.py"), "--small", "--device", "cpu", "--out", str(tmp_path)]
    done = subprocess.run(words, env=os.environ | {"PYTHONPATH": str(ROOT / "src")}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert list(found) == [
        *("machine", "correctness", "synchronisations", "rates", "profile", "end to end", "learning"),
    ]
    assert "failed" not in (tmp_path / "gpu.json").read_text()
    distances = {name: value for name, value in found["correctness"].items() if "cosine" not in name}
    assert distances.pop("attention is right")
    assert set(distances.values()) == {0.0}, "a processor has the numbers of a processor"
    assert all(value > 0.98 for name, value in found["correctness"].items() if "cosine" in name)
    assert found["synchronisations"]["steps taken"] == 10
    assert [(row["N"], row["way"]) for row in found["rates"]] == [(0, "eager"), (10, "eager"), (0, "published")]
    assert all(row["ms"] > 0 and row["share of the rate"] > 0 for row in found["rates"])
    assert sum(found["profile"].values()) == pytest.approx(1)
    assert found["end to end"]["0"] > 0
    assert [row["N"] for row in found["learning"]] == [0, 0, 0, 10, 10, 10]
    table = (tmp_path / "gpu.md").read_text()
    assert all(f"## {part.capitalize()}" in table for part in found)
