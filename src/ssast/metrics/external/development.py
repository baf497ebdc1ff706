"""Sum up what a model was developed on, so that another place can be held against it: quantiles, and no name.

Shapes: n recordings, P people, Q quantiles.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssast.metrics.estimates import BOTH_WAYS, PLAIN, RATIO, SHARE, Estimate
from ssast.metrics.external.categories import Shares
from ssast.metrics.external.kept import estimate_entry, kept_estimate, whole_number
from ssast.metrics.measures import Floats
from ssast.metrics.subgroups import FEW_PEOPLE

QUANTILES = 20
QUANTILE_SHARES = (np.arange(QUANTILES) + 0.5) / QUANTILES
"""Each stands for an equal part of the people, so that no extreme is among them."""
LABEL_MEASURES = {
    **dict.fromkeys(("prevalence", "auc", "sensitivity", "specificity", "accuracy"), SHARE),
    **dict.fromkeys(("calibration_slope", "calibration_intercept", "mean_target"), PLAIN),
    **dict.fromkeys(("mae", "rmse", "mae_steps"), RATIO),
    "pearson": BOTH_WAYS,
}
"""The measures of labels of all kinds, and the scale of each one's interval."""
SCORES_OF = ("scores_with", "scores_without", "scores")
"""The scores of people with the label, and of those without it; of all where nobody has or lacks it."""


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
        return cls(whole_number(found["people"], FEW_PEOPLE), quantiles)


@dataclass(frozen=True)
class LabelSummary:
    """A label in one place: how many people have it and lack it, its measures, its scores of both.

    Of numbers and choices `people_with` are all who have a target, and `people_without` is None.
    """

    people_with: int
    people_without: int | None
    measures: Mapping[str, Estimate] = field(default_factory=dict)
    scores: Mapping[str, Spread] = field(default_factory=dict)

    def entries(self) -> dict[str, object]:
        """Plain values for a file."""
        kept = {name: entry for name, own in self.measures.items() if (entry := estimate_entry(own)) is not None}
        scores = {name: own.entries() for name, own in self.scores.items()}
        counts = {"people_with": self.people_with, "people_without": self.people_without}
        return {**counts, "measures": kept, "scores": scores}

    @classmethod
    def of_entries(cls, found: Mapping[str, Any]) -> "LabelSummary":
        """That of a file; ValueError, KeyError or TypeError where it is none."""
        measures = {name: kept_estimate(own, LABEL_MEASURES[name]) for name, own in found["measures"].items()}
        spreads = {str(name): Spread.of_entries(own) for name, own in found["scores"].items()}
        scores = {name: own for name, own in spreads.items() if own is not None}
        without = found["people_without"]
        return cls(
            whole_number(found["people_with"]), None if without is None else whole_number(without), measures, scores
        )

    @property
    def counts(self) -> tuple[int, int | None]:
        """People with the label and without it."""
        return self.people_with, self.people_without


@dataclass(frozen=True)
class Development:
    """What a model folder keeps of the people that it was developed on.

    `properties` are those of the recordings that it was trained and chosen on; `labels` are of the people of its own
    test, whom it had not heard. `categories` are columns that put people into groups, such as their sex. `unit` is what
    one of them is called. `parts` count people and answers of training and validation for readers; nothing is computed
    from them, so they are not read again.
    """

    recordings: int
    people: int
    tested: int
    unit: str
    properties: Mapping[str, Spread]
    labels: Mapping[str, LabelSummary]
    parts: Mapping[str, object] = field(default_factory=dict)
    categories: Mapping[str, Shares] = field(default_factory=dict)

    def entries(self) -> dict[str, object]:
        """Plain values for a file."""
        counts = {name: getattr(self, name) for name in ("recordings", "people", "tested", "unit", "parts")}
        properties = {name: own.entries() for name, own in self.properties.items()}
        return {
            **counts,
            "properties": properties,
            "categories": {name: own.entries() for name, own in self.categories.items()},
            "labels": {name: own.entries() for name, own in self.labels.items()},
        }

    @classmethod
    def of_entries(cls, found: Mapping[str, Any]) -> "Development":
        """That of a file; ValueError, KeyError, TypeError or AttributeError where it is none."""
        spreads = {str(name): Spread.of_entries(own) for name, own in found["properties"].items()}
        recordings, people, tested = (whole_number(found[name]) for name in ("recordings", "people", "tested"))
        labels = {str(name): LabelSummary.of_entries(own) for name, own in found["labels"].items()}
        properties = {name: own for name, own in spreads.items() if own is not None}
        categories = {str(name): Shares.of_entries(own) for name, own in found.get("categories", {}).items()}
        return cls(recordings, people, tested, str(found["unit"]), properties, labels, categories=categories)


def person_means(values_n: Floats, subject_n: NDArray[np.intp]) -> Floats:
    """The mean of each person's recordings (P,), of those people of whom one is known."""
    known_n = ~np.isnan(values_n)
    _, code_n = np.unique(subject_n[known_n], return_inverse=True)
    return np.asarray(np.bincount(code_n, values_n[known_n]) / np.bincount(code_n), dtype=np.float64)
