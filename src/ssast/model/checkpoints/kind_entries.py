"""Check what config.json, metrics.json or labels.yaml says of the kinds of labels, and say what is wrong."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from ssast.errors import UserError
from ssast.model.label_kinds import (
    CHOICE,
    ENTRIES,
    LABEL_KINDS,
    LONGEST_LEVEL,
    MOST_LEVELS,
    NUMBER,
    SCALE,
    YES_NO,
    LabelKinds,
)
from ssast.safe_reading import UNSEEN, brief, is_number

_MOST_WEIGHT = 1_000_000
_MOST_RATERS = 1_000
_BOUND = 1e6


def check_kinds(
    entries: Sequence[Mapping[str, Any]] | None, loss: str, names: Sequence[str], source: str
) -> Sequence[Mapping[str, Any]] | None:
    """Return the entries; UserError where one is not as ssast writes it, or does not fit the loss and the labels."""
    if entries is None:
        if loss not in (YES_NO, NUMBER):
            raise UserError(
                f"{source} says loss {loss} but not the kinds and levels of its labels; save the model again.",
                path=source,
            )
        return None
    if not isinstance(entries, list | tuple) or len(entries) != len(names):
        raise UserError(f"{source} does not say one kind for each of its labels; save the model again.", path=source)
    for name, entry in zip(names, entries, strict=True):
        if wrong := entry_fault(entry) or lacks_levels(entry):
            raise UserError(f"{source} says of the label {brief(name)!r} {wrong}; correct it.", path=source)
    if (found := LabelKinds.of_entries(loss, names, entries).loss) != loss:
        raise UserError(
            f"{source} says loss {loss}, but its labels' kinds are {found}; save the model again.", path=source
        )
    return entries


def lacks_levels(entry: Mapping[str, Any]) -> str:
    """What is wrong where a scale or a choice has no levels."""
    needs = entry["kind"] in (SCALE, CHOICE) and not entry.get("levels")
    return f"kind {entry['kind']} without levels" if needs else ""


def entry_fault(entry: Any) -> str:
    """What came and what was expected, where an entry cannot be meant; else nothing. Levels may be left out."""
    if not isinstance(entry, Mapping):
        return f"{brief(entry, 40)!r}, expected entries such as kind and levels"
    if unknown := [name for name in entry if name not in ENTRIES]:
        return f"{brief(str(unknown[0]), 40)!r}, expected {', '.join(ENTRIES)}"
    if (kind := entry.get("kind")) not in LABEL_KINDS:
        return f"kind {brief(kind, 40)!r}, expected {', '.join(LABEL_KINDS)}"
    found = [_levels(kind, entry.get("levels")), _cut(kind, entry), _weight(entry.get("weight", 1.0))]
    return next(filter(None, [*found, _raters(entry.get("raters", []))]), "")


def _levels(kind: str, levels: Any) -> str:
    if levels is None or levels == []:
        return ""
    if kind not in (SCALE, CHOICE):
        return f"levels for kind {kind}, expected them for {SCALE} or {CHOICE} only"
    is_list = isinstance(levels, list | tuple) and 2 <= len(levels) <= MOST_LEVELS
    if kind == SCALE:
        is_right = is_list and all(map(_is_bounded, levels)) and all(a < b for a, b in pairwise(levels))
        return "" if is_right else f"levels {brief(levels, 60)}, expected 2 to {MOST_LEVELS} rising numbers"
    is_right = is_list and all(map(_is_name, levels)) and len(set(levels)) == len(levels)
    return (
        ""
        if is_right
        else f"levels {brief(levels, 60)}, expected 2 to {MOST_LEVELS} different words (yes and no in quotes)"
    )


def _cut(kind: str, entry: Mapping[str, Any]) -> str:
    cut, levels = entry.get("cut"), entry.get("levels")
    if cut is None:
        return ""
    if kind != SCALE:
        return f"a cut for kind {kind}, expected it for {SCALE} only"
    if not _is_bounded(cut) or (levels and cut not in levels[1:]):
        return f"cut {brief(cut, 40)!r}, expected one of its levels above the lowest"
    return ""


def _weight(weight: Any) -> str:
    is_right = _is_bounded(weight) and 0 < weight <= _MOST_WEIGHT
    return "" if is_right else f"weight {brief(weight, 40)!r}, expected a number above 0"


def _raters(raters: Any) -> str:
    is_list = isinstance(raters, list | tuple) and len(raters) <= _MOST_RATERS
    is_right = is_list and all(map(_is_name, raters)) and len(set(raters)) == len(raters)
    return "" if is_right else f"raters {brief(raters, 60)}, expected the names of different columns"


def _is_bounded(value: Any) -> bool:
    return is_number(value) and abs(value) <= _BOUND


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip()) and len(value) <= LONGEST_LEVEL and not UNSEEN.search(value)
