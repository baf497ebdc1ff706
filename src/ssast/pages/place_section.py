"""Show how a model does in a place that it was not developed in, for the screen and for the page."""

from collections.abc import Iterator, Mapping
from typing import Any

from ssast.metrics.level_measures import AT
from ssast.pages.html import Breakable, bullets, escape, folded, table
from ssast.pages.review_sections import with_interval
from ssast.pages.subgroup_section import cannot_list
from ssast.pages.tables import UNDEFINED, counted, number, span, were

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
    "mean_target": "mean of the label",
    "auc": "AUC",
    "accuracy": "accuracy",
    "pearson": "Pearson",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "calibration_slope": "calibration slope",
    "calibration_intercept": "calibration intercept",
    "brier": "Brier",
    "rps": "ranked probability score",
    "mae": "MAE",
    "rmse": "RMSE",
    "mae_steps": "MAE (steps)",
}
_SCORES = {
    "scores_with": "scores of people with the label",
    "scores_without": "scores of people without it",
    "scores": "scores",
}
_CARRIED = ("sensitivity", "specificity")
_MENDED = ("calibration_slope", "calibration_intercept", "brier", "rps", "mae", "rmse", "mae_steps", *_CARRIED)
_WAYS = {"before": "as they are", "intercept": "new intercept", "slope and intercept": "new slope and intercept"}
_OPEN_LABELS = 6
"""Labels whose sentences stand open."""
_SAME = "Nothing that was looked at differs beyond luck, which does not show that nothing does."
_READING = (
    "Development: recordings are those that the model was trained and chosen on; measures and scores are of the people "
    "of its own test, whom it had not heard. Middle: half of the people lie below it; in brackets, where eight of ten "
    "lie. Higher here: of a person here and one of development, how often the first is higher; 50 of 100 is no shift. "
    "All intervals of differences share one correction (Bonferroni), so that luck alone names anything in at most 5 of "
    "100 sets."
)
_MENDING = (
    "New log-odds are the slope times the old ones plus the intercept; of a scale one slope and one intercept serve at "
    "all cuts, and of a number the new value is the slope times the old one plus the intercept. Both stand in "
    "metrics.json. The order of the scores, and so the AUC, stays as it is: no recalibration mends that. The ranked "
    "probability score is the mean of the Brier scores at all cuts. Intervals are those of the people scored; what the "
    "people recalibrated on leave open is not in them."
)


def place_section(metrics: Mapping[str, Any]) -> str:
    """What was found in sentences, tables of measures, recordings and recalibration, and what cannot be said."""
    found = metrics.get("external")
    if not found:
        return ""
    return (
        f"<h2>In another place than the model's own</h2>{_findings(metrics, found)}{_labels(found)}{_inputs(found)}"
        f'{_recalibration(found)}{cannot_list(found["cannot"])}<p class="soft">{escape(_READING)}</p>'
    )


