"""Say what the records know of groups of people: how many each has, how scores differ, and which are places.

Every function takes the records of all runs and gives None where they do not know.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from ssast.data.tables.people import plain_name
from ssast.pages.subgroup_section import gap_sentences
from ssast.runs.checklists.items import Knowledge
from ssast.runs.checklists.records import Records
from ssast.runs.checklists.score_facts import known_of_scores, unit_of
from ssast.safe_reading import brief, some

_PLACES = ("site", "centre", "center", "hospital", "clinic", "country", "region", "city")
"""Columns of groups that are places."""
_MOST_LABELS = 12
_Metrics = Mapping[str, Any]


def groups_known(records: Records) -> Knowledge | None:
    """Which groups were looked at, and what was found."""
    runs = [run for run in records.scored if run.file("metrics.json").get("groups")]
    return known_of_scores(runs, _grouped, "report.html, Subgroups")


def _grouped(metrics: _Metrics) -> list[str]:
    columns = some([brief(name) for name in metrics["groups"]["columns"]])
    return [f"Scores were held against each other in groups by {columns}.", *gap_sentences(metrics)]


def group_sizes_known(records: Records) -> Knowledge | None:
    """How many people and events each group has."""
    runs = [run for run in records.scored if run.file("metrics.json").get("groups")]
    return known_of_scores(runs, lambda metrics: list(_sizes(metrics)), "report.html, Subgroups")


def _sizes(metrics: _Metrics) -> Iterator[str]:
    for name, column in metrics["groups"]["columns"].items():
        label, own = next(iter(column["labels"].items()))
        shown = [
            f"{brief(group)}: {entry['people']:d} {unit_of(metrics)} with {entry['events']:d} events of {brief(label)}"
            for group, entry in own["groups"].items()
        ]
        yield f"By {brief(name)}: {some(shown, _MOST_LABELS)}."


def clusters_known(records: Records) -> Knowledge | None:
    """Scores by place, where such groups were asked for."""
    runs = [run for run in records.scored if _places(run.file("metrics.json"))]
    return known_of_scores(runs, _by_place, "report.html, Subgroups")


def _places(metrics: _Metrics) -> list[str]:
    own = (metrics.get("sites") or {}).get("column")
    columns = (metrics.get("groups") or {}).get("columns", {})
    return [name for name in columns if name == own or plain_name(name) in _PLACES]


def _by_place(metrics: _Metrics) -> list[str]:
    found = some([brief(name) for name in _places(metrics)])
    left_out = " Each was scored by a model that was trained without it." if metrics.get("sites") else ""
    return [f"Scores were held against each other by {found}.{left_out}", *gap_sentences(metrics)]
