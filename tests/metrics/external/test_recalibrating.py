import numpy as np
import pytest

from ssast.metrics.estimates import correlation_of, slope_of
from ssast.metrics.external.answers import NumberAnswers, ScaleAnswers, YesNoAnswers
from ssast.metrics.external.recalibrating import fit_number_updates, fit_scale_updates, fit_updates
from ssast.model.label_kinds import NUMBER, SCALE, LabelKind

GRADE = LabelKind("grade", SCALE, levels=(0, 1, 2, 3), cut=2)


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
    answers = YesNoAnswers(LabelKind("ill"), positive.astype(float), scores[:, None], people, 0.5)
    before, after = (own.calibration() for own in (answers, answers.updated(found.both)))
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


def test_scores_of_the_wrong_order_are_known_where_no_slope_shows_it():
    """A scale whose ratings rose as its scores fell (AUC 0.10) got a slope of 1.4 from its cuts, and no warning."""
    rng = np.random.default_rng(0)
    latent, subjects = 0.4 * rng.normal(size=(120, 1)), np.arange(120)
    scores = 1 / (1 + np.exp(-latent - np.array([2.0, 0.0, -2.0])))
    uniform = rng.random((120, 1))
    turned, right = (uniform < 1 / (1 + np.exp(-sign * 3 * latent - np.array([2.0, 0.0, -2.0]))) for sign in (-1, 1))
    found = fit_scale_updates(turned, scores, subjects)
    assert found.both.slope > 0
    assert found.falls
    assert not fit_scale_updates(right, scores, subjects).falls
    assert not fit_scale_updates(right, np.tile(scores[:1], (120, 1)), subjects).falls
    positive = np.arange(40) < 20
    assert fit_updates(positive, np.where(positive, 0.1, 0.9), np.arange(40)).falls
    assert not fit_updates(positive, np.where(positive, 0.9, 0.1), np.arange(40)).falls


def graded(seed, people=120, slope=0.5, shift=-0.8, clips=1):
    """Levels of people whose truth follows the log-odds of a scale's cuts with this slope and shift."""
    rng = np.random.default_rng(seed)
    latent, offsets = 1.5 * rng.normal(size=people * clips), np.array([1.0, 0.0, -1.5])
    odds = latent[:, None] + offsets
    uniform = rng.random((people * clips, 1))
    reached = uniform < 1 / (1 + np.exp(-(shift + slope * odds)))
    levels = reached.sum(axis=1).astype(float)
    return levels, 1 / (1 + np.exp(-odds)), np.repeat(np.arange(people), clips), latent


@pytest.mark.parametrize("seed", range(3))
def test_a_scale_gets_the_logistic_regression_of_all_its_cuts_in_one(seed):
    import statsmodels.api as sm

    levels, scores, people, _ = graded(seed)
    reached = levels[:, None] >= [1, 2, 3]
    odds, yes = np.log(scores / (1 - scores)).ravel(), reached.ravel().astype(float)
    found = fit_scale_updates(reached, scores, people)
    both = sm.Logit(yes, sm.add_constant(odds)).fit(disp=False)
    assert (found.both.intercept, found.both.slope) == pytest.approx(tuple(both.params), abs=1e-6)
    large = sm.GLM(yes, np.ones(len(odds)), family=sm.families.Binomial(), offset=odds).fit()
    assert found.intercept.intercept == pytest.approx(float(large.params[0]), abs=1e-6)
    measured = ScaleAnswers(GRADE, levels, scores, people, 0.5).calibration()
    each = sm.Logit(reached[:, 1].astype(float), sm.add_constant(odds[1::3])).fit(disp=False)
    assert measured["calibration_slope_at_2"].value == pytest.approx(float(each.params[1]), abs=1e-6)
    robust = sm.Logit(yes, sm.add_constant(odds)).fit(
        disp=False, cov_type="cluster", cov_kwds={"groups": np.repeat(people, 3), "use_correction": False}
    )
    bearing = measured["calibration_slope"].bearing
    error = float(robust.bse[1]) * (bearing / (bearing - 1)) ** 0.5
    assert measured["calibration_slope"].error == pytest.approx(error, rel=1e-6)


def test_the_slope_of_a_scale_is_that_of_proportional_odds():
    """Ordinal regression by maximum likelihood, with an offset of its own at each cut, finds the same slope."""
    from statsmodels.miscmodels.ordinal_model import OrderedModel

    levels, scores, people, latent = graded(3, people=4000)
    found = fit_scale_updates(levels[:, None] >= [1, 2, 3], scores, people).both
    fit = OrderedModel(levels.astype(int), latent[:, None], distr="logit").fit(method="bfgs", disp=False)
    assert (found.slope, found.intercept) == pytest.approx((0.5, -0.8), abs=0.06)
    assert found.slope == pytest.approx(float(fit.params[0]), abs=0.03)
    cuts = fit.model.transform_threshold_params(fit.params)[1:-1]
    np.testing.assert_allclose(-cuts, found.intercept + found.slope * np.array([1.0, 0.0, -1.5]), atol=0.1)


