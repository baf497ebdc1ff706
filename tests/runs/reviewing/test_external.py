import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import ssast
from ssast import redaction
from ssast.data.storage.location import Location
from ssast.errors import UserError
from ssast.model.label_kinds import LabelKind, LabelKinds
from ssast.runs.reviewing.categories import category_shares, kept_categories, shown_categories
from ssast.runs.reviewing.external import ExternalTest, chosen_people
from ssast.runs.rows import Rows

pytestmark = pytest.mark.usefixtures("narrow", "own_cache")

HERE = {"target_length": 32, "device": "cpu", "precision": "fp32", "batch_size": 12}
TINY = HERE | {"model_size": "tiny", "pretrained_mdl_path": "none", "resamples": 0}


def write_site(record, folder: Path, people: int, *, prevalence: float, gain: float, seed: int, **columns: Any) -> Path:
    """Tones in noise of people of whom some are ill, and softer: a table, and the recordings beside it."""
    rng = np.random.default_rng(seed)
    rows, time = [], np.arange(5100) / 16000
    for person in range(people):
        ill = int(rng.random() < prevalence)
        tone = np.sin(2 * np.pi * 600 * np.exp(0.2 * rng.normal()) * time)
        level = gain * 0.1 * np.exp(0.4 * rng.normal() - 0.9 * ill)
        sound = level * (tone + 0.1 * rng.normal(size=len(time)))
        uid = f"{folder.name}-{person:03d}"
        record(folder.parent / "audio" / uid, sound.astype(np.float32), 16000)
        rows.append({"uid": uid, "speaker": uid, "ill": ill, "age": int(rng.integers(30, 80))})
        rows[-1] |= {name: own[person % len(own)] for name, own in columns.items()}
    folder.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows).to_csv(folder / "test.csv", index=False)
    return folder


@pytest.fixture
def home(tmp_path, record) -> Path:
    """Two sites and a model of the first."""
    home = tmp_path / "sites"
    own = write_site(record, home / "own", 170, prevalence=0.4, gain=1.0, seed=0, sex=["F", "M"])
    table = pd.read_csv(own / "test.csv")
    table[:100].to_csv(own / "train.csv", index=False)
    table[100:].to_csv(own / "test.csv", index=False)
    write_site(record, home / "other", 240, prevalence=0.75, gain=2.0, seed=1, gender=["female"] * 9 + ["male"])
    (home / "labels.txt").write_text("ill\n")
    ssast.finetune(
        **TINY,
        prefix=str(home / "audio"),
        data_split_root=str(own),
        label_txt=str(home / "labels.txt"),
        exp_dir=str(home / "model"),
        epochs=60,
        learning_rate=3e-3,
        val_share=0.3,
        sensitivity=0.8,
    )
    return home


def evaluated(home: Path, folder: Path, site: str, **more: Any) -> dict[str, Any]:
    more = {"external": True, "resamples": 0, **HERE} | more
    ssast.evaluate(
        prefix=str(home / "audio"),
        data_split_root=str(home / site / "test.csv"),
        label_txt=str(home / "labels.txt"),
        finetuned_mdl_path=str(home / "model"),
        exp_dir=str(folder),
        **more,
    )
    return json.loads((folder / "metrics.json").read_text())


@pytest.fixture(scope="module")
def small(still_corpus, tmp_path_factory) -> Path:
    """A model of 12 people, tried on 6 others; not to be changed."""
    folder = tmp_path_factory.mktemp("small") / "model"
    place = {"prefix": str(still_corpus.audio), "data_split_root": str(still_corpus.splits)}
    return ssast.finetune(**TINY, **place, label_txt=str(still_corpus.label_txt), val_share=0.3, exp_dir=str(folder))


def tried(corpus, model: Path, folder: Path, **more: Any) -> dict[str, Any]:
    place = {"prefix": str(corpus.audio), "label_txt": str(corpus.label_txt), "finetuned_mdl_path": str(model)}
    more = {"data_split_root": str(corpus.splits), "external": True, "resamples": 0, **HERE} | more
    ssast.evaluate(**place, exp_dir=str(folder), **more)
    return json.loads((folder / "metrics.json").read_text())


