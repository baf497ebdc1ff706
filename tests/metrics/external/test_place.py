import json
from dataclasses import replace

import numpy as np
import pytest

from ssast.metrics.external.categories import Shares, beside, category_looks
from ssast.metrics.external.development import QUANTILE_SHARES, Development, LabelSummary, Spread, person_means
from ssast.metrics.external.place import Place, add_external, label_summaries
from ssast.metrics.intervals import number_subjects
from ssast.metrics.predictions import Predictions
from ssast.model.label_kinds import CHOICE, NUMBER, SCALE, LabelKind, LabelKinds
from ssast.model.label_kinds import YES_NO as YES_NO_KIND
from ssast.pages.place_section import place_rows, place_section, place_sentences

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
    there = replace(developed(np.random.default_rng(4)), categories={"sex": sexes(np.random.default_rng(4), "fm")})
    back = Development.of_entries(json.loads(json.dumps(there.entries())))
    assert (back.people, back.unit, back.labels["ill"].people_with) == (100, "speaker", there.labels["ill"].people_with)
    for name, own in there.labels["ill"].measures.items():
        assert back.labels["ill"].measures[name].interval() == pytest.approx(own.interval())
    np.testing.assert_allclose(back.properties["loudness"].quantiles, there.properties["loudness"].quantiles)
    for name, own in there.categories["sex"].values.items():
        assert back.categories["sex"].values[name].interval() == pytest.approx(own.interval())
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


def mixed(rng, names="p", shift=0.0, **how):
    """The people of `draw`, who have a grade, an age and a kind of voice besides; the scores of all are `shift` off."""
    here, level = draw(rng, names=names, shift=shift, **how)
    odds = np.log(here.scores / (1 - here.scores))
    grade = 1.0 * (odds + rng.logistic(size=odds.shape) - shift > [[1.0, 0.0, -1.0]])
    age = 50 + 5 * rng.normal(size=odds.shape)
    voice = rng.integers(0, 2, odds.shape)
    kinds = LabelKinds(
        (
            LabelKind("grade", SCALE, levels=(0, 1, 2, 3), cut=2),
            LabelKind("ill", YES_NO_KIND),
            LabelKind("age", NUMBER),
            LabelKind("voice", CHOICE, levels=("creaky", "modal")),
        )
    )
    at_least = 1 / (1 + np.exp(-(odds + np.array([1.0, 0.0, -1.0]))))
    says = np.where(rng.random(odds.shape) < 0.8, voice, 1 - voice)
    predictions = replace(
        here,
        labels=kinds.names,
        scores=np.hstack([at_least, here.scores, age + shift + rng.normal(size=odds.shape), 1.0 - says, 1.0 * says]),
        targets=np.hstack([grade.sum(axis=1, keepdims=True), here.targets, age, voice]),
        kinds=kinds,
    )
    return predictions, here, level


MIXED = {"loss": "mixed", "labels": {}}


def developed_mixed(rng, **how):
    predictions, _, level = mixed(rng, names="d", **how)
    labels = json.loads(
        json.dumps({k: v.entries() for k, v in label_summaries(MIXED, predictions, {"ill": 0.5}).items()})
    )
    labels = {name: LabelSummary.of_entries(own) for name, own in labels.items()}
    return Development(len(level), 100, 100, "speaker", spreads(predictions, loudness=level), labels)


