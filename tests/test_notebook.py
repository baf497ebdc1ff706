"""The tutorial: its stored outputs are what a reader should see, and it runs from its first cell to its last."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOK = ROOT / "run.ipynb"


def code_cells(path: Path) -> list[dict]:
    return [cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]


def test_the_stored_notebook_was_run_once_from_top_to_bottom():
    cells = code_cells(NOTEBOOK)
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert {output["output_type"] for output in outputs} <= {"stream", "display_data", "execute_result"}
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 3
    assert sum("<audio" in "".join(output.get("data", {}).get("text/html", "")) for output in outputs) == 2


def test_the_stored_notebook_is_small_and_names_no_machine():
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert len(text.encode()) < 300_000
    assert not re.findall(r"/(?:home|root|tmp|work|Users)/", text)
    assert "batch/s" not in text


def test_its_links_lead_to_pages():
    text = "".join(json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"][0]["source"])
    links = re.findall(r"\]\((docs/[^)]*)\)", NOTEBOOK.read_text(encoding="utf-8"))
    assert "docs/weights.md" in text
    assert [link for link in links if not (ROOT / link).is_file()] == []


SHORTER = {"clips_per_speaker=6": "clips_per_speaker=3"}
SHORTER |= {"epochs=10,": "epochs=1,", "epochs=20,": "epochs=2,"}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_notebook_runs_to_its_end(tmp_path):
    """On less data, in a folder of its own, as `make notebook` does it; how good the model is, is said there."""
    text = NOTEBOOK.read_text(encoding="utf-8")
    for whole, short in SHORTER.items():
        assert whole in text
        text = text.replace(whole, short)
    (tmp_path / "short.ipynb").write_text(text, encoding="utf-8")
    command = [sys.executable, str(ROOT / "docs" / "notebook.py"), str(tmp_path / "short.ipynb")]
    command.append(str(tmp_path / "new.ipynb"))
    environment = os.environ | {"SSAST_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    new, stored = code_cells(tmp_path / "new.ipynb"), code_cells(NOTEBOOK)
    assert [len(cell["outputs"]) for cell in new] == [len(cell["outputs"]) for cell in stored]
