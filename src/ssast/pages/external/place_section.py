"""Show how a model does in a place that it was not developed in, for the screen and for the page."""

from collections.abc import Iterator, Mapping
from typing import Any

from ssast.pages.external.sites_section import cannot_list
from ssast.pages.html import Breakable, escape, table
from ssast.pages.review_sections import with_interval
from ssast.pages.tables import UNDEFINED, counted, number, span

_PROPERTIES = {
    "loudness": "loudness [dB]",
    "noise": "noise in the pauses [dB]",
    "bandwidth": "highest frequency [Hz]",
    "brightness": "high above low frequencies [dB]",
    "length": "length [s]",
    "age": "age [years]",
}
_MEASURES = {
    "prevalence": "share with the label",
    "auc": "AUC",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "calibration_slope": "calibration slope",
    "calibration_intercept": "calibration intercept",
    "brier": "Brier",
}
_SCORES = {"scores_with": "scores of people with the label", "scores_without": "scores of people without it"}
_CARRIED = ("sensitivity", "specificity")
_WAYS = {"before": "as they are", "intercept": "new intercept", "slope and intercept": "new slope and intercept"}
_READING = (
    "Development: recordings are those that the model was trained and chosen on; measures and scores are of the people "
    "of its own test, whom it had not heard. Middle: half of the people lie below it; in brackets, where eight of ten "
    "lie. Higher here: of a person here and one of development, how often the first is higher; 50 of 100 is no shift. "
    "All intervals of differences share one correction (Bonferroni), so that luck alone names anything in at most 5 of "
    "100 sets."
)


def place_section(metrics: Mapping[str, Any]) -> str:
    """What was found in sentences, tables of measures, recordings and recalibration, and what cannot be said."""
    found = metrics.get("external")
    if not found:
        return ""
    items = "".join(f"<li>{escape(sentence)}</li>" for sentence in place_sentences(metrics))
    return (
        f"<h2>In another place than the model's own</h2><ul>{items}</ul>{_labels(found)}{_inputs(found)}"
        f'{_recalibration(found)}{cannot_list(found["cannot"])}<p class="soft">{escape(_READING)}</p>'
    )


def place_sentences(metrics: Mapping[str, Any]) -> list[str]:
    """What the carried threshold does, what differs, and what recalibration mends; the most important first."""
    found = metrics.get("external")
    if not found:
        return []
    sentences = [sentence for label, own in found["labels"].items() for sentence in _carried(label, own)]
    if found["development"]:
        named = [*_named_inputs(found), *_named_labels(found)]
        sentences += named or ["Nothing that was looked at differs beyond luck, which does not show that nothing does."]
        there = found["development"]
        sentences.append(
            f"{counted(found['looked_at'], 'comparison')} with development ({there['recordings']} recordings of "
            f"{there['people']} {there['unit']}s, {there['tested']} in its test) were looked at."
        )
    if found["recalibrated_on"]:
        sentences += [_whom(found["recalibrated_on"]), *_mended(found)]
    return sentences


def place_rows(metrics: Mapping[str, Any]) -> list[list[str]]:
    """The header and a row for everything that stands beside development, for the screen; empty without it."""
    found = metrics.get("external")
    if not found or not found["development"]:
        return []
    rows = [["", "development", "here", "difference"]]
    for name, own in found["inputs"].items():
        rows.append([_property(name), _middle(own["development"]), _middle(own["here"]), _higher(own["above"])])
    for label, own in found["labels"].items():
        for name, each in own["measures"].items():
            cells = [_flat(each["development"]), _flat(each["here"]), _flat(each["gap"])]
            rows.append([f"{label}: {_MEASURES[name]}", *cells])
        for name, each in own["scores"].items():
            cells = [_middle(each["development"]), _middle(each["here"]), _higher(each["above"])]
            rows.append([f"{label}: {_SCORES[name]}", *cells])
    return rows


def _property(name: str) -> str:
    return _PROPERTIES.get(name, name)


def _flat(found: Mapping[str, Any] | None) -> str:
    """A value and its interval in one line."""
    return with_interval(found).replace("\n", " (") + (")" if found and found["value"] is not None else "")


def _middle(found: Mapping[str, Any] | None) -> str:
    if not found:
        return UNDEFINED
    return f"{_short(found['median'])} ({_short(found['low'])} to {_short(found['high'])})"


def _short(value: float) -> str:
    """An amount in whole units where it is large, such as a frequency."""
    return f"{value:.0f}" if abs(value) >= 100 else number(value, 2)


def _higher(found: Mapping[str, Any]) -> str:
    """In how many of 100 pairs a person here is higher."""
    if found["value"] is None:
        return UNDEFINED
    low, high = (f"{100 * end:.3g}" for end in found["interval"])  # 49.8 and 50 are not the same here
    return f"higher in {100 * found['value']:.0f} of 100 ({low} to {high})"


