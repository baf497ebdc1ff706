"""Show an audit: as a table on the screen, as rows of audit.csv, and as one self-contained page."""

from collections.abc import Mapping, Sequence
from typing import Any

from ssast.dataset_audit.advice import next_steps
from ssast.dataset_audit.analysis import Clips
from ssast.dataset_audit.audit_results import AuditResults, MatchedResult, Measured, TraitResult
from ssast.dataset_audit.figures import forest, strongest_figure
from ssast.dataset_audit.leak_taxonomy import FOUND, NOT_FOUND, leak_summary
from ssast.dataset_audit.sentences import HOW_TO_READ, audit_summary, direction, told_sentences
from ssast.dataset_audit.terms import MEASURE_NAMES, flagged, matched_sentences
from ssast.dataset_audit.traits import Trait, traits
from ssast.metrics.measures import Floats
from ssast.pages.html import bullets, escape, page, table
from ssast.pages.tables import number, span

_MOST_LABELS = 60
MOST_LEAKS = 20
_STATUS_CLASSES = {FOUND: "found", NOT_FOUND: "records"}
OPEN_LABELS = 3
_HOW_TO_READ = """Luck: labels are traded between {unit}s at random, {resamples} times, and everything is looked at again; the level shown is one that luck reaches in at most 3 of 100 such data sets, all {looks} looks together.
Beyond luck is "yes" above that level with an interval wholly on that side of nothing, "unsure" above it with a wider interval, "tiny" where it comes mostly from differences no larger than the measure's own resolution.
An interval is from {resamples} resamples of whole {unit}s (95 %).
"In test" is what train.csv alone teaches about the trait, tried on test.csv.
A trait that tells a label need not be an error: slow speech makes long recordings. But then a long recording is enough to be called.
Nothing above luck does not mean that there is nothing: only what is listed was looked at, one trait at a time.
Matching makes groups alike in one trait; others may still differ.
Of kinds (formats, columns of words), what one says is learnt from other {unit}s' clips, so a column with a value each tells nothing."""  # noqa: E501


def audit_screen_rows(audit: AuditResults) -> list[list[str]]:
    """The header, and for each label what tells most: beyond luck, else the strongest alone."""
    rows = [
        [
            "label",
            "told by",
            MEASURE_NAMES[audit["measure"]],
            "95 % interval",
            "luck up to",
            "beyond luck",
            "clips alike",
        ]
    ]
    for label, name, entry in shown_pairs(audit):
        values = [number(entry["value"]), span(entry["interval"]), number(entry["chance"])]
        rows.append([label, name, *values, entry["beyond_luck"], _alike(_matched_on(audit, label, name))])
    return rows


def _matched_on(audit: AuditResults, label: str, name: str) -> MatchedResult | None:
    return next((found for found in audit["labels"][label]["matched"] if found["on"] == name), None)


def _alike(found: MatchedResult | None) -> str:
    """The model's measure on matched clips, or the trait's own without a model."""
    if found is None:
        return ""
    if not found["is_enough"]:
        return f"only {found['kept']}"
    which, pair = ("model", found["model"]) if found["model"] else ("trait", found["trait"])
    return f"{which} {number(pair['before']['value'], 2)} -> {number(pair['after']['value'], 2)}"


def shown_pairs(audit: AuditResults) -> list[tuple[str, str, TraitResult]]:
    """Labels and traits for a short table: what tells a label most of the recording, and of the columns."""
    return [
        (label, found["on"], own["traits"][found["on"]])
        for label, own in audit["labels"].items()
        for found in own["matched"]
    ]


def csv_rows(audit: AuditResults) -> list[dict[str, object]]:
    """audit.csv: one row a label and trait."""
    rows = []
    for label, own in audit["labels"].items():
        for name, entry in own["traits"].items():
            low, high = entry["interval"] or (None, None)
            row = {"label": label, "trait": name, "source": audit["traits"][name]["source"], "clips": entry["n"]}
            row |= {"measure": audit["measure"], "value": entry["value"], "low": low, "high": high}
            row |= {"luck": entry["chance"], "p": entry["p"], "beyond_luck": entry["beyond_luck"], "way": entry["way"]}
            row["who"] = direction(audit, label, name)
            row["in_test"] = entry["from_train"]["value"] if entry["from_train"] else None
            found = _matched_on(audit, label, name)
            row["matched_clips"] = found["kept"] if found else None
            row["matched_value"] = found["trait"]["after"]["value"] if found else None
            for at in ("before", "after"):
                model = found["model"] if found else None
                row[f"model_{at}"] = model[at]["value"] if model else None
            rows.append(row)
    return rows


