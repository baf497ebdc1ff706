"""Tell what differs between the place of development and here from luck, corrected for how much was looked at.

Shapes: Q quantiles of the people of a place.
"""

from collections.abc import Iterator, Mapping

import numpy as np

from ssast.metrics.estimates import SHARE, Estimate, welch_freedom
from ssast.metrics.external.development import LABEL_MEASURES, SCORES_OF, LabelSummary, Spread
from ssast.metrics.external.looks import Look, gap
from ssast.metrics.subgroups import FEW_PEOPLE


def above(here: Spread, there: Spread) -> Look | None:
    """The chance that a person here lies above one of development (ties count half); None for too few people.

    Quantiles stand for the people of both places. The error puts together how far these differ among themselves, as
    DeLong does, with Welch's degrees of freedom.
    """
    counts = here.people - 1, there.people - 1
    if min(counts) < FEW_PEOPLE - 1:
        return None
    higher_QQ = np.sign(here.quantiles[:, None] - there.quantiles[None, :]) / 2 + 0.5
    parts = [float(higher_QQ.mean(axis).var()) / count for axis, count in zip((1, 0), counts, strict=True)]
    pull = (sum(parts) * min(counts) / (min(counts) + 1)) ** 0.5
    found = Estimate(float(higher_QQ.mean()), np.array([pull]), min(counts) + 1, SHARE)
    freedom = welch_freedom(parts, counts)
    return Look(found.value, lambda level: found.interval(level, freedom=freedom), 0.5)


def property_looks(here: Mapping[str, Spread], there: Mapping[str, Spread]) -> dict[str, Look]:
    """Each property of recordings or people that is known of enough people in both places."""
    found = ((name, above(own, there[name])) for name, own in here.items() if name in there)
    return {name: look for name, look in found if look is not None}


def label_looks(here: LabelSummary, there: LabelSummary) -> dict[str, Look]:
    """Each measure of a label, and its scores of those with it and without it, where both places have enough people."""
    return {name: look for name, look in _of_label(here, there) if look is not None}


def _of_label(here: LabelSummary, there: LabelSummary) -> Iterator[tuple[str, Look | None]]:
    for name in LABEL_MEASURES:
        if name in here.measures and name in there.measures:
            yield name, gap(here.measures[name], there.measures[name])
    for name in SCORES_OF:
        if name in here.scores and name in there.scores:
            yield name, above(here.scores[name], there.scores[name])
