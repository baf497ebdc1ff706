"""Describe the items of a checklist: what each asks, who can answer it, and from where."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ssast.pages.checklist_sheet import Statement
from ssast.runs.checklists.records import Records


@dataclass(frozen=True)
class Knowledge:
    """What the records of the runs say; `lacks` is what they do not, so that a person has to say it."""

    statements: tuple[Statement, ...]
    lacks: str = ""


Fact = Callable[[Records], Knowledge | None]


@dataclass(frozen=True)
class Origin:
    """Where the records know of an item: `facts` finds it, and where it is `alone` no person has to add anything.

    `hint` is the command that would let the records know.
    """

    facts: Fact
    alone: bool = False
    hint: str = ""


@dataclass(frozen=True)
class Item:
    """One item, by its number in the paper and a paraphrase of ours; `keys` of study.yaml answer it together."""

    number: str
    title: str
    asks: str
    keys: tuple[str, ...] = ()
    source: Origin | None = None


@dataclass(frozen=True)
class Chapter:
    """The items under one heading."""

    title: str
    items: tuple[Item, ...]


@dataclass(frozen=True)
class Checklist:
    """All items of a checklist, and the paper that numbers them."""

    key: str
    name: str
    source: str
    remark: str
    chapters: tuple[Chapter, ...]

    @property
    def items(self) -> list[Item]:
        """All items in their order."""
        return [item for chapter in self.chapters for item in chapter.items]


def chapters(text: str, sources: Mapping[str, Origin], prefix: str = "") -> tuple[Chapter, ...]:
    """The chapters of a text: `# heading`, then lines of `number | title | what it asks | keys`.

    `sources` are those of the numbers; `prefix` stands before each number and heading.
    """
    found: list[tuple[str, list[Item]]] = []
    for line in filter(None, map(str.strip, text.splitlines())):
        if line.startswith("# "):
            found.append((line.removeprefix("# "), []))
            continue
        number, title, asks, keys = (part.strip() for part in line.split("|"))
        own = f"{prefix}{number}"
        found[-1][1].append(Item(own, title, asks, tuple(keys.split()), sources.get(own)))
    return tuple(Chapter(title, tuple(items)) for title, items in found)
