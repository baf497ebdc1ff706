"""Show the scores of groups of people, and of sites that were left out one by one, for the screen and for the page.

Which gaps between groups luck does not explain is told, and what leaving a site out cannot tell.
"""

from collections.abc import Mapping
from typing import Any

from ssast.pages.html import Breakable, bullets, escape, folded, table
from ssast.pages.review_sections import with_interval
from ssast.pages.tables import counted, number, span, were

GROUP_TITLES = {
    "auc": "AUC",
    "sensitivity": "sensitivity",
    "calibration_slope": "calibration slope",
    "calibration_intercept": "calibration intercept",
}
_PRINTED_ROWS = 40
"""Gaps of a column; more of them are not printed."""


def subgroup_section(metrics: Mapping[str, Any]) -> str:
    """A table a column of groups, the gaps that were found, and every gap in a box that opens."""
    found = metrics.get("groups")
    if not found:
        return ""
    parts = ["<h2>Subgroups</h2>", bullets(gap_sentences(metrics))]
    for name, column in found["columns"].items():
        parts.append(f"<h3>{escape(name)}</h3>{_note(column)}{_scores(column, metrics)}{_every_gap(column)}")
    return "".join(parts)


def said_groups(metrics: Mapping[str, Any]) -> list[str]:
    """What the screen says of groups: how columns were divided and what has no group, then the gaps."""
    if not metrics.get("groups"):
        return []
    divided = {name: "; ".join(_division(column)) for name, column in metrics["groups"]["columns"].items()}
    return [*(f"Groups of {name}: {words}." for name, words in divided.items() if words), *gap_sentences(metrics)]


def gap_sentences(metrics: Mapping[str, Any]) -> list[str]:
    """Which gaps are told from luck, how many were looked at, and which groups are too small."""
    found = metrics["groups"]
    told = [
        f"{label}, {name}: {GROUP_TITLES[gap['measure']]} of {gap['group']} differs from that of {own['reference']} by "
        f"{number(gap['value'], 2)} ({span(gap['interval'], 2)})."
        for name, column in found["columns"].items()
        for label, own in column["labels"].items()
        for gap in own["gaps"]
        if gap["is_told"]
    ]
    rest = [*_too_small(found), *_not_looked_at(found)]
    if not found["looked_at"]:
        return ["No gap can be looked at: that takes two groups of a column that are large enough.", *rest]
    looked_at = counted(found["looked_at"], "gap")
    correction = "Their intervals are Bonferroni's: luck alone names any of them in at most 5 of 100 sets."
    first = told or ["No gap is told from luck, which does not show that there is none."]
    count = f"{looked_at} to the largest group {were(found['looked_at'])} looked at. {correction}"
    return [*first, count, *rest]


def _too_small(found: Mapping[str, Any]) -> list[str]:
    small: dict[tuple[str, str], list[str]] = {}
    for name, column in found["columns"].items():
        for label, own in column["labels"].items():
            if groups := [group for group, entry in own["groups"].items() if "auc" not in entry]:
                small.setdefault((name, ", ".join(groups)), []).append(label)
    if not small:
        return []
    few = found["few_people"]
    told = "; ".join(f"{name} {groups} (for {', '.join(labels)})" for (name, groups), labels in small.items())
    return [f"Too small to say, with fewer than {few} people with the label or {few} without it: {told}."]


def _not_looked_at(found: Mapping[str, Any]) -> list[str]:
    labels = found.get("not_looked_at") or []
    which = "is not scored by group, since it is" if len(labels) == 1 else "are not scored by group, since they are"
    return [f"{', '.join(labels)} {which} neither yes or no nor a scale with a cut."] if labels else []


def _note(column: Mapping[str, Any]) -> str:
    words = _division(column)
    return f'<p class="soft">{escape("; ".join(words))}.</p>' if words else ""


def _division(column: Mapping[str, Any]) -> list[str]:
    """How a column was made groups of, and how many clips have none."""
    without = column["without"]
    lacking = f"{counted(without, 'clip')} {'has' if without == 1 else 'have'} no group"
    return [*([column["note"]] if column["note"] else []), *([lacking] if without else [])]


