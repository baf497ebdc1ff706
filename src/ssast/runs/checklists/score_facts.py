"""Say what the records know of how a model was tested: sizes, losses, scores, groups, leaks.

Every function takes the records of all runs and gives None where they do not know.
"""

from collections.abc import Callable, Mapping
from typing import Any

from ssast.metrics.score_entries import kind_of
from ssast.pages.place_section import place_sentences
from ssast.pages.rater_section import rater_sentences
from ssast.pages.sentences import cautions
from ssast.pages.shown_kinds import SHOWN
from ssast.pages.subgroup_section import gap_sentences
from ssast.pages.tables import TITLES, counted, number, span
from ssast.runs.checklists.items import Knowledge
from ssast.runs.checklists.records import Records, RunFolder
from ssast.safe_reading import brief, some

_MOST_LABELS = 12
_ELSEWHERE = "report.html, In another place than the model's own"
_Metrics = Mapping[str, Any]


def known_of_scores(
    runs: list[RunFolder], sentences: Callable[[_Metrics], list[str]], place: str, lacks: str = ""
) -> Knowledge | None:
    """What one function says of the scores of each run; None where it says nothing."""
    found = [run.state(text, place) for run in runs for text in sentences(run.file("metrics.json")) if text]
    return Knowledge(tuple(found), lacks) if found else None


def unit_of(metrics: _Metrics) -> str:
    """What the scores call those who were recorded."""
    unit = metrics.get("unit", "clip")
    return "people" if unit == "clip" else f"{brief(unit, 20)}s"


def flow_known(records: Records) -> Knowledge | None:
    """From the table to the score."""
    return known_of_scores(records.scored, _flow, "report.html, From the table to the score")


def _flow(metrics: _Metrics) -> list[str]:
    if not (found := metrics.get("flow")):
        return []
    table, scored = (_people_and_recordings(found[name], metrics) for name in ("table", "scored"))
    lost = f"; left out: {reasons}" if (reasons := _reasons(found)) else ""
    with_label = [f"{brief(label)} {own['with']:d}" for label, own in found["labels"].items() if "with" in own]
    having = f" Recordings with the label: {some(with_label, _MOST_LABELS)}." if with_label else ""
    return [f"In the table {table}; scored {scored}{lost}.{having}"]


def _reasons(flow: Mapping[str, Any]) -> str:
    """Why recordings had no score, and how many for each reason."""
    return some([f"{brief(one['reason'])} ({one['recordings']:d})" for one in flow["left_out"]["reasons"]])


def _people_and_recordings(counts: Mapping[str, Any], metrics: _Metrics) -> str:
    whose = f" of {counts['people']:d} {unit_of(metrics)}" if counts["people"] is not None else ""
    return f"{counted(counts['recordings'], 'recording')}{whose}"


def losses_known(records: Records) -> Knowledge | None:
    """What was missing among recordings and answers, and what was done with that."""
    return known_of_scores(records.scored, _losses, "report.html, From the table to the score")


def _losses(metrics: _Metrics) -> list[str]:
    if not (found := metrics.get("flow")):
        return []
    empty = {brief(label): own["empty"] for label, own in found["labels"].items() if own["empty"]}
    shown = f": {some([f'{label} {count:d}' for label, count in empty.items()], _MOST_LABELS)}" if empty else ": none"
    lost = counted(found["left_out"]["recordings"], "recording")
    why = f": {reasons}" if (reasons := _reasons(found)) else ""
    return [
        f"{lost} of the table had no score{why}. Empty answers{shown}; an empty answer is left out of that label's "
        "loss and scores, and nothing is filled in."
    ]


def poor_recordings_known(records: Records) -> Knowledge | None:
    """How many recordings could not be used; those that served for recalibration could."""
    return known_of_scores(records.scored, _unusable, "report.html, From the table to the score")


def _unusable(metrics: _Metrics) -> list[str]:
    if not (found := metrics.get("flow")):
        return []
    apart = ((metrics.get("external") or {}).get("recalibrated_on") or {}).get("recordings", 0)
    count = found["left_out"]["recordings"] - apart
    return [f"{counted(count, 'recording')} could not be used and had no score."] if count > 0 else []


def size_known(records: Records) -> Knowledge | None:
    """Events and people, and how wide intervals are now and for twice the people."""
    return known_of_scores(records.scored, _size, "report.html, Calibration, and how sure this set can be")


def _size(metrics: _Metrics) -> list[str]:
    found = []
    for label, entry in _reviewed(metrics)[:_MOST_LABELS]:
        own = entry["review"]["certainty"]
        width = ""
        if own.get("auc_width") is not None:
            twice = own.get("auc_width_twice")
            then = "" if twice is None else f", {number(twice, 2)} with twice the people"
            width = f"; the AUC's interval is {number(own['auc_width'], 2)} wide{then}"
        found.append(
            f"{brief(label)}: {own['people_with']:d} {unit_of(metrics)} with and {own['people_without']:d} without, "
            f"{own['events']:d} events{width}."
        )
    return found


def _reviewed(metrics: _Metrics) -> list[tuple[str, Any]]:
    """The yes/no labels that were looked at closely."""
    return [(label, entry) for label, entry in metrics["labels"].items() if entry.get("review")]


def raters_known(records: Records) -> Knowledge | None:
    """How far those who rated agree, where several did."""
    return known_of_scores(
        records.scored, lambda metrics: [f"{one}." for one in rater_sentences(metrics)], "report.html, The raters"
    )


