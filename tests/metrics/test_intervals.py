import numpy as np
import pytest
from sklearn.metrics import average_precision_score, brier_score_loss, f1_score, roc_auc_score

from ssast.metrics import intervals
from ssast.metrics.measures import detection, regression
from ssast.metrics.scores import paired_differences, score

NORMAL_AUC = {1.0: 0.760250, 2.0: 0.921350}
"""Area under the curve of two unit normals so far apart: the cumulative normal of distance / sqrt(2)."""


def simulate(rng, *, subjects=100, clips=5, distance=1.0, by_subject=True):
    """Targets, two runs' probabilities and subjects; half of a score's variance belongs to its subject."""
    subject = np.repeat(np.arange(subjects), clips)
    positive = np.repeat(rng.random(subjects) < 0.5, clips) if by_subject else rng.random(subjects * clips) < 0.5
    shared = np.repeat(rng.normal(size=subjects), clips)
    runs = [distance * positive + (shared + rng.normal(size=len(subject))) / np.sqrt(2) for _ in range(2)]
    return positive[:, None].astype(float), [1 / (1 + np.exp(-run[:, None])) for run in runs], subject


def coverage(sets, resamples, distance, by_subject):
    rng, hits = np.random.default_rng(20), {"auc": 0, "difference": 0}
    for seed in range(sets):
        targets, (first, second), subject = simulate(rng, distance=distance, by_subject=by_subject)
        options = {"subjects": subject, "resamples": resamples, "seed": seed}
        low, high = score(targets, first, ["x"], **options)["labels"]["x"]["intervals"]["auc"]
        hits["auc"] += low <= NORMAL_AUC[distance] <= high
        low, high = paired_differences(targets, first, second, ["x"], **options)["labels"]["x"]["auc"]["interval"]
        hits["difference"] += low <= 0 <= high
    return {name: count / sets for name, count in hits.items()}


def test_intervals_over_subjects_cover_the_truth_about_as_often_as_they_say():
    got = coverage(sets=60, resamples=200, distance=1.0, by_subject=True)
    assert got["auc"] >= 0.88
    assert got["difference"] >= 0.88


@pytest.mark.slow
@pytest.mark.parametrize("distance", [1.0, 2.0])
@pytest.mark.parametrize("by_subject", [True, False])
def test_95_percent_intervals_cover_92_to_97_percent_of_300_simulated_sets(distance, by_subject):
    got = coverage(sets=300, resamples=1000, distance=distance, by_subject=by_subject)
    assert 0.92 <= got["auc"] <= 0.97
    assert 0.92 <= got["difference"] <= 0.985  # the paired one errs on the wide side: 96 % over many more sets


def test_clips_of_one_subject_widen_the_interval():
    targets, (scores, _), subject = simulate(np.random.default_rng(0))
    by_clip, by_subject = (score(targets, scores, ["x"], subjects=who, resamples=300) for who in (None, subject))
    widths = [np.ptp(got["labels"]["x"]["intervals"]["auc"]) for got in (by_clip, by_subject)]
    assert widths[1] > 1.3 * widths[0]
    assert (by_clip["subjects"], by_subject["subjects"]) == (None, 100)


@pytest.mark.parametrize("decimals", [1, 9])
def test_a_weighted_clip_counts_as_so_many_copies(decimals):
    rng = np.random.default_rng(5)
    targets, scores = (rng.random(70) < 0.4).astype(float), rng.random(70).round(decimals)
    weights = np.concatenate(list(intervals.resample(np.arange(70), 5, rng)))
    got = detection(targets, scores, 0.5)(weights)
    for row, weight in enumerate(weights):
        copies = np.repeat(np.arange(70), weight.astype(int))
        drawn, probability = targets[copies], scores[copies]
        assert got["auc"][row] == pytest.approx(roc_auc_score(drawn, probability), abs=1e-12)
        assert got["average_precision"][row] == pytest.approx(average_precision_score(drawn, probability), abs=1e-12)
        assert got["f1"][row] == pytest.approx(f1_score(drawn, probability >= 0.5), abs=1e-12)
        assert got["brier"][row] == pytest.approx(brier_score_loss(drawn, probability), abs=1e-12)
        whole = detection(drawn, probability, 0.5)(np.ones((1, len(copies))))
        assert got["ece"][row] == pytest.approx(whole["ece"][0], abs=1e-12)


