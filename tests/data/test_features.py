"""Pooled states on disk: what finds them again, what does not, and what a run reads of them."""

from pathlib import Path

import numpy as np
import pytest
import torch

from ssast.data import features
from ssast.data.dataset import AudioDataset
from ssast.data.features import FeatureStore, PooledBatches, States, StatesTable, weights_name
from ssast.data.loader import loader
from ssast.data.storage.cache import Cache
from ssast.errors import UserError

OWN = States(("ft_avgtok",), (3, 13), 4)
WHOLE = States(("ft_cls", "ft_avgtok"), tuple(range(14)), 4)


@pytest.fixture
def disk(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache", 10**9)


def values(states: States, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(states.shape).astype(np.float32)


def kept_files(disk: Cache) -> list[Path]:
    return [path for path in (disk.folder / "files").rglob("*") if path.is_file()]


def test_kept_states_come_back_to_the_byte(disk):
    FeatureStore(disk, "base", OWN, WHOLE).keep("clip", values(OWN))
    assert np.array_equal(FeatureStore(disk, "base", OWN, WHOLE).find("clip"), values(OWN))


@pytest.mark.parametrize(
    ("made_by", "states", "content"),
    [("other weights", OWN, "clip"), ("base", States(("ft_cls",), (3, 13), 4), "clip"), ("base", OWN, "other clip")],
    ids=["weights", "states", "recording"],
)
def test_what_was_made_otherwise_is_not_found(disk, made_by, states, content):
    FeatureStore(disk, "base", OWN, WHOLE).keep("clip", values(OWN))
    assert FeatureStore(disk, made_by, states, WHOLE).find(content) is None


def test_a_clip_whose_every_state_is_kept_serves_any_choice(disk):
    FeatureStore(disk, "base", WHOLE, WHOLE).keep("clip", values(WHOLE))
    found = FeatureStore(disk, "base", OWN, WHOLE).find("clip")
    assert np.array_equal(found, values(WHOLE)[1:, [3, 13]])


def test_a_recording_may_have_states_of_any_number_of_windows(disk):
    windows = np.stack([values(WHOLE, seed) for seed in (1, 2, 3)])
    FeatureStore(disk, "base", WHOLE, WHOLE, in_windows=True).keep("clip", windows)
    found = FeatureStore(disk, "base", OWN, WHOLE, in_windows=True).find("clip")
    assert np.array_equal(found, windows[:, 1:, [3, 13]])
    table = StatesTable(disk, ["a", "b"], WHOLE)
    table.put("b", windows)
    table.put("a", windows[:1])
    table.finish()
    assert table.windows(["a", "b"]) == [1, 3]
    assert np.array_equal(table.read(["a", "b"], OWN), np.concatenate([windows[:1], windows])[:, 1, [3, 13]])


def test_damaged_states_are_not_believed(disk):
    store = FeatureStore(disk, "base", OWN, WHOLE)
    store.keep("clip", values(OWN))
    (file,) = kept_files(disk)
    content = bytearray(file.read_bytes())
    content[5] ^= 1
    file.write_bytes(content)
    assert store.find("clip") is None
    store.keep("clip", values(OWN))
    assert np.array_equal(store.find("clip"), values(OWN))


def test_states_that_were_written_half_are_not_there(disk, monkeypatch):
    def full(self, data):
        raise OSError(28, "No space left on device")

    store = FeatureStore(disk, "base", OWN, WHOLE)
    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", full)
        with pytest.raises(UserError, match="cannot write the cache"):
            store.keep("clip", values(OWN))
    assert store.find("clip") is None
    assert kept_files(disk) == []


def test_the_least_recently_used_states_make_room(tmp_path):
    disk = Cache(tmp_path / "cache", 10 * (OWN.bytes + features.CHECKSUM_BYTES))
    store = FeatureStore(disk, "base", OWN, WHOLE)
    for number in range(25):
        store.keep(f"clip {number}", values(OWN, number))
    assert sum(file.stat().st_size for file in kept_files(disk)) <= disk.limit
    assert store.find("clip 0") is None
    assert np.array_equal(store.find("clip 24"), values(OWN, 24))


def test_every_weight_is_part_of_the_name():
    module = torch.nn.Linear(3, 2)
    before = weights_name(module)
    assert weights_name(module) == before
    with torch.no_grad():
        module.bias[1] += 1e-7
    assert weights_name(module) != before
    assert weights_name(module.to(torch.bfloat16)) != before


def test_a_table_gives_the_rows_that_are_asked_for(disk):
    table = StatesTable(disk, ["a", "b", "c"], WHOLE)
    assert table.put("c", values(WHOLE, 3))
    assert table.put("a", values(WHOLE, 1))
    assert not table.put("b", None)
    table.finish()
    assert ("a" in table, "b" in table, "c" in table) == (True, False, True)
    read = table.read(["c", "a"], OWN)
    assert np.array_equal(read, np.stack([values(WHOLE, 3), values(WHOLE, 1)])[:, 1, [3, 13]])
    assert table.read([], OWN).shape == (0, 2, 4)


def test_a_table_stays_on_the_disk_and_goes_with_the_run(disk):
    table = StatesTable(disk, ["a"], WHOLE)
    table.put("a", values(WHOLE))
    table.finish()
    assert isinstance(table._values, np.memmap)
    assert [path.stat().st_size for path in (disk.folder / "held").glob("*/states")] == [WHOLE.bytes]
    del table
    assert list((disk.folder / "held").iterdir()) == []


def test_a_table_that_cannot_be_written_says_what_to_do(disk, monkeypatch):
    table = StatesTable(disk, ["a"], WHOLE)
    monkeypatch.setattr(table, "_file", open("/dev/full", "wb"))  # noqa: SIM115 - the table closes it
    table._file.write(b"much")
    with pytest.raises(UserError, match="set SSAST_CACHE to another folder, or pass --features never"):
        table.finish()
    monkeypatch.undo()


def test_pooled_batches_come_in_the_order_of_the_recordings(corpus, disk):
    (corpus.audio / "0004" / "waveform.wav").write_bytes(b"no sound")
    frame = corpus.frame()
    data = AudioDataset(frame, list(corpus.labels), {}, str(corpus.audio), with_fbank=False)
    heard = loader(data, batch_size=5, shuffle_seed=3, on_bad_audio="skip")
    table = StatesTable(disk, data.uids, OWN)
    for number, uid in enumerate(data.uids):
        table.put(uid, None if uid == "0004" else values(OWN, number))
    pooled = PooledBatches(heard, table.finish(), OWN)
    for epoch, start in ((0, 0), (1, 0), (1, 2)):
        expected = list(heard.at(epoch, start))
        found = list(pooled)
        assert [batch["uid"] for batch in found] == [batch["uid"] for batch in expected]
        for one, other in zip(found, expected, strict=True):
            assert torch.equal(one["targets"], other["targets"])
            own = [values(OWN, data.uids.index(uid))[0] for uid in one["uid"]]
            assert np.array_equal(one["pooled"], np.stack(own))
