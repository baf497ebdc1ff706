"""Whole modes on shards: what they compute is what they compute from folders."""

import json
import shutil
import sys
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch

import ssast
from ssast import SSASTForAudioClassification, cli
from ssast.data.shards import shards
from ssast.data.shards.row_groups import opened_group
from ssast.engine import train

pytestmark = pytest.mark.usefixtures("narrow")
torch.set_num_threads(1)

SOUND = {"target_length": 32, "device": "cpu", "precision": "fp32"}
FOR_JOINING = {"predictions.csv", "predictions.parquet", "plain_baseline.csv", "validation.csv"}
"""In these recordings keep their names, which is said."""
FRESH = {"model_size": "tiny", "pretrained_mdl_path": "none"}


@pytest.fixture(scope="module")
def model(narrow, tmp_path_factory):
    frontend = {"sample_rate": 16000, "num_mel_bins": 128, "target_length": 32, "mean": -4.0, "std": 4.0}
    kept = {"labels": ["high", "loud"], "frontend": {**frontend, "reduce": True, "clip_length": 0.0}, "seed": 0}
    folder = tmp_path_factory.mktemp("models") / "fine"
    SSASTForAudioClassification(2, model_size="tiny", target_length=32, **kept).save_pretrained(folder)
    return folder


def from_both(mode, corpus, shards, folder, **options):
    """The folders of a mode that reads folders, and of one that reads shards."""
    folders = {"prefix": str(corpus.audio), "data_split_root": str(corpus.splits)}
    for name, where in (("folders", folders), ("shards", {"prefix": str(shards)})):
        getattr(ssast, mode)(**where, **options, **SOUND, exp_dir=str(folder / name))
    return folder / "folders", folder / "shards"


def test_embeddings_of_shards_are_those_of_folders_to_the_byte(still_corpus, still_shards, model, tmp_path):
    options = {"finetuned_mdl_path": str(model), "dataset": "tones"}
    first, second = from_both("extract", still_corpus, still_shards, tmp_path, num_workers=1, **options)
    (table,) = first.glob("*.pqt")
    assert (second / table.name).read_bytes() == table.read_bytes()


def test_scores_of_shards_are_those_of_folders_to_the_byte(still_corpus, still_shards, model, tmp_path):
    options = {"finetuned_mdl_path": str(model), "label_txt": str(still_corpus.label_txt), "resamples": 20}
    first, second = from_both("evaluate", still_corpus, still_shards, tmp_path, **options)
    for name in ("predictions.csv", "metrics.json", "aucs.csv"):
        assert (second / name).read_bytes() == (first / name).read_bytes()


def test_statistics_and_checks_of_shards_are_those_of_folders(still_corpus, still_shards, tmp_path):
    first, second = from_both("stats", still_corpus, still_shards, tmp_path / "stats")
    assert (second / "stats.yaml").read_text() == (first / "stats.yaml").read_text()
    options = {"label_txt": str(still_corpus.label_txt)}
    first, second = from_both("check", still_corpus, still_shards, tmp_path / "check", **options)
    assert (second / "recordings.csv").read_text() == (first / "recordings.csv").read_text()


def test_a_csv_chooses_rows_of_shards_and_one_of_others_is_refused(still_corpus, still_shards, model, tmp_path, capsys):
    some = still_corpus.frame("test")[:3]
    some.to_csv(tmp_path / "some.csv")
    words = ["extract", "-i", str(still_shards), "-d", str(tmp_path / "some.csv"), "--target_length", "32"]
    words += ["--finetuned_mdl_path", str(model), "--device", "cpu", "-o", str(tmp_path / "out")]
    assert cli.main(words) == 0
    assert "3 embeddings" in capsys.readouterr().out
    some.rename(index={"0012": "stranger"}).to_csv(tmp_path / "some.csv")
    assert cli.main([*words[:-1], str(tmp_path / "other")]) == 2
    assert "1 of the 3 uids of" in (said := capsys.readouterr().err)
    assert "have no row in" in said


def test_training_on_shards_is_the_same_with_workers_and_after_a_kill(still_corpus, still_shards, tmp_path, dies):
    options = {"prefix": str(still_shards), "label_txt": str(still_corpus.label_txt), **FRESH, **SOUND}
    options |= {"freeze": False, "epochs": 2, "batch_size": 4, "resamples": 20, "save_every_seconds": 0}
    alone = ssast.finetune(**options, exp_dir=str(tmp_path / "alone"))
    helped = ssast.finetune(**options, num_workers=2, exp_dir=str(tmp_path / "helped"))
    with dies(train.Run, "step", after=3):
        ssast.finetune(**options, exp_dir=str(tmp_path / "killed"))
    killed = ssast.finetune(**options, exp_dir=str(tmp_path / "killed"))
    for folder in (helped, killed):
        assert (folder / "model.safetensors").read_bytes() == (alone / "model.safetensors").read_bytes()


