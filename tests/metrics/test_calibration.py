import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from ssast.metrics.calibration import log_odds, recalibration, smooth_curve

RNG = np.random.default_rng(3)
SUBJECT = np.repeat(np.arange(60), 5)
ODDS = RNG.normal(size=60)[SUBJECT] + RNG.normal(size=300)
POSITIVE = RNG.random(300) < 1 / (1 + np.exp(-ODDS))


def fit(positive=POSITIVE, scores=None, subject=SUBJECT):
    scores = 1 / (1 + np.exp(-ODDS)) if scores is None else scores
    return recalibration(positive, scores, subject, int(subject.max()) + 1)


def test_slope_equals_scikit_learn_and_the_intercept_statsmodels_with_the_log_odds_held():
    import statsmodels.api as sm

    sharp = 1 / (1 + np.exp(-(2 * ODDS + 1)))
    got = fit(scores=sharp)
    slope = LogisticRegression(C=np.inf, tol=1e-10).fit((2 * ODDS + 1)[:, None], POSITIVE).coef_[0, 0]
    large = sm.GLM(POSITIVE.astype(float), np.ones(300), family=sm.families.Binomial(), offset=2 * ODDS + 1).fit()
    assert got.slope.value == pytest.approx(slope, rel=1e-4)
    assert got.intercept.value == pytest.approx(large.params[0], rel=1e-6)
    assert got.slope.value == pytest.approx(fit().slope.value / 2, rel=1e-6)


def test_the_error_of_the_slope_is_statsmodels_by_subject():
    import statsmodels.api as sm

    design = sm.add_constant(ODDS)
    model = sm.GLM(POSITIVE.astype(float), design, family=sm.families.Binomial())
    how = {"groups": SUBJECT, "use_correction": False}
    expected = model.fit(cov_type="cluster", cov_kwds=how).bse[1]
    slope = fit().slope
    assert np.sqrt((slope.pulls**2).sum()) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("positive", "scores", "reason"),
    [
        (np.zeros(0, bool), np.zeros(0), "no clip has a target"),
        (np.ones(4, bool), np.full(4, 0.5), "all 4 targets are positive"),
        (np.zeros(4, bool), np.full(4, 0.5), "all 4 targets are negative"),
        (np.arange(4) > 1, np.arange(4) / 2, "some scores are not between 0 and 1"),
        (np.arange(4) > 1, np.full(4, 0.3), "the scores do not vary"),
        (np.arange(4) > 1, np.array([0.0, 0.1, 0.9, 1.0]), "the scores part the two classes perfectly"),
        (np.arange(4) % 3 > 0, 0.3 + 1e-9 * np.arange(4), "the scores hardly vary"),
    ],
)
def test_what_cannot_be_calibrated_says_why_and_has_no_slope(positive, scores, reason):
    got = recalibration(positive, scores, np.arange(len(positive)), max(len(positive), 1))
    assert got.reason == reason
    assert np.isnan(got.slope.value)
    assert got.slope.interval() is None


def test_scores_of_0_and_1_are_held_a_little_inside():
    assert np.isfinite(log_odds(np.array([0.0, 1.0]))).all()


def test_the_smooth_curve_follows_a_bent_truth_and_its_interval_holds_it():
    rng = np.random.default_rng(0)
    subject, scores = np.repeat(np.arange(800), 5), rng.random(4000) * 0.9 + 0.05
    truth = 0.1 + 0.8 * scores**3
    curve = smooth_curve(rng.random(4000) < truth, scores, subject, 800)
    expected = 0.1 + 0.8 * curve.score**3
    assert np.abs(curve.share - expected).max() < 0.08
    assert (curve.low < curve.share).all()
    assert (curve.share < curve.high).all()
    assert np.mean((curve.low <= expected) & (expected <= curve.high)) > 0.5


def test_few_scores_that_differ_have_a_straight_curve_and_constant_ones_none():
    positive = np.arange(40) % 3 == 0
    two = np.where(np.arange(40) % 4 == 0, 0.2, 0.6)
    assert smooth_curve(positive, two, np.arange(40), 40) is not None
    assert smooth_curve(positive, np.full(40, 0.4), np.arange(40), 40) is None
