import io
import itertools
import pickle
import queue
import shutil
import time

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from ssast.data.audio_files import find_audio
from ssast.data.dataset import AudioDataset
from ssast.data.known_lengths import known_frames
from ssast.data.loader import loader
from ssast.data.prepare import AudioSettings
from ssast.data.recordings import load_recording, metadata_of
from ssast.data.shards import shards as held
from ssast.data.shards.collection import opened, opened_anew
from ssast.data.shards.row_groups import Ahead, value_places
from ssast.data.storage.cache import cache
from ssast.data.storage.fingerprints import recording_fingerprints
from ssast.data.storage.location import Location
from ssast.errors import AudioError, UserError


def as_in_folders(corpus, shards, uids):
    for uid in uids:
        expected, found = load_recording(Location(corpus.audio), uid), load_recording(Location(shards), uid)
        assert torch.equal(found.waveform, expected.waveform)
        assert found.sample_rate == expected.sample_rate


def test_a_recording_in_a_shard_is_the_one_in_its_folder(still_corpus, still_shards):
    as_in_folders(still_corpus, still_shards, [*still_corpus.frame().index, *still_corpus.frame("test").index])
    assert metadata_of(Location(still_shards), "0003") == {"encoding": "WAV", "sample_rate_hz": 16000}


@pytest.mark.parametrize("compression", ["snappy", "zstd"])
def test_compressed_shards_are_laid_out_once_and_read_the_same(
    still_corpus, tmp_path, compression, monkeypatch, shards_of
):
    monkeypatch.setenv("SSAST_CACHE", str(tmp_path / "cache"))
    frame = still_corpus.frame()
    shards = shards_of(tmp_path / "shards", still_corpus.audio, {"train": frame}, compression=compression)
    as_in_folders(still_corpus, shards, frame.index)


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("sizes", [(3, 0, 70_000, 5), (40,) * 500])
def test_the_places_of_values_are_where_pyarrow_reads_them(tmp_path, version, sizes):
    rng = np.random.default_rng(0)
    values = [rng.bytes(size) for size in sizes]
    table = pa.table({"sound": pa.array(values, pa.binary())})
    how = {"compression": "none", "use_dictionary": False, "data_page_version": version, "data_page_size": 8000}
    pq.write_table(table, tmp_path / "a.parquet", **how)
    content = (tmp_path / "a.parquet").read_bytes()
    column = pq.read_metadata(tmp_path / "a.parquet").row_group(0).column(0)
    stop = column.data_page_offset + column.total_compressed_size
    begins, lengths = value_places(lambda a, b: content[a:b], column.data_page_offset, stop, levels=True)
    assert [content[at : at + count] for at, count in zip(begins, lengths, strict=True)] == values
    with pytest.raises(ValueError, match="page"):
        value_places(lambda a, b: content[a:b], column.data_page_offset, column.data_page_offset + 3, levels=True)


def test_the_table_of_shards_is_the_csv(still_corpus, still_shards):
    collection = opened(Location(still_shards))
    assert collection.tables() == ["test", "train"]
    found = pd.read_csv(io.StringIO(collection.table("train").read_text()), dtype={"uid": str}).set_index("uid")
    pd.testing.assert_frame_equal(found, still_corpus.frame())


def test_a_footer_tells_the_table_and_rows_that_differ_are_refused(still_corpus, tmp_path, shards_of):
    frame = still_corpus.frame()
    shards = shards_of(tmp_path / "shards", still_corpus.audio, {"train": frame}, told=True)
    assert opened(Location(shards)).table("train").read_bytes() == frame.to_csv().encode()
    as_in_folders(still_corpus, shards, frame.index)
    root = damaged(shards, tmp_path, rewritten(lambda table: with_uids(table, [*frame.index[1:], "0000"])))
    with pytest.raises(UserError, match="is damaged: its rows are not those of its csv"):
        load_recording(root, "0001")


