"""Run one mode as a command line says, and tell by the exit code how it ended.

The code is the mode's own or 0, 2 with a sentence for what a user can correct, 128 and the signal's number where one
ended the run, and 141 where nobody reads what a mode only prints.
"""

import contextlib
import gc
import os
import re
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from typing import Any

from ssast import __version__
from ssast.engine.signals import ended_by_signals
from ssast.errors import Interrupted, UserError
from ssast.help import HELP, completion, help_page, parser
from ssast.options.declaration import Spec, suggestion
from ssast.options.options import SPECS
from ssast.options.record import from_args
from ssast.options.records import MODES, SPELLINGS
from ssast.runs.wrapping.environment import check_environment, enough_means
from ssast.runs.wrapping.terminal import (
    READER_GONE,
    ReaderGone,
    RobustStream,
    fill_closed,
    private_run,
    robust_terminal,
    typed,
)
from ssast.safe_reading import brief

USER_ERROR = 2
INTERRUPTED = 130
LONGEST_SENTENCE = 10_000
MANY = "..."
FLAGS = {flag: spec for spec in SPECS.values() for flag in spec.flags}
_NUMBER = re.compile(r"-([\d.,]|inf|nan)", re.IGNORECASE)


def main(argv: Sequence[str] | None = None, *, prog: str = "ssast") -> int:
    """Run the command line and return the exit code; `prog` is run.py when that was called."""
    words = list(sys.argv[1:] if argv is None else argv)
    fill_closed()
    with robust_terminal() as screen, ended_by_signals():
        code = _answered(words, prog, screen)
    if code == INTERRUPTED and argv is None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a further Ctrl-C finds nothing left to tidy up
    return code


def _answered(words: list[str], prog: str, screen: RobustStream) -> int:
    """The exit code of what the words say; what ends a run is told in one sentence."""
    words = _glued(words)
    try:
        with private_run(typed(words)):
            code = _run(words, prog, screen)
        sys.stdout.flush()
        if screen.reason:
            print(f"ssast: what was to be printed is lost ({screen.reason}); the rest is done", file=sys.stderr)
        return code
    except UserError as error:
        # A sentence may hold what a stranger's file says: nothing in it steers the terminal.
        print(f"ssast: {brief(' '.join(str(error).splitlines()), LONGEST_SENTENCE)}", file=sys.stderr)
        return USER_ERROR
    except Interrupted as event:
        print(f"\nssast: {event}", file=sys.stderr)
        return event.code
    except KeyboardInterrupt:
        print("\nssast: interrupted; the same command goes on from what was saved", file=sys.stderr)
        return INTERRUPTED
    except ReaderGone:
        return READER_GONE


def _run(words: list[str], prog: str, screen: RobustStream) -> int:
    """Run what the words say; a mode that answers with a whole number means its exit code, any other is a success."""
    screen.matters = True
    if words[:1] == ["--version"]:
        print(f"ssast {__version__}")
        return 0
    if words[:1] == ["--print-completion"]:
        print(completion(" ".join(words[1:])))
        return 0
    mode = _mode(words.pop(0)) if words and not words[0].startswith("-") else None
    if HELP & set(words) or (prog == "ssast" and mode is None and not words):
        print(help_page(mode, prog, whole="--help-all" in words or prog != "ssast"), end="")
        return 0
    texts = _read(words, prog, mode)
    if mode is None and prog == "ssast" and not {"mode", "config"} & texts.keys():
        raise UserError(f"no mode is named; write it first, as in `ssast finetune --{next(iter(texts))} ...`")
    if mode and "mode" in texts:
        raise UserError(f"the mode is named twice, {mode} and --mode {texts['mode']}; leave one out")
    check_environment()
    options = from_args({**texts, "mode": mode} if mode else texts)
    screen.matters = MODES[options.mode].only_prints
    with enough_means(options.mode, {}):
        function = mode_named(options.mode)
    outcome = function.run(options)
    if os.environ.get("WORLD_SIZE", "") not in ("", "1"):
        import_module("ssast.engine.distributed").leave()
    return outcome if isinstance(outcome, int) else 0


def mode_named(name: str) -> Any:
    """The mode of this name, loaded now."""
    with _kept():
        return getattr(import_module(f"ssast.modes.{name}"), name)


@contextlib.contextmanager
def _kept() -> Iterator[None]:
    """What a new process loads inside is never searched for garbage: it stays, and the search is a sixth of a start."""
    is_new = "torch" not in sys.modules and gc.isenabled()
    if is_new:
        gc.disable()
    try:
        yield
    finally:
        if is_new:
            gc.freeze()
            gc.enable()


def _mode(word: str) -> str:
    if word not in SPELLINGS:
        hint = suggestion(word, SPELLINGS) or f"; the modes are {', '.join(MODES)}"
        raise UserError(f"there is no mode {word}{hint}")
    return word


def _read(words: list[str], prog: str, mode: str | None) -> dict[str, str]:
    """What was typed for each option, by the option's name."""
    how = "`python run.py -h`" if prog != "ssast" else f"`ssast {mode or 'finetune'} --help-all`"
    flags = [f"--{name}" for name in SPECS]
    for word in words:
        # argparse would read -prefix as -p refix.
        if word[:1] == "-" and word[1:2] != "-" and word[1:].partition("=")[0] in SPECS:
            raise UserError(f"there is no option {word}; did you mean -{word}?")
    found, rest = parser(mode, whole=True).parse_known_args(words)
    for word in rest:
        name = word.partition("=")[0]
        if name.startswith("-"):
            raise UserError(f"there is no option {name}{suggestion(name, flags) or f'; {how} lists them all'}")
    return {**vars(found), **_bare(rest, MODES[mode].words.split() if mode in MODES else [], vars(found))}


def _bare(rest: list[str], names: list[str], found: Mapping[str, str]) -> dict[str, str]:
    """What bare words are for: one for each option of the mode that takes some, the rest for one that takes many."""
    open_names = [name for name in names if name.removesuffix(MANY) not in found]
    single = [name for name in open_names if not name.endswith(MANY)]
    filled, more = dict(zip(single, rest, strict=False)), rest[len(single) :]
    many = [name.removesuffix(MANY) for name in open_names if name.endswith(MANY)]
    if more and not many:
        raise UserError(f"{more[0]!r} belongs to no option; write --name value, with quotes around a value with spaces")
    return filled | {name: ("\n" if SPECS[name].is_many else ",").join(more) for name in many if more}


def _glued(words: list[str]) -> list[str]:
    """The words with values that start with a minus tied to their option, since argparse takes them for options."""
    glued: list[str] = []
    for word in words:
        spec = FLAGS.get(glued[-1]) if glued else None
        if spec is not None and word.startswith("-") and _is_value(word, spec):
            glued[-1] = f"--{spec.name}={word}"
        else:
            glued.append(word)
    return glued


def _is_value(word: str, spec: Spec) -> bool:
    """Whether a word that starts with a minus is a value: something like a number, or text that is no option."""
    if _NUMBER.match(word):
        return True
    return spec.kind is str and not spec.choices and word[:2] not in FLAGS and word[:2] != "--" and word not in HELP
