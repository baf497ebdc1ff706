"""Write filled checklists as one self-contained page; every text of a user is escaped."""

from collections.abc import Sequence
from itertools import groupby

from ssast.pages.checklists.sheet import Answered, Entry, Section, Sheet, Statement
from ssast.pages.html import escape, page

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
