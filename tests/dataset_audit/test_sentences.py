"""What an audit says is true, and says it once, in whatever data set."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from ssast.dataset_audit.advice import next_steps
from ssast.dataset_audit.analysis import Clips, analyse
from ssast.dataset_audit.page import audit_page, csv_rows
from ssast.dataset_audit.sentences import audit_summary, direction, told_sentences
from ssast.dataset_audit.terms import matched_sentences, of_model
from ssast.dataset_audit.traits import TRAIT_TITLES, is_practical, traits

PEOPLE, CLIPS = 100, 3


def clips_of(table, ill, *, unit="patient", sources=None, scores=None, targets=None):
    table = pd.DataFrame(table)
    own = {name: "recording" if name in TRAIT_TITLES else "csv" for name in table} | (sources or {})
    who = np.array([f"p{number // CLIPS}" for number in range(len(table))], dtype=object)
    split = np.where(np.arange(len(table)) < 0.7 * len(table), "train", "test").astype(object)
    labels = np.asarray(ill if targets is None else targets, dtype=float)[:, None]
    subjects = None if unit == "clip" else who
    return Clips(table, own, ["ill"], labels, split, subjects, unit, None if scores is None else scores[:, None])


def run(clips, **how):
    found = analyse(clips, **({"resamples": 200} | how))
    return found | {"leaks": {}, "not_read": {}, "doubts": {}}


@pytest.fixture(scope="module")
def people():
    rng = np.random.default_rng(0)
    return rng, np.repeat(rng.random(PEOPLE) < 0.5, CLIPS)


def test_medians_one_step_of_the_fourier_transform_apart_are_no_finding(people):
    """It once said: bandwidth tells it, clearly, 0.75; filter all recordings."""
    rng, ill = people
    band = 7968.75 + 31.25 * (rng.random(len(ill)) < np.where(ill, 0.25, 0.75))
    found = run(clips_of({"bandwidth": band, "loudness": rng.normal(-25, 4, len(ill))}, ill))
    entry = found["labels"]["ill"]["traits"]["bandwidth"]
    assert roc_auc_score(~ill, band) == pytest.approx(0.75, abs=0.06)
    assert (entry["beyond_luck"], entry["is_flagged"]) == ("tiny", False)
    said = " ".join([*audit_summary(found), *next_steps(found)])
    assert "mostly by differences of at most 31.25 Hz" in said
    assert "Filter all" not in said
    wide = run(clips_of({"bandwidth": 8000 - 4000 * (band < 7990)}, ill))["labels"]["ill"]["traits"]["bandwidth"]
    assert wide["is_flagged"], "the same clips, but half the band"


@pytest.mark.parametrize(("name", "step"), [("bandwidth", 31.25), ("duration", 0.01), ("loudness", 0.1)])
def test_a_difference_is_practical_when_it_exceeds_the_resolution(name, step):
    has = np.arange(400) % 2 == 0
    for factor, practical in ((1.0, False), (3.0, True)):
        table = pd.DataFrame({name: 50 + factor * step * has + 1e-6 * np.arange(400)})
        (trait,), _ = traits(table, {name: "recording"})
        assert is_practical(trait, has, is_amount=True) is practical
        (column,), _ = traits(table, {name: "csv"})
        assert is_practical(column, has, is_amount=True), "nobody knows how finely a column was measured"


def test_another_form_of_the_label_is_named_once_and_hides_no_confound(people):
    """The text form of the label once was the only column that clips were matched on."""
    rng, ill = people
    age = 45 + 12 * ill + rng.normal(0, 8, PEOPLE).repeat(CLIPS)
    voice = np.round(40 * ill + rng.normal(30, 25, PEOPLE).repeat(CLIPS))
    columns = {"befund": np.where(ill, "Parkinson", "none"), "age": age, "VHI": voice}
    found = run(clips_of(columns | {"loudness": rng.normal(-25, 4, len(ill))}, ill))
    entries = found["labels"]["ill"]["traits"]
    assert [name for name, one in entries.items() if one["is_form"]] == ["befund"]
    assert {own["on"] for own in found["labels"]["ill"]["matched"]} == {"loudness", "age", "VHI"}
    said = audit_summary(found)
    assert sum("befund" in sentence for sentence in said) == 1
    assert "Another form of the label itself, it seems: the column befund of 'ill' (AUC 1.00)." in said
    assert [sentence for sentence in said if "What is written down beside the recordings tells labels" in sentence]
    assert sum("befund" in step for step in next_steps(found)) == 1
    page = audit_page("t", found, clips_of(columns | {"loudness": age}, ill))
    assert page.count("It may be another form of the label itself.") == 1


def test_many_patients_are_not_called_few(people):
    rng, ill = people
    data = clips_of({"loudness": -25 + 4 * ill + rng.normal(0, 4, len(ill))}, ill, scores=rng.random(len(ill)))
    found = run(data)
    said = " ".join(audit_summary(found) + matched_sentences(found, "ill", found["labels"]["ill"]["matched"][0]))
    assert "few" not in said
    assert "on all clips it is not shown to be above 0.5, so nothing follows about loudness" in said


def test_kinds_with_equal_shares_have_no_most_and_no_least():
    entry = {"way": "kinds", "kinds": [{"name": name, "n": 8, "mean": 0.5} for name in ("024", "007")]}
    found = {"labels": {"ill": {"n": 16, "traits": {"text": entry}}}, "loss": "BCE", "traits": {}}
    assert direction(found, "ill", "text") == ""
    entry["kinds"][1]["mean"] = 0.25
    assert direction(found, "ill", "text") == "Most at 024 (50% of 8 clips), least at 007 (25% of 8 clips)."


def model(before, after):
    entry = {"value": before[1], "interval": [before[0], before[2]]}
    later = {"value": after[1], "interval": [after[0], after[2]]}
    found = {"on": "loudness", "kept": 400, "is_enough": True, "model": {"before": entry, "after": later}}
    known = {"traits": {"loudness": {"title": "loudness", "source": "recording"}}, "loss": "BCE", "measure": "auc"}
    return of_model(known | {"unit": "patient"}, "ill", found)


def test_what_becomes_of_a_model_on_matched_clips_is_said_by_its_intervals():
    assert "it still tells the label" in model((0.7, 0.8, 0.9), (0.6, 0.7, 0.8))
    assert "nothing follows about loudness" in model((0.48, 0.52, 0.56), (0.51, 0.6, 0.7)), "it told nothing before"
    assert "the wrong way round" in model((0.2, 0.3, 0.4), (0.2, 0.3, 0.4))
    assert "400 clips are too few to be sure" in model((0.55, 0.6, 0.65), (0.48, 0.57, 0.66))
    assert "cannot be shown to hear anything beyond loudness" in model((0.7, 0.8, 0.9), (0.4, 0.5, 0.6))


SILLY = re.compile(r"\b1 (clips|patients|traits|labels|recordings)\b|  |\bnan\b|None|least at (\S+) .*Most at \2|\.\.")


@pytest.mark.parametrize("seed", range(12))
def test_no_sentence_is_silly_in_data_sets_of_many_kinds(seed):
    rng = np.random.default_rng(seed)
    count = int(rng.choice([3, 12, 60, 240]))
    ill = np.repeat(rng.random(-(-count // CLIPS)) < rng.choice([0.1, 0.5, 0.9]), CLIPS)[:count]
    table = {
        "duration": rng.exponential(3, count) + rng.choice([0, 2]) * ill,
        "loudness": np.where(rng.random(count) < 0.2, np.nan, rng.normal(-25, 4, count)),
        "channels": rng.choice([1, 2], count),
        "container": np.where(ill & (rng.random(count) < 0.8), "mp3", "wav"),
        "site": rng.choice(list("abc"), count),
        "text": np.array([f"{number % 30:03d}" for number in range(count)], dtype=object),
        "device": np.where(ill, "x", "y"),
    }
    data = clips_of(table, ill, sources={"device": "metadata.json"}, unit=str(rng.choice(["patient", "clip"])))
    loss = "MSE" if seed % 4 == 3 else "BCE"
    if loss == "MSE":
        data.targets[:, 0] += rng.standard_normal(count)
    if seed % 2:
        data = replace(data, scores=rng.random((count, 1)) + ill[:, None] * rng.choice([0, 1]))
    found = run(data, loss=loss)
    entries = found["labels"]["ill"]["traits"]
    said = [*audit_summary(found), *next_steps(found), *(told_sentences(found, "ill", name) for name in entries)]
    said += [one for own in found["labels"]["ill"]["matched"] for one in matched_sentences(found, "ill", own)]
    for sentence in [*said, *(row["who"] for row in csv_rows(found) if row["who"])]:
        assert not SILLY.search(sentence), sentence
        assert sentence[0].isupper() or sentence.split(":")[0] in entries or sentence[0].isdigit(), sentence
    audit_page("t", found, data)
