"""Recalibrate scores by logistic regression: an intercept alone, or a slope too, fitted on some people for others.

Shapes: n recordings.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ssast.metrics.calibration import log_odds, recalibration
from ssast.metrics.estimates import Estimate, logistic, mean_of, people_with, share_of
from ssast.metrics.external.development import counted_people
from ssast.metrics.measures import Floats
from ssast.metrics.subgroups import FEW_PEOPLE


@dataclass(frozen=True)
class Update:
    """New log-odds are the old ones times a slope, plus an intercept."""

    intercept: float
    slope: float

    def apply(self, scores_n: Floats) -> Floats:
        """The scores after it, from 0 to 1 in the same order where the slope is above 0."""
        return 1 / (1 + np.exp(-np.clip(self.intercept + self.slope * log_odds(scores_n), -700, 700)))


@dataclass(frozen=True)
class Updates:
    """What was fitted on some people: the intercept alone, and both; else the reason why not."""

    people_with: int
    people_without: int
    intercept: Update | None = None
    both: Update | None = None
    reason: str = ""


def fit_updates(positive_n: NDArray[np.bool_], scores_n: Floats, subject_n: NDArray[np.intp]) -> Updates:
    """The updates that fit these recordings best; it takes some people with the label and as many without it."""
    counts = people_with(positive_n, subject_n), people_with(~positive_n, subject_n)
    if min(counts) < FEW_PEOPLE:
        why = f"{counted_people(counts[0])} with the label and {counts[1]} without it are too few to recalibrate on"
        return Updates(*counts, reason=f"{why}; it takes {FEW_PEOPLE} of each, so give a larger share")
    if scores_n.min() < 0 or scores_n.max() > 1:
        return Updates(*counts, reason="some scores are not between 0 and 1")
    odds_n, ones_n1, subjects = log_odds(scores_n), np.ones((len(scores_n), 1)), int(subject_n.max()) + 1
    large = logistic(ones_n1, positive_n, odds_n, subject_n, subjects)
    both = None
    if np.ptp(odds_n) > 0:
        design_n2 = np.column_stack([ones_n1, odds_n])
        both = logistic(design_n2, positive_n, np.zeros(len(odds_n)), subject_n, subjects)
    reason = "" if both else "the scores hardly vary, or part the two classes perfectly, so no slope can be fitted"
    return Updates(
        *counts,
        None if large is None else Update(float(large.beta[0]), 1.0),
        None if both is None else Update(*map(float, both.beta)),
        reason,
    )


def measures_after(
    positive_n: NDArray[np.bool_], scores_n: Floats, threshold: float, subject_n: NDArray[np.intp]
) -> dict[str, Estimate]:
    """Calibration, Brier score, and what the carried threshold does to these scores."""
    subjects = int(subject_n.max()) + 1
    fit, called_n = recalibration(positive_n, scores_n, subject_n, subjects), scores_n >= threshold
    return {
        "calibration_slope": fit.slope,
        "calibration_intercept": fit.intercept,
        "brier": mean_of((scores_n - positive_n) ** 2, subject_n, subjects),
        "sensitivity": share_of(called_n, positive_n, subject_n, subjects),
        "specificity": share_of(~called_n, ~positive_n, subject_n, subjects),
    }