def test_weighted_values_count_as_so_many_copies():
    rng = np.random.default_rng(6)
    targets = rng.normal(size=60).round(1)
    scores = (targets + rng.normal(size=60)).round(1)
    weights = np.concatenate(list(intervals.resample(np.arange(60), 4, rng)))
    got = regression(targets, scores)(weights)
    for row, weight in enumerate(weights):
        copies = np.repeat(np.arange(60), weight.astype(int))
        whole = regression(targets[copies], scores[copies])(np.ones((1, len(copies))))
        assert {name: values[row] for name, values in got.items()} == pytest.approx(
            {name: values[0] for name, values in whole.items()}, abs=1e-9
        )


def test_resamples_draw_whole_subjects_and_as_many_as_there_are():
    subject = np.array([0, 1, 1, 2, 0])
    weights = np.concatenate(list(intervals.resample(subject, 50, np.random.default_rng(0))))
    assert (weights[:, 0] == weights[:, 4]).all()
    assert (weights[:, 1] == weights[:, 2]).all()
    assert (weights[:, [0, 1, 3]].sum(1) == 3).all()


def test_shuffles_keep_a_subjects_labels_together():
    subject = np.repeat(np.arange(30), np.arange(30) % 4 + 1)
    label = np.random.default_rng(1).integers(0, 1000, 30)
    given = label[subject[np.concatenate(list(intervals.shuffle(subject, 20, np.random.default_rng(0))))]]
    for who in range(30):
        assert (np.ptp(given[:, subject == who], axis=1) == 0).all()
    assert all(sorted(row[np.unique(subject, return_index=True)[1]]) == sorted(label) for row in given)


def test_a_missing_subject_makes_a_clip_its_own():
    assert list(intervals.number_subjects(["b", None, "a", float("nan"), "b"], 5)) == [0, 2, 1, 3, 0]
    assert list(intervals.number_subjects(None, 3)) == [0, 1, 2]


def test_chance_by_subject_is_wider_than_by_clip_and_holds_its_five_percent():
    rng = np.random.default_rng(8)
    above, levels = 0, []
    for seed in range(100):
        targets, (scores, _), subject = simulate(rng, subjects=30, distance=0.0)
        entry = score(targets, scores, ["x"], subjects=subject, resamples=100, seed=seed)["labels"]["x"]
        above += entry["auc"] > entry["chance"]["auc"]
        levels.append(entry["chance"]["auc"] - score(targets, scores, ["x"], resamples=100)["mean"]["chance"]["auc"])
    assert above <= 12
    assert np.mean(levels) > 0.03


def test_chance_of_values_is_a_correlation():
    rng = np.random.default_rng(9)
    targets, scores = rng.normal(size=(100, 2)), rng.normal(size=(100, 2))
    targets[::7, 0] = np.nan
    got = score(targets, scores, ["a", "b"], loss="MSE", resamples=400)
    assert got["labels"]["b"]["chance"]["pearson"] == pytest.approx(1.645 / 10, abs=0.05)
    assert got["labels"]["a"]["chance"]["pearson"] == pytest.approx(1.645 / np.sqrt(85), abs=0.05)
    assert got["mean"]["chance"]["pearson"] < got["labels"]["a"]["chance"]["pearson"]


def test_a_perfect_score_is_not_certain():
    targets = (np.arange(20) < 8).astype(float)[:, None]
    low, high = score(targets, targets, ["x"], resamples=50)["labels"]["x"]["intervals"]["auc"]
    assert (low, high) == (pytest.approx(0.025 ** (1 / 8)), 1)


def test_one_subject_of_a_class_has_no_interval():
    targets, scores = np.array([[1.0], [1.0], [0.0], [0.0]]), np.array([[0.9], [0.2], [0.3], [0.1]])
    entry = score(targets, scores, ["x"], subjects=["a", "a", "b", "c"], resamples=50)["labels"]["x"]
    assert entry["auc"] == 0.75
    assert entry["intervals"]["auc"] is None
    assert entry["intervals"]["specificity"] is not None


def test_intervals_hold_their_point_and_stay_inside_the_measures_range():
    rng = np.random.default_rng(10)
    targets, (scores, _), subject = simulate(rng, subjects=12, clips=3, distance=2.0)
    for loss in ("BCE", "MSE"):
        entry = score(targets, scores, ["x"], subjects=subject, resamples=200, loss=loss)["labels"]["x"]
        for name, (low, high) in entry["intervals"].items():
            assert (-1 if loss == "MSE" else 0) <= low <= entry[name] <= high
            assert name in ("mae", "rmse") or high <= 1


def test_the_seed_and_nothing_else_decides_the_intervals():
    targets, (scores, _), subject = simulate(np.random.default_rng(11))
    first, again, other = (score(targets, scores, ["x"], subjects=subject, resamples=30, seed=s) for s in (1, 1, 2))
    assert first == again != other
