"""`ssast.adapters.ray`: the rows of `ssast extract` and `ssast predict` from shards, also on a real Ray."""

import os
import signal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import ssast
from ssast import SSASTForAudioClassification
from ssast.adapters.ray import ShardEmbedder, ShardPredictor
from ssast.errors import AudioError, UserError

torch.set_num_threads(1)
FRONTEND = {"sample_rate": 16000, "num_mel_bins": 32, "target_length": 48, "mean": -4.0, "std": 4.5, "reduce": True}
SIZES = {"model_size": "tiny", "fshape": 32, "tshape": 8, "num_mel_bins": 32, "target_length": 48}
HERE = {"device": "cpu", "precision": "fp32"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "fine"
    SSASTForAudioClassification(2, **SIZES, labels=["high", "loud"], frontend=FRONTEND, seed=0).save_pretrained(path)
    return str(path)


def shard(corpus, split="test") -> pa.Table:
    frame = corpus.frame(split)
    places = [corpus.audio / uid / "waveform.wav" for uid in frame.index]
    audio = [{"bytes": place.read_bytes(), "path": place.name} for place in places]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    return pa.table({"uid": list(frame.index), "audio": pa.array(audio, kind), "high": frame["high"].tolist()})


def extracted(corpus, folder, out, split="test", **how) -> pd.DataFrame:
    where = {"prefix": corpus.audio, "data_split_root": corpus.splits / f"{split}.csv", "exp_dir": out}
    return pd.read_parquet(ssast.extract(**where, finetuned_mdl_path=folder, **HERE, **how))


@pytest.mark.parametrize("how", [{}, {"embedding_type": "pt", "layer": 3}, {"whole_recording": True}])
def test_rows_are_those_of_extract(folder, still_corpus, tmp_path, how):
    wanted = extracted(still_corpus, folder, tmp_path, **how)
    found = ShardEmbedder(folder, **HERE, **how)(shard(still_corpus)).to_pandas()
    assert list(found.columns) == ["uid", "embedding", "reason"]
    assert list(found["uid"]) == list(wanted["uid"])
    np.testing.assert_array_equal(np.stack(found["embedding"]), np.stack(wanted["embedding"]))
    assert found["reason"].isna().all()


@pytest.mark.parametrize("pooling", ["mean", "max"])
def test_scores_are_those_of_predict(folder, still_corpus, tmp_path, pooling):
    table = shard(still_corpus)
    files = [still_corpus.audio / uid / "waveform.wav" for uid in table["uid"].to_pylist()]
    how = {**HERE, "window_pooling": pooling}
    ssast.predict(finetuned_mdl_path=folder, files=files, exp_dir=tmp_path, **how)
    wanted = pd.read_parquet(tmp_path / "predicted.parquet")
    found = ShardPredictor(folder, **how)(table).to_pandas()
    columns = ["seconds", "windows", "high", "loud"]
    pd.testing.assert_frame_equal(found[columns], wanted[columns], check_exact=True)
    assert list(found["uid"]) == table["uid"].to_pylist()


def test_labels_of_every_kind_have_the_columns_of_predict(still_corpus, tmp_path):
    """A scale's outputs were once taken for those of the labels that follow it."""
    kinds = [
        {"kind": "ordinal", "levels": [0, 1, 2]},
        {"kind": "CE", "levels": ["creaky", "modal"]},
        {"kind": "MSE"},
        {"kind": "BCE"},
    ]
    labels = ["rough", "voice", "age", "ill"]
    model = SSASTForAudioClassification(4, **SIZES, labels=labels, kinds=kinds, loss="mixed", frontend=FRONTEND, seed=0)
    model.save_pretrained(tmp_path / "model")
    table = shard(still_corpus)
    files = [still_corpus.audio / uid / "waveform.wav" for uid in table["uid"].to_pylist()]
    ssast.predict(finetuned_mdl_path=tmp_path / "model", files=files, exp_dir=tmp_path / "out", **HERE)
    wanted = pd.read_parquet(tmp_path / "out" / "predicted.parquet")
    predictor = ShardPredictor(tmp_path / "model", on_bad_audio="skip", **HERE)
    found = predictor(table).to_pandas()
    columns = [name for name in wanted.columns if name not in ("file", "note") and not name.endswith("_call")]
    assert list(found.columns) == ["uid", *columns, "reason"]
    assert set(labels) < set(columns)
    pd.testing.assert_frame_equal(found[columns], wanted[columns], check_exact=True)
    bad = table.set_column(1, "audio", pa.array([{"bytes": b"no sound", "path": "a.wav"}] * len(table)))
    nothing = predictor(bad)
    assert nothing.schema.equals(predictor(table).schema)
    assert nothing["voice"].null_count == len(table)


def test_a_batch_of_numpy_gives_the_rows_of_one_of_arrow(folder, still_corpus):
    table, embedder = shard(still_corpus), ShardEmbedder(folder, **HERE)
    batch = {name: np.array(table[name].to_pylist(), dtype=object) for name in ("uid", "audio")}
    assert embedder(batch).equals(embedder(table))


def test_without_uids_the_stems_of_the_paths_are_taken(folder, still_corpus):
    table = shard(still_corpus).drop_columns(["uid"])
    assert ShardEmbedder(folder, **HERE)(table)["uid"].to_pylist() == ["waveform"] * len(table)


@pytest.mark.parametrize("make", [ShardEmbedder, ShardPredictor])
def test_a_bad_recording_has_no_values_but_a_reason_or_raises_as_asked(folder, still_corpus, make):
    table = shard(still_corpus)
    rows = table["audio"].to_pylist()
    rows[1], rows[3] = {"bytes": b"no sound", "path": "waveform.wav"}, None
    spoilt = table.set_column(1, "audio", pa.array(rows, table.schema.field("audio").type))
    found = make(folder, **HERE, on_bad_audio="skip")(spoilt)
    uids, reasons = found["uid"].to_pylist(), found["reason"].to_pylist()
    value = found.column_names[-2]
    assert [reason is not None for reason in reasons] == [column is None for column in found[value].to_pylist()]
    assert f"clip {uids[1]}: it is named wav but holds bytes of no audio format" in reasons[1]
    assert "no bytes of audio" in reasons[3]
    assert sum(reason is None for reason in reasons) == len(rows) - 2
    whole = make(folder, **HERE)(table)
    assert found[value].to_pylist()[2] == whole[value].to_pylist()[2]
    with pytest.raises(AudioError, match=f"clip {uids[1]}: it is named wav"):
        make(folder, **HERE)(spoilt)


def test_rows_without_audio_and_wrong_words_are_refused(folder, still_corpus):
    with pytest.raises(UserError, match="the columns uid, sound, expected audio with bytes and path"):
        ShardEmbedder(folder, **HERE)(pa.table({"uid": ["a"], "sound": [b""]}))
    embedder = ShardEmbedder(folder, **HERE)
    for cell in ({"bytes": "abc", "path": "a"}, {"bytes": b"", "path": {"a": 1}}, {"bytes": [1], "path": "a"}):
        with pytest.raises(UserError, match="the columns uid, audio, expected audio with bytes and path"):
            embedder(pa.table({"uid": ["a"], "audio": [cell]}))
    unnamed = {"uid": [None, "a"], "audio": [{"bytes": b"", "path": "a.wav"}] * 2}
    with pytest.raises(UserError, match="a row has no uid; give each recording one"):
        embedder(unnamed)
    with pytest.raises(UserError, match="a batch of rows is no table"):
        embedder({"uid": ["a"], "audio": [{"bytes": b"", "path": "a.wav"}] * 2})
    with pytest.raises(UserError, match="expected error or skip"):
        ShardEmbedder(folder, on_bad_audio="drop")
    with pytest.raises(UserError, match="layer"):
        ShardEmbedder(folder, embedding_type="pt", layer=40)


class Mortal(ShardEmbedder):
    """An embedder whose process is killed once, in the middle of its first batch."""

    def __call__(self, batch):
        mark = Path(os.environ["SSAST_TEST_MARK"])
        try:
            mark.touch(exist_ok=False)
        except FileExistsError:
            return super().__call__(batch)
        return os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore")
def test_two_actors_of_a_real_ray_one_of_them_killed_give_the_rows_of_extract(folder, still_corpus, tmp_path):
    ray = pytest.importorskip("ray")
    wanted = extracted(still_corpus, folder, tmp_path / "out", "train")
    (tmp_path / "shards").mkdir()
    table = shard(still_corpus, "train")
    for number in range(4):
        name = f"train-{number:05d}-of-00004.parquet"
        pq.write_table(table.slice(3 * number, 3), tmp_path / "shards" / name, row_group_size=2)
    mark = tmp_path / "killed"
    paths = [str(Path(ssast.__file__).parents[1]), str(Path(__file__).parent)]
    variables = {"PYTHONPATH": os.pathsep.join(paths), "SSAST_TEST_MARK": str(mark), "SSAST_CACHE": str(tmp_path / "c")}
    ray.init(num_cpus=4, include_dashboard=False, runtime_env={"env_vars": variables}, log_to_driver=False)
    try:
        shards = ray.data.read_parquet(str(tmp_path / "shards"))
        found = shards.map_batches(
            Mortal,
            fn_constructor_args=[folder],
            fn_constructor_kwargs=HERE,
            batch_size=2,
            concurrency=2,
            max_restarts=3,
            max_task_retries=3,
        ).to_pandas()
    finally:
        ray.shutdown()
    assert mark.exists()
    found = found.sort_values("uid", ignore_index=True)
    assert list(found["uid"]) == list(wanted["uid"])
    np.testing.assert_array_equal(np.stack(found["embedding"]), np.stack(wanted["embedding"]))