def _scores(column: Mapping[str, Any], metrics: Mapping[str, Any]) -> str:
    unit = "people" if metrics.get("unit", "clip") == "clip" else f"{metrics['unit']}s"
    head = ["label", "group", "clips", unit, "events", *GROUP_TITLES.values()]
    rows: list[list[Any]] = []
    for label, own in column["labels"].items():
        for group, entry in own["groups"].items():
            scores = [with_interval(entry[name]) if name in entry else "too small" for name in GROUP_TITLES]
            rows.append([Breakable(label), group, entry["n"], entry["people"], entry["events"], *scores])
    return folded(table(head, rows), len(rows), "groups of labels")


def _every_gap(column: Mapping[str, Any]) -> str:
    rows = [
        [Breakable(label), f"{gap['group']} - {own['reference']}", GROUP_TITLES[gap["measure"]], with_interval(gap)]
        for label, own in column["labels"].items()
        for gap in own["gaps"]
    ]
    if not rows:
        return ""
    body = table(["label", "groups", "measure", "gap"], rows)
    told = f"<summary>{counted(len(rows), 'gap')} with corrected intervals</summary>"
    beside = ' class="aside"' if len(rows) > _PRINTED_ROWS else ""
    return f"<details{beside}>{told}{body}</details>"


_MOST_ON_SCREEN = 24


def sites_section(metrics: Mapping[str, Any]) -> str:
    """A table of the sites, and a list of what cannot be said; their scores are a table of the subgroups."""
    found = metrics.get("sites")
    if not found:
        return ""
    head = [found["column"], "recordings", "people", "not trained on", "its model"]
    rows = [
        [
            Breakable(name),
            own["recordings"],
            "-" if own["people"] is None else own["people"],
            own["not_trained_on"],
            own["fold"],
        ]
        for name, own in found["sites"].items()
    ]
    text = (
        f"Each {found['column']} was scored by a model that was trained without it. Not trained on: recordings from "
        f"elsewhere of people who are also recorded there. The scores of yes/no labels in each stand under Subgroups; "
        "folds.csv holds every measure of each model."
    )
    return (
        f"<h2>Leaving one {escape(found['column'])} out</h2>{table(head, rows)}"
        f'<p class="soft">{escape(text)}</p>{cannot_list(found["cannot"])}'
    )


def cannot_list(sentences: list[str]) -> str:
    """What cannot be said, under a heading of its own; empty where there is nothing."""
    shown = bullets(f"{sentence}." for sentence in sentences)
    return f"<h3>What cannot be said</h3>{shown}" if sentences else ""


def site_rows(metrics: Mapping[str, Any]) -> list[list[str]]:
    """The header and a row a site and label, with intervals, for the screen; empty without sites or yes/no labels."""
    found, scored = metrics.get("sites"), metrics.get("groups")
    groups = scored["columns"].get(found["column"]) if found and scored else None
    if not found or not groups:
        return []
    rows = [[found["column"], "label", "clips", "positive", *GROUP_TITLES.values()]]
    for label, own in groups["labels"].items():
        for name, entry in own["groups"].items():
            scores = [_cell(entry.get(measure)) for measure in GROUP_TITLES]
            rows.append([name, label, str(entry["n"]), str(entry["events"]), *scores])
    return rows[: _MOST_ON_SCREEN + 1]


def _cell(found: Mapping[str, Any] | None) -> str:
    if not found or found["value"] is None:
        return "-"
    return f"{number(found['value'], 2)} ({span(found['interval'], 2)})"


def cannot_sentences(metrics: Mapping[str, Any]) -> list[str]:
    """What cannot be said of sites, and of another place, for the screen."""
    told = [sentence for part in ("sites", "external") for sentence in (metrics.get(part) or {}).get("cannot", [])]
    return [f"cannot be said: {sentence}" for sentence in told]
