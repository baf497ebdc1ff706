import json

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge

from ssast.metrics.plain_model import PENALTIES, PlainModel, fit_plain

RNG = np.random.default_rng(8)
FEATURES = RNG.normal(3, 2, (120, 9))
NUMBERS = FEATURES[:, 0] - 2 * FEATURES[:, 1] + RNG.normal(size=120)
TRUTH = (np.median(NUMBERS) < NUMBERS).astype(float)
STANDARD = (FEATURES - FEATURES.mean(0)) / FEATURES.std(0)


def fitted(targets, *, is_yes_no, features=FEATURES):
    return fit_plain(features, targets, features[:30], targets[:30], is_yes_no=is_yes_no)


def test_the_logistic_baseline_is_scikit_learns_at_its_penalty():
    model = fitted(TRUTH, is_yes_no=True)
    expected = LogisticRegression(C=1 / model.penalty, tol=1e-10, max_iter=2000).fit(STANDARD, TRUTH)
    np.testing.assert_allclose(model.scores(FEATURES), expected.predict_proba(STANDARD)[:, 1], atol=1e-5)


@pytest.mark.parametrize("rows", [4, 19, 20, 21])
def test_of_fewer_rows_than_features_the_logistic_baseline_is_scikit_learns_too(rows):
    features, truth = np.random.default_rng(rows).normal(3, 2, (rows, 40)), np.arange(rows) % 3 == 0
    model = fit_plain(features, truth.astype(float), features, truth.astype(float), is_yes_no=True)
    standard = (features - features.mean(0)) / features.std(0)
    expected = LogisticRegression(C=1 / model.penalty, tol=1e-12, max_iter=5000).fit(standard, truth)
    np.testing.assert_allclose(model.weights, expected.coef_[0], atol=1e-6)
    np.testing.assert_allclose(model.constant, expected.intercept_[0], atol=1e-5)


def test_the_baseline_of_numbers_is_scikit_learns_ridge_at_its_penalty():
    model = fitted(NUMBERS, is_yes_no=False)
    expected = Ridge(alpha=model.penalty).fit(STANDARD, NUMBERS)
    np.testing.assert_allclose(model.scores(FEATURES), expected.predict(STANDARD), atol=1e-5)


def test_the_penalty_is_the_one_with_the_smallest_loss_on_the_held_out_rows():
    noise = RNG.normal(size=(40, 30))
    lucky = RNG.integers(0, 2, 40).astype(float)
    shy = fit_plain(noise, lucky, RNG.normal(size=(40, 30)), RNG.integers(0, 2, 40).astype(float), is_yes_no=True)
    assert shy.penalty >= PENALTIES[-2]
    assert fitted(NUMBERS, is_yes_no=False).penalty == PENALTIES[0]


def test_rows_without_a_target_or_features_are_left_out_and_one_answer_has_no_model():
    gaps = np.where(np.arange(120) < 20, np.nan, TRUTH)
    holes = FEATURES.copy()
    holes[100] = np.nan
    model = fit_plain(holes, gaps, holes[:0], gaps[:0], is_yes_no=True)
    assert np.isnan(model.scores(holes)).sum() == 1
    assert model.penalty == PENALTIES[-1]
    assert fitted(np.ones(120), is_yes_no=True) is None
    assert fitted(np.full(120, np.nan), is_yes_no=True) is None
    assert np.isfinite(fitted(TRUTH, is_yes_no=True, features=np.zeros((120, 9))).scores(FEATURES)).all()


def test_classes_that_a_feature_parts_perfectly_have_finite_weights():
    parted = np.column_stack([TRUTH * 100, FEATURES])
    assert np.isfinite(fitted(TRUTH, is_yes_no=True, features=parted).weights).all()


def test_a_model_comes_back_from_its_file_and_a_strange_file_is_refused():
    model = fitted(TRUTH, is_yes_no=True)
    entries = json.loads(json.dumps(model.entries(), allow_nan=False))
    again = PlainModel.of_entries(entries, 9)
    np.testing.assert_allclose(again.scores(FEATURES), model.scores(FEATURES), atol=1e-5)
    wrong = [{"weights": [1.0]}, {"scale": [0.0] * 9}, {"is_yes_no": 1}, {"mean": [1e999] * 9}, {"constant": 1e999}]
    for change in wrong:
        with pytest.raises(ValueError, match=r"finite|scale"):
            PlainModel.of_entries(entries | change, 9)
