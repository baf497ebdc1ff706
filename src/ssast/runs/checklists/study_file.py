"""Read study.yaml, in which a person writes what no record can know, and write an empty one to fill in."""

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ssast.data.storage.atomic_writes import atomic_file
from ssast.errors import UserError
from ssast.options.declaration import suggestion
from ssast.options.record import read_mapping
from ssast.runs.checklists.items import Checklist
from ssast.safe_reading import brief

STUDY_FILE = "study.yaml"
BY_NUMBER = "answers"
LONGEST_ANSWER = 4000
"""Of one answer: a checklist says it in short, and the paper in full."""
_QUESTIONS = """
title | title of the paper
abstract | where the abstract stands that names objectives, data, outcome, size, analysis, results and limits
background | why this is to be predicted; diagnosis or prognosis; models that exist, with references
intended_use | for which people, when in their care and used by whom; is a recording there at that time?
inequalities | differences in health between groups of people that are known here
objectives | what the study was to find out; making a model, testing one, or both
data_source | where the data come from (cohort, trial, routine care), why these, whom they stand for
study_design | design, and why it suits: prospective, cross-sectional, case-control ...
dates | first and last day of recording; end of follow-up
setting | primary care, hospital, at home ...; how many places, and where
eligibility | who could take part, who could not
representativeness | how those who took part differ from those the model is for
treatments | treatments at the time of recording, and what was made of that; none
recruitment | asked, came, stayed, were followed: how many, and why not the others
characteristics | table of who took part: age, sex, languages, diagnoses, treatments, what is missing
recording | devices, rooms, tasks, distance, who recorded, when; the same for all?
recording_blinding | what those who recorded knew of the outcome
preparation | what was cut, filtered or sorted out by hand before; alike for all groups?
outcome | what each label means, how and when it was assessed, why this outcome
outcome_consistency | was the outcome assessed in the same way for all people and groups?
outcome_raters | who rated: training, experience, number, what is known of them
outcome_blinding | what the raters could not know; could they hear what the model hears?
outcome_timing | time between recording and assessment
sample_size | how the size was planned, and why it is enough to make and to test a model
missing_data | what is missing in the table and before it, why, and what was done with it
numbers | people and events in training, in validation and in the test
model_choice | why this model; which settings were tried, and how the ones used were chosen
imbalance | where rare answers were weighed up: why, and what set scores right afterwards
threshold_reason | why people are called by a threshold, and why by this one
fairness | what was done for fairness, and why these groups
clusters | differences between places, and how they were measured; one place only
differences | how setting, people and outcome differ between training and evaluation data
comparison | where the table stands that compares training and evaluation data
leakage | what is known of the ways to leak that no program sees
updating | whether the model was changed after a test, how, and what came of it; not done
ethics | committee and number; how people consented, or why they need not
funding | who paid, and their part in the study
conflicts | what the authors declare
protocol | where it is, or that there is none
registration | register and number, or that there is none
data_availability | whether and how others can have the data
code_availability | whether and how others can have the code of the analysis
model_availability | whether and how others can have the model, and what restricts its use
involvement | part of patients and the public, or none
interpretation | what the results mean, fairness included
limitations | what limits the study, and what that does to its results
poor_input | what is to be done with a poor or missing recording in use
users | what users have to do and to know
next_steps | what is to be studied next
"""
QUESTIONS = dict(line.split(" | ", 1) for line in _QUESTIONS.strip().splitlines())


@dataclass(frozen=True)
class Study:
    """What a person wrote: texts by key, and answers to single items by their address, such as `tripod 3a`."""

    texts: Mapping[str, str] = field(default_factory=dict)
    answers: Mapping[str, str] = field(default_factory=dict)


def address(checklist: Checklist, number: str) -> str:
    """How study.yaml calls one item."""
    return f"{checklist.key} {number}"


def read_study(path: str, checklists: Sequence[Checklist]) -> Study:
    """What study.yaml holds; UserError where a key or an address is unknown, or a value is no text."""
    if not Path(path).is_file():
        raise UserError(
            f"there is no file {path}; `ssast report --template True -o FOLDER` writes one to fill in.", path=path
        )
    content = read_mapping(path)
    known = [address(checklist, item.number) for checklist in checklists for item in checklist.items]
    _check_keys(content, [*QUESTIONS, BY_NUMBER], path, "")
    answers = content.pop(BY_NUMBER, None) or {}
    if not isinstance(answers, dict):
        raise UserError(f"{path}: {BY_NUMBER} is no list of `tripod 3a: text`; write one item a line.", path=path)
    _check_keys(answers, known, path, f"{BY_NUMBER}: ")
    return Study(_texts(content, path), _texts(answers, path))


def _check_keys(content: Mapping[str, object], known: Sequence[str], path: str, where: str) -> None:
    for key in content:
        if key not in known:
            hint = suggestion(key, known) or f"; `ssast report --template True` writes a {STUDY_FILE} with all of them."
            raise UserError(f"{path}: {where}there is no {brief(key)}{hint}", path=path)


def _texts(content: Mapping[str, object], path: str) -> dict[str, str]:
    """The values that are filled in, as texts."""
    found = {key: _text(key, value, path) for key, value in content.items()}
    return {key: text for key, text in found.items() if text}


def _text(key: str, value: object, path: str) -> str:
    values = value if isinstance(value, list) else [value]
    parts = [_plain(one) for one in values]
    if None in parts:
        kind = next(type(one).__name__ for one in values if _plain(one) is None)
        raise UserError(f"{path}: {key} holds a {kind}, expected a text; write `{key}: text`.", path=path)
    text = "; ".join(part for part in parts if part)
    if len(text) > LONGEST_ANSWER:
        raise UserError(
            f"{path}: {key} has {len(text):,} letters, expected {LONGEST_ANSWER:,} at most; say it in short.", path=path
        )
    return text


def _plain(value: object) -> str | None:
    """A value as a text; None where it is a list or a mapping."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime.date):
        return value.isoformat()
    return str(value).strip() if isinstance(value, str | int | float) else None


def write_template(path: Path, checklists: Sequence[Checklist]) -> None:
    """An empty study.yaml: each key with what to write, and the items that it answers."""
    if path.exists():
        raise UserError(f"{path} is there already and may be filled in; move it, or give another --exp_dir.", path=path)
    lines = [
        "# What only people know of a study. `ssast report RUNS --study_file study.yaml` puts it into the checklists.",
        "# An answer is a short text. What stays empty stays open there: write `none` or `not done` where that is so.",
        "# Text with a colon or a # goes into quotes, or below `key: |`, two spaces to the right.",
        "",
    ]
    for key, asks in QUESTIONS.items():
        lines += [f"# {asks} ({_answered(key, checklists)})", f"{key}:", ""]
    lines += [
        "# Any other item by its number, such as",
        f"# {BY_NUMBER}:",
        "#   tripod 9c: text",
        "#   probast E4.6: text",
    ]
    with atomic_file(path) as unfinished:
        unfinished.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _answered(key: str, checklists: Sequence[Checklist]) -> str:
    found = [
        f"{checklist.name} {', '.join(numbers)}"
        for checklist in checklists
        if (numbers := [item.number for item in checklist.items if key in item.keys])
    ]
    return "; ".join(found)