def test_a_model_keeps_quantiles_of_its_development_and_nobody_in_them(small, still_corpus):
    text = (small / "development.json").read_text()
    found = json.loads(text)
    assert (found["recordings"], found["people"], found["tested"], found["unit"]) == (12, 12, 6, "speaker")
    train = still_corpus.frame("train")
    assert not [name for name in train["speaker"] if name in text]
    assert not [uid for uid in train.index if f'"{uid}"' in text]
    loudness = found["properties"]["loudness"]["quantiles"]
    assert len(loudness) == 20
    assert loudness[0] == pytest.approx(-23, abs=1), "a tone of amplitude 0.1"
    assert loudness[-1] == pytest.approx(-9, abs=1), "a tone of amplitude 0.5"


def test_a_place_with_few_people_is_told_what_cannot_be_said(small, still_corpus, tmp_path, capsys):
    found = tried(still_corpus, small, tmp_path / "out", recalibrate=0.4)["external"]
    assert (found["recalibrated_on"]["people"], found["recalibrated_on"]["share"]) == (2, 0.4)
    assert found["cannot"][0].startswith("Shift of the recordings: with 4 people here")
    assert len([sentence for sentence in found["cannot"] if "too few to recalibrate on" in sentence]) == 2
    assert "cannot be said: high: " in capsys.readouterr().out
    assert "What cannot be said" in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.parametrize(
    ("content", "reason"), [(None, "keeps no development.json"), ("{}", "cannot be read"), ("[[[", "cannot be read")]
)
def test_a_model_that_lacks_its_development_is_scored_and_says_so(small, still_corpus, tmp_path, content, reason):
    model = shutil.copytree(small, tmp_path / "model")
    (model / "development.json").unlink()
    if content is not None:
        (model / "development.json").write_text(content)
    metrics = tried(still_corpus, model, tmp_path / "out")
    assert metrics["external"]["development"] is None
    assert metrics["external"]["looked_at"] == 0
    assert reason in metrics["external"]["cannot"][0]
    assert metrics["mean"]["auc"] is not None


def test_what_does_not_go_together_is_refused_before_a_recording_is_read(small, corpus, tmp_path):
    with pytest.raises(UserError, match="--recalibrate belongs to a test in another place; add --external True"):
        tried(corpus, small, tmp_path / "out", external=False, recalibrate=0.3)
    voice = LabelKinds((LabelKind("voice", "CE", levels=("creaky", "modal")),))
    with pytest.raises(UserError, match="fits the scores of yes/no labels, scales and numbers, but voice is one kind"):
        ExternalTest(0.3, 0).check(Rows(corpus.frame(), ["voice"], Location("t.csv"), voice))
    table = corpus.frame("test").assign(speaker="one")
    table.to_csv(corpus.splits / "test.csv")
    with pytest.raises(UserError, match=r"--recalibrate sets people apart, but .* has one alone"):
        tried(corpus, small, tmp_path / "out", recalibrate=0.3)


def test_categories_are_columns_of_few_values_that_are_no_labels_and_no_names():
    people = 40
    table = pd.DataFrame(
        {
            "speaker": [f"p{n}" for n in range(people)],
            "Gender": ["F", "female", "M ", "Male"] * 10,
            "age": 30,
            "smoker": [0, 1] * 20,
            "weight": np.linspace(50, 90, people),
            "site": ["Aachen"] * 35 + ["Bonn"] * 5,
            "remark": [f"remark {n}" for n in range(people)],
            "ill": [0, 1] * 20,
            "rough_r1": [1, 2] * 20,
        },
        index=pd.Index([f"u{n}" for n in range(people)], name="uid"),
    )
    found = category_shares(table, [LabelKind("ill"), LabelKind("rough", "ordinal")], list(table.columns))
    shares = {name: {value: round(each.value, 3) for value, each in own.values.items()} for name, own in found.items()}
    assert shares == {
        "sex": {"female": 0.5, "male": 0.5},
        "smoker": {"0": 0.5, "1": 0.5},
        "site": {"aachen": 0.875, "bonn": 0.125},
    }
    assert set(kept_categories(found)["site"].values) == {"aachen"}, "five people are too few to be kept"
    with redaction.redacting(redaction.Redaction(lambda kind, name: "0123456789ab")):
        assert set(kept_categories(found)) == {"sex", "smoker"}
        assert set(shown_categories(found)["sex"].values) == {"female", "male"}
        assert "aachen" not in shown_categories(found)["site"].values


