"""What the real writers raise on a full disk becomes one sentence, and no stray file stays."""

import errno
import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import save_file

from ssast.data.storage.atomic_writes import atomic_file, atomic_folder, disk_error, while_the_disk_has_room
from ssast.errors import UserError

ROOM = 20_000
NUMBERS = np.random.default_rng(0).random(100_000)


def by_torch(path):
    with open(path, "wb") as file:
        torch.save({"a": torch.ones(100_000)}, file)


def by_safetensors(path):
    save_file({"a": torch.ones(100_000)}, path)


def by_pyarrow(path):
    pq.write_table(pa.table({"a": NUMBERS}), path)


def by_pyarrow_in_pieces(path):
    with pq.ParquetWriter(path, pa.schema([("a", pa.float64())])) as writer:
        writer.write_table(pa.table({"a": NUMBERS}))


def by_pandas(path):
    pd.DataFrame({"a": NUMBERS}).to_csv(path)


def by_json(path):
    path.write_text(json.dumps(NUMBERS.tolist()))


def by_numpy(path):
    with open(path, "wb") as file:
        np.savez_compressed(file, a=NUMBERS)


def by_matplotlib(path):
    figure = pytest.importorskip("matplotlib.figure").Figure(figsize=(8, 8))
    figure.add_subplot().imshow(NUMBERS.reshape(250, 400))
    figure.savefig(path, format="png", dpi=200)


def by_onnx(path):
    onnx = pytest.importorskip("onnx")
    values = onnx.numpy_helper.from_array(NUMBERS, "values")
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph([], "graph", [], [], [values])), path)


WRITERS = [each for name, each in list(globals().items()) if name.startswith("by_")]


@pytest.mark.parametrize("write", WRITERS)
def test_each_writer_on_a_full_disk_gives_a_sentence_and_leaves_what_was_there(write, tmp_path, room_for):
    (tmp_path / "result").write_text("before")
    with room_for(ROOM), pytest.raises(UserError) as caught, atomic_file(tmp_path / "result") as beside:
        write(beside)
    expected = (
        f"cannot write {tmp_path / 'result'}: file too large; free space, change the rights or choose another place."
    )
    assert str(caught.value) == expected
    assert [path.name for path in tmp_path.iterdir()] == ["result"]
    assert (tmp_path / "result").read_text() == "before"


@pytest.mark.parametrize("write", WRITERS)
def test_each_writer_in_a_folder_that_is_made_whole_gives_a_sentence(write, tmp_path, room_for):
    with (
        room_for(ROOM),
        pytest.raises(UserError, match="folder: file too large"),
        atomic_folder(tmp_path / "folder") as new,
    ):
        write(new / "result")
    assert not list(tmp_path.iterdir())


def test_a_device_that_is_full_is_told_wherever_it_shows(tmp_path):
    with (
        pytest.raises(UserError, match=r"out: no space left on device; free space"),
        while_the_disk_has_room("out"),
        open("/dev/full", "w") as file,
    ):
        file.write("x")


def test_a_quota_counts_as_a_full_disk_and_a_missing_file_does_not():
    assert disk_error(OSError(errno.EDQUOT, "Disk quota exceeded")) == errno.EDQUOT
    assert disk_error(FileNotFoundError(errno.ENOENT, "No such file")) is None
    assert disk_error(RuntimeError("size mismatch for weight")) is None
    with pytest.raises(RuntimeError, match="size mismatch"), while_the_disk_has_room("out"):
        raise RuntimeError("size mismatch for weight")


def refuse_after_full_disk():
    try:
        raise OSError(errno.ENOSPC, "No space left on device")
    except OSError as error:
        raise UserError("the label is empty") from error


def test_a_sentence_stays_as_it_is(tmp_path):
    with pytest.raises(UserError, match=r"^the label is empty$"), while_the_disk_has_room(tmp_path):
        refuse_after_full_disk()
