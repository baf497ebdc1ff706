"""What a folder's record says opens no address: `upload` goes where the command says, or where this machine sent it."""

import csv
import json
import os
from pathlib import Path

import pytest

from ssast import cli
from ssast.data.storage.location import Location
from ssast.options.options import Options
from ssast.options.record import RunRecord
from ssast.runs.output.uploads import SENT, remember, remembered


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("SSAST_STATE", str(tmp_path / "state"))
    return tmp_path / "state"


@pytest.fixture
def sent(monkeypatch) -> list[str]:
    """The addresses that files are sent to, which are not."""
    found: list[str] = []
    monkeypatch.setattr(Location, "send", lambda self, file: found.append(self.address))
    return found


def folder_of(tmp_path: Path, **named: str) -> Path:
    """An output folder whose record names a bucket."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "scores").write_text("1")
    if named:
        RunRecord.of(Options(mode="evaluate", **named)).write(folder / "run.yaml", {})
    return folder


@pytest.mark.parametrize(
    ("named", "asked"),
    [
        ({"bucket_name": "theirs"}, "add --bucket_name theirs."),
        ({"bucket_name": "theirs", "cloud_dir": "a b/c"}, "add --bucket_name theirs --cloud_dir 'a b/c'."),
        ({"bucket_name": "s3://theirs", "cloud_dir": "x"}, "add --bucket_name s3://theirs --cloud_dir x."),
    ],
)
def test_a_strangers_folder_is_sent_nowhere_until_the_command_names_the_bucket(tmp_path, sent, capsys, named, asked):
    folder = folder_of(tmp_path, **named)
    assert cli.main(["upload", str(folder)]) == 2
    assert asked in capsys.readouterr().err
    assert not sent
    words = [word for name, value in named.items() for word in (f"--{name}", value)]
    assert cli.main(["upload", str(folder), *words]) == 0
    assert len(sent) == 2


def test_a_strangers_list_of_what_was_sent_opens_no_address_either(tmp_path, sent, capsys):
    folder = folder_of(tmp_path)
    (folder / ".uploaded.json").write_text(json.dumps({"to": "http://theirs.example/x", "before": None, "files": {}}))
    assert cli.main(["upload", str(folder)]) == 2
    assert "add --bucket_name http://theirs.example --cloud_dir x." in capsys.readouterr().err
    assert not sent


def test_a_strangers_record_names_no_folder_in_ones_own_bucket(tmp_path, sent):
    folder = folder_of(tmp_path, bucket_name="theirs", cloud_dir="models/best", project_name="p")
    assert cli.main(["upload", str(folder), "-b", "mine"]) == 0
    assert sorted(sent) == ["gs://mine/run.yaml", "gs://mine/scores"]


def test_a_folder_that_this_machine_sent_goes_there_again_by_itself(tmp_path, sent, capsys):
    folder = folder_of(tmp_path, bucket_name="mine", cloud_dir="a")
    remember(folder, "gs://mine/a")
    assert cli.main(["upload", str(folder)]) == 0
    assert "sending to gs://mine/a" in capsys.readouterr().out
    assert sorted(sent) == ["gs://mine/a/run.yaml", "gs://mine/a/scores"]


def test_a_remembered_folder_goes_to_another_folder_of_its_bucket_where_the_command_names_one(tmp_path, sent):
    folder = folder_of(tmp_path, bucket_name="mine", cloud_dir="a")
    remember(folder, "gs://mine/a")
    assert cli.main(["upload", str(folder), "--cloud_dir", "b"]) == 0
    assert sorted(sent) == ["gs://mine/b/run.yaml", "gs://mine/b/scores"]


@pytest.mark.parametrize("more", [[], ["--cloud_dir", "a"]])
@pytest.mark.parametrize("other", ["theirs", "min"])
def test_another_record_in_the_place_of_a_remembered_folder_opens_nothing(tmp_path, sent, other, more):
    folder = folder_of(tmp_path, bucket_name=other, cloud_dir="a")
    remember(folder, "gs://mine/a")
    assert cli.main(["upload", str(folder), *more]) == 2
    assert not sent


def test_what_is_remembered_is_the_users_own_and_follows_links(tmp_path, state):
    folder = folder_of(tmp_path)
    (tmp_path / "link").symlink_to(folder)
    remember(tmp_path / "link", "gs://one")
    remember(folder, "gs://two, with a comma")
    remember(folder, "gs://two, with a comma")
    assert remembered(folder) == remembered(tmp_path / "link") == "gs://two, with a comma"
    assert remembered(tmp_path) == ""
    assert (state / SENT).stat().st_mode & 0o777 == 0o600
    assert state.stat().st_mode & 0o777 == 0o700
    with open(state / SENT, newline="") as file:
        assert list(csv.reader(file)) == [
            [os.path.realpath(folder), "gs://one"],
            [os.path.realpath(folder), "gs://two, with a comma"],
        ]


def test_a_list_that_cannot_be_kept_or_read_ends_nothing(tmp_path, state, monkeypatch):
    folder = folder_of(tmp_path)
    state.mkdir()
    (state / SENT).mkdir()
    remember(folder, "gs://mine")
    assert remembered(folder) == ""
    (state / SENT).rmdir()
    (state / SENT).write_bytes(b"\x00\xff broken\n")
    assert remembered(folder) == ""
    monkeypatch.delenv("SSAST_STATE")
    monkeypatch.setattr(Path, "expanduser", lambda self: (_ for _ in ()).throw(RuntimeError("no home")))
    remember(folder, "gs://mine")