def test_recalibration_of_a_scale_helps_others_and_keeps_the_order_of_its_levels():
    levels, scores, people, _ = graded(4, people=1500)
    update = ScaleAnswers(GRADE, levels, scores, people, 0.5).fit().both
    levels, scores, people, _ = graded(5, people=1500)
    own = ScaleAnswers(GRADE, levels, scores, people, 0.5)
    after = own.updated(update)
    assert (np.diff(after.scores, axis=1) <= 0).all()
    before, mended = own.calibration(), after.calibration()
    assert before["calibration_slope"].interval()[1] < 1
    for name, right in (("calibration_slope", 1), ("calibration_intercept", 0)):
        for at in ("", "_at_1", "_at_2", "_at_3"):
            low, high = mended[f"{name}{at}"].interval(0.999)
            assert low <= right <= high
    assert mended["rps"].value < before["rps"].value - 0.01
    assert mended["rps"].value == pytest.approx(np.mean((after.scores - (levels[:, None] >= [1, 2, 3])) ** 2))
    assert mended["mae_steps"].value < before["mae_steps"].value
    assert mended["mae_steps"].value == pytest.approx(np.abs(levels - (after.scores >= 0.5).sum(axis=1)).mean())


def numbers(seed, people=60, clips=3):
    rng = np.random.default_rng(seed)
    subject = np.repeat(np.arange(people), clips)
    scores = 50 + 10 * rng.normal(size=len(subject))
    return 12 + 0.6 * scores + 4 * rng.normal(size=people)[subject] + 2 * rng.normal(size=len(subject)), scores, subject


@pytest.mark.parametrize("seed", range(3))
def test_a_number_gets_the_line_of_least_squares(seed):
    import statsmodels.api as sm

    truth, scores, people = numbers(seed)
    found = fit_number_updates(truth, scores, people)
    line = sm.OLS(truth, sm.add_constant(scores)).fit(
        cov_type="cluster", cov_kwds={"groups": people, "use_correction": False}
    )
    assert (found.both.intercept, found.both.slope) == pytest.approx(tuple(line.params))
    assert (found.intercept.intercept, found.intercept.slope) == (pytest.approx((truth - scores).mean()), 1)
    own = NumberAnswers(LabelKind("age", NUMBER), truth, scores[:, None], people, 0.5)
    measured, mended = own.calibration(), own.updated(found.both).calibration()
    assert measured["calibration_slope"].error == pytest.approx(float(line.bse[1]) * (60 / 59) ** 0.5)
    assert measured["mae"].value == pytest.approx(np.abs(truth - scores).mean())
    assert mended["rmse"].value == pytest.approx(line.resid.std())
    assert mended["calibration_slope"].value == pytest.approx(1)
    assert mended["calibration_intercept"].value == pytest.approx(0, abs=1e-9)
    assert own.measures()["pearson"].value == pytest.approx(np.corrcoef(truth, scores)[0, 1])


def test_scales_and_numbers_of_too_few_people_or_one_score_are_not_fitted():
    levels, scores, people, _ = graded(6)
    few = fit_scale_updates(levels[:9, None] >= [1, 2, 3], scores[:9], people[:9])
    assert few.both is None
    assert "above the lowest level and" in few.reason
    truth, values, whose = numbers(0)
    assert fit_number_updates(truth[:27], values[:27], whose[:27]).reason.startswith(
        "9 people with a value are too few"
    )
    still = fit_number_updates(truth, np.full(len(truth), 3.0), whose)
    assert (still.both, still.reason) == (None, "the scores do not vary, so no slope can be fitted")
    assert still.intercept.intercept == pytest.approx(truth.mean() - 3)


def test_a_truth_that_never_varies_has_no_slope_and_scores_that_differ_by_rounding_do_not_vary():
    """A slope of 0 was fitted, and the calibration slope after it was -9e15."""
    scores, subject = np.random.default_rng(0).normal(size=40), np.arange(40)
    found = fit_number_updates(np.full(40, 0.5), scores, subject)
    assert found.both is None
    assert found.reason == "the values of the truth do not vary, so no slope can be fitted"
    rounded = 0.5 + 1e-16 * np.arange(40)
    assert np.ptp(rounded) > 0
    assert np.isnan(slope_of(rounded, scores, subject, 40).value)
    assert np.isnan(correlation_of(rounded, scores, subject, 40).value)
