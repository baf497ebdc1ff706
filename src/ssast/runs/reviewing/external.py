"""Try a model where it was not developed: carry its thresholds over, and recalibrate on a share of the people.

Shapes: N recordings.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ssast import redaction
from ssast.data.tables.people import find_people, grouped
from ssast.errors import UserError
from ssast.metrics.external.place import Place, add_external
from ssast.metrics.predictions import Predictions
from ssast.metrics.score_entries import Metrics
from ssast.model.label_kinds import CHOICE
from ssast.runs.results import named_subjects
from ssast.runs.reviewing.categories import shown_categories
from ssast.runs.reviewing.development import categories_of, property_spreads, read_development
from ssast.runs.rows import Rows
from ssast.runs.thresholds import read_thresholds
from ssast.safe_reading import some

FITTED = "their people served for recalibration"
"""Why recordings are not scored."""


@dataclass(frozen=True)
class ExternalTest:
    """A test in another place; scores are recalibrated on a `share` of its people, drawn with the `seed`."""

    share: float | None
    seed: int

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "ExternalTest | None":
        """The one that a run's options ask for."""
        return cls(values["recalibrate"], values["seed"]) if values["external"] else None

    def check(self, test: Rows) -> None:
        """UserError where no label can be recalibrated, or the table has too few people to set some apart."""
        if self.share is not None and all(label.kind == CHOICE for label in test.kinds.labels):
            raise UserError(
                f"--recalibrate fits the scores of yes/no labels, scales and numbers, but {some(test.labels)} is one "
                "kind of several; leave it out."
            )
        if self.share is not None and len(set(grouped(test.frame, find_people(test.frame)))) < 2:
            raise UserError(
                f"--recalibrate sets people apart, but {test.source} has one alone; leave it out.", path=test.source
            )

    def divided(self, predictions: Predictions, test: Rows) -> tuple[Predictions, Predictions | None]:
        """Those who are scored, and those on whom scores are recalibrated; no person is among both."""
        if self.share is None:
            return predictions, None
        chosen = chosen_people(test.frame, self.share, self.seed)
        is_fitted_N = np.array([uid in chosen for uid in predictions.uids])
        if is_fitted_N.all() or not is_fitted_N.any():
            raise UserError(
                f"--recalibrate {self.share:g} leaves no usable recording to "
                f"{'score' if is_fitted_N.all() else 'recalibrate on'}; give another share."
            )
        fitted = predictions.at(np.flatnonzero(is_fitted_N))
        return predictions.at(np.flatnonzero(~is_fitted_N)), fitted

    def add(
        self,
        metrics: Metrics,
        predictions: Predictions,
        fitted: Predictions | None,
        properties: pd.DataFrame,
        home: Path,
    ) -> None:
        """Put "external" into metrics.json; `properties` are those of the test's recordings, `home` the model's."""
        development, lacking = read_development(home)
        if development is not None:
            development = replace(development, categories=shown_categories(development.categories))
        table = properties.loc[predictions.uids]
        place = Place(
            read_thresholds(home),
            property_spreads(table),
            development,
            lacking,
            fitted,
            self._about(fitted, properties) if fitted else {},
            shown_categories(categories_of(table, predictions)),
        )
        add_external(metrics, predictions, place)

    def _about(self, fitted: Predictions, properties: pd.DataFrame) -> dict[str, object]:
        subjects, unit = named_subjects(properties.loc[fitted.uids])
        people = len(fitted.uids) if subjects is None else len(set(subjects))
        return {
            "share": self.share,
            "seed": self.seed,
            "people": people,
            "recordings": len(fitted.uids),
            "unit": fitted.unit if fitted.subjects is not None else unit,
        }


def chosen_people(frame: pd.DataFrame, share: float, seed: int) -> set[str]:
    """The uids of a share of the people, at least one and never all; it depends on the seed and the names alone."""
    group_N = grouped(frame, find_people(frame))
    names = sorted(set(group_N), key=lambda name: hashlib.blake2b(f"recalibrate/{seed}/{name}".encode()).digest())
    chosen = set(names[: min(max(1, round(share * len(names))), len(names) - 1)])
    return {uid for uid, group in zip(frame.index, group_N, strict=True) if group in chosen}


def reasons_with(reasons: Mapping[str, str], fitted: Predictions | None) -> dict[str, str]:
    """Why recordings of the table are not scored, by uid as it may be shown."""
    apart = [] if fitted is None else fitted.uids
    return {**reasons, **{redaction.shown_name("uid", uid): FITTED for uid in apart}}
