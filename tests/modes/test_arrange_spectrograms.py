"""`ssast arrange` on a Parquet file of spectrograms, and the modes that read what it made."""

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import ssast
from ssast import cli
from ssast.data.tables.splits import read_split
from ssast.model.pretraining import SSASTForPreTraining
from ssast.safe_reading import yaml_of

pytestmark = pytest.mark.usefixtures("narrow")

PEOPLE, TINY = 8, {"model_size": "tiny", "target_length": 32, "fshape": 128, "tshape": 2}


@pytest.fixture(scope="module")
def arranged(tmp_path_factory):
    """Eight people with two sessions, a label that goes with loudness, and a model with random weights."""
    root, rng = tmp_path_factory.mktemp("spectrograms"), np.random.default_rng(0)
    kinds = [(person, session) for person in range(PEOPLE) for session in (1, 2)]
    power = [(rng.exponential(1e-3 if person % 2 else 1e-5, (201, 40))).tolist() for person, _ in kinds]
    table = pa.table(
        {
            "participant_id": [f"P{person}" for person, _ in kinds],
            "session_id": [str(session) for _, session in kinds],
            "n_frames": [40] * len(kinds),
            "spectrogram": pa.array(power, pa.list_(pa.list_(pa.float32()))),
        }
    )
    pq.write_table(table, root / "s.parquet", row_group_size=3)
    people = "".join(f"P{person}\t{person % 2}\n" for person in range(PEOPLE))
    (root / "participants.tsv").write_text("participant_id\tloud\n" + people)
    assert cli.main(["arrange", str(root / "s.parquet"), str(root / "participants.tsv"), str(root / "data")]) == 0
    torch.manual_seed(0)
    SSASTForPreTraining(**TINY).save_pretrained(root / "model")
    return root


def where(root) -> dict[str, object]:
    return {"prefix": root / "data" / "recordings", "pretrained_mdl_path": root / "model", "target_length": 32}


def test_rows_become_recordings_with_the_columns_of_the_table(arranged):
    frame = read_split(arranged / "data" / "all.csv")
    assert list(frame.index[:2]) == ["P0_1", "P0_2"]
    assert list(frame.columns) == ["participant_id", "loud", "session"]
    assert frame.loc["P3_2"].tolist() == ["P3", 1, 2]
    folder = arranged / "data" / "recordings"
    assert json.loads((folder / "spectrograms.json").read_text())["n_fft"] == 400
    assert np.load(folder / "P3_2" / "spectrogram.npy").shape == (201, 40)


def test_embeddings_are_extracted_and_the_record_says_of_what(arranged, tmp_path):
    options = {**where(arranged), "data_split_root": arranged / "data" / "all.csv", "embedding_type": "pt"}
    table = pd.read_parquet(ssast.extract(**options, exp_dir=tmp_path / "one", batch_size=3))
    assert len(table) == 2 * PEOPLE
    one_by_one = pd.read_parquet(ssast.extract(**options, exp_dir=tmp_path / "two", batch_size=1))
    assert np.abs(np.stack(table["embedding"]) - np.stack(one_by_one["embedding"])).max() < 1e-5
    record = yaml_of((tmp_path / "one" / "run.yaml").read_text())["record"]
    assert record["recordings"] == "power spectrograms"
    assert any(name.endswith("spectrograms.json") for name in record["files"])


def test_a_model_is_fine_tuned_and_its_card_says_of_what(arranged, tmp_path):
    options = {"label_txt": arranged / "data" / "labels.txt", "data_split_root": arranged / "data" / "splits"}
    how = {"epochs": 1, "val_share": 0.2, "resamples": 0, "freqm": 8, "mask_padding": True}
    folder = ssast.finetune(**where(arranged), **options, **how, exp_dir=tmp_path / "ft")
    assert (folder / "report.html").exists()
    plain = pd.read_csv(folder / "plain_baseline.csv", index_col="uid")
    assert len(plain) == len(read_split(arranged / "data" / "splits" / "test.csv"))
    model = ssast.SSASTForAudioClassification.from_pretrained(folder)
    assert "spectrograms" not in model.frontend
    model.save_pretrained(tmp_path / "shared")
    assert "came as power spectrograms" in (tmp_path / "shared" / "README.md").read_text()


@pytest.mark.parametrize(
    ("mode", "words", "said"),
    [
        ("extract", ["--over_time", "True"], "--over_time True needs sound, and these recordings are spectrograms"),
        ("extract", ["--resample_rate", "8000"], "--resample_rate 8000 needs sound"),
        (
            "pretrain",
            ["--mask_patch", "4"],
            "pretrain needs sound, and these recordings are spectrograms; finetune, evaluate, extract",
        ),
        ("finetune", ["--gauss", "0.5"], "--gauss alters sound, and these recordings are spectrograms"),
    ],
)
def test_what_needs_sound_is_refused(arranged, tmp_path, capsys, mode, words, said):
    split = "splits" if mode != "extract" else "all.csv"
    data = arranged / "data"
    line = ["-i", str(data / "recordings"), "-d", str(data / split), "-o", str(tmp_path / "o")]
    own = {"finetune": ["-l", str(arranged / "data" / "labels.txt")], "extract": ["--embedding_type", "pt"]}
    model = ["--pretrained_mdl_path", str(arranged / "model"), "--target_length", "32"] if mode in own else []
    assert cli.main([mode, *line, *own.get(mode, []), *model, *words]) == 2
    assert said in capsys.readouterr().err


def test_a_damaged_spectrogram_is_named(arranged, tmp_path, capsys):
    folder = tmp_path / "recordings"
    (folder / "P0_1").mkdir(parents=True)
    for name in ("spectrograms.json", "P0_1/metadata.json", "P0_1/spectrogram.npy"):
        (folder / name).write_bytes((arranged / "data" / "recordings" / name).read_bytes())
    place = folder / "P0_1" / "spectrogram.npy"
    place.write_bytes(place.read_bytes()[:-4])
    (tmp_path / "all.csv").write_text("uid\nP0_1\n")
    line = ["-i", str(folder), "-d", str(tmp_path / "all.csv"), "-o", str(tmp_path / "o"), "--target_length", "32"]
    assert cli.main(["extract", *line, "--embedding_type", "pt", "--pretrained_mdl_path", str(arranged / "model")]) == 2
    assert "clip P0_1: its spectrogram.npy is not one of 201 x frames float32 numbers" in capsys.readouterr().err
