"""Go through the ways in which data can leak, as Kapoor and Narayanan name them, and say of each what can be seen.

Kapoor and Narayanan, Leakage and the reproducibility crisis in machine-learning-based science, Patterns 2023.
"""

import datetime
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from ssast import redaction
from ssast.data.tables.people import across, cell_name, find_all_people, plain_name
from ssast.data.tables.targets import label_values
from ssast.dataset_audit.audit_results import AuditResults, LeakRow
from ssast.dataset_audit.survey import Finding
from ssast.dataset_audit.terms import flagged
from ssast.pages.tables import counted
from ssast.safe_reading import some

FOUND, NOT_FOUND, NOT_SEEN = "found", "looked at, nothing found", "cannot be seen"
LATER, PRETRAINED = "L3.1 recordings later than the test", "L3.2 people of the pretraining"
DATES = ("recorded", "recorded_on", "recorded_at", "recording_date", "date_recorded")
_MOST_SHOWN = 6


@dataclass(frozen=True)
class Seen:
    """What there is to look at: the splits, what was found in them, a model's record, what its base was pretrained on.

    `normalised` says whether the model's mean and deviation are the published ones, `folds` whether it was tested in
    folds; None where no run was given. `note` says why rows of the pretraining are not known.
    """

    splits: Mapping[str, pd.DataFrame]
    labels: Sequence[str]
    findings: Sequence[Finding]
    normalised: bool | None = None
    folds: bool | None = None
    pretraining: Sequence[pd.DataFrame] = field(default_factory=list)
    note: str = ""


def leak_rows(audit: AuditResults, seen: Seen) -> list[LeakRow]:
    """Every way to leak with its status: found, looked at and nothing found, or cannot be seen by us."""
    rows = {
        "L1.1 no test set": _test_set(seen),
        "L1.2 preparation that knows the test": _preparation(seen),
        "L1.3 choices that know the test": _choices(),
        "L1.4 the same recording twice": _twice(audit, seen),
        "L2 what a model must not use": _must_not(audit),
        LATER: _later(seen),
        "L3.2 the same people in both": _people(audit, seen),
        PRETRAINED: _pretrained(seen),
        "L3.3 a test unlike the people to come": _unlike(seen),
    }
    return [{"row": row, "status": status, "what": what} for row, (status, what) in rows.items()]


def leak_summary(rows: Sequence[LeakRow]) -> str:
    """How many ways have which status, and which were found, in one sentence."""
    names = {status: [row["row"] for row in rows if row["status"] == status] for status in (FOUND, NOT_FOUND, NOT_SEEN)}
    found = f" ({'; '.join(names[FOUND])})" if names[FOUND] else ""
    return (
        f"Ways to leak: {len(names[FOUND])} found{found}, {len(names[NOT_FOUND])} looked at with nothing found, "
        f"{len(names[NOT_SEEN])} that cannot be seen here."
    )


Told = tuple[str, str]
"""A status, and the sentence that says what of it."""


def _test_set(seen: Seen) -> Told:
    if seen.folds:
        return NOT_FOUND, "The run was tested in folds: each recording by a model that was not trained on it."
    if len(seen.splits) < 2:
        return NOT_SEEN, "One csv was given, so whether a test was held out of the training is not known here."
    sizes = ", ".join(f"{counted(len(frame), 'recording')} in {name}" for name, frame in seen.splits.items())
    return NOT_FOUND, f"There is a test of its own: {sizes}."


def _preparation(seen: Seen) -> Told:
    if seen.normalised is None:
        return NOT_SEEN, "No fine-tuned model was given (--runs), so how its recordings were normalised is not known."
    if seen.normalised:
        return NOT_FOUND, "Recordings are normalised by the published mean and deviation, which know no recording here."
    return NOT_SEEN, "Mean and deviation were given by hand; ssast stats measures them on train.csv alone."


def _choices() -> Told:
    return NOT_SEEN, (
        "No features are chosen: the model hears the whole spectrogram. How often layers, settings or models were "
        "chosen by their score on this test is in no record; ssast sweep chooses on validation rows."
    )


def _twice(audit: AuditResults, seen: Seen) -> Told:
    kinds = ("uid in both splits", "sound in both splits", "same sound", "same sound, other labels")
    counts = {kind: sum(one.finding == kind for one in seen.findings) for kind in kinds}
    if shown := [f"{kind} ({count})" for kind, count in counts.items() if count]:
        return FOUND, f"{', '.join(shown)}."
    return NOT_FOUND, (
        f"{counted(audit['n'], 'recording')} were compared sample by sample. A copy that was cut, filtered or coded "
        "anew would not be seen."
    )


def _must_not(audit: AuditResults) -> Told:
    told = flagged(audit)
    if told:
        pairs = [f"{label} by {audit['traits'][name]['title']}" for label, name in told]
        return FOUND, (
            f"The recording or the table tells a label without the voice, beyond luck: {some(pairs, _MOST_SHOWN)}."
        )
    if not audit["looks"]:
        return NOT_SEEN, "No trait varies between these recordings, so none could be held against a label."
    return NOT_FOUND, f"{counted(audit['looks'], 'pair')} of label and trait were looked at; none is told beyond luck."