def _carried(label: str, own: Mapping[str, Any]) -> Iterator[str]:
    """What the threshold that came with the model does here, beside what it did in development's test."""
    if not own["measures"]:
        return
    parts = []
    for name in _CARRIED:
        here, there = own["measures"][name]["here"], own["measures"][name]["development"]
        beside = f", there {number(there['value'], 2)}" if there else ""
        parts.append(f"{name} {number(here['value'], 2)} ({span(here['interval'], 2)}{beside})")
    yield f"{label}: the model's own threshold, {number(own['threshold'])}, gives here {' and '.join(parts)}."


def _named_inputs(found: Mapping[str, Any]) -> Iterator[str]:
    for name, own in found["inputs"].items():
        if own["above"]["is_told"]:
            share = own["above"]["value"]
            middles = f"middle {_short(own['here']['median'])}, there {_short(own['development']['median'])}"
            which = "higher" if share > 0.5 else "lower"
            yield f"Shift: {_property(name)} is {which} here ({middles})."


def _named_labels(found: Mapping[str, Any]) -> Iterator[str]:
    for label, own in found["labels"].items():
        for name, each in own["measures"].items():
            if each["gap"]["is_told"]:
                gap = each["gap"]
                yield (
                    f"Shift: {label}, {_MEASURES[name]}, differs from development by {number(gap['value'], 2)} "
                    f"({span(gap['interval'], 2)})."
                )
        for name, each in own["scores"].items():
            if each["above"]["is_told"]:
                which = "higher" if each["above"]["value"] > 0.5 else "lower"
                middles = (
                    f"middle {number(each['here']['median'], 2)}, there {number(each['development']['median'], 2)}"
                )
                yield f"Shift: {label}, {_SCORES[name]} are {which} here ({middles})."


def _whom(found: Mapping[str, Any]) -> str:
    return (
        f"Recalibrated on {counted(found['people'], found['unit'])} ({counted(found['recordings'], 'recording')}), a "
        f"share of {found['share']:g} drawn with seed {found['seed']}; none of them is scored."
    )


def _mended(found: Mapping[str, Any]) -> Iterator[str]:
    """Before and after recalibration, a sentence a label."""
    for label, own in found["labels"].items():
        ways = (own["recalibration"] or {}).get("ways", {})
        last = next((name for name in reversed(_WAYS) if name in ways and name != "before"), None)
        if last is None:
            continue
        before, after = ways["before"], ways[last]
        parts = [
            f"{_MEASURES[name]} {number(before[name]['value'], 2)} before and {number(after[name]['value'], 2)} after"
            for name in ("calibration_slope", "calibration_intercept", "brier", *_CARRIED)
            if before[name]["value"] is not None and after[name]["value"] is not None
        ]
        yield f"{label}, {_WAYS[last]}: {', '.join(parts)}."


def _labels(found: Mapping[str, Any]) -> str:
    rows: list[list[Any]] = []
    for label, own in found["labels"].items():
        for name, each in own["measures"].items():
            cells = [with_interval(each[where]) for where in ("development", "here", "gap")]
            rows.append([Breakable(label), _MEASURES[name], *cells])
        for name, each in own["scores"].items():
            cells = [_middle(each["development"]), _middle(each["here"]), _higher(each["above"])]
            rows.append([Breakable(label), _SCORES[name], *(cell.replace(" (", "\n(") for cell in cells)])
    head = ["label", "measure", "development", "here", "difference"]
    return f"<h3>Measures and scores</h3>{table(head, rows)}" if rows else ""


def _inputs(found: Mapping[str, Any]) -> str:
    rows = [
        [
            _property(name),
            *(_middle(own[where]).replace(" (", "\n(") for where in ("development", "here")),
            _higher(own["above"]).replace(" (", "\n("),
        ]
        for name, own in found["inputs"].items()
    ]
    head = ["recordings and people", "development: middle", "here: middle", "difference"]
    return f"<h3>Recordings and people</h3>{table(head, rows)}" if rows else ""


def _recalibration(found: Mapping[str, Any]) -> str:
    names = ("calibration_slope", "calibration_intercept", "brier", *_CARRIED)
    rows = [
        [Breakable(label), _WAYS[way], *(with_interval(measures[name]) for name in names)]
        for label, own in found["labels"].items()
        for way, measures in ((own["recalibration"] or {}).get("ways") or {}).items()
    ]
    if not rows:
        return ""
    text = (
        "New log-odds are the slope times the old ones plus the intercept; both stand in metrics.json. The order of "
        "the scores, and so the AUC, stays as it is: no recalibration mends that. Intervals are those of the people "
        "scored; what the people recalibrated on leave open is not in them."
    )
    head = ["label", "scores", *(_MEASURES[name] for name in names)]
    return f'<h3>Recalibration</h3>{table(head, rows)}<p class="soft">{escape(text)}</p>'
