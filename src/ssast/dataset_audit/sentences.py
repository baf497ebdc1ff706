"""Explain the numbers of an audit in plain sentences."""

from ssast.dataset_audit.audit_results import AuditResults, KindShare, Measured, TraitResult
from ssast.dataset_audit.terms import (
    MEASURE_NAMES,
    MOST_TOLD,
    article,
    between,
    capital,
    flagged,
    of_model,
    people,
    spoken,
    titled,
    who,
)
from ssast.dataset_audit.traits import MORE, RESOLUTION, UNITS
from ssast.pages.sound_finding_sentences import finding_sentences
from ssast.pages.tables import counted, number

STEPS_OF_STRENGTH = {"auc": (0.6, 0.7, 0.8), "spearman": (0.15, 0.3, 0.5)}
DEGREES = ("faintly", "somewhat", "clearly", "strongly")
LESS = {
    "duration": "shorter recordings",
    "loudness": "quieter recordings",
    "noise_floor": "recordings with less noise in the pauses",
    "bandwidth": "recordings with fewer high frequencies",
    "digital_silence": "recordings with less digital silence",
}
ACROSS = ("uid in both splits", "subject in both splits", "sound in both splits")
HOW_TO_READ = {
    "auc": "AUC: of a clip with the label and one without, how often the trait alone puts the first one first; "
    "0.5 is a coin, 1 gives the label away.",
    "spearman": "Rank correlation: how closely the order of the clips by the trait alone follows their order by the "
    "label; 0 is nothing, 1 gives the label away.",
}


def degree(value: float, measure: str) -> str:
    """How well, in one word."""
    return DEGREES[sum(value >= step for step in STEPS_OF_STRENGTH[measure])]


def size_words(audit: AuditResults) -> str:
    """What was looked at."""
    whose = f" of {people(audit)}" if audit["subjects"] is not None else ""
    splits = ", ".join(f"{count} in {name}" for name, count in audit["splits"].items())
    return (
        f"{counted(audit['n'], 'clip')}{whose} ({splits}) were listened to; {counted(len(audit['traits']), 'trait')} "
        f"of the recordings and the csv were held against {counted(len(audit['labels']), 'label')}."
    )


def audit_summary(audit: AuditResults) -> list[str]:
    """The answer in plain sentences, the most important first."""
    found = flagged(audit)
    of_sound = [one for one in found if audit["traits"][one[1]]["source"] == "recording"]
    sentences = [
        size_words(audit),
        leak_sentence(audit),
        *finding_sentences(audit.get("doubts", {}), audit["n"], "clips"),
    ]
    sentences.append(_answer(audit, of_sound))
    sentences += [told_sentences(audit, label, name) for label, name in _first_of_each(of_sound)[:MOST_TOLD]]
    sentences.append(_of_columns(audit, [one for one in found if one not in of_sound], also=bool(of_sound)))
    sentences += [_of_forms(audit), _unsure(audit, flagged(audit, "unsure")), _tiny(audit, flagged(audit, "tiny"))]
    model = [
        of_model(audit, label, matched)
        for label, name in found
        for matched in audit["labels"][label]["matched"]
        if matched["on"] == name
    ]
    sentences += [sentence for sentence in model if sentence][:MOST_TOLD]
    sentences += [f"{name}: {why}." for name, why in audit["left_out"].items() if name in audit["traits"]]
    return [sentence for sentence in sentences if sentence]