def test_batches_of_a_data_set_are_those_from_folders_with_any_number_of_workers(still_corpus, still_shards):
    frame = still_corpus.frame()

    def batches(prefix, workers, context=None):
        data = AudioDataset(frame, ["high"], {}, prefix, with_fbank=False)
        return list(loader(data, batch_size=5, num_workers=workers, context=context))

    expected = batches(still_corpus.audio, 0)
    for how in ((0,), (2, "fork"), (1, "spawn")):
        for batch, other in zip(expected, batches(still_shards, *how), strict=True):
            assert batch["uid"] == other["uid"]
            assert torch.equal(batch["waveform"], other["waveform"])


def test_shuffled_batches_are_the_same_with_any_number_of_workers_and_from_any_start(still_corpus, still_shards):
    data = AudioDataset(still_corpus.frame(), ["high"], {}, still_shards, with_fbank=False)

    def uids(**how):
        return [batch["uid"] for batch in loader(data, batch_size=2, shuffle_seed=3, epoch=1, **how)]

    whole = uids()
    assert uids(num_workers=2) == whole
    assert uids(start=2) == whole[2:]
    assert sorted(itertools.chain.from_iterable(whole)) == sorted(data.uids)


def test_headers_in_shards_tell_how_long_recordings_are(still_corpus, still_shards):
    uids, audio = [*still_corpus.frame().index, "gone"], AudioSettings(target_length=200)
    expected = known_frames(Location(still_corpus.audio), uids, audio)
    assert known_frames(Location(still_shards), uids, audio) == expected
    assert expected[0] is not None


def test_a_recording_of_a_shard_has_a_name_of_its_own_that_lasts_until_the_shard_changes(
    still_corpus, tmp_path, shards_of
):
    tables = {"train": still_corpus.frame()}
    shards = shards_of(tmp_path / "shards", still_corpus.audio, tables)
    uids = list(tables["train"].index)

    def names():
        opened_anew(Location(shards))
        return list(recording_fingerprints(Location(shards), [*uids, "gone"], cache(1)))

    first = names()
    assert first[-1] is None
    assert len(set(first)) == len(uids) + 1
    assert names() == first
    shards_of(shards, still_corpus.audio, {"train": tables["train"][::-1]})
    assert not set(names()[:-1]) & set(first)


def test_shards_travel_to_another_process(still_corpus, still_shards):
    found = pickle.loads(pickle.dumps(opened(Location(still_shards))))
    file = found.find("0003").location
    assert file.read_bytes() == (still_corpus.audio / "0003" / "waveform.wav").read_bytes()
    assert pickle.loads(pickle.dumps(file)).read_bytes() == file.read_bytes()


def test_few_row_groups_are_open_at_a_time(still_shards, monkeypatch):
    monkeypatch.setattr(held, "OPEN_GROUPS", 2)
    shards = held.Shards(Location(still_shards))
    for uid in [*shards.uids, *shards.uids]:
        assert shards.find(uid).location.read_bytes()
        assert len(shards._open) <= 2


def test_files_of_shards_are_found_for_predicting(still_shards):
    files = find_audio([Location(still_shards)])
    assert [str(file) for file in files][:1] == [f"{still_shards}/0012/waveform.wav"]
    assert len(files) == 18


def test_without_uids_the_name_of_the_file_is_the_uid_or_table_and_number(still_corpus, tmp_path, shards_of):
    frame = still_corpus.frame()
    own = shards_of(tmp_path / "own", still_corpus.audio, {"train": frame}, leave_out=("uid", "ssast_metadata"))
    assert list(opened(Location(own)).uids) == list(frame.index)
    as_in_folders(still_corpus, own, frame.index)
    alike = shards_of(tmp_path / "alike", still_corpus.audio, {"train": frame}, leave_out=("uid",))
    assert list(opened(Location(alike)).uids)[:2] == ["train-0", "train-1"]


