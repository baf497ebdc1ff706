"""`ssast audit` asks whether labels can be told from the recordings instead of the voice."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import soundfile

import ssast
from ssast import cli
from ssast.data.storage.atomic_writes import atomic_file
from ssast.data.storage.location import Location
from ssast.dataset_audit.traits import TRAIT_TITLES
from ssast.errors import UserError
from ssast.metrics.predictions import Predictions

RATE, SUBJECTS, CLIPS = 8000, 24, 4


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Noisy tones of 24 speakers: `loud` follows the level, `high` the pitch alone.

    Speaker s05 is in both splits, and test clip `copy` has the samples of 000 of train.csv.
    """
    folder, rng = tmp_path_factory.mktemp("audit") / "corpus", np.random.default_rng(0)
    rows = []
    for number in range(SUBJECTS * CLIPS):
        who = number // CLIPS
        high, loud = who % 2, who // 2 % 2
        time = np.arange(int(RATE * rng.uniform(0.2, 0.4))) / RATE
        tone = np.sin(2 * np.pi * (900 if high else 300) * time) * 10 ** ((rng.normal(-28, 5) + 7 * loud) / 20)
        noisy = np.append(tone, np.zeros(1000)) + 10 ** (rng.normal(-60, 3) / 20) * rng.standard_normal(
            len(time) + 1000
        )
        uid = f"{number:03d}"
        _record(folder / "audio" / uid, noisy, {"booth": "left" if rng.random() < 0.5 else "right"})
        rows.append({"uid": uid, "speaker": f"s{who:02d}", "high": high, "loud": loud, "device": f"d{rng.integers(3)}"})
    table = pd.DataFrame(rows)
    train, test = table[:64], table[64:].copy()
    test.iloc[0, 1] = "s05"
    copied = folder / "audio" / "copy"
    shutil.copytree(folder / "audio" / "000", copied)
    test = pd.concat([test, pd.DataFrame([rows[0] | {"uid": "copy", "speaker": "s99"}])])
    (folder / "splits").mkdir()
    train.to_csv(folder / "splits" / "train.csv", index=False)
    test.to_csv(folder / "splits" / "test.csv", index=False)
    (folder / "labels.txt").write_text("high\nloud\n", encoding="utf-8")
    return folder


def _record(folder, samples, more):
    folder.mkdir(parents=True)
    soundfile.write(folder / "waveform.wav", samples, RATE, subtype="FLOAT")
    (folder / "metadata.json").write_text(json.dumps({"encoding": "WAV", "sample_rate_hz": RATE} | more))


@pytest.fixture
def where(made, tmp_path):
    data = {"prefix": made / "audio", "data_split_root": made / "splits", "label_txt": made / "labels.txt"}
    return {name: str(path) for name, path in data.items()} | {"exp_dir": str(tmp_path / "out"), "resamples": 200}


def words(where):
    return ["audit", *(word for name, value in where.items() for word in (f"--{name}", str(value)))]


def write_run(folder, made, skill):
    """A run on both csv files whose score for `loud` follows the true label as far as `skill` says, else the level."""
    table = pd.concat([pd.read_csv(made / "splits" / f"{name}.csv", dtype={"uid": str}) for name in ("train", "test")])
    table = table.reset_index(drop=True)
    level = [float(np.std(soundfile.read(made / "audio" / uid / "waveform.wav")[0])) for uid in table["uid"]]
    noise = 0.3 * np.random.default_rng(1).standard_normal(len(table))
    score = skill * (table["loud"] + noise) + (1 - skill) * pd.Series(level).rank(pct=True)
    scores = np.stack([np.full(len(table), 0.5), score], axis=1)
    predictions = Predictions(list(table["uid"]), ["high", "loud"], scores, table[["high", "loud"]].to_numpy(float))
    folder.mkdir()
    with atomic_file(folder / "predictions.csv") as beside:
        predictions.table().to_csv(beside)
    return folder


