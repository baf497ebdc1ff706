"""Recordings and tables on their way into shards."""

import hashlib
import json
import os
import random
import shutil
import signal
import time

import pandas as pd
import pyarrow.parquet as pq
import pytest
from tests.conftest import make_corpus

import ssast
from ssast import cli
from ssast.data.shards import shard_delivery, shard_writer
from ssast.data.shards.shard_delivery import WAITING
from ssast.errors import AudioError, UserError

SMALL = {"row_group_mb": 0.05, "shard_mb": 0.1, "num_workers": 0}


@pytest.fixture
def given(corpus, tmp_path):
    """A copy of the corpus that a test may change, in `tmp_path`."""
    shutil.copytree(corpus.folder, tmp_path / "given")
    return tmp_path / "given"


def packed(given, to, **options):
    ssast.pack(prefix=given / "audio", data_split_root=given / "splits", exp_dir=to, **{**SMALL, **options})
    return to


def shards(folder) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.glob("*.parquet"))}


def rows(folder, table) -> pd.DataFrame:
    parts = [pq.read_table(path).to_pandas() for path in sorted(folder.glob(f"{table}-*.parquet"))]
    return pd.concat(parts, ignore_index=True)


def test_a_shard_holds_the_files_as_they_lie_and_the_rows_of_the_csv(given, tmp_path):
    found = rows(packed(given, tmp_path / "shards"), "train")
    table = pd.read_csv(given / "splits" / "train.csv", dtype={"uid": str})
    assert list(found.columns) == ["uid", "audio", "speaker", "high", "loud", "ssast_metadata"]
    pd.testing.assert_frame_equal(found[["uid", "high", "loud"]], table[["uid", "high", "loud"]])
    for uid, audio, metadata in zip(found["uid"], found["audio"], found["ssast_metadata"], strict=True):
        home = given / "audio" / uid
        assert audio == {"bytes": (home / "waveform.wav").read_bytes(), "path": "waveform.wav"}
        assert metadata == (home / "metadata.json").read_bytes()


def test_row_groups_and_files_are_as_large_as_asked_and_sound_lies_plainly(given, tmp_path):
    names = sorted(packed(given, tmp_path / "shards").glob("train-*.parquet"))
    assert [path.name for path in names] == [f"train-0000{at}-of-0000{len(names)}.parquet" for at in range(len(names))]
    assert len(names) > 2
    for path in names:
        footer = pq.read_metadata(path)
        for at in range(footer.num_row_groups):
            columns = [footer.row_group(at).column(number) for number in range(footer.num_columns)]
            (sound,) = (one for one in columns if one.path_in_schema == "audio.bytes")
            assert sound.compression == "UNCOMPRESSED"
            assert not sound.has_dictionary_page
            assert footer.row_group(at).num_rows <= 3
        assert json.loads(footer.metadata[b"ssast"])["table"] == "train"


@pytest.mark.slow
def test_the_bytes_do_not_depend_on_the_number_of_processes(given, tmp_path):
    alone = shards(packed(given, tmp_path / "alone"))
    assert shards(packed(given, tmp_path / "three", num_workers=3)) == alone


def test_a_recording_that_cannot_be_used_ends_the_run_with_its_name_and_leaves_nothing_visible(given, tmp_path):
    (given / "audio" / "0007" / "waveform.wav").write_bytes(b"nothing to hear")
    with pytest.raises(AudioError, match=r"clip 0007: .*on_bad_audio skip"):
        packed(given, tmp_path / "shards")
    assert [name for name in os.listdir(tmp_path / "shards") if not name.startswith(".")] == []
    with pytest.raises(AudioError, match="clip 0007"):
        packed(given, tmp_path / "whole", shard_mb=9)
    assert not (tmp_path / "whole").exists()


def test_a_recording_that_cannot_be_used_is_left_out_and_named_where_that_is_asked(given, tmp_path, capsys):
    (given / "audio" / "0007" / "waveform.wav").write_bytes(b"nothing to hear")
    shutil.rmtree(given / "audio" / "0002")
    home = packed(given, tmp_path / "shards", on_bad_audio="skip")
    assert pd.read_csv(home / "bad_audio.csv", dtype=str)["uid"].tolist() == ["0002", "0007"]
    assert set(rows(home, "train")["uid"]) == {f"{at:04d}" for at in range(12)} - {"0002", "0007"}
    assert "16 recordings" in capsys.readouterr().out


def test_an_empty_shard_stands_for_rows_that_were_all_left_out(given, tmp_path):
    for at in range(4):
        (given / "audio" / f"000{at}" / "waveform.wav").write_bytes(b"no" * 20_000)
    home = packed(given, tmp_path / "shards", on_bad_audio="skip")
    assert len(rows(home, "train")) == 8
    assert min(pq.read_metadata(path).num_rows for path in home.glob("*.parquet")) == 0


def test_nothing_is_packed_where_no_recording_can_be_used(given, tmp_path):
    shutil.rmtree(given / "audio")
    (given / "audio").mkdir()
    with pytest.raises(UserError, match="none of the 18 recordings can be used; the first"):
        packed(given, tmp_path / "shards", on_bad_audio="skip")
    assert not list((tmp_path / "shards").glob("*.parquet"))


