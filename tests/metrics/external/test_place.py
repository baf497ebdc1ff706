import json
from dataclasses import replace

import numpy as np
import pytest

from ssast.metrics.external.development import QUANTILE_SHARES, Development, Spread, person_means
from ssast.metrics.external.place import Place, add_external, label_summaries
from ssast.metrics.intervals import number_subjects
from ssast.metrics.predictions import Predictions
from ssast.model.label_kinds import SCALE, LabelKind, LabelKinds
from ssast.model.label_kinds import YES_NO as YES_NO_KIND

YES_NO = {"loss": "BCE", "labels": {"ill": {}}}


def draw(rng, people=100, clips=2, prevalence=0.4, shift=0.0, loudness=-25.0, names="p"):
    """People with a label, clips scored by a model whose log-odds are right where nothing shifts; and their levels."""
    subjects = np.repeat([f"{names}{n}" for n in range(people)], clips)
    ill = (rng.random(people) < prevalence).astype(float)
    own = rng.normal(size=people)
    odds = np.repeat(2 * ill - 1 + np.log(0.4 / 0.6) + 1.3 * own, clips)
    odds = odds + shift + 0.5 * rng.normal(size=len(odds))
    level = loudness + 3 * np.repeat(rng.normal(size=people), clips) + rng.normal(size=len(odds))
    uids = [f"{names}u{n}" for n in range(len(odds))]
    scores = (1 / (1 + np.exp(-odds)))[:, None]
    return Predictions(uids, ["ill"], scores, np.repeat(ill, clips)[:, None], subjects, "speaker"), level


def spreads(predictions, *, seed=0, **levels):
    """The given levels, and four properties that are the same everywhere."""
    subject = number_subjects(predictions.subjects, len(predictions.uids))
    rng = np.random.default_rng(seed)
    more = {name: rng.normal(size=len(subject)) for name in ("noise", "brightness", "length")}
    more["bandwidth"] = rng.choice([3900.0, 7900.0], size=len(subject))
    return {name: Spread.of(person_means(own, subject)) for name, own in {**levels, **more}.items()}


def developed(rng, **how):
    predictions, level = draw(rng, names="d", **how)
    labels = label_summaries(YES_NO, predictions, {"ill": 0.5})
    people = len(set(predictions.subjects))
    properties = spreads(predictions, seed=rng.integers(1e9), loudness=level)
    return Development(len(predictions.uids), people, people, "speaker", properties, labels)


def external(there, here, properties, *, fitted=None, thresholds=None, lacking=""):
    metrics = {"loss": "BCE", "labels": {label: {} for label in here.labels}}
    place = Place({"ill": 0.5} if thresholds is None else thresholds, properties, there, lacking, fitted)
    add_external(metrics, here, place)
    return metrics["external"]


def told(found):
    """Everything that is named as different."""
    named = [name for name, own in found["inputs"].items() if own["above"]["is_told"]]
    for own in found["labels"].values():
        named += [name for name, each in own["measures"].items() if each["gap"]["is_told"]]
        named += [name for name, each in own["scores"].items() if each["above"]["is_told"]]
    return named


@pytest.mark.parametrize("sets", [40, pytest.param(300, marks=pytest.mark.slow)])
def test_without_any_shift_luck_names_something_in_at_most_8_of_100_sets(sets):
    alarms, rng = [], np.random.default_rng(0)
    for _ in range(sets):
        there, (here, level) = developed(rng), draw(rng)
        found = external(there, here, spreads(here, seed=rng.integers(1e9), loudness=level))
        assert found["looked_at"] == 13
        alarms.append(bool(told(found)))
    assert np.mean(alarms) <= 0.08
    assert np.any(alarms), "some of so many sets are named by luck, else nothing is looked at"


def test_another_microphone_and_prevalence_are_found_and_recalibration_mends_what_it_can():
    """Scores 1.5 log-odds too high here, half as many people ill: the threshold carried over calls far too many."""
    rng = np.random.default_rng(1)
    there = developed(rng, people=200)
    here, level = draw(rng, people=300, prevalence=0.2, shift=1.5, loudness=-40)
    is_fitted = np.isin(here.subjects, np.unique(here.subjects)[:100])
    fitted, scored = here.at(np.flatnonzero(is_fitted)), here.at(np.flatnonzero(~is_fitted))
    found = external(there, scored, spreads(scored, loudness=level[~is_fitted]), fitted=fitted)
    assert {"loudness", "prevalence", "specificity", "calibration_intercept", "scores_without"} <= set(told(found))
    assert not {"noise", "bandwidth", "auc"} & set(told(found))
    assert found["inputs"]["loudness"]["here"]["median"] == pytest.approx(-40, abs=1)
    ways = found["labels"]["ill"]["recalibration"]["ways"]
    before, after = ways["before"], ways["slope and intercept"]
    assert not before["calibration_intercept"]["interval"][0] <= 0 <= before["calibration_intercept"]["interval"][1]
    low, high = after["calibration_intercept"]["interval"]
    assert low <= 0 <= high
    assert after["brier"]["value"] < before["brier"]["value"] - 0.02
    assert after["specificity"]["value"] > before["specificity"]["value"] + 0.2
    assert found["cannot"] == []


