"""Hold a filled checklist, and write it as Markdown and as one self-contained page; no text of a user becomes markup.

Each item comes with what is known of it, where that stands, and what is left to say.
"""

import html
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby

from ssast.pages.html import escape, page


class Answered(StrEnum):
    """Who answers an item; the text is what a reader sees."""

    RECORDS = "answered from the records"
    STUDY = "answered by study.yaml"
    OPEN = "open"


@dataclass(frozen=True)
class Statement:
    """A sentence about the study, and the place where a reader finds it."""

    text: str
    place: str


@dataclass(frozen=True)
class Entry:
    """One item: what it asks, what is stated, and in `left` what only a person can still say."""

    number: str
    title: str
    asks: str
    state: Answered
    statements: Sequence[Statement]
    left: str = ""


@dataclass(frozen=True)
class Section:
    """Items that stand under one heading."""

    title: str
    entries: Sequence[Entry]


@dataclass(frozen=True)
class Sheet:
    """A whole checklist: `name` is its own, `source` the paper that its numbers come from."""

    name: str
    source: str
    remark: str
    sections: Sequence[Section]

    @property
    def entries(self) -> list[Entry]:
        """All items in their order."""
        return [entry for section in self.sections for entry in section.entries]

    def summary(self) -> str:
        """How many items are in which state, in one sentence."""
        counts = Counter(entry.state for entry in self.entries)
        parts = [f"{counts[state]} {state}" for state in Answered]
        return f"{self.name}: {len(self.entries)} items, {parts[0]}, {parts[1]}, {parts[2]}."


_MARKS = re.compile(r"[\\`*_{}\[\]#|~$@]|(?<=\w):(?=//)|(?<=www)\.|^[-+](?= )")
"""What can begin markup, or become a link of its own."""


def sheet_markdown(title: str, notes: Sequence[str], sheets: Sequence[Sheet]) -> str:
    """All checklists as one text: a heading, what to know, and a table a section."""
    lines = [f"# {plain_markdown(title)}", ""]
    lines += [f"{plain_markdown(note)}\n" for note in notes]
    for sheet in sheets:
        lines += [*_lines(sheet), ""]
    return "\n".join(lines).rstrip() + "\n"


def _lines(sheet: Sheet) -> Iterator[str]:
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


_CLASSES = {Answered.RECORDS: "records", Answered.STUDY: "study", Answered.OPEN: "open"}


def sheet_page(title: str, notes: Sequence[str], sheets: Sequence[Sheet]) -> str:
    """The page as html: what to know, then each checklist with its items in their order."""
    said = "".join(f"<p>{escape(note)}</p>" for note in (*notes, *(sheet.summary() for sheet in sheets)))
    parts = [f"<h1>{escape(title)}</h1>", f'<div class="note">{said}</div>', *map(_sheet, sheets)]
    return page(title, "\n".join(parts), styles=("report.css", "checklist.css"))


def _sheet(sheet: Sheet) -> str:
    sections = "\n".join(map(_section, sheet.sections))
    source = f'<p class="soft">{escape(sheet.remark)}</p><p class="soft">{escape(sheet.source)}</p>'
    return f"<h2>{escape(sheet.name)}</h2>{source}{sections}"


def _section(section: Section) -> str:
    return f"<h3>{escape(section.title)}</h3>{''.join(map(_entry, section.entries))}"


def _entry(entry: Entry) -> str:
    """One item: its number and what it asks on the one side, its answer on the other."""
    state = f'<span class="state">{escape(entry.state)}</span>'
    asked = f"<p><strong>{escape(entry.number)} {escape(entry.title)}</strong> {state}</p><p>{escape(entry.asks)}</p>"
    said = "".join(_said(list(found), place) for place, found in groupby(entry.statements, lambda one: one.place))
    left = f'<p class="left">{escape(entry.left)}</p>' if entry.left else ""
    return f'<div class="item {_CLASSES[entry.state]}"><div>{asked}</div><div>{said}{left}</div></div>'


def _said(statements: Sequence[Statement], place: str) -> str:
    """Sentences that one place bears out, which is named behind the last."""
    *first, last = [escape(one.text) for one in statements]
    before = "".join(f'<p class="said">{text}</p>' for text in first)
    return f'{before}<p class="said">{last} <span class="soft">{escape(place)}</span></p>'
