"""Processes that load recordings end when the one that started them does, also when that was killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

PARENT = """
import os, sys, time
from ssast.data.loader import loader

class Waits:
    def __init__(self, note):
        self.note = note
    def __len__(self):
        return 100
    def __getitem__(self, key):
        with open(self.note, "a") as file:
            print(os.getpid(), file=file)
        time.sleep(600)

if __name__ == "__main__":
    for batch in loader(Waits(sys.argv[1]), batch_size=1, num_workers=2, context=sys.argv[2]):
        pass
"""


def alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def until(condition, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not (there := condition()) and time.monotonic() < end:
        time.sleep(0.1)
    return there


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks into /proc")
@pytest.mark.parametrize("start", ["fork", "spawn", "forkserver"])
def test_workers_end_soon_after_their_parent_was_killed(tmp_path, start):
    """After SIGKILL of the parent a spawned worker lived on for minutes."""
    note, script = tmp_path / "pids", tmp_path / "parent.py"
    script.write_text(PARENT)
    note.touch()
    parent = subprocess.Popen([sys.executable, str(script), str(note), start])
    try:
        assert until(lambda: len(note.read_text().split()) == 2, 60)
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    workers = [int(pid) for pid in note.read_text().split()]
    gone = until(lambda: not any(map(alive, workers)), 10)
    for pid in filter(alive, workers):
        os.kill(pid, signal.SIGKILL)
    assert gone
