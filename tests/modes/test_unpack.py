"""Packed recordings and tables back as they were, and shards of strangers."""

import filecmp
import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import ssast
from ssast import cli
from ssast.data.shards.shard_schema import METADATA_COLUMN
from ssast.data.shards.unpacking import is_plain_name
from ssast.errors import UserError


@pytest.fixture(scope="module")
def shards(still_corpus, tmp_path_factory) -> Path:
    """The still_corpus in four shards or more."""
    to = tmp_path_factory.mktemp("packed") / "shards"
    how = {"row_group_mb": 0.05, "shard_mb": 0.1, "num_workers": 0}
    ssast.pack(prefix=still_corpus.audio, data_split_root=still_corpus.splits, exp_dir=to, **how)
    return to


@pytest.fixture
def own(shards, tmp_path) -> Path:
    """A copy that a test may spoil."""
    shutil.copytree(shards, tmp_path / "shards")
    return tmp_path / "shards"


def unpacked(shards, to):
    return ssast.unpack(prefix=shards, exp_dir=to, num_workers=0)


def differing(one: Path, other: Path) -> list[str]:
    names = {path.relative_to(root).as_posix() for root in (one, other) for path in root.rglob("*") if path.is_file()}
    _, different, absent = filecmp.cmpfiles(one, other, sorted(names), shallow=False)
    return different + absent


def respoilt(path: Path, change) -> None:
    """Write a shard again with other columns, but its own notes."""
    notes = pq.read_metadata(path).metadata
    table = change(pq.read_table(path))
    kept = {key: value for key, value in notes.items() if key not in (b"ARROW:schema",)}
    pq.write_table(table.replace_schema_metadata(kept), path)


def with_names(name: str, uid: str | None = None):
    def change(table: pa.Table) -> pa.Table:
        rows = table.to_pylist()
        rows[0]["audio"]["path"] = name
        rows[0]["uid"] = uid or rows[0]["uid"]
        return pa.Table.from_pylist(rows, schema=table.schema)

    return change


def test_recordings_and_tables_come_back_byte_for_byte(still_corpus, shards, tmp_path, capsys):
    unpacked(shards, tmp_path / "back")
    assert differing(tmp_path / "back" / "recordings", still_corpus.audio) == []
    assert differing(tmp_path / "back" / "splits", still_corpus.splits) == []
    assert "18 recordings and 2 tables" in capsys.readouterr().out


def test_a_csv_comes_back_as_it_was_typed_whatever_is_in_it(still_corpus, tmp_path):
    text = '\ufeffuid;high;"said\r\nby"\r\n 0003 ;1,5;"a;b"\r\n0001;;\r\n'
    (tmp_path / "odd.csv").write_bytes(text.encode())
    ssast.pack(prefix=still_corpus.audio, data_split_root=tmp_path / "odd.csv", exp_dir=tmp_path / "odd", num_workers=0)
    unpacked(tmp_path / "odd", tmp_path / "back")
    assert (tmp_path / "back" / "splits" / "odd.csv").read_bytes() == text.encode()
    assert sorted(path.name for path in (tmp_path / "back" / "recordings").iterdir()) == ["0001", "0003"]


def test_what_was_left_out_is_counted_and_its_row_stays(still_corpus, tmp_path, capsys):
    shutil.copytree(still_corpus.folder, tmp_path / "given")
    shutil.rmtree(tmp_path / "given" / "audio" / "0002")
    given = {"prefix": tmp_path / "given" / "audio", "data_split_root": tmp_path / "given" / "splits"}
    ssast.pack(**given, exp_dir=tmp_path / "some", num_workers=0, on_bad_audio="skip")
    unpacked(tmp_path / "some", tmp_path / "back")
    assert "the tables name 1 recording more" in capsys.readouterr().out
    assert differing(tmp_path / "back" / "splits", still_corpus.splits) == []


