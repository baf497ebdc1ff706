import errno
import fcntl
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ssast.data.storage.cache import GB, Cache, cache, locked
from ssast.errors import UserError


def key(number: int) -> str:
    return f"{number:064x}"


def filling(content: bytes, calls: list[int] | None = None):
    def fill(beside: Path) -> None:
        if calls is not None:
            calls.append(1)
        beside.write_bytes(content)

    return fill


def fail(_: Path) -> None:
    raise ConnectionError("reset")


def contents(folder: Path) -> list[str]:
    files = (file for file in (folder / "files").rglob("*") if file.is_file())
    return sorted(file.name for file in files if file.suffix != ".crc32")


def test_a_content_is_fetched_once(tmp_path):
    store, calls = Cache(tmp_path, GB), []
    for _ in range(3):
        assert store.get(key(1), 4, filling(b"four", calls)).read_bytes() == b"four"
    assert calls == [1]
    assert Cache(tmp_path, GB).get(key(1), 4, fail).read_bytes() == b"four"


def test_a_failed_fetch_leaves_nothing_and_the_next_one_works(tmp_path):
    store = Cache(tmp_path, GB)
    with pytest.raises(ConnectionError):
        store.get(key(1), 4, fail)
    assert list((tmp_path / "partial").iterdir()) == []
    assert contents(tmp_path) == []
    assert store.get(key(1), 4, filling(b"four")).read_bytes() == b"four"


def test_a_file_that_was_cut_short_on_the_disk_is_fetched_again(tmp_path):
    store = Cache(tmp_path, GB)
    store.get(key(1), 4, filling(b"four")).write_bytes(b"fo")
    assert store.get(key(1), 4, filling(b"four")).read_bytes() == b"four"


@pytest.mark.parametrize("spoil", [b"fOur", b"\0\0\0\0", b"four\0"])
def test_what_was_damaged_on_the_disk_is_fetched_again(tmp_path, spoil):
    store, calls = Cache(tmp_path, GB), []
    place = store.get_sound(key(1), None, filling(b"four", calls))
    assert store.get_sound(key(1), None, fail) == place
    stat = place.stat()
    place.write_bytes(spoil)
    os.utime(place, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert store.get_sound(key(1), None, filling(b"four", calls)).read_bytes() == b"four"
    assert calls == [1, 1]


def test_a_content_whose_checksum_was_lost_or_cut_off_is_fetched_again(tmp_path):
    store, calls = Cache(tmp_path, GB), []
    own = store.get_sound(key(1), 4, filling(b"four", calls)).with_suffix(".crc32")
    own.unlink()
    store.get_sound(key(1), 4, filling(b"four", calls))
    own.write_bytes(b"")
    store.get_sound(key(1), 4, filling(b"four", calls))
    assert calls == [1, 1, 1]
    assert store.get_sound(key(1), 4, fail).read_bytes() == b"four"


def test_the_least_recently_used_goes_first(tmp_path):
    store = Cache(tmp_path, 100)
    for number in range(3):
        file = store.get(key(number), 30, filling(bytes(30)))
        os.utime(file, ns=(number, number))
    store.get(key(0), 30, fail)  # used again
    store.get(key(3), 30, filling(bytes(30)))
    assert contents(tmp_path) == [key(0), key(2), key(3)]


def test_what_was_asked_for_stays_where_the_clock_was_set_back(tmp_path):
    """It was the oldest content then, so it went to make room for itself."""
    store = Cache(tmp_path, 100)
    for number in range(3):
        ahead = time.time() + 3600 + number
        os.utime(store.get(key(number), 30, filling(b"x" * 30)), (ahead, ahead))
    assert store.get(key(7), 30, filling(b"y" * 30)).read_bytes() == b"y" * 30
    assert contents(tmp_path) == [key(1), key(2), key(7)]


def test_the_cache_never_grows_over_its_limit(tmp_path):
    store = Cache(tmp_path, 1000)
    for number in range(40):
        store.get(key(number), 90, filling(bytes(90)))
        assert 90 * len(contents(tmp_path)) <= 1000
    assert len(contents(tmp_path)) >= 9


def test_all_contents_are_looked_at_only_where_room_is_short(tmp_path, monkeypatch):
    """Each process looked at them when it first kept something, and each of its threads: of 150,000, 12 s long."""
    Cache(tmp_path, 1000).get(key(0), 90, filling(bytes(90)))
    looked = []
    monkeypatch.setattr(Cache, "_files", lambda self, find=Cache._files: looked.append(1) or find(self))
    for number in range(1, 11):
        Cache(tmp_path, 1000).get(key(number), 90, filling(bytes(90)))
    assert looked == []
    Cache(tmp_path, 1000).get(key(11), 90, filling(bytes(90)))
    assert looked == [1]
    assert len(contents(tmp_path)) == 10


@pytest.mark.parametrize("spoilt", ["", "0000", "many\n", "00000000000000000270", "-0000000000000000001\n", None])
def test_a_count_of_bytes_that_is_lost_or_cut_off_is_made_anew(tmp_path, spoilt):
    for number in range(3):
        Cache(tmp_path, 1000).get(key(number), 90, filling(bytes(90)))
    (note,) = [place for place in (tmp_path / "locks").iterdir() if place.read_text() == f"{270:020d}\n"]
    note.unlink() if spoilt is None else note.write_text(spoilt)
    Cache(tmp_path, 1000).get(key(3), 90, filling(bytes(90)))
    assert note.read_text() == f"{360:020d}\n"


def test_a_file_larger_than_the_cache_is_refused_before_it_is_fetched(tmp_path):
    with pytest.raises(UserError, match="does not fit into the cache of 1e-07 GB; give more with --cache_gb"):
        Cache(tmp_path, 100).get(key(1), 101, fail)


def get_slowly(folder: Path, calls: Path) -> None:
    def fill(beside: Path) -> None:
        with open(calls, "a") as file:
            file.write("x")
        time.sleep(0.3)
        beside.write_bytes(b"four")

    assert Cache(folder, GB).get(key(1), 4, fill).read_bytes() == b"four"


def test_processes_that_want_the_same_content_fetch_it_once(tmp_path):
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=get_slowly, args=(tmp_path, tmp_path / "calls")) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(30)
    assert [worker.exitcode for worker in workers] == [0] * 4
    assert (tmp_path / "calls").read_text() == "x"


