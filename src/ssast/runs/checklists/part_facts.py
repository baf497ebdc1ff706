"""Say how many people and answers each part of the analysis had: training, validation and the test."""

from collections.abc import Mapping
from typing import Any

from ssast.pages.checklists.sheet import Statement
from ssast.pages.tables import counted
from ssast.runs.checklists.items import Knowledge
from ssast.runs.checklists.records import Records, RunFolder
from ssast.runs.checklists.score_facts import flow_known
from ssast.safe_reading import brief, some

_MOST_LABELS = 12
_PLACE = "development.json"


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
    found, parts = run.file(_PLACE), _parts(run)
    if parts:
        unit = brief(found["unit"], 20)
        return [run.state(f"{brief(name).capitalize()}: {_counts(own, unit)}", _PLACE) for name, own in parts.items()]
    clips = ", ".join(f"{brief(name)} {count:d}" for name, count in run.kept("finetune", "clips").items())
    said = [run.state(f"Recordings by part: {clips}.", "run.yaml")] if clips else []
    if found:
        whom = f"{counted(found['recordings'], 'recording')} of {counted(found['people'], brief(found['unit'], 20))}"
        said.append(run.state(f"Trained and chosen on {whom}.", _PLACE))
    return said


def _parts(run: RunFolder) -> Mapping[str, Any]:
    return run.file(_PLACE).get("parts") or {}


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
