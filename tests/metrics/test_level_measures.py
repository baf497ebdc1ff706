import warnings

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk

from ssast.metrics.level_measures import nearest_step, weighted_kappa
from ssast.metrics.scores import paired_differences, score
from ssast.model.label_kinds import LabelKind, LabelKinds

RNG = np.random.default_rng(3)
LEVELS = (1.0, 2.0, 3.0, 4.0)
SCALE, CHOICE = LabelKind("rough", "ordinal", LEVELS), LabelKind("voice", "CE", ("breathy", "creaky", "modal"))


def falling(clips: int, digits: int = 9) -> np.ndarray:
    """Scores of at least 2, 3 and 4: they fall."""
    return -np.sort(-RNG.random((clips, 3)).round(digits), axis=1)


def shares(clips: int) -> np.ndarray:
    return RNG.dirichlet([1, 1, 1], size=clips)


LEVEL_CASES = {
    "random": (RNG.integers(1, 5, 200), falling(200)),
    "ties": (RNG.integers(1, 5, 200), falling(200, 1)),
    "means of raters": (RNG.integers(4, 17, 150) / 4, falling(150)),
    "a level that nobody has": (RNG.choice([1, 2, 4], 90), falling(90)),
    "everyone alike": (np.full(20, 3), falling(20)),
    "the model says one thing": (RNG.integers(1, 5, 50), np.tile([0.9, 0.8, 0.1], (50, 1))),
    "both say one thing": (np.full(20, 3), np.tile([0.9, 0.8, 0.1], (20, 1))),
    "one clip": (np.array([2]), falling(1)),
    "two clips": (np.array([1, 4]), np.array([[0.1, 0.0, 0.0], [1.0, 0.9, 0.8]])),
}


def of_scale(targets, scores, label=SCALE, **more):
    found = score(np.asarray(targets, float)[:, None], scores, [label.name], kinds=LabelKinds((label,)), **more)
    return found["labels"][label.name]


def close(value):
    return None if value is None or np.isnan(value) else pytest.approx(value, abs=1e-9)


