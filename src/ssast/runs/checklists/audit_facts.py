"""Say what the records know of what the audit found in the data: traits that tell labels, people in both splits, leaks.

Every function takes the records of all runs and gives None where they do not know.
"""

from collections.abc import Mapping
from typing import Any

from ssast.pages.checklist_sheet import Statement
from ssast.pages.tables import counted
from ssast.runs.checklists.items import Knowledge
from ssast.runs.checklists.records import Records, RunFolder
from ssast.runs.checklists.score_facts import heard_in_training
from ssast.safe_reading import brief, some

_MOST_LABELS = 12


def traits_known(records: Records) -> Knowledge | None:
    """Whether sound tells a label without the voice being heard."""
    found = []
    for run in records.having("audit.json"):
        audit = run.file("audit.json")
        told = [
            f"{brief(label)} by {brief(name)}"
            for label, own in audit["labels"].items()
            for name, entry in own["traits"].items()
            if entry.get("beyond_luck") == "yes"
        ]
        text = (
            f"The audit found labels told beyond luck: {some(told, _MOST_LABELS)}." if told else "The audit found no "
        )
        found.append(run.state(text if told else f"{text}label that a trait of the recordings tells.", "audit.html"))
    return Knowledge(tuple(found)) if found else None


def apart_known(records: Records) -> Knowledge | None:
    """Whether the audit of these very tables found no recording and no person in both splits."""
    found: list[Statement] = []
    lacks = "Give the folder of `ssast audit` over the same tables too, which looks for people in both."
    for run in records.trained:
        clips = run.kept("finetune", "clips")
        if not clips.get("test"):
            continue
        found.append(run.state(f"Tested on {counted(clips['test'], 'recording')} of a table of their own.", "run.yaml"))
        for audited in records.having("audit.json"):
            if _is_of_the_same(audited, run):
                text, is_clean = _both(audited.file("audit.json"))
                found.append(audited.state(text, "audit.html"))
                lacks = "" if is_clean else "Say what was done about what the audit found."
    lacks = " ".join(filter(None, [lacks, heard_in_training(records)]))
    return Knowledge(tuple(found), lacks) if found else None


def _is_of_the_same(audited: RunFolder, trained: RunFolder) -> bool:
    """Whether an audit looked at the tables that a model was trained and tested with, by their contents."""
    if "audit" not in audited.records:
        return False
    tables = {value for name, value in trained.kept("finetune", "files").items() if str(name).endswith(".csv")}
    return bool(tables) and tables <= set(audited.kept("audit", "files").values())


def _both(audit: Mapping[str, Any]) -> tuple[str, bool]:
    """What the audit says of the two splits, and whether it could look for people and found nothing."""
    across = {brief(kind): len(own["found"]) for kind, own in audit["leaks"].items() if "both splits" in kind}
    if across:
        return f"The audit found: {some([f'{kind} ({count})' for kind, count in across.items()])}.", False
    if audit["subjects"] is None:
        return "The audit found no recording in both splits; nobody is named, so people could not be looked for.", False
    return "The audit found no recording, no sound and no person in both splits.", True


def leaks_known(records: Records) -> Knowledge | None:
    """The rows of the leak taxonomy, as the audit fills them."""
    found = []
    for run in records.having("audit.json"):
        for row in run.file("audit.json").get("taxonomy") or []:
            text = f"{brief(row['row'])}: {brief(row['status'])}. {brief(row['what'], 600)}"
            found.append(run.state(text, "audit.html, How data can leak"))
    return Knowledge(tuple(found)) if found else None
