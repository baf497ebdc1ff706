"""One run at a time has a folder, whatever the disk knows of locks."""

import errno
import fcntl
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from dataclasses import asdict, replace

import pytest

from ssast.data.storage import folder_lock as module
from ssast.data.storage.folder_lock import LOCK, Holder, in_use
from ssast.errors import UserError

BY = LOCK + module.BY

HOLDS = """
import sys, time
from pathlib import Path
from ssast.data.storage.folder_lock import LOCK, in_use

folder = Path(sys.argv[1])
with in_use(folder, folder / LOCK, "finetune"):
    print("has it", flush=True)
    time.sleep(60)
"""


def enter(folder, by="extract"):
    return in_use(folder, folder / LOCK, by)


@pytest.fixture
def quick(monkeypatch):
    """A run that is silent for half a second counts as ended."""
    monkeypatch.setattr(module, "BEAT_SECONDS", 0.05)
    monkeypatch.setattr(module, "_SILENT_SECONDS", 0.5)


@pytest.fixture
def at_once(monkeypatch):
    """Nobody is listened for: that takes seconds."""

    def listen(by):
        raise AssertionError("it waits for a sign of life")

    monkeypatch.setattr(module, "_beats", listen)


@pytest.fixture(params=["locks", "no locks"])
def disk(request, monkeypatch, quick):
    """A disk that locks, and one that says that it does not (Lustre without flock, some FUSE)."""
    if request.param == "no locks":

        def refuse(file, how):
            raise OSError(errno.ENOSYS, "Function not implemented")

        monkeypatch.setattr(fcntl, "flock", refuse)
    return request.param


@pytest.fixture
def other(tmp_path):
    """Another process that has the folder."""
    process = subprocess.Popen([sys.executable, "-c", HOLDS, str(tmp_path)], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"has it\n"
    yield process
    process.kill()
    process.wait()


def test_the_second_process_is_refused_in_one_sentence_that_names_the_first(tmp_path, other, at_once):
    with pytest.raises(UserError) as caught, enter(tmp_path):
        pass
    expected = (
        rf"{re.escape(str(tmp_path))} is in use by finetune on {re.escape(socket.gethostname())}, process {other.pid}, "
        r"since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d; wait until that has ended, stop it, or give another --exp_dir\."
    )
    assert re.fullmatch(expected, str(caught.value))


def test_a_run_that_was_killed_keeps_nobody_out_and_leaves_no_file(tmp_path, other, at_once):
    other.send_signal(signal.SIGKILL)
    other.wait()
    assert (tmp_path / LOCK).exists()
    with enter(tmp_path):
        pass
    assert not list(tmp_path.iterdir())


def test_the_worker_of_a_killed_run_keeps_nobody_out(tmp_path):
    """Forked workers inherit open files, and with them the lock; they live on for seconds."""
    forks = HOLDS.replace(
        'print("has it", flush=True)', "import os; worker = os.fork(); worker and print(worker, flush=True)"
    )
    process = subprocess.Popen([sys.executable, "-c", forks, str(tmp_path)], stdout=subprocess.PIPE)
    worker = int(process.stdout.readline())
    try:
        process.kill()
        process.wait()
        with enter(tmp_path):
            os.kill(worker, 0)  # it lives
    finally:
        os.kill(worker, signal.SIGKILL)


def test_the_same_run_enters_again_and_another_thread_does_not(tmp_path, disk):
    said = []

    def second():
        try:
            with enter(tmp_path):
                said.append("both have it")
        except UserError as error:
            said.append(str(error))

    with enter(tmp_path, "finetune"):
        with enter(tmp_path, "evaluate"):
            pass
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
    assert f"in use by finetune on {socket.gethostname()}, process {os.getpid()}, since" in said[0]
    with enter(tmp_path):
        pass
    assert not list(tmp_path.iterdir())


def test_two_folders_have_nothing_to_do_with_each_other(tmp_path, disk):
    (tmp_path / "a").mkdir()
    with enter(tmp_path), enter(tmp_path / "a"):
        assert {path.name for path in tmp_path.iterdir()} == {"a", LOCK, BY}


def left(folder, **other):
    """What a killed run left: its lock as a disk without locks has it, and its name."""
    holder = replace(Holder.this("pretrain"), **other)
    (folder / LOCK).write_text(f"{holder.process}\n{holder.host}\n")
    (folder / BY).write_text(json.dumps(asdict(holder)))


def test_a_run_of_another_machine_that_is_silent_has_ended(tmp_path, disk):
    left(tmp_path, host="another")
    with enter(tmp_path):
        assert json.loads((tmp_path / BY).read_text())["process"] == os.getpid()


def test_a_run_of_another_machine_that_goes_on_is_heard_where_locks_do_not_reach(tmp_path, disk, monkeypatch):
    """Locks of some network disks hold on one machine only."""
    left(tmp_path, host="another")
    wait = module.time.sleep

    def beating(seconds):
        wait(seconds)
        os.utime(tmp_path / BY)

    monkeypatch.setattr(module.time, "sleep", beating)
    with pytest.raises(UserError, match="in use by pretrain on another, process"), enter(tmp_path):
        pass


def test_a_process_of_this_machine_that_ended_is_not_waited_for_without_locks(tmp_path, monkeypatch, at_once):
    """With the usual times, ten seconds of silence."""
    monkeypatch.setattr(fcntl, "flock", lambda *_: (_ for _ in ()).throw(OSError(errno.EOPNOTSUPP, "not supported")))
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    left(tmp_path, process=process.pid)
    with enter(tmp_path):
        pass


def test_the_number_of_an_ended_process_that_another_got_keeps_nobody_out(tmp_path, quick):
    """After a restart of the machine the number of the killed run may belong to anything."""
    left(tmp_path, process=os.getppid())
    with enter(tmp_path):
        pass


def test_what_was_locked_by_a_process_that_runs_and_is_silent_is_given_free_without_locks(tmp_path, disk):
    left(tmp_path, process=os.getppid())
    with enter(tmp_path):
        pass


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"host": 1}', b"[" * 100_000, bytes(range(256))])
def test_what_is_no_name_in_the_file_is_passed_over(content, tmp_path, disk, monkeypatch):
    (tmp_path / BY).write_bytes(content)
    with enter(tmp_path):
        assert json.loads((tmp_path / BY).read_text())["by"] == "extract"
    assert not list(tmp_path.iterdir())


def test_of_many_that_begin_together_one_has_it(tmp_path, disk):
    """Twenty processes, forked at once, each with one try; the winner waits for all."""
    got, ended = os.pipe(), os.pipe()
    children = []
    for _ in range(20):
        child = os.fork()
        if not child:
            os.close(ended[1])
            try:
                with enter(tmp_path):
                    os.write(got[1], b"1")
                    os.read(ended[0], 1)  # until the parent closes its end
            except UserError as error:
                os.write(got[1], b"0" if "is in use by" in str(error) else b"?")
            os._exit(0)
        children.append(child)
    os.close(ended[0])
    answers = b"".join(os.read(got[0], 1) for _ in children)
    os.close(ended[1])
    for child in children:
        os.waitpid(child, 0)
    for end in got:
        os.close(end)
    assert sorted(answers) == sorted(b"1" + b"0" * 19)
    assert not list(tmp_path.iterdir())


def test_a_pipe_in_place_of_the_name_of_a_run_holds_nobody_up(tmp_path, pipe):
    pipe(tmp_path / "lock.by")
    with in_use(tmp_path, tmp_path / "lock", "first"):
        assert "first" in (tmp_path / "lock.by").read_text()
