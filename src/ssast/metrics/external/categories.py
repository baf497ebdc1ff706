"""Hold how people are spread over categories, such as their sex, against how they were in development.

Shapes: n recordings, P people.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssast.metrics.estimates import SHARE, Estimate
from ssast.metrics.external.kept import estimate_entry, kept_estimate, whole_number
from ssast.metrics.external.looks import Look, gap
from ssast.metrics.intervals import number_subjects
from ssast.metrics.subgroups import FEW_PEOPLE

OTHERS = "Others"
"""All values that development does not keep; with a capital, which no value has."""
MOST_CATEGORIES, LONGEST_CATEGORY = 20, 100
"""A column of more values, or of longer ones, is no category."""


@dataclass(frozen=True)
class Shares:
    """Of how many people a category is known, and the share of them with each of its values.

    A person with several values counts in each by the share of the recordings.
    """

    people: int
    values: Mapping[str, Estimate]

    @classmethod
    def of(cls, groups: Sequence[str | None], subject_n: NDArray[np.intp]) -> "Shares":
        """Those of the groups of recordings; None is not known."""
        known_n = np.array([group is not None for group in groups], dtype=bool)
        if not known_n.any():
            return cls(0, {})
        value_n, names = number_values(np.array(groups, dtype=object)[known_n])
        person_n = number_subjects(subject_n[known_n], int(known_n.sum()))
        people = int(person_n.max()) + 1
        share_PV = np.zeros((people, len(names)))
        np.add.at(share_PV, (person_n, value_n), 1.0)
        share_PV /= share_PV.sum(axis=1, keepdims=True)
        return cls(people, {name: _share(own_P) for name, own_P in zip(names, share_PV.T, strict=True)})

    def kept(self) -> "Shares":
        """Without the values of so few people that they would tell of each."""
        return Shares(
            self.people, {name: own for name, own in self.values.items() if own.value * self.people >= FEW_PEOPLE}
        )

    def entries(self) -> dict[str, object]:
        """Plain values for a file."""
        return {"people": self.people, "values": {name: estimate_entry(own) for name, own in self.values.items()}}

    @classmethod
    def of_entries(cls, found: Mapping[str, Any]) -> "Shares":
        """Those of a file; ValueError, KeyError, TypeError or AttributeError where they are none."""
        values = {str(name): kept_estimate(own, SHARE) for name, own in found["values"].items()}
        if len(values) > MOST_CATEGORIES or any(len(name) > LONGEST_CATEGORY for name in values):
            raise ValueError("a category has too many or too long values")
        if sum(own.value for own in values.values()) > 1 + 1e-6:
            raise ValueError("the shares of a category are more than all")
        return cls(whole_number(found["people"], FEW_PEOPLE), values)


def number_values(groups_n: NDArray[Any]) -> tuple[NDArray[np.intp], list[str]]:
    """The number of each group, and their names by the alphabet."""
    names, number_n = np.unique(groups_n.astype(str), return_inverse=True)
    return number_n, names.tolist()


def _share(own_P: NDArray[np.float64]) -> Estimate:
    value = float(own_P.mean())
    return Estimate(min(value, 1.0), (own_P - value) / len(own_P), len(own_P), SHARE)


def beside(here: Shares, there: Shares) -> dict[str, tuple[Estimate, Estimate]]:
    """Of each value that development keeps, and of all others, the share here and there.

    Nothing where fewer than ten people are known, or where no value here is one of development's: then the columns
    write them in other ways, or are about other things.
    """
    if min(here.people, there.people) < FEW_PEOPLE or not set(here.values) & set(there.values):
        return {}
    pairs = {name: (here.values.get(name, _none(here.people)), own) for name, own in there.values.items()}
    others = [own for name, own in here.values.items() if name not in there.values]
    rest = _rest([own for _, own in pairs.values()], there.people)
    if others or rest.value > 0:
        pairs[OTHERS] = _sum(others, here.people), rest
    return pairs


def category_looks(pairs: Mapping[str, tuple[Estimate, Estimate]]) -> dict[str, Look]:
    """The gap of each share; of two shares, which are one question, that of the first."""
    looked_at = list(pairs)[:1] if len(pairs) == 2 else list(pairs)
    looks = {name: gap(*pairs[name]) for name in looked_at} if len(pairs) > 1 else {}
    return {name: look for name, look in looks.items() if look is not None}


def _none(people: int) -> Estimate:
    return Estimate(0.0, np.zeros(people), people, SHARE)


def _sum(parts: Sequence[Estimate], people: int) -> Estimate:
    """The share of people with any of some values."""
    if not parts:
        return _none(people)
    return Estimate(
        min(1.0, sum(own.value for own in parts)), np.sum([own.pulls for own in parts], axis=0), people, SHARE
    )


def _rest(parts: Sequence[Estimate], people: int) -> Estimate:
    """The share of people with none of some values; each has one value, so its error follows."""
    share = max(0.0, 1 - sum(own.value for own in parts))
    share = share if share > 1e-9 else 0.0
    return Estimate(share, np.array([(share * (1 - share) / people) ** 0.5]), people, SHARE)
