"""Signals end a run as Ctrl-C does: what is open is tidied up, and the exit code tells which signal it was."""

import os
import signal
import threading
import time
from types import SimpleNamespace

import pytest

from ssast import cli
from ssast.engine import signals
from ssast.engine.signals import asked_to_stop, ended_by_signals
from ssast.errors import Interrupted

HANGUP = pytest.param("SIGHUP", 129, marks=pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="not on Windows"))


@pytest.fixture(autouse=True)
def _long_ago(monkeypatch):
    monkeypatch.setattr(signals, "_noted_at", [float("-inf")])


@pytest.fixture
def mode(monkeypatch):
    """Makes every mode one that is hit by a signal while it runs; what it tidies up is noted."""
    tidied: list[str] = []

    def hit_by(*names: str) -> list[str]:
        def run(options):
            try:
                for name in names:
                    os.kill(os.getpid(), getattr(signal, name))
                    time.sleep(0.05)
            finally:
                tidied.append("done")

        monkeypatch.setattr(cli, "mode_named", lambda name: SimpleNamespace(run=run))
        return tidied

    return hit_by


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGINT", 130), HANGUP])
@pytest.mark.parametrize("words", [["demo"], ["demo", "--private", "True"]])
def test_every_signal_lets_a_mode_tidy_up_and_leaves_its_code(mode, capsys, monkeypatch, tmp_path, name, code, words):
    """SIGTERM ended extraction, evaluation and prediction at once, and what was finished never reached the bucket."""
    monkeypatch.setenv("SSAST_KEYS", str(tmp_path))
    tidied = mode(name)
    assert cli.main(words) == code
    assert tidied == ["done"]
    said = capsys.readouterr().err.strip()
    assert said.startswith("ssast: ")
    assert said.endswith("the same command goes on from what was saved")
    assert (name in said) == (name != "SIGINT")
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def twice(tidied: list[str]) -> None:
    """A run that is told to end, and told again while it tidies up."""
    with ended_by_signals():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.05)
            tidied.append("all")


def test_the_same_signal_twice_at_once_is_one(monkeypatch):
    """`timeout` signals the process and then its group: the second came in the middle of tidying up."""
    monkeypatch.setattr(signals, "SAME_SECONDS", 60.0)  # a loaded machine may be slow between the two
    tidied: list[str] = []
    with pytest.raises(Interrupted):
        twice(tidied)
    assert tidied == ["all"]


def test_a_later_second_signal_ends_the_tidying_too(monkeypatch):
    monkeypatch.setattr(signals, "SAME_SECONDS", 0.0)
    tidied: list[str] = []
    with pytest.raises(Interrupted):
        twice(tidied)
    assert tidied == []


def test_a_signal_that_is_ignored_or_handled_stays_so():
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with ended_by_signals():
            os.kill(os.getpid(), signal.SIGTERM)
        with asked_to_stop() as asked:
            os.kill(os.getpid(), signal.SIGTERM)
        assert not asked.is_set()
    finally:
        signal.signal(signal.SIGTERM, before)


def test_the_loop_learns_which_signal_came():
    for name in ("SIGINT", "SIGTERM"):
        number = getattr(signal, name)
        with asked_to_stop() as asked:
            os.kill(os.getpid(), number)
            time.sleep(0.05)
        assert (asked.is_set(), asked.number) == (True, number)


def test_other_threads_leave_signals_alone():
    seen = []

    def work():
        with ended_by_signals(), asked_to_stop() as asked:
            seen.append((signal.getsignal(signal.SIGTERM), asked.is_set()))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(signal.SIG_DFL, False)]
