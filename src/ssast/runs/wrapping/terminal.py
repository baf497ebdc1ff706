"""Guard what a run prints: what cannot be shown ends no run, and what is private is not shown.

A mode that writes a folder does its work all the same where no reader, a full disk or letters that the screen cannot
show come between. One that only prints ends: as other programs do with 141 where its reader has gone, and with one
sentence where its output cannot be written.
"""

import errno
import io
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from typing import Any, TextIO

from ssast import redaction
from ssast.errors import UserError
from ssast.options.declaration import TRUTH
from ssast.options.options import SPECS
from ssast.options.privacy import keys, learn_given
from ssast.options.record import read_mapping
from ssast.options.records import SPELLINGS
from ssast.redaction import Redaction

READER_GONE = 141
"""128 + SIGPIPE: what a shell shows for a program that ended because nobody read on."""
# Windows tells of a closed pipe by EINVAL.
NO_READER = {errno.EPIPE, errno.ESHUTDOWN} | ({errno.EINVAL} if os.name == "nt" else set())
STEERING = re.compile(r"(?!\x1b\[A)[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""What moves a terminal's cursor, colours it or turns its text round, which names in a stranger's file may hold.

Line ends and tabs stay, and the line up that a second progress bar needs.
"""


class ReaderGone(BaseException):
    """Nobody reads on, and printing was all there was to do."""


class PassingStream(io.TextIOBase):
    """A text stream that passes everything on to another stream."""

    def __init__(self, stream: TextIO):
        self.stream = stream

    def write(self, text: str) -> int:
        """Hand on a text."""
        self.stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush the other stream, which may have ended before this one."""
        if not self.stream.closed:
            self.stream.flush()

    def fileno(self) -> int:
        """The number of the other's file."""
        return self.stream.fileno()

    def isatty(self) -> bool:
        """Whether the stream is a terminal; one that has ended is none."""
        return not self.stream.closed and self.stream.isatty()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """How letters become bytes."""
        return self.stream.encoding


class RobustStream(PassingStream):
    """A text stream whose failures end nothing, unless it `matters`; letters that it cannot encode come as escapes."""

    def __init__(self, stream: TextIO):
        super().__init__(stream)
        self.matters, self.reason = False, ""  # the reason why a stream that somebody may miss failed

    def write(self, text: str) -> int:
        """Hand on a text, nothing in it that steers the terminal, or let it go nowhere once that has failed."""
        shown = STEERING.sub("?", text)
        with self._guarded():
            try:
                self.stream.write(shown)
            except UnicodeEncodeError:
                coding = self.stream.encoding or "ascii"
                self.stream.write(shown.encode(coding, "backslashreplace").decode(coding))
        return len(text)

    def flush(self) -> None:
        """Flush the other stream, as far as that can be."""
        with self._guarded():
            super().flush()

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        """What is still to come, and what lies in the stream's buffer, goes nowhere."""
        why = (error.strerror or type(error).__name__).lower()
        gone = error.errno in NO_READER
        matters, self.matters = self.matters, False
        nowhere(self.stream)
        if not gone:
            self.reason = self.reason or why
        if matters and gone:
            raise ReaderGone from error
        if matters:
            raise UserError(f"the output cannot be written: {why}; free space, or write it elsewhere.") from error


def nowhere(stream: TextIO) -> None:
    """Discard everything that the stream holds or gets, also what Python flushes when it ends."""
    try:
        target = stream.fileno()
    except (OSError, ValueError):
        return
    sink = os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, target)
    os.close(sink)


@contextmanager
def robust_terminal() -> Iterator[RobustStream]:
    """Inside the block a screen that fails does not end the run, unless the output (returned) is set to matter."""
    output, errors = _opened(sys.stdout), _opened(sys.stderr)
    with redirect_stdout(output), redirect_stderr(errors):
        yield output


def _opened(stream: TextIO | None) -> RobustStream:
    return RobustStream(stream if stream is not None else io.StringIO())  # it was closed, as in `ssast inspect X >&-`


def fill_closed() -> None:
    """Give a number to each standard stream that was closed: else the next file that is opened gets its output."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number


class _RedactedStream(PassingStream):
    """A text stream that redacts what is written to it."""

    def write(self, text: str) -> int:
        self.stream.write(redaction.shown(text))
        return len(text)


@contextmanager
def private_run(given: Mapping[str, Any], *, is_private: bool = False) -> Iterator[None]:
    """Hide names, in errors too, where `given`, or else `is_private`, asks for --private True.

    An error that is no UserError keeps its traceback, but neither its kind nor what caused it: both may hold names.
    """
    if redaction.redaction_in_use() or not _is_asked(given, is_private):
        yield
        return
    with ExitStack() as stack:
        redactor = stack.enter_context(redaction.redacting(Redaction(keys().digest)))
        learn_given(redactor, given)
        stack.enter_context(redirect_stdout(_RedactedStream(sys.stdout)))
        stack.enter_context(redirect_stderr(_RedactedStream(sys.stderr)))
        try:
            yield
        except UserError as error:
            raise type(error)(redactor.text(str(error), is_sentence=True, names=error.names)) from None
        except Exception as error:
            sentence = redactor.text(f"{type(error).__name__}: {error}", is_sentence=True)
            raise RuntimeError(sentence).with_traceback(error.__traceback__) from None


def typed(words: Sequence[str]) -> dict[str, str]:
    """What a command line gives to each option, before it is checked; bare words under their number."""
    names = {flag: spec.name for spec in SPECS.values() for flag in spec.flags}
    found: dict[str, str] = {}
    flag = ""
    for at, word in enumerate(words):
        if word.startswith("-"):
            flag, _, value = word.partition("=")
            if value and flag in names:
                found[names[flag]] = value
        elif flag in names and names[flag] not in found:
            found[names[flag]] = word
        elif word not in SPELLINGS:
            found[f"word {at}"] = word
    return found


def _is_asked(given: Mapping[str, Any], is_private: bool) -> bool:
    asked = given.get("private")
    if asked is None:
        asked = is_private or None
    if asked is None and given.get("config"):
        try:
            asked = read_mapping(given["config"]).get("private")
        except UserError:
            return False  # it is said when the options are read
    return TRUTH.get(str(asked).strip().casefold(), False)
