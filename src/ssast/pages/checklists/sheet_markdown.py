"""Write filled checklists as Markdown, in which no text of a user can become markup."""

import html
import re
from collections.abc import Iterator, Sequence

from ssast.pages.checklists.sheet import Entry, Sheet

_MARKS = re.compile(r"[\\`*_{}\[\]#|~$@]|(?<=\w):(?=//)|(?<=www)\.|^[-+](?= )")
"""What can begin markup, or become a link of its own."""


def sheet_markdown(title: str, notes: Sequence[str], sheets: Sequence[Sheet]) -> str:
    """All checklists as one text: a heading, what to know, and a table a section."""
    lines = [f"# {plain_markdown(title)}", ""]
    lines += [f"{plain_markdown(note)}\n" for note in notes]
    for sheet in sheets:
        lines += [*_sheet(sheet), ""]
    return "\n".join(lines).rstrip() + "\n"


def _sheet(sheet: Sheet) -> Iterator[str]:
    yield from (f"## {plain_markdown(sheet.name)}", "", plain_markdown(sheet.summary()), "")
    yield from (plain_markdown(sheet.remark), "", plain_markdown(sheet.source))
    for section in sheet.sections:
        yield from ("", f"### {plain_markdown(section.title)}", "")
        yield from ("| item | asked | state | answer | where |", "|---|---|---|---|---|")
        yield from map(_row, section.entries)


def _row(entry: Entry) -> str:
    asked = f"**{plain_markdown(entry.title)}.** {plain_markdown(entry.asks)}"
    texts = [plain_markdown(statement.text) for statement in entry.statements]
    if entry.left:
        texts.append(f"*Open:* {plain_markdown(entry.left)}")
    places = dict.fromkeys(plain_markdown(statement.place) for statement in entry.statements if statement.place)
    cells = [plain_markdown(entry.number), asked, entry.state.value, "<br>".join(texts), "<br>".join(places)]
    return f"| {' | '.join(cells)} |"


def plain_markdown(text: str) -> str:
    """A text in one line that Markdown shows as it is: no markup, no link, no tag, no picture."""
    one_line = " ".join(text.split())
    return _MARKS.sub(lambda found: f"\\{found.group()}", html.escape(one_line, quote=False))