def test_labels_of_every_kind_are_held_against_development_and_recalibrated_where_they_can_be():
    rng = np.random.default_rng(6)
    there = developed_mixed(rng)
    everybody, alone, level = mixed(rng, people=240, shift=1.5)
    is_fitted = np.isin(everybody.subjects, np.unique(everybody.subjects)[:100])
    fitted, here = everybody.at(np.flatnonzero(is_fitted)), everybody.at(np.flatnonzero(~is_fitted))
    metrics = dict(MIXED)
    about = {"people": 100, "unit": "speaker", "recordings": 200, "share": 0.4, "seed": 0}
    properties = spreads(here, loudness=level[~is_fitted])
    add_external(metrics, here, Place({"ill": 0.5}, properties, there, fitted=fitted, about_fitted=about))
    found = metrics["external"]
    grade, age, voice = (found["labels"][name] for name in ("grade", "age", "voice"))
    assert (grade["cut"], grade["threshold"], grade["kind"]) == (2, 0.5, SCALE)
    assert not grade["measures"]["auc"]["gap"]["is_told"]
    for own in (grade, age):
        assert own["measures"]["calibration_intercept"]["gap"]["is_told"]
        ways = own["recalibration"]["ways"]
        assert abs(ways["slope and intercept"]["calibration_intercept"]["value"]) < 0.5
        assert abs(ways["before"]["calibration_intercept"]["value"]) > 1
    assert age["recalibration"]["ways"]["before"]["calibration_intercept"]["value"] == pytest.approx(-1.5, abs=0.3)
    assert age["recalibration"]["ways"]["intercept"]["mae"]["value"] < 1
    assert voice["measures"]["accuracy"]["here"]["value"] == pytest.approx(0.8, abs=0.1)
    assert voice["recalibration"] is None
    assert found["cannot"] == [
        "age: it is a number, so no threshold is carried over",
        "voice: it is one kind of several, so no threshold is carried over and nothing recalibrated",
    ]
    told_alone = {}
    own = alone.at(np.flatnonzero(~is_fitted))
    told_alone["loss"], told_alone["labels"] = "BCE", {"ill": {}}
    add_external(told_alone, own, Place({"ill": 0.5}, {}, None))
    ill, beside = told_alone["external"]["labels"]["ill"], found["labels"]["ill"]
    for name in ill["measures"]:
        assert beside["measures"][name]["here"] == ill["measures"][name]["here"]
    sentences = place_sentences(metrics)
    assert any(one.startswith("grade: the model's own cut, at least 2, gives here sensitivity") for one in sentences)
    assert any(one.startswith("age, new slope and intercept: calibration slope") for one in sentences)
    page = place_section(metrics)
    assert "ranked probability score" in page
    assert "grade at least 3" in page
    assert "share at least at 2" in page
    assert len(place_rows(metrics)) > 20


def test_a_scale_whose_ratings_rise_as_its_scores_fall_is_said_to_have_the_wrong_order():
    here = mixed(np.random.default_rng(7), people=60)[0]
    at_least = 1 / (1 + np.exp(-0.2 * np.log(here.scores[:, :1] / (1 - here.scores[:, :1])) - [2.0, 0.0, -2.0]))
    scores, targets = np.hstack([at_least, here.scores[:, 3:]]), here.targets.copy()
    targets[:, 0] = 3 - targets[:, 0]
    turned = replace(here, scores=scores, targets=targets)
    metrics = dict(MIXED)
    add_external(metrics, turned, Place({"ill": 0.5}, {}, None, fitted=turned))
    assert metrics["external"]["labels"]["grade"]["measures"]["calibration_slope"]["here"]["value"] > 0
    own = [one for one in metrics["external"]["cannot"] if "wrong order" in one]
    wrong = "so they have the wrong order, which no recalibration mends"
    assert own == [f"grade: scores are lower here where the truth is higher, {wrong}"]


def test_a_scale_without_a_cut_has_no_call_to_carry_over_and_few_at_its_top_are_named():
    rng = np.random.default_rng(7)
    here = mixed(rng, people=60)[0]
    kinds = here.kinds.changed(lambda label: {"cut": None})
    targets = here.targets.copy()
    targets[:, 0] = np.minimum(targets[:, 0], 2)
    metrics = dict(MIXED)
    add_external(metrics, replace(here, kinds=kinds, targets=targets), Place({"ill": 0.5}, {}, None, fitted=here))
    grade = metrics["external"]["labels"]["grade"]
    assert not {"cut", "threshold"} & set(grade)
    assert not {"sensitivity", "prevalence"} & set(grade["measures"])
    assert list(grade["scores"]) == ["scores"]
    own = [one for one in metrics["external"]["cannot"] if one.startswith("grade")]
    assert own == [
        "grade: labels.yaml gave the model no cut from which it counts as present, so none is carried over",
        "grade: fewer than 10 people are on one side of the cut at 3, so calibration there is not measured",
    ]
    assert not [one for one in place_sentences(metrics) if "own cut" in one]


