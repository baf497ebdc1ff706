"""Measure what a threshold is good for: net benefit, predictive values and likelihood ratios, by subject.

Shapes: n clips with a target, S subjects.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ssast.metrics.calibration import bearing_people
from ssast.metrics.estimates import RATIO, SHARE, Estimate, mean_of, share_of, undefined, welch_freedom
from ssast.metrics.measures import Floats

DECISION_THRESHOLDS = tuple(round(0.05 * step, 2) for step in range(1, 20))
"""Where a decision curve is measured."""


@dataclass(frozen=True)
class Benefit:
    """Net benefit at one threshold: of the model, of calling everybody; calling nobody has 0."""

    threshold: float
    model: Estimate
    everybody: float


def net_benefit(
    positive_n: NDArray[np.bool_], scores_n: Floats, threshold: float, subject_n: NDArray[np.intp], subjects: int
) -> Benefit:
    """True calls less false ones, these weighed by the odds of the threshold, a clip (Vickers and Elkin 2006).

    A threshold of 0.2 says that one person found is worth four who are called for nothing.
    """
    price = threshold / (1 - threshold)
    worth_n = np.where(positive_n, 1.0, -price)
    model = mean_of(np.where(scores_n >= threshold, worth_n, 0.0), subject_n, subjects)
    # As for every other measure, the rarer class says how much is known.
    return Benefit(threshold, replace(model, bearing=bearing_people(positive_n, subject_n)), float(worth_n.mean()))


@dataclass(frozen=True)
class Predictive:
    """Predictive values at a prevalence, and likelihood ratios, of calls at the threshold in use."""

    ppv: Estimate
    npv: Estimate
    lr_positive: Estimate
    lr_negative: Estimate


def predictive(
    positive_n: NDArray[np.bool_],
    called_n: NDArray[np.bool_],
    prevalence: float,
    subject_n: NDArray[np.intp],
    subjects: int,
) -> Predictive:
    """PPV, NPV and both likelihood ratios; undefined where a call, or its absence, never happens wrongly.

    With sensitivity and specificity as in this set and this prevalence (Bayes' rule).
    """
    sensitivity = share_of(called_n, positive_n, subject_n, subjects)
    false = share_of(called_n, ~positive_n, subject_n, subjects)
    missed = share_of(~called_n, positive_n, subject_n, subjects)
    spared = share_of(~called_n, ~positive_n, subject_n, subjects)
    lr_positive, lr_negative = _quotient(sensitivity, false), _quotient(missed, spared)
    ppv = _after(sensitivity.value * prevalence, false.value * (1 - prevalence), lr_positive)
    npv = _after(spared.value * (1 - prevalence), missed.value * prevalence, lr_negative, turned=True)
    return Predictive(ppv, npv, lr_positive, lr_negative)


def _quotient(above: Estimate, below: Estimate) -> Estimate:
    """The ratio of two shares; its relative error is that of both, which one person may move together.

    The log method of Simel and others (1991, Journal of Clinical Epidemiology 44), with Welch's degrees of freedom.
    """
    if not (above.value > 0 and below.value > 0):
        value = 0.0 if above.value == 0 and below.value > 0 else float("nan")
        return Estimate(value, np.zeros_like(above.pulls), 0, RATIO)
    value = above.value / below.value
    pulls_S = value * (above.pulls / above.value - below.pulls / below.value)
    bearing = min(above.bearing, below.bearing)
    if bearing < 2:
        return Estimate(value, pulls_S, bearing, RATIO)
    squares = [(share.error / share.value) ** 2 for share in (above, below)]
    freedom = welch_freedom(squares, [above.bearing - 1, below.bearing - 1])
    return Estimate(value, pulls_S, bearing, RATIO, freedom)


def _after(right: float, wrong: float, ratio: Estimate, *, turned: bool = False) -> Estimate:
    """The share of right ones among calls (or among clips that are not called: `turned`)."""
    if not right + wrong > 0:
        return undefined(len(ratio.pulls), SHARE)
    value = right / (right + wrong)
    if not ratio.value > 0:
        return Estimate(value, np.zeros_like(ratio.pulls), 0, SHARE)
    # The log-odds of a predictive value move as the logarithm of the likelihood ratio does.
    sign = -1.0 if turned else 1.0
    pulls_S = sign * value * (1 - value) * ratio.pulls / ratio.value
    return Estimate(value, pulls_S, ratio.bearing, SHARE, ratio.freedom)
