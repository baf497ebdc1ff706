"""Output folders on their way to a bucket."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from ssast import cli
from ssast.data.storage.location import Location
from ssast.errors import UserError
from ssast.options.options import Options
from ssast.options.record import RunRecord
from ssast.runs.output import uploads
from ssast.runs.output.uploads import Uploads, uploading
from ssast.runs.wrapping.wrapper import Mode


def fill(folder: Path, **files: str) -> Path:
    for name, content in files.items():
        file = folder / name.replace("__", "/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    return folder


def there(store, bucket: str, under: str = "") -> dict[str, bytes]:
    """The files in a bucket but for the line that tries whether it takes any."""
    names = [name for name in store.names(bucket) if name.startswith(under) and not name.endswith(uploads.PROBE)]
    return {name.removeprefix(under): store.get(bucket, name) for name in names}


def wait_for(what, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end
        time.sleep(0.02)


def a_run(folder: Path, to: str, *, spoil=None, error: str = "", **files: str) -> None:
    """A run that writes these files and then perhaps fails; `spoil` is called once it has begun."""
    with uploading(folder, Location(to)):
        fill(folder, **files)
        if spoil is not None:
            spoil()
        if error:
            raise RuntimeError(error)


def refuse(proxy, code: int | None, *methods: str) -> None:
    """Let the proxy answer requests of these methods, or all, by itself."""
    proxy.refuse = lambda method, path: code if not methods or method in methods else None


def test_only_what_changed_is_sent_and_nothing_unfinished(gs, proxy, tmp_path, pipe):
    gs.bucket("changed-only")
    fill(tmp_path, scores="1", model="2", checkpoints__last="3")
    fill(tmp_path, **{".unfinished-x": "no", ".parts__part": "no"})
    (tmp_path / "link").symlink_to("/etc/hostname")
    pipe(tmp_path / "pipe")  # it would wait for somebody who writes into it
    to = Location("gs://changed-only/run")
    assert Uploads(tmp_path, to).send() == (3, "")
    assert there(gs, "changed-only", "run/") == {"scores": b"1", "model": b"2", "checkpoints/last": b"3"}
    seen = len(proxy.seen)
    assert Uploads(tmp_path, to).send() == (0, "")
    assert len(proxy.seen) == seen
    fill(tmp_path, scores="11")
    assert Uploads(tmp_path, to).send() == (1, "")
    assert there(gs, "changed-only", "run/")["scores"] == b"11"


def test_files_that_a_run_did_not_write_stay_here(gs, tmp_path):
    gs.bucket("others")
    fill(tmp_path, earlier="not of this run")
    with uploading(tmp_path, Location("gs://others/run")):
        fill(tmp_path, scores="1")
    assert there(gs, "others", "run/") == {"scores": b"1"}


def test_a_checkpoint_is_sent_while_the_run_goes_on(gs, tmp_path, capsys):
    gs.bucket("during")
    with uploading(tmp_path, Location("gs://during/run"), poll_seconds=0.05):
        fill(tmp_path, checkpoints__last="1")
        wait_for(lambda: there(gs, "during", "run/") == {"checkpoints/last": b"1"})
        fill(tmp_path, checkpoints__last="22")
        wait_for(lambda: there(gs, "during", "run/") == {"checkpoints/last": b"22"})
    assert "the results are in gs://during/run" in capsys.readouterr().out


def test_a_large_file_arrives_whole(gs, tmp_path):
    gs.bucket("large")
    content = os.urandom(6 << 20)  # more than one request's worth
    (tmp_path / "model").write_bytes(content)
    assert Uploads(tmp_path, Location("gs://large")).send() == (1, "")
    assert gs.get("large", "model") == content


def test_a_bucket_that_takes_nothing_is_said_before_the_run(gs, proxy, tmp_path):
    with pytest.raises(UserError, match=r"gs://no-such-bucket/.*does not exist.*--cloud False"):
        a_run(tmp_path, "gs://no-such-bucket", scores="1")
    gs.bucket("closed")
    refuse(proxy, 403, "POST")
    with pytest.raises(UserError, match=r"cannot write gs://closed/run/\.ssast: Forbidden.*--cloud False"):
        a_run(tmp_path, "gs://closed/run", scores="1")
    assert list(tmp_path.iterdir()) == []


def test_what_could_not_be_sent_is_said_and_sent_later(gs, proxy, tmp_path, capsys):
    gs.bucket("later")
    options = Options(bucket_name="later", cloud_dir="run", mode="evaluate")
    RunRecord.of(options).write(tmp_path / "run.yaml", {})
    with pytest.raises(UserError, match=r"files were not sent to gs://later/run: .*scores.*ssast upload") as caught:
        a_run(tmp_path, "gs://later/run", spoil=lambda: refuse(proxy, 403, "POST"), scores="1")
    assert "\n" not in str(caught.value)
    assert (tmp_path / "scores").read_text() == "1"
    refuse(proxy, None)
    assert cli.main(["upload", str(tmp_path)]) == 0
    assert "2 files sent to gs://later/run" in capsys.readouterr().out
    assert there(gs, "later", "run/")["scores"] == b"1"
    assert cli.main(["upload", str(tmp_path)]) == 0
    assert "0 files sent to gs://later/run; 2 were there already" in capsys.readouterr().out


def test_a_failed_run_sends_what_it_left_and_keeps_its_own_error(gs, proxy, tmp_path, capsys):
    gs.bucket("failed")
    with pytest.raises(RuntimeError, match="own error"):
        a_run(tmp_path, "gs://failed/run", error="own error", log="1")
    assert there(gs, "failed", "run/") == {"log": b"1"}
    with pytest.raises(RuntimeError, match="own error"):
        a_run(tmp_path, "gs://failed/run", spoil=lambda: refuse(proxy, 403), error="own error", log="22")
    assert "1 files were not sent to gs://failed/run: log" in capsys.readouterr().out


def test_upload_takes_another_bucket_and_says_what_is_missing(gs, tmp_path, capsys):
    gs.bucket("named")
    fill(tmp_path / "run", scores="1")
    assert cli.main(["upload", str(tmp_path / "run")]) == 2
    assert "give -b/--bucket_name" in capsys.readouterr().err
    assert cli.main(["upload", str(tmp_path / "none"), "-b", "named"]) == 2
    assert "is no folder" in capsys.readouterr().err
    assert cli.main(["upload", str(tmp_path / "run"), "-b", "named", "--cloud_dir", "a/b"]) == 0
    assert there(gs, "named") == {"a/b/scores": b"1"}


def test_what_a_killed_run_wrote_is_sent_by_the_run_that_goes_on(gs, proxy, tmp_path):
    gs.bucket("goes-on")
    to = Location("gs://goes-on/run")
    uploads_then = Uploads(tmp_path, to, before=uploads.file_states(tmp_path))
    fill(tmp_path, log="1")
    assert uploads_then.send() == (1, "")
    fill(tmp_path, best="2")  # and then it was killed
    assert list(Uploads(tmp_path, to, before=uploads.file_states(tmp_path)).waiting()) == ["best"]
    assert Uploads(tmp_path, to, before=uploads.file_states(tmp_path)).finish() == (1, "")
    fill(tmp_path, other="3")  # of no run
    assert Uploads(tmp_path, to, before=uploads.file_states(tmp_path)).waiting() == {}


def test_a_clock_that_was_set_back_keeps_no_file_here(gs, tmp_path):
    gs.bucket("set-back")
    fill(tmp_path, earlier="not of this run", replaced="before")
    os.utime(tmp_path / "replaced", (1, 1))
    with uploading(tmp_path, Location("gs://set-back/run")):
        fill(tmp_path, scores="1", new="after!")
        os.replace(tmp_path / "new", tmp_path / "replaced")
        for name in ("scores", "replaced"):  # written in 1970, as this clock says
            os.utime(tmp_path / name, (1, 1))
    assert there(gs, "set-back", "run/") == {"scores": b"1", "replaced": b"after!"}


def test_a_mode_inside_another_leaves_the_sending_to_it(gs, tmp_path):
    gs.bucket("nested")

    @Mode
    def compare(options: Options) -> None:
        fill(Path(options.exp_dir), scores="1")
        if Path(options.exp_dir) == tmp_path:
            compare(options, exp_dir=str(tmp_path / "fold-1"))

    compare(runs="a,b", exp_dir=str(tmp_path), bucket_name="nested", cloud_dir="run")
    assert there(gs, "nested", "run/") == {"scores": b"1", "fold-1/scores": b"1"}


@pytest.mark.parametrize("how", [{"cloud": False, "bucket_name": "bucket"}, {"bucket_name": None}])
def test_nothing_is_sent_unless_a_bucket_is_named_and_cloud_is_true(gs, proxy, tmp_path, how):
    @Mode
    def compare(options: Options) -> None:
        fill(tmp_path, scores="1")

    compare(runs="a,b", exp_dir=str(tmp_path), **how)
    assert proxy.seen == []


def test_a_reading_process_that_is_killed_leaves_a_cache_that_works(gs, proxy, fresh):
    gs.bucket("killed")
    gs.put("killed", "x", bytes(range(256)))
    arrived, killed = threading.Event(), threading.Event()

    def stall(method: str, path: str) -> None:
        if "alt=media" in path and not arrived.is_set():
            arrived.set()
            killed.wait(60)

    proxy.refuse = stall
    script = "from ssast.data.storage.location import Location; Location('gs://killed/x').read_bytes()"
    process = subprocess.Popen([sys.executable, "-c", script])
    assert arrived.wait(60)
    process.kill()
    process.wait()
    killed.set()
    assert len(list((fresh / "partial").iterdir())) == 1
    assert Location("gs://killed/x").read_bytes() == bytes(range(256))
    assert list((fresh / "partial").iterdir()) == []


def test_a_full_disk_is_one_sentence_and_no_obstacle_to_the_next_run(gs, fresh):
    gs.bucket("full")
    gs.put("full", "x", bytes(5000))
    script = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "from ssast.data.storage.location import Location\n"
        "from ssast.errors import UserError\n"
        "try: Location('gs://full/x').read_bytes()\n"
        "except UserError as error: print(error)\n"
    )
    said = subprocess.run([sys.executable, "-B", "-c", script], capture_output=True, text=True, check=True).stdout
    assert said.startswith(f"cannot write the cache {fresh}: file too large; free space")
    assert len(said.splitlines()) == 1
    assert Location("gs://full/x").read_bytes() == bytes(5000)


def test_s3_without_credentials_is_one_sentence(s3_emulator, point, monkeypatch, tmp_path):
    point("s3", s3_emulator.url)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(UserError, match="credentials") as caught:
        Location("s3://bucket/x").read_bytes()
    assert "\n" not in str(caught.value)
