"""Explain the scores of `metrics.json` in plain sentences."""

from collections.abc import Mapping, Sequence
from typing import Any

from ssast.metrics.curves import Confusion
from ssast.metrics.score_entries import parts_of
from ssast.pages.remarks import is_told_from_luck, remarks
from ssast.pages.shown_kinds import SHOWN
from ssast.pages.tables import TITLES, counted, number, reasons, span, were

_FEW_SUBJECTS = 10
_FEW_CLIPS = 10
_NOISE = 1e-9
"""What two ways of adding the same numbers up may differ by."""
_WITHOUT = "too few bear on it, the answers do not vary, or they agree with the truth without an exception"


def how_sure(metrics: Mapping[str, Any]) -> str:
    """Where intervals and the level of chance come from, in one sentence."""
    if not metrics["resamples"]:
        return "No intervals were asked for; --resamples 1000 gives them."
    if metrics["unit"] == "clip":
        drawn = "clips; without a subject or speaker column with two values they hold for these voices only"
    else:
        drawn = f"whole {metrics['unit']}s ({metrics['subjects']})"
    return (
        f"Intervals: 95 %, {metrics['resamples']} resamples of {drawn}. "
        "Chance: the level that 95 % of shuffled labels stay below."
    )


def score_summary(metrics: Mapping[str, Any]) -> list[str]:
    """The result in plain sentences, the most important first."""
    parts = parts_of(metrics)
    found = [_size(metrics), _not_scored(metrics), *map(_average, parts), *_against_chance(parts)]
    return [sentence for sentence in found if sentence]


def cautions(metrics: Mapping[str, Any]) -> list[str]:
    """What speaks against leaning on the numbers, a sentence each."""
    found = [*(f"{sentence}." for sentence in reasons(metrics)), *remarks(metrics)]
    if metrics["subjects"] is not None and metrics["subjects"] < _FEW_SUBJECTS:
        tested = f"{counted(metrics['subjects'], metrics['unit'])} {were(metrics['subjects'])} tested"
        found.append(f"Only {tested}: take every number as a first look.")
    if unsure := _without_interval(metrics):
        found.append(f"No interval can be given for the score of {', '.join(unsure)}: {_WITHOUT}.")
    rare = [label for label, entry in metrics["labels"].items() if _is_rare(entry)]
    if rare:
        found.append(f"Fewer than {_FEW_CLIPS} clips with or without the label: {', '.join(rare)}.")
    return found


def label_sentence(entry: Mapping[str, Any], counts: Confusion) -> str:
    """What the threshold does to the clips with and without the label."""
    parts = []
    if counts.found + counts.missed:
        parts.append(f"finds {counts.found} of {counts.found + counts.missed} clips with the label")
    if counts.false + counts.spared:
        parts.append(f"leaves {counts.spared} of {counts.false + counts.spared} clips without it alone")
    where = "its fold's threshold" if entry["threshold"] is None else f"the threshold {number(entry['threshold'])}"
    return f"At {where} the model {' and '.join(parts)}." if parts else ""


def _is_rare(entry: Mapping[str, Any]) -> bool:
    positives = entry.get("n_positive")
    return positives is not None and 0 < min(positives, entry["n"] - positives) < _FEW_CLIPS


def _size(metrics: Mapping[str, Any]) -> str:
    labels = f"{len(metrics['labels'])} label{'s' if len(metrics['labels']) != 1 else ''}"
    whose = f" of {counted(metrics['subjects'], metrics['unit'])}" if metrics["subjects"] is not None else ""
    without = (
        f"; {metrics['left_out']} of the csv could not be used and were left out" if metrics.get("left_out") else ""
    )
    return f"{counted(metrics['n'], 'clip')}{whose} {were(metrics['n'])} scored for {labels}{without}."


def _not_scored(metrics: Mapping[str, Any]) -> str:
    lacking = metrics.get("not_scored", [])
    return f"The model has more labels, which were not scored here: {', '.join(lacking)}." if lacking else ""


def _average(metrics: Mapping[str, Any]) -> str:
    kind = SHOWN[metrics["loss"]]
    name = kind.leading
    value = metrics["mean"][name]
    if value is None:
        return f"No label allows {TITLES[name]} to be computed."
    sure = _interval(metrics["mean"]["intervals"][name]) if metrics["resamples"] else ""
    over = "On average over the labels" if len(metrics["labels"]) > 1 else "For it"
    if metrics["loss"] == "BCE":
        return f"{over} {kind.leads} {100 * value:.0f} of 100 pairs (AUC {number(value)}{sure})."
    return f"{over} {kind.leads} {number(value)} ({TITLES[name]}{sure})."


def _interval(pair: list[float] | None) -> str:
    return "; no interval" if pair is None else f"; 95 % interval {span(pair)}"


def _without_interval(metrics: Mapping[str, Any]) -> list[str]:
    """The labels that have a score, but no interval of it."""
    if not metrics["resamples"]:
        return []
    leading = {label: SHOWN[part["loss"]].leading for part in parts_of(metrics) for label in part["labels"]}
    entries = metrics["labels"]
    return [
        label
        for label, name in leading.items()
        if entries[label][name] is not None and entries[label]["intervals"][name] is None
    ]


def _against_chance(parts: Sequence[Mapping[str, Any]]) -> list[str]:
    """Which labels are above chance: beyond the shuffles, and the interval clear of no effect."""
    above: list[str] = []
    unclear: list[str] = []
    for metrics in (part for part in parts if part["resamples"]):
        name, nothing = SHOWN[metrics["loss"]].leading, SHOWN[metrics["loss"]].no_effect
        for label, entry in metrics["labels"].items():
            if entry[name] is not None and is_told_from_luck(metrics, label):
                pair, level = entry["intervals"][name], entry["chance"][name]
                is_beyond = entry[name] > max(nothing, nothing if level is None else level) + _NOISE
                is_above = is_beyond and (pair is None or pair[0] > nothing)
                (above if is_above else unclear).append(label)
    sentences = [f"Above chance: {', '.join(above)}."] if above else []
    return sentences + ([f"Not shown to be above chance: {', '.join(unclear)}."] if unclear else [])
