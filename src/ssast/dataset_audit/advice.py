"""Advise what to do about what an audit found."""

from collections.abc import Collection
from typing import Any

from ssast.dataset_audit.audit_results import AuditResults
from ssast.dataset_audit.leak_taxonomy import FOUND, LATER, PRETRAINED
from ssast.dataset_audit.terms import MOST_TOLD, capital, flagged, people
from ssast.pages.tables import counted

_FEW_SUBJECTS = 10
ADVICE = {
    "duration": "Cut all recordings to one length (--clip_length), pass --mask_padding True, or let all speakers say "
    "the same text.",
    "loudness": "Bring all recordings to one level before training, or train with --gain 1 --gain_db 12.",
    "noise_floor": "Record all groups in the same room, or train with --gauss 1, which adds noise to every clip.",
    "bandwidth": "Filter all recordings down to the narrowest band, and bring them to its rate (--resample_rate).",
    "sample_rate": "Record all groups at one rate; a lower rate leaves an empty upper band that a model sees at once.",
    "digital_silence": "Cut padding and muted stretches off all recordings alike; a model sees where they begin.",
    "channels": "Record all groups alike, or bring all recordings to one channel before training.",
    "container": "Store all recordings in one lossless format; lossy coding leaves marks that a model can learn.",
}
OF_A_FORM = (
    "if the label was made from it, it is no confound: leave it out with --columns; if not, nothing that is learned on "
    "these clips can be told from it."
)
OF_A_COLUMN = (
    "what can be heard (a device, a room, a session, an age) balance over the groups, or test on unseen values of it; "
    "what the label was made from (a rating, a diagnosis) is no confound: leave it out with --columns."
)
LEAK_ADVICE = {
    "uid in both splits": "take the row out of one csv.",
    "subject in both splits": "give all clips of a person to one split, then train and test again.",
    "sound in both splits": "keep one of the copies, then train and test again.",
    "same sound": "keep one of the copies: it counts twice otherwise.",
    "same sound, other labels": "one of the two rows is wrong; find out which.",
}


WAY_ADVICE = {
    LATER: "part the csv files by date, all training earlier, or say that the score is not one of later times.",
    PRETRAINED: "pretrain without the people of the test, or say in the paper how many of them the base has heard.",
}


def next_steps(audit: AuditResults) -> list[str]:
    """What to do, a sentence or two each."""
    steps = [f"{kind}: {LEAK_ADVICE[kind]}" for kind in LEAK_ADVICE if kind in audit["leaks"]]
    ways = [row["row"] for row in audit.get("taxonomy", []) if row["status"] == FOUND]
    steps += [f"{way.partition(' ')[2].capitalize()}: {WAY_ADVICE[way]}" for way in WAY_ADVICE if way in ways]
    names = list(dict.fromkeys(name for _, name in flagged(audit)))
    columns = [name for name in names if audit["traits"][name]["source"] != "recording"]
    told = [own["traits"] for own in audit["labels"].values()]
    forms = [name for name in columns if any(name in traits and traits[name].get("is_form") for traits in told)]
    steps += [f"{capital(audit['traits'][name]['title'])}: {ADVICE[name]}" for name in names if name not in columns]
    if forms:
        steps.append(f"{', '.join(forms)}: {OF_A_FORM}")
    if others := [name for name in columns if name not in forms]:
        steps.append(f"{', '.join(others)}: {OF_A_COLUMN}")
    if flagged(audit):
        steps.append("Report a model's score on matched clips beside the plain one, and see ssast attention.")
    if flagged(audit, "unsure"):
        steps.append("What is unsure is not excluded: hold a model's score against it until more clips tell.")
    if audit["subjects"] is not None and audit["subjects"] < _FEW_SUBJECTS:
        end = "take every number as a first look" if flagged(audit) else "that nothing stands out proves nothing"
        steps.append(f"With {people(audit)} luck reaches far: {end}.")
    if audit["not_read"]:
        steps.append(
            f"{counted(len(audit['not_read']), 'recording')} could not be read and {_are(audit['not_read'])} left out: "
            f"{', '.join(list(audit['not_read'])[:MOST_TOLD])}. ssast check says why."
        )
    if audit["subjects"] is None:
        steps.append("Name whose each clip is in a column subject or speaker: without it every interval is too narrow.")
    return steps or ["Nothing stands out. What was not measured (room, text, task, site) can still matter: name it."]


def _are(things: Collection[Any]) -> str:
    return "is" if len(things) == 1 else "are"
