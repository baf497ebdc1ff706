"""What CONTRIBUTING shows is true: its recipes are applied to a copy and run, picture and walk are the code's."""

import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
RECIPES = re.findall(r"```diff\n(.*?)```", PAGE, re.S)
CHANGED = {
    "option": {"engine/optimiser.py", "options/records.py", "options/training_options.py"},
    "waveform augmentation": {"audio/alterations.py"},
    "spectrogram augmentation": {"audio/alterations.py", "audio/augment.py"},
    "mode": {"__init__.py", "modes/count.py", "options/records.py"},
    "score": {"metrics/measures.py", "metrics/scores.py"},
}
OWN_TESTS = "hum or short or tilt or repeat_with_the_generator or one_cycle or are_counted or youden"
HOUSE = "every_mode or no_public_name or no_room_has_more or no_file_is_longer"
RUNS = """
from ssast import cli
from ssast.data.dataset import AudioConf
from ssast.options.options import SPECS

assert (SPECS["hum"].limits, SPECS["hum_snr_db"].default, SPECS["hum_snr_db"].unit) == ("0 to 1", 20.0, "dB")
assert AudioConf.of({"hum": 0.5, "hum_snr_db": 30}).waveform.hum == 0.5
cli.main(["finetune", "--help-all"])
cli.main(["count", "--help"])
"""
TESTED = "== the tests =="


def files(recipe):
    """The files that a recipe changes or makes."""
    return re.findall(r"^\+\+\+ b/(.*)$", recipe, re.M)


@pytest.fixture(scope="module")
def contributed(tmp_path_factory):
    """A copy of the package and of the tests that the recipes extend, with all recipes applied."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed; it applies the recipes")
    copy = tmp_path_factory.mktemp("contributed")
    shutil.copytree(ROOT / "src", copy / "src", ignore=shutil.ignore_patterns("*.egg-info"))
    for path in ["tests/test_house.py", *(path for recipe in RECIPES for path in files(recipe))]:
        if path.startswith("tests/") and (ROOT / path).is_file():
            (copy / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / path, copy / path)
    for recipe in RECIPES:
        subprocess.run(["git", "apply", "-"], cwd=copy, input=recipe, text=True, check=True)
    return copy


@pytest.fixture(scope="module")
def ran(contributed):
    """What RUNS and then the tests did, in one process: importing torch takes longer than either."""
    tests = [path for recipe in RECIPES for path in files(recipe) if path.startswith("tests/")]
    words = ["-c", "/dev/null", "--rootdir", ".", "-q", "-p", "no:cacheprovider", "-k", f"{OWN_TESTS} or {HOUSE}"]
    asked = [*words, "tests/test_house.py", *dict.fromkeys(tests)]
    code = f"{RUNS}\nimport pytest, sys\nprint({TESTED!r}, flush=True)\nsys.exit(pytest.main({asked!r}))"
    environment = {"PYTHONPATH": str(contributed / "src"), "PATH": "", "COLUMNS": "120", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=contributed, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize(("recipe", "expected"), zip(RECIPES, CHANGED.values(), strict=True), ids=CHANGED)
def test_a_recipe_changes_few_source_files_and_has_one_test(recipe, expected):
    sources = {path for path in files(recipe) if not path.startswith("tests/")}
    assert sources == {f"src/ssast/{path}" for path in expected}
    assert len(files(recipe)) == len(sources) + 1


def test_the_recipes_become_options_keys_and_help(ran):
    shown, mark, _ = ran.stdout.partition(TESTED)
    assert mark, ran.stderr
    page = " ".join(shown.split())
    assert "--hum NUMBER add the 50 Hz hum of the mains (probability a clip, 0 to 1; default 0.0)" in page
    assert "--hum_snr_db NUMBER speech is so far above that hum (dB, 0 to 100; default 20.0)" in page
    assert "--tilt True|False make each clip brighter or darker by a slope over its bins (default False)" in page
    assert "--warmup NUMBER share of the steps in which onecycle rises (above 0 and below 1; default 0.3)" in page
    assert "Count in how many rows of a csv each label is present." in page


def test_the_recipes_pass_their_own_tests_those_of_all_augmentations_and_those_of_the_house(ran):
    tested = ran.stdout.partition(TESTED)[2]
    assert ran.returncode == 0, tested or ran.stderr
    assert "passed" in tested


def test_the_picture_of_the_rooms_is_that_of_the_imports(monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])  # the script adds the folder of the tests
    drawn = runpy.run_path(str(ROOT / "docs" / "rooms.py"))["picture"]()
    assert drawn == (ROOT / "docs" / "rooms.svg").read_text(encoding="utf-8"), "run `make docs`"


def test_the_files_and_rooms_that_are_named_exist():
    prose = re.sub(r"(?ms)^```.*?^```$", "", PAGE)
    named = set(re.findall(r"`((?:\w+/)*\w*(?:\.py|/))`", prose))
    places = [ROOT / "src" / "ssast", ROOT, *(path for path in (ROOT / "src" / "ssast").iterdir() if path.is_dir())]
    assert {name for name in named if not any((place / name).exists() for place in places)} == set()


@pytest.mark.slow
def test_the_walk_comes_through_its_stations_in_their_order():
    walk = PAGE[PAGE.index("## A walk") : PAGE.index("## How to add")]
    stations = re.findall(r"(?m)^\d+\. `([\w/]+\.py)`", walk)
    come_through = list(runpy.run_path(str(ROOT / "docs" / "walk.py"))["walk"]())
    assert [place for place in come_through if place in stations] == stations
    assert set(re.findall(r"`(\w+/[\w/]+\.py)`", walk)) <= {*come_through, "docs/walk.py"}
