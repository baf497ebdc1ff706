"""Choose a threshold on validation clips: the one that separates best (Youden), or that reaches what is asked.

Shapes: N clips, n clips with a target, L scores that occur.
"""

from dataclasses import dataclass

import numpy as np

from ssast.metrics.measures import SOFT_POSITIVE, Floats

DEFAULT_THRESHOLD = 0.5


@dataclass(frozen=True)
class ThresholdRule:
    """How thresholds are chosen: a sensitivity or a specificity that they reach, or else the largest sum of both."""

    sensitivity: float | None = None
    specificity: float | None = None

    @property
    def sentence(self) -> str:
        """The rule as thresholds.json tells it."""
        asked = {"sensitivity": self.sensitivity, "specificity": self.specificity}
        for name, value in asked.items():
            if value is not None:
                other = "specificity" if name == "sensitivity" else "sensitivity"
                return f"largest {other} among those that reach a {name} of {value:g} on the validation clips; " + _ELSE
        return f"largest sensitivity + specificity on the validation clips; {_ELSE}"


_ELSE = f"{DEFAULT_THRESHOLD:g} where they do not hold both classes"
YOUDEN = ThresholdRule()


def threshold_of(targets_N: Floats, scores_N: Floats, rule: ThresholdRule = YOUDEN) -> tuple[float, str]:
    """The threshold by this rule, or 0.5 and why none could be chosen."""
    valid_N = ~np.isnan(targets_N)
    positive_n, scores_n = targets_N[valid_N] >= SOFT_POSITIVE, scores_N[valid_N]
    levels, level_n = np.unique(scores_n, return_inverse=True)
    positives = np.bincount(level_n, positive_n, len(levels)).astype(np.float64)
    negatives = np.bincount(level_n, ~positive_n, len(levels)).astype(np.float64)
    if not positives.any() or not negatives.any():
        return DEFAULT_THRESHOLD, "the validation clips hold only one answer"
    if len(levels) < 2:
        return DEFAULT_THRESHOLD, "the validation clips all have the same score"
    if rule != YOUDEN:
        return _reaching(rule, levels, positives, negatives)
    gain = np.cumsum(negatives)[:-1] * positives.sum() - np.cumsum(positives)[:-1] * negatives.sum()  # whole numbers
    if gain.max() <= 0:
        return DEFAULT_THRESHOLD, "no threshold was better than chance on the validation clips"
    best = _between(levels)[gain == gain.max()]
    return float(best[np.argmin(np.abs(best - DEFAULT_THRESHOLD))]), ""


def _between(levels_L: Floats) -> Floats:
    """A threshold between each score and the next, halfway where numbers lie there."""
    between = levels_L[:-1] + np.diff(levels_L) / 2
    return np.where(between > levels_L[:-1], between, levels_L[1:])


def _reaching(rule: ThresholdRule, levels_L: Floats, positives_L: Floats, negatives_L: Floats) -> tuple[float, str]:
    """The threshold that reaches the sensitivity and calls fewest, or reaches the specificity and calls most."""
    called_L = np.cumsum(positives_L[::-1])[::-1] / positives_L.sum()  # by a threshold just below each score
    spared_L = 1 - np.cumsum(negatives_L[::-1])[::-1] / negatives_L.sum()
    cuts_L = np.concatenate([levels_L[:1], _between(levels_L)])
    if rule.sensitivity is not None:
        return float(cuts_L[np.flatnonzero(called_L >= rule.sensitivity - 1e-12)[-1]]), ""
    reached = np.flatnonzero(spared_L >= (rule.specificity or 0) - 1e-12)
    if not len(reached):
        return DEFAULT_THRESHOLD, f"to call the highest score alone misses the specificity {rule.specificity:g}"
    return float(cuts_L[reached[0]]), ""
