"""A resumable pass: every clip once, in order, the same bytes in any batch, and what a kill leaves is gone on from."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from ssast.audio.frontend import Frontend
from ssast.data.prepare import Prepare
from ssast.engine import inference
from ssast.engine.hardware import engine
from ssast.errors import UserError

torch.set_num_threads(1)
DATA = torch.randn(21, 64, generator=torch.Generator().manual_seed(1))
WEIGHT = torch.randn(64, 48, generator=torch.Generator().manual_seed(2))


def batches(size=4, rows=21, skipped=()):
    """The batches from one number to another; those numbered in `skipped` have lost all their clips."""

    def between(start, stop):
        for number in range(start, stop):
            part = list(range(number * size, min((number + 1) * size, rows)))
            kept = [] if number in skipped else part
            yield {"uid": [f"{row:03d}" for row in kept], "x": DATA[kept], "frames": torch.tensor(kept)}

    return between


def project(batch):
    return torch.tanh(batch["x"] @ WEIGHT)


def run(folder, apply=project, *, size=4, key="a", rows=21, skipped=()):
    return inference.run_inference(
        apply,
        batches(size, rows, skipped),
        steps=-(-rows // size),
        folder=folder / "parts",
        key=key,
        engine=engine("cpu", "fp32"),
        title="test",
    )


def read(done, folder):
    """(uids, values as bytes) of a finished pass."""
    count = done.write_parquet(folder / "all.pqt", "embedding")
    table = pq.read_table(folder / "all.pqt")
    assert table.num_rows == count
    return table["uid"].to_pylist(), np.array(table["embedding"].to_pylist(), dtype=np.float32).tobytes()


@pytest.fixture
def every_batch_a_part(monkeypatch):
    monkeypatch.setattr(inference, "SECONDS_A_PART", -1.0)


def test_every_clip_comes_out_once_in_order(tmp_path):
    uids, values = read(run(tmp_path), tmp_path)
    assert uids == [f"{row:03d}" for row in range(21)]
    expected = project({"x": DATA}).numpy()
    np.testing.assert_allclose(np.frombuffer(values, dtype=np.float32).reshape(21, 48), expected, atol=1e-6)
    assert pq.read_schema(tmp_path / "all.pqt").names == ["uid", "embedding"]


@pytest.mark.parametrize("size", [1, 3, 7, 8, 21, 64])
def test_the_size_of_the_batches_changes_no_byte(tmp_path, size):
    assert read(run(tmp_path / "a", size=4), tmp_path) == read(run(tmp_path / "b", size=size), tmp_path)


def test_the_longest_clip_of_a_batch_has_the_bytes_that_it_has_beside_a_longer_one():
    """Parts of a run gave other last digits to clips that ended their batch at a place that no full lane reaches."""
    prepare = Prepare(Frontend(num_mel_bins=32, target_length=48, mean=-4.0, std=4.0))
    dice = torch.Generator().manual_seed(0)
    for samples in range(3001, 7000, 61):
        alone, beside = torch.zeros(1, samples), torch.zeros(1, 9000)
        alone[0] = beside[0, :samples] = 0.3 * torch.randn(samples, generator=dice) + 0.2
        of = [
            {"uid": ["a"], "waveform": waveform, "lengths": torch.tensor([samples]), "targets": torch.empty(1, 0)}
            for waveform in (alone, beside)
        ]
        found = [inference.on_device(lambda batch: prepare(batch)["fbank"], one, torch.device("cpu")) for one in of]
        assert torch.equal(*found), samples


def test_on_a_cpu_the_model_always_sees_the_same_number_of_clips(tmp_path):
    """Matrix kernels depend on the number of rows, so a clip alone once differed from itself in a batch, at 1e-7."""
    seen = []
    run(tmp_path, lambda batch: (seen.append((len(batch["uid"]), len(batch["x"]))), project(batch))[1], size=5)
    assert set(seen) == {(inference.CPU_CLIPS, inference.CPU_CLIPS)}


def test_loaders_are_asked_for_whole_pieces_on_a_cpu_only():
    assert [inference.loader_size(size, torch.device("cpu")) for size in (1, 8, 9)] == [8, 8, 16]
    assert inference.loader_size(9, torch.device("cuda")) == 9


@pytest.mark.usefixtures("every_batch_a_part")
@pytest.mark.parametrize("calls_before", [0, 1, 4, 5])
def test_a_pass_that_was_cut_off_goes_on_where_its_last_part_ends(tmp_path, calls_before):
    whole = read(run(tmp_path / "whole"), tmp_path)
    calls = []

    def dying(batch):
        if len(calls) == calls_before:
            raise KeyboardInterrupt
        calls.append(batch["uid"])
        return project(batch)

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", dying)
    again = []
    done = run(tmp_path / "cut", lambda batch: (again.append(batch["uid"]), project(batch))[1])
    assert len(again) == 6 - calls_before
    assert read(done, tmp_path) == whole


@pytest.mark.usefixtures("every_batch_a_part")
def test_parts_of_another_pass_are_not_mixed_in(tmp_path):
    run(tmp_path, lambda batch: project(batch) + 1, key="other")
    assert read(run(tmp_path, key="mine"), tmp_path) == read(run(tmp_path / "new", key="mine"), tmp_path)


@pytest.mark.usefixtures("every_batch_a_part")
def test_a_key_that_was_half_written_counts_as_another(tmp_path):
    run(tmp_path, lambda batch: project(batch) + 1)
    (tmp_path / "parts" / "key.json").write_text("")
    assert read(run(tmp_path), tmp_path) == read(run(tmp_path / "new"), tmp_path)


def test_a_finished_pass_of_the_same_key_is_not_computed_again(tmp_path):
    first = read(run(tmp_path), tmp_path)

    def refuse(batch):
        raise AssertionError("it computes")

    assert read(run(tmp_path, refuse), tmp_path) == first


@pytest.mark.usefixtures("every_batch_a_part")
def test_a_batch_whose_recordings_were_all_left_out_is_passed_over(tmp_path):
    uids, _ = read(run(tmp_path, skipped=(0, 3)), tmp_path)
    assert uids == [f"{row:03d}" for row in range(21) if row // 4 not in (0, 3)]


def test_a_pass_that_cannot_be_finished_leaves_no_half_part(tmp_path, room_for):
    with room_for(300), pytest.raises(UserError, match=r"cannot write .*part-.*\.parquet: file too large"):
        run(tmp_path)
    assert [path.name for path in (tmp_path / "parts").iterdir()] == ["key.json"]


def test_what_is_left_of_a_pass_can_be_removed(tmp_path):
    done = run(tmp_path)
    assert json.loads((tmp_path / "parts" / "key.json").read_text()) == "a"
    done.remove()
    assert not (tmp_path / "parts").exists()


def test_only_the_gaps_between_the_parts_are_computed(tmp_path, every_batch_a_part):
    """A process of several that died leaves a gap in the middle."""
    whole = read(run(tmp_path / "whole"), tmp_path)
    done = run(tmp_path)
    for part in done.parts[1:3]:
        part.unlink()
    seen = []
    again = run(tmp_path, lambda batch: (seen.append(batch["uid"][0]), project(batch))[1])
    assert seen == ["004", "008"]
    assert read(again, tmp_path) == whole


@pytest.mark.usefixtures("every_batch_a_part")
def test_what_only_bears_the_name_of_a_part_is_computed_again(tmp_path):
    """A broken disk, or the folder of a stranger."""
    once = read(run(tmp_path), tmp_path)
    parts = sorted((tmp_path / "parts").glob("part-*.parquet"))
    parts[1].write_bytes(b"PAR1 and no more")
    (tmp_path / "parts" / "part-x.parquet").write_text("no part")
    (tmp_path / "parts" / "part-000000001-x.parquet").mkdir()
    assert read(run(tmp_path), tmp_path) == once