def audit_page(title: str, audit: AuditResults, clips: Clips, facts: Sequence[tuple[str, Any]] = ()) -> str:
    """The page as html; every label, uid and value in it is escaped."""
    first = "".join(f"<p>{escape(sentence)}</p>" for sentence in audit_summary(audit))
    reading = _HOW_TO_READ.format(unit=audit["unit"], resamples=audit["resamples"], looks=audit["looks"]).splitlines()
    sections = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="soft">Is it the voice, or the recording?</p><div class="note">{first}</div>',
        f"<h2>What to do next</h2>{bullets(next_steps(audit))}",
        _leaks(audit),
        _ways_to_leak(audit),
        _overview(audit),
        _labels(audit, clips),
        f"<h2>How to read the numbers, and how not to</h2>{bullets([HOW_TO_READ[audit['measure']], *reading])}",
        _left_out(audit),
        f"<details><summary>What made this page</summary>{table(['what', 'value'], facts)}</details>" if facts else "",
    ]
    return page(title, "\n".join(filter(None, sections)), styles=("report.css", "checklist.css"))


def _leaks(audit: AuditResults) -> str:
    leaks = audit["leaks"]
    if not leaks:
        return ""
    parts = ["<h2>What the splits share, and what is there twice</h2>"]
    for kind, own in leaks.items():
        rows = [[one["uid"], one["split"], one["detail"]] for one in own["found"][:MOST_LEAKS]]
        more = f'<p class="soft">and {len(own["found"]) - MOST_LEAKS} more in audit.json</p>'
        rest = more if len(own["found"]) > MOST_LEAKS else ""
        head = f"<h3>{escape(kind)} ({len(own['found'])})</h3><p>{escape(own['meaning'])}</p>"
        parts.append(f"{head}{table(['uid', 'where', 'what'], rows)}{rest}")
    return "".join(parts)


def _ways_to_leak(audit: AuditResults) -> str:
    """Every row of the leak taxonomy with its status."""
    rows = audit.get("taxonomy")
    if not rows:
        return ""
    items = "".join(
        f'<div class="item {_STATUS_CLASSES.get(row["status"], "open")}"><div><p><strong>{escape(row["row"])}</strong> '
        f'<span class="state">{escape(row["status"])}</span></p></div><div><p>{escape(row["what"])}</p></div></div>'
        for row in rows
    )
    source = "The ways are those of Kapoor and Narayanan (Patterns 2023), in words of ours."
    return f'<h2>How data can leak</h2><p>{escape(leak_summary(rows))}</p>{items}<p class="soft">{escape(source)}</p>'


def _overview(audit: AuditResults) -> str:
    pairs = shown_pairs(audit)
    if not pairs:
        return ""
    head = ["label", "told by", MEASURE_NAMES[audit["measure"]], "luck up to", "beyond luck", "in test"]
    rows = [
        [
            label,
            audit["traits"][name]["title"],
            _with_span(entry),
            number(entry["chance"], 2),
            entry["beyond_luck"],
            _with_span(entry["from_train"]) if entry["from_train"] else "-",
        ]
        for label, name, entry in pairs
    ]
    every = (
        f"All {audit['looks']} pairs of label and trait are in audit.csv, {len(flagged(audit))} of them beyond luck."
    )
    return f'<h2>What tells each label most, without listening</h2>{table(head, rows)}<p class="soft">{every}</p>'


def _with_span(entry: Measured) -> str:
    value = number(entry["value"], 2)
    return f"{value}\n{span(entry['interval'], 2)}" if entry["interval"] else value


def _labels(audit: AuditResults, clips: Clips) -> str:
    found = {trait.name: trait for trait in traits(clips.table, clips.sources)[0]}
    names = list(audit["labels"])
    parts = ["<h2>Label by label</h2>"]
    if len(names) > _MOST_LABELS:
        parts.append(f"<p>The first {_MOST_LABELS} of {len(names)} labels; all are in audit.csv.</p>")
    for at, label in enumerate(names[:_MOST_LABELS]):
        own = audit["labels"][label]
        if own["matched"]:
            body = _label(audit, label, found, clips.targets[:, at])
        else:
            body = f"<p>Not tested: {escape(own['reason'] or 'no trait varies')}.</p>"
        is_open = " open" if at < OPEN_LABELS else ""
        parts.append(f"<details{is_open}><summary><h3>{escape(label)}</h3></summary>{body}</details>")
    return "\n".join(parts)


def _label(audit: AuditResults, label: str, found: Mapping[str, Trait], target_N: Floats) -> str:
    """The sentences and figures of one label."""
    text, figures = [], [forest(audit, label)]
    for name, entry in audit["labels"][label]["traits"].items():
        if entry["is_form"]:
            text.append(f"<p>{escape(told_sentences(audit, label, name))}</p>")
    for own in audit["labels"][label]["matched"]:
        alike = " ".join(matched_sentences(audit, label, own))
        text.append(f"<p>{escape(told_sentences(audit, label, own['on']))}</p><p>{escape(alike)}</p>")
        entry = audit["labels"][label]["traits"][own["on"]]
        figures.append(strongest_figure(found[own["on"]], entry, target_N, audit["loss"]))
    return f'{"".join(text)}<div class="figures">{"".join(figures)}</div>'


def _left_out(audit: AuditResults) -> str:
    rows = [[name, why] for name, why in audit["left_out"].items()]
    return f"<h2>What could not be looked at</h2>{table(['trait', 'why'], rows)}" if rows else ""
