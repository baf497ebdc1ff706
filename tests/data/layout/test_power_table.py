"""Parquet files of spectrograms: their rows, their names, and what is wrong with them."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ssast.data.layout.power_table import PowerTable
from ssast.data.storage.location import Location
from ssast.errors import AudioError, UserError


def write(path, rows, precision=None, **more) -> Location:
    kind = pa.list_(pa.list_(precision or pa.float32()))
    columns = {"participant_id": pa.array([f"P{row // 2}" for row in range(len(rows))])}
    columns |= {"session_id": pa.array([str(row % 2) for row in range(len(rows))]), **more}
    pq.write_table(pa.table({**columns, "spectrogram": pa.array(rows, kind)}), path, row_group_size=2)
    return Location(str(path))


def rows(count: int = 5) -> list:
    return [np.full((201, 4 + row), float(row)).tolist() for row in range(count)]


@pytest.mark.parametrize("precision", [pa.float16(), pa.float32(), pa.float64()])
def test_rows_are_read_from_any_row_group_and_precision(tmp_path, precision):
    table = PowerTable.of(write(tmp_path / "s.parquet", rows(), precision))
    assert list(table.names.values()) == ["P0_0", "P0_1", "P1_0", "P1_1", "P2_0"]
    for row in (5, 1, 4):
        found = table.power(row)
        assert found.shape == (201, 3 + row)
        assert set(found.unique().tolist()) == {row - 1.0}


def test_what_is_wrong_with_a_row_is_said(tmp_path):
    ragged = [[1.0] * (9 + at % 2) for at in range(201)]
    frames = pa.array([7, 5, None, None], pa.int64())
    table = PowerTable.of(write(tmp_path / "s.parquet", [rows(1)[0], None, ragged, rows(1)[0]], n_frames=frames))
    for row, said in ((1, "its row says n_frames 7, but its spectrogram has 4"), (2, "no spectrogram"), (3, "lengths")):
        with pytest.raises(AudioError, match=said):
            table.power(row)
    assert table.power(4).shape == (201, 4)


def test_a_file_without_spectrograms_is_refused(tmp_path):
    pq.write_table(pa.table({"audio": ["x"]}), tmp_path / "x.parquet")
    with pytest.raises(UserError, match="has no column spectrogram of lists of numbers, only audio"):
        PowerTable.of(Location(str(tmp_path / "x.parquet")))
    (tmp_path / "y.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(UserError, match="no readable Parquet file"):
        PowerTable.of(Location(str(tmp_path / "y.parquet")))
    assert PowerTable.of(Location(str(tmp_path))) is None
