import json

import numpy as np
import pytest

from ssast.metrics.predictions import Predictions
from ssast.metrics.review import add_review
from ssast.metrics.scores import score

SUBJECT = np.repeat(np.arange(30), 4).astype(object)


def made(loss="BCE", people=30):
    rng = np.random.default_rng(2)
    count = people * 4
    targets = np.stack([rng.random(count) < 0.4, np.zeros(count)], axis=1).astype(float)
    scores = np.clip(0.3 * targets + 0.7 * rng.random((count, 2)), 0.01, 0.99)
    subjects = np.repeat(np.arange(people), 4).astype(object)
    predictions = Predictions([f"u{n}" for n in range(count)], ["ill", "never"], scores, targets, subjects, "speaker")
    return predictions, score(targets, scores, predictions.labels, loss=loss, subjects=subjects)


def reviewed(prevalence=None, people=30):
    predictions, metrics = made(people=people)
    add_review(metrics, predictions, {"ill": 0.5}, prevalence)
    return metrics["labels"]


def test_a_yes_no_label_has_calibration_net_benefit_predictive_values_and_certainty_as_plain_json():
    found = reviewed()["ill"]["review"]
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert set(found) == {"calibration", "at_threshold", "certainty", "net_benefit"}
    assert found["certainty"]["people"] == 30
    low, high = found["calibration"]["slope"]["interval"]
    assert low < found["calibration"]["slope"]["value"] < high


def test_a_label_with_one_class_says_why_and_labels_with_numbers_are_left_alone():
    found = reviewed()["never"]["review"]
    assert set(found) == {"calibration"}
    assert found["calibration"]["reason"] == "all 120 targets are negative"
    predictions, metrics = made("MSE")
    before = json.dumps(metrics)
    add_review(metrics, predictions, {})
    assert json.dumps(metrics) == before


def test_the_prevalence_is_this_sets_own_unless_given():
    own, given = reviewed()["ill"], reviewed(0.02)["ill"]
    assert own["review"]["at_threshold"]["prevalence"] == pytest.approx(own["prevalence"])
    at = given["review"]["at_threshold"]
    assert (at["prevalence"], at["prevalence_is_given"]) == (0.02, True)
    odds = at["lr_positive"]["value"] * 0.02 / 0.98
    assert at["ppv"]["value"] == pytest.approx(odds / (1 + odds))


def test_the_width_that_is_foretold_for_twice_the_people_is_about_what_they_have():
    now, twice = (reviewed(people=people)["ill"]["review"]["certainty"] for people in (100, 200))
    assert now["auc_width_twice"] == pytest.approx(twice["auc_width"], rel=0.15)
    assert now["auc_width_twice"] < now["auc_width"]
