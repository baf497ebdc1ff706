import numpy as np
import pytest
from scipy import stats

from ssast.metrics.review import net_benefit, predictive

RNG = np.random.default_rng(5)
SUBJECT = np.repeat(np.arange(50), 4)
POSITIVE = RNG.random(200) < 0.3
SCORES = np.clip(0.3 * POSITIVE + 0.7 * RNG.random(200), 0, 1)


def counts(called):
    return [int((a & b).sum()) for a in (POSITIVE, ~POSITIVE) for b in (called, ~called)]


@pytest.mark.parametrize("threshold", [0.1, 0.35, 0.9])
def test_net_benefit_is_true_calls_less_false_ones_at_the_odds_of_the_threshold(threshold):
    found, _, false, _ = counts(threshold <= SCORES)
    got = net_benefit(POSITIVE, SCORES, threshold, SUBJECT, 50)
    odds = threshold / (1 - threshold)
    assert got.model.value == pytest.approx((found - false * odds) / 200)
    assert got.everybody == pytest.approx((POSITIVE.sum() - (~POSITIVE).sum() * odds) / 200)
    low, high = got.model.interval()
    assert low <= got.model.value <= high


def test_predictive_values_at_the_prevalence_of_the_set_are_the_plain_shares():
    called = SCORES >= 0.4
    found, missed, false, spared = counts(called)
    got = predictive(POSITIVE, called, POSITIVE.mean(), SUBJECT, 50)
    assert got.ppv.value == pytest.approx(found / (found + false))
    assert got.npv.value == pytest.approx(spared / (spared + missed))
    sensitivity, specificity = found / (found + missed), spared / (spared + false)
    assert got.lr_positive.value == pytest.approx(sensitivity / (1 - specificity))
    assert got.lr_negative.value == pytest.approx((1 - sensitivity) / specificity)


def test_a_lower_prevalence_lowers_the_ppv_and_leaves_the_likelihood_ratios_alone():
    called = SCORES >= 0.4
    often, rare = (predictive(POSITIVE, called, share, SUBJECT, 50) for share in (0.5, 0.01))
    assert rare.ppv.value < often.ppv.value
    assert rare.npv.value > often.npv.value
    assert rare.lr_positive.value == often.lr_positive.value
    odds = rare.lr_positive.value * 0.01 / 0.99
    assert rare.ppv.value == pytest.approx(odds / (1 + odds))
    assert [round(end, 6) for end in rare.ppv.interval()] == [
        pytest.approx(ratio * 0.01 / 0.99 / (1 + ratio * 0.01 / 0.99), abs=1e-5)
        for ratio in rare.lr_positive.interval()
    ]


def test_the_interval_of_a_likelihood_ratio_is_the_usual_one_on_the_log_scale_where_clips_stand_alone():
    called = SCORES >= 0.4
    found, missed, false, spared = counts(called)
    got = predictive(POSITIVE, called, 0.3, np.arange(200), 200).lr_positive
    expected = np.sqrt(missed / found / (found + missed) + spared / false / (false + spared))
    assert np.sqrt((got.pulls**2).sum()) / got.value == pytest.approx(expected, rel=1e-9)


def test_the_interval_of_a_likelihood_ratio_has_the_degrees_of_freedom_of_both_shares_together():
    called, alone = SCORES >= 0.4, np.arange(200)
    got = predictive(POSITIVE, called, 0.3, alone, 200)
    parts = []
    for among in (POSITIVE, ~POSITIVE):
        share, people = called[among].mean(), among.sum()
        parts.append(((1 - share) / share / (people - 1), people - 1))
    variance = sum(square for square, _ in parts)
    freedom = variance**2 / sum(square**2 / own for square, own in parts)
    rarer = min(own for _, own in parts)
    assert rarer < freedom < 198
    pulled = np.square(got.lr_positive.pulls / got.lr_positive.value).sum() * (rarer + 1) / rarer
    reach = stats.t.ppf(0.975, freedom) * np.sqrt(pulled)
    low, high = got.lr_positive.interval()
    assert (low, high) == pytest.approx(got.lr_positive.value * np.exp([-reach, reach]), rel=1e-9)
    assert predictive(POSITIVE, called, 0.3, np.zeros(200, int), 1).lr_positive.interval() is None


def test_calls_that_are_never_wrong_have_a_ppv_and_no_ratio_and_no_calls_have_neither():
    perfect = predictive(POSITIVE, POSITIVE, 0.2, SUBJECT, 50)
    assert (perfect.ppv.value, perfect.npv.value, perfect.lr_negative.value) == (1, 1, 0)
    assert np.isnan(perfect.lr_positive.value)
    assert perfect.ppv.interval() is None
    nobody = predictive(POSITIVE, np.zeros(200, bool), 0.2, SUBJECT, 50)
    assert np.isnan(nobody.ppv.value)
    assert nobody.npv.value == pytest.approx(0.8)
