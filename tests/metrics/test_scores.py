import json
import warnings

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk

from ssast.errors import UserError
from ssast.metrics.scores import aucs_table, choose_thresholds, paired_differences, score, unchosen_thresholds
from ssast.metrics.threshold_rules import ThresholdRule

RNG = np.random.default_rng(7)
BINARY = {
    "random": (RNG.random(200) < 0.4, RNG.random(200)),
    "ties": (RNG.random(300) < 0.5, RNG.random(300).round(1)),
    "constant scores": (RNG.random(50) < 0.5, np.full(50, 0.3)),
    "one positive in many": (np.arange(5000) == 77, RNG.random(5000)),
    "one negative in many": (np.arange(5000) != 77, RNG.random(5000).round(2)),
    "perfect": (np.arange(40) >= 20, np.linspace(0, 1, 40)),
    "perfectly wrong": (np.arange(40) < 20, np.linspace(0, 1, 40)),
    "two rows": (np.array([True, False]), np.array([0.5, 0.5])),
    "neighbouring floats": (np.array([True, False, True]), np.array([0.5, np.nextafter(0.5, 1), 0.5])),
    "all positive": (np.ones(9, bool), RNG.random(9)),
    "all negative": (np.zeros(9, bool), RNG.random(9)),
    "one row": (np.ones(1, bool), np.array([0.7])),
}


def one(targets, scores, **options):
    column = [np.asarray(values, dtype=float)[:, None] for values in (targets, scores)]
    return score(*column, ["x"], **options)["labels"]["x"]


@pytest.mark.parametrize("case", BINARY)
@pytest.mark.parametrize("threshold", [0.3, 0.5])
def test_yes_no_scores_equal_scikit_learn_and_only_empty_quotients_are_undefined(case, threshold):
    positive, scores = BINARY[case]
    called = scores >= threshold
    got = one(positive, scores, thresholds={"x": threshold})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = {
            "auc": sk.roc_auc_score(positive, scores) if 0 < positive.mean() < 1 else None,
            "average_precision": sk.average_precision_score(positive, scores) if positive.any() else None,
            "f1": sk.f1_score(positive, called) if (positive | called).any() else None,
            "sensitivity": sk.recall_score(positive, called) if positive.any() else None,
            "specificity": sk.recall_score(~positive, ~called) if not positive.all() else None,
            "brier": sk.brier_score_loss(positive, scores, pos_label=1),
            "prevalence": positive.mean(),
        }
    assert {name: got[name] for name in expected} == {
        name: None if value is None else pytest.approx(value, abs=1e-12) for name, value in expected.items()
    }
    assert (got["n"], got["n_positive"]) == (len(positive), positive.sum())
    assert (got["reason"] is None) == (None not in expected.values())


def test_calibration_error_weighs_the_gap_of_ten_equal_bins_by_their_clips():
    positive, scores = BINARY["random"]
    bins = np.minimum((scores * 10).astype(int), 9)
    gaps = [np.mean(bins == b) * abs(scores[bins == b].mean() - positive[bins == b].mean()) for b in set(bins)]
    assert one(positive, scores)["ece"] == pytest.approx(sum(gaps), abs=1e-12)
    assert one([1, 0, 1], [1.0, 0.0, 1.0])["ece"] == 0


@pytest.mark.parametrize("decimals", [9, 0])
def test_value_scores_equal_scipy_and_scikit_learn(decimals):
    rng = np.random.default_rng(3)
    targets = rng.normal(1000, 2, 150).round(decimals)
    scores = (0.5 * targets + rng.normal(size=150)).round(decimals)
    got = one(targets, scores, loss="MSE")
    spread = targets.var() + scores.var() + (targets.mean() - scores.mean()) ** 2
    assert got["mae"] == pytest.approx(sk.mean_absolute_error(targets, scores))
    assert got["rmse"] == pytest.approx(sk.mean_squared_error(targets, scores) ** 0.5)
    assert got["pearson"] == pytest.approx(stats.pearsonr(targets, scores).statistic, abs=1e-10)
    assert got["spearman"] == pytest.approx(stats.spearmanr(targets, scores).statistic, abs=1e-12)
    assert got["ccc"] == pytest.approx(2 * np.cov(targets, scores, bias=True)[0, 1] / spread, rel=1e-9)


