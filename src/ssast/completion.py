"""The modes and their options in; a script that completes them in a shell out."""

import argparse

from ssast.errors import UserError
from ssast.options.declaration import Spec
from ssast.options.options import SPECS
from ssast.options.records import ALIASES, MODES

SHELLS = ("bash", "zsh")


def completion(shell: str) -> str:
    """The script for a shell, to be evaluated by it; UserError for another shell."""
    import shtab

    if shell not in SHELLS:
        raise UserError(f"there is no completion for {shell or 'no shell'}; give {' or '.join(SHELLS)}.")
    return str(shtab.complete(_parser(), shell))


def _parser() -> argparse.ArgumentParser:
    """The command line as shtab can read it: a mode, then the options that its help shows."""
    parser = argparse.ArgumentParser(prog="ssast")
    parser.add_argument("--version", action="store_true", help="tell the version")
    parser.add_argument("--help-all", action="store_true", help="show every option")
    parser.add_argument("--print-completion", choices=SHELLS, help="print this script for a shell")
    modes = parser.add_subparsers()
    for name in (*MODES, *ALIASES, "train"):
        mode = {**ALIASES, "train": "finetune"}.get(name, name)
        _add_options(modes.add_parser(name, help=MODES[mode].summary, description=MODES[mode].summary), mode)
    return parser


def _add_options(parser: argparse.ArgumentParser, mode: str) -> None:
    import shtab

    parser.add_argument("--help-all", action="store_true", help="show the options of other modes too")
    for spec in SPECS.values():
        if mode in spec.modes:
            made = parser.add_argument(*spec.flags, choices=_choices(spec), help=spec.help.replace("%", "%%"))
            if spec.is_path:
                made.complete = shtab.FILE  # type: ignore[attr-defined]
    if MODES[mode].words:
        parser.add_argument("words", nargs="*").complete = shtab.FILE  # type: ignore[attr-defined]


def _choices(spec: Spec) -> tuple[str, ...] | None:
    return ("True", "False") if spec.kind is bool else spec.choices or None
