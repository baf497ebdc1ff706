"""`--pretrained_mdl_path NAME` finds published weights: in this folder, else in the cache, else on the network."""

import re
import shutil
from pathlib import Path

import pytest

import ssast
from ssast import cli
from ssast.errors import UserError
from ssast.model.checkpoints.published import PUBLISHED
from ssast.options.options import Options
from ssast.runs.context import Paths, weights

NAME = "SSAST-Tiny-Frame-400"
REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def put_by_hand(published_tiny, tmp_path, monkeypatch):
    """A cache that holds the weights, as where somebody saved them there with a browser."""
    monkeypatch.setenv("SSAST_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    place = tmp_path / "cache" / "weights" / f"{NAME}.pth"
    place.parent.mkdir(parents=True)
    shutil.copy(published_tiny, place)
    return place


@pytest.mark.parametrize("spelling", [NAME, NAME.lower(), f"{NAME}.pth"])
def test_a_name_is_the_file_in_the_cache(put_by_hand, spelling):
    assert Paths.of(Options()).model_path(spelling) == str(put_by_hand)


@pytest.mark.parametrize("spelling", [NAME, f"{NAME}.pth"])
def test_a_file_of_that_name_here_wins(put_by_hand, tmp_path, spelling):
    (tmp_path / f"{NAME}.pth").write_bytes(b"mine")
    assert Paths.of(Options()).model_path(spelling) == f"{NAME}.pth"


def test_python_gets_a_path_for_from_published(put_by_hand, capsys):
    model = ssast.SSASTForAudioClassification.from_published(ssast.weights(NAME), num_labels=2, target_length=64)
    assert model.config["model_size"] == "tiny"
    assert "pinned in" in capsys.readouterr().out


def test_the_pages_list_the_names_that_there_are():
    page, readme = ((REPOSITORY / name).read_text(encoding="utf-8") for name in ("docs/weights.md", "README.md"))
    for name, facts in PUBLISHED.items():
        assert f"| [{name}]({facts.address(name)}) | {facts.fshape} x {facts.tshape} | {facts.model_size}, " in page
    assert set(re.findall(r"`(SSAST-[\w-]+)`", readme)) == {name for name in PUBLISHED if name.startswith("SSAST")}


def test_a_slip_gets_a_suggestion(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"SSAST-Tiny-Frame-40 does not exist; did you mean SSAST-Tiny-Frame-400\?"):
        Paths.of(Options()).model_path("SSAST-Tiny-Frame-40")
    with pytest.raises(UserError, match="there are no published weights wav2vec; the names are SSAST-Base-Frame-400, "):
        weights("wav2vec")


def test_finetuning_starts_from_a_name_and_records_its_fingerprint(put_by_hand, still_corpus, tmp_path, capsys):
    words = ["-i", str(still_corpus.audio), "-d", str(still_corpus.splits), "-l", str(still_corpus.label_txt)]
    words += ["--target_length", "32", "--resamples", "0", "--device", "cpu", "--precision", "fp32"]
    assert cli.main(["finetune", *words, "--pretrained_mdl_path", NAME, "-o", "run"]) == 0
    record = (tmp_path / "run" / "run.yaml").read_text()
    assert f"pretrained_mdl_path: {NAME}\n" in record
    assert f"{put_by_hand}: " in record
    capsys.readouterr()


def test_modes_that_have_a_finetuned_model_fetch_none(still_corpus, tmp_path, capsys):
    """--pretrained_mdl_path has a default, which evaluate and extract have no use for."""
    model = ssast.SSASTForAudioClassification(2, "tiny", target_length=32, labels=["high", "loud"], seed=0)
    model.save_pretrained(tmp_path / "model")
    words = ["-i", str(still_corpus.audio), "-d", str(still_corpus.splits / "test.csv"), "--device", "cpu"]
    words += ["--finetuned_mdl_path", str(tmp_path / "model"), "-o", str(tmp_path / "out"), "--target_length", "32"]
    assert cli.main(["extract", *words]) == 0
    assert "fetching" not in capsys.readouterr().out
