"""Sum up what a model was developed on, so that another place can be held against it: quantiles, and no name.

Shapes: n recordings, P people, Q quantiles.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssast.metrics.calibration import bearing_people, recalibration
from ssast.metrics.estimates import PLAIN, SHARE, Estimate, auc_of, people_with, share_of
from ssast.metrics.measures import Floats
from ssast.metrics.subgroups import FEW_PEOPLE

QUANTILES = 20
QUANTILE_SHARES = (np.arange(QUANTILES) + 0.5) / QUANTILES
"""Each stands for an equal part of the people, so that no extreme is among them."""
LABEL_MEASURES = {
    "prevalence": SHARE,
    "auc": SHARE,
    "sensitivity": SHARE,
    "specificity": SHARE,
    "calibration_slope": PLAIN,
    "calibration_intercept": PLAIN,
}
"""The measures of a yes/no label, and the scale of each one's interval."""
SCORES_OF = ("scores_with", "scores_without")
"""The scores of people with the label, and of those without it."""


@dataclass(frozen=True)
class Spread:
    """How an amount is spread over people: their number, and the quantiles (Q,) of what is each one's mean."""

    people: int
    quantiles: Floats

    @classmethod
    def of(cls, values_P: Floats) -> "Spread":
        """That of one value a person."""
        own = (np.arange(len(values_P)) + 0.5) / max(len(values_P), 1)
        return cls(len(values_P), np.interp(QUANTILE_SHARES, own, np.sort(values_P)) if len(own) else np.empty(0))

    def at(self, levels: Sequence[float]) -> list[float]:
        """The values that these shares of the people lie below."""
        return [float(value) for value in np.interp(levels, QUANTILE_SHARES, self.quantiles)]

    def entries(self) -> dict[str, object]:
        """Plain values for a file; of too few people none, since they would tell of each."""
        kept = self.quantiles.tolist() if self.people >= FEW_PEOPLE else None
        return {"people": self.people, "quantiles": kept}

    @classmethod
    def of_entries(cls, found: Mapping[str, Any]) -> "Spread | None":
        """The spread of a file, None where it keeps no quantiles; ValueError where it is none."""
        if found["quantiles"] is None:
            return None
        quantiles = np.asarray(found["quantiles"], dtype=np.float64)
        if quantiles.shape != (QUANTILES,) or not np.isfinite(quantiles).all() or (np.diff(quantiles) < 0).any():
            raise ValueError(f"a property has no {QUANTILES} quantiles that rise")
        return cls(_count(found["people"], FEW_PEOPLE), quantiles)


@dataclass(frozen=True)
class LabelSummary:
    """A yes/no label in one place: how many people have it and lack it, its measures, its scores of both."""

    people_with: int
    people_without: int
    measures: Mapping[str, Estimate] = field(default_factory=dict)
    scores: Mapping[str, Spread] = field(default_factory=dict)

    def entries(self) -> dict[str, object]:
        """Plain values for a file."""
        kept = {
            name: {"value": own.value, "error": own.error, "people": own.bearing}
            for name, own in self.measures.items()
            if np.isfinite(own.value) and np.isfinite(own.error)
        }
        scores = {name: own.entries() for name, own in self.scores.items()}
        counts = {"people_with": self.people_with, "people_without": self.people_without}
        return {**counts, "measures": kept, "scores": scores}

    @classmethod
    def of_entries(cls, found: Mapping[str, Any]) -> "LabelSummary":
        """That of a file; ValueError, KeyError or TypeError where it is none."""
        measures = {name: _estimate(own, LABEL_MEASURES[name]) for name, own in found["measures"].items()}
        spreads = {str(name): Spread.of_entries(own) for name, own in found["scores"].items()}
        scores = {name: own for name, own in spreads.items() if own is not None}
        return cls(_count(found["people_with"]), _count(found["people_without"]), measures, scores)


