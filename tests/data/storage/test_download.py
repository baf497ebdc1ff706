"""Published weights come by name from a server, whole and checked, whatever the network does on the way."""

import hashlib
import multiprocessing
import os
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from ssast.data.storage.download import MIRROR, address_of, weights_file
from ssast.errors import UserError
from ssast.model.checkpoints.published import PUBLISHED, published_name, read_checkpoint

NAME = "SSAST-Tiny-Frame-400"


class Server(ThreadingHTTPServer):
    """Serves `content` as every file; `turns` are what the first requests get in its stead, one after the other."""

    daemon_threads = True

    def __init__(self, content: bytes):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.etag = content, '"one"'
        self.turns: list[Callable[[Handler], None]] = []
        self.asked: list[tuple[str, str | None]] = []

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/models"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *words):
        pass

    def do_GET(self):
        self.server.asked.append((self.path, self.headers.get("Range")))
        (self.server.turns.pop(0) if self.server.turns else whole)(self)

    def give(self, code: int, body: bytes = b"", *, said: int | None = None, kind="application/octet-stream", **more):
        self.send_response(code)
        headers = {"Content-Type": kind, "Content-Length": str(len(body) if said is None else said)}
        for name, value in (headers | {name.replace("_", "-"): value for name, value in more.items()}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


def whole(request: Handler) -> None:
    """As a real server: from where the client asks, if it has a part of this very file."""
    content, etag = request.server.content, request.server.etag
    asked = request.headers.get("Range")
    if asked is None or request.headers.get("If-Range") != etag:
        request.give(200, content, ETag=etag)
        return
    start = int(asked.removeprefix("bytes=").rstrip("-"))
    extent = f"bytes {start}-{len(content) - 1}/{len(content)}"
    request.give(206, content[start:], ETag=etag, Content_Range=extent)


def cut(after: int) -> Callable[[Handler], None]:
    """The connection ends after so many bytes."""
    return lambda request: request.give(
        200, request.server.content[:after], said=len(request.server.content), ETag=request.server.etag
    )


def code(number: int) -> Callable[[Handler], None]:
    return lambda request: request.give(number)


@pytest.fixture
def server(published_tiny, tmp_path, monkeypatch):
    """The server behind $SSAST_WEIGHTS_URL, and an empty cache."""
    monkeypatch.setenv("SSAST_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    with Server(published_tiny.read_bytes()) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        monkeypatch.setenv(MIRROR, running.base + "/")
        yield running
        running.shutdown()


@pytest.fixture
def place(tmp_path):
    return tmp_path / "cache" / "weights" / f"{NAME}.pth"


def names(folder):
    return sorted(entry.name for entry in folder.iterdir() if not entry.name.endswith(".lock"))


def test_weights_are_fetched_once_pinned_and_then_need_no_network(server, place):
    said, seen = [], []
    assert weights_file(NAME, say=said.append, progress=lambda *done: seen.append(done)) == place
    assert place.read_bytes() == server.content
    digest = hashlib.sha256(server.content).hexdigest()
    assert (place.parent / f"{NAME}.pth.sha256").read_text() == f"{digest}  {NAME}.pth\n"
    assert said[0] == f"fetching {NAME} from {server.base}/{NAME}.pth"
    assert f"SHA-256 {digest}; its authors publish none" in said[1]
    assert seen[-1] == (len(server.content), len(server.content))
    assert names(place.parent) == [f"{NAME}.pth", f"{NAME}.pth.sha256"]
    server.shutdown()
    assert weights_file(NAME, say=said.append) == place
    assert len(said) == 2
    assert read_checkpoint(place).config["model_size"] == "tiny"


def test_a_cut_download_goes_on_where_it_stopped(server, place):
    server.turns = [cut(300_000)]
    weights_file(NAME)
    assert [asked for _, asked in server.asked] == [None, "bytes=300000-"]
    assert place.read_bytes() == server.content


def test_what_a_killed_process_had_fetched_is_gone_on_with(server, place, dies):
    with dies(os, "replace", after=1):  # the first is the pin's
        weights_file(NAME)
    assert not place.exists()
    weights_file(NAME)
    assert len(server.asked) == 1
    assert place.read_bytes() == server.content


def test_a_file_that_changed_meanwhile_is_fetched_anew(server, place):
    def change_and_cut(request):
        cut(300_000)(request)
        server.etag = '"two"'

    server.turns = [change_and_cut]
    weights_file(NAME)
    assert place.read_bytes() == server.content


@pytest.mark.parametrize("etag", ['W/"weak"', ""])
def test_without_a_strong_etag_nothing_is_pieced_together(server, place, etag):
    server.turns = [
        lambda request: request.give(200, server.content[:9], said=len(server.content), ETag=etag),
    ]
    weights_file(NAME)
    assert [asked for _, asked in server.asked] == [None, None]
    assert place.read_bytes() == server.content


def test_an_answer_that_begins_elsewhere_is_not_taken(server, place):
    def elsewhere(request):
        extent = f"bytes 5-{len(server.content) - 1}/{len(server.content)}"
        request.give(206, server.content[5:], ETag=server.etag, Content_Range=extent)

    server.turns = [cut(300_000), elsewhere]
    weights_file(NAME)
    assert place.read_bytes() == server.content


def test_a_part_past_the_end_of_the_servers_file_is_thrown_away(server, place):
    server.turns = [cut(300_000), code(416)]
    weights_file(NAME)
    assert [asked for _, asked in server.asked] == [None, "bytes=300000-", None]
    assert place.read_bytes() == server.content


def test_a_busy_server_is_asked_again(server, place):
    server.turns = [code(503), code(429)]
    weights_file(NAME)
    assert len(server.asked) == 3
    assert place.exists()


def test_a_server_without_the_file_is_asked_once_and_the_sentence_tells_the_way_by_hand(server, place):
    server.turns = [code(404)] * 9
    with pytest.raises(UserError) as caught:
        weights_file(NAME)
    assert len(server.asked) == 1
    said = str(caught.value)
    assert f"from {server.base}/{NAME}.pth it could not be had (HTTP Error 404" in said
    assert f"open that address in a browser where there is a network and save the file as {place}" in said
    assert "or set SSAST_WEIGHTS_URL" in said


def test_a_network_that_always_cuts_is_told_with_what_is_kept(server, place):
    server.turns = [cut(5_000_000), *[code(503)] * 9]
    with pytest.raises(UserError, match=r"503.*; the 5 MB that arrived are kept and the same command"):
        weights_file(NAME)
    server.turns = []
    weights_file(NAME)
    assert server.asked[-1][1] == "bytes=5000000-"


def test_no_network_is_one_sentence(server, place):
    server.shutdown()
    server.server_close()
    with pytest.raises(UserError, match=r"could not be had \(Connection refused\); open that address in a browser"):
        weights_file(NAME)


def test_the_login_page_of_a_network_is_not_taken_for_weights(server, place):
    page = b"<html><body>Welcome to the guest network</body></html>"
    server.turns = [lambda request: request.give(200, page, kind="text/html; charset=utf-8")]
    with pytest.raises(UserError, match="a web page came instead, as where a network wants a login"):
        weights_file(NAME)
    server.turns = [lambda request: request.give(200, page)]
    with pytest.raises(UserError, match=f"what {server.base}.* holds is not {NAME}: it is not a checkpoint"):
        weights_file(NAME)
    assert names(place.parent) == []


def test_weights_of_another_name_are_refused(server, place):
    with pytest.raises(UserError, match=r"is not SSAST-Base-Frame-400: it was pretrained with model_size tiny, but"):
        weights_file("SSAST-Base-Frame-400")
    assert names(place.parent) == []


def test_another_file_than_the_first_is_refused(server, place):
    weights_file(NAME)
    place.unlink()
    pin = place.parent / f"{NAME}.pth.sha256"
    pin.write_text("0" * 64 + f"  {NAME}.pth\n")
    with pytest.raises(UserError, match=f"gave another file than before: its SHA-256 is .* and {'0' * 64} was pinned"):
        weights_file(NAME)
    assert names(place.parent) == [pin.name]
    pin.unlink()
    assert weights_file(NAME) == place


def test_a_file_that_was_altered_in_the_cache_is_refused(server, place):
    weights_file(NAME)
    with open(place, "r+b") as file:
        file.seek(1000)
        file.write(b"x")
    with pytest.raises(UserError, match=r"is not the file that was fetched: .*; remove .* to fetch it anew"):
        weights_file(NAME)
    place.unlink()
    weights_file(NAME)
    assert place.read_bytes() == server.content


def test_a_file_that_was_put_there_by_hand_is_checked_pinned_and_used(server, place):
    place.parent.mkdir(parents=True)
    place.write_bytes(b"<html>not found</html>")
    with pytest.raises(UserError, match=f"{NAME}.pth holds is not {NAME}: it is not a checkpoint"):
        weights_file(NAME)
    place.write_bytes(server.content)
    said = []
    assert weights_file(NAME, say=said.append) == place
    assert "pinned in" in said[0]
    assert server.asked == []


def fetch(results):
    said = []
    results.put((weights_file(NAME, say=said.append).stat().st_size, len(said)))


def test_two_processes_at_once_fetch_once(server, place):
    results = multiprocessing.get_context("fork").SimpleQueue()
    both = [multiprocessing.get_context("fork").Process(target=fetch, args=(results,)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(60)
    size = len(server.content)
    assert sorted(results.get() for _ in both) == [(size, 0), (size, 2)]
    assert len(server.asked) == 1


def test_a_cache_that_cannot_be_written_is_one_sentence(server, place, tmp_path):
    (tmp_path / "cache").write_text("in the way")
    with pytest.raises(
        UserError, match=r"cannot write the cache .*; free space, change the rights, or set SSAST_CACHE"
    ):
        weights_file(NAME)


def test_a_full_disk_is_one_sentence(server, place, monkeypatch):
    def full(file):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(UserError, match=r"cannot write the cache .*: no space left on device"):
        weights_file(NAME)


def test_encrypted_addresses_lead_to_no_others():
    from urllib.error import URLError
    from urllib.request import Request

    from ssast.data.storage.download import _Guarded

    guarded = _Guarded()
    for start, to in (("https://a/x", "http://b/x"), ("https://a/x", "ftp://b/x")):
        with pytest.raises(URLError, match="which is not encrypted"):
            guarded.redirect_request(Request(start), None, 302, "", {}, to)
    assert guarded.redirect_request(Request("https://a/x"), None, 302, "", {}, "https://b/x").full_url == "https://b/x"


def test_addresses_are_the_authors_or_the_mirrors(monkeypatch):
    monkeypatch.delenv(MIRROR, raising=False)
    assert address_of("SSAST-Base-Frame-400") == (
        "https://www.dropbox.com/s/nx6nl4d4bl71sm8/SSAST-Base-Frame-400.pth?dl=1"
    )
    assert len({address_of(name) for name in PUBLISHED}) == len(PUBLISHED) == 13
    monkeypatch.setenv(MIRROR, "/mnt/models")
    with pytest.raises(UserError, match="SSAST_WEIGHTS_URL is /mnt/models, expected http:// or https://"):
        address_of(NAME)


@pytest.mark.parametrize("text", ["SSAST-Tiny-Frame-400", "ssast-tiny-frame-400", "SSAST-Tiny-Frame-400.pth"])
def test_names_are_known_in_any_spelling(text):
    assert published_name(text) == NAME


@pytest.mark.parametrize("text", ["", "tiny", "SSAST-Tiny-Frame", "models/SSAST-Tiny-Frame-400", "x.pth"])
def test_other_words_are_no_names(text):
    assert published_name(text) is None
