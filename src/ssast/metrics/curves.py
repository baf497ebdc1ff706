"""Compute the points of one label's figures: ROC, precision-recall, calibration, confusion counts.

Shapes: n clips with a target, K points of a curve.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssast.metrics.measures import CALIBRATION_BINS, SOFT_POSITIVE, Floats

MOST_POINTS = 200
"""Points of a drawn curve: more cannot be told apart at its size."""


@dataclass(frozen=True)
class Curve:
    """Points (K,) of a curve in the order in which it is drawn."""

    x: Floats
    y: Floats

    def thinned(self) -> "Curve":
        """Return the curve with at most MOST_POINTS points, its ends among them."""
        if len(self.x) <= MOST_POINTS:
            return self
        kept = np.unique(np.linspace(0, len(self.x) - 1, MOST_POINTS).round().astype(np.intp))
        return Curve(self.x[kept], self.y[kept])


@dataclass(frozen=True)
class Confusion:
    """How many clips with the label were called and missed, and without it called and left alone."""

    found: int
    missed: int
    false: int
    spared: int

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> "Confusion":
        """The counts behind a label's entry of metrics.json that has both classes."""
        positive, negative = entry["n_positive"], entry["n"] - entry["n_positive"]
        found, spared = round(entry["sensitivity"] * positive), round(entry["specificity"] * negative)
        return cls(found, positive - found, negative - spared, spared)


@dataclass(frozen=True)
class Bin:
    """One bar of a calibration figure: mean score, share of positives, clips."""

    score: float
    share: float
    clips: int


def known(targets_N: Floats, scores_N: Floats) -> tuple[NDArray[np.bool_], Floats]:
    """Whether each clip with a target is positive (n,), and its score (n,)."""
    valid_N = ~np.isnan(targets_N)
    return targets_N[valid_N] >= SOFT_POSITIVE, np.asarray(scores_N, dtype=np.float64)[valid_N]


def roc(positive_n: NDArray[np.bool_], scores_n: Floats) -> Curve:
    """Share of negatives called (x) and of positives called (y), from the strictest threshold to the loosest."""
    found_K, false_K = _called(positive_n, scores_n)
    return Curve(np.append(0, false_K) / max(false_K[-1], 1), np.append(0, found_K) / max(found_K[-1], 1))


def precision_recall(positive_n: NDArray[np.bool_], scores_n: Floats) -> Curve:
    """Recall (x) and precision (y), from the strictest threshold to the loosest."""
    found_K, false_K = _called(positive_n, scores_n)
    return Curve(found_K / max(found_K[-1], 1), found_K / (found_K + false_K))


def _called(positive_n: NDArray[np.bool_], scores_n: Floats) -> tuple[Floats, Floats]:
    """Positives and negatives at or above each score that occurs, from the highest down."""
    order_n = np.argsort(-scores_n, kind="stable")
    last_K = np.append(np.flatnonzero(np.diff(scores_n[order_n])), len(scores_n) - 1)
    found_n = np.cumsum(positive_n[order_n], dtype=np.float64)
    return found_n[last_K], (last_K + 1) - found_n[last_K]


def calibration(positive_n: NDArray[np.bool_], scores_n: Floats) -> list[Bin]:
    """Those of ten equal bins from 0 to 1 that hold clips, as the calibration error counts them."""
    bin_n = np.clip((scores_n * CALIBRATION_BINS).astype(np.intp), 0, CALIBRATION_BINS - 1)
    members = [bin_n == number for number in range(CALIBRATION_BINS)]
    return [
        Bin(float(scores_n[own].mean()), float(positive_n[own].mean()), int(own.sum())) for own in members if own.any()
    ]
