"""Run one mode as a command line says, and tell by the exit code how it ended.

The code is the mode's own or 0, 2 with a sentence for what a user can mend, 128 and the signal's number where one ended
the run, and 141 where nobody reads what a mode only prints.
"""

import argparse
import os
import re
import shutil
import signal
import sys
import textwrap
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, NoReturn

from ssast import __version__
from ssast.engine.signals import ended_by_signals
from ssast.errors import Interrupted, UserError
from ssast.options.declaration import Spec, suggestion
from ssast.options.options import SPECS
from ssast.options.records import ALIASES, MODES, SPELLINGS
from ssast.options.resolve import from_args
from ssast.runs.environment import look_around
from ssast.runs.private_runs import typed, veiled
from ssast.runs.terminal import READER_GONE, ReaderGone, RobustStream, fill_closed, robust_terminal
from ssast.safe_reading import brief

USER_ERROR = 2
INTERRUPTED = 130
LONGEST_SENTENCE = 10_000
SHARED = ("pretrain", "finetune", "evaluate", "extract")
"""Modes that several processes can do together."""
MANY = "..."
HELP = {"-h", "--help", "--help-all"}
FLAGS = {flag: spec for spec in SPECS.values() for flag in spec.flags}
_NUMBER = re.compile(r"-([\d.,]|inf|nan)", re.IGNORECASE)
TITLE = "Pretrain, fine-tune, evaluate and look inside the Self-Supervised Audio Spectrogram Transformer (SSAST)."


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
        with veiled(typed(words)):
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
        print(import_module("ssast.completion").completion(" ".join(words[1:])))
        return 0
    mode = _mode(words.pop(0)) if words and not words[0].startswith("-") else None
    if HELP & set(words) or (prog == "ssast" and mode is None and not words):
        print(_help(mode, prog, whole="--help-all" in words or prog != "ssast"), end="")
        return 0
    if mode == "upload" and words and not words[0].startswith("-"):
        words.insert(0, "--exp_dir")
    texts = _read(words, prog, mode)
    if mode is None and prog == "ssast" and not {"mode", "config"} & texts.keys():
        raise UserError(f"no mode is named; write it first, as in `ssast finetune --{next(iter(texts))} ...`")
    if mode and "mode" in texts:
        raise UserError(f"the mode is named twice, {mode} and --mode {texts['mode']}; leave one out")
    look_around()
    options = from_args({**texts, "mode": mode} if mode else texts)
    screen.matters = MODES[options.mode].only_prints
    module, function = MODES[options.mode].function.split(":")
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        return _among_others(options.mode, getattr(import_module(module), function), options)
    outcome = getattr(import_module(module), function)(options)
    return outcome if isinstance(outcome, int) else 0


def _among_others(mode: str, function: Any, options: Any) -> int:
    """Run the mode as one of the processes that `accelerate launch` or `torchrun` started."""
    from ssast.engine import distributed

    if mode not in SHARED:
        raise UserError(f"{mode} runs in one process; start it without accelerate launch or torchrun.")
    function(options)
    distributed.leave()
    return 0


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
    found, rest = _parser(mode, whole=True).parse_known_args(words)
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


class _Parser(argparse.ArgumentParser):
    """argparse whose complaints are UserErrors."""

    def error(self, message: str) -> NoReturn:
        flag = message.removeprefix("argument ").partition(":")[0]
        if message.endswith("expected one argument"):
            spec = SPECS[flag.rpartition("--")[2]]
            raise UserError(f"{flag} has no value, expected {spec.allowed()}")
        raise UserError(message)