def test_constant_values_leave_correlations_undefined_and_the_errors_go_on():
    constant = one([1.0, 2.0, 3.0], [0.1, 0.1, 0.1], loss="MSE", resamples=50)
    assert (constant["pearson"], constant["spearman"], constant["ccc"]) == (None, None, 0)
    assert constant["mae"] == pytest.approx(1.9)
    assert "do not vary" in constant["reason"]
    assert one([2.0], [1.0], loss="MSE")["rmse"] == 1


def test_a_missing_target_leaves_out_that_cell_alone():
    rng = np.random.default_rng(0)
    targets, scores = (rng.random((60, 2)) < 0.5).astype(float), rng.random((60, 2))
    holes = targets.copy()
    holes[::3, 0] = np.nan
    got, whole = score(holes, scores, ["a", "b"]), score(targets, scores, ["a", "b"])
    kept = np.arange(60) % 3 != 0
    assert got["labels"]["a"]["auc"] == pytest.approx(sk.roc_auc_score(targets[kept, 0], scores[kept, 0]))
    assert got["labels"]["a"]["n"] == 40
    assert got["labels"]["b"] == whole["labels"]["b"]
    assert got["n"] == 60


def test_a_label_with_one_class_is_null_with_a_reason_and_the_mean_goes_on():
    targets = np.array([[1, 0, np.nan], [1, 1, np.nan], [1, 0, np.nan], [1, 1, np.nan]])
    scores = np.array([[0.2, 0.1, 0.5], [0.9, 0.8, 0.5], [0.4, 0.3, 0.5], [0.6, 0.7, 0.5]])
    got = score(targets, scores, ["always", "both", "never asked"], resamples=40)
    assert got["labels"]["always"]["auc"] is None
    assert "all 4 targets are positive" in got["labels"]["always"]["reason"]
    assert "no clip has a target" in got["labels"]["never asked"]["reason"]
    assert got["mean"]["auc"] == got["labels"]["both"]["auc"] == 1
    assert got["labels"]["never asked"]["chance"] == {"auc": None}
    assert json.loads(json.dumps(got, allow_nan=False)) == got


def test_no_clips_and_no_labels_give_an_empty_result():
    assert score(np.empty((0, 1)), np.empty((0, 1)), ["x"], resamples=5)["mean"]["auc"] is None
    assert score(np.empty((3, 0)), np.empty((3, 0)), [], resamples=5)["labels"] == {}


def test_soft_targets_count_as_positive_from_a_half():
    soft, scores = np.array([0.0, 0.49, 0.5, 0.9]), np.array([0.2, 0.6, 0.4, 0.7])
    assert one(soft, scores) == one(soft >= 0.5, scores)


def test_scores_that_are_no_probabilities_keep_their_auc_and_lose_their_calibration():
    got = one([0, 1, 1], [-3.0, 0.2, 4.0])
    assert (got["auc"], got["brier"], got["ece"]) == (1, None, None)
    assert "not between 0 and 1" in got["reason"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"loss": "CE"}, "without the levels"),
        ({"scores": [[np.nan], [0.1]]}, "1 scores are not finite"),
        ({"targets": [[3.0], [0.0]]}, "BCE expects 0 to 1"),
        ({"targets": [[np.inf], [0.0]], "loss": "MSE"}, "infinite target"),
        ({"scores": [[0.1]]}, "do not fit 1 labels"),
    ],
)
def test_unusable_arrays_are_refused_in_one_sentence(change, message):
    options = {"targets": [[1.0], [0.0]], "scores": [[0.2], [0.1]], "loss": "BCE"} | change
    with pytest.raises(UserError, match=message):
        score(options["targets"], options["scores"], ["x"], loss=options["loss"])


def test_a_label_named_twice_is_refused():
    with pytest.raises(UserError, match="stands twice"):
        score(np.zeros((2, 2)), np.zeros((2, 2)), ["x", "x"])


def test_thresholds_reach_the_largest_sum_of_sensitivity_and_specificity():
    rng = np.random.default_rng(1)
    for scores in (rng.random(80), rng.random(80).round(1)):
        positive = rng.random(80) < 0.2 + 0.6 * scores
        cut = choose_thresholds(positive[:, None], scores[:, None], ["x"])["x"]
        false_rate, true_rate, _ = sk.roc_curve(positive, scores)
        got = one(positive, scores, thresholds={"x": cut})
        assert got["sensitivity"] + got["specificity"] - 1 == pytest.approx((true_rate - false_rate).max())


