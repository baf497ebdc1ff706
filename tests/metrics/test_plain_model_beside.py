import numpy as np
import pytest

from ssast.metrics import intervals
from ssast.metrics.plain_model import leading_beside
from ssast.metrics.scores import paired_differences, score

LABELS = ["rough", "breathy"]


def drawn(kind, seed):
    rng = np.random.default_rng(seed)
    subjects = np.repeat(np.arange(20), 6)
    truth = rng.normal(size=20)[subjects, None] + rng.normal(size=(120, 2))
    targets = truth.copy() if kind == "MSE" else (truth > 0).astype(float)
    targets[rng.random(targets.shape) < 0.1] = np.nan
    heard = [truth + rng.normal(size=truth.shape) for _ in range(2)]
    # Rounded, so that scores tie.
    other, model = (np.round(each if kind == "MSE" else 1 / (1 + np.exp(-each)), 2) for each in heard)
    return targets, other, model, subjects


@pytest.mark.parametrize(("kind", "name"), [("BCE", "auc"), ("MSE", "pearson")])
def test_the_leading_measure_beside_another_model_is_that_of_the_whole_scores_to_the_last_bit(kind, name):
    targets, other, model, subjects = drawn(kind, 1)
    how = {"subjects": subjects, "resamples": 60, "seed": 3}
    found = leading_beside(targets, other, model, LABELS, kind, **how)
    alone = score(targets, other, LABELS, loss=kind, **how)["labels"]
    apart = paired_differences(targets, other, model, LABELS, loss=kind, **how)["labels"]
    for label in LABELS:
        assert found[label]["value"] == alone[label][name]
        assert found[label]["interval"] == alone[label]["intervals"][name]
        assert found[label]["difference"] == apart[label][name]


def test_without_resamples_there_are_values_alone():
    targets, other, model, subjects = drawn("BCE", 2)
    found = leading_beside(targets, other, model, LABELS, "BCE", subjects=subjects, resamples=0, seed=0)
    assert all(own["value"] > 0.5 and own["interval"] is own["difference"] is None for own in found.values())


def test_a_label_with_one_answer_has_neither_value_nor_difference():
    targets, other, model, subjects = drawn("BCE", 3)
    targets[:, 0] = 1.0
    found = leading_beside(targets, other, model, LABELS, "BCE", subjects=subjects, resamples=20, seed=0)
    assert found["rough"] == {
        "value": None,
        "interval": None,
        "difference": {"difference": None, "interval": None},
    }
    assert found["breathy"]["difference"]["interval"] is not None


def test_shuffled_aucs_by_ranks_are_those_by_counts_to_the_last_bit():
    rng = np.random.default_rng(4)
    targets, scores = (rng.random(50) < 0.3).astype(float), np.round(rng.random(50), 1)
    from_RN = rng.permuted(np.tile(np.arange(50), (30, 1)), axis=1)
    order = np.argsort(scores, kind="stable")
    by_counts = intervals._shuffled_auc(targets[from_RN][:, order], scores[order])
    assert np.array_equal(intervals._ranked_auc(targets >= 0.5, scores)(from_RN), by_counts)
    assert np.isnan(intervals._ranked_auc(np.ones(50, dtype=bool), scores)(from_RN)).all()