def test_parts_of_an_extraction_end_where_row_groups_do(still_corpus, still_shards, model, tmp_path):
    where = {"prefix": str(still_shards), "data_split_root": str(still_corpus.splits / "train.csv")}
    options = {"finetuned_mdl_path": str(model), "dataset": "tones", **where, **SOUND}
    tables = [ssast.extract(**options, part=f"{part}/3", exp_dir=str(tmp_path / "out")) for part in (1, 2, 3)]
    assert [pq.read_metadata(table).num_rows for table in tables] == [4, 4, 4]
    tables = [ssast.extract(**options, part=f"{part}/5", exp_dir=str(tmp_path / "more")) for part in range(1, 6)]
    assert [pq.read_metadata(table).num_rows for table in tables] == [2, 2, 3, 2, 3]


def test_drawing_by_label_says_what_it_costs(still_corpus, still_shards, tmp_path, capsys):
    options = {"prefix": str(still_shards), "label_txt": str(still_corpus.label_txt), **FRESH, **SOUND}
    ssast.finetune(**options, balanced=True, epochs=1, resamples=20, exp_dir=str(tmp_path / "out"))
    assert "draws recordings from all 3 row groups of the shards in any order" in capsys.readouterr().out


@pytest.mark.slow
def test_an_audit_of_shards_finds_what_it_finds_in_folders(still_corpus, still_shards, tmp_path):
    options = {"label_txt": str(still_corpus.label_txt), "resamples": 100}
    found = []
    for name, where in (("folders", still_corpus.audio), ("shards", still_shards)):
        tables = {"data_split_root": str(still_corpus.splits)} if name == "folders" else {}
        ssast.audit(prefix=str(where), **tables, **options, exp_dir=str(tmp_path / name))
        found.append(json.loads((tmp_path / name / "audit.json").read_text()))
    assert found[0]["labels"] == found[1]["labels"]
    assert found[0]["traits"] == found[1]["traits"]
    assert (tmp_path / "folders" / "traits.csv").read_bytes() == (tmp_path / "shards" / "traits.csv").read_bytes()


def secret_shards(corpus, shards_of, folder):
    """Shards whose people, folder and recordings have names that nobody should read; one row has no sound."""
    tables = {}
    for name in ("train", "test"):
        frame = corpus.frame(name)
        for uid in frame.index:
            shutil.copytree(corpus.audio / uid, folder / "audio" / f"mueller{uid}")
        tables[name] = frame.assign(speaker="mueller" + frame["speaker"]).rename(index=lambda uid: f"mueller{uid}")
    (folder / "audio" / "mueller0003" / "waveform.wav").write_bytes(b"")
    return shards_of(folder / "geheim", folder / "audio", tables)


