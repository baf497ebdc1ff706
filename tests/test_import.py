"""`import ssast` is cheap, and every public name is there when it is asked for."""

import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

import ssast
from ssast.options.records import MODES

ROOT = Path(__file__).resolve().parents[1]
HEAVY = ("torch", "numpy", "pandas", "yaml", "librosa", "matplotlib", "sklearn")


@pytest.mark.parametrize("module", ["ssast", "ssast.cli", "ssast.options.options"])
def test_importing_loads_nothing_heavy(module):
    code = f"import sys, {module}; print([name for name in {HEAVY} if name in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert loaded.strip() == "[]"


@pytest.mark.parametrize("name", ssast.__all__)
def test_every_public_name_is_loaded_on_first_use(name):
    assert callable(getattr(ssast, name))
    assert name in dir(ssast)


def test_the_list_of_public_names_is_the_list_of_their_homes():
    assert sorted([*ssast._HOMES, *MODES]) == sorted(ssast.__all__)


def test_the_seeds_class_names_are_the_two_models():
    assert ssast.ASTModel_pretrain is ssast.SSASTForPreTraining
    assert ssast.ASTModel_finetune is ssast.SSASTForAudioClassification


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = ssast.nothing


def test_the_version_is_the_one_of_the_package():
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == ssast.__version__


@pytest.mark.parametrize(("before", "now"), ssast._MOVED.items())
def test_modules_that_moved_are_there_under_their_old_names(before, now):
    """Configurations of s3prl and of the HEAR benchmark name them."""
    old, new = import_module(before), import_module(now)
    public = [name for name in vars(new) if not name.startswith("_")]
    assert public
    assert all(getattr(old, name) is getattr(new, name) for name in public)


def test_the_old_names_of_adapters_are_the_published_ones():
    assert callable(import_module("ssast.engine.s3prl").UpstreamExpert)
    assert callable(import_module("ssast.engine.hear_api").get_scene_embeddings)
