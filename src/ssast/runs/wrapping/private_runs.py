"""Let a mode run privately: nothing secret reaches its screen or its errors."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from typing import Any

from ssast import redaction
from ssast.errors import UserError
from ssast.options.declaration import TRUTH
from ssast.options.options import SPECS
from ssast.options.privacy import keys, learn_given
from ssast.options.record import read_mapping
from ssast.options.records import SPELLINGS
from ssast.redaction import Redaction
from ssast.runs.wrapping.terminal import PassingStream


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
