"""Write the report page of a run from its scores, predictions, log, record and a few sounds.

Shapes: N clips, L labels.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ssast.data.tables.label_columns import MEAN
from ssast.metrics.measures import SOFT_POSITIVE, Floats
from ssast.metrics.predictions import Predictions
from ssast.metrics.score_entries import kinds_of, parts_of
from ssast.model.label_kinds import CHOICE, NUMBER, SCALE, YES_NO, LabelKind, LabelKinds
from ssast.pages.flow_figure import flow_section
from ssast.pages.html import Breakable, bullets, escape, page, table, with_contents
from ssast.pages.label_figures import level_figures, training_figures, value_figures, yes_no_figures
from ssast.pages.place_section import place_section
from ssast.pages.rater_section import rater_section
from ssast.pages.remarks import first_epoch
from ssast.pages.review_sections import READING, calibration_section, f1_section, plain_section
from ssast.pages.sentences import cautions, how_sure, score_summary
from ssast.pages.shown_kinds import SHOWN
from ssast.pages.subgroup_section import sites_section, subgroup_section
from ssast.pages.tables import TITLES, UNDEFINED, number, span

_MOST_LABELS = 60
"""Labels with figures: more would make the page too large to open."""
HARD_CLIPS = 8
HARD_A_LABEL = 2


@dataclass(frozen=True)
class Hard:
    """A clip that the model got wrong: its row, the label's number, and the sentence that says how."""

    row: int
    label: int
    sentence: str


def report_page(
    title: str,
    predictions: Predictions,
    metrics: Mapping[str, Any],
    *,
    log: Sequence[Mapping[str, Any]] = (),
    record: Mapping[str, Any] | None = None,
    sounds: Mapping[str, str] | None = None,
    remark: str = "",
    careful: Sequence[str] = (),
) -> str:
    """The page as html: summary, tables, a section a label, the training run, the hardest clips, the record.

    `log` holds the lines of log.jsonl, `sounds` a data URI for some uids, `remark` is a sentence for the head,
    `careful` are some about the recordings.
    """
    sections = [
        *_all_scores("Scores by label", metrics),
        place_section(metrics),
        rater_section(metrics),
        plain_section(metrics),
        flow_section(metrics),
        calibration_section(metrics),
        _by_subject(metrics),
        f1_section(metrics),
        sites_section(metrics),
        subgroup_section(metrics),
        _labels(predictions, metrics),
        _training(log),
        _hardest(predictions, metrics, sounds or {}),
        f"<h2>How to read the numbers</h2>{bullets(_reading(metrics))}",
        _record(record or {}),
    ]
    first = _opening(title, metrics, remark, [*filter(None, [first_epoch(log)]), *careful])
    body = with_contents("\n".join(filter(None, sections)))
    return page(title, f"{first}\n{body}", styles=("report.css",))


