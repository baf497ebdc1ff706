"""Say what leaving one site out shows of each site, and what it cannot show.

Shapes: R rows of the table.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ssast.data.tables.folds import ValueFolds
from ssast.metrics.measures import SOFT_POSITIVE
from ssast.metrics.predictions import Predictions
from ssast.metrics.review import is_yes_no
from ssast.metrics.score_entries import Metrics
from ssast.metrics.subgroups import FEW_PEOPLE, GroupColumn, questions, unquestioned
from ssast.runs.rows import Rows


def with_sites(folds: ValueFolds, groups: Sequence[GroupColumn]) -> list[GroupColumn]:
    """The groups to score apart: the sites of the folds too, before those that are asked for."""
    own = GroupColumn(folds.column, [folds.values[fold] for fold in folds.fold])
    return [own, *(column for column in groups if column.name != folds.column)]


def add_sites(metrics: Metrics, predictions: Predictions, folds: ValueFolds, source: Rows) -> None:
    """Put "sites" into metrics.json: the recordings and people of each site, and what cannot be said, in sentences.

    The scores of each stand under "groups".
    """
    at = source.frame.index.get_indexer(pd.Index(predictions.uids))
    site_N = folds.fold[at]
    sites = {
        value: {
            "fold": f"fold-{fold + 1}",
            "recordings": int((site_N == fold).sum()),
            "people": _people(predictions, site_N == fold),
            "not_trained_on": int(folds.elsewhere(fold).sum()),
        }
        for fold, value in enumerate(folds.values)
    }
    cannot = [*_without_people(predictions, folds), *_cannot(metrics, predictions, folds, source, site_N)]
    metrics["sites"] = {"column": folds.column, "sites": sites, "cannot": cannot}


def _people(predictions: Predictions, is_own_N: NDArray[np.bool_]) -> int | None:
    if predictions.subjects is None:
        return None
    return len({name for name in predictions.subjects[is_own_N] if name is not None})


def _without_people(predictions: Predictions, folds: ValueFolds) -> Iterator[str]:
    if predictions.subjects is None:
        yield (
            "The table does not say who speaks, so whether people of one "
            f"{folds.column} are also in another cannot be said, and each recording counts as a person"
        )


def _cannot(
    metrics: Metrics, predictions: Predictions, folds: ValueFolds, source: Rows, site_N: NDArray[np.intp]
) -> Iterator[str]:
    if labels := unquestioned(metrics, predictions):
        which = "it is" if len(labels) == 1 else "they are"
        yield (
            f"{', '.join(labels)}: {which} neither yes or no nor a scale with a cut, so {folds.column}s are not held "
            "against each other; what the model of each reaches stands in folds.csv, without intervals"
        )
    for fold, value in enumerate(folds.values):
        own_N = site_N == fold
        site = f"{folds.column} {value}"
        if not own_N.any():
            yield f"{site}: no recording could be scored, so nothing can be said of it"
        elif _people(predictions, own_N) == 1:
            yield f"{site}: all recordings are of one person, so nothing can be said of other people there"
        else:
            yield from _of_labels(metrics, predictions, own_N, site)
        yield from _not_learned(metrics, folds, source, fold, site)


def _of_labels(metrics: Metrics, predictions: Predictions, own_N: NDArray[np.bool_], site: str) -> Iterator[str]:
    for label, question in questions(metrics, predictions, {}).items():
        target_n = question.targets[own_N]
        has_n, lacks_n = target_n >= SOFT_POSITIVE, target_n < SOFT_POSITIVE
        if not has_n.any() or not lacks_n.any():
            lacking = "with" if not has_n.any() else "without"
            yield f"{site}: no recording {lacking} {label}, so its AUC and calibration cannot be said there"
            continue
        of = predictions if predictions.subjects is not None else None
        people = [_distinct(of, own_N, is_so_n) for is_so_n in (has_n, lacks_n)]
        if min(people) < FEW_PEOPLE:
            yield (
                f"{site}: {people[0]} people with {label} and {people[1]} without it are too few to say "
                f"how well it is told there; it takes {FEW_PEOPLE} of each"
            )


def _distinct(predictions: Predictions | None, own_N: NDArray[np.bool_], is_so_n: NDArray[np.bool_]) -> int:
    """How many people have such a recording; each recording is one where people are not known."""
    if predictions is None or predictions.subjects is None:
        return int(is_so_n.sum())
    return len(set(predictions.subjects[own_N][is_so_n]))


def _not_learned(metrics: Metrics, folds: ValueFolds, source: Rows, fold: int, site: str) -> Iterator[str]:
    """The labels that no model can learn where this site is left out."""
    is_trained_R = (folds.fold != fold) & ~folds.elsewhere(fold)
    targets_RL = source.targets[is_trained_R]
    for at, label in enumerate(source.labels):
        known_r = targets_RL[~np.isnan(targets_RL[:, at]), at]
        if is_yes_no(metrics, label) and len(np.unique(known_r >= SOFT_POSITIVE)) < 2:
            yield (
                f"{site}: the recordings elsewhere have one answer to {label}, so it was not learned without this "
                f"{folds.column}, and its scores there say nothing"
            )