@dataclass(frozen=True)
class Development:
    """What a model folder keeps of the people that it was developed on.

    `properties` are those of the recordings that it was trained and chosen on; `labels` are of the people of its own
    test, whom it had not heard. `unit` is what one of them is called. `parts` count people and answers of training and
    validation for readers; nothing is computed from them, so they are not read again.
    """

    recordings: int
    people: int
    tested: int
    unit: str
    properties: Mapping[str, Spread]
    labels: Mapping[str, LabelSummary]
    parts: Mapping[str, object] = field(default_factory=dict)

    def entries(self) -> dict[str, object]:
        """Plain values for a file."""
        counts = {name: getattr(self, name) for name in ("recordings", "people", "tested", "unit", "parts")}
        properties = {name: own.entries() for name, own in self.properties.items()}
        return {
            **counts,
            "properties": properties,
            "labels": {name: own.entries() for name, own in self.labels.items()},
        }

    @classmethod
    def of_entries(cls, found: Mapping[str, Any]) -> "Development":
        """That of a file; ValueError, KeyError, TypeError or AttributeError where it is none."""
        spreads = {str(name): Spread.of_entries(own) for name, own in found["properties"].items()}
        recordings, people, tested = (_count(found[name]) for name in ("recordings", "people", "tested"))
        labels = {str(name): LabelSummary.of_entries(own) for name, own in found["labels"].items()}
        properties = {name: own for name, own in spreads.items() if own is not None}
        return cls(recordings, people, tested, str(found["unit"]), properties, labels)


def counted_people(count: int) -> str:
    """`1 person`, `2 people`."""
    return f"{count} {'person' if count == 1 else 'people'}"


def _count(value: object, least: int = 0) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= 10**9:
        raise ValueError(f"a count is not a whole number from {least}")
    return value


def _estimate(found: Mapping[str, Any], scale: str) -> Estimate:
    """An estimate of which value, error and people are known: one pull stands for those of all."""
    value, error, people = float(found["value"]), float(found["error"]), _count(found["people"])
    if not np.isfinite([value, error]).all() or error < 0 or (scale == SHARE and not 0 <= value <= 1):
        raise ValueError("a measure is out of its range")
    pull = error * ((people - 1) / people) ** 0.5 if people > 1 else 0.0
    return Estimate(value, np.array([pull]), people, scale)


def person_means(values_n: Floats, subject_n: NDArray[np.intp]) -> Floats:
    """The mean of each person's recordings (P,), of those people of whom one is known."""
    known_n = ~np.isnan(values_n)
    _, code_n = np.unique(subject_n[known_n], return_inverse=True)
    return np.asarray(np.bincount(code_n, values_n[known_n]) / np.bincount(code_n), dtype=np.float64)


def label_summary(
    positive_n: NDArray[np.bool_], scores_n: Floats, called_n: NDArray[np.bool_], subject_n: NDArray[np.intp]
) -> LabelSummary:
    """A yes/no label's people, and where there are enough of both kinds its measures and scores."""
    counts = people_with(positive_n, subject_n), people_with(~positive_n, subject_n)
    if min(counts) < FEW_PEOPLE:
        return LabelSummary(*counts)
    subjects = int(subject_n.max()) + 1
    fit = recalibration(positive_n, scores_n, subject_n, subjects)
    everybody_n = np.ones(len(positive_n), dtype=bool)
    measures = {
        "prevalence": share_of(positive_n, everybody_n, subject_n, subjects),
        "auc": auc_of(positive_n, scores_n, subject_n, subjects, bearing_people(positive_n, subject_n)),
        "sensitivity": share_of(called_n, positive_n, subject_n, subjects),
        "specificity": share_of(~called_n, ~positive_n, subject_n, subjects),
        "calibration_slope": fit.slope,
        "calibration_intercept": fit.intercept,
    }
    scores = {
        name: Spread.of(person_means(scores_n[own_n], subject_n[own_n]))
        for name, own_n in zip(SCORES_OF, (positive_n, ~positive_n), strict=True)
    }
    return LabelSummary(*counts, measures, scores)