def test_people_are_chosen_whole_by_seed_and_name_and_never_all():
    names = [f"p{n // 3}" for n in range(60)]
    frame = pd.DataFrame({"speaker": names}, index=pd.Index([f"u{n}" for n in range(60)], name="uid"))
    chosen = chosen_people(frame, 0.3, seed=1)
    people = set(frame.loc[sorted(chosen)]["speaker"])
    assert (len(people), len(chosen)) == (6, 18)
    assert chosen_people(frame[::-1], 0.3, seed=1) == chosen
    assert chosen_people(frame, 0.3, seed=2) != chosen
    assert len(chosen_people(frame, 0.999, seed=0)) == 57
    assert len(chosen_people(frame, 0.001, seed=0)) == 3


@pytest.mark.slow
def test_a_planted_second_site_is_found_and_recalibration_mends_what_it_can(home, tmp_path, capsys):
    """A microphone that makes all louder, as those who are not ill are, and more ill people: all scores too low."""
    there = json.loads((home / "model" / "metrics.json").read_text())["labels"]["ill"]
    metrics = evaluated(home, tmp_path / "out", "other", recalibrate=0.5)
    found = metrics["external"]
    own = found["labels"]["ill"]
    assert metrics["labels"]["ill"]["threshold"] == there["threshold"], "carried over, not chosen again"
    sensitivity = own["measures"]["sensitivity"]
    assert sensitivity["development"]["value"] == pytest.approx(there["sensitivity"])
    assert sensitivity["gap"]["is_told"]
    assert sensitivity["here"]["value"] < there["sensitivity"] - 0.3
    shifted = {name for name, one in found["inputs"].items() if one["above"]["is_told"]}
    assert "loudness" in shifted
    assert not shifted & {"length", "bandwidth", "age"}
    assert {name: own["gap"]["is_told"] for name, own in found["categories"]["sex"].items()} == {
        "female": True,
        "male": False,  # the same question asked again
    }
    assert own["measures"]["prevalence"]["gap"]["is_told"]
    assert not own["measures"]["auc"]["gap"]["is_told"]
    ways = own["recalibration"]["ways"]
    before, after = ways["before"], ways["slope and intercept"]
    assert before["calibration_intercept"]["interval"][0] > 0
    assert abs(after["calibration_intercept"]["value"]) < before["calibration_intercept"]["value"] / 3
    assert after["brier"]["value"] < before["brier"]["value"] - 0.1
    assert after["sensitivity"]["value"] > before["sensitivity"]["value"] + 0.3
    assert found["cannot"] == []
    chosen = chosen_people(pd.read_csv(home / "other" / "test.csv", index_col="uid"), 0.5, 0)
    scored = pd.read_csv(tmp_path / "out" / "predictions.csv")["uid"]
    assert (len(chosen), len(scored), set(scored) & chosen) == (120, 120, set())
    assert metrics["flow"]["left_out"]["reasons"] == [
        {"reason": "their people served for recalibration", "recordings": 120}
    ]
    assert metrics["left_out"] == 0
    page = (tmp_path / "out" / "report.html").read_text()
    printed = capsys.readouterr().out
    for words in ("Recalibrated on 120 speakers", "loudness [dB] is higher here", "of 100 speakers, 70 in its test"):
        assert words in page
        assert words in printed
