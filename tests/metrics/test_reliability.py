import json
import warnings

import numpy as np
import pandas as pd
import pytest

from ssast.metrics.reliability import embedding_repeatability, repeatability

RNG = np.random.default_rng(6)


def pairs(people=40, within=0.6, shift=0.0, seed=0):
    rng = np.random.default_rng(seed)
    return 5 + rng.normal(size=(people, 1)) + within * rng.normal(size=(people, 2)) + [0, shift]


@pytest.mark.parametrize("values", [pairs(), pairs(shift=0.8), pairs(people=4), RNG.random((30, 2)), pairs(within=3)])
def test_both_icc_and_their_intervals_are_those_of_pingouin(values):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pingouin

        long = pd.DataFrame(values).melt(ignore_index=False).reset_index()
        expected = pingouin.intraclass_corr(long, "index", "variable", "value").set_index("Type")
    got = repeatability(values)
    for name, own in (("ICC(A,1)", got["icc_2_1"]), ("ICC(C,1)", got["icc_3_1"])):
        assert own["value"] == pytest.approx(expected.loc[name, "ICC"], abs=1e-9)
        assert [round(end, 2) for end in own["interval"]] == pytest.approx(list(expected.loc[name, "CI95"]), abs=0.011)


def test_error_change_and_limits_follow_from_the_differences():
    values = pairs(shift=0.3)
    away = values[:, 1] - values[:, 0]
    got = repeatability(values)
    assert got["sem"]["value"] == pytest.approx(away.std(ddof=1) / np.sqrt(2))
    assert got["mdc95"]["value"] == pytest.approx(1.96 * away.std(ddof=1), rel=1e-4)
    assert got["bias"]["value"] == pytest.approx(away.mean())
    assert got["limit_high"]["value"] - got["limit_low"]["value"] == pytest.approx(
        2 * 1.96 * away.std(ddof=1), rel=1e-4
    )
    assert got["within_cv"]["value"] == pytest.approx(np.sqrt((away**2 / 2).mean()) / values.mean())
    for own in got.values():
        assert own["interval"][0] < own["value"] < own["interval"][1]


def test_known_variances_are_within_their_intervals_about_as_often_as_these_say():
    truth = {"icc_3_1": 1 / 1.36, "icc_2_1": 1 / 1.36, "sem": 0.6, "mdc95": 0.6 * 1.96 * 2**0.5, "within_cv": 0.12}
    hits = dict.fromkeys(truth, 0)
    for seed in range(200):
        got = repeatability(pairs(people=100, seed=seed))
        for name, value in truth.items():
            low, high = got[name]["interval"]
            hits[name] += low <= value <= high
    assert min(hits.values()) >= 0.9 * 200


@pytest.mark.parametrize(
    ("values", "undefined"),
    [
        (np.full((5, 2), 3.0), {"icc_2_1", "icc_3_1"}),
        (np.repeat(np.arange(1, 6.0)[:, None], 2, axis=1), set()),
        (-pairs(), {"within_cv"}),
    ],
    ids=["constant", "repeats exactly", "below zero"],
)
def test_degenerate_values_leave_measures_undefined_and_the_result_is_plain_json(values, undefined):
    got = repeatability(values)
    assert {name for name, own in got.items() if own["value"] is None} == undefined
    assert json.loads(json.dumps(got, allow_nan=False)) == got


def test_exact_repetition_has_an_icc_of_one_and_no_error():
    got = repeatability(np.repeat(np.arange(1, 6.0)[:, None], 2, axis=1))
    assert (got["icc_2_1"]["value"], got["icc_3_1"]["value"], got["sem"]["value"]) == (1, 1, 0)


def test_embeddings_are_summarised_over_their_dimensions():
    good, bad = pairs(people=30)[:, :, None], RNG.normal(size=(30, 2, 2))
    found = embedding_repeatability(np.concatenate([good, bad, np.ones((30, 2, 1))], axis=2), 50, 0)
    single = [repeatability(own)["icc_2_1"]["value"] for own in (good[:, :, 0], bad[:, :, 0], bad[:, :, 1])]
    assert found["dimensions"] == 4
    assert found["icc_2_1"]["value"] == pytest.approx(np.median(single))
    low, high = found["icc_2_1"]["interval"]
    assert low < found["icc_2_1"]["value"] < high
    assert json.dumps(found, allow_nan=False)


def test_people_with_one_mean_and_no_shift_have_an_icc_and_no_interval_of_it():
    """Satterthwaite's degrees of freedom were zero over zero, a traceback of `retest`."""
    found = repeatability(np.array([[1.0, 3.0], [3.0, 1.0], [2.0, 2.0]]))
    assert found["icc_2_1"]["value"] == pytest.approx(-3)
    assert found["icc_2_1"]["interval"] is None
