"""What a run finds around it: a home folder or none, folders to write to and to stand in, memory and open files."""

import errno
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import torch

from ssast.data.storage.atomic_writes import at_home
from ssast.data.storage.cache import cache_folder
from ssast.data.storage.location import Location
from ssast.engine.checkpoint import read_state
from ssast.errors import UserError
from ssast.model.checkpoints import model_folder
from ssast.model.pretraining import SSASTForPreTraining
from ssast.options.privacy import keys
from ssast.runs.wrapping import environment
from ssast.runs.wrapping.environment import KEPT, check_environment, enough_means


@pytest.fixture
def nowhere_kept(monkeypatch):
    for name in (*KEPT, "XDG_CACHE_HOME", "SSAST_KEYS", "HF_HOME"):
        monkeypatch.setenv(name, "")


@pytest.fixture
def homeless(monkeypatch, nowhere_kept):
    """A user without HOME whom the system does not know, as in a container with `--user 12345`."""

    def unknown(path):
        if str(path).startswith("~"):
            raise RuntimeError("Could not determine home directory.")
        return path

    monkeypatch.setattr(Path, "expanduser", unknown)


@pytest.mark.parametrize("home", ["/dev/null/none", "missing"])
@pytest.mark.usefixtures("nowhere_kept")
def test_a_home_that_cannot_be_written_is_made_up_for(monkeypatch, tmp_path, capsys, home):
    (tmp_path / "file").touch()
    monkeypatch.setenv("HOME", str(tmp_path / "file" / "home") if home == "missing" else home)
    check_environment()
    assert cache_folder().parent == Path(os.environ["MPLCONFIGDIR"]).parent
    assert cache_folder().is_relative_to(tempfile.gettempdir())
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "set SSAST_CACHE to a folder that stays" in said
    check_environment()
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("homeless")
def test_a_user_without_a_home_gets_a_cache_and_a_sentence_about_keys(monkeypatch):
    check_environment()
    assert cache_folder().is_relative_to(tempfile.gettempdir())
    with pytest.raises(UserError, match=r"no home folder for ~/.config/ssast; set SSAST_KEYS"):
        keys()
    assert Location("~/x").path == at_home("~/x") == Path("~/x")


@pytest.mark.usefixtures("nowhere_kept")
def test_a_home_that_can_be_written_is_left_alone(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    check_environment()
    assert cache_folder() == tmp_path / ".cache" / "ssast"
    assert capsys.readouterr().err == ""
    assert list(tmp_path.iterdir()) == []


def test_a_path_that_begins_with_somebody_unknown_is_missing_and_no_traceback():
    with pytest.raises(UserError, match="~nobody-here/x does not exist"):
        Location("~nobody-here/x").read_bytes()


def test_no_folder_for_temporary_files_is_one_sentence(monkeypatch):
    def none():
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr(environment.tempfile, "gettempdir", none)
    with pytest.raises(UserError, match="set TMPDIR"):
        check_environment()


def test_a_folder_that_is_gone_is_one_sentence(tmp_path):
    code = f"import os; os.chdir({str(tmp_path)!r}); os.rmdir({str(tmp_path)!r}); from ssast.cli import main; "
    code += "raise SystemExit(main(['demo']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == (
        "ssast: the folder that this was started in is gone; change to another one and start again.\n"
    )


LACKING = {
    "threads": (RuntimeError("can't start new thread"), "no further process or thread; allow more with `ulimit -u`"),
    "processes": (BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN)), "no further process or thread; .* than 4"),
    "a fork": (OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)), "not enough memory for pack with --num_workers 4;"),
    "a library": (ImportError("libtorch_cpu.so: failed to map segment from shared object"), "not enough memory"),
    "room in C": (RuntimeError("std::bad_alloc"), "not enough memory for pack"),
    "a worker's": (OSError("Caught OSError in worker 0. [Errno 24] Too many open files"), "more open files at once"),
}


@pytest.mark.parametrize(("error", "said"), LACKING.values(), ids=LACKING)
def test_what_the_machine_lacks_is_one_sentence(error, said):
    """Each was a traceback; `pack` and six other modes had one for memory too."""
    with pytest.raises(UserError, match=said), enough_means("pack", {"num_workers": 4, "batch_size": None}):
        raise error


def test_other_errors_stay_as_they_are():
    for error in (OSError(errno.EIO, "Input/output error"), RuntimeError("shapes differ"), ImportError("no such name")):
        with pytest.raises(type(error), match=str(error)[-10:]), enough_means("pack", {}):
            raise error


def test_a_state_that_memory_does_not_hold_is_not_called_unreadable(tmp_path, monkeypatch):
    """It told the user to delete the last good state of a training, or to save the model again."""
    torch.save({"model": {}}, tmp_path / "last.pt")
    folder = tmp_path / "model"
    SSASTForPreTraining("tiny", target_length=32, mask_patch=2, seed=0).save_pretrained(folder)
    lacking = RuntimeError("unable to mmap 21746580 bytes from file </last.pt>: Cannot allocate memory (12)")

    def refuse(*_, **__):
        raise lacking

    monkeypatch.setattr(torch, "load", refuse)
    monkeypatch.setattr(model_folder, "load_file", refuse)
    for read in (lambda: read_state(tmp_path / "last.pt"), lambda: SSASTForPreTraining.from_pretrained(folder)):
        with pytest.raises(UserError, match="not enough memory for finetune"), enough_means("finetune", {}):
            read()
