"""The script for a GPU runs on a processor in a small form; that of large runs says what its page says."""

import importlib.util
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


def test_the_page_of_large_runs_has_the_lines_that_its_script_prints(monkeypatch, capsys, tmp_path):
    spec = importlib.util.spec_from_file_location("scale", ROOT / "benchmarks" / "scale.py")
    scale = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "scale", scale)
    spec.loader.exec_module(scale)
    monkeypatch.setattr(scale, "RESULTS", tmp_path)  # what was measured on one machine is not on the page
    monkeypatch.setattr(sys, "argv", ["scale.py", "table"])
    scale.main()
    said = [line.replace(" |  |", " | |") for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert len(said) == 14
    assert set(said) <= set((ROOT / "docs" / "scale.md").read_text(encoding="utf-8").splitlines())


@pytest.mark.slow
def test_a_report_of_twenty_labels_and_four_columns_of_groups_stays_below_5_mb(monkeypatch):
    spec = importlib.util.spec_from_file_location("report", ROOT / "benchmarks" / "report.py")
    report = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "report", report)
    spec.loader.exec_module(report)
    _, predictions, metrics = report.scored(20, 200, 50, 2)
    assert len(predictions.labels) == 20
    assert list(metrics["groups"]["columns"]) == ["sex", "age", "site", "device"]
    text = report.page_of(predictions, metrics)
    assert text.count("<audio") == 8
    assert len(text.encode()) < 5e6
