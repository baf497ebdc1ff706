"""Whole files on systems that this was never run on: what they refuse is refused here, too."""

import os
from pathlib import Path

import pytest

from ssast.data.storage import atomic_writes
from ssast.data.storage.atomic_writes import atomic_file, atomic_folder, is_orphan, own_name
from ssast.errors import UserError


@pytest.fixture
def windows(monkeypatch):
    """The parts of Windows that whole files meet: flushing needs a file open for writing, and 0 is Ctrl-C."""
    import fcntl

    flush = os.fsync

    def fsync(number: int) -> None:
        if fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(9, "Bad file descriptor")
        flush(number)

    def kill(pid: int, number: int) -> None:
        pytest.fail("a signal was sent to find out whether a process lives")

    monkeypatch.setattr(atomic_writes, "ON_WINDOWS", True)
    monkeypatch.setattr(atomic_writes, "_PAUSE_SECONDS", 0.001)
    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "kill", kill)
    monkeypatch.setattr(atomic_writes, "_alive_on_windows", lambda pid: pid == os.getpid())


@pytest.mark.usefixtures("windows")
def test_files_and_folders_are_written_on_windows_too(tmp_path):
    """os.fsync on a file that was opened for reading fails there, so that no mode worked."""
    with atomic_file(tmp_path / "a.csv") as beside:
        beside.write_text("one")
    with atomic_file(tmp_path / "a.csv") as beside:
        beside.write_text("two")
    with atomic_folder(tmp_path / "folder") as beside:
        (beside / "b").touch()
    assert (tmp_path / "a.csv").read_text() == "two"
    assert sorted(os.listdir(tmp_path)) == ["a.csv", "folder"]


@pytest.mark.usefixtures("windows")
def test_whether_a_process_lives_is_found_out_without_a_signal():
    name = own_name("x")
    assert not is_orphan(name)
    assert is_orphan(name.replace(f"-{os.getpid()}-", "-4194999-"))


@pytest.mark.usefixtures("windows")
def test_a_file_that_somebody_reads_is_replaced_when_he_is_done_or_named(tmp_path, monkeypatch):
    moves, replace = [], os.replace

    def held(source: Path, target: Path) -> None:
        moves.append(target)
        if len(moves) < 4:
            raise PermissionError(13, "The process cannot access the file because it is being used")
        replace(source, target)

    monkeypatch.setattr(os, "replace", held)
    with atomic_file(tmp_path / "a.csv") as beside:
        beside.write_text("one")
    assert (tmp_path / "a.csv").read_text() == "one"
    moves[:] = []
    monkeypatch.setattr(atomic_writes, "TRIES", 2)
    with pytest.raises(UserError, match="being used"), atomic_file(tmp_path / "a.csv") as beside:
        beside.write_text("two")
    assert (tmp_path / "a.csv").read_text() == "one"
    assert os.listdir(tmp_path) == ["a.csv"]


def test_a_name_of_255_bytes_can_be_written_and_what_a_kill_left_of_it_is_swept(tmp_path, monkeypatch):
    path = tmp_path / ("ö" * 125 + ".html")
    monkeypatch.setattr(os, "getpid", lambda: 4194999)
    stray = tmp_path / own_name(path.name)
    monkeypatch.undo()
    stray.touch()
    with atomic_file(path) as beside:
        beside.write_text("all")
    assert os.listdir(tmp_path) == [path.name]
    assert own_name("short.csv").endswith("-short.csv")
