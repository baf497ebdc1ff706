import json

import numpy as np
import pandas as pd
import pytest

import ssast
from ssast.data.storage.location import Location
from ssast.data.tables.folds import ValueFolds
from ssast.errors import UserError
from ssast.metrics.predictions import Predictions
from ssast.metrics.scores import score
from ssast.metrics.subgroups import add_subgroups
from ssast.pages.subgroup_section import cannot_sentences, site_rows, sites_section
from ssast.runs.reviewing.sites import add_sites, with_sites
from ssast.runs.rows import Rows

pytestmark = pytest.mark.usefixtures("narrow")


def scored(sites, ill, speakers=None):
    """Metrics of a table with these sites and answers, whose people leave one site out."""
    uids = [f"u{n}" for n in range(len(sites))]
    frame = pd.DataFrame({"site": sites, "ill": ill}, index=pd.Index(uids, name="uid"))
    if speakers is not None:
        frame["speaker"] = speakers
    targets = frame[["ill"]].to_numpy(float)
    scores = np.random.default_rng(0).random((len(sites), 1))
    subjects = None if speakers is None else np.array(speakers, dtype=object)
    predictions = Predictions(uids, ["ill"], scores, targets, subjects, "speaker" if speakers is not None else "clip")
    metrics = score(targets, scores, ["ill"], subjects=subjects) | {"unit": predictions.unit}
    folds, source = ValueFolds.of(frame, "site", sites), Rows(frame, ["ill"], Location("t.csv"))
    add_subgroups(metrics, predictions, {}, with_sites(folds, []))
    add_sites(metrics, predictions, folds, source)
    return metrics


def test_sites_without_an_event_of_one_person_or_too_few_are_named_with_the_reason():
    sites = ["A"] * 60 + ["B"] * 20 + ["C"] * 6 + ["D"] * 8
    ill = [1, 0] * 30 + [0] * 20 + [0, 1] * 3 + [1, 0] * 4
    speakers = [f"a{n}" for n in range(60)] + [f"b{n}" for n in range(20)] + ["c"] * 6 + [f"d{n}" for n in range(8)]
    metrics = scored(sites, ill, speakers)
    assert metrics["sites"]["cannot"] == [
        "site B: no recording with ill, so its AUC and calibration cannot be said there",
        "site C: all recordings are of one person, so nothing can be said of other people there",
        "site D: 4 people with ill and 4 without it are too few to say how well it is told there; it takes 10 of each",
    ]
    assert metrics["sites"]["sites"]["C"] == {"fold": "fold-3", "recordings": 6, "people": 1, "not_trained_on": 0}
    assert cannot_sentences(metrics)[0].startswith("cannot be said: site B")
    assert [row[:4] for row in site_rows(metrics)[1:]] == [
        ["A", "ill", "60", "30"],
        ["B", "ill", "20", "0"],
        ["C", "ill", "6", "3"],
        ["D", "ill", "8", "4"],
    ]
    assert "What cannot be said" in sites_section(metrics)


def test_a_label_that_one_site_alone_has_is_not_learned_without_it_and_a_table_without_people_is_said():
    cannot = scored(["A"] * 40 + ["B"] * 40, [1, 0] * 20 + [0] * 40)["sites"]["cannot"]
    assert cannot[0].startswith("The table does not say who speaks")
    assert "site A: the recordings elsewhere have one answer to ill" in cannot[1]
    assert "site B: no recording with ill" in cannot[2]


def test_sites_of_a_label_of_numbers_are_said_not_to_be_held_against_each_other():
    frame = pd.DataFrame({"site": ["A", "A", "B", "B"], "age": [1, 2, 3, 4]}, index=pd.Index(list("uvwx"), name="uid"))
    targets = frame[["age"]].to_numpy(float)
    predictions = Predictions(list("uvwx"), ["age"], targets, targets, np.array(list("pqrs"), dtype=object), "speaker")
    metrics = score(targets, targets, ["age"], loss="MSE")
    folds = ValueFolds.of(frame, "site", list(frame["site"]))
    add_sites(metrics, predictions, folds, Rows(frame, ["age"], Location("t.csv")))
    assert [sentence[:75] for sentence in metrics["sites"]["cannot"]] == [
        "age: it is neither yes or no nor a scale with a cut, so sites are not held "
    ]


def test_each_site_is_scored_by_a_model_that_heard_neither_it_nor_its_people(tmp_path, corpus, capsys):
    table = pd.read_csv(corpus.splits / "train.csv", dtype={"uid": str})
    table["site"] = ["N", "S", "S"] * 4
    table.loc[0:1, "speaker"] = "both"
    table.to_csv(corpus.splits / "train.csv", index=False)
    found = {"prefix": str(corpus.audio), "data_split_root": str(corpus.splits), "label_txt": str(corpus.label_txt)}
    found |= {"target_length": 32, "device": "cpu", "model_size": "tiny", "pretrained_mdl_path": "none"}
    folder = ssast.finetune(**found, val_share=0.3, resamples=0, folds="site", exp_dir=str(tmp_path / "run"))
    for fold, site in ((1, "N"), (2, "S")):
        parts = [pd.read_csv(folder / f"fold-{fold}" / "splits" / f"{name}.csv") for name in ("train", "test")]
        assert set(parts[1]["site"]) == {site}
        assert site not in set(parts[0]["site"])
        assert not set(parts[0]["speaker"]) & set(parts[1]["speaker"])
    metrics = json.loads((folder / "metrics.json").read_text())
    assert {name: own["not_trained_on"] for name, own in metrics["sites"]["sites"].items()} == {"N": 1, "S": 1}
    assert list(metrics["groups"]["columns"]) == ["site"]
    assert "Leaving one site out" in (folder / "report.html").read_text()
    printed = capsys.readouterr().out
    assert "fold 2 of 2, site S" in printed
    assert "cannot be said: site N: " in printed
    with pytest.raises(UserError, match="--folds names 'ward', which is no column of"):
        ssast.finetune(**found, folds="ward", exp_dir=str(tmp_path / "other"))
