"""Stores on loopback: emulator processes for Google's and Amazon's, and a proxy that counts, delays and spoils."""

import asyncio
import contextlib
import http.client
import os
import random
import shutil
import socket
import subprocess
import sys
import threading
import time
import types
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote

import pytest

from ssast.data.storage import location, stores

PROGRAMS = Path(sys.executable).parent


@dataclass
class Store:
    """A running store; `kind` is gs or s3, `url` where it (or a proxy before it) answers."""

    kind: str
    url: str
    buckets: set[str] = field(default_factory=set)

    def bucket(self, name: str) -> str:
        """A new bucket's address."""
        if self.kind == "gs":
            self._ask("POST", "/storage/v1/b", f'{{"name": "{name}"}}'.encode(), "application/json")
        else:
            self._ask("PUT", f"/{name}", b"")
        return f"{self.kind}://{name}"

    def put(self, bucket: str, name: str, content: bytes) -> None:
        kind = "application/octet-stream"
        if self.kind == "gs":
            path = f"/upload/storage/v1/b/{bucket}/o?uploadType=media&name={quote(name, safe='')}"
            self._ask("POST", path, content, kind)
        else:
            self._ask("PUT", f"/{bucket}/{quote(name)}", content, kind)

    def put_folder(self, bucket: str, folder: Path, under: str = "") -> None:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                self.put(bucket, f"{under}{file.relative_to(folder)}", file.read_bytes())

    def get(self, bucket: str, name: str) -> bytes:
        path = f"/download/storage/v1/b/{bucket}/o/{quote(name, safe='')}?alt=media"
        return self._ask("GET", path if self.kind == "gs" else f"/{bucket}/{quote(name)}")

    def names(self, bucket: str) -> list[str]:
        import json

        return [item["name"] for item in json.loads(self._ask("GET", f"/storage/v1/b/{bucket}/o")).get("items", [])]

    def _ask(self, method: str, path: str, body: bytes | None = None, kind: str = "text/plain") -> bytes:
        headers = {"Content-Type": kind}
        if self.kind == "s3":  # whose emulator refuses to replace a file for nobody
            headers["Authorization"] = "AWS test:test"
        request = urllib.request.Request(self.url + path, body, headers, method=method)
        with urllib.request.urlopen(request) as answer:
            return answer.read()


