"""An audit's numbers in; what they mean and what to do next, in plain sentences, out."""

from collections.abc import Collection, Mapping
from typing import Any

from ssast.report.audit_traits import MORE, UNITS
from ssast.report.tables import counted, number, span

NAMES = {"auc": "AUC", "spearman": "rank correlation"}
FEW_SUBJECTS = 10
MOST_TOLD = 3
"""Labels that the summary speaks of one by one."""
ITSELF = {"auc": 0.99, "spearman": 0.97}
"""A column that tells a label this well is likely another form of it."""
STEPS = {"auc": (0.6, 0.7, 0.8), "spearman": (0.15, 0.3, 0.5)}
DEGREES = ("faintly", "somewhat", "clearly", "strongly")
LESS = {
    "duration": "shorter recordings",
    "loudness": "quieter recordings",
    "noise_floor": "recordings with less noise in the pauses",
    "bandwidth": "recordings with fewer high frequencies",
}
ADVICE = {
    "duration": "Cut all recordings to one length (--clip_length), pass --mask_padding True, or let all speakers say "
    "the same text.",
    "loudness": "Bring all recordings to one level before training, or train with --gain 1 --gain_db 12.",
    "noise_floor": "Record all groups in the same room, or train with --gauss 1, which adds noise to every clip.",
    "bandwidth": "Filter all recordings down to the narrowest band, and bring them to its rate (--resample_rate).",
    "sample_rate": "Record all groups at one rate; a lower rate leaves an empty upper band that a model sees at once.",
    "channels": "Record all groups alike, or bring all recordings to one channel before training.",
    "container": "Store all recordings in one lossless format; lossy coding leaves marks that a model can learn.",
}
OF_A_COLUMN = (
    "what can be heard (a device, a room, a session, an age) balance over the groups, or test on unseen values of it; "
    "what the label was made from (a rating, a diagnosis) is no confound: leave it out with --columns."
)
READING = {
    "auc": "AUC: of a clip with the label and one without, how often the trait alone puts the first one first; "
    "0.5 is a coin, 1 gives the label away.",
    "spearman": "Rank correlation: how closely the order of the clips by the trait alone follows their order by the "
    "label; 0 is nothing, 1 gives the label away.",
}


def who(label: str, audit: Mapping[str, Any]) -> str:
    """What a trait tells."""
    return f"who has {label!r}" if audit["loss"] == "BCE" else f"the value of {label!r}"


def degree(value: float, measure: str) -> str:
    """How well, in one word."""
    return DEGREES[sum(value >= step for step in STEPS[measure])]


def spoken(name: str, audit: Mapping[str, Any]) -> str:
    """A trait as the subject of a sentence."""
    own = audit["traits"][name]
    return f"the recording's {own['title']}" if own["source"] == "recording" else f"the column {name}"


def size(audit: Mapping[str, Any]) -> str:
    """What was looked at."""
    whose = f" of {audit['subjects']} {audit['unit']}s" if audit["subjects"] is not None else ""
    splits = ", ".join(f"{count} in {name}" for name, count in audit["splits"].items())
    return (
        f"{audit['n']} clips{whose} ({splits}) were listened to; {counted(len(audit['traits']), 'trait')} of the "
        f"recordings and the csv were held against {counted(len(audit['labels']), 'label')}."
    )


def _are(things: Collection[Any]) -> str:
    return "is" if len(things) == 1 else "are"


def flagged(audit: Mapping[str, Any], verdict: str = "yes") -> list[tuple[str, str]]:
    """Labels and the traits that tell them beyond luck, or with the verdict "unsure" may, the strongest first."""
    found = [
        (entry["value"], label, name)
        for label, own in audit["labels"].items()
        for name, entry in own["traits"].items()
        if entry.get("beyond_luck") == verdict
    ]
    return [(label, name) for _, label, name in sorted(found, key=lambda one: -one[0])]


