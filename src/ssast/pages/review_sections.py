"""Write the parts of the report that reviewers of clinical models ask for: as html, from metrics.json."""

from collections.abc import Iterator, Mapping
from typing import Any

from ssast.pages.figures import Plot
from ssast.pages.html import Breakable, escape, table
from ssast.pages.tables import TITLES, UNDEFINED, number, span

_PREDICTIVE = {
    "ppv": "PPV: share of calls that are right",
    "npv": "NPV: share of others that are right",
    "lr_positive": "likelihood ratio of a call",
    "lr_negative": "likelihood ratio of no call",
}
READING = (
    "Calibration slope: 1 is right; below 1 high scores are too high and low ones too low.",
    "Calibration intercept: 0 is right; below 0 the scores promise more people with the label than there are.",
    "Net benefit: calls that are right, less false ones times the odds of the threshold, a clip. A model is of use at "
    "a threshold where its line lies above both calling everybody and calling nobody (0).",
    "PPV and NPV hold at the prevalence that is named beside them, and change with it. The likelihood ratio of a call "
    "is how many times the odds of the label rise by it; that of no call, how far they fall.",
)


def with_interval(found: Mapping[str, Any] | None, digits: int = 2) -> str:
    """A value and its interval in one cell; a dash where it is undefined."""
    if not found or found["value"] is None:
        return UNDEFINED
    return f"{number(found['value'], digits)}\n{span(found['interval'], digits)}"


def plain_section(metrics: Mapping[str, Any]) -> str:
    """The model's leading measure beside that of a plain baseline, and how far it is above it on the same clips."""
    found = metrics.get("plain_baseline")
    if not found:
        return ""
    rows = []
    for label, own in found["labels"].items():
        entry, name = metrics["labels"][label], own["measure"]
        model = {"value": entry[name], "interval": (entry.get("intervals") or {}).get(name)}
        gap = own["difference"] or {"difference": None, "interval": None}
        difference = {"value": gap["difference"], "interval": gap["interval"]}
        rows.append([Breakable(label), TITLES[name], *map(with_interval, (model, own, difference))])
    text = (
        f"A linear model of {found['features']}, fitted on the same training recordings and scored on the same clips. "
        "What it reaches needs no model of speech: where it comes close, the label may go along with the way in which "
        "people were recorded. A difference whose interval lies above 0 is what the model adds."
    )
    head = ["label", "measure", "model", "plain baseline", "difference"]
    return f'<h2>Beside a plain baseline</h2>{table(head, rows)}<p class="soft">{escape(text)}</p>'


def calibration_section(metrics: Mapping[str, Any]) -> str:
    """Slope and intercept by label, and how sure the set can be: people of both classes, and the AUC's interval."""
    rows = []
    for label, entry in metrics["labels"].items():
        found = entry.get("review")
        if found:
            fit, sure = found["calibration"], found.get("certainty", {})
            rows.append([Breakable(label), with_interval(fit["slope"]), with_interval(fit["intercept"]), *_sure(sure)])
    if not rows:
        return ""
    unit = "clip" if metrics.get("unit", "clip") == "clip" else metrics["unit"]
    head = ["label", "calibration slope", "calibration intercept", f"{unit}s with the label", f"{unit}s without it"]
    head += ["width of the AUC's interval", "for twice the people"]
    return (
        f"<h2>Calibration, and how sure this set can be</h2>{table(head, rows)}{_reasons(metrics)}"
        '<p class="soft">Twice the people narrow an interval to about 0.7 of its width: what is still too wide then '
        "needs many more.</p>"
    )


def _sure(found: Mapping[str, Any]) -> list[str]:
    names = ("people_with", "people_without", "auc_width", "auc_width_twice")
    if not found:
        return [UNDEFINED] * len(names)
    return [str(found[name]) for name in names[:2]] + [number(found[name], 2) for name in names[2:]]


def _reasons(metrics: Mapping[str, Any]) -> str:
    """Why a label has no calibration slope."""
    reviews = {label: entry["review"] for label, entry in metrics["labels"].items() if entry.get("review")}
    why = {label: found["calibration"]["reason"] for label, found in reviews.items()}
    told = [f"{label}: {reason}, so there is no calibration slope" for label, reason in why.items() if reason]
    return f'<p class="soft">{escape(". ".join(told))}.</p>' if told else ""