def test_what_cannot_be_said_is_said_with_its_reason():
    rng = np.random.default_rng(2)
    there, (few, level) = developed(rng), draw(rng, people=8)
    found = external(there, few, spreads(few, loudness=level), fitted=few, thresholds={})
    assert told(found) == []
    assert found["cannot"] == [
        "Shift of the recordings: with 8 people here it is not told from luck; it takes 10",
        "ill: the model has no threshold of its own to carry over, so 0.5 calls it",
        f"ill: {int(few.targets.sum() / 2)} people with it and {8 - int(few.targets.sum() / 2)} without it here are "
        "too few to say how well it is told; it takes 10 of each",
        f"ill: {int(few.targets.sum() / 2)} people with the label and {8 - int(few.targets.sum() / 2)} without it are "
        "too few to recalibrate on; it takes 10 of each, so give a larger share",
    ]
    here, level = draw(rng)
    alone = Predictions(here.uids, here.labels, here.scores, 0 * here.targets)
    found = external(None, alone, {}, lacking="the model keeps nothing")
    assert found["cannot"][0].startswith("The table does not say who speaks")
    assert found["cannot"][1] == "What differs from development: the model keeps nothing"
    assert "ill: 0 people with it and 200 without it here" in found["cannot"][2]


def test_a_property_that_one_place_does_not_know_is_named_and_not_looked_at():
    rng = np.random.default_rng(3)
    there, (here, _) = developed(rng), draw(rng)
    found = external(there, here, spreads(here))
    assert found["cannot"] == ["Shift of loudness: it is not known of 10 people here"]
    assert found["looked_at"] == 12


@pytest.mark.parametrize("people", [10, 20, 37, 100])
def test_quantiles_are_hazens_and_never_the_extremes_of_many_people(people):
    values = np.random.default_rng(people).normal(size=people)
    found = Spread.of(values)
    np.testing.assert_allclose(found.quantiles, np.quantile(values, QUANTILE_SHARES, method="hazen"))
    assert found.at([0.5]) == pytest.approx([np.median(values)], abs=0.1)
    assert people < 40 or found.quantiles.max() < values.max()


def test_what_a_model_keeps_comes_back_from_its_file_and_holds_no_quantiles_of_few_people():
    there = developed(np.random.default_rng(4))
    back = Development.of_entries(json.loads(json.dumps(there.entries())))
    assert (back.people, back.unit, back.labels["ill"].people_with) == (100, "speaker", there.labels["ill"].people_with)
    for name, own in there.labels["ill"].measures.items():
        assert back.labels["ill"].measures[name].interval() == pytest.approx(own.interval())
    np.testing.assert_allclose(back.properties["loudness"].quantiles, there.properties["loudness"].quantiles)
    assert Spread.of(np.arange(9.0)).entries() == {"people": 9, "quantiles": None}


@pytest.mark.parametrize(
    ("where", "wrong"),
    [
        (("properties", "loudness", "quantiles"), [1.0] * 19),
        (("properties", "loudness", "quantiles"), [2.0] * 19 + [1.0]),
        (("properties", "loudness", "people"), -4),
        (("labels", "ill", "measures", "auc", "value"), 7),
        (("labels", "ill", "measures", "auc", "error"), -1),
        (("labels", "ill", "scores"), 3),
        (("people",), True),
    ],
)
def test_a_damaged_file_of_development_is_refused(where, wrong):
    content = json.loads(json.dumps(developed(np.random.default_rng(5)).entries()))
    inner = content
    for name in where[:-1]:
        inner = inner[name]
    inner[where[-1]] = wrong
    with pytest.raises((ValueError, TypeError, KeyError, AttributeError)):
        Development.of_entries(content)


def test_a_yes_no_label_beside_a_scale_keeps_its_own_scores_and_the_scale_is_said_to_have_no_threshold():
    rng = np.random.default_rng(6)
    there, (here, level) = developed(rng), draw(rng)
    kinds = LabelKinds((LabelKind("grade", SCALE, levels=(0, 1, 2, 3)), LabelKind("ill", YES_NO_KIND)))
    both = replace(
        here,
        labels=["grade", "ill"],
        scores=np.hstack([np.sort(rng.random((len(here.uids), 3)), axis=1)[:, ::-1], here.scores]),
        targets=np.hstack([rng.integers(0, 4, (len(here.uids), 1)), here.targets]),
        kinds=kinds,
    )
    properties = spreads(here, loudness=level)
    metrics = {"loss": "mixed", "labels": {"grade": {"kind": SCALE}, "ill": {"kind": YES_NO_KIND}}}
    add_external(metrics, both, Place({"ill": 0.5}, properties, there))
    assert metrics["external"]["labels"] == external(there, here, properties)["labels"]
    assert metrics["external"]["cannot"] == [
        "grade: it is not answered by yes or no, so no threshold is carried over and nothing recalibrated"
    ]