@pytest.mark.parametrize("after", [1, 3])
def test_a_killed_run_goes_on_with_its_finished_shards(given, tmp_path, dies, monkeypatch, capsys, after):
    whole = shards(packed(given, tmp_path / "whole"))
    with dies(shard_delivery, "_digest", after=after):
        packed(given, tmp_path / "shards")
    assert shards(tmp_path / "shards") == {}
    made = []
    write = shard_writer.write_shard
    monkeypatch.setattr("ssast.modes.pack.write_shard", lambda *given: made.append(given[1].name) or write(*given))
    assert shards(packed(given, tmp_path / "shards")) == whole
    assert made == sorted(whole, key=lambda name: (name.startswith("test"), name))[after:]
    assert f"going on: {after} of {len(whole)} shards" in capsys.readouterr().out
    assert not (tmp_path / "shards" / WAITING).exists()


def test_a_run_that_was_killed_while_shards_moved_into_place_ends_with_all_of_them(given, tmp_path, dies):
    whole = shards(packed(given, tmp_path / "whole"))
    with dies(shard_delivery, "_move", after=2):
        packed(given, tmp_path / "shards")
    assert len(shards(tmp_path / "shards")) == 2
    assert shards(packed(given, tmp_path / "shards")) == whole


def test_finished_shards_are_made_again_where_a_recording_changed(given, tmp_path, dies):
    with dies(shard_delivery, "_digest", after=3):
        packed(given, tmp_path / "shards")
    home = given / "audio" / "0000"
    (home / "metadata.json").write_text(json.dumps({"encoding": "WAV", "sample_rate_hz": 16000, "room": 2}))
    packed(given, tmp_path / "shards")
    assert rows(tmp_path / "shards", "train")["ssast_metadata"][0] == (home / "metadata.json").read_bytes()


def test_a_damaged_shard_of_a_killed_run_is_made_again(given, tmp_path, dies):
    whole = shards(packed(given, tmp_path / "whole"))
    with dies(shard_delivery, "_digest", after=2):
        packed(given, tmp_path / "shards")
    finished = sorted((tmp_path / "shards" / WAITING).glob("train-00000*"))
    finished[0].write_bytes(finished[0].read_bytes()[:-100])
    assert shards(packed(given, tmp_path / "shards")) == whole


def test_shards_are_packed_again_in_another_size_without_a_csv(given, tmp_path):
    first = packed(given, tmp_path / "first")
    ssast.pack(prefix=first, exp_dir=tmp_path / "second", num_workers=0)
    assert [path.name for path in (tmp_path / "second").glob("train-*")] == ["train-00000-of-00001.parquet"]
    for table in ("train", "test"):
        pd.testing.assert_frame_equal(rows(tmp_path / "second", table), rows(first, table))


def test_other_shards_in_the_folder_are_not_replaced(given, tmp_path):
    home = packed(given, tmp_path / "shards")
    before = shards(home)
    for options in ({}, {"shard_mb": 9}):
        with pytest.raises(UserError, match="holds shards already"):
            packed(given, home, **options)
    assert shards(home) == before


def test_a_full_disk_is_said_and_nothing_half_written_is_left(given, tmp_path, room_for):
    with room_for(30_000), pytest.raises(UserError, match="cannot write"):
        packed(given, tmp_path / "shards", shard_mb=9)
    assert not (tmp_path / "shards").exists() or not [*(tmp_path / "shards").iterdir()]


def test_the_command_line_says_what_it_lacks(given, tmp_path, capsys):
    assert cli.main(["pack", "-i", str(given / "audio"), "-o", str(tmp_path / "x")]) == 2
    assert "pack lacks a table; write `ssast pack -i RECORDINGS -d CSV -o SHARDS`" in capsys.readouterr().err


@pytest.mark.slow
def test_hugging_faces_datasets_read_the_folder_as_it_is(given, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    (given / "audio" / "0007" / "waveform.wav").write_bytes(b"nothing to hear")  # so that bad_audio.csv lies there too
    home = packed(given, tmp_path / "shards", on_bad_audio="skip")
    found = datasets.load_dataset(str(home), cache_dir=str(tmp_path / "cache"))
    assert {name: len(split) for name, split in found.items()} == {"train": 11, "test": 6}
    assert isinstance(found["train"].features["audio"], datasets.Audio)
    row = found["test"].cast_column("audio", datasets.Audio(decode=False))[0]
    assert row["audio"]["bytes"] == (given / "audio" / row["uid"] / "waveform.wav").read_bytes()


@pytest.mark.slow
def test_packing_that_is_killed_at_random_moments_ends_with_the_same_bytes(tmp_path, warm_modes):
    """SIGKILL, of a process with two that read; each start goes on from the last until one comes to the end."""
    corpus = make_corpus(tmp_path / "corpus", train=150, test=50, seconds=0.2)
    words = ["pack", "-i", str(corpus.audio), "-d", str(corpus.splits)]
    words += ["--row_group_mb", "0.05", "--shard_mb", "0.1", "--num_workers", "2", "-o"]

    def start(out):
        code = f"import sys\nfrom ssast import cli\nsys.exit(cli.main({[*words, str(out)]!r}))"
        return warm_modes.start(code, os.environ)

    done = start(tmp_path / "whole").end()
    assert done.returncode == 0, done.stderr
    waiting, chance, finished = tmp_path / "shards" / WAITING, random.Random(0), 0
    for _ in range(60):
        process = start(tmp_path / "shards")
        finished += chance.randrange(8)
        while not process.has_ended() and len(list(waiting.glob("*.parquet"))) < finished:
            time.sleep(0.001)
        time.sleep(chance.uniform(0, 0.05))
        process.kill()
        done = process.end()
        if done.returncode == 0 or "holds shards already" in done.stderr:  # it was killed after its work was done
            break
        assert done.returncode == -signal.SIGKILL or "is in use by pack" in done.stderr, done.stderr
    assert shards(tmp_path / "shards") == shards(tmp_path / "whole")
    assert not list((tmp_path / "shards").glob(".unfinished*"))