@pytest.mark.parametrize("wanted", [0.5, 0.9, 1.0])
@pytest.mark.parametrize("name", ["sensitivity", "specificity"])
def test_a_threshold_by_rule_reaches_what_is_asked_and_gives_away_no_more_than_it_must(name, wanted):
    rng = np.random.default_rng(1)
    for scores in (rng.random(80), rng.random(80).round(1)):
        positive = rng.random(80) < 0.2 + 0.6 * scores
        scores[~positive] = np.minimum(scores[~positive], scores[positive].max() - 0.05)  # so that 1.0 can be reached
        cut = choose_thresholds(positive[:, None], scores[:, None], ["x"], ThresholdRule(**{name: wanted}))["x"]
        got, other = (
            one(positive, scores, thresholds={"x": cut}),
            {"sensitivity": "specificity"}.get(name, "sensitivity"),
        )
        assert got[name] >= wanted
        every = [one(positive, scores, thresholds={"x": own}) for own in [*scores, 2.0]]
        assert got[other] == max(each[other] for each in every if each[name] >= wanted)


def test_a_specificity_that_no_call_leaves_is_said_to_be_missed():
    rule = ThresholdRule(specificity=0.9)
    targets, scores = [[0.0], [1.0], [0.0]], [[0.9], [0.2], [0.1]]
    assert choose_thresholds(targets, scores, ["x"], rule) == {"x": 0.5}
    assert "misses the specificity 0.9" in unchosen_thresholds(targets, scores, ["x"], rule)["x"]
    assert "reach a specificity of 0.9" in rule.sentence


@pytest.mark.parametrize(
    ("targets", "scores"),
    [([1, 1], [0.1, 0.9]), ([0, 0], [0.1, 0.9]), ([0, 1], [0.2, 0.2]), ([1, 0], [0.1, 0.2]), ([np.nan], [0.3])],
)
def test_a_threshold_that_cannot_be_chosen_is_a_half(targets, scores):
    assert choose_thresholds(np.array(targets)[:, None], np.array(scores)[:, None], ["x"]) == {"x": 0.5}


def test_a_threshold_separates_neighbouring_floats():
    low, high = 0.1, np.nextafter(0.1, 1)
    cut = choose_thresholds([[0.0], [1.0]], [[low], [high]], ["x"])["x"]
    assert low < cut <= high


def test_the_auc_table_has_the_seeds_columns_and_is_empty_where_undefined():
    table = aucs_table(score([[1, 1], [0, 1]], [[0.9, 0.1], [0.2, 0.3]], ["a", "b"]))
    assert table.to_csv(index=False) == "Label,AUC\na,1.0\nb,\n"


def test_a_run_differs_from_itself_by_exactly_nothing():
    rng = np.random.default_rng(2)
    targets, scores = (rng.random((50, 1)) < 0.5).astype(float), rng.random((50, 1))
    got = paired_differences(targets, scores, scores, ["x"], resamples=50)
    assert got["labels"]["x"]["auc"] == {"difference": 0, "interval": [0, 0]}


def test_paired_intervals_are_narrower_than_the_runs_own_and_have_the_sign_of_the_better_run():
    rng = np.random.default_rng(4)
    targets = (rng.random((300, 2)) < 0.5).astype(float)
    hard = rng.normal(size=(300, 2))
    weak, strong = (1 / (1 + np.exp(-(gain * targets + hard))) for gain in (1, 2))
    options = {"resamples": 200, "subjects": np.repeat(np.arange(100), 3)}
    got = paired_differences(targets, weak, strong, ["x", "y"], **options)
    alone = score(targets, weak, ["x", "y"], **options)
    for paired, single in ((got["mean"], alone["mean"]), (got["labels"]["x"], alone["labels"]["x"])):
        low, high = paired["auc"]["interval"]
        assert 0 < low < paired["auc"]["difference"] < high
        assert high - low < np.ptp(single["intervals"]["auc"])
    assert got["mean"]["auc"]["difference"] == pytest.approx(
        score(targets, strong, ["x", "y"])["mean"]["auc"] - alone["mean"]["auc"]
    )


def test_each_clip_may_have_the_threshold_of_its_own_fold():
    positive, scores = BINARY["random"]
    cut = np.where(np.arange(200) < 120, 0.2, 0.7)
    got = one(positive, scores, thresholds={"x": cut}, resamples=20)
    assert got["threshold"] is None
    assert got["sensitivity"] == sk.recall_score(positive, scores >= cut)
    assert got["f1"] == pytest.approx(sk.f1_score(positive, scores >= cut))
    assert got["auc"] == pytest.approx(sk.roc_auc_score(positive, scores))
