import json
import os
import signal
import time

import pytest
import torch
from huggingface_hub.errors import EntryNotFoundError

from ssast.errors import UserError
from ssast.model.checkpoints import model_folder as folder_module
from ssast.model.classification import SSASTForAudioClassification
from ssast.model.encoder import SSASTEncoder
from ssast.model.pretraining import SSASTForPreTraining

SIZES = {"model_size": "tiny", "fshape": 16, "tshape": 16, "num_mel_bins": 64, "target_length": 96}
FILES = ("config.json", "model.safetensors", "thresholds.json", "README.md")
FRONTEND = {"sample_rate": 16000, "mean": -4.2, "std": 4.5}


@pytest.fixture(scope="module")
def classifier():
    options = {"weighted": True, "task": "ft_avgtok", "layernorm": False, "labels": ["breathy", "tremor"]}
    return SSASTForAudioClassification(2, **SIZES, **options, frontend=FRONTEND, loss="MSE", seed=0).eval()


@pytest.fixture(scope="module")
def pretrainer():
    return SSASTForPreTraining(**SIZES, mask_patch=7, seed=0).eval()


def test_a_saved_model_comes_back_whole_without_the_pretrained_file(tmp_path, classifier, noise):
    classifier.save_pretrained(tmp_path / "deep" / "run")
    loaded = SSASTForAudioClassification.from_pretrained(tmp_path / "deep" / "run")
    assert sorted(os.listdir(tmp_path / "deep" / "run")) == ["config.json", "model.safetensors"]
    assert os.listdir(tmp_path / "deep") == ["run"]
    assert torch.equal(loaded(noise(2, 96, 64)), classifier(noise(2, 96, 64)))
    assert (loaded.labels, loaded.frontend, loaded.task) == (["breathy", "tremor"], FRONTEND, "ft_avgtok")
    assert loaded.config == classifier.config
    assert not loaded.training
    assert {name for name, p in loaded.named_parameters() if p.requires_grad} == {
        name for name, p in classifier.named_parameters() if p.requires_grad
    }


def test_no_initial_weights_are_drawn_where_a_file_brings_them(tmp_path, classifier, pretrainer, monkeypatch):
    classifier.save_pretrained(tmp_path / "tuned")
    pretrainer.save_pretrained(tmp_path / "pretrained")
    monkeypatch.setattr(SSASTEncoder, "_initialise", lambda self: pytest.fail("weights were drawn"))
    before = torch.random.get_rng_state()
    SSASTForAudioClassification.from_pretrained(tmp_path / "tuned")
    SSASTForPreTraining.from_pretrained(tmp_path / "pretrained")
    SSASTForAudioClassification.from_published(tmp_path / "pretrained", num_labels=2, seed=0)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_pretraining_folder_comes_back_too(tmp_path, pretrainer, noise):
    pretrainer.save_pretrained(tmp_path)
    loaded = SSASTForPreTraining.from_pretrained(tmp_path)
    index = torch.arange(7).expand(1, 7)
    assert torch.equal(loaded(noise(1, 96, 64), mask_index=index).loss, pretrainer(noise(1, 96, 64), None, index).loss)
    assert loaded.mask_patch == 7


def test_changes_replace_settings_and_refit_positions(tmp_path, classifier, noise):
    classifier.save_pretrained(tmp_path)
    loaded = SSASTForAudioClassification.from_pretrained(tmp_path, target_length=160, freeze=False)
    assert loaded.v.grid == (4, 10)
    assert loaded(noise(1, 160, 64)).shape == (1, 2)
    assert all(parameter.requires_grad for parameter in loaded.parameters())