@pytest.mark.slow
def test_a_private_training_from_shards_names_nobody(still_corpus, shards_of, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("SSAST_KEYS", str(tmp_path / "keys"))
    shards = secret_shards(still_corpus, shards_of, tmp_path)
    options = {"prefix": shards, "label_txt": still_corpus.label_txt, "private": True, "epochs": 1, "resamples": 0}
    words = [f"--{name}={value}" for name, value in {**options, **FRESH, **SOUND}.items()]
    assert cli.main(["finetune", *words, f"--exp_dir={tmp_path / 'refused'}"]) == 2
    said = capfd.readouterr().err
    assert "holds no sound" in said
    assert cli.main(["finetune", *words, f"--exp_dir={tmp_path / 'out'}", "--on_bad_audio=skip"]) == 0
    shown = said + "".join(capfd.readouterr())
    for file in (tmp_path / "out").rglob("*"):
        shown += file.name
        if file.is_file() and file.name not in FOR_JOINING:
            shown += file.read_bytes().decode("latin-1")
    assert "uid-" in shown
    assert "mueller" not in shown
    assert "geheim" not in shown


@pytest.mark.slow
def test_a_data_set_that_datasets_wrote_is_fine_tuned_on(still_corpus, tmp_path):
    """Its columns have other names and another order, and none of them is called uid or audio."""
    datasets = pytest.importorskip("datasets")
    for name in ("train", "test"):
        frame = still_corpus.frame(name)
        sound = [
            {"bytes": (still_corpus.audio / uid / "waveform.wav").read_bytes(), "path": f"a/{uid}.wav"}
            for uid in frame.index
        ]
        columns = {"Loud?": list(frame["loud"]), "recording": sound, "who": list(frame["speaker"])}
        columns["Tone is high"] = list(frame["high"])
        data = datasets.Dataset.from_dict(columns).cast_column("recording", datasets.Audio(decode=False))
        (tmp_path / "set" / "data").mkdir(parents=True, exist_ok=True)
        data.to_parquet(str(tmp_path / "set" / "data" / f"{name}-00000-of-00001.parquet"), batch_size=5)
    (tmp_path / "labels.txt").write_text("Tone is high\nLoud?\n")
    options = {"label_txt": str(tmp_path / "labels.txt"), "resamples": 20, **SOUND}
    where = {"prefix": str(tmp_path / "set")}
    tuned = ssast.finetune(**where, **options, **FRESH, epochs=2, freeze=False, exp_dir=str(tmp_path / "tuned"))
    names = {"high": "Tone is high", "loud": "Loud?"}
    still_corpus.frame("test").rename(columns=names).to_csv(tmp_path / "test.csv")
    where = {"prefix": str(still_corpus.audio), "data_split_root": str(tmp_path / "test.csv")}
    scored = ssast.evaluate(**where, **options, finetuned_mdl_path=str(tuned), exp_dir=str(tmp_path / "scored"))
    assert (Path(scored) / "predictions.csv").read_bytes() == (Path(tuned) / "predictions.csv").read_bytes()


MODES = {
    "finetune": {**FRESH, "epochs": 1},
    "extract": {**FRESH, "embedding_type": "pt"},
}


def cut_off(place):
    place.write_bytes(place.read_bytes()[:-100])


def of_other_columns(place):
    pq.write_table(pq.read_table(place).drop(["audio"]), place)


def without_sound(place):
    table = pq.read_table(place)
    cells = table.column("audio").to_pylist()
    cells[2] = None
    pq.write_table(table.set_column(1, "audio", [cells]).cast(table.schema), place)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (cut_off, "is no whole Parquet file: its end is missing or damaged; get a whole copy of it."),
        (of_other_columns, "has no column of sound; expected one column `audio` of bytes and path"),
        (without_sound, "clip 0002: its row in "),
    ],
)
@pytest.mark.parametrize("mode", list(MODES))
def test_shards_that_cannot_be_used_end_a_mode_in_one_sentence_with_nothing_half_written(
    mode, change, said, still_corpus, still_shards, tmp_path, capsys
):
    shutil.copytree(still_shards, tmp_path / "shards")
    change(tmp_path / "shards" / "train-00000-of-00001.parquet")
    options = {"prefix": tmp_path / "shards", "exp_dir": tmp_path / "out", "target_length": 32, **MODES[mode]}
    options |= {"label_txt": still_corpus.label_txt} if mode == "finetune" else {}
    options |= {"data_split_root": still_corpus.splits / "train.csv"} if mode == "extract" else {}
    words = [mode, *(f"--{name}={value}" for name, value in options.items())]
    assert cli.main(words) == 2
    (sentence,) = capsys.readouterr().err.strip().splitlines()[-1:]
    assert said in sentence
    finished = ("*.safetensors", "*.pqt", "*.csv", "stats.yaml")
    assert not [path for pattern in finished for path in (tmp_path / "out").rglob(pattern)]


@pytest.mark.parametrize("mode", ["check", "stats"])
@pytest.mark.parametrize(
    ("change", "said"),
    [(Path.unlink, "does not exist"), (cut_off, "changed while it was read"), (without_sound, "changed while")],
)
def test_a_shard_that_changes_during_the_pass_is_named(mode, change, said, still_shards, tmp_path, capsys, monkeypatch):
    shutil.copytree(still_shards, tmp_path / "shards")
    place, groups = tmp_path / "shards" / "train-00000-of-00001.parquet", []

    def opened(file, group):
        if group == 1 and group not in groups:
            change(place)
        groups.append(group)
        return opened_group(file, group)

    monkeypatch.setattr(shards, "opened_group", opened)
    code = cli.main([mode, "-i", str(tmp_path / "shards"), "-o", str(tmp_path / "out"), "--target_length", "32"])
    if mode == "check":
        found = pd.read_csv(tmp_path / "out" / "check.csv", dtype=str)
        refused = found[found["finding"] == "refused"]
        assert len(refused) == 8, "all but the first row group of this shard"
        assert refused["detail"].str.contains(said).all()
        assert len(pd.read_csv(tmp_path / "out" / "recordings.csv")) == 18
        return
    assert code == 2
    assert said in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "out" / "stats.yaml").exists()


def test_tables_that_are_written_in_pieces_are_those_written_at_once(still_corpus, still_shards, tmp_path, monkeypatch):
    options = {"prefix": str(still_shards), "label_txt": str(still_corpus.label_txt), "clip_length": 0.05}
    ssast.check(**options, exp_dir=str(tmp_path / "once"))
    monkeypatch.setattr(sys.modules["ssast.modes.check"], "_ROWS_AT_ONCE", 5)
    ssast.check(**options, exp_dir=str(tmp_path / "pieces"))
    for name in ("check.csv", "recordings.csv"):
        text = (tmp_path / "once" / name).read_text()
        assert (tmp_path / "pieces" / name).read_text() == text
        assert len(text.splitlines()) == 19
