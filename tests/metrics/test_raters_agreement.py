import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import cohen_kappa_score

from ssast.metrics.raters import alpha, icc_of_raters, nominal_agreement, quadratic_agreement

RNG = np.random.default_rng(11)
METRICS = {"ordinal": "ordinal", "CE": "nominal", "BCE": "nominal", "MSE": "interval"}


def rated(clips=60, raters=4, values=5, gaps=0.0, noise=0.8):
    truth = RNG.integers(0, values, clips)[:, None]
    found = np.clip(np.round(truth + RNG.normal(0, noise, (clips, raters))), 0, values - 1)
    found[RNG.random(found.shape) < gaps] = np.nan
    return found


RATED = {
    "random": rated(),
    "gaps": rated(gaps=0.4),
    "mostly gaps": rated(gaps=0.7),
    "two raters": rated(raters=2),
    "a value that nobody gives": np.where(rated() == 2, 3, rated()),
    "no agreement": RNG.integers(0, 5, (50, 3)).astype(float),
    "all agree": np.repeat(RNG.integers(0, 5, (40, 1)), 3, axis=1).astype(float),
    "two clips": np.array([[0.0, 1, 0], [4, 3, 4]]),
}


def once(clips):
    return np.ones((1, clips))


@pytest.mark.parametrize("kind", METRICS)
@pytest.mark.parametrize("case", RATED)
def test_alpha_equals_that_of_the_package_krippendorff(case, kind):
    import krippendorff

    ratings = RATED[case] if kind != "BCE" else np.where(np.isnan(RATED[case]), np.nan, RATED[case] > 2)
    values = {"BCE": 2}.get(kind, 5)
    domain = {} if kind == "MSE" else {"value_domain": list(range(values))}
    expected = krippendorff.alpha(reliability_data=ratings.T, level_of_measurement=METRICS[kind], **domain)
    assert alpha(once(len(ratings)), ratings, kind, values) == pytest.approx([expected], abs=1e-9)


@pytest.mark.parametrize("kind", METRICS)
def test_alpha_is_undefined_where_nothing_differs_or_nothing_is_rated_twice(kind):
    for ratings in (np.full((9, 3), 2.0), np.where(np.eye(9, 3) > 0, 1.0, np.nan), np.full((4, 2), np.nan)):
        assert np.isnan(alpha(once(len(ratings)), ratings, kind, 5)).all()


@pytest.mark.parametrize("case", ["random", "gaps", "two raters", "no agreement"])
def test_icc_of_the_clips_that_all_rated_equals_that_of_pingouin(case):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pingouin

    ratings = RATED[case]
    whole = ratings[~np.isnan(ratings).any(axis=1)]
    table = pd.DataFrame(
        [(clip, rater, value) for clip, row in enumerate(whole) for rater, value in enumerate(row)],
        columns=["clip", "rater", "value"],
    )
    found = pingouin.intraclass_corr(table, targets="clip", raters="rater", ratings="value")
    expected = found.set_index("Type")["ICC"].get("ICC(A,1)", found.set_index("Type")["ICC"].get("ICC2"))
    assert icc_of_raters(once(len(ratings)), ratings) == pytest.approx([expected], abs=1e-9)


def test_icc_is_undefined_without_variance_and_one_where_all_agree():
    assert np.isnan(icc_of_raters(once(5), np.full((5, 3), 2.0))).all()
    assert np.isnan(icc_of_raters(once(3), np.array([[1, np.nan], [2, np.nan], [np.nan, 3]]))).all()
    assert icc_of_raters(once(40), RATED["all agree"]) == pytest.approx([1])


@pytest.mark.parametrize("kind", METRICS)
def test_weights_count_as_repetitions(kind):
    ratings, times = RATED["gaps"], RNG.integers(0, 4, 60)
    again = np.repeat(ratings, times, axis=0)
    weights = times[None].astype(float)
    assert alpha(weights, ratings, kind, 5) == pytest.approx(alpha(once(len(again)), again, kind, 5))
    assert icc_of_raters(weights, ratings) == pytest.approx(icc_of_raters(once(len(again)), again))


def test_agreement_of_two_equals_scikit_learn_s_kappa():
    first, second = RATED["random"][:, 0], RATED["random"][:, 1]
    quadratic = cohen_kappa_score(first.astype(int), second.astype(int), weights="quadratic")
    assert quadratic_agreement(once(60), first, second) == pytest.approx([quadratic])
    nominal = cohen_kappa_score(first.astype(int), second.astype(int))
    assert nominal_agreement(once(60), first, second) == pytest.approx([nominal])
    holes = np.where(np.arange(60) % 4 == 0, np.nan, first)
    kept = ~np.isnan(holes)
    assert quadratic_agreement(once(60), holes, second) == quadratic_agreement(
        once(kept.sum()), first[kept], second[kept]
    )
    assert nominal_agreement(once(60), holes, second) == nominal_agreement(once(kept.sum()), first[kept], second[kept])


def test_agreement_of_numbers_is_lin_s_concordance():
    first = RNG.normal(60, 9, 80)
    second = first + RNG.normal(2, 4, 80)
    expected = (
        2 * np.cov(first, second, bias=True)[0, 1] / (first.var() + second.var() + (first.mean() - second.mean()) ** 2)
    )
    assert quadratic_agreement(once(80), first, second) == pytest.approx([expected])


def test_one_answer_throughout_has_no_kappa():
    assert np.isnan(nominal_agreement(once(5), np.ones(5), np.ones(5))).all()
    assert np.isnan(quadratic_agreement(once(5), np.ones(5), np.ones(5))).all()