def damaged(shards, tmp_path, change):
    own = tmp_path / "damaged"
    shutil.copytree(shards, own)
    place = own / "train-00000-of-00001.parquet"
    change(place)
    return Location(own)


def rewritten(change):
    def apply(place):
        pq.write_table(change(pq.read_table(place)), place, row_group_size=4, compression="none")

    return apply


def with_uids(table, uids):
    return table.set_column(table.column_names.index("uid"), "uid", pa.array(uids, pa.string()))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda place: place.write_bytes(place.read_bytes()[:-100]), "no whole Parquet file"),
        (lambda place: place.write_bytes(b"PAR1"), "no whole Parquet file"),
        (lambda place: place.rename(place.with_name("train-00000-of-00002.parquet")), "lacks train-00001-of-00002"),
        (rewritten(lambda table: table.drop(["audio"])), "no column of sound"),
        (rewritten(lambda table: with_uids(table, ["a", None] * 6)), "row 1 of .* has no uid"),
        (rewritten(lambda table: with_uids(table, ["a"] * 12)), "1 uid.* more than once: a;"),
        (rewritten(lambda table: table.drop(["uid"])), "give a folder whose shards are alike"),
    ],
)
def test_damaged_shards_give_one_sentence(still_shards, tmp_path, change, words):
    with pytest.raises(UserError, match=words):
        opened(damaged(still_shards, tmp_path, change))


def without_sound(table):
    kind = table.schema.field("audio").type
    cells = table.column("audio").to_pylist()
    cells[2]["bytes"] = None
    return table.set_column(1, "audio", pa.array(cells, kind))


def test_a_row_without_sound_or_of_no_uid_is_bad_by_itself(still_corpus, still_shards, tmp_path):
    root = damaged(still_shards, tmp_path, rewritten(without_sound))
    with pytest.raises(AudioError, match=r"clip 0002: its row in .* holds no sound"):
        load_recording(root, "0002")
    as_in_folders(still_corpus, root.path, ["0001", "0003"])
    with pytest.raises(AudioError, match=r"clip gone: .* has no row of this uid"):
        load_recording(root, "gone")


def test_a_shard_whose_middle_is_damaged_gives_one_sentence(still_shards, tmp_path):
    def overwrite(place):
        content = bytearray(place.read_bytes())
        begin = pq.read_metadata(place).row_group(0).column(1).data_page_offset
        content[begin : begin + 40] = b"\xff" * 40
        place.write_bytes(bytes(content))

    with pytest.raises(UserError, match=r"is damaged: row group 0 .*; get a whole copy of it\."):
        load_recording(damaged(still_shards, tmp_path, overwrite), "0000")


def test_a_folder_of_recordings_with_another_parquet_file_stays_one(still_corpus, tmp_path):
    shutil.copytree(still_corpus.audio, tmp_path / "audio")
    pq.write_table(pa.table({"a": [1]}), tmp_path / "audio" / "notes.parquet")
    assert opened(Location(tmp_path / "audio")) is None
    as_in_folders(still_corpus, tmp_path / "audio", ["0000"])


def test_what_fails_in_the_background_reaches_who_wants_it_and_the_row_groups_behind_it_come():
    seen = queue.SimpleQueue()

    def fetch(number):
        seen.put(number)
        if number in (1, 2):  # as many as there are threads
            raise OSError("the disk is full")

    ahead = Ahead(fetch)
    ahead.follow(range(5))
    ahead.want([0])
    assert sorted(seen.get(timeout=60) for _ in range(5)) == [0, 1, 2, 3, 4]
    patience = time.monotonic() + 60
    while len(ahead._errors) < 2 and time.monotonic() < patience:
        time.sleep(0.01)  # until both have noted what was raised
    with pytest.raises(OSError, match="the disk is full"):
        ahead.want([1])
    with pytest.raises(OSError, match="the disk is full"):
        ahead.want([1])  # tried anew