def hardest(predictions: Predictions, loss: str) -> list[Hard]:
    """The clips furthest on the wrong side: of the other class's scores (BCE), or by error in spreads (MSE, scales).

    Of a choice they are those whose kind got the lowest probability. Of many labels at most two each, and each clip
    once.
    """
    a_label = max(HARD_A_LABEL, -(-HARD_CLIPS // len(predictions.labels)))
    kinds = LabelKinds.plain(loss, predictions.labels) if predictions.kinds is None else predictions.kinds
    wrong_NL = np.stack([_wrongness(predictions, at, kind) for at, kind in enumerate(kinds.labels)], axis=1)
    chosen: list[Hard] = []
    for place in np.argsort(-wrong_NL, axis=None, kind="stable"):
        row, label = divmod(int(place), wrong_NL.shape[1])
        if wrong_NL[row, label] <= 0 or len(chosen) == HARD_CLIPS:
            break
        is_full = sum(hard.label == label for hard in chosen) == a_label
        if not is_full and all(hard.row != row for hard in chosen):
            chosen.append(Hard(row, label, _how_wrong(predictions, row, label, kinds.labels[label])))
    return chosen


def _wrongness(predictions: Predictions, label: int, kind: LabelKind) -> Floats:
    """How far on the wrong side each clip lies (N,); -1 without a target."""
    targets_N, scores_N = predictions.targets[:, label], kind.answers(predictions.of_label(label))
    has_N = ~np.isnan(targets_N)
    wrong_N = np.full(len(targets_N), -1.0)
    if kind.kind == CHOICE:
        own_nK = kind.level_chances(predictions.of_label(label))[has_N]
        own_n = own_nK[range(len(own_nK)), targets_N[has_N].astype(np.intp)]
        wrong_N[has_N] = np.where((scores_N == targets_N)[has_N], 0, 1 - own_n)
        return wrong_N
    if kind.kind != YES_NO:
        spread = float(np.std(targets_N[has_N])) if has_N.any() else 0.0
        wrong_N[has_N] = np.abs(scores_N - targets_N)[has_N] / (spread or 1.0)
        return wrong_N
    positive_N, negative_N = has_N & (targets_N >= SOFT_POSITIVE), has_N & (targets_N < SOFT_POSITIVE)
    up_pos, up_neg = np.sort(scores_N[positive_N]), np.sort(scores_N[negative_N])
    if len(up_pos) and len(up_neg):
        wrong_N[positive_N] = 1 - np.searchsorted(up_neg, scores_N[positive_N], side="right") / len(up_neg)
        wrong_N[negative_N] = np.searchsorted(up_pos, scores_N[negative_N], side="left") / len(up_pos)
    return wrong_N


def _how_wrong(predictions: Predictions, row: int, label: int, kind: LabelKind) -> str:
    score = float(kind.answers(predictions.of_label(label)[[row]])[0])
    target = float(predictions.targets[row, label])
    if kind.kind == CHOICE:
        return f"called {kind.levels[int(score)]}, in truth {kind.levels[int(target)]}"
    if kind.kind == SCALE:
        return f"expected level {number(score, 2)}, truth {number(target, 2)}"
    if kind.kind == NUMBER:
        return f"value {number(score)}, truth {number(target)}"
    has = "has the label" if target >= SOFT_POSITIVE else "does not have the label"
    return f"{has}, score {number(score)}"


def _opening(title: str, metrics: Mapping[str, Any], remark: str, more: Sequence[str]) -> str:
    warnings = [*cautions(metrics), *more]
    careful = f"<h2>Be careful</h2>{bullets(warnings)}" if warnings else ""
    last = f'<p class="soft">{escape(how_sure(metrics))} {escape(remark)}</p>'
    first = "".join(f"<p>{escape(sentence)}</p>" for sentence in score_summary(metrics))
    return f'<h1>{escape(title)}</h1><div class="note">{first}</div>{careful}{last}'


def _reading(metrics: Mapping[str, Any]) -> list[str]:
    is_reviewed = any("review" in entry for entry in metrics["labels"].values())
    lines = [line for part in parts_of(metrics) for line in SHOWN[part["loss"]].reading.splitlines()]
    return [*lines, *(READING if is_reviewed else ())]


def _all_scores(caption: str, metrics: Mapping[str, Any], counted: str = "clips") -> list[str]:
    """A table of scores for each kind of labels, which its heading names where there are several."""
    parts = parts_of(metrics)
    names = [f"{caption}: {SHOWN[part['loss']].name}" if len(parts) > 1 else caption for part in parts]
    return [_scores(name, part, counted) for name, part in zip(names, parts, strict=True)]


def _scores(caption: str, metrics: Mapping[str, Any], counted: str = "clips") -> str:
    """Every measure of every label; intervals below the leading one only, to keep the table readable."""
    kind = SHOWN[metrics["loss"]]
    names, without = kind.on_page, kind.baseline
    is_yes_no, is_sure = metrics["loss"] == "BCE", "intervals" in metrics["mean"]
    counts = [counted, *(["positive", "threshold"] if is_yes_no else [])]
    chance = ["chance up to"] if is_sure else []
    titles = [f"{TITLES[name]} ({without[name]})" if name in without else TITLES[name] for name in names]
    head = ["label", titles[0], *chance, *titles[1:], *counts]
    rows = []
    for label, entry in [*metrics["labels"].items(), (MEAN, metrics["mean"])]:
        level = [number(entry["chance"][kind.leading])] if is_sure else []
        row = [Breakable(label), _with_span(entry, names[0]), *level, *(_with_span(entry, name) for name in names[1:])]
        rows.append(row + _counts(entry, is_yes_no))
    return f"<h2>{escape(caption)}</h2>{table(head, rows)}"


def _counts(entry: Mapping[str, Any], is_yes_no: bool) -> list[Any]:
    """Clips, and of yes/no labels the positive ones and the threshold; empty for the mean."""
    if "n" not in entry:
        return [""] * (3 if is_yes_no else 1)
    return [entry["n"], *([entry["n_positive"], number(entry["threshold"])] if is_yes_no else [])]


def _with_span(entry: Mapping[str, Any], name: str) -> str:
    """A value, its interval on a second line, and what an answer without a model reaches below."""
    pair = entry.get("intervals", {}).get(name)
    value, without = number(entry[name]), (entry.get("baseline") or {}).get(name)
    lines = [value, *([] if pair is None or value == UNDEFINED else [span(pair, 2)])]
    # Of the errors the table shows one such answer only.
    return "\n".join(lines if without is None or name == "rmse" else [*lines, f"({number(without)})"])


def _by_subject(metrics: Mapping[str, Any]) -> str:
    found = metrics.get("by_subject")
    if found is None:
        return ""
    tables = _all_scores(f"Scores by {found['unit']}", found, f"{found['unit']}s")
    text = (
        f"The scores of a {found['unit']}'s clips are averaged to one score for each of {found['n']} {found['unit']}s."
    )
    if found["left_out"]:
        text += f" Left out, because they differ between clips of one {found['unit']}: {', '.join(found['left_out'])}."
    return f'{"".join(tables)}<p class="soft">{escape(text)}</p>'


def _labels(predictions: Predictions, metrics: Mapping[str, Any]) -> str:
    """A section a label, its figures in a box that opens."""
    parts = ["<h2>Label by label</h2>"]
    labels = predictions.labels[:_MOST_LABELS]
    if len(labels) < len(predictions.labels):
        parts.append(f"<p>Figures of the first {_MOST_LABELS} of {len(predictions.labels)} labels.</p>")
    answers_NL, kinds = predictions.answers, kinds_of(metrics)
    for at, label in enumerate(labels):
        targets_N, entry = predictions.targets[:, at], metrics["labels"][label]
        if kinds.labels[at].has_levels:
            body = level_figures(targets_N, predictions.of_label(at).astype(np.float64), entry, kinds.labels[at])
        else:
            draw = yes_no_figures if kinds.labels[at].kind == "BCE" else value_figures
            body = draw(targets_N, answers_NL[:, at].astype(np.float64), entry)
        is_open = " open" if at < 3 else ""
        parts.append(f"<details{is_open}><summary><h3>{escape(label)}</h3></summary>{body}</details>")
    return "\n".join(parts)


def _training(log: Sequence[Mapping[str, Any]]) -> str:
    lines = [line for line in log if "epoch" in line]
    return f'<h2>The training run</h2><div class="figures">{training_figures(lines)}</div>' if lines else ""


def _hardest(predictions: Predictions, metrics: Mapping[str, Any], sounds: Mapping[str, str]) -> str:
    found = hardest(predictions, metrics["loss"])
    if not found:
        return ""
    boxes = []
    for hard in found:
        uid, label = predictions.uids[hard.row], predictions.labels[hard.label]
        whose = "" if predictions.subjects is None else f" ({predictions.unit} {predictions.subjects[hard.row]})"
        player = f'<audio controls preload="metadata" src="{sounds[uid]}"></audio>' if uid in sounds else ""
        note = f"<p><strong>{escape(label)}</strong>: {escape(hard.sentence)}</p>"
        boxes.append(f'<div class="clip"><p>{escape(uid)}{escape(whose)}</p>{note}{player}</div>')
    which = "with the largest errors" if metrics["loss"] in ("MSE", "ordinal") else "furthest on the wrong side"
    text = f"The clips {which}, as much of each as the model hears. Wrong labels show up here too."
    return f'<h2>The hardest clips</h2><p>{text}</p><div class="clips">{"".join(boxes)}</div>'


def _record(record: Mapping[str, Any]) -> str:
    """Every option and what else the run kept, in a box that opens."""
    if not record:
        return ""
    rows = [
        [name, value if isinstance(value, str) else json.dumps(value, default=str)] for name, value in record.items()
    ]
    body = table(["name", "value"], rows)
    return f"<h2>The run's record</h2><details><summary>{len(rows)} entries</summary>{body}</details>"