def _first_of_each(found: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The strongest trait of each label."""
    first: dict[str, str] = {}
    for label, name in found:
        first.setdefault(label, name)
    return list(first.items())


def _of_columns(audit: AuditResults, found: list[tuple[str, str]], *, also: bool) -> str:
    """Which columns tell labels, in one sentence; those that are another form of a label have one of their own."""
    first = _first_of_each([pair for pair in found if not _entry(audit, *pair)["is_form"]])[:MOST_TOLD]
    if not first:
        return ""
    told_sentences = [
        f"{titled(name, audit)} tells {who(label, audit)} {_value(audit, label, name)}" for label, name in first
    ]
    return (
        f"What is written down beside the recordings tells labels{' too' if also else ''}: {'; '.join(told_sentences)}."
    )


def _of_forms(audit: AuditResults) -> str:
    """Which columns are likely another form of a label, in one sentence."""
    found = [(label, name) for label, name in flagged(audit) if _entry(audit, label, name)["is_form"]]
    told_sentences = [
        f"{titled(name, audit)} of {label!r} {_value(audit, label, name)}" for label, name in found[:MOST_TOLD]
    ]
    more = f", and {counted(len(found) - MOST_TOLD, 'more pair')}" if len(found) > MOST_TOLD else ""
    return f"Another form of the label itself, it seems: {', '.join(told_sentences)}{more}." if found else ""


def _unsure(audit: AuditResults, found: list[tuple[str, str]]) -> str:
    """What is above luck, but with an interval that leaves it open."""
    if not found:
        return ""
    first = _first_of_each(found)
    shown = [
        f"{who(label, audit)} by {spoken(name, audit)} ({MEASURE_NAMES[audit['measure']]} {number(entry['value'], 2)}, "
        f"luck reaches {number(entry['chance'], 2)})"
        for label, name in first[:MOST_TOLD]
        for entry in [_entry(audit, label, name)]
    ]
    more = f", and {counted(len(first) - MOST_TOLD, 'more label')}" if len(first) > MOST_TOLD else ""
    return f"Not sure, though it looks like more than luck: {'; '.join(shown)}{more}."


def _tiny(audit: AuditResults, found: list[tuple[str, str]]) -> str:
    """What is beyond luck by differences too small to be told apart."""
    first = _first_of_each(found)[:MOST_TOLD]
    return " ".join(told_sentences(audit, label, name) for label, name in first)


def _entry(audit: AuditResults, label: str, name: str) -> TraitResult:
    return audit["labels"][label]["traits"][name]


def _value(audit: AuditResults, label: str, name: str) -> str:
    return f"({MEASURE_NAMES[audit['measure']]} {number(_entry(audit, label, name)['value'], 2)})"


def leak_sentence(audit: AuditResults) -> str:
    """What the splits share."""
    leaks = audit["leaks"]
    across = [f"{len(leaks[kind]['found'])} x {kind}" for kind in ACROSS if kind in leaks]
    within = len(leaks["same sound"]["found"]) if "same sound" in leaks else 0
    copies = "1 clip is a copy" if within == 1 else f"{within} clips are copies"
    same = f" Inside a split {copies} of another." if within else ""
    if len(audit["splits"]) < 2:
        return f"One csv was given, so nothing can be in two splits.{same}"
    if across:
        return (
            f"There is a leak: {', '.join(across)}. Scores on the test csv are too good as long as it is there.{same}"
        )
    if audit["subjects"] is None:
        return f"No sound is in both splits; whether a person is, cannot be told without a subject column.{same}"
    return f"No {audit['unit']} and no sound is in both splits.{same}"


def _answer(audit: AuditResults, found: list[tuple[str, str]]) -> str:
    """Whether the recordings themselves, columns apart, tell any label."""
    tested = [own for own in audit["labels"].values() if own["traits"]]
    if not tested:
        return "No label could be tested: see below."
    if not found:
        levels = [entry["chance"] for own in tested for entry in own["traits"].values()]
        middle = sorted(levels)[len(levels) // 2]
        return (
            "Nothing that was measured of the recordings surely tells a label beyond luck, "
            f"which alone reaches {article(MEASURE_NAMES[audit['measure']])} of about {number(middle, 2)} here."
        )
    labels = list(dict.fromkeys(label for label, _ in found))
    return (
        f"{len(labels)} of {counted(len(tested), 'label')} can be told, beyond luck, from something about the "
        "recordings that takes no listening to the voice."
    )


def told_sentences(audit: AuditResults, label: str, name: str) -> str:
    """What one trait tells of one label, and what that means."""
    entry, measure = _entry(audit, label, name), audit["measure"]
    subject = capital(spoken(name, audit))
    if entry["value"] is None:
        return f"{subject} cannot be held against {label!r}: too few clips have both."
    value, luck = f"{MEASURE_NAMES[measure]} {number(entry['value'], 2)}{between(entry)}", number(entry["chance"], 2)
    if entry["beyond_luck"] == "no":
        return f"{subject} alone does not tell {who(label, audit)} beyond luck: {value}; luck reaches {luck}."
    if entry["beyond_luck"] == "unsure":
        return (
            f"{subject} alone may tell {who(label, audit)}: {value}, luck reaches {luck}; {_why_unsure(audit, entry)}."
        )
    if entry["beyond_luck"] == "tiny":
        finest = f"{RESOLUTION[name]:g} {UNITS[name]}"
        return (
            f"{subject} tells {who(label, audit)} mostly by differences of at most {finest}, which is as fine as it is "
            f"measured ({value}; luck reaches {luck}): no finding."
        )
    start = (
        f"{subject} alone tells {who(label, audit)}, {degree(entry['value'], measure)}: {value}; luck reaches {luck}."
    )
    end = "It may be another form of the label itself." if entry["is_form"] else "A model may judge by it."
    return " ".join(filter(None, [start, direction(audit, label, name), end]))


def _why_unsure(audit: AuditResults, entry: Measured) -> str:
    nothing = 0.5 if audit["loss"] == "BCE" else 0
    if entry["interval"] is None:
        return f"there are too few {audit['unit']}s for an interval"
    return f"the interval reaches down to {nothing:g}"


def direction(audit: AuditResults, label: str, name: str) -> str:
    """Who has the label: those with more, with less, or of which kind."""
    entry, is_value = audit["labels"][label]["traits"][name], audit["loss"] == "MSE"
    verb = "have higher values" if is_value else "have the label more often"
    if entry["way"] == "amount":
        words = MORE if entry["rises"] else LESS
        fallback = f"clips with {'higher' if entry['rises'] else 'lower'} {name}"
        known = audit["traits"][name]["source"] == "recording"
        return f"{capital(words[name] if known else fallback)} {verb}."
    kinds = [kind for kind in entry["kinds"] if kind["n"] >= max(3, 0.02 * audit["labels"][label]["n"])]
    if len(kinds) < 2:
        return ""
    top, low = max(kinds, key=lambda kind: kind["mean"]), min(kinds, key=lambda kind: kind["mean"])
    if _share(top, is_value) == _share(low, is_value):
        return ""
    return f"Most at {_kind(top, name, is_value)}, least at {_kind(low, name, is_value)}."


def _kind(kind: KindShare, name: str, is_value: bool) -> str:
    unit = f" {UNITS[name]}" if name in UNITS and kind["name"][-1:].isdigit() else ""
    return f"{kind['name']}{unit} ({_share(kind, is_value)} of {counted(kind['n'], 'clip')})"


def _share(kind: KindShare, is_value: bool) -> str:
    return f"mean {number(kind['mean'], 2)}" if is_value else f"{kind['mean']:.0%}"
