"""Score predictions with all that reviewers of a model ask for, the same for one model and for those of folds."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ssast import redaction
from ssast.metrics.measures import Floats
from ssast.metrics.predictions import Predictions
from ssast.metrics.raters import add_raters
from ssast.metrics.review import add_review, is_yes_no
from ssast.metrics.score_entries import Metrics
from ssast.metrics.scores import Thresholds
from ssast.metrics.subgroups import GroupColumn, add_subgroups
from ssast.runs.results import RESAMPLES_SEED, named_subjects, score_predictions
from ssast.runs.reviewing.plain_baseline import add_plain_baseline
from ssast.runs.rows import Rows

_MOST_REASONS = 8
_UNKNOWN = "no reason was noted"


def reviewed_scores(
    predictions: Predictions,
    source: Rows,
    thresholds: Thresholds,
    *,
    resamples: int,
    prevalence: float | None,
    left_out: int,
    plain: Mapping[str, Floats],
    groups: Sequence[GroupColumn],
    reasons: Mapping[str, str],
    not_scored: Sequence[str] = (),
) -> Metrics:
    """metrics.json: scores, calibration and use, the plain baseline, groups of people, the raters and the flow.

    `left_out` counts the rows of `source` that could not be used, and `reasons` say why; `plain` has the baseline's
    scores of the predictions' clips by label, `groups` the groups of the rows of `source`; `not_scored` are labels of
    the model that the table lacks.
    """
    metrics = score_predictions(predictions, source.kinds.loss, thresholds, resamples, left_out=left_out)
    if not_scored:
        metrics["not_scored"] = list(not_scored)
    add_review(metrics, predictions, thresholds, prevalence)
    add_plain_baseline(metrics, predictions, plain)
    rows = source.frame.index.get_indexer(pd.Index(predictions.uids)).tolist()
    add_subgroups(metrics, predictions, thresholds, [column.at(rows) for column in groups])
    ratings = {label: own_RJ[rows] for label, own_RJ in zip(source.labels, source.ratings.by_label, strict=True)}
    add_raters(metrics, predictions, source.kinds, ratings, thresholds, RESAMPLES_SEED)
    add_flow(metrics, source, predictions, reasons)
    return metrics


def add_flow(metrics: Metrics, source: Rows, predictions: Predictions, reasons: Mapping[str, str]) -> None:
    """Put "flow" into metrics.json: what the table holds, what was left out and why, what was scored, with how many
    targets. `reasons` are those of recordings that could not be used, by uid as it may be shown."""
    scored = set(predictions.uids)
    lost = source.frame.index[[uid not in scored for uid in source.frame.index]]
    counts = Counter(_kind(uid, reasons) for uid in lost)
    named = counts.most_common(_MOST_REASONS)
    kinds = [{"reason": reason, "recordings": count} for reason, count in named]
    if others := len(lost) - sum(count for _, count in named):
        kinds.append({"reason": "other reasons", "recordings": others})
    names, unit = named_subjects(source.frame)
    whose = dict(zip(source.frame.index, [None] * len(source.frame) if names is None else names, strict=True))
    metrics["flow"] = {
        "unit": unit,
        "table": _counted(list(whose), whose, names is not None),
        "left_out": {"recordings": len(lost), "reasons": kinds},
        "scored": _counted(predictions.uids, whose, names is not None),
        "labels": {label: _targets(metrics, predictions, at) for at, label in enumerate(predictions.labels)},
    }


def _kind(uid: str, reasons: Mapping[str, str]) -> str:
    """Why a recording was left out, without its name, its numbers, and the advice behind the reason."""
    shown = redaction.shown_name("uid", uid)
    reason = reasons.get(shown, _UNKNOWN).partition(";")[0].replace(shown, "it")
    return re.sub(r"\d[\d.,]*", "N", re.sub(r"^(?:recording |uid |clip )?it: ", "", reason)).strip()


def _counted(uids: list[str], whose: Mapping[str, Any], has_people: bool) -> dict[str, int | None]:
    people = {whose[uid] for uid in uids} - {None}
    return {"recordings": len(uids), "people": len(people) if has_people else None}


def _targets(metrics: Metrics, predictions: Predictions, at: int) -> dict[str, int]:
    """How many scored recordings have a target, and of a yes/no label how many have the label."""
    label, entry = predictions.labels[at], metrics["labels"][predictions.labels[at]]
    known = int((~np.isnan(predictions.targets[:, at])).sum())
    counts = {"known": known, "empty": len(predictions.uids) - known}
    return counts | ({"with": int(entry["n_positive"])} if is_yes_no(metrics, label) else {})
