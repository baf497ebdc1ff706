"""Score predictions with all that reviewers of a model ask for, the same for one model and for those of folds."""

from collections.abc import Mapping, Sequence

import pandas as pd

from ssast.metrics.measures import Floats
from ssast.metrics.predictions import Predictions
from ssast.metrics.raters.against_raters import add_raters
from ssast.metrics.review import add_review
from ssast.metrics.score_entries import Metrics
from ssast.metrics.scores import Thresholds
from ssast.metrics.subgroups import GroupColumn, add_subgroups
from ssast.runs.results import RESAMPLES_SEED, score_predictions
from ssast.runs.reviewing.flow import add_flow
from ssast.runs.reviewing.plain_baseline import add_plain_baseline
from ssast.runs.rows import Rows


def reviewed_scores(
    predictions: Predictions,
    source: Rows,
    thresholds: Thresholds,
    *,
    resamples: int,
    prevalence: float | None,
    left_out: int,
    plain: Mapping[str, Floats],
    groups: Sequence[GroupColumn],
    reasons: Mapping[str, str],
    not_scored: Sequence[str] = (),
) -> Metrics:
    """metrics.json: scores, calibration and use, the plain baseline, groups of people, the raters and the flow.

    `left_out` counts the rows of `source` that could not be used, and `reasons` say why; `plain` has the baseline's
    scores of the predictions' clips by label, `groups` the groups of the rows of `source`; `not_scored` are labels of
    the model that the table lacks.
    """
    metrics = score_predictions(predictions, source.kinds.loss, thresholds, resamples, left_out=left_out)
    if not_scored:
        metrics["not_scored"] = list(not_scored)
    add_review(metrics, predictions, thresholds, prevalence)
    add_plain_baseline(metrics, predictions, plain)
    rows = source.frame.index.get_indexer(pd.Index(predictions.uids)).tolist()
    add_subgroups(metrics, predictions, thresholds, [column.at(rows) for column in groups])
    ratings = {label: own_RJ[rows] for label, own_RJ in zip(source.labels, source.ratings.by_label, strict=True)}
    add_raters(metrics, predictions, source.kinds, ratings, thresholds, RESAMPLES_SEED)
    add_flow(metrics, source, predictions, reasons)
    return metrics
