"""Add to the scores of yes/no labels in metrics.json what reviewers of a clinical model ask for.

Among it is what a threshold is good for: net benefit, predictive values and likelihood ratios, by subject.
Shapes: N clips, n clips with a target, S subjects.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssast.metrics import curves
from ssast.metrics.calibration import bearing_people, recalibration, smooth_curve
from ssast.metrics.estimates import (
    RATIO,
    SHARE,
    Estimate,
    auc_of,
    mean_of,
    people_with,
    share_of,
    undefined,
    welch_freedom,
)
from ssast.metrics.intervals import number_subjects
from ssast.metrics.measures import Floats
from ssast.metrics.predictions import Predictions
from ssast.metrics.score_entries import Metrics, kind_of
from ssast.metrics.threshold_rules import DEFAULT_THRESHOLD
from ssast.model.label_kinds import YES_NO

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


_DIGITS = 6


def is_yes_no(metrics: Mapping[str, Any], label: str) -> bool:
    """Whether a label of metrics.json is answered by yes or no."""
    return kind_of(metrics, label) == YES_NO


def add_review(
    metrics: Metrics,
    predictions: Predictions,
    thresholds: Mapping[str, float | Floats],
    prevalence: float | None = None,
) -> None:
    """Put calibration, net benefit, predictive values and how sure the set can be into each yes/no label's entry.

    `prevalence` is that of the place where the model is to be used; without it this set's own share serves.
    """
    for at, label in enumerate(predictions.labels):
        if not is_yes_no(metrics, label):
            continue
        threshold = thresholds.get(label, DEFAULT_THRESHOLD)
        found = _review(predictions, at, np.asarray(threshold, dtype=np.float64), prevalence)
        metrics["labels"][label]["review"] = found


def _review(predictions: Predictions, at: int, threshold: Floats, prevalence: float | None) -> dict[str, Any]:
    targets_N, subject_N = predictions.targets[:, at], number_subjects(predictions.subjects, len(predictions.uids))
    valid_N = ~np.isnan(targets_N)
    positive_n, scores_n = curves.known(targets_N, predictions.answers[:, at])
    called_n = scores_n >= np.broadcast_to(threshold, targets_N.shape)[valid_N]
    known = (positive_n, scores_n, subject_N[valid_N], int(subject_N.max(initial=-1)) + 1)
    found = {"calibration": _calibration(*known)}
    if len(positive_n) and positive_n.any() and not positive_n.all():
        found["at_threshold"] = _at_threshold(known, called_n, prevalence)
        found["certainty"] = _certainty(*known)
        if scores_n.min() >= 0 and scores_n.max() <= 1:
            found["net_benefit"] = _net_benefit(*known)
    return found


def _calibration(
    positive_n: NDArray[np.bool_], scores_n: Floats, subject_n: NDArray[np.intp], subjects: int
) -> dict[str, Any]:
    found = recalibration(positive_n, scores_n, subject_n, subjects)
    smooth = smooth_curve(positive_n, scores_n, subject_n, subjects)
    names = ("score", "share", "low", "high")
    curve = smooth and {name: rounded(getattr(smooth, name)) for name in names}
    told = {"slope": described(found.slope), "intercept": described(found.intercept)}
    return told | {"reason": found.reason or None, "curve": curve}


def _at_threshold(known: tuple[Any, ...], called_n: NDArray[np.bool_], prevalence: float | None) -> dict[str, Any]:
    positive_n, _, subject_n, subjects = known
    share = float(positive_n.mean()) if prevalence is None else prevalence
    found = predictive(positive_n, called_n, share, subject_n, subjects)
    told = {name: described(getattr(found, name)) for name in ("ppv", "npv", "lr_positive", "lr_negative")}
    return {"prevalence": share, "prevalence_is_given": prevalence is not None, **told}


def _certainty(
    positive_n: NDArray[np.bool_], scores_n: Floats, subject_n: NDArray[np.intp], subjects: int
) -> dict[str, Any]:
    """People with and without the label, and how wide the interval of the AUC is, now and for twice as many people."""
    auc = auc_of(positive_n, scores_n, subject_n, subjects, bearing_people(positive_n, subject_n))
    return {
        "people": len(np.unique(subject_n)),
        "people_with": people_with(positive_n, subject_n),
        "people_without": people_with(~positive_n, subject_n),
        "events": int(positive_n.sum()),
        "auc_width": _width(auc.interval()),
        "auc_width_twice": _width(auc.interval(times=2)),
    }


def _width(pair: list[float] | None) -> float | None:
    return None if pair is None else pair[1] - pair[0]


def _net_benefit(
    positive_n: NDArray[np.bool_], scores_n: Floats, subject_n: NDArray[np.intp], subjects: int
) -> dict[str, Any]:
    found = [net_benefit(positive_n, scores_n, threshold, subject_n, subjects) for threshold in DECISION_THRESHOLDS]
    spans: list[Sequence[float | None]] = [own.model.interval() or (None, None) for own in found]
    return {
        "thresholds": list(DECISION_THRESHOLDS),
        "model": rounded([own.model.value for own in found]),
        "low": [low if low is None else round(low, _DIGITS) for low, _ in spans],
        "high": [high if high is None else round(high, _DIGITS) for _, high in spans],
        "everybody": rounded([own.everybody for own in found]),
    }


def rounded(values: Any) -> list[float]:
    """The points of a curve, as finely as they can be drawn."""
    return [round(float(value), _DIGITS) for value in values]


def described(estimate: Estimate) -> dict[str, Any]:
    """A value and its interval, None where they are undefined."""
    is_known = bool(np.isfinite(estimate.value))
    return {"value": estimate.value if is_known else None, "interval": estimate.interval()}
