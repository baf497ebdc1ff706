"""Draw how many recordings and people came from the table to the score, as boxes with arrows (inline SVG)."""

import textwrap
from collections.abc import Mapping
from typing import Any

from ssast.pages.html import escape
from ssast.pages.tables import counted

_WIDTH, _LINE, _PAD, _GAP, _INSET = 360, 15, 8, 22, 40
_LETTERS = 54
_MOST_LABELS = 30


def flow_section(metrics: Mapping[str, Any]) -> str:
    """The diagram under its heading; empty where nothing was counted."""
    flow = metrics.get("flow")
    if not flow:
        return ""
    words = _steps(flow)
    told = ". ".join(" ".join(lines) for lines, _ in words)
    body, height = _boxes(words)
    drawn = f'<svg class="flow" viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{escape(told)}">{body}</svg>'
    return f"<h2>From the table to the score</h2><figure>{drawn}</figure>"


def _steps(flow: Mapping[str, Any]) -> list[tuple[list[str], bool]]:
    """The lines of each box, and whether it holds what is lost on the way."""
    steps = [([f"In the table: {_amount(flow['table'], flow['unit'])}"], False)]
    lost = flow["left_out"]
    if lost["recordings"]:
        why = [f"{each['recordings']}: {each['reason']}" for each in lost["reasons"]]
        steps.append(([f"Left out: {counted(lost['recordings'], 'recording')}", *why], True))
    steps.append(([f"Scored: {_amount(flow['scored'], flow['unit'])}"], False))
    labels = list(flow["labels"].items())
    if any(own["empty"] for _, own in labels):
        empty = [f"{label}: {counted(own['empty'], 'recording')}" for label, own in labels if own["empty"]]
        steps.append((["Without a target, so not scored for", *_few(empty)], True))
    steps.append((["Scored with a target", *_few([_known(label, own) for label, own in labels])], False))
    return steps


def _few(lines: list[str]) -> list[str]:
    more = [f"and {len(lines) - _MOST_LABELS} labels more"] if len(lines) > _MOST_LABELS else []
    return lines[:_MOST_LABELS] + more


def _known(label: str, own: Mapping[str, int]) -> str:
    if "with" not in own:
        return f"{label}: {own['known']}"
    return f"{label}: {own['known']}, of which {own['with']} with the label"


def _amount(found: Mapping[str, Any], unit: str) -> str:
    whose = "" if found["people"] is None else f" of {counted(found['people'], unit)}"
    return f"{counted(found['recordings'], 'recording')}{whose}"


def _boxes(steps: list[tuple[list[str], bool]]) -> tuple[str, int]:
    """The boxes from top to bottom, those of losses set in, and the height of all."""
    parts, top, arrow_from = [], 1, 0
    for lines, is_loss in steps:
        left = _INSET if is_loss else 1
        letters = _LETTERS - (7 if is_loss else 0)
        wrapped = [piece for line in lines for piece in textwrap.wrap(line, letters) or [""]]
        height = len(wrapped) * _LINE + 2 * _PAD
        if arrow_from:
            parts.append(_arrow(arrow_from, top, top + height / 2 if is_loss else None))
        kind = "loss" if is_loss else "step"
        parts.append(
            f'<rect class="{kind}" x="{left}" y="{top}" width="{_WIDTH - left - 1}" height="{height}" rx="6"/>'
        )
        parts += [
            f'<text x="{left + _PAD}" y="{top + _PAD + 11 + at * _LINE}">{escape(piece)}</text>'
            for at, piece in enumerate(wrapped)
        ]
        arrow_from = arrow_from if is_loss else top + height
        top += height + _GAP
    return "".join(parts), top - _GAP + 1


def _arrow(start: float, end: float, turn: float | None) -> str:
    """An arrow down to the next step, or one that turns aside to what is lost."""
    x = 20
    if turn is not None:
        line = f"M{x} {start} V{turn} H{_INSET - 2}"
        head = f"M{_INSET - 7} {turn - 4} L{_INSET - 1} {turn} L{_INSET - 7} {turn + 4}"
    else:
        line, head = f"M{x} {start} V{end - 2}", f"M{x - 4} {end - 7} L{x} {end - 1} L{x + 4} {end - 7}"
    return f'<path class="way" d="{line}"/><path class="way" d="{head}"/>'