def test_a_recording_of_two_tables_comes_back_once(still_corpus, tmp_path):
    for name in ("train", "test"):
        (tmp_path / f"{name}.csv").write_text("uid\n0001\n")
    ssast.pack(prefix=still_corpus.audio, data_split_root=tmp_path, exp_dir=tmp_path / "both", num_workers=0)
    unpacked(tmp_path / "both", tmp_path / "back")
    assert differing(tmp_path / "back" / "recordings", still_corpus.audio)[0].startswith("0000")
    assert (tmp_path / "back" / "recordings" / "0001" / "waveform.wav").is_file()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-2000]), "is damaged: it is cut off"),
        (lambda path: path.write_bytes(b""), "is damaged"),
        (lambda path: path.write_bytes(b"no parquet" * 1000), "is damaged"),
        (lambda path: path.unlink(), "lacks test-00000-of"),
        (lambda path: respoilt(path, lambda table: table.drop_columns(["audio"])), "has no column audio"),
        (lambda path: respoilt(path, lambda table: table.drop_columns([METADATA_COLUMN])), "has no column ssast_meta"),
        (lambda path: respoilt(path, with_names("../../x.wav")), "no plain name"),
        (lambda path: respoilt(path, with_names("/etc/x.wav")), "no plain name"),
        (lambda path: respoilt(path, with_names("con.wav")), "no plain name"),
        (lambda path: respoilt(path, with_names("metadata.json")), "no plain name"),
        (lambda path: respoilt(path, with_names("waveform.wav", "../up")), "not a plain folder name"),
        (lambda path: respoilt(path, with_names("other.wav")), "not those that were packed"),
        (lambda path: pq.write_table(pa.table({"uid": ["a"]}), path), "was not made by `ssast pack`"),
        (lambda path: shutil.copy(path.with_name("train-00000-of-00003.parquet"), path), "under another name"),
    ],
)
def test_a_bad_shard_is_one_sentence_and_nothing_is_written(own, tmp_path, spoil, said):
    spoil(next(own.glob("test-00000-*")))
    with pytest.raises(UserError, match=said) as raised:
        unpacked(own, tmp_path / "out" / "back")
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "out" / "back").exists()
    assert list(tmp_path.rglob("x.wav")) == []


@pytest.mark.parametrize("column", ["audio", "uid"])
def test_a_row_that_lacks_something_is_named(own, tmp_path, column):
    def change(table: pa.Table) -> pa.Table:
        rows = table.to_pylist()
        rows[1][column] = {"bytes": None, "path": "waveform.wav"} if column == "audio" else None
        return pa.Table.from_pylist(rows, schema=table.schema)

    respoilt(next(own.glob("train-00000-*")), change)
    with pytest.raises(UserError, match=f"row 1 of .* has no {'sound' if column == 'audio' else 'uid'}"):
        unpacked(own, tmp_path / "back")


def test_a_csv_that_unfolds_without_end_is_refused(own, tmp_path):
    import base64
    import zlib

    path = next(own.glob("train-00000-*"))
    table, notes = pq.read_table(path), dict(pq.read_metadata(path).metadata)
    notes[b"ssast_csv"] = base64.b64encode(zlib.compress(bytes(50_000_000)))
    pq.write_table(table.replace_schema_metadata(notes), path)
    with pytest.raises(UserError, match="longer than it says"):
        unpacked(own, tmp_path / "back")


def test_shards_of_a_newer_version_are_refused(own, tmp_path):
    path = next(own.glob("train-00000-*"))
    table, notes = pq.read_table(path), dict(pq.read_metadata(path).metadata)
    notes[b"ssast"] = json.dumps({**json.loads(notes[b"ssast"]), "format": 2}).encode()
    pq.write_table(table.replace_schema_metadata(notes), path)
    with pytest.raises(UserError, match="has the format 2, and this version knows 1"):
        unpacked(own, tmp_path / "back")


def test_a_folder_that_holds_files_is_left_alone(shards, tmp_path, capsys):
    (tmp_path / "mine").write_text("x")
    assert cli.main(["unpack", str(shards), str(tmp_path)]) == 2
    assert "holds files already" in capsys.readouterr().err
    assert cli.main(["unpack", str(tmp_path), str(tmp_path / "new")]) == 2
    assert "holds no shards" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "is_plain"),
    [("waveform.wav", True), ("a b.flac", True), ("", False), ("..", False), (".", False), ("a/b", False),
     ("a\\b", False), ("C:x", False), ("nul", False), ("COM1.wav", False), ("x.", False), ("x ", False),
     ("a\nb", False), ("x" * 300, False)],
)  # fmt: skip
def test_only_names_that_every_system_takes_are_plain(name, is_plain):
    assert is_plain_name(name) == is_plain