def test_saving_keeps_the_other_files_of_a_run_folder(tmp_path, classifier, pretrainer):
    (tmp_path / "log.jsonl").write_text("{}\n")
    pretrainer.save_pretrained(tmp_path)
    classifier.save_pretrained(tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["config.json", "log.jsonl", "model.safetensors"]
    assert SSASTForAudioClassification.from_pretrained(tmp_path).config == classifier.config


def test_a_failed_save_leaves_the_old_model_and_nothing_else(tmp_path, classifier, pretrainer, monkeypatch):
    def fail(tensors, path, metadata):
        path.write_bytes(b"half")
        raise OSError("No space left on device")

    pretrainer.save_pretrained(tmp_path / "run")
    monkeypatch.setattr(folder_module, "save_file", fail)
    for place in ("run", "new"):
        with pytest.raises(UserError, match=r"cannot be written to .*No space left on device"):
            classifier.save_pretrained(tmp_path / place)
    assert os.listdir(tmp_path) == ["run"]
    assert sorted(os.listdir(tmp_path / "run")) == ["config.json", "model.safetensors"]
    assert SSASTForPreTraining.from_pretrained(tmp_path / "run").mask_patch == 7


def test_what_a_killed_save_left_is_gone_after_the_next(tmp_path, pretrainer):
    for part in (tmp_path / ".run.part", tmp_path / "run" / ".run.part"):
        part.mkdir(parents=True)
        (part / "model.safetensors").write_bytes(b"half")
    pretrainer.save_pretrained(tmp_path / "run")
    assert sorted(os.listdir(tmp_path / "run")) == ["config.json", "model.safetensors"]


def test_a_folder_that_cannot_be_written_gets_a_sentence(tmp_path, pretrainer):
    (tmp_path / "file").write_text("x")
    for place in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(UserError, match=r"cannot be written to .*give a folder you can write to"):
            pretrainer.save_pretrained(place)


def test_a_folder_of_the_other_class_is_named(tmp_path, classifier, pretrainer):
    classifier.save_pretrained(tmp_path / "fine")
    pretrainer.save_pretrained(tmp_path / "pre")
    with pytest.raises(
        UserError, match=r"holds a fine-tuned model \(SSASTForAudioClassification\), but a pretrained one"
    ):
        SSASTForPreTraining.from_pretrained(tmp_path / "fine")
    with pytest.raises(UserError, match=r"holds a pretrained model \(SSASTForPreTraining\), but a fine-tuned one"):
        SSASTForAudioClassification.from_pretrained(tmp_path / "pre")
    with pytest.raises(UserError, match="fine-tuned model, which has no pretraining heads"):
        SSASTForPreTraining.from_published(tmp_path / "fine")


def rewrite(path, **changes):
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**config, **changes}))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda path: (path / "config.json").unlink(), "has no config.json"),
        (lambda path: (path / "model.safetensors").unlink(), "has no model.safetensors"),
        (lambda path: (path / "config.json").write_text("{"), "config.json of .* cannot be read"),
        (lambda path: (path / "config.json").write_text('{"model_type": "bert"}'), "is not one that ssast wrote"),
        (lambda path: (path / "model.safetensors").write_bytes(b"junk"), "model.safetensors of .* cannot be read"),
        (lambda path: rewrite(path, model_size="small"), "do not fit .*of another shape"),
        (lambda path: rewrite(path, wheels=4), "settings that SSASTForPreTraining does not know: wheels"),
    ],
)
def test_a_damaged_or_foreign_folder_gets_a_sentence(tmp_path, pretrainer, damage, said):
    pretrainer.save_pretrained(tmp_path)
    damage(tmp_path)
    with pytest.raises(UserError, match=said):
        SSASTForPreTraining.from_pretrained(tmp_path)


@pytest.mark.parametrize("what", ["a link to nothing", "a link to itself", "a folder", "a pipe"])
def test_thresholds_that_are_there_and_cannot_be_read_are_not_taken_for_none(tmp_path, classifier, what):
    """A copy that git-annex or DVC has not filled holds links to nothing: scores came with 0.5 for every label."""
    place = tmp_path / "run" / "thresholds.json"
    classifier.save_pretrained(tmp_path / "run")
    if what.startswith("a link"):
        place.symlink_to(place if what.endswith("itself") else "../objects/gone")
    elif what == "a folder":
        place.mkdir()
    else:
        os.mkfifo(place)
    with pytest.raises(UserError, match=r"thresholds\.json (is a link out of the model folder|cannot be read)"):
        SSASTForAudioClassification.from_pretrained(tmp_path / "run")