def test_the_planted_leak_and_the_planted_confound_are_named(where, tmp_path, capsys):
    assert cli.main(words(where)) == 0
    shown = capsys.readouterr()
    assert "There is a leak: 1 x subject in both splits, 1 x sound in both splits." in shown.out
    assert "The recording's loudness alone tells who has 'loud', strongly: AUC 0.8" in shown.out
    assert "Louder recordings have the label more often. A model may judge by it." in shown.out
    assert "who has 'high'" not in shown.out
    assert "97/97" in shown.err, "the progress bar"
    found = json.loads((tmp_path / "out" / "audit.json").read_text())
    assert found["leaks"]["sound in both splits"]["found"][0]["uid"] == "copy"
    assert found["leaks"]["subject in both splits"]["found"][0]["detail"].startswith("s05: ")
    ways = {row["row"].split()[0] + row["row"][-5:]: row for row in found["taxonomy"]}
    assert ways["L1.4twice"]["status"] == ways["L3.2 both"]["status"] == ways["L2t use"]["status"] == "found"
    assert "1 speaker in both splits" in ways["L3.2 both"]["what"]
    assert "Ways to leak: 3 found (L1.4 the same recording twice; L2" in shown.out
    flagged = {(a, b) for a, own in found["labels"].items() for b, one in own["traits"].items() if one["is_flagged"]}
    assert ("loud", "loudness") in flagged
    assert {label for label, _ in flagged} == {"loud"}
    matched = found["labels"]["loud"]["matched"][0]
    assert matched["on"] == "loudness"
    assert matched["trait"]["after"]["value"] == pytest.approx(0.5, abs=0.1)
    assert {*found["traits"], *found["left_out"]} == {*TRAIT_TITLES, "device", "booth"}
    table = pd.read_csv(tmp_path / "out" / "audit.csv")
    assert len(table) == found["looks"]
    clips = pd.read_csv(tmp_path / "out" / "traits.csv", dtype={"uid": str})
    assert list(clips["uid"][[0, 96]]) == ["000", "copy"]
    text = (tmp_path / "out" / "audit.html").read_text()
    assert "The recording&#x27;s loudness alone tells" in text
    assert "mode: audit" in (tmp_path / "out" / "run.yaml").read_text()


def test_a_model_that_heard_only_the_level_loses_its_score_on_matched_clips(where, made, tmp_path, capsys):
    found = {}
    for name, skill in (("level", 0.0), ("truth", 1.0)):
        run = write_run(tmp_path / name, made, skill)
        assert cli.main([*words(where), str(run)]) == 0
        found[name] = json.loads((tmp_path / "out" / "audit.json").read_text())["labels"]["loud"]["matched"][0]
    assert found["level"]["model"]["before"]["value"] > 0.8
    assert found["level"]["model"]["after"]["value"] < 0.7
    assert found["truth"]["model"]["after"]["value"] > 0.9


def test_people_of_the_pretraining_come_from_its_csv_or_its_folder(still_corpus, tmp_path, capsys):
    """A folder's record opens no table that the command does not name, or a folder around it."""
    splits = still_corpus.splits
    data = {"prefix": still_corpus.audio, "data_split_root": splits, "label_txt": still_corpus.label_txt}
    data |= {"resamples": 100, "exp_dir": tmp_path / "out"}
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "train.csv").write_text("uid,speaker\nnew,s17\n")
    for name, root in (("own", splits / "train.csv"), ("far", tmp_path / "elsewhere")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.yaml").write_text(f"mode: pretrain\ndata_split_root: {root}\n")
    said = {}
    for given in ("elsewhere/train.csv", "own", "far"):
        folder = ssast.audit(**data, pretraining=str(tmp_path / given))
        rows = json.loads((folder / "audit.json").read_text())["taxonomy"]
        said[given] = next(row for row in rows if row["row"].endswith("pretraining"))
    assert "1 x person by name" in said["elsewhere/train.csv"]["what"]
    assert said["own"]["what"] == "None of 6 speakers of the test is in the pretraining."
    assert said["far"]["status"] == "cannot be seen"
    assert "is not opened" in said["far"]["what"]
    assert "next: People of the pretraining: pretrain without" in capsys.readouterr().out
    with pytest.raises(UserError, match="expected a csv or the folder"):
        ssast.audit(**data, pretraining=str(tmp_path / "none"))


def test_one_csv_named_columns_and_no_leaks(where, made, tmp_path, capsys):
    where |= {
        "data_split_root": str(made / "splits" / "test.csv"),
        "columns": "booth",
        "label_txt": str(made / "labels.txt"),
    }
    folder = ssast.audit(**where)
    found = json.loads((folder / "audit.json").read_text())
    assert "booth" in found["traits"]
    assert "device" not in found["traits"]
    assert found["splits"] == {"test": 33}
    assert "so nothing can be in two splits" in capsys.readouterr().out


def test_without_a_subject_column_it_says_what_that_means(where, made, tmp_path, capsys):
    table = pd.read_csv(made / "splits" / "test.csv", dtype={"uid": str}).drop(columns="speaker")
    table.to_csv(tmp_path / "alone.csv", index=False)
    ssast.audit(**where | {"data_split_root": str(tmp_path / "alone.csv")})
    assert "Name whose each clip is in a column subject or speaker" in capsys.readouterr().out


def test_a_bucket_is_audited_as_a_disk_is(where, made, tmp_path):
    there = Location("memory://ssast-audit")
    for path in made.rglob("*.*"):
        with (there / str(path.relative_to(made))).open("wb") as file:
            file.write(path.read_bytes())
    of_bucket = {"prefix": f"{there}/audio", "data_split_root": f"{there}/splits", "label_txt": f"{there}/labels.txt"}
    ssast.audit(**where)
    ssast.audit(**where | of_bucket | {"exp_dir": str(tmp_path / "bucket")})
    assert (tmp_path / "bucket" / "audit.csv").read_bytes() == (tmp_path / "out" / "audit.csv").read_bytes()


def test_unreadable_recordings_are_left_out(where, made, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(made, copy)
    (copy / "audio" / "003" / "waveform.wav").unlink()
    ssast.audit(**where | {"prefix": str(copy / "audio")})
    found = json.loads((tmp_path / "out" / "audit.json").read_text())
    assert list(found["not_read"]) == ["003"]
    assert found["n"] == 96
    assert "003" in (tmp_path / "out" / "audit.html").read_text()
    for waveform in copy.rglob("waveform.wav"):
        waveform.unlink()
    with pytest.raises(UserError, match="no recording could be read, the first: 000"):
        ssast.audit(**where | {"prefix": str(copy / "audio"), "exp_dir": str(tmp_path / "none")})
    assert not (tmp_path / "none").exists(), "nothing half-written"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"prefix": "nowhere"}, "the data folder nowhere does not exist"),
        ({"data_split_root": "nowhere"}, "nowhere does not exist"),
        ({"label_txt": "nowhere.txt"}, "nowhere.txt does not exist"),
        ({"columns": "devise"}, "which no csv has; did you mean device?"),
        ({"columns": "zzz"}, "names zzz, which neither a csv nor a metadata.json has"),
        ({"columns": "loud"}, "which is a label"),
        ({"runs": "nowhere"}, "nowhere has no predictions"),
        ({"runs": "a,b"}, "audit takes one"),
        ({"resamples": 10}, "give at least 100"),
    ],
)
def test_what_is_wrong_is_one_sentence(where, tmp_path, monkeypatch, capsys, change, said):
    monkeypatch.chdir(tmp_path)
    assert cli.main(words(where | change)) == 2
    error = capsys.readouterr().err.splitlines()
    assert said in error[-1]
    assert error[-1].startswith("ssast: ")
    assert not (tmp_path / "out").exists()