def summary(audit: Mapping[str, Any]) -> list[str]:
    """The answer in plain sentences, the most important first."""
    found = flagged(audit)
    of_sound = [one for one in found if audit["traits"][one[1]]["source"] == "recording"]
    sentences = [size(audit), leak_sentence(audit), _answer(audit, of_sound)]
    sentences += [told(audit, label, name) for label, name in _first_of_each(of_sound)[:MOST_TOLD]]
    sentences.append(_of_columns(audit, [one for one in found if one not in of_sound]))
    sentences.append(_unsure(audit, flagged(audit, "unsure")))
    of_model = [
        _of_model(audit, label, matched)
        for label, name in found
        for matched in audit["labels"][label]["matched"]
        if matched["on"] == name
    ]
    sentences += [sentence for sentence in of_model if sentence][:MOST_TOLD]
    return [sentence for sentence in sentences if sentence]


def _first_of_each(found: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The strongest trait of each label."""
    first: dict[str, str] = {}
    for label, name in found:
        first.setdefault(label, name)
    return list(first.items())


def _of_columns(audit: Mapping[str, Any], found: list[tuple[str, str]]) -> str:
    """Which columns tell labels, in one sentence."""
    if not found:
        return ""
    told = [f"{name} {label!r}" for label, name in _first_of_each(found)[:MOST_TOLD]]
    name = NAMES[audit["measure"]]
    values = [number(audit["labels"][label]["traits"][name]["value"], 2) for label, name in _first_of_each(found)]
    pairs = ", ".join(f"{one} ({name} {value})" for one, value in zip(told, values, strict=False))
    return f"Columns of the csv tell labels too: {pairs}. One that the label was made from is no confound."


def _unsure(audit: Mapping[str, Any], found: list[tuple[str, str]]) -> str:
    """What is above luck, and of too few people or clips to be called found."""
    if not found:
        return ""
    first = _first_of_each(found)
    shown = [
        f"{who(label, audit)} by {spoken(name, audit)} ({NAMES[audit['measure']]} {number(entry['value'], 2)}, "
        f"luck reaches {number(entry['chance'], 2)})"
        for label, name in first[:MOST_TOLD]
        for entry in [audit["labels"][label]["traits"][name]]
    ]
    more = f", and {len(first) - MOST_TOLD} more labels" if len(first) > MOST_TOLD else ""
    return f"There are too few {audit['unit']}s to be sure of what looks like more than luck: {'; '.join(shown)}{more}."


def leak_sentence(audit: Mapping[str, Any]) -> str:
    """What the splits share."""
    leaks = audit["leaks"]
    across = [f"{len(leaks[kind]['found'])} x {kind}" for kind in ACROSS if kind in leaks]
    within = len(leaks.get("same sound", {}).get("found", ()))
    same = f" Inside a split {within} clips are copies of another." if within else ""
    if len(audit["splits"]) < 2:
        return f"One csv was given, so nothing can be in two splits.{same}"
    if across:
        return (
            f"There is a leak: {', '.join(across)}. Scores on the test csv are too good as long as it is there.{same}"
        )
    if audit["subjects"] is None:
        return f"No sound is in both splits; whether a person is, cannot be told without a subject column.{same}"
    return f"No {audit['unit']} and no sound is in both splits.{same}"


ACROSS = ("uid in both splits", "subject in both splits", "sound in both splits")


def _answer(audit: Mapping[str, Any], found: list[tuple[str, str]]) -> str:
    """Whether the recordings themselves, columns apart, tell any label."""
    tested = [own for own in audit["labels"].values() if own["traits"]]
    if not tested:
        return "No label could be tested: see below."
    if not found:
        levels = [entry["chance"] for own in tested for entry in own["traits"].values()]
        middle = sorted(levels)[len(levels) // 2]
        return (
            "Nothing that was measured of the recordings surely tells a label beyond luck, "
            f"which alone reaches {_a(NAMES[audit['measure']])} of about {number(middle, 2)} here."
        )
    labels = list(dict.fromkeys(label for label, _ in found))
    return (
        f"{len(labels)} of {counted(len(tested), 'label')} can be told, beyond luck, from something about the "
        "recordings that takes no listening to the voice."
    )


def told(audit: Mapping[str, Any], label: str, name: str) -> str:
    """What one trait tells of one label, and what that means."""
    entry, measure = audit["labels"][label]["traits"][name], audit["measure"]
    if entry["value"] is None:
        return f"{_capital(spoken(name, audit))} cannot be held against {label!r}: too few clips have both."
    value = f"{NAMES[measure]} {number(entry['value'], 2)}{_between(entry)}"
    if entry["beyond_luck"] == "no":
        return (
            f"{_capital(spoken(name, audit))} alone does not tell {who(label, audit)} beyond luck: {value}; "
            f"luck reaches {number(entry['chance'], 2)}."
        )
    if entry["beyond_luck"] == "unsure":
        return (
            f"{_capital(spoken(name, audit))} alone may tell {who(label, audit)}: {value}, above the "
            f"{number(entry['chance'], 2)} that luck reaches, but there are too few {audit['unit']}s to be sure."
        )
    start = (
        f"{_capital(spoken(name, audit))} alone tells {who(label, audit)}, {degree(entry['value'], measure)}: {value}"
    )
    if audit["traits"][name]["source"] != "recording" and entry["value"] >= ITSELF[measure]:
        end = "It may be another form of the label itself."
    else:
        end = "A model may judge by it."
    return f"{start}; luck reaches {number(entry['chance'], 2)}. {direction(audit, label, name)} {end}"


def direction(audit: Mapping[str, Any], label: str, name: str) -> str:
    """Who has the label: those with more, with less, or of which kind."""
    entry, is_value = audit["labels"][label]["traits"][name], audit["loss"] == "MSE"
    verb = "have higher values" if is_value else "have the label more often"
    if entry["way"] == "amount":
        words = MORE if entry["rises"] else LESS
        fallback = f"clips with {'higher' if entry['rises'] else 'lower'} {name}"
        known = audit["traits"][name]["source"] == "recording"
        return f"{_capital(words[name] if known else fallback)} {verb}."
    kinds = [kind for kind in entry["kinds"] if kind["n"] >= max(3, 0.02 * audit["labels"][label]["n"])]
    if len(kinds) < 2:
        return ""
    top, low = max(kinds, key=lambda kind: kind["mean"]), min(kinds, key=lambda kind: kind["mean"])
    return f"Most at {_kind(top, name, is_value)}, least at {_kind(low, name, is_value)}."


def _kind(kind: Mapping[str, Any], name: str, is_value: bool) -> str:
    unit = f" {UNITS[name]}" if name in UNITS and kind["name"][-1:].isdigit() else ""
    share = f"mean {number(kind['mean'], 2)}" if is_value else f"{kind['mean']:.0%}"
    return f"{kind['name']}{unit} ({share} of {kind['n']} clips)"


def _between(entry: Mapping[str, Any]) -> str:
    return f" ({span(entry['interval'], 2)})" if entry["interval"] else ""


def _a(name: str) -> str:
    return f"{'an' if name[0] in 'AEIOU' else 'a'} {name}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def matched_sentences(audit: Mapping[str, Any], label: str, found: Mapping[str, Any]) -> list[str]:
    """How many clips remain once they are alike in a trait, and what is still told on them."""
    title, cut = _titled(found["on"], audit), "" if audit["loss"] == "BCE" else " (above and below its median)"
    kept = (
        f"Each clip with {label!r}{cut} was paired with one without it that is alike in {title}: "
        f"{found['kept']} of {found['n']} clips remain, of {found['kept_subjects']} {audit['unit']}s."
    )
    if audit["unit"] == "clip":
        kept = kept.partition(", of ")[0] + "."
    if not found["is_enough"]:
        why = "Clips with and without the label hardly overlap in it, or there are too few"
        return [kept, f"{why}: this data set cannot tell {label!r} from {title}."]
    return [sentence for sentence in (kept, _of_trait(audit, found), _of_model(audit, label, found)) if sentence]


def _titled(name: str, audit: Mapping[str, Any]) -> str:
    own = audit["traits"][name]
    return str(own["title"]) if own["source"] == "recording" else f"the column {name}"


def _of_trait(audit: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    before, after = found["trait"]["before"], found["trait"]["after"]
    if before["value"] is None or after["value"] is None:
        return ""
    nothing = 0.5 if audit["loss"] == "BCE" else 0.0
    is_left = after["interval"] is not None and after["interval"][0] > nothing
    end = "the pairs still differ in it, so the matching is not perfect" if is_left else "so the matching did its work"
    return (
        f"{_capital(_titled(found['on'], audit))} itself tells the label with {NAMES[audit['measure']]} "
        f"{number(before['value'], 2)} before and {number(after['value'], 2)}{_between(after)} after: {end}."
    )


def _of_model(audit: Mapping[str, Any], label: str, found: Mapping[str, Any]) -> str:
    if not found["model"] or not found["is_enough"]:
        return ""
    before, after = found["model"]["before"], found["model"]["after"]
    if before["value"] is None or after["value"] is None:
        return ""
    nothing = 0.5 if audit["loss"] == "BCE" else 0.0
    title = _titled(found["on"], audit)
    start = (
        f"On clips alike in {title} the model's {NAMES[audit['measure']]} for {label!r} goes from "
        f"{number(before['value'], 2)}{_between(before)} to {number(after['value'], 2)}{_between(after)}"
    )
    if after["interval"] is None:
        return f"{start}; there are too few subjects for an interval."
    if after["interval"][0] > nothing:
        return f"{start}: it still tells the label, so it hears more than {title}."
    if before["interval"] is None or before["interval"][0] <= nothing:
        return f"{start}: neither is sure with so few {audit['unit']}s."
    if after["value"] >= before["interval"][0]:
        return f"{start}: it need not have changed, but {found['kept']} clips are too few to be sure."
    return f"{start}: on {found['kept']} such clips it cannot be shown to hear anything beyond {title}."


def next_steps(audit: Mapping[str, Any]) -> list[str]:
    """What to do, a sentence or two each."""
    steps = [f"{kind}: {LEAK_ADVICE[kind]}" for kind in LEAK_ADVICE if kind in audit["leaks"]]
    names = list(dict.fromkeys(name for _, name in flagged(audit)))
    columns = [name for name in names if audit["traits"][name]["source"] != "recording"]
    steps += [f"{_capital(audit['traits'][name]['title'])}: {ADVICE[name]}" for name in names if name not in columns]
    if columns:
        steps.append(f"{', '.join(columns)}: {OF_A_COLUMN}")
    if flagged(audit):
        steps.append("Report a model's score on matched clips beside the plain one, and see ssast attention.")
    if flagged(audit, "unsure"):
        steps.append("What is unsure is not excluded: hold a model's score against it until more people tell.")
    if audit["subjects"] is not None and audit["subjects"] < FEW_SUBJECTS:
        steps.append(
            f"With {audit['subjects']} {audit['unit']}s luck reaches far: that nothing stands out proves nothing."
        )
    if audit["not_read"]:
        steps.append(
            f"{counted(len(audit['not_read']), 'recording')} could not be read and {_are(audit['not_read'])} left out: "
            f"{', '.join(list(audit['not_read'])[:MOST_TOLD])}. ssast check says why."
        )
    if audit["subjects"] is None:
        steps.append("Name whose each clip is in a column subject or speaker: without it every interval is too narrow.")
    return steps or ["Nothing stands out. What was not measured (room, text, task, site) can still matter: name it."]


LEAK_ADVICE = {
    "uid in both splits": "take the row out of one csv.",
    "subject in both splits": "give all clips of a person to one split, then train and test again.",
    "sound in both splits": "keep one of the copies, then train and test again.",
    "same sound": "keep one of the copies: it counts twice otherwise.",
    "same sound, other labels": "one of the two rows is wrong; find out which.",
}