def test_a_process_killed_while_it_fetches_leaves_nothing_that_is_taken_for_whole(tmp_path):
    script = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from ssast.data.storage.cache import GB, Cache\n"
        "def fill(beside):\n"
        "    beside.write_bytes(b'fo')\n"
        "    os.kill(os.getpid(), 9)\n"
        "Cache(Path(sys.argv[1]), GB).get('0' * 64, 4, fill)\n"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False)
    assert len(list((tmp_path / "partial").iterdir())) == 1
    assert Cache(tmp_path, GB).get("0" * 64, 4, filling(b"four")).read_bytes() == b"four"
    assert list((tmp_path / "partial").iterdir()) == []


def test_a_full_disk_makes_room_first_and_then_is_one_sentence(tmp_path):
    store = Cache(tmp_path, GB)
    for number in range(4):
        os.utime(store.get(key(number), 10, filling(bytes(10))), ns=(number, number))
    full = [True]

    def fill(beside: Path) -> None:
        if full and full.pop():
            raise OSError(errno.ENOSPC, "No space left on device", str(beside))
        beside.write_bytes(b"four")

    assert store.get(key(9), 4, fill).read_bytes() == b"four"
    assert key(0) not in contents(tmp_path)
    full += [True, True]
    with pytest.raises(UserError, match=r"cannot write the cache .*no space left.*SSAST_CACHE"):
        store.get(key(8), 4, fill)
    assert store.get(key(8), 4, fill).read_bytes() == b"four"


def test_a_cache_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot write the cache"):
        Cache(tmp_path / "file" / "cache", GB).get(key(1), 4, filling(b"four"))


def test_what_is_held_stays_when_the_cache_lets_go_of_it(tmp_path):
    store = Cache(tmp_path, 100)
    held = store.hold()
    store.add(held, "model.pth", store.get(key(1), 60, filling(bytes(60))))
    os.utime(tmp_path / "files" / key(1)[:2] / key(1), ns=(1, 1))
    store.get(key(2), 60, filling(bytes(60)))
    assert contents(tmp_path) == [key(2)]
    assert (held / "model.pth").read_bytes() == bytes(60)


def test_the_folder_is_the_environments_and_nobody_elses_to_read(tmp_path, monkeypatch):
    monkeypatch.setenv("SSAST_CACHE", str(tmp_path / "mine"))
    cache(1.0).get(key(1), 4, filling(b"four"))
    assert (tmp_path / "mine").stat().st_mode & 0o077 == 0
    (tmp_path / "open").mkdir(mode=0o755)
    (tmp_path / "open" / "files").mkdir(mode=0o755)
    monkeypatch.setenv("SSAST_CACHE", str(tmp_path / "open"))
    file = cache(1.0).get_sound(key(1), 4, filling(b"four"))
    held = cache(1.0).hold()
    made = [place for place in (tmp_path / "open").rglob("*") if place.parent != tmp_path / "open" / "locks"]
    assert {file, held} <= set(made)
    assert [place for place in (*(tmp_path / "open").iterdir(), file) if place.stat().st_mode & 0o077] == []
    monkeypatch.delenv("SSAST_CACHE")
    assert cache(1.0).folder == Path.home() / ".cache" / "ssast"


def test_a_lock_is_given_free_though_a_process_that_was_forked_meanwhile_lives_on(tmp_path):
    """Workers that were forked while a thread fetched kept its lock, and waited for it themselves, for ever."""
    with locked(tmp_path / "lock"):
        child = os.fork()
        if not child:
            signal.pause()
    try:
        with (tmp_path / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
