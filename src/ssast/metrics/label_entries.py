"""Describe one label in `metrics.json`: its measures, what they rest on, and what an answer without a model reaches.

Shapes: N clips, n clips with a target, w outputs of the label.
"""

from collections.abc import Mapping
from typing import cast

import numpy as np

from ssast.metrics.level_measures import AT, baseline, confusion
from ssast.metrics.measures import SOFT_POSITIVE, Floats
from ssast.metrics.score_entries import LabelScores
from ssast.model.label_kinds import LabelKind


def label_entry(
    label: LabelKind, targets_N: Floats, scores_Nw: Floats, points: Mapping[str, float], threshold: float | Floats
) -> LabelScores:
    """One label's entry."""
    if not label.has_levels:
        return _describe(targets_N, points, threshold if label.kind == "BCE" else None)
    entry = _describe(targets_N, points, None)
    entry |= {"kind": label.kind, "levels": list(label.levels)}
    if label.cut is not None:
        entry["cut"] = label.cut
    entry |= {"baseline": baseline(label, targets_N), "confusion": confusion(label, targets_N, scores_Nw)}
    if entry["reason"] and entry["n"]:
        entry["reason"] = entry["reason"].partition("; ")[0] + "; no clip, or every clip, has that level or kind"
    return entry


def _describe(targets_N: Floats, points: Mapping[str, float], threshold: float | Floats | None) -> LabelScores:
    """One label's entry; `threshold` None means values, not classes."""
    known_n = targets_N[~np.isnan(targets_N)]
    entry = cast(LabelScores, jsonable(points))
    entry |= {"n": len(known_n), "reason": None}
    missing = [name for name, point in points.items() if np.isnan(point) and AT not in name]
    positives = int((known_n >= SOFT_POSITIVE).sum())
    if threshold is not None:
        entry |= {"threshold": threshold if isinstance(threshold, float) else None, "n_positive": positives}
    entry["baseline"] = _baseline(known_n, is_value=threshold is None)
    if missing:
        entry["reason"] = f"undefined: {', '.join(missing)}; " + _why(
            len(known_n), None if threshold is None else positives
        )
    return entry


def _baseline(known_n: Floats, *, is_value: bool) -> dict[str, float | None]:
    """What answers without a model reach: always yes, or the mean of these targets."""
    if not len(known_n):
        return dict.fromkeys(("mae", "rmse") if is_value else ("f1",))
    if is_value:
        away_n = known_n - known_n.mean()
        return {"mae": float(np.abs(away_n).mean()), "rmse": float(np.sqrt((away_n**2).mean()))}
    share = float(np.mean(known_n >= SOFT_POSITIVE))
    return {"f1": 2 * share / (1 + share)}


def _why(known: int, positives: int | None) -> str:
    if known == 0:
        return "no clip has a target"
    if positives is None:
        return f"the {known} targets or their scores do not vary"
    if positives in (0, known):
        return f"all {known} targets are {'positive' if positives else 'negative'}"
    return "some scores are not between 0 and 1"


def jsonable(points: Mapping[str, float]) -> dict[str, float | None]:
    """The measures as JSON takes them: None for NaN."""
    return {name: None if np.isnan(point) else point for name, point in points.items()}
