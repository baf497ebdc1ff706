"""What is printed never ends a run: readers that go, full disks, closed streams, letters that a screen lacks."""

import io
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from ssast import cli
from ssast.modes.check import FAULTY
from ssast.runs.wrapping.terminal import RobustStream, robust_terminal

FULL = Path("/dev/full")


@pytest.fixture
def data(still_corpus) -> list[str]:
    return ["-i", str(still_corpus.audio), "-d", str(still_corpus.splits)]


def started(words: list[str], **streams) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-m", "ssast", *words], timeout=120, **streams)


@pytest.fixture
def warm(warm_modes):
    """`ssast WORDS` as `started` begins it, in a process that need not import torch; first it does `before`."""

    def run(words: list[str], before: str = "pass", environment: dict[str, str] | None = None, **streams: int):
        code = f"import os, sys; {before}; from ssast.cli import main; sys.exit(main({words!r}))"
        return warm_modes.run(code, dict(environment or os.environ), **streams)

    return run


def without_reader() -> int:
    """The writing end of a pipe that nobody reads."""
    read, write = os.pipe()
    os.close(read)
    return write


def test_a_mode_that_writes_a_folder_finishes_when_its_reader_goes(data, tmp_path, warm):
    """`ssast finetune ... | true` ended half-way, with exit code 0."""
    write = without_reader()
    done = warm(["check", *data, "-o", str(tmp_path / "out")], stdout=write, stderr=write)
    os.close(write)
    assert done.returncode == 0
    assert {"check.csv", "recordings.csv", "run.yaml"} <= set(os.listdir(tmp_path / "out"))


def test_a_mode_keeps_its_own_exit_code_when_its_reader_goes(data, tmp_path, warm):
    write = without_reader()
    words = ["check", *data, "-l", str(tmp_path / "labels.txt"), "-o", str(tmp_path / "out")]
    (tmp_path / "labels.txt").write_text("absent\n")
    assert warm(words, stdout=write).returncode == warm(words).returncode == FAULTY
    os.close(write)


@pytest.mark.parametrize("words", [["--help-all"], ["--version"], ["--print-completion", "bash"]])
def test_what_only_prints_ends_quietly_with_141_when_its_reader_goes(words):
    write = without_reader()
    done = started(words, stdout=write, stderr=subprocess.PIPE)
    os.close(write)
    assert (done.returncode, done.stderr) == (cli.READER_GONE, b"")


def test_inspect_only_prints(published_tiny, warm):
    write = without_reader()
    done = warm(["inspect", str(published_tiny)], stdout=write)
    os.close(write)
    assert (done.returncode, done.stderr) == (cli.READER_GONE, "")


@pytest.mark.skipif(not FULL.exists(), reason="only Linux has a disk that is always full")
def test_a_full_disk_behind_the_output_is_said(data, tmp_path, warm):
    with FULL.open("w") as full:
        done = warm(["check", *data, "-o", str(tmp_path / "out")], stdout=full.fileno())
        assert done.returncode == 0
        assert "what was to be printed is lost (no space left on device); the rest is done" in done.stderr
        assert (tmp_path / "out" / "check.csv").exists()
        shown = started(["--help"], stdout=full, stderr=subprocess.PIPE)
    assert shown.returncode == 2
    assert shown.stderr.decode().startswith("ssast: the output cannot be written: no space left on device;")


CLOSED = ["stdin", "stdout", "stderr"]


@pytest.mark.parametrize("closed", [*CLOSED, "all"])
def test_streams_that_were_closed_are_no_traceback_and_no_file_takes_their_number(closed, data, tmp_path, warm):
    """`ssast inspect X >&-` was a traceback; the next file that was opened could have got what is printed."""
    words = ["check", *data, "-o", str(tmp_path / "out")]
    if closed == "all":  # as the shell closes them; what Python then does for one is done for it below
        command = ["sh", "-c", '"$@" <&- >&- 2>&-', "sh", sys.executable, "-m", "ssast", *words]
        done = subprocess.run(command, capture_output=True, text=True)
    else:
        done = warm(words, before=f"os.close({CLOSED.index(closed)}); sys.{closed} = sys.__{closed}__ = None")
    assert done.returncode == 0
    assert "Traceback" not in done.stderr
    table = (tmp_path / "out" / "check.csv").read_text()
    assert table.startswith("uid,split")
    assert "rows" not in table


@pytest.mark.parametrize(
    ("coding", "text", "shown"),
    [
        ("ascii", "tremör", "trem\\xf6r"),
        ("cp1252", "label 发音 ö", "label \\u53d1\\u97f3 ö"),
        ("utf-8", "a\udcff.wav", "a\\udcff.wav"),
    ],
)
def test_letters_that_the_screen_lacks_come_as_escapes(coding, text, shown):
    """A label with an umlaut ended a run on a screen of ASCII before its report was written."""
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=coding, errors="strict")
    with redirect_stdout(stream), redirect_stderr(stream), robust_terminal():
        print(text)
        print(text, file=sys.stderr)
    stream.flush()
    assert raw.getvalue().decode(coding).splitlines() == [shown, shown]


def test_a_label_with_an_umlaut_is_counted_on_a_screen_of_ascii(still_corpus, tmp_path, warm):
    for split in ("train", "test"):
        table = (still_corpus.splits / f"{split}.csv").read_text().replace("loud", "tremör", 1)
        (tmp_path / f"{split}.csv").write_text(table, encoding="utf-8")
    (tmp_path / "labels.txt").write_text("high\ntremör\n", encoding="utf-8")
    words = ["check", "-i", str(still_corpus.audio), "-d", str(tmp_path), "-l", str(tmp_path / "labels.txt")]
    screen = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = warm([*words, "-o", str(tmp_path / "out")], environment=screen)
    assert done.returncode == 0, done.stderr
    assert "trem\\xf6r" in done.stdout


def test_a_terminal_that_is_gone_ends_nothing():
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(5, "Input/output error")

    screen = RobustStream(Gone())
    print("one", file=screen)
    print("two", file=screen)
    assert screen.reason == "input/output error"


@pytest.mark.parametrize("steers", ["\x1b[2J", "\x1b]0;mine\x07", "\x9b31m", "\x08\x08", "\u202eabc"])
def test_nothing_that_is_printed_steers_the_terminal(steers):
    """A label, a tensor's name or a file's name may come from a stranger."""
    screen = io.StringIO()
    with redirect_stdout(screen), redirect_stderr(screen), robust_terminal():
        print(f"label {steers}", end="\r")
        print("tab\tand the line up of a second bar \x1b[A", file=sys.stderr)
    assert not set(screen.getvalue().replace("\x1b[A", "")) & set("\x1b\x07\x08\x9b\u202e")
    assert "\r" in screen.getvalue()
    assert "tab\tand the line up of a second bar \x1b[A\n" in screen.getvalue()


def test_a_stream_that_has_ended_is_no_terminal():
    ended = io.StringIO()
    robust = RobustStream(ended)
    ended.close()
    robust.flush()
    assert not robust.isatty()
