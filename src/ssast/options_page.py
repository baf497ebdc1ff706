"""The declared options in; docs/options.md out, as `python -m ssast.options_page` prints it."""

from ssast.options.declaration import OptionGroup, Spec
from ssast.options.options import SPECS

PREFACE = """# Options

Every option can be given on the command line (`ssast MODE --name value` or `python run.py -m MODE --name value`), as a
key in a YAML file (`--config run.yaml`; what is given beside it wins), and as an argument in Python
(`ssast.finetune(name=value)`). True and False are written out, `none` stands for nothing, and an option that a mode has
no use for does no harm.

This page is written by `make docs`.
"""


def page() -> str:
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
    print(page(), end="")
