"""Hold a filled checklist: each item with what is known of it, where that stands, and what is left to say."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


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