def _later(seen: Seen) -> Told:
    if len(seen.splits) < 2:
        return NOT_SEEN, "One csv was given, so no training is known that could be later than a test."
    dates = {name: list(_dates(frame)) for name, frame in seen.splits.items()}
    if any(not found for found in dates.values()):
        return (
            NOT_SEEN,
            f"No column says when recordings were made; {DATES[0]}, as 2024-05-31, in both csv files would.",
        )
    *_, test = dates
    known = {name: [date for date in found if date is not None] for name, found in dates.items()}
    unread = sum(len(found) - len(known[name]) for name, found in dates.items())
    missing = f" {counted(unread, 'date')} cannot be read as 2024-05-31." if unread else ""
    if not all(known.values()):
        return NOT_SEEN, f"The dates of a csv cannot be read; write them as 2024-05-31.{missing}"
    first = min(known[test])
    later = sum(date > first for name, found in known.items() if name != test for date in found)
    if later:
        when = "" if redaction.redaction_in_use() else f" ({first.isoformat()})"
        return FOUND, (
            f"{counted(later, 'training recording')} bear a date after the first of the test{when}, so the score is "
            f"not one of recordings still to come.{missing}"
        )
    status = NOT_SEEN if unread else NOT_FOUND
    return status, f"No training recording is known to be later than the first of the test.{missing}"


def _dates(frame: pd.DataFrame) -> Iterator[datetime.date | None]:
    """The date of each row, None where it is empty or cannot be read; nothing where no column has dates."""
    columns = [name for wanted in DATES for name in frame.columns if plain_name(name) == wanted]
    for cell in frame[columns[0]].tolist() if columns else ():
        yield _date(cell)


def _date(cell: Any) -> datetime.date | None:
    text = cell_name(cell)
    if text is None:
        return None
    try:
        return datetime.datetime.fromisoformat(text.removesuffix(".0").strip()).date()
    except ValueError:
        return None


def _people(audit: AuditResults, seen: Seen) -> Told:
    if len(seen.splits) < 2:
        return NOT_SEEN, "One csv was given, so nobody can be in two."
    shared = sum(one.finding == "subject in both splits" for one in seen.findings)
    alike = sum(one.finding == "two spellings" and " and " in one.split for one in seen.findings)
    if shared or alike:
        parts = [f"{counted(shared, audit['unit'])} in both splits"] if shared else []
        parts += [f"{counted(alike, 'name')} that may be another spelling of one in the other split"] if alike else []
        return FOUND, f"{' and '.join(parts)}."
    if any(one.finding == "nobody named" for one in seen.findings):
        return NOT_SEEN, "A csv does not say who speaks, so people in both splits go unseen."
    return NOT_FOUND, f"No {audit['unit']} of {audit['subjects']} is in both splits."


def _pretrained(seen: Seen) -> Told:
    if not seen.pretraining:
        return NOT_SEEN, _not_known(seen.note) or (
            "What the base was pretrained on was not given; --pretraining takes the folder of ssast pretrain, or a csv."
        )
    *_, test = seen.splits.values()
    uids = len(test.index.intersection([uid for frame in seen.pretraining for uid in frame.index]))
    here, *there = find_all_people([test, *seen.pretraining])
    named = {name for people in there if people is not None for name in people.known}
    people = here.known if here else set()
    same, alike = len(people & named), len(list(across(people - named, named)))
    counts = {"recording": uids, "person by name": same, "name in another spelling": alike}
    if shown := [f"{count} x {what}" for what, count in counts.items() if count]:
        return (
            FOUND,
            f"Of the test, the base heard in pretraining: {', '.join(shown)}. {_not_known(seen.note)}".rstrip(),
        )
    if seen.note or not people or not named:
        why = _not_known(seen.note) or "People are not named in both tables."
        return NOT_SEEN, f"No uid of the test is among those of the pretraining that are known. {why}"
    unit = here.unit if here else "person"
    return NOT_FOUND, f"None of {counted(len(people), unit)} of the test is in the pretraining."


def _not_known(note: str) -> str:
    return f"Not all that the base heard is known, since {note}." if note else ""


def _unlike(seen: Seen) -> Told:
    shares = {name: label_values(frame, list(seen.labels)) for name, frame in seen.splits.items()}
    shown = []
    for at, label in enumerate(seen.labels[:_MOST_SHOWN]):
        own = [f"{_share(values[:, at])} in {name}" for name, values in shares.items()]
        shown.append(f"{label}: {', '.join(own)}")
    return NOT_SEEN, (
        f"Whom the test stands for only people can say. Means of the labels: {'; '.join(shown)}; where they are not "
        "those of the people to come, give --prevalence."
    )


def _share(values: Any) -> str:
    known = values[~np.isnan(values)]
    return f"{known.mean():.2f}" if len(known) else "none"