def f1_section(metrics: Mapping[str, Any]) -> str:
    """F1 apart from the measures that decide, for readers who compare it with other papers."""
    rows = [
        [Breakable(label), number(entry["f1"]), span(entry.get("intervals", {}).get("f1"), 2), number(own.get("f1"))]
        for label, entry in metrics["labels"].items()
        if (own := entry.get("baseline") or {}) is not None and "f1" in entry
    ]
    if not rows:
        return ""
    text = (
        "F1 changes with the share of people who have the label, and a model can raise it with scores that claim the "
        "wrong chances. It stands here for comparison with other papers, and not among the measures to choose by."
    )
    body = table(["label", "F1", "95 % interval", "of always yes"], rows)
    return f"<details><summary>F1, set apart</summary><p>{escape(text)}</p>{body}</details>"


def predictive_table(review: Mapping[str, Any]) -> str:
    """PPV, NPV and likelihood ratios at the threshold."""
    found = review.get("at_threshold")
    if not found:
        return ""
    whose = "as given" if found["prevalence_is_given"] else "of this set"
    rows = [[words, with_interval(found[name]).replace("\n", "  ")] for name, words in _PREDICTIVE.items()]
    body = table(["at the threshold", "value and 95 % interval"], rows)
    caption = f"For a prevalence of {number(found['prevalence'])}, {whose}"
    why = "".join(f'<p class="soft">{escape(sentence)}.</p>' for sentence in _unknown(found))
    return f"<figure><figcaption>{escape(caption)}</figcaption>{body}{why}</figure>"


def _unknown(found: Mapping[str, Any]) -> Iterator[str]:
    """Why a predictive value or a likelihood ratio has no value or no interval."""
    value = {name: found[name]["value"] for name in _PREDICTIVE}
    if value["ppv"] is None:
        yield "Nothing is called, so there are no PPV and no likelihood ratio of a call"
    elif value["ppv"] in (0, 1):
        yield f"Every call is {'right' if value['ppv'] else 'wrong'} here, so there is no interval of a call"
    if value["npv"] is None:
        yield "Everything is called, so there are no NPV and no likelihood ratio of no call"
    elif value["npv"] in (0, 1):
        what = "No clip with the label is missed" if value["npv"] else "Every clip that is not called has the label"
        yield f"{what}, so there is no interval of no call"
    if 0 < (value["ppv"] or 0) < 1 and found["ppv"]["interval"] is None:
        yield "Only one person has the label, or lacks it, so there is no interval"


def decision_curve(review: Mapping[str, Any]) -> str:
    """Net benefit of the model along the threshold, with its interval, beside calling everybody and nobody."""
    found = review.get("net_benefit")
    if not found:
        return ""
    at, model = found["thresholds"], found["model"]
    known = [(x, low, high) for x, low, high in zip(at, found["low"], found["high"], strict=True) if low is not None]
    highest = max(*model, found["everybody"][0], *(high for _, _, high in known), 0.02)
    lowest = -highest / 4
    plot = Plot((0, 1), (lowest, highest), x_name="threshold", y_name="net benefit")
    if known:
        plot.band([x for x, _, _ in known], *(_cut(known, end, lowest) for end in (1, 2)))
    plot.line([0, 1], [0, 0], "soft")
    for kind, benefit in (("second", found["everybody"]), ("first", model)):
        for piece in _above(at, benefit, lowest):
            plot.line(*piece, kind)
    caption = "Net benefit along the threshold, with its 95 % interval"
    keys = [("first", "model"), ("second", "call everybody"), ("soft", "call nobody")]
    return plot.figure("Net benefit", caption, keys)


def _cut(known: list[tuple[float, float, float]], end: int, lowest: float) -> list[float]:
    return [max(point[end], lowest) for point in known]


def _above(x: list[float], y: list[float], lowest: float) -> Iterator[tuple[list[float], list[float]]]:
    """The pieces of a line that stay in the figure; where it leaves or comes back, an end lies on the edge."""
    piece: list[tuple[float, float]] = []
    last = None
    for point in zip(x, y, strict=True):
        if last is not None and (last[1] < lowest) != (point[1] < lowest):
            (a, b), (c, d) = last, point
            piece.append((a + (c - a) * (b - lowest) / (b - d), lowest))
        if point[1] >= lowest:
            piece.append(point)
        elif piece:
            yield [a for a, _ in piece], [b for _, b in piece]
            piece = []
        last = point
    if piece:
        yield [a for a, _ in piece], [b for _, b in piece]