@pytest.mark.parametrize("case", LEVEL_CASES)
def test_scores_of_a_scale_equal_scikit_learn_and_scipy(case):
    targets, scores = LEVEL_CASES[case]
    got = of_scale(targets, scores)
    called, nearest = 1 + (scores >= 0.5).sum(axis=1), np.floor(targets + 0.5)
    expected = {"mae_steps": np.abs(targets - called).mean()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected["qwk"] = sk.cohen_kappa_score(nearest.astype(int), called, weights="quadratic", labels=[1, 2, 3, 4])
        answers = 1 + scores.sum(axis=1)
        expected["spearman"] = stats.spearmanr(targets, answers).statistic if len(targets) > 1 else np.nan
        for at, level in enumerate((2, 3, 4)):
            yes = nearest >= level
            expected[f"auc_at_{level}"] = np.nan if yes.all() or not yes.any() else sk.roc_auc_score(yes, scores[:, at])
    cuts = [value for name, value in expected.items() if name.startswith("auc_at_") and not np.isnan(value)]
    expected["auc"] = np.mean(cuts) if cuts else np.nan
    assert {name: got[name] for name in expected} == {name: close(value) for name, value in expected.items()}
    table = sk.confusion_matrix(nearest.astype(int), called, labels=[1, 2, 3, 4])
    assert got["confusion"] == table.tolist()
    assert got["baseline"]["mae_steps"] == pytest.approx(np.abs(targets - np.floor(np.median(targets) + 0.5)).mean())


@pytest.mark.parametrize("case", ["random", "two kinds at most", "one kind"])
def test_scores_of_a_choice_equal_scikit_learn(case):
    kinds = {"random": 3, "two kinds at most": 2, "one kind": 1}[case]
    targets, scores = RNG.integers(0, kinds, 120), shares(120)
    kind = LabelKinds((CHOICE,))
    got = score(targets[:, None].astype(float), scores, ["voice"], kinds=kind)["labels"]["voice"]
    called = scores.argmax(axis=1)
    areas = [sk.roc_auc_score(targets == at, scores[:, at]) for at in range(kinds) if 0 < (targets == at).mean() < 1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn warns that kinds are called which are no truth
        balanced = sk.balanced_accuracy_score(targets, called)
    assert got["accuracy"] == pytest.approx(sk.accuracy_score(targets, called))
    assert got["balanced_accuracy"] == pytest.approx(balanced)
    assert got["auc"] == close(np.mean(areas) if areas else np.nan)
    assert got["confusion"] == sk.confusion_matrix(targets, called, labels=[0, 1, 2]).tolist()
    assert got["baseline"] == {"accuracy": np.bincount(targets).max() / 120}
    assert (got["reason"] is None) == bool(areas)


def test_missing_cells_are_left_out_of_that_label_alone():
    targets, scores = LEVEL_CASES["random"]
    holes = targets.astype(float)
    holes[::3] = np.nan
    kept = ~np.isnan(holes)
    assert of_scale(holes, scores)["n"] == kept.sum()
    assert of_scale(holes, scores)["qwk"] == pytest.approx(of_scale(targets[kept], scores[kept])["qwk"])
    nothing = of_scale(np.full(9, np.nan), falling(9))
    assert (nothing["qwk"], nothing["reason"]) == (
        None,
        "undefined: qwk, spearman, mae_steps, auc; no clip has a target",
    )


def test_levels_that_lie_apart_count_as_steps_and_a_cut_says_which_auc_leads():
    grbas, apart = LabelKind("x", "ordinal", (0.0, 1.0, 2.0, 3.0), cut=2.0), (0.0, 10.0, 20.0, 50.0)
    targets, scores = LEVEL_CASES["random"]
    at = targets - 1
    plain = of_scale(at, scores, grbas)
    wide = of_scale(np.array(apart)[at], scores, LabelKind("x", "ordinal", apart))
    assert (plain["qwk"], plain["mae_steps"]) == (pytest.approx(wide["qwk"]), pytest.approx(wide["mae_steps"]))
    assert plain["auc"] == plain["auc_at_2"] == wide["auc_at_20"]


def test_kappa_of_weighted_clips_is_that_of_repeated_clips():
    first, second = RNG.integers(0, 4, 40), RNG.integers(0, 4, 40)
    times = RNG.integers(0, 4, 40)
    repeated = sk.cohen_kappa_score(np.repeat(first, times), np.repeat(second, times), weights="quadratic")
    assert weighted_kappa(times[None].astype(float), first, second) == pytest.approx([repeated])


def test_halfway_between_two_steps_counts_up():
    assert nearest_step(np.array([0.5, 1.49, 2.5])).tolist() == [1, 1, 3]


def test_intervals_and_chance_of_a_scale_are_by_subject_and_hold_the_score():
    truth = np.repeat(RNG.integers(1, 5, 60), 3)
    near = np.clip(truth + RNG.normal(0, 0.6, 180), 1, 4)
    scores = np.stack([1 / (1 + np.exp(-3 * (near - cut))) for cut in (1.5, 2.5, 3.5)], axis=1)
    found = of_scale(truth, scores, subjects=np.repeat(np.arange(60), 3), resamples=200)
    assert found["intervals"].keys() == {*["qwk", "spearman", "mae_steps", "auc", "auc_at_2", "auc_at_3", "auc_at_4"]}
    for name, (low, high) in found["intervals"].items():
        assert low <= found[name] <= high
    clips = of_scale(truth, scores, resamples=200)
    wide, narrow = (np.diff(own["intervals"]["qwk"])[0] for own in (found, clips))
    assert wide > narrow
    assert -0.2 < found["chance"]["qwk"] < 0.4 < found["qwk"]


def test_a_model_that_calls_one_level_has_a_kappa_of_0_and_no_interval_of_no_width():
    found = of_scale(*LEVEL_CASES["the model says one thing"], resamples=50)
    assert (found["qwk"], found["intervals"]["qwk"]) == (pytest.approx(0, abs=1e-9), None)


def test_shuffled_labels_stay_below_the_level_of_chance():
    """The level is that which 95 % of shuffles stay below: of random answers few are above it."""
    above = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        targets, scores = rng.integers(1, 5, 60), -np.sort(-rng.random((60, 3)), axis=1)
        found = of_scale(targets, scores, resamples=100)
        above += found["qwk"] > found["chance"]["qwk"]
    assert above <= 6


def test_labels_of_several_kinds_are_scored_as_if_each_kind_were_alone():
    kinds = LabelKinds((LabelKind("ill"), SCALE, CHOICE, LabelKind("age", "MSE")))
    yes, age = RNG.integers(0, 2, 80), RNG.normal(50, 9, 80)
    targets = np.stack([yes, RNG.integers(1, 5, 80), RNG.integers(0, 3, 80), age], axis=1).astype(float)
    scores = np.concatenate([RNG.random((80, 1)), falling(80), shares(80), RNG.normal(50, 9, (80, 1))], axis=1)
    found = score(targets, scores, kinds.names, kinds=kinds, resamples=50)
    assert found["loss"] == "mixed"
    for at, label in enumerate(kinds.labels):
        alone = score(
            targets[:, [at]], scores[:, kinds.slices[at]], [label.name], kinds=LabelKinds((label,)), resamples=50
        )
        own = dict(found["labels"][label.name])
        assert own.pop("kind") == label.kind
        single = dict(alone["labels"][label.name])
        single.pop("kind", None)
        assert own == single
        assert found["kinds"][label.kind]["mean"] == alone["mean"]


def test_the_difference_of_two_models_on_a_scale_is_that_of_their_scores():
    targets, first = LEVEL_CASES["random"]
    second = falling(200)
    kinds = LabelKinds((SCALE,))
    found = paired_differences(targets[:, None], first, second, ["rough"], kinds=kinds, resamples=50)["labels"]["rough"]
    apart = of_scale(targets, second)["qwk"] - of_scale(targets, first)["qwk"]
    assert found["qwk"]["difference"] == pytest.approx(apart)
    assert found["qwk"]["interval"][0] <= apart <= found["qwk"]["interval"][1]
