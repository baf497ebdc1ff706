import os
import pickle
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from ssast.data.storage.atomic_writes import atomic_file, atomic_folder, writable_folder
from ssast.data.storage.location import Location, Missing, as_location, locate
from ssast.errors import UserError


def strays(folder):
    return [path.name for path in folder.iterdir() if path.name.startswith(".unfinished")]


def fail_after(_):
    raise RuntimeError


def test_a_local_location_reads_lists_and_walks(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "a.txt").write_text("hello")
    root = Location(str(tmp_path))
    assert root.is_local
    assert root.is_dir()
    assert [place.name for place in root.list()] == ["a.txt", "b"]
    place = root / "a.txt"
    assert (place.read_text(), place.parent, place.path) == ("hello", root, tmp_path / "a.txt")
    with place.open("rb") as file:
        assert file.read() == b"hello"
    assert not (root / "nothing").exists()
    assert str(as_location(tmp_path / "b")) == str(tmp_path / "b")


def test_any_fsspec_address_reads_lists_and_walks():
    root = Location("memory://ssast-test/data/")
    with (root / "17" / "waveform.wav").open("wb") as file:
        file.write(b"RIFF")
    assert not root.is_local
    assert root.is_dir()
    assert [place.name for place in root.list()] == ["17"]
    assert (root / "17" / "waveform.wav").read_bytes() == b"RIFF"
    assert str((root / "17").parent) == "memory://ssast-test/data"
    with pytest.raises(Missing, match="memory://ssast-test/data/18 does not exist"):
        (root / "18").read_bytes()
    with pytest.raises(UserError, match="not on this machine"):
        _ = root.path


def test_a_location_holds_no_client_and_travels_between_processes():
    place = Location("memory://ssast-travel/x", project="p")
    with place.open("wb") as file:
        file.write(b"1")
    assert pickle.loads(pickle.dumps(place)) == place
    assert b"FileSystem" not in pickle.dumps(place)


@pytest.mark.parametrize(
    ("address", "said"),
    [("nowhere://bucket/x", "nowhere"), ("/dev/null/x", "not a folder"), (".", "a folder")],
)
def test_what_cannot_be_read_is_one_sentence(address, said):
    with pytest.raises(UserError, match=said) as caught:
        Location(address).read_bytes()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "text"),
    [(b"\xef\xbb\xbfuid", "uid"), ("uid,ä".encode("utf-16"), "uid,ä"), ("ä".encode(), "ä")],
)
def test_text_is_read_with_and_without_byte_order_mark(tmp_path, content, text):
    (tmp_path / "x").write_bytes(content)
    assert Location(str(tmp_path / "x")).read_text() == text


@pytest.mark.parametrize(("content", "said"), [(b"\xff\x00\xd8", "UTF-8"), (b"uid\0", "NUL")])
def test_what_is_no_text_is_refused(tmp_path, content, said):
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(UserError, match=said):
        Location(str(tmp_path / "x")).read_text()


@pytest.mark.parametrize(
    ("prefix", "study", "bucket", "address"),
    [
        ("speech", None, None, "speech"),
        ("speech", "one", None, "speech/one"),
        ("speech", "one", "clinic", "gs://clinic/speech/one"),
        ("speech/", None, "gs://clinic", "gs://clinic/speech"),
        ("gs://clinic/speech", None, "clinic", "gs://clinic/speech"),
        ("gs://clinic/speech", "two", None, "gs://clinic/speech/two"),
        ("s3://other/speech", None, "clinic", "s3://other/speech"),
        ("/data/speech", None, "clinic", "/data/speech"),
        ("./speech", None, "clinic", "speech"),
        ("speech", None, SimpleNamespace(name="clinic"), "gs://clinic/speech"),
    ],
)
def test_a_bucket_makes_the_prefix_a_folder_in_it_unless_it_says_where_it_lies(prefix, study, bucket, address):
    assert str(locate(prefix, study, bucket)) == address


def test_a_whole_file_replaces_the_old_one_in_one_step(tmp_path):
    target = tmp_path / "new" / "x.txt"
    with atomic_file(target) as beside:
        beside.write_text("first")
        assert not target.exists()
        assert beside.suffix == ".txt"  # what writers choose a format by
    assert target.read_text() == "first"
    assert strays(target.parent) == []


def test_an_error_while_writing_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "x.txt"
    target.write_text("old")
    with pytest.raises(RuntimeError), atomic_file(target) as beside:
        fail_after(beside.write_text("half"))
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["x.txt"]


def test_a_whole_folder_replaces_the_old_one(tmp_path):
    target = tmp_path / "model"
    target.mkdir()
    (target / "old").touch()
    with atomic_folder(target) as beside:
        (beside / "new").touch()
        assert (target / "old").exists()
    assert [path.name for path in target.iterdir()] == ["new"]
    with pytest.raises(RuntimeError), atomic_folder(target) as beside:
        fail_after((beside / "newer").touch())
    assert [path.name for path in target.iterdir()] == ["new"]
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_full_disk_is_one_sentence(tmp_path):
    with pytest.raises(UserError, match=r"cannot write .*no space left"), atomic_file(tmp_path / "x"):
        raise OSError(28, "No space left on device")
    with pytest.raises(FileNotFoundError), atomic_file(tmp_path / "x"):
        raise FileNotFoundError(2, "No such file", "another file")


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    for write in (writable_folder, lambda path: atomic_file(path).__enter__()):
        with pytest.raises(UserError, match="cannot write"):
            write(tmp_path / "file" / "run")
    assert writable_folder(tmp_path / "a" / "b").is_dir()


def test_a_link_stays_and_the_file_behind_it_is_replaced(tmp_path):
    (tmp_path / "real.txt").write_text("old")
    (tmp_path / "link.txt").symlink_to("real.txt")
    with atomic_file(tmp_path / "link.txt") as beside:
        beside.write_text("new")
    assert (tmp_path / "link.txt").is_symlink()
    assert (tmp_path / "real.txt").read_text() == "new"


def test_what_a_killed_process_left_is_swept_and_what_it_set_aside_is_put_back(tmp_path):
    script = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from ssast.data.storage.atomic_writes import atomic_file\n"
        "with atomic_file(Path(sys.argv[1])) as beside:\n"
        "    beside.write_text('half')\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    target = tmp_path / "x.txt"
    subprocess.run([sys.executable, "-c", script, str(target)], check=False)
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".unfinished")
    # A replacement of a folder that was killed between its two moves.
    (tmp_path / left.name.replace("x.txt", "model.old")).mkdir()
    with atomic_folder(tmp_path / "other") as beside:
        (beside / "y").touch()
    assert len(strays(tmp_path)) == 2  # another target's are left alone
    with atomic_file(target) as beside:
        beside.write_text("whole")
    with atomic_folder(tmp_path / "model"):
        assert (tmp_path / "model").is_dir()
    assert strays(tmp_path) == []


def test_an_unfinished_write_of_a_living_process_is_left_alone(tmp_path):
    with atomic_file(tmp_path / "x") as first:
        first.write_text("1")
        with atomic_file(tmp_path / "x") as second:
            second.write_text("2")
        assert first.exists()
    assert (tmp_path / "x").read_text() == "1"
    assert os.listdir(tmp_path) == ["x"]


def test_a_home_folder_is_expanded():
    assert Location("~/speech").path == Path.home() / "speech"
