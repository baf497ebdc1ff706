"""`import ssast` is cheap, and every public name is there when it is asked for."""

import json
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

import ssast
from ssast.model.classification import SSASTForAudioClassification
from ssast.options.records import MODES

ROOT = Path(__file__).resolve().parents[1]
HEAVY = ("torch", "numpy", "pandas", "yaml", "librosa", "matplotlib", "sklearn")


@pytest.mark.parametrize("module", ["ssast", "ssast.cli", "ssast.options.options"])
def test_importing_loads_nothing_heavy(module):
    code = f"import sys, {module}; print([name for name in {HEAVY} if name in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert loaded.strip() == "[]"


# Torch's compiler, with sympy, once came along with every model that was read and with every optimiser: a second each.
UNUSED = ["torch._dynamo", "torch._inductor", "sympy", "sklearn", "librosa", "matplotlib", "transformers", "accelerate"]
UNUSED += ["peft", "audiomentations", "tensorboard", "onnx", "huggingface_hub.hf_api", "fsspec"]
UNUSED_BY = {"predict": [*UNUSED, "scipy"], "finetune": UNUSED}  # an interval asks scipy for a quantile
RUN_AND_TELL = """
import json, sys
from ssast import cli

for mode, words, unused in json.loads(sys.argv[1]):
    assert cli.main([mode, *words]) == 0
    print("loaded by", mode, [name for name in unused if name in sys.modules])
"""


def test_a_mode_loads_nothing_that_it_does_not_use(still_corpus, published_tiny, tmp_path):
    """Each of these takes a tenth of a second to a second, at every start; run one after the other in one process."""
    tuned, audio = tmp_path / "tuned", str(still_corpus.audio)
    how = ["--device", "cpu", "--precision", "fp32", "--target_length", "32"]
    SSASTForAudioClassification(2, "tiny", target_length=32, labels=["high", "loud"], seed=0).save_pretrained(tuned)
    data = ["-i", audio, "-d", str(still_corpus.splits), "-l", str(still_corpus.label_txt), "--resamples", "20"]
    words = {
        "predict": ["--finetuned_mdl_path", str(tuned), f"{audio}/0001", "-o", str(tmp_path / "said"), *how],
        "finetune": ["--pretrained_mdl_path", str(published_tiny), *data, "-o", str(tmp_path / "out"), *how],
    }
    steps = json.dumps([(mode, words[mode], UNUSED_BY[mode]) for mode in words])
    run = [sys.executable, "-c", RUN_AND_TELL, steps]
    ended = subprocess.run(run, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    said = [line for line in ended.stdout.splitlines() if line.startswith("loaded by")]
    assert said == ["loaded by predict []", "loaded by finetune []"]


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