@contextlib.contextmanager
def running(program: str, *words: str) -> Iterator[str]:
    """The url of a program of this environment that serves a port; skips where it is not installed."""
    found = shutil.which(program, path=f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}")
    if found is None:
        pytest.skip(f"{program} is not installed; pip install 'ssast[dev]'")
    port = free_port()
    process = subprocess.Popen(
        [found, *(word.format(port=port) for word in words)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        for _ in range(600):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@pytest.fixture(scope="session")
def gs_emulator() -> Iterator[Store]:
    words = ("start", "--host=127.0.0.1", "--port={port}", "--in-memory", "--quiet")
    with running("gcp-storage-emulator", *words) as url:
        yield Store("gs", url)


@pytest.fixture(scope="session")
def s3_emulator() -> Iterator[Store]:
    with running("moto_server", "-H", "127.0.0.1", "-p", "{port}") as url:
        yield Store("s3", url)


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache, whose folder it gives, and no client left over from another test."""
    monkeypatch.setenv("SSAST_CACHE", str(tmp_path / "cache"))
    _forget_clients()
    yield tmp_path / "cache"
    _forget_clients()


def _forget_clients() -> None:
    location.forget()
    for client in stores._clients.values():
        type(client).clear_instance_cache()
    stores._clients.clear()


@pytest.fixture
def point(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Send the clients of this process, and of those it starts, to a url."""

    def to(kind: str, url: str) -> None:
        _forget_clients()
        if kind == "gs":
            monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
            monkeypatch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
            return
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        for name, value in (("ACCESS_KEY_ID", "test"), ("SECRET_ACCESS_KEY", "test"), ("DEFAULT_REGION", "us-east-1")):
            monkeypatch.setenv(f"AWS_{name}", value)

    return to


@pytest.fixture
def gs(gs_emulator: Store, point: Callable[[str, str], None]) -> Store:
    """Google's store, and this process's clients pointed to it."""
    point("gs", gs_emulator.url)
    return gs_emulator


@dataclass
class Proxy:
    """What the proxy has seen and does: every request's method and path with its answer; delay and faults.

    `faults` are shares of the requests: "503", "reset", "short", "silent" (never answered), "trickle" (a piece now and
    then) and "flip" (one bit of a downloaded file is another); `refuse` answers a request by its own code.
    """

    url: str
    upstream: str
    delay: float = 0.0
    faults: dict[str, float] = field(default_factory=dict)
    refuse: Callable[[str, str], int | None] = lambda method, path: None
    seen: list[tuple[str, str, str]] = field(default_factory=list)
    chance: random.Random = field(default_factory=lambda: random.Random(0))
    lock: threading.Lock = field(default_factory=threading.Lock)
    ended: threading.Event = field(default_factory=threading.Event)

    def draw(self) -> str:
        """What is to happen to the next request."""
        with self.lock:
            value = self.chance.random()
        for name, share in self.faults.items():
            if value < share:
                return name
            value -= share
        return "whole"

    def downloads(self) -> list[str]:
        """The requests for the content of files."""
        return [path for method, path, _ in self.seen if is_download(method, path)]

    def uploads(self) -> list[str]:
        return [path for method, path, _ in self.seen if method in ("POST", "PUT") and "/upload/" in path]


def is_download(method: str, path: str) -> bool:
    """Whether a request asks for the content of a file, of Google's store or of Amazon's."""
    return method == "GET" and ("alt=media" in path or ("?" not in path and "/storage/v1/" not in path))


@contextlib.contextmanager
def proxying(upstream: str) -> Iterator[Proxy]:
    """A proxy before a url."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    server.request_queue_size = 64
    server.proxy = proxy = Proxy(f"http://127.0.0.1:{server.server_address[1]}", upstream)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.ended.set()
        server.shutdown()
        server.server_close()


@pytest.fixture(params=["gs", "s3"])
def either(request: pytest.FixtureRequest, point: Callable[[str, str], None]) -> Iterator[tuple[Store, Proxy]]:
    """Each store in turn with a proxy before it, to which this process's clients are pointed."""
    store = request.getfixturevalue(f"{request.param}_emulator")
    with proxying(store.url) as found:
        point(request.param, found.url)
        yield store, found


@pytest.fixture
def retries_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clients' own pauses before a next try are a twentieth of what they are."""

    async def sleep(seconds: float) -> None:
        await asyncio.sleep(seconds / 20)

    hurried = types.ModuleType("asyncio")
    vars(hurried).update(vars(asyncio) | {"sleep": sleep})
    for module in ("gcsfs.retry", "aiobotocore.endpoint"):
        monkeypatch.setattr(pytest.importorskip(module), "asyncio", hurried)


@pytest.fixture
def impatient(retries_soon: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients that wait for seconds where a user's wait for minutes."""
    monkeypatch.setattr(stores, "READ_SECONDS", 1.0)
    monkeypatch.setattr(stores, "CONNECT_SECONDS", 1.0)
    monkeypatch.setattr(stores, "ANSWER_SECONDS", 30.0)  # a loaded machine may be slow to try again
    monkeypatch.setattr(stores, "_PAUSE_SECONDS", 0.01)


@pytest.fixture
def impatient_soon(impatient: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """As impatient, for where no answer comes at all: no longer than it takes to try twice."""
    monkeypatch.setattr(stores, "ANSWER_SECONDS", 2.0)


@pytest.fixture
def proxy(gs_emulator: Store, point: Callable[[str, str], None]) -> Iterator[Proxy]:
    """A proxy before Google's store, and this process's clients pointed to it."""
    with proxying(gs_emulator.url) as found:
        point("gs", found.url)
        yield found


class _Handler(BaseHTTPRequestHandler):
    """One request through the proxy."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    trickles = False

    def _pass(self) -> None:
        proxy: Proxy = self.server.proxy
        body = self._body()
        time.sleep(proxy.delay)
        fault = proxy.draw()
        refused = proxy.refuse(self.command, self.path)
        proxy.seen.append((self.command, self.path, str(refused or fault)))
        if refused or fault == "503":
            self._answer(refused or 503, [], b'{"error": {"message": "spoilt by the test"}}')
        elif fault == "reset":
            self._hang_up()
        elif fault == "silent":
            proxy.ended.wait(300)
            self._hang_up()
        else:
            status, headers, content = self._upstream(proxy, body)
            if fault == "flip" and content and is_download(self.command, self.path):
                middle = len(content) // 2
                content = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
            self.trickles = fault == "trickle"
            self._answer(status, headers, content, cut=fault == "short" and len(content) > 1)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        pieces = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            pieces.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(pieces)

    def _upstream(self, proxy: Proxy, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        host = proxy.upstream.removeprefix("http://")
        connection = http.client.HTTPConnection(host, timeout=60)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in SKIPPED}
        connection.request(self.command, self.path, body or None, {**headers, "Content-Length": str(len(body))})
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        # Where the store names itself, as for the next piece of an upload, it must name the proxy.
        own = [(name, value.replace(proxy.upstream, proxy.url)) for name, value in answer.getheaders()]
        return answer.status, own, content

    def _answer(self, status: int, headers: list[tuple[str, str]], content: bytes, cut: bool = False) -> None:
        self.send_response(status)
        for name, value in headers:
            if name.lower() not in SKIPPED:
                self.send_header(name, value)
        told = next((value for name, value in headers if name.lower() == "content-length"), "0")
        self.send_header("Content-Length", told if self.command == "HEAD" else str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            with contextlib.suppress(ConnectionError):  # a killed client is gone
                for start in range(0, len(content), 100) if self.trickles else []:
                    self.wfile.write(content[start : start + 100])
                    self.server.proxy.ended.wait(0.3)
                if not self.trickles:
                    self.wfile.write(content[: len(content) // 2] if cut else content)
        if cut:
            self._hang_up()

    def _hang_up(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, format: str, *words: object) -> None:
        """Say nothing."""


for _method in ("GET", "POST", "PUT", "DELETE", "HEAD", "PATCH"):
    setattr(_Handler, f"do_{_method}", _Handler._pass)

SKIPPED = {"content-length", "transfer-encoding", "connection", "server", "date"}
