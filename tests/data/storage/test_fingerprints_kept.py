"""Small values of all processes in one database, on which nothing rests."""

import hashlib
import multiprocessing
import os
import signal
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing

import pytest

from ssast.data.storage import fingerprints
from ssast.data.storage.cache import Cache
from ssast.data.storage.fingerprints import KeptValues


def key(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def keep(folder, numbers) -> None:
    with KeptValues(Cache(folder, 10**9)) as kept:
        for number in numbers:
            kept.keep(key(number), str(number).encode())


def found(folder, numbers) -> list[int]:
    return sorted(int(value) for value in KeptValues(Cache(folder, 10**9)).find([key(one) for one in numbers]).values())


def test_values_are_found_by_key_in_any_number(tmp_path):
    assert found(tmp_path, range(3)) == []
    keep(tmp_path, range(700))
    keep(tmp_path, [2, 700])
    assert found(tmp_path, [*range(600, 800), 2]) == [2, *range(600, 701)]
    assert found(tmp_path, []) == []


def test_a_value_counts_at_once_and_a_later_one_takes_its_place(tmp_path):
    kept = KeptValues(Cache(tmp_path, 10**9))
    for value in (b"first", b"second"):
        kept.keep(key(1), value)
        assert kept.find([key(1)]) == {key(1): value}
        kept.flush()
        assert kept.find([key(1)]) == {key(1): value}


def test_processes_keep_values_beside_each_other(tmp_path):
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=keep, args=(tmp_path, range(number, 400, 4))) for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(30)
    assert [worker.exitcode for worker in workers] == [0] * 4
    assert found(tmp_path, range(500)) == list(range(400))


def test_the_older_half_is_forgotten_where_there_is_too_much(tmp_path, monkeypatch):
    monkeypatch.setattr(fingerprints, "_LEAST", 100_000)
    for number in range(40):
        with KeptValues(Cache(tmp_path, 0)) as kept:
            for part in range(10):
                kept.keep(key(10 * number + part), f"{10 * number + part:01000d}".encode())
    left = found(tmp_path, range(400))
    assert left == list(range(400 - len(left), 400))
    assert 30 <= len(left) <= 100
    assert kept.place.stat().st_size < 150_000


@pytest.mark.parametrize("content", [b"no database", b"SQLite format 3\0" + bytes(5000), b""])
def test_what_is_no_database_is_made_anew(tmp_path, content):
    keep(tmp_path, [1])
    place = KeptValues(Cache(tmp_path, 0)).place
    place.write_bytes(content)
    assert found(tmp_path, [1]) == []
    keep(tmp_path, [1])
    keep(tmp_path, [1])
    assert found(tmp_path, [1]) == [1]


def test_a_page_that_a_disk_spoilt_costs_what_was_kept_and_no_more(tmp_path):
    keep(tmp_path, range(700))
    place = KeptValues(Cache(tmp_path, 0)).place
    content = bytearray(place.read_bytes())
    content[4096:] = os.urandom(len(content) - 4096)
    place.write_bytes(content)
    assert found(tmp_path, range(700)) == []
    keep(tmp_path, [1])
    assert found(tmp_path, [1]) == [1]


def test_a_table_of_another_kind_is_left_alone(tmp_path):
    place = KeptValues(Cache(tmp_path, 0)).place
    place.parent.mkdir()
    with closing(sqlite3.connect(place)) as database, database:
        database.execute("CREATE TABLE kept (other TEXT)")
    keep(tmp_path, [1])
    assert found(tmp_path, [1]) == []


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_nobody_waits_for_a_pipe_in_its_place(tmp_path):
    place = KeptValues(Cache(tmp_path, 0)).place
    place.parent.mkdir()
    os.mkfifo(place)
    keep(tmp_path, [1])
    assert found(tmp_path, [1]) == []


def test_where_nothing_can_be_written_nothing_is_kept(tmp_path):
    (tmp_path / "file").touch()
    keep(tmp_path / "file" / "cache", [1])
    assert found(tmp_path / "file" / "cache", [1]) == []


def test_nobody_else_may_read_it(tmp_path):
    keep(tmp_path, [1])
    place = KeptValues(Cache(tmp_path, 0)).place
    assert [stat.S_IMODE(one.stat().st_mode) for one in (place.parent, place)] == [0o700, 0o600]


def test_a_process_killed_while_it_writes_leaves_what_was_there(tmp_path):
    keep(tmp_path, [1])
    script = (
        "import os, sqlite3, sys\n"
        "database = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "database.execute('PRAGMA cache_size = 1')\n"
        "database.execute('BEGIN')\n"
        "database.executemany('INSERT INTO kept (key, value) VALUES (?, ?)', "
        "((os.urandom(32), bytes(500)) for _ in range(2000)))\n"
        "os.kill(os.getpid(), 9)\n"
    )
    place = KeptValues(Cache(tmp_path, 0)).place
    died = subprocess.run([sys.executable, "-c", script, str(place)], check=False)
    assert died.returncode == -signal.SIGKILL
    assert place.with_name("kept.sqlite-journal").exists()
    assert found(tmp_path, [1]) == [1]
    with closing(sqlite3.connect(place)) as database:
        assert database.execute("SELECT count(*) FROM kept").fetchone() == (1,)