class _Formatter(argparse.HelpFormatter):
    """`-i, --prefix PATH` instead of argparse's `-i PATH, --prefix PATH`, and two columns."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=30, width=_width())

    def _format_action_invocation(self, action: argparse.Action) -> str:
        return f"{', '.join(action.option_strings)} {action.metavar}"


def _parser(mode: str | None, *, whole: bool) -> _Parser:
    """A parser for every option; its help shows those of the mode that are asked for often, or the whole of them."""
    parser = _Parser(add_help=False, allow_abbrev=False, usage=argparse.SUPPRESS, formatter_class=_Formatter)
    groups: dict[str, Any] = {}
    for spec in SPECS.values():
        title = spec.group.title
        if title not in groups:
            groups[title] = parser.add_argument_group(title)
        is_shown = mode in spec.modes and not spec.is_rare
        text = _line(spec) if whole or is_shown else argparse.SUPPRESS
        groups[title].add_argument(
            *spec.flags,
            dest=spec.name,
            metavar=spec.placeholder,
            default=argparse.SUPPRESS,
            help=text,
            action=_AlsoThis if spec.is_many else "store",
        )
    return parser


class _AlsoThis(argparse.Action):
    """An option of many values may be given more than once; each is a line of its text."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        before = getattr(namespace, self.dest, None)
        setattr(namespace, self.dest, values if before is None else f"{before}\n{values}")


def _line(spec: Spec) -> str:
    """The help of one option: meaning, then what is allowed, the unit and the default."""
    allowed = ", ".join(filter(None, [spec.unit, spec.limits, *spec.choices]))
    either = " or none" if allowed and spec.optional else ""
    default = spec.default_text if spec.is_needed else f"default {spec.default_text}"
    facts = "; ".join(filter(None, [allowed + either, default]))
    return f"{spec.help} ({facts})".replace("%", "%%")


def _help(mode: str | None, prog: str, *, whole: bool) -> str:
    """The help page: the modes, or one mode with its options, or everything."""
    mode = ALIASES.get(mode or "", mode)
    parts = [_about(mode) if mode in MODES else _overview(prog)]
    if whole or mode:
        parts.append(_parser(mode, whole=whole or mode not in MODES).format_help())
    if mode and not whole:
        parts.append("\n".join([*_wrap("", _left_out(mode)), ""]))
    return "\n".join(parts)


def _left_out(mode: str) -> str:
    """What the help of a mode does not show."""
    rare = [f"--{name}" for name, spec in SPECS.items() if mode in spec.modes and spec.is_rare]
    more = f"the rest ({', '.join(rare)}) and " if rare else ""
    return f"`ssast {mode} --help-all` shows {more}the options that other modes use."


def _about(mode: str) -> str:
    facts = MODES[mode]
    lines = [
        f"usage: ssast {mode} --name value ...\n",
        *_wrap("", f"{facts.summary[0].upper()}{facts.summary[1:]}."),
        *_wrap("  in:  ", facts.takes),
        *_wrap("  out: ", facts.gives),
    ]
    return "\n".join(lines) + "\n"


def _overview(prog: str) -> str:
    command = "ssast MODE" if prog == "ssast" else f"python {prog} -m MODE"
    lines = [f"usage: {command} --name value ...\n", *_wrap("", TITLE), ""]
    for name, facts in MODES.items():
        lines += _wrap(f"  {name:<10}", facts.summary)
        lines += _wrap(f"  {'':<10}", f"{facts.takes} -> {facts.gives}")
    aliases = ", ".join(f"{alias} for {name}" for alias, name in ALIASES.items())
    lines += ["", *_wrap("", f"Other names: {aliases}, train for pretrain or finetune, as --task says.")]
    if prog == "ssast":
        lines += _wrap("", "`ssast MODE --help` shows the options of a mode, `ssast --version` the version.")
        lines += _wrap("", 'Completion in bash (or zsh): eval "$(ssast --print-completion bash)"')
        lines += _wrap("", "To see it all work, on a synthetic corpus and without a network: ssast demo")
    return "\n".join(lines) + "\n"


def _wrap(lead: str, text: str) -> list[str]:
    return textwrap.wrap(text, _width(), initial_indent=lead, subsequent_indent=" " * len(lead), break_on_hyphens=False)


def _width() -> int:
    return max(60, min(120, shutil.get_terminal_size().columns) - 2)
