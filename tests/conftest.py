"""Shared fixtures: the real recordings beside the repository, and small corpora made on the spot."""

import base64
import contextlib
import ctypes
import gc
import json
import os
import select
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import zlib

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests run side by side
import ssast  # noqa: F401, I001 - before torch, so that its threads do not spin, here and in what tests start
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import pandas as pd
import pytest
import soundfile

gc.disable()  # until all is collected: what is imported stays, and looking for garbage in it takes a tenth of the time

REPOSITORY = Path(__file__).resolve().parents[1]
LIBC = ctypes.CDLL(None)


def pytest_collection_finish() -> None:
    """What is imported and collected by now stays: no later search for garbage looks at its million objects again."""
    gc.freeze()
    gc.enable()
    gc.set_threshold(5000, 20, 20)


@pytest.fixture(scope="module", autouse=True)
def _memory_given_back() -> Iterator[None]:
    """After each file: models that came and went leave gigabytes of gaps, and every fork copies the table of them."""
    yield
    gc.collect()
    gc.freeze()
    if hasattr(LIBC, "malloc_trim"):  # of glibc alone
        LIBC.malloc_trim(0)


class Killed(BaseException):
    """Stands for SIGKILL: nothing in the code may catch it and tidy up."""


@pytest.fixture
def dies(monkeypatch):
    """`with dies(owner, name, after=n):` owner.name works n times, then ends what runs inside, as SIGKILL would."""

    @contextlib.contextmanager
    def within(owner: Any, name: str, *, after: int) -> Iterator[None]:
        whole, calls = getattr(owner, name), []

        def dying(*arguments: Any, **named: Any) -> Any:
            if len(calls) == after:
                raise Killed
            calls.append(arguments)
            return whole(*arguments, **named)

        with monkeypatch.context() as patched:
            patched.setattr(owner, name, dying)
            with pytest.raises(Killed):
                yield

    return within


class Started:
    """Processes that a warm one forked; `numbers` are theirs."""

    def __init__(self, answers: TextIO, out: TextIO, err: TextIO):
        self._answers, self._said = answers, (out, err)
        self.numbers = [int(word) for word in answers.readline().split()]

    def kill(self) -> None:
        """SIGKILL to each that is still there, at once: none sees another die."""
        for what in (signal.SIGSTOP, signal.SIGKILL):
            for number in self.numbers:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(number, what)

    def has_ended(self) -> bool:
        """Whether none of them is at work any more."""
        return bool(select.select([self._answers], [], [], 0)[0])

    def end(self) -> subprocess.CompletedProcess[str]:
        """Wait for their end: the exit code of the first that failed, below 0 for a signal, and what they said."""
        with self._answers:
            code = int(self._answers.readline())
        said = []
        for file in self._said:
            with file:
                file.seek(0)
                said.append(file.read())
        return subprocess.CompletedProcess([], code, *said)


class WarmProcess:
    """Runs code in new processes that have imported some modules already; see warm_process.py."""

    def __init__(self, *modules: str):
        self._channel, theirs = socket.socketpair()
        program = str(Path(__file__).with_name("warm_process.py"))
        command = [sys.executable, "-W", "ignore", program, str(theirs.fileno()), *modules]
        self._server = subprocess.Popen(command, pass_fds=[theirs.fileno()])
        theirs.close()

    def run(self, code: str, environment: Mapping[str, str], **how: int) -> subprocess.CompletedProcess[str]:
        """As `subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)`.

        `how` is as of `start`.
        """
        return self.start(code, environment, **how).end()

    def start(
        self,
        code: str,
        environment: Mapping[str, str],
        *,
        processes: int = 1,
        stdout: int | None = None,
        stderr: int | None = None,
    ) -> "Started":
        """Start it and do not wait: one process, or several as torchrun starts them, which end together.

        `stdout` and `stderr` are the numbers of open files; without them `Started.end` tells what was said.
        """
        asked = {"code": code, "environment": dict(environment), "cwd": os.getcwd(), "processes": processes}
        out, err = (tempfile.TemporaryFile("w+") for _ in range(2))  # noqa: SIM115 - closed where it ends
        answers, answering = os.pipe()
        with open(os.devnull) as silence:
            streams = [out.fileno() if stdout is None else stdout, err.fileno() if stderr is None else stderr]
            socket.send_fds(self._channel, [json.dumps(asked).encode()], [silence.fileno(), *streams, answering])
        os.close(answering)
        return Started(os.fdopen(answers), out, err)

    def end(self) -> None:
        self._channel.close()
        self._server.wait(20)


@pytest.fixture(scope="session")
def warm_modes() -> Iterator[WarmProcess]:
    """Processes with all imported that training, scoring, extraction and checks load, one or several together.

    One serves all tests of a worker. It holds no client of the hub, which reads its settings as it is imported.
    """
    modes = ("finetune", "pretrain", "extract", "merge", "check", "inspect")
    process = WarmProcess("ssast.cli", "yaml", *(f"ssast.modes.{name}" for name in modes))
    yield process
    process.end()


