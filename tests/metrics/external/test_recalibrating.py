import numpy as np
import pytest

from ssast.metrics.external.recalibrating import fit_updates, measures_after


def draw(seed, people=120, slope=0.6, intercept=-1.0):
    rng = np.random.default_rng(seed)
    odds = 1.5 * rng.normal(size=people)
    positive = rng.random(people) < 1 / (1 + np.exp(-(intercept + slope * odds)))
    return positive, 1 / (1 + np.exp(-odds)), np.arange(people)


@pytest.mark.parametrize("seed", range(5))
def test_both_updates_are_the_logistic_regressions_of_statsmodels(seed):
    import statsmodels.api as sm  # half a second, which every worker of the tests would wait for

    positive, scores, people = draw(seed)
    odds = np.log(scores / (1 - scores))
    found = fit_updates(positive, scores, people)
    both = sm.Logit(positive.astype(float), sm.add_constant(odds)).fit(disp=False)
    assert (found.both.intercept, found.both.slope) == pytest.approx(tuple(both.params), abs=1e-6)
    np.testing.assert_allclose(found.both.apply(scores), both.predict(), atol=1e-7)
    large = sm.GLM(positive.astype(float), np.ones(len(odds)), family=sm.families.Binomial(), offset=odds).fit()
    assert found.intercept.intercept == pytest.approx(float(large.params[0]), abs=1e-6)
    assert found.intercept.slope == 1
    np.testing.assert_allclose(found.intercept.apply(scores), large.fittedvalues, atol=1e-7)


def test_what_was_fitted_on_some_makes_others_right_on_average():
    found = fit_updates(*draw(0, people=3000))
    positive, scores, people = draw(1, people=3000)
    before, after = (measures_after(positive, own, 0.5, people) for own in (scores, found.both.apply(scores)))
    assert before["calibration_slope"].value == pytest.approx(0.6, abs=0.1)
    assert after["calibration_slope"].value == pytest.approx(1, abs=0.15)
    assert after["calibration_intercept"].value == pytest.approx(0, abs=0.15)
    assert after["brier"].value < before["brier"].value
    assert after["brier"].value == pytest.approx(np.mean((found.both.apply(scores) - positive) ** 2))


def test_too_few_people_of_one_kind_are_not_fitted_on():
    found = fit_updates(np.array([True] * 9 + [False] * 40), np.linspace(0, 1, 49), np.arange(49))
    assert (found.both, found.intercept) == (None, None)
    assert found.reason.startswith("9 people with the label and 40 without it are too few to recalibrate on")


def test_scores_that_part_the_classes_perfectly_or_never_vary_have_no_slope():
    positive = np.arange(40) < 20
    for scores in (np.where(positive, 0.9, 0.1), np.full(40, 0.3)):
        found = fit_updates(positive, scores, np.arange(40))
        assert found.both is None
        assert "no slope can be fitted" in found.reason
        assert found.intercept is not None