def _findings(metrics: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    """The sentences; of many labels, what each one's threshold and recalibration do is folded behind the others."""
    said = place_sentences(metrics)
    own = {*_carried_all(found), *_mended(found)} if len(found["labels"]) > _OPEN_LABELS else set()
    first = bullets(line for line in said if line not in own)
    if not own:
        return first
    what = f"What threshold and recalibration do, for each of {len(found['labels'])} labels"
    return f"{first}<details><summary>{what}</summary>{bullets(line for line in said if line in own)}</details>"


def place_sentences(metrics: Mapping[str, Any]) -> list[str]:
    """What the carried threshold does, what differs, and what recalibration mends; the most important first."""
    found = metrics.get("external")
    if not found:
        return []
    sentences = _carried_all(found)
    if found["development"]:
        named = [*_named_inputs(found), *_named_labels(found)]
        sentences += named or [_SAME if found["looked_at"] else "Nothing can be held against development here."]
        there = found["development"]
        sentences.append(
            f"{counted(found['looked_at'], 'comparison')} with development ({there['recordings']} recordings of "
            f"{there['people']} {there['unit']}s, {there['tested']} in its test) {were(found['looked_at'])} looked at."
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
    for name, each in _categories(found):
        rows.append([f"{name}: share of people", *(_flat(each[where]) for where in ("development", "here", "gap"))])
    for label, own in found["labels"].items():
        for name, each in own["measures"].items():
            cells = [_flat(each["development"]), _flat(each["here"]), _flat(each["gap"])]
            rows.append([f"{label}: {_measure(name, own)}", *cells])
        for name, each in own["scores"].items():
            cells = [_middle(each["development"]), _middle(each["here"]), _higher(each["above"])]
            rows.append([f"{label}: {_SCORES[name]}", *cells])
    return rows


def _property(name: str) -> str:
    return _PROPERTIES.get(name, name)


def _categories(found: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each value of each category, as `sex: female`, with the share of people there and here."""
    for column, values in found.get("categories", {}).items():
        yield from ((f"{column}: {name.lower() if name == 'Others' else name}", each) for name, each in values.items())


def _measure(name: str, own: Mapping[str, Any]) -> str:
    """A measure of a label in words; of a scale those who are at its cut or above have the label."""
    if name == "prevalence" and "cut" in own:
        return f"share at least at {own['cut']:g}"
    base, _, level = name.partition(AT)
    return f"{_MEASURES[base]} at least {level}" if level else _MEASURES[name]


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


def _carried_all(found: Mapping[str, Any]) -> list[str]:
    return [sentence for label, own in found["labels"].items() for sentence in _carried(label, own)]


def _carried(label: str, own: Mapping[str, Any]) -> Iterator[str]:
    """What the threshold or cut that came with the model does here, beside what it did in development's test."""
    if not own["measures"] or "threshold" not in own:
        return
    parts = []
    for name in _CARRIED:
        here, there = own["measures"][name]["here"], own["measures"][name]["development"]
        beside = f", there {number(there['value'], 2)}" if there else ""
        parts.append(f"{name} {number(here['value'], 2)} ({span(here['interval'], 2)}{beside})")
    what = f"cut, at least {own['cut']:g}," if "cut" in own else f"threshold, {number(own['threshold'])},"
    yield f"{label}: the model's own {what} gives here {' and '.join(parts)}."


def _named_inputs(found: Mapping[str, Any]) -> Iterator[str]:
    for name, own in found["inputs"].items():
        if own["above"]["is_told"]:
            share = own["above"]["value"]
            middles = f"middle {_short(own['here']['median'])}, there {_short(own['development']['median'])}"
            which = "higher" if share > 0.5 else "lower"
            yield f"Shift: {_property(name)} is {which} here ({middles})."
    for name, each in _categories(found):
        if each["gap"]["is_told"]:
            shares = f"{_percent(each['here'])} of the people, there {_percent(each['development'])}"
            yield f"Shift: {name} is {'more' if each['gap']['value'] > 0 else 'less'} frequent here ({shares})."


def _percent(found: Mapping[str, Any]) -> str:
    return f"{100 * found['value']:.0f} %"


def _named_labels(found: Mapping[str, Any]) -> Iterator[str]:
    for label, own in found["labels"].items():
        for name, each in own["measures"].items():
            if each["gap"]["is_told"]:
                gap = each["gap"]
                yield (
                    f"Shift: {label}, {_measure(name, own)}, differs from development by {number(gap['value'], 2)} "
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
            for name in _MENDED
            if name in before and before[name]["value"] is not None and after[name]["value"] is not None
        ]
        yield f"{label}, {_WAYS[last]}: {', '.join(parts)}."


def _labels(found: Mapping[str, Any]) -> str:
    rows: list[list[Any]] = []
    for label, own in found["labels"].items():
        for name, each in own["measures"].items():
            cells = [with_interval(each[where]) for where in ("development", "here", "gap")]
            rows.append([Breakable(label), _measure(name, own), *cells])
        for name, each in own["scores"].items():
            cells = [_middle(each["development"]), _middle(each["here"]), _higher(each["above"])]
            rows.append([Breakable(label), _SCORES[name], *(cell.replace(" (", "\n(") for cell in cells)])
    head = ["label", "measure", "development", "here", "difference"]
    shown = folded(table(head, rows), len(rows), "measures and scores of labels")
    return f"<h3>Measures and scores</h3>{shown}" if rows else ""


def _inputs(found: Mapping[str, Any]) -> str:
    rows: list[list[Any]] = [
        [
            _property(name),
            *(_middle(own[where]).replace(" (", "\n(") for where in ("development", "here")),
            _higher(own["above"]).replace(" (", "\n("),
        ]
        for name, own in found["inputs"].items()
    ]
    head = ["recordings and people", "development: middle", "here: middle", "difference"]
    shares = [
        [Breakable(name), *(with_interval(each[where]) for where in ("development", "here", "gap"))]
        for name, each in _categories(found)
    ]
    told = f"<h3>Recordings and people</h3>{table(head, rows)}" if rows else ""
    head = ["share of people", "development", "here", "difference"]
    return told + (table(head, shares) if shares else "")


def _recalibration(found: Mapping[str, Any]) -> str:
    """A table of each kind of label, since each has measures of its own."""
    tables: dict[tuple[str, ...], list[list[Any]]] = {}
    for label, own in found["labels"].items():
        for way, measures in ((own["recalibration"] or {}).get("ways") or {}).items():
            names = tuple(name for name in _MENDED if name in measures)
            cells = [with_interval(measures[name]) for name in names]
            tables.setdefault(names, []).append([Breakable(label), _WAYS[way], *cells])
    if not tables:
        return ""
    made = []
    for names, rows in tables.items():
        head = ["label", "scores", *(_MEASURES[name] for name in names)]
        made.append(folded(table(head, rows), len(rows), "ways to read the scores of labels"))
    return f'<h3>Recalibration</h3>{"".join(made)}{_at_cuts(found)}<p class="soft">{escape(_MENDING)}</p>'


def _at_cuts(found: Mapping[str, Any]) -> str:
    """Calibration at each cut of the scales, before and after."""
    names, rows = ("calibration_slope", "calibration_intercept"), []
    for label, own in found["labels"].items():
        for way, measures in ((own["recalibration"] or {}).get("ways") or {}).items():
            levels = [name.partition(AT)[2] for name in measures if name.startswith(f"{names[0]}{AT}")]
            for level in levels:
                cells = [with_interval(measures[f"{name}{AT}{level}"]) for name in names]
                rows.append([Breakable(f"{label} at least {level}"), _WAYS[way], *cells])
    return table(["cut", "scores", *(_MEASURES[name] for name in names)], rows) if rows else ""