@pytest.fixture(scope="session")
def warm_process() -> type[WarmProcess]:
    """`WarmProcess`."""
    return WarmProcess


@pytest.fixture
def room_for():
    """`with room_for(n):` no file may grow past n bytes: every writer meets what the system really says then.

    Python ignores the signal that comes with it, so the write fails with EFBIG, as it does with ENOSPC on a full disk.
    No module is compiled to a file meanwhile: Python would keep what fitted, and every later process would fail on it.
    """
    import resource

    @contextlib.contextmanager
    def within(most: int) -> Iterator[None]:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
        try:
            with pytest.MonkeyPatch.context() as patched:
                patched.setattr(sys, "dont_write_bytecode", True)
                patched.setenv("PYTHONDONTWRITEBYTECODE", "1")
                yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return within


@pytest.fixture
def told_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """The main process looks often whether a worker has died; torch looks every five seconds.

    The interval is a default of torch's method: the constant alone changes only how long it waits at the end.
    """
    from torch.utils.data import _utils, dataloader

    monkeypatch.setattr(_utils, "MP_STATUS_CHECK_INTERVAL", 0.2)
    monkeypatch.setattr(dataloader._MultiProcessingDataLoaderIter._try_get_data, "__defaults__", (0.2,))


@dataclass(frozen=True)
class Corpus:
    """A small data set in the seed's layout: `audio/<uid>/`, `splits/train.csv`, `splits/test.csv`, `labels.txt`."""

    folder: Path
    labels: tuple[str, ...]

    @property
    def audio(self) -> Path:
        return self.folder / "audio"

    @property
    def splits(self) -> Path:
        return self.folder / "splits"

    @property
    def label_txt(self) -> Path:
        return self.folder / "labels.txt"

    def frame(self, split: str = "train") -> pd.DataFrame:
        return pd.read_csv(self.splits / f"{split}.csv", dtype={"uid": str, "speaker": str}).set_index("uid")


def write_recording(folder: Path, samples: np.ndarray, sample_rate: int, extension: str = "wav") -> Path:
    """One recording as the seed lays it out; `samples` is (S,) or (S, C)."""
    folder.mkdir(parents=True, exist_ok=True)
    soundfile.write(folder / f"waveform.{extension}", samples, sample_rate)
    metadata = {"encoding": extension.upper(), "sample_rate_hz": sample_rate}
    (folder / "metadata.json").write_text(json.dumps(metadata), encoding="utf-8")
    return folder


def make_corpus(
    folder: Path, *, train: int = 12, test: int = 6, seconds: float = 0.5, sample_rate: int = 16000
) -> Corpus:
    """Noisy tones; label `high` is the tone above 600 Hz, label `loud` its level. Uids have leading zeros."""
    rng = np.random.default_rng(0)
    (folder / "splits").mkdir(parents=True)
    rows = []
    for number in range(train + test):
        uid, high, loud = f"{number:04d}", number % 2, number // 2 % 2
        time = np.arange(int(sample_rate * seconds * (1 + number % 3 / 4))) / sample_rate
        tone = np.sin(2 * np.pi * (900 if high else 300) * time) * (0.5 if loud else 0.1)
        noisy = (tone + 0.01 * rng.standard_normal(len(time))).astype(np.float32)
        write_recording(folder / "audio" / uid, noisy, sample_rate)
        rows.append({"uid": uid, "speaker": f"s{number:02d}", "high": high, "loud": loud})
    table = pd.DataFrame(rows)
    table[:train].to_csv(folder / "splits" / "train.csv", index=False)
    table[train:].to_csv(folder / "splits" / "test.csv", index=False)
    (folder / "labels.txt").write_text("high\nloud\n", encoding="utf-8")
    return Corpus(folder, ("high", "loud"))


def write_shards(
    folder: Path,
    audio: Path,
    tables: dict[str, pd.DataFrame],
    *,
    group: int = 4,
    compression: str = "none",
    leave_out: tuple[str, ...] = (),
    told: bool = False,
) -> Path:
    """Recordings and tables as Parquet, a file a table; `leave_out` names columns: uid, ssast_metadata.

    With `told` the csv lies in the footer too, as `ssast pack` writes it.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir(parents=True, exist_ok=True)
    for name, frame in tables.items():
        places = [next((audio / uid).glob("waveform.*")) for uid in frame.index]
        kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
        sound = [{"bytes": place.read_bytes(), "path": f"{place.parent.name}{place.suffix}"} for place in places]
        if "ssast_metadata" not in leave_out:
            sound = [one | {"path": place.name} for one, place in zip(sound, places, strict=True)]
        columns = {"uid": pa.array(frame.index, pa.string()), "audio": pa.array(sound, kind)}
        columns |= {column: pa.array(frame[column]) for column in frame}
        columns["ssast_metadata"] = pa.array([(place.parent / "metadata.json").read_bytes() for place in places])
        table = pa.table({column: cells for column, cells in columns.items() if column not in leave_out})
        if told:
            text = base64.b64encode(zlib.compress(frame.to_csv().encode()))
            table = table.replace_schema_metadata({"ssast": json.dumps({"left_out": 0}), "ssast_csv": text})
        place = folder / f"{name}-00000-of-00001.parquet"
        pq.write_table(table, place, row_group_size=group, compression=compression, use_dictionary=False)
    return folder


@pytest.fixture(scope="session")
def shards_of() -> Callable[..., Path]:
    """`write_shards`."""
    return write_shards


@pytest.fixture(scope="session")
def still_shards(still_corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recordings and tables of `still_corpus` as shards, four recordings a row group; not to be changed."""
    tables = {name: still_corpus.frame(name) for name in ("train", "test")}
    return write_shards(tmp_path_factory.mktemp("still") / "shards", still_corpus.audio, tables)