def measures_known(records: Records) -> Knowledge | None:
    """By what the model was judged."""
    found = known_of_scores(records.scored, _measures, "report.html")
    again = tuple(
        run.state("How well scores repeat: ICC, standard error of measurement, detectable change.", "retest.html")
        for run in records.having("retest.json")
    )
    return found and Knowledge((*found.statements, *again))


def _measures(metrics: _Metrics) -> list[str]:
    names = dict.fromkeys(
        TITLES.get(name, brief(name)) for own in metrics["labels"].values() for name in own.get("intervals") or own
        if name in TITLES
    )  # fmt: skip
    if not names:
        return []
    text = f"Measures: {some(list(names), 20)}"
    if _reviewed(metrics):
        text += "; calibration slope, intercept and curve; net benefit; PPV, NPV and likelihood ratios at the threshold"
    drawn = f"; intervals of 95 % from {metrics['resamples']:d} resamples" if metrics["resamples"] else "; no intervals"
    whom = f" of whole {unit_of(metrics)}" if metrics["resamples"] and metrics.get("subjects") else ""
    beside = " A plain model of loudness, length and spectrum stands beside them." if _has_plain(metrics) else ""
    return [f"{text}{drawn}{whom}.{beside}"]


def _has_plain(metrics: _Metrics) -> bool:
    return bool((metrics.get("plain_baseline") or {}).get("labels"))


def performance_known(records: Records) -> Knowledge | None:
    """The scores with their intervals, of all and of groups."""
    lacks = _performance_lacks(records)
    return known_of_scores(records.scored, _performance, "report.html, Scores by label and Subgroups", lacks)


def _performance_lacks(records: Records) -> str:
    found = [run.file("metrics.json") for run in records.scored]
    parts = [] if any(one["resamples"] for one in found) else ["no interval was asked for (--resamples 1000)"]
    if not any(one.get("groups") for one in found):
        parts.append("no group of people was scored (--groups sex,age)")
    elif not any(_has_estimates(one) for one in found):
        parts.append("every group is too small for an estimate")
    lacks = f"Not known: {' and '.join(parts)}." if parts else ""
    return " ".join(filter(None, [lacks, heard_in_training(records)]))


def heard_in_training(records: Records) -> str:
    """Which runs scored what their model was trained on; empty where none is known to."""
    names = [run.name for run in records.scored if run.file("metrics.json").get("overlap")]
    return f"Leave out {some(names)}, which scored what the model was trained on." if names else ""


def _has_estimates(metrics: _Metrics) -> bool:
    columns = (metrics.get("groups") or {}).get("columns", {})
    return any(
        "auc" in entry
        for column in columns.values()
        for own in column["labels"].values()
        for entry in own["groups"].values()
    )


def _performance(metrics: _Metrics) -> list[str]:
    found = []
    for label, own in [*metrics["labels"].items()][:_MOST_LABELS]:
        name = SHOWN[kind_of(metrics, label)].leading
        if name not in own:
            continue
        interval = (own.get("intervals") or {}).get(name)
        shown = f" ({span(interval, 2)})" if interval else ""
        found.append(f"{brief(label)}: {TITLES[name]} {number(own[name], 2)}{shown}")
    if not found:
        return []
    more = len(metrics["labels"]) - _MOST_LABELS
    rest = f"; {more} more labels are in the report" if more > 0 else ""
    careful = [brief(metrics["overlap"], 300)] if metrics.get("overlap") else []
    return [*careful, f"{'; '.join(found)}{rest}.", *(gap_sentences(metrics) if metrics.get("groups") else [])]


def judged_known(records: Records) -> Knowledge | None:
    """Whether discrimination, calibration and use were measured for every yes/no label."""
    found = known_of_scores(records.scored, _judged, "report.html, Calibration and Net benefit")
    if found is None:
        return None
    complete = all(_is_judged(run.file("metrics.json")) for run in records.scored)
    return Knowledge(
        found.statements, "" if complete else "Say how calibration and use of the other labels were measured."
    )


def _judged(metrics: _Metrics) -> list[str]:
    names = [label for label, entry in _reviewed(metrics) if _has_all(entry)]
    if not names:
        return []
    return [f"AUC, calibration and net benefit were measured for {some([brief(name) for name in names], 20)}."]


def _is_judged(metrics: _Metrics) -> bool:
    return all(entry.get("review") and _has_all(entry) for entry in metrics["labels"].values())


def _has_all(entry: Mapping[str, Any]) -> bool:
    review = entry["review"]
    slope = review.get("calibration", {}).get("slope") or {}
    return None not in (entry.get("auc"), slope.get("value"), review.get("net_benefit"))


def updating_known(records: Records) -> Knowledge | None:
    """Recalibration on a share of the people of another place, where a run did it."""
    runs = [run for run in records.scored if _external(run).get("recalibrated_on")]
    return known_of_scores(runs, place_sentences, _ELSEWHERE)


def shift_known(records: Records) -> Knowledge | None:
    """How recordings and scores of another place differ from those of development, where that was measured."""
    runs = [run for run in records.scored if _external(run).get("development")]
    return known_of_scores(runs, place_sentences, _ELSEWHERE)


def _external(run: RunFolder) -> Mapping[str, Any]:
    return run.file("metrics.json").get("external") or {}


def limits_known(records: Records) -> Knowledge | None:
    """What the report warns of."""
    return known_of_scores(records.scored, _limits, "report.html, Be careful")


def _limits(metrics: _Metrics) -> list[str]:
    return [brief(sentence, 500) for sentence in cautions(metrics)[:_MOST_LABELS]]
