"""What is installed from a wheel works elsewhere, and what the package declares of itself is true."""

import ast
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
# Where the name to import is not that of the package.
IMPORTED_AS = {"scikit-learn": "sklearn", "pyyaml": "yaml"}


# What the extras bring; without one of them the core must do its work.
HIDDEN = ("gcsfs", "s3fs", "matplotlib", "onnx", "onnxruntime", "onnxscript", "peft", "tensorboard", "transformers")


def names(requirements):
    return {re.split(r"[<>=!\[;~ ]", one)[0].lower().replace("_", "-") for one in requirements}


CORE = names(PROJECT["dependencies"])
EXTRAS = {extra: names(needs) for extra, needs in PROJECT["optional-dependencies"].items()}


def imported(*, at_the_top):
    """Third-party packages that the source imports, when a file is loaded or later, by the name that is imported."""
    found = set()
    for path in (ROOT / "src").rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in tree.body if at_the_top else ast.walk(tree):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                found.add((node.module or "").split(".")[0])
    return found - set(sys.stdlib_module_names) - {"ssast"}


def test_the_core_declares_what_it_imports_and_imports_what_it_declares():
    core = {IMPORTED_AS.get(name, name).replace("-", "_") for name in CORE}
    assert imported(at_the_top=True) <= core
    # fsspec opens stores by name, and is imported late where it is.
    assert core <= imported(at_the_top=False)


def test_the_core_has_at_most_18_dependencies_each_with_its_reason():
    assert len(CORE) <= 18
    reasons = (ROOT / "docs" / "decisions.md").read_text(encoding="utf-8").split("## Dependencies")[1]
    rows = re.findall(r"^\| ([a-z][\w-]*) \| [^|]{10,} \| [^|]+ \|$", reasons, re.M)
    assert {name.replace("_", "-") for name in rows} - {"package"} == CORE


def test_what_is_no_core_is_an_extra_that_dev_holds():
    assert {"cloud", "report", "lora", "export", "dev"} <= EXTRAS.keys()
    late = imported(at_the_top=False) - {IMPORTED_AS.get(name, name).replace("-", "_") for name in CORE}
    extras = set().union(*EXTRAS.values())
    assert late <= {name.replace("-", "_") for name in extras} | {"torch"}
    dev = PROJECT["optional-dependencies"]["dev"][0]
    assert set(re.findall(r"\w+", dev)) - {"ssast"} == EXTRAS.keys() - {"dev"}


def test_the_workflow_tries_every_python_that_is_declared():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "test.yml").read_text(encoding="utf-8"))
    job = workflow["jobs"]["test"]
    declared = [text.rsplit(" ", 1)[1] for text in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", text)]
    assert job["strategy"]["matrix"]["python"] == declared == ["3.11", "3.12", "3.13"]
    assert PROJECT["requires-python"] == ">=3.11"
    steps = [step["run"] for step in job["steps"] if "run" in step]
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    assert {"make lint", "make test"} <= set(steps)
    assert {step.split()[1] for step in steps} <= targets


def test_the_image_copies_what_is_there_and_runs_ssast_without_rights():
    lines = re.sub(r"\\\n", "", (ROOT / "Dockerfile").read_text(encoding="utf-8")).splitlines()
    words = [line.split() for line in lines if line and not line.startswith("#")]
    sources = [word for line in words if line[0] == "COPY" and "--from=build" not in line for word in line[1:-1]]
    assert sources
    assert [source for source in sources if not (ROOT / source).exists()] == []
    kept = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    assert {f"!{source.removeprefix('./')}" for source in sources} <= set(kept)
    assert ["USER", "ssast"] in words
    assert ["ENTRYPOINT", '["ssast"]'] in words
    asked = re.search(r"'\.\[(.*?)\]'", "\n".join(lines)).group(1).split(",")
    assert set(asked) <= EXTRAS.keys()
    first = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert "python3.11" in first
    assert all("python:3.11" in " ".join(line) for line in words if line[0] == "FROM")


def test_the_citation_names_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == PROJECT["version"]
    assert citation["license"] == PROJECT["license"]
    assert f"## {PROJECT['version']}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel of a copy of the sources, as pip builds it."""
    pytest.importorskip("setuptools", reason="building a wheel without a network needs setuptools")
    source, out = tmp_path_factory.mktemp("source") / "ssast", tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT / "src", source / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--wheel-dir", str(out), str(source)], check=True)
    return next(out.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """An own environment with the wheel: the core's dependencies are those of this one, the extras are not there."""
    place = tmp_path_factory.mktemp("environment") / "venv"
    venv.create(place, with_pip=False)
    python = place / "bin" / "python"
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", str(wheel)]
    subprocess.run(command, check=True)
    packages = next(place.glob("lib/python*/site-packages"))
    # A .pth file adds the folder, but not what the .pth files in it add, such as an editable ssast.
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    hidden = "import sys\n" + "".join(f"sys.modules[{name!r}] = None\n" for name in HIDDEN)
    (packages / "sitecustomize.py").write_text(hidden)
    return place / "bin"


@pytest.mark.slow
def test_the_wheel_holds_every_file_of_the_package(wheel):
    inside = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("ssast/")}
    package = ROOT / "src" / "ssast"
    files = {path for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    assert inside == {f"ssast/{path.relative_to(package).as_posix()}" for path in files}
    assert {"ssast/py.typed", "ssast/pages/page.css"} <= inside


@pytest.mark.slow
def test_it_is_used_from_another_folder(installed, still_corpus, tmp_path):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "SSAST_CACHE": str(tmp_path / "cache")}
    environment.pop("PYTHONPATH", None)

    def run(*words):
        done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    where = run(str(installed / "python"), "-c", "import ssast; print(ssast.__file__)").strip()
    assert Path(where).is_relative_to(installed.parent)
    assert "usage: ssast MODE" in run(str(installed / "ssast"), "--help")
    data = ["-i", str(still_corpus.audio), "-d", str(still_corpus.splits), "-l", str(still_corpus.label_txt)]
    small = ["--pretrained_mdl_path", "none", "--model_size", "tiny", "--tshape", "8", "--target_length", "32"]
    run(str(installed / "ssast"), "finetune", *data, *small, "--device", "cpu", "--resamples", "0", "-o", "out")
    assert "<style>" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    words = ["attention", "--finetuned_mdl_path", "out", *data[:4], "--max_clips", "1", "--device", "cpu", "-o", "seen"]
    assert "no PNG pictures: they need matplotlib, pip install 'ssast[report]'" in run(str(installed / "ssast"), *words)
    assert "<script>" in (tmp_path / "seen" / "attention" / "attention.html").read_text(encoding="utf-8")
    missing = (
        (["export", "out", "exported"], "exporting needs onnx"),
        (["finetune", *data, *small, "--lora_rank", "2", "-o", "lora"], "ssast[lora]"),
        (["finetune", *data, *small, "--tensorboard", "True", "-o", "board"], "ssast[tensorboard]"),
        (["stats", "-i", "gs://bucket/audio", "-d", "gs://bucket/splits", "-o", "far"], "ssast[cloud]"),
    )
    for words, said in missing:
        done = subprocess.run(
            [installed / "ssast", *words], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert (done.returncode, done.stderr.count("ssast: ")) == (2, 1), done.stderr
        assert said in done.stderr


def test_importing_costs_less_than_three_tenths_of_a_second():
    code = "import resource, ssast, sys; assert 'torch' not in sys.modules; "
    code += "print(resource.getrusage(resource.RUSAGE_SELF).ru_utime)"
    spent = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert float(spent) < 0.3
