"""Let a mode run so that nothing secret passes through its screen or its errors."""

import functools
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from typing import Any

from ssast import redaction
from ssast.errors import UserError
from ssast.options.declaration import TRUTH
from ssast.options.options import SPECS, Options
from ssast.options.privacy import _learn_given, keys
from ssast.options.records import SPELLINGS
from ssast.options.yaml_file import read_mapping
from ssast.redaction import Redaction
from ssast.runs.environment import look_around
from ssast.runs.terminal import PassingStream, robust_terminal


class _Veiled(PassingStream):
    """A text stream through which nothing passes unveiled."""

    def write(self, text: str) -> int:
        self.stream.write(redaction.shown(text))
        return len(text)


@contextmanager
def veiled(given: Mapping[str, Any], options: Options | None = None) -> Iterator[None]:
    """Let a mode run behind the veil where `given` (over the options) asks for --private True; errors come out veiled.

    An error that is no UserError keeps its traceback, but neither its kind nor what caused it: both may hold names.
    """
    if redaction.redaction_in_use() or not _is_asked(given, options):
        yield
        return
    with ExitStack() as stack:
        worn = stack.enter_context(redaction.redacting(Redaction(keys().digest)))
        _learn_given(worn, given)
        stack.enter_context(redirect_stdout(_Veiled(sys.stdout)))
        stack.enter_context(redirect_stderr(_Veiled(sys.stderr)))
        try:
            yield
        except UserError as error:
            raise type(error)(worn.text(str(error), is_sentence=True, names=error.names)) from None
        except Exception as error:
            told = worn.text(f"{type(error).__name__}: {error}", is_sentence=True)
            raise RuntimeError(told).with_traceback(error.__traceback__) from None


def guarded(function: Callable[..., Any]) -> Callable[..., Any]:
    """A mode as Python's users call it: on a screen that ends nothing, behind the veil where they ask for it."""

    @functools.wraps(function)
    def run(options: Options | None = None, /, **overrides: Any) -> Any:
        with robust_terminal(), veiled(overrides, options):
            look_around()
            return function(options, **overrides)

    return run


def typed(words: Sequence[str]) -> dict[str, Any]:
    """What a command line gives to each option, before it is checked; bare words under their number."""
    names = {flag: spec.name for spec in SPECS.values() for flag in spec.flags}
    found: dict[str, Any] = {}
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


def _is_asked(given: Mapping[str, Any], options: Options | None) -> bool:
    asked = given.get("private")
    if asked is None and options is not None:
        asked = options.private or None
    if asked is None and given.get("config"):
        try:
            asked = read_mapping(given["config"]).get("private")
        except UserError:
            return False  # it is said when the options are read
    return TRUTH.get(str(asked).strip().casefold(), False)
