import numpy as np
import pytest
from sklearn import metrics as sk

from ssast.metrics import curves
from ssast.metrics.scores import score

RNG = np.random.default_rng(11)
CASES = {
    "random": (RNG.random(200) < 0.4, RNG.random(200)),
    "ties": (RNG.random(300) < 0.5, RNG.random(300).round(1)),
    "constant scores": (RNG.random(50) < 0.5, np.full(50, 0.3)),
    "one positive": (np.arange(500) == 77, RNG.random(500)),
    "two rows": (np.array([True, False]), np.array([0.0, 1.0])),
}


@pytest.mark.parametrize("case", CASES)
def test_the_roc_curve_is_scikit_learns(case):
    positive, scores = CASES[case]
    x, y, _ = sk.roc_curve(positive, scores, drop_intermediate=False)
    curve = curves.roc(positive, scores)
    np.testing.assert_allclose((curve.x, curve.y), (x, y))


@pytest.mark.parametrize("case", CASES)
def test_the_precision_recall_curve_is_scikit_learns(case):
    positive, scores = CASES[case]
    precision, recall, _ = sk.precision_recall_curve(positive, scores)
    curve = curves.precision_recall(positive, scores)
    np.testing.assert_allclose((curve.x, curve.y), (recall[::-1][1:], precision[::-1][1:]))


@pytest.mark.parametrize("case", CASES)
def test_the_bins_and_counts_are_those_that_the_scores_are_made_of(case):
    positive, scores = CASES[case]
    entry = score(positive[:, None].astype(float), scores[:, None], ["x"], thresholds={"x": 0.3})["labels"]["x"]
    bins = curves.calibration(positive, scores)
    assert sum(own.clips * abs(own.score - own.share) for own in bins) / len(scores) == pytest.approx(entry["ece"])
    counts = curves.Confusion.of(entry)
    (spared, false), (missed, found) = sk.confusion_matrix(positive, scores >= 0.3).tolist()
    assert counts == curves.Confusion(found, missed, false, spared)


def test_a_long_curve_is_thinned_and_keeps_its_ends():
    curve = curves.Curve(np.linspace(0, 1, 10001), np.linspace(0, 1, 10001) ** 2).thinned()
    assert len(curve.x) == curves.MOST_POINTS
    assert (curve.x[0], curve.y[0], curve.x[-1], curve.y[-1]) == (0, 0, 1, 1)


def test_clips_without_a_target_are_left_out_of_the_figures():
    positive, scores = curves.known(np.array([1, np.nan, 0, 0.5]), np.array([0.1, 0.2, 0.3, 0.4]))
    assert list(positive) == [True, False, True]
    assert list(scores) == [0.1, 0.3, 0.4]