def test_values_that_are_no_yes_or_no_need_mse(where, made, tmp_path, capsys):
    table = pd.read_csv(made / "splits" / "test.csv", dtype={"uid": str})
    table["loud"] = table["loud"] * 7.5
    table.to_csv(tmp_path / "values.csv", index=False)
    where |= {"data_split_root": str(tmp_path / "values.csv")}
    assert cli.main(words(where)) == 2
    assert "under --loss BCE" in capsys.readouterr().err
    assert cli.main(words(where | {"loss": "MSE"})) == 0
    assert "rank correlation" in capsys.readouterr().out


def test_clips_of_another_csv_are_refused(where, made, tmp_path, capsys):
    run = write_run(tmp_path / "run", made, 1.0)
    table = pd.read_csv(run / "predictions.csv", dtype={"uid": str})
    table.assign(uid="x" + table["uid"]).to_csv(run / "predictions.csv", index=False)
    assert cli.main([*words(where), "--runs", str(run)]) == 2
    assert "none of the run's 97 clips is in the csv" in capsys.readouterr().err


def test_every_trait_is_explained(request):
    page = (request.config.rootpath / "docs" / "audit.md").read_text()
    for title in TRAIT_TITLES.values():
        assert f"| {title} |" in page


def test_a_private_audit_names_nobody(where, made, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("SSAST_KEYS", str(tmp_path / "keys"))
    copy = tmp_path / "geheim"
    shutil.copytree(made, copy)
    for name in ("train", "test"):
        table = pd.read_csv(copy / "splits" / f"{name}.csv", dtype={"uid": str})
        table["speaker"] = "mueller" + table["speaker"]
        table["uid"] = "mueller" + table["uid"]
        table["age"] = [*map(str, range(20, 20 + len(table) - 1)), "mueller"]
        table.to_csv(copy / "splits" / f"{name}.csv", index=False)
    for folder in (copy / "audio").iterdir():
        folder.rename(folder.with_name(f"mueller{folder.name}"))
    (copy / "audio" / "mueller003" / "waveform.wav").unlink()
    data = {"prefix": copy / "audio", "data_split_root": copy / "splits", "label_txt": copy / "labels.txt"}
    assert cli.main([*words(where | data), "--private", "True"]) == 0
    shown = "".join(capfd.readouterr()) + "".join(path.read_text() for path in (tmp_path / "out").iterdir())
    assert "uid-" in shown
    assert "age: 2 of " in shown, "a word among ages made each age a name, whose order a hash does not have"
    assert "mueller" not in shown
    assert "geheim" not in shown


def test_real_speech_length_tells_who_is_rated_as_not_fluent(shared, tmp_path):
    """Slow readers: the page must name the length, which a model can judge by without hearing how they read."""
    data = shared / "speechocean"
    where = {
        "prefix": data / "audio",
        "data_split_root": data / "splits" / "test.csv",
        "label_txt": data / "labels.txt",
    }
    folder = ssast.audit(**{name: str(path) for name, path in where.items()}, columns="age", exp_dir=str(tmp_path))
    found = json.loads((folder / "audit.json").read_text())
    entry = found["labels"]["low_fluency"]["traits"]["duration"]
    assert entry["is_flagged"]
    assert entry["value"] > 0.8
    assert found["subjects"] == 40
    assert "female" in found["labels"]
