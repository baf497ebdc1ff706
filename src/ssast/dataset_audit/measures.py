"""Measure how well traits or a model tell one label: AUC or rank correlation, with intervals.

Shapes: N clips, n clips whose label is known, R resamples.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssast.dataset_audit.audit_results import Measured
from ssast.metrics.intervals import bootstrap, bounded_interval, signed_interval
from ssast.metrics.measures import SOFT_POSITIVE, Draws, Floats, Groups, Measure, auc, regression, tie_groups

MEASURE = {"BCE": "auc", "MSE": "spearman"}
ITSELF = {"auc": 0.99, "spearman": 0.97}
"""A column that tells a label this well is likely another form of it."""
NO_MEASURE = {"BCE": 0.5, "MSE": 0.0}
"""What the measure is where score and label have nothing to do with each other."""


def measured(
    truth_n: Floats, scores: Sequence[Floats], subject_n: NDArray[np.intp], loss: str, resamples: int, seed: int
) -> list[Measured]:
    """AUC, or Spearman's correlation, of each of these scores with its 95 % interval; None where it is undefined.

    Clips whose score is NaN are left out.
    """
    name = MEASURE[loss]
    gone = [np.where(np.isnan(score_n), np.nan, truth_n) for score_n in scores]
    filled = [np.nan_to_num(score_n) for score_n in scores]
    make: Callable[[Floats, Floats], Measure] = regression if loss == "MSE" else _Area.of
    measures = [make(own_n, score_n) for own_n, score_n in zip(gone, filled, strict=True)]
    draws = bootstrap(measures, subject_n, resamples, seed) if len(truth_n) else []
    found: list[Measured] = []
    for at, measure in enumerate(measures):
        point = float(measure(np.ones((1, len(truth_n))))[name][0]) if len(truth_n) else np.nan
        span = None if np.isnan(point) else _interval(point, draws[at][name], gone[at], subject_n, loss)
        count = int((~np.isnan(gone[at])).sum())
        found.append({"value": None if np.isnan(point) else point, "interval": span, "n": count})
    return found


def _interval(point: float, draws_R: Floats, truth_n: Floats, subject_n: NDArray[np.intp], loss: str) -> Any:
    has = truth_n >= SOFT_POSITIVE
    groups = [~np.isnan(truth_n)] if loss == "MSE" else [has, ~has & ~np.isnan(truth_n)]
    bearing = min(len(np.unique(subject_n[which])) for which in groups)
    return (signed_interval if loss == "MSE" else bounded_interval)(point, draws_R, bearing)


@dataclass(frozen=True)
class _Area:
    """The AUC alone, of weights (R, n): the other measures of a label would cost four times as much."""

    rows_n: NDArray[np.intp]
    has_n: Floats
    groups: Groups

    @classmethod
    def of(cls, truth_n: Floats, score_n: Floats) -> "_Area":
        known_n = np.flatnonzero(~np.isnan(truth_n))
        rows_n = known_n[np.argsort(score_n[known_n], kind="stable")]
        return cls(rows_n, (truth_n[rows_n] >= SOFT_POSITIVE).astype(np.float64), tie_groups(score_n[rows_n]))

    def __call__(self, weights_RN: Floats) -> Draws:
        weights_Rn = np.take(weights_RN, self.rows_n, axis=1)
        has_Rn = weights_Rn * self.has_n
        return {"auc": auc(has_Rn, weights_Rn - has_Rn, self.groups)}
