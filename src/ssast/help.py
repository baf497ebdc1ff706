"""Write what tells a user of modes and options: the help pages, the completion of a shell, and docs/options.md.

`python -m ssast.help` prints docs/options.md.
"""

import argparse
import shutil
import textwrap
from typing import Any, NoReturn

from ssast.errors import UserError
from ssast.options.declaration import OptionGroup, Spec
from ssast.options.options import SPECS
from ssast.options.records import ALIASES, MODES

TITLE = "Pretrain, fine-tune, evaluate and look inside the Self-Supervised Audio Spectrogram Transformer (SSAST)."
HELP = {"-h", "--help", "--help-all"}
"""The words that ask for it."""
SHELLS = ("bash", "zsh")


def completion(shell: str) -> str:
    """The script for a shell, to be evaluated by it; UserError for another shell."""
    import shtab

    if shell not in SHELLS:
        raise UserError(f"there is no completion for {shell or 'no shell'}; give {' or '.join(SHELLS)}.")
    return str(shtab.complete(_completed(), shell))


def _completed() -> argparse.ArgumentParser:
    """The command line as shtab can read it: a mode, then the options that its help shows."""
    completed = argparse.ArgumentParser(prog="ssast")
    completed.add_argument("--version", action="store_true", help="tell the version")
    completed.add_argument("--help-all", action="store_true", help="show every option")
    completed.add_argument("--print-completion", choices=SHELLS, help="print this script for a shell")
    modes = completed.add_subparsers()
    for name in (*MODES, *ALIASES, "train"):
        mode = {**ALIASES, "train": "finetune"}.get(name, name)
        _add_options(modes.add_parser(name, help=MODES[mode].summary, description=MODES[mode].summary), mode)
    return completed


def _add_options(parser: argparse.ArgumentParser, mode: str) -> None:
    import shtab

    parser.add_argument("--help-all", action="store_true", help="show the options of other modes too")
    for spec in SPECS.values():
        if spec.name in MODES[mode].options:
            made = parser.add_argument(*spec.flags, choices=_choices(spec), help=spec.help.replace("%", "%%"))
            if spec.is_path:
                made.complete = shtab.FILE  # type: ignore[attr-defined]
    if MODES[mode].words:
        parser.add_argument("words", nargs="*").complete = shtab.FILE  # type: ignore[attr-defined]


def _choices(spec: Spec) -> tuple[str, ...] | None:
    words = (spec.word,) if spec.word else ()
    return (*words, "True", "False") if spec.kind is bool else spec.choices or words or None


class Formatter(argparse.HelpFormatter):
    """`-i, --prefix PATH` instead of argparse's `-i PATH, --prefix PATH`, and two columns."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=30, width=_width())

    def _format_action_invocation(self, action: argparse.Action) -> str:
        return f"{', '.join(action.option_strings)} {action.metavar}"


def option_help(spec: Spec) -> str:
    """The help of one option: meaning, then what is allowed, the unit and the default."""
    allowed = ", ".join(filter(None, [spec.unit, spec.limits, *spec.choices]))
    either = " or none" if allowed and spec.optional else ""
    default = spec.default_text if spec.is_needed else f"default {spec.default_text}"
    facts = "; ".join(filter(None, [allowed + either, default]))
    return f"{spec.help} ({facts})".replace("%", "%%")


class _Parser(argparse.ArgumentParser):
    """argparse whose complaints are UserErrors."""

    def error(self, message: str) -> NoReturn:
        flag = message.removeprefix("argument ").partition(":")[0]
        if message.endswith("expected one argument"):
            spec = SPECS[flag.rpartition("--")[2]]
            raise UserError(f"{flag} has no value, expected {spec.allowed()}")
        raise UserError(message)


def parser(mode: str | None, *, whole: bool) -> argparse.ArgumentParser:
    """A parser for every option; its help shows those of the mode that are asked for often, or the whole of them."""
    made = _Parser(add_help=False, allow_abbrev=False, usage=argparse.SUPPRESS, formatter_class=Formatter)
    groups: dict[str, Any] = {}
    for spec in SPECS.values():
        title = spec.group.title
        if title not in groups:
            groups[title] = made.add_argument_group(title)
        is_shown = mode in MODES and spec.name in MODES[mode].options and not spec.is_rare
        text = option_help(spec) if whole or is_shown else argparse.SUPPRESS
        groups[title].add_argument(
            *spec.flags,
            dest=spec.name,
            metavar=spec.placeholder,
            default=argparse.SUPPRESS,
            help=text,
            action=_AlsoThis if spec.is_many else "store",
        )
    return made


class _AlsoThis(argparse.Action):
    """An option of many values may be given more than once; each is a line of its text."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        before = getattr(namespace, self.dest, None)
        setattr(namespace, self.dest, values if before is None else f"{before}\n{values}")


def help_page(mode: str | None, prog: str, *, whole: bool) -> str:
    """The help page: the modes, or one mode with its options, or everything."""
    mode = ALIASES.get(mode or "", mode)
    parts = [_about(mode) if mode in MODES else _overview(prog)]
    if whole or mode:
        parts.append(parser(mode, whole=whole or mode not in MODES).format_help())
    if mode and not whole:
        parts.append("\n".join([*_wrap("", _left_out(mode)), ""]))
    return "\n".join(parts)


def _left_out(mode: str) -> str:
    """What the help of a mode does not show."""
    own = MODES[mode].options if mode in MODES else ()  # train is pretrain or finetune, as the task says
    rare = [f"--{name}" for name, spec in SPECS.items() if name in own and spec.is_rare]
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


PREFACE = """# Options

Every option can be given on the command line (`ssast MODE --name value` or `python run.py -m MODE --name value`), as a
key in a YAML file (`--config run.yaml`; what is given beside it wins), and as an argument in Python
(`ssast.finetune(name=value)`). True and False are written out, `none` stands for nothing, and an option that a mode has
no use for does no harm.

This page is written by `make docs`.
"""


def options_page() -> str:
    """docs/options.md: the options of each group as a Markdown table."""
    groups = dict.fromkeys(spec.group for spec in SPECS.values())
    tables = [_table(group, [spec for spec in SPECS.values() if spec.group == group]) for group in groups]
    return "\n".join([PREFACE, *tables])


def _table(group: OptionGroup, members: list[Spec]) -> str:
    head = ["| option | short | value | default | meaning |", "|---|---|---|---|---|"]
    return "\n".join([f"## {group.title}", "", *head, *map(_row, members), ""])


def _row(spec: Spec) -> str:
    value = spec.allowed() + (f" [{spec.unit}]" if spec.unit else "")
    is_literal = spec.default not in (None, "") and not spec.shown
    default = f"`{spec.default_text}`" if is_literal else spec.default_text
    cells = [f"`--{spec.name}`", f"`-{spec.short}`" if spec.short else "", value, default, spec.help]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    print(options_page(), end="")