@pytest.mark.parametrize("sets", [30, pytest.param(300, marks=pytest.mark.slow)])
def test_labels_of_every_kind_and_categories_raise_few_false_alarms_without_a_shift(sets):
    alarms, rng = [], np.random.default_rng(1)
    for _ in range(sets):
        there, (here, _, level) = developed_mixed(rng), mixed(rng)
        there = replace(there, categories={"sex": sexes(rng, "fm").kept(), "smokes": sexes(rng, "012").kept()})
        place = Place({"ill": 0.5}, spreads(here, seed=rng.integers(1e9), loudness=level), there)
        place = replace(place, categories={"sex": sexes(rng, "fm"), "smokes": sexes(rng, "012")})
        metrics = dict(MIXED)
        add_external(metrics, here, place)
        found = metrics["external"]
        shares = [each["gap"]["is_told"] for own in found["categories"].values() for each in own.values()]
        alarms.append(any(shares) or bool(told(found)))
        assert [len(own) for own in found["categories"].values()] == [2, 3]
    assert np.mean(alarms) <= 0.08


def sexes(rng, letters, people=100, shares=None):
    groups = rng.choice(list(letters), size=people, p=shares)
    return Shares.of(np.repeat(groups, 2).tolist(), np.repeat(np.arange(people), 2))


def test_other_shares_of_a_category_are_told_and_named():
    rng = np.random.default_rng(8)
    there, (here, level) = developed(rng), draw(rng)
    there = replace(there, categories={"sex": sexes(rng, "fm").kept(), "site": sexes(rng, "a").kept()})
    place = Place({"ill": 0.5}, spreads(here, loudness=level), there)
    place = replace(place, categories={"sex": sexes(rng, "fm", shares=[0.85, 0.15]), "site": sexes(rng, "b")})
    metrics = {"loss": "BCE", "labels": {"ill": {}}}
    add_external(metrics, here, place)
    found = metrics["external"]
    assert found["looked_at"] == 14, "a share of two is one question"
    assert found["categories"]["sex"]["f"]["gap"]["is_told"]
    assert found["cannot"] == [
        "Shift of site: none of its values here is one of development's, so they are not compared"
    ]
    assert any(one.startswith("Shift: sex: f is more frequent here (8") for one in place_sentences(metrics))
    assert "sex: f" in place_section(metrics)
    assert any(row[0] == "sex: m: share of people" for row in place_rows(metrics))


def test_a_value_of_few_people_is_not_kept_and_counts_among_all_others():
    groups = ["f"] * 55 + ["m"] * 40 + ["x"] * 5
    own = Shares.of(groups, np.arange(100))
    kept = Shares.of_entries(json.loads(json.dumps(own.kept().entries())))
    assert set(kept.values) == {"f", "m"}
    pairs = beside(own, kept)
    assert {name: pair[1].value for name, pair in pairs.items()} == pytest.approx({"f": 0.55, "m": 0.4, "Others": 0.05})
    assert {name: pair[0].value for name, pair in pairs.items()} == pytest.approx({"f": 0.55, "m": 0.4, "Others": 0.05})
    for here, there in pairs.values():
        assert here.interval() == pytest.approx(there.interval(), rel=1e-6)
    assert len(category_looks(pairs)) == 3
    assert Shares.of([None, "f", "f", "m"], np.array([0, 1, 1, 1])).values["f"].value == pytest.approx(2 / 3)
