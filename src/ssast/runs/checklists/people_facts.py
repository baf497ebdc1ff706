"""Say what the records know of people: how many each part of the analysis and each group had, how groups differ.

Every function takes the records of all runs and gives None where they do not know.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from ssast.data.tables.people import plain_name
from ssast.pages.checklist_sheet import Statement
from ssast.pages.subgroup_section import gap_sentences
from ssast.pages.tables import counted
from ssast.runs.checklists.items import Knowledge
from ssast.runs.checklists.records import Records, RunFolder
from ssast.runs.checklists.score_facts import flow_known, known_of_scores, unit_of
from ssast.safe_reading import brief, some

_DEVELOPMENT = "development.json"
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


def numbers_known(records: Records) -> Knowledge | None:
    """People and events of each part; what is lacking where a model was trained by an older version, or in folds."""
    tested = flow_known(records)
    if tested is None:
        return None
    trained = tuple(one for run in records.trained for one in _trained(run))
    is_whole = bool(records.trained) and all(_parts(run) for run in records.trained)
    lacks = "" if is_whole else "Not known: people and events of training and of validation, apart."
    return Knowledge((*trained, *tested.statements), lacks)


def _trained(run: RunFolder) -> list[Statement]:
    """What a run was trained and chosen on, as far as its folder says."""
    found, parts = run.file(_DEVELOPMENT), _parts(run)
    if parts:
        unit = brief(found["unit"], 20)
        return [
            run.state(f"{brief(name).capitalize()}: {_counts(own, unit)}", _DEVELOPMENT) for name, own in parts.items()
        ]
    clips = ", ".join(f"{brief(name)} {count:d}" for name, count in run.kept("finetune", "clips").items())
    said = [run.state(f"Recordings by part: {clips}.", "run.yaml")] if clips else []
    if found:
        whom = f"{counted(found['recordings'], 'recording')} of {counted(found['people'], brief(found['unit'], 20))}"
        said.append(run.state(f"Trained and chosen on {whom}.", _DEVELOPMENT))
    return said


def _parts(run: RunFolder) -> Mapping[str, Any]:
    return run.file(_DEVELOPMENT).get("parts") or {}


def _counts(part: Mapping[str, Any], unit: str) -> str:
    answers = [f"{brief(label)} {_answers(own, unit)}" for label, own in part["labels"].items()]
    whom = f"{counted(part['recordings'], 'recording')} of {counted(part['people'], unit)}"
    return f"{whom}. Answers: {some(answers, _MOST_LABELS)}."


def _answers(counts: Mapping[str, Any], unit: str) -> str:
    """`30 of 120 with the label (6 speakers with it, 9 without)`."""
    known = counts["known"]
    if "with" in counts:
        people = f"{counted(counts['people_with'], unit)} with it, {counts['people_without']:d} without"
        return f"{counts['with']:d} of {known:d} with the label ({people})"
    if "levels" in counts:
        levels = [f"{brief(level)}: {count:d}" for level, count in counts["levels"].items()]
        return f"{known:d} ({some(levels, _MOST_LABELS)})"
    return f"{known:d}"
