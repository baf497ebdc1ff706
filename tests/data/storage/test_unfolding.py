"""Parquet files of which a few bytes stand for far more, or whose headers nobody wrote."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ssast.data.layout.power_table import PowerTable
from ssast.data.shards.collection import opened
from ssast.data.shards.row_groups import value_places
from ssast.data.spectrograms import _array
from ssast.data.storage import unfolding
from ssast.data.storage.location import Location
from ssast.errors import AudioError, UserError


def alone(folder, **columns):
    """One shard of these columns beside one recording a row."""
    folder.mkdir()
    rows = len(next(iter(columns.values())))
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    chance = np.random.default_rng(0)
    sounds = [chance.bytes(64) for _ in range(rows)] if rows <= 1000 else [b"RIFF"] * rows
    sound = pa.array([{"bytes": one, "path": "waveform.wav"} for one in sounds], kind)
    table = pa.table({"audio": sound, **columns})
    pq.write_table(table, folder / "train-00000-of-00001.parquet", compression="zstd")
    return Location(folder)


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"uid": lambda: ["a"] * 400_000}, "is said to have 400,000 recordings in"),
        ({"uid": lambda: ["z" * 600_000 + str(at) for at in range(60)]}, "it unfolds to more than"),
        ({"uid": lambda: ["a"], "ssast_metadata": lambda: [5]}, "ssast_metadata of .* is of the type int64"),
    ],
)
def test_a_few_bytes_that_stand_for_far_more_are_refused_before_they_are_unfolded(
    tmp_path, columns, words, monkeypatch
):
    monkeypatch.setattr(unfolding, "MOST_UNFOLDED_BYTES", 20 << 20)
    place = alone(tmp_path / "bomb", **{name: pa.array(made()) for name, made in columns.items()})
    assert (tmp_path / "bomb" / "train-00000-of-00001.parquet").stat().st_size < 200_000
    with pytest.raises(UserError, match=words):
        opened(place)


def test_a_cell_that_many_rows_share_is_counted_in_each(tmp_path, monkeypatch):
    monkeypatch.setattr(unfolding, "MOST_UNFOLDED_BYTES", 1 << 20)
    monkeypatch.setattr(unfolding, "_ROWS_BYTES", 1 << 18)
    place = alone(tmp_path / "few", uid=[str(at) for at in range(50)], said=["z" * 10_000] * 50)
    assert len(opened(place).table("train").read_bytes()) > 500_000
    place = alone(tmp_path / "many", uid=[str(at) for at in range(1000)], said=["z" * 10_000] * 1000)
    with pytest.raises(UserError, match="unfolds to more than"):
        opened(place).table("train").read_bytes()


def test_two_columns_of_one_name_and_days_that_no_calendar_has_are_one_sentence(tmp_path):
    place = alone(tmp_path / "years", uid=["a"], day=pa.array([2**62], pa.timestamp("us")))
    with pytest.raises(UserError, match="the column day of the shards holds a value"):
        opened(place).table("train").read_bytes()
    (tmp_path / "twice").mkdir()
    table = pq.read_table(place.path / "train-00000-of-00001.parquet")
    table = pa.Table.from_arrays([table["audio"], table["uid"], table["uid"]], names=["audio", "uid", "uid"])
    pq.write_table(table, tmp_path / "twice" / "train-00000-of-00001.parquet")
    with pytest.raises(UserError, match="has more than one column 'uid'"):
        opened(Location(tmp_path / "twice"))


@pytest.mark.parametrize(
    "head",
    [b"\x1c" * 6000, b"\x19\x19" * 3000, b"\x15\x00" * 3, b"\x15\x06\x15\x00\x15\x00\x5c\x00", b"\x00", b"\xff" * 90],
)
def test_headers_of_pages_that_nobody_wrote_are_damage(head):
    with pytest.raises(ValueError, match="page"):
        value_places(lambda a, b: head[a:b], 0, len(head), levels=True)


def test_a_header_that_holds_a_whole_value_is_read_to_its_end():
    """Some writers put the least and the largest value of a page into its header, whatever their length."""
    length = 200_000
    largest = b"\x18" + bytes([length & 127 | 128, length >> 7 & 127 | 128, length >> 14]) + bytes(length)
    header = b"\x15\x00\x15\x14\x15\x14\x2c\x15\x02\x15\x00\x15\x00\x15\x00\x1c" + largest + b"\x00\x00\x00"
    content = header + (6).to_bytes(4, "little") + b"sound!"
    places, lengths = value_places(lambda a, b: content[a:b], 0, len(content), levels=False)
    assert [content[place : place + size] for place, size in zip(places, lengths, strict=True)] == [b"sound!"]


def test_a_column_of_empty_pages_ends():
    page = b"\x15\x00\x15\x00\x15\x00\x2c\x15\x00\x15\x00\x15\x00\x15\x00\x00\x00"
    content = page * 5000
    with pytest.raises(ValueError, match="pages without end"):
        value_places(lambda a, b: content[a:b], 0, len(content), levels=False)


def spectrograms(path, **columns):
    kind = pa.list_(pa.list_(pa.float32()))
    columns = {name: pa.array(cells, kind if name == "spectrogram" else None) for name, cells in columns.items()}
    pq.write_table(pa.table(columns), path, compression="zstd")
    return Location(path)


def test_spectrograms_that_unfold_without_end_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(unfolding, "MOST_UNFOLDED_BYTES", 1 << 20)
    place = spectrograms(tmp_path / "rows.parquet", spectrogram=[None] * 300_000)
    with pytest.raises(UserError, match="is said to have 300,000 rows in"):
        PowerTable.of(place)
    place = spectrograms(tmp_path / "names.parquet", spectrogram=[[[0.0]]] * 200, participant_id=["x" * 9000] * 200)
    with pytest.raises(UserError, match=r"is said to have|unfolds to more than"):
        PowerTable.of(place)
    power = pa.array([[[0.0] * 5_000] * 100], pa.list_(pa.list_(pa.float32())))
    place = spectrograms(tmp_path / "values.parquet", spectrogram=power)
    with pytest.raises(UserError, match="unfolds to more than"):
        PowerTable.of(place).power(1)


@pytest.mark.parametrize("cells", [[{"a": 1.0}], [["a"]], [[[1.0]]]])
def test_lists_of_anything_else_are_no_spectrograms(tmp_path, cells):
    pq.write_table(pa.table({"spectrogram": [cells]}), tmp_path / "odd.parquet")
    with pytest.raises(UserError, match="has no column spectrogram of lists of numbers"):
        PowerTable.of(Location(tmp_path / "odd.parquet"))


def test_a_damaged_row_group_of_spectrograms_is_one_sentence(tmp_path):
    place = spectrograms(tmp_path / "s.parquet", spectrogram=[[[1.0] * 5] * 201])
    content = bytearray(place.path.read_bytes())
    content[4:40] = b"\xff" * 36
    place.path.write_bytes(content)
    with pytest.raises(UserError, match="is damaged: row group 0"):
        PowerTable.of(place).power(1)


@pytest.mark.parametrize("shape", [b"(-201, -5)", b"(1" + b"0" * 40 + b", 0)", b"(201,)", b"(" * 3000, b"(201, 5"])
def test_a_spectrogram_file_whose_head_cannot_be_is_one_sentence(shape):
    head = b"{'descr': '<f4', 'fortran_order': False, 'shape': " + shape + b", }"
    with pytest.raises(AudioError, match=r"its spectrogram\.npy"):
        _array(b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head + b"\0" * 4020)
