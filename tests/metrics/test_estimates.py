import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from ssast.metrics.estimates import RATIO, SHARE, Estimate, auc_of, logistic, mean_of, share_of

RNG = np.random.default_rng(11)
SUBJECT = np.repeat(np.arange(40), 5)
ODDS = RNG.normal(size=40)[SUBJECT] + RNG.normal(size=200)
POSITIVE = RNG.random(200) < 1 / (1 + np.exp(-ODDS))


def people(subject=SUBJECT):
    return subject, int(subject.max()) + 1


def fitted(positive, design, subject):
    """statsmodels' own logistic regression with its error by subject, less its factors for small samples."""
    import statsmodels.api as sm

    how = {"groups": subject, "use_correction": False}
    return sm.GLM(positive.astype(float), design, family=sm.families.Binomial()).fit(cov_type="cluster", cov_kwds=how)


def test_logistic_regression_and_its_errors_by_subject_equal_those_of_statsmodels():
    design = np.column_stack([np.ones(200), ODDS, ODDS**2])
    expected = fitted(POSITIVE, design, SUBJECT)
    fit = logistic(design, POSITIVE, np.zeros(200), *people())
    np.testing.assert_allclose(fit.beta, expected.params, rtol=1e-6)
    np.testing.assert_allclose(np.sqrt((fit.pulls**2).sum(axis=0)), expected.bse, rtol=1e-6)


@pytest.mark.parametrize("design", [0.05 * ODDS - 6, 1e-3 * ODDS - 9], ids=["close", "closer"])
def test_scores_that_lie_close_together_have_a_slope(design):
    """A model that had learned little gave 0.002 to 0.005 to all: its slope of -8 was called a perfect separation."""
    design = np.column_stack([np.ones(200), design])
    expected = fitted(POSITIVE, design, SUBJECT)
    fit = logistic(design, POSITIVE, np.zeros(200), *people())
    np.testing.assert_allclose(fit.beta, expected.params, rtol=1e-5)
    np.testing.assert_allclose(np.sqrt((fit.pulls**2).sum(axis=0)), expected.bse, rtol=1e-5)


@pytest.mark.parametrize(
    ("positive", "design"),
    [
        (np.arange(20) >= 10, np.column_stack([np.ones(20), np.arange(20.0) / 1e3 - 7])),
        (np.arange(20) >= 10, np.column_stack([np.ones(20), np.arange(20.0)])),
        (np.arange(20) % 2 == 0, np.ones((20, 2))),
        (np.ones(20, bool), np.ones((20, 1))),
    ],
    ids=["classes apart and close together", "classes apart", "a column twice", "one class"],
)
def test_a_regression_without_a_finite_answer_has_none(positive, design):
    assert logistic(design, positive, np.zeros(20), *people(np.arange(20))) is None


@pytest.mark.parametrize("decimals", [9, 1])
def test_the_auc_equals_scikit_learn_and_its_error_that_of_delong_where_clips_stand_alone(decimals):
    scores, positive = ODDS.round(decimals), POSITIVE
    got = auc_of(positive, scores, *people(np.arange(200)), 200)
    assert got.value == pytest.approx(roc_auc_score(positive, scores), abs=1e-12)
    pair = (np.sign(scores[positive][:, None] - scores[~positive]) + 1) / 2
    delong = sum(np.var(pair.mean(axis=axis)) / pair.shape[1 - axis] for axis in (0, 1))
    assert (got.pulls**2).sum() == pytest.approx(delong, rel=1e-9)


def test_the_error_of_a_mean_over_people_is_that_of_their_own_means():
    values = RNG.normal(size=200)
    means = values.reshape(40, 5).mean(axis=1)
    assert mean_of(values, *people()).error == pytest.approx(means.std(ddof=1) / np.sqrt(40), rel=1e-9)


def test_a_share_at_its_end_has_the_exact_interval_of_so_many_people_without_an_exception():
    everybody = np.ones(200, bool)
    got = share_of(everybody, everybody, *people())
    assert got.interval() == [pytest.approx(0.025 ** (1 / 40)), 1.0]
    assert share_of(~everybody, everybody, *people()).interval()[0] == 0.0
    assert share_of(everybody, ~everybody, *people()).interval() is None


def test_intervals_keep_to_their_scale_and_narrow_with_more_people_and_widen_with_the_level():
    pulls = np.full(9, 0.1)
    low, high = Estimate(0.9, pulls, 9, SHARE).interval()
    assert 0 < low < 0.9 < high < 1
    low, high = Estimate(0.2, pulls, 9, RATIO).interval()
    assert low * high == pytest.approx(0.2**2)
    plain = Estimate(0.0, pulls, 9)
    width = [np.ptp(pair) for pair in (plain.interval(times=2), plain.interval(), plain.interval(0.99))]
    assert width == sorted(width)
    assert Estimate(0.0, pulls, 1).interval() is None
    assert Estimate(float("nan"), pulls, 9).interval() is None


@pytest.mark.parametrize("yes", [0, 1, 9, 30])
def test_the_score_interval_of_independent_people_is_that_of_statsmodels(yes):
    from statsmodels.stats.proportion import proportion_confint

    is_yes = np.arange(30) < yes
    share = share_of(is_yes, np.ones(30, bool), np.arange(30), 30)
    people = 30 if yes in (0, 30) else 29  # the standard error has one degree of freedom less
    expected = proportion_confint(yes / 30 * people, people, method="wilson")
    assert share.score_interval(0.95, freedom=1e12) == pytest.approx(expected, abs=1e-9)
    low, high = share.score_interval(0.95, freedom=10)
    assert low <= expected[0] + 1e-12
    assert high >= expected[1] - 1e-12
