"""Shards on their way to a bucket."""

import pytest

import ssast
from ssast.data.storage import location
from ssast.errors import UserError

HOW = {"row_group_mb": 0.05, "shard_mb": 0.1, "num_workers": 0}


def packed(corpus, to, **how):
    return ssast.pack(prefix=corpus.audio, data_split_root=corpus.splits, exp_dir=to, **{**HOW, **how})


@pytest.fixture
def whole(corpus, tmp_path, fresh) -> dict[str, bytes]:
    """The shards of the corpus as a folder has them."""
    packed(corpus, tmp_path / "here")
    return {path.name: path.read_bytes() for path in (tmp_path / "here").glob("*.parquet")}


def there(store, bucket: str) -> dict[str, bytes]:
    names = [name for name in store.names(bucket) if name.endswith(".parquet")]
    return {name.removeprefix("shards/"): store.get(bucket, name) for name in names}


def test_shards_go_straight_into_a_bucket_and_back_out_of_it(gs, corpus, tmp_path, whole):
    gs.bucket("straight")
    packed(corpus, "gs://straight/shards")
    assert there(gs, "straight") == whole
    assert "shards/run.yaml" in gs.names("straight")
    assert not list((tmp_path / "cache" / "packing").rglob("*.parquet"))
    ssast.unpack(prefix="gs://straight/shards", exp_dir=tmp_path / "back", num_workers=0)
    for path in corpus.audio.rglob("*.*"):
        assert (tmp_path / "back" / "recordings" / path.relative_to(corpus.audio)).read_bytes() == path.read_bytes()
    with pytest.raises(UserError, match="holds shards already"):
        packed(corpus, "gs://straight/shards")


def test_recordings_of_a_bucket_are_packed_as_those_of_a_folder(gs, corpus, tmp_path, whole):
    gs.bucket("recordings")
    gs.put_folder("recordings", corpus.audio, "audio/")
    ssast.pack(prefix="gs://recordings/audio", data_split_root=corpus.splits, exp_dir=tmp_path / "shards", **HOW)
    assert {path.name: path.read_bytes() for path in (tmp_path / "shards").glob("*.parquet")} == whole


def test_a_bucket_that_goes_away_is_said_and_the_next_start_sends_the_rest(gs, proxy, impatient, corpus, whole):
    gs.bucket("away")
    sent = []

    def refuse(method: str, path: str) -> int | None:
        if method == "POST" and "/upload/" in path:
            sent.append(path)
        return 403 if len(sent) > 2 else None

    proxy.refuse = refuse
    with pytest.raises(UserError, match="cannot write gs://away/shards/") as raised:
        packed(corpus, "gs://away/shards")
    assert "\n" not in str(raised.value)
    assert set(there(gs, "away")) < set(whole)
    kept = len(there(gs, "away"))
    proxy.refuse = lambda method, path: None
    location.forget()
    sent.clear()
    before = len(proxy.uploads())
    packed(corpus, "gs://away/shards")
    assert there(gs, "away") == whole
    assert len(proxy.uploads()) - before < len(whole) + 4 - kept + 1
