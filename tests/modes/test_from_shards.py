"""Whole modes on shards: what they compute is what they compute from folders."""

import pyarrow.parquet as pq
import pytest
import torch

import ssast
from ssast import SSASTForAudioClassification, cli
from ssast.engine import train

pytestmark = pytest.mark.usefixtures("narrow")
torch.set_num_threads(1)

SOUND = {"target_length": 32, "device": "cpu", "precision": "fp32"}
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
    assert sorted((second / "recordings.csv").open()) == sorted((first / "recordings.csv").open())


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
