"""Every mode that writes a folder leaves it alone while another run has it, and nobody is kept out by mistake."""

import threading
from pathlib import Path

import pytest

import ssast
from ssast import cli
from ssast.data.storage.folder_lock import BY, LOCK, in_use
from ssast.errors import UserError
from ssast.options.records import MODES

# What each mode cannot do without; nothing of it is looked at before the folder is free.
DATA = {"prefix": "audio", "data_split_root": "splits"}
NEEDS = {
    "arrange": DATA,
    "pretrain": DATA,
    "finetune": DATA | {"pretrained_mdl_path": "none"},
    "evaluate": DATA | {"finetuned_mdl_path": "model"},
    "extract": DATA | {"finetuned_mdl_path": "model"},
    "attention": DATA | {"finetuned_mdl_path": "model"},
    "predict": {"finetuned_mdl_path": "model", "files": "a.wav"},
    "stats": DATA,
    "check": DATA,
    "sweep": DATA | {"pretrained_mdl_path": "none"},
    "audit": DATA | {"label_txt": "labels.txt"},
    "compare": {"runs": "a,b"},
    "merge": {"runs": "a"},
    "retest": {"runs": "a", "data_split_root": "sessions.csv"},
    "report": {"runs": "a"},
    "pack": DATA,
    "unpack": {"prefix": "shards"},
    "convert": {"checkpoint": "model.pth"},
    "export": {"checkpoint": "model.pth"},
    "upload": {},
    "demo": {},
}
BESIDE = ("arrange", "convert", "export", "unpack")
READS_ONLY = {"inspect"}


def elsewhere(enter) -> tuple[threading.Event, threading.Thread]:
    """Have a folder in another thread, until the event is set."""
    ended, entered = threading.Event(), threading.Event()

    def hold():
        with enter:
            entered.set()
            ended.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    assert entered.wait(10)
    return ended, thread


def test_every_mode_that_writes_is_tried():
    assert NEEDS.keys() | READS_ONLY == MODES.keys()


@pytest.mark.parametrize("mode", NEEDS)
def test_a_folder_that_another_run_has_is_refused(mode, tmp_path, capsys):
    folder = tmp_path / "out"
    folder.mkdir()
    place = tmp_path / f".out{LOCK}" if mode in BESIDE else folder / LOCK
    ended, thread = elsewhere(in_use(folder, place, "finetune"))
    try:
        words = [f"--{name}={value}" for name, value in {**NEEDS[mode], "exp_dir": str(folder)}.items()]
        assert cli.main([mode, *words]) == 2
        said = capsys.readouterr()
        assert said.err.startswith(f"ssast: {folder} is in use by finetune on ")
        assert "process" in said.err
        if hasattr(ssast, mode):
            with pytest.raises(UserError, match="is in use by finetune"):
                getattr(ssast, mode)(**NEEDS[mode], exp_dir=str(folder))
        assert {path.name for path in folder.iterdir()} == (set() if mode in BESIDE else {LOCK, LOCK + BY})
    finally:
        ended.set()
        thread.join()
    assert not list(folder.iterdir())


@pytest.mark.parametrize("mode", [mode for mode in NEEDS if mode not in ("upload", "demo")])
def test_a_mode_that_ends_at_once_leaves_no_folder(mode, tmp_path, monkeypatch):
    """Nothing of what it needs is there, and the folder was made only to be kept for it."""
    monkeypatch.chdir(tmp_path)
    assert cli.main([mode, *(f"--{name}={value}" for name, value in NEEDS[mode].items()), "-o", "new/out"]) == 2
    assert not list(tmp_path.iterdir())


def test_a_folder_under_another_name_is_the_same_folder(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "out")
    ended, thread = elsewhere(in_use(tmp_path / "out", tmp_path / "out" / LOCK, "pretrain"))
    try:
        with pytest.raises(UserError, match="link is in use by pretrain"):
            ssast.stats(**DATA, exp_dir=str(tmp_path / "link"))
    finally:
        ended.set()
        thread.join()


def test_the_other_processes_of_a_run_do_not_ask(tmp_path, monkeypatch):
    """Only the first holds the folder: the others come to what they share with it."""
    (tmp_path / "out").mkdir()
    ended, thread = elsewhere(in_use(tmp_path / "out", Path(tmp_path / "out" / LOCK), "finetune"))
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    try:
        with pytest.raises(UserError, match="one of 2 processes"):
            ssast.pretrain(**NEEDS["pretrain"], exp_dir=str(tmp_path / "out"))
    finally:
        ended.set()
        thread.join()
