import itertools

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from ssast.metrics.predictions import Predictions
from ssast.metrics.raters import MOST_RATERS, add_raters
from ssast.metrics.scores import score
from ssast.model.label_kinds import LabelKind, LabelKinds

LEVELS = (1.0, 2.0, 3.0, 4.0)
SCALE = LabelKind("rough", "ordinal", LEVELS)
RNG = np.random.default_rng(5)


def noisy(trait, noise):
    return np.clip(np.round(trait + RNG.normal(0, noise, len(trait))), 1, 4)


def at_least(values):
    return np.stack([values >= level for level in LEVELS[1:]], axis=1).astype(float)


def told(label, scores, ratings, *, resamples=0, subjects=None, thresholds=None):
    kinds = LabelKinds((label,))
    mean = np.nanmean(ratings, axis=1)[:, None] if label.kind != "CE" else ratings[:, :1]
    uids = [f"u{at}" for at in range(len(scores))]
    predictions = Predictions(uids, [label.name], scores, mean, subjects, kinds=kinds)
    metrics = score(mean, scores, [label.name], kinds=kinds, resamples=resamples, subjects=subjects)
    add_raters(metrics, predictions, kinds, {label.name: ratings}, thresholds or {}, seed=0)
    return metrics["labels"][label.name].get("raters")


def kappa(first, second, weights="quadratic"):
    return cohen_kappa_score(first.astype(int), second.astype(int), weights=weights)


def test_the_model_is_held_against_each_rater_and_raters_against_each_other():
    trait = RNG.uniform(1, 4, 120)
    ratings, model = np.stack([noisy(trait, 0.6) for _ in range(3)], axis=1), noisy(trait, 0.6)
    found = told(SCALE, at_least(model), ratings)
    pairs = [kappa(ratings[:, one], ratings[:, two]) for one, two in itertools.combinations(range(3), 2)]
    own = [kappa(model, ratings[:, one]) for one in range(3)]
    others = [np.floor(np.delete(ratings, one, axis=1).mean(axis=1) + 0.5) for one in range(3)]
    assert found["rater_with_rater"]["value"] == pytest.approx(np.mean(pairs))
    assert found["model_with_rater"]["value"] == pytest.approx(np.mean(own))
    assert found["difference"]["value"] == pytest.approx(np.mean(own) - np.mean(pairs))
    assert found["rater_with_mean"]["value"] == pytest.approx(
        np.mean([kappa(ratings[:, one], others[one]) for one in range(3)])
    )
    assert found["each"]["rater 2"] == {
        "model": pytest.approx(own[1]),
        "others": pytest.approx((pairs[0] + pairs[2]) / 2),
    }
    assert (found["n"], found["most"], found["measure"]) == (120, 3, "qwk")


def test_a_model_that_is_as_noisy_as_a_rater_cannot_be_told_from_one_and_a_coin_can():
    trait, people = np.repeat(RNG.uniform(1, 4, 60), 3), np.repeat(np.arange(60), 3).astype(object)
    ratings = np.stack([noisy(trait, 0.6) for _ in range(3)], axis=1)
    alike = told(SCALE, at_least(noisy(trait, 0.6)), ratings, resamples=200, subjects=people)["difference"]
    coin = told(SCALE, at_least(RNG.integers(1, 5, 180)), ratings, resamples=200, subjects=people)["difference"]
    assert alike["interval"][0] < 0 < alike["interval"][1]
    assert coin["interval"][1] < 0


def test_clips_with_one_rating_are_left_out_and_labels_that_one_person_rated_have_no_entry():
    trait = RNG.uniform(1, 4, 80)
    ratings = np.stack([noisy(trait, 0.5), noisy(trait, 0.5)], axis=1)
    ratings[::2, 1] = np.nan
    scores = at_least(noisy(trait, 0.5))
    found, kept = told(SCALE, scores, ratings), told(SCALE, scores[1::2], ratings[1::2])
    assert found == kept
    assert found["n"] == 40
    assert told(SCALE, scores, ratings[:, :1]) is None


def test_yes_no_ratings_are_held_against_the_call_at_the_threshold():
    truth = RNG.integers(0, 2, 100)
    ratings = np.stack([np.where(RNG.random(100) < 0.15, 1 - truth, truth) for _ in range(2)], axis=1).astype(float)
    scores = np.clip(truth * 0.3 + RNG.random(100) * 0.4, 0, 1)[:, None]
    found = told(LabelKind("ill"), scores, ratings, thresholds={"ill": 0.35})
    called = scores[:, 0] >= 0.35
    assert found["model_with_rater"]["value"] == pytest.approx(
        np.mean([kappa(called, ratings[:, one], None) for one in range(2)])
    )
    assert found["measure"] == "kappa"


def test_raters_of_a_choice_have_no_icc_and_no_mean():
    kinds = LabelKind("voice", "CE", ("a", "b", "c"))
    ratings = RNG.integers(0, 3, (60, 2)).astype(float)
    scores = np.eye(3)[ratings[:, 0].astype(int)]
    found = told(kinds, scores, ratings)
    assert not {"icc_2_1", "rater_with_mean"} & found.keys()
    assert found["each"]["rater 1"]["model"] == pytest.approx(1)
    assert found["rater_with_rater"]["value"] == pytest.approx(kappa(ratings[:, 0], ratings[:, 1], None))


def test_numbers_agree_by_concordance_and_of_very_many_ratings_only_alpha_and_icc_are_given():
    trait = RNG.normal(50, 9, 40)
    ratings = trait[:, None] + RNG.normal(0, 3, (40, MOST_RATERS + 1))
    found = told(LabelKind("age", "MSE"), trait[:, None], ratings)
    assert "each" not in found
    assert found["alpha"]["value"] == pytest.approx(found["icc_2_1"]["value"], abs=0.02)
    assert told(LabelKind("age", "MSE"), trait[:, None], ratings[:, :3])["measure"] == "ccc"


def test_intervals_of_agreement_are_by_person():
    trait = np.repeat(RNG.uniform(1, 4, 30), 6)
    ratings = np.stack([noisy(trait, 0.7) for _ in range(3)], axis=1)
    scores = at_least(noisy(trait, 0.7))
    by_person = told(SCALE, scores, ratings, resamples=200, subjects=np.repeat(np.arange(30), 6).astype(object))
    by_clip = told(SCALE, scores, ratings, resamples=200)
    for name in ("alpha", "icc_2_1"):
        low, high = by_person[name]["interval"]
        assert low < by_person[name]["value"] < high
        assert high - low > np.diff(by_clip[name]["interval"])[0]
