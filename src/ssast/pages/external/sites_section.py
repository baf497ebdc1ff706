"""Show what leaving one site out tells of each site, and what it cannot tell, for the screen and for the page."""

from collections.abc import Mapping
from typing import Any

from ssast.pages.html import Breakable, bullets, escape, table
from ssast.pages.subgroup_section import GROUP_TITLES
from ssast.pages.tables import number, span

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