@pytest.fixture
def shared() -> Path:
    """The folder of real recordings, $SSAST_SHARED or ../shared; the test is skipped where it is absent."""
    folder = Path(os.environ.get("SSAST_SHARED", "../shared"))
    folder = folder if folder.is_absolute() else REPOSITORY / folder
    if not folder.is_dir():
        pytest.skip(f"no real recordings in {folder}; set SSAST_SHARED")
    return folder


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    """A fresh corpus that the test may change: 12 training and 6 test clips of about half a second at 16 kHz."""
    return make_corpus(tmp_path / "corpus")


@pytest.fixture(scope="session")
def still_corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """The same corpus, made once; not to be changed."""
    return make_corpus(tmp_path_factory.mktemp("still") / "corpus")


@pytest.fixture
def record() -> Callable[..., Path]:
    """`write_recording`: one recording with its metadata.json."""
    return write_recording


@pytest.fixture(scope="session")
def published_tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file as the authors publish them, of the size and patches of SSAST-Tiny-Frame-400, for 64 frames."""
    import torch

    from ssast.model.pretraining import SSASTForPreTraining

    model = SSASTForPreTraining("tiny", 128, 2, target_length=64, mask_patch=8, seed=0)
    state = {"p_input_fdim": torch.tensor(128), "p_input_tdim": torch.tensor(64), **model.state_dict()}
    for head in ("v.head", "v.head_dist"):
        state |= {f"{head}.weight": torch.zeros(1000, 192), f"{head}.bias": torch.zeros(1000)}
    path = tmp_path_factory.mktemp("published") / "tiny.pth"
    torch.save({f"module.{name}": value for name, value in state.items()}, path)
    return path


@pytest.fixture(scope="module")
def narrow():
    """A tiny model with a quarter of its width: where modes run often, and what the model learns is beside the point.

    In this process only: a test that starts others, or reads a file with true widths, goes without.
    """
    from ssast.model.encoder import SIZES, Size

    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(SIZES, "tiny", Size(48, 3))
        yield


@pytest.fixture
def full_width(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tiny model as it is, among tests of narrow ones: where a file holds its true widths."""
    from ssast.model.encoder import SIZES, Size

    monkeypatch.setitem(SIZES, "tiny", Size(192, 3))


@pytest.fixture
def slim_nokd(monkeypatch: pytest.MonkeyPatch) -> None:
    """`base_nokd` as wide as tiny: where what counts is that it has one prefix token, not its 350 MB."""
    from ssast.model.encoder import SIZES, Size

    monkeypatch.setitem(SIZES, "base_nokd", Size(192, 3, prefix=1))


@pytest.fixture(scope="session", autouse=True)
def _no_wait_for_the_disk() -> Iterator[None]:
    """What tests write need not outlive a power cut; a run waits for the disk a dozen times."""
    connect = sqlite3.connect

    def without_waiting(*words: Any, **named: Any) -> sqlite3.Connection:
        database = connect(*words, **named)
        with contextlib.suppress(sqlite3.Error):  # a damaged one says so where it is asked
            database.execute("PRAGMA synchronous = OFF")
        return database

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "fsync", lambda number: None)
        patched.setattr(sqlite3, "connect", without_waiting)
        yield


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep what tests fetch and note out of the user's own folders, and published weights off the network."""
    os.environ["SSAST_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    os.environ["SSAST_STATE"] = str(tmp_path_factory.mktemp("state"))
    os.environ["SSAST_WEIGHTS_URL"] = "http://127.0.0.1:9/nowhere"


@pytest.fixture
def pooled(monkeypatch) -> list[str]:
    """The uids of the recordings that go through the base to be pooled, as they do."""
    from ssast.runs.features import Pooler

    seen: list[str] = []
    whole = Pooler.compute

    def watched(self: Pooler, source: Any) -> Any:
        for uid, values in whole(self, source):
            seen.append(uid)
            yield uid, values

    monkeypatch.setattr(Pooler, "compute", watched)
    return seen


@pytest.fixture
def pipe():
    """Make a named pipe at a path, into which nobody ever writes; the test is skipped where there are none."""
    if not hasattr(os, "mkfifo"):
        pytest.skip("this system has no named pipes")
    return os.mkfifo


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    """A cache of the test's own: what another test kept would be found."""
    monkeypatch.setenv("SSAST_CACHE", str(tmp_path / "cache"))