def test_the_folder_of_a_cross_validation_names_a_model_in_it(tmp_path, pretrainer):
    for fold in ("fold-2", "fold-1"):
        pretrainer.save_pretrained(tmp_path / "run" / fold)
    with pytest.raises(UserError, match=r"run has no config.json and .*such as .*fold-1\.$"):
        SSASTForPreTraining.from_pretrained(tmp_path / "run")


@pytest.mark.parametrize("name", ["nowhere", "./nowhere/run", "/nowhere/run", "tests/nowhere", "a/b/c", "~/run"])
def test_a_local_looking_path_that_is_not_there_never_reaches_for_the_network(name, monkeypatch, request):
    def reach(*_, **__):
        raise AssertionError("the network was asked")

    monkeypatch.chdir(request.config.rootpath)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", reach)
    with pytest.raises(UserError, match="does not exist; give a folder that holds"):
        SSASTForPreTraining.from_pretrained(name)


def test_a_hub_name_is_fetched_from_the_hub_and_its_failure_is_a_sentence(tmp_path, pretrainer, monkeypatch):
    pretrainer.save_pretrained(tmp_path)
    asked = []

    def fetch(name, filename, **options):
        asked.append((name, filename, options["revision"]))
        if not (tmp_path / filename).exists():
            raise EntryNotFoundError(filename)
        return str(tmp_path / filename)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", fetch)
    assert SSASTForPreTraining.from_pretrained("clinic/ssast-tiny", revision="v1").mask_patch == 7
    assert asked == [("clinic/ssast-tiny", name, "v1") for name in FILES]
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda *_, **__: 1 / 0)
    with pytest.raises(UserError, match="clinic/none is no local folder and could not be had"):
        SSASTForPreTraining.from_pretrained("clinic/none")


def test_pushing_uploads_a_folder_that_was_saved(tmp_path, pretrainer, monkeypatch):
    from huggingface_hub import HfApi

    uploaded = {}

    class Repo:
        repo_id = "clinic/ssast-tiny"

    def upload(self, *, folder_path, **_):
        uploaded["files"] = sorted(os.listdir(folder_path))
        return "address"

    monkeypatch.setattr(HfApi, "create_repo", lambda *_, **__: Repo())
    monkeypatch.setattr(HfApi, "upload_folder", upload)
    assert pretrainer.save_pretrained(tmp_path / "run", push_to_hub=True, repo_id="clinic/ssast-tiny") == "address"
    assert uploaded["files"] == ["README.md", "config.json", "model.safetensors"]


@pytest.mark.slow
def test_a_save_killed_at_any_moment_leaves_a_model_that_loads(tmp_path, pretrainer, warm_modes):
    pretrainer.save_pretrained(tmp_path / "run")
    code = (
        "from pathlib import Path; from ssast.model.pretraining import SSASTForPreTraining as M\n"
        f"m = M.from_pretrained({str(tmp_path / 'run')!r}); Path({str(tmp_path / 'ready')!r}).touch()\n"
        f"while True: m.save_pretrained({str(tmp_path / 'run')!r})"
    )
    for milliseconds in range(0, 200, 40):
        child = warm_modes.start(code, os.environ)
        while not (tmp_path / "ready").exists() and not child.has_ended():
            time.sleep(0.005)
        time.sleep(milliseconds / 1000)
        child.kill()
        done = child.end()
        assert done.returncode == -signal.SIGKILL, done.stderr
        (tmp_path / "ready").unlink()
        assert SSASTForPreTraining.from_pretrained(tmp_path / "run").mask_patch == 7


def test_a_folder_that_this_user_may_not_look_into_is_one_sentence(tmp_path, monkeypatch):
    """Path.is_file raises PermissionError there, which once came out as a traceback."""

    def locked(path, **kwargs):
        if str(path).endswith(".json"):
            raise PermissionError(13, "Permission denied", str(path))
        return stat(path, **kwargs)

    stat = os.stat
    monkeypatch.setattr(os, "stat", locked)
    with pytest.raises(UserError, match=r"has no config\.json and no model\.safetensors; give"):
        SSASTForAudioClassification.from_pretrained(tmp_path)
