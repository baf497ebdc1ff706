"""Fetch published weights by their name into the cache of this machine, once, and check them at each use.

`weights/` in the cache holds NAME.pth and, beside it, its SHA-256 in NAME.pth.sha256: the authors publish none, so the
first file that proves to be such a model says what every later one must be. Both may also be put there by hand.
"""

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import HTTPRedirectHandler, Request, build_opener

from ssast.data.storage.atomic_writes import OUT_OF_ROOM, atomic_file, first_line
from ssast.data.storage.cache import cache_folder, locked
from ssast.data.storage.stores import DamagedError, again
from ssast.errors import UserError
from ssast.model.checkpoints.published import PUBLISHED, PUBLISHED_ENDING, check_sizes, read_checkpoint
from ssast.safe_reading import json_file

MIRROR = "SSAST_WEIGHTS_URL"
TIMEOUT_SECONDS = 20.0
_PIECE = 1 << 18
SPENT = 416  # "range not satisfiable": there is nothing after what we have

Say = Callable[[str], None]
DownloadProgress = Callable[[int, int | None], None]
"""Called with the bytes that are here and, where it is known, of how many."""


class _WebPageError(Exception):
    """A page came where weights were expected."""


def weights_file(
    name: str, *, say: Say = lambda text: None, progress: DownloadProgress = lambda done, total: None
) -> Path:
    """The file of a name in `PUBLISHED`, fetched where it is not here yet; one process does, others wait for it.

    A fetch that was cut goes on where it stopped. UserError where it cannot be had, naming the way by hand, and where
    the file is not the one that was pinned.
    """
    place = cache_folder() / "weights" / f"{name}{PUBLISHED_ENDING}"
    if not (place.exists() and _pin(place).exists()):
        with _writing(place.parent):
            place.parent.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            place.parent.mkdir(exist_ok=True)
            with locked(place.with_name(f".{place.name}.lock")):
                if not place.exists():
                    _fetch(name, place, say, progress)
                elif not _pin(place).exists():
                    _admit(place, name, str(place))
                    _keep_pin(place, place, say)
    _compare(place)
    return place


def address_of(name: str) -> str:
    """Where a name is fetched from: the authors' address, or the folder that $SSAST_WEIGHTS_URL names."""
    mirror = os.environ.get(MIRROR, "").strip().rstrip("/")
    if not mirror:
        return PUBLISHED[name].address(name)
    if not mirror.startswith(("http://", "https://")):
        raise UserError(
            f"{MIRROR} is {mirror}, expected http:// or https:// and the folder that holds {name}{PUBLISHED_ENDING}."
        )
    return f"{mirror}/{name}{PUBLISHED_ENDING}"


def _fetch(name: str, place: Path, say: Say, progress: DownloadProgress) -> None:
    """Bring the file to its place, checked; what arrived of one that was cut stays beside it for the next try."""
    address, part = address_of(name), place.with_name(f"{place.name}.part")
    say(f"fetching {name} from {address}")
    try:
        again(lambda: _receive(address, part, progress))
    except OSError as error:
        if error.errno in OUT_OF_ROOM or str(error.filename or "").startswith(str(place.parent)):
            raise
        raise _by_hand(name, address, place, f"it could not be had ({first_line(error)})", part) from error
    except _WebPageError as error:
        raise _by_hand(name, address, place, "a web page came instead, as where a network wants a login") from error
    try:
        _admit(part, name, address)
        if _pin(place).exists():
            _compare(place, part, f"{address} gave another file than before:")
        else:
            _keep_pin(place, part, say)
    except UserError:
        _forget(part)
        raise
    os.replace(part, place)
    _forget(part)


def _by_hand(name: str, address: str, place: Path, why: str, part: Path | None = None) -> UserError:
    """The sentence for weights that cannot be fetched, with what to do instead."""
    here = part.stat().st_size if part is not None and part.exists() else 0
    kept = f"the {here / 1e6:.0f} MB that arrived are kept and the same command goes on from them; or " if here else ""
    return UserError(
        f"{name} is not on this machine, and from {address} {why}; {kept}open that address in a browser where there is "
        f"a network and save the file as {place}, or set {MIRROR} to a folder on the web that holds it; "
        "to try the way without it, pass a folder that `ssast pretrain` wrote, or none for random weights.",
        path=[address, place],
    )


def _receive(address: str, part: Path, progress: DownloadProgress) -> None:
    """Write what `part` lacks; DamagedError, with all that came kept, where less came than was said."""
    known = _tag(part, address)
    here = part.stat().st_size if known and part.exists() else 0
    if here and here == known.get("total"):
        return
    asked = {"User-Agent": "ssast", "Accept-Encoding": "identity"}
    asked |= {"Range": f"bytes={here}-", "If-Range": known["validator"]} if here else {}
    with _answers(part), _opened(Request(address, headers=asked)) as answer:
        start, total = _extent(answer)
        if start not in (0, here):
            _forget(part)
            raise DamagedError("another part came than was asked for")
        _keep_tag(part, address, answer, total)
        with open(part, "r+b" if start else "wb") as file:
            file.seek(start)
            while piece := answer.read(_PIECE):
                file.write(piece)
                progress(file.tell(), total)
            file.flush()
            os.fsync(file.fileno())
            if total is not None and file.tell() != total:
                raise DamagedError(f"{file.tell()} of {total} bytes arrived")


def _opened(request: Request) -> HTTPResponse:
    answer: HTTPResponse = build_opener(_Guarded).open(request, timeout=TIMEOUT_SECONDS)
    if answer.headers.get_content_type() == "text/html":
        answer.close()
        raise _WebPageError
    return answer


class _Guarded(HTTPRedirectHandler):
    """Follows redirects, but not from https to what anyone on the way can change."""

    def redirect_request(self, req: Request, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Request | None:
        if req.full_url.startswith("https:") and not newurl.startswith("https:"):
            raise URLError(OSError(f"{req.full_url} leads to {newurl}, which is not encrypted"))
        return super().redirect_request(req, fp, code, msg, headers, newurl)


@contextlib.contextmanager
def _answers(part: Path) -> Iterator[None]:
    """Show the errors of the network under urllib's, so that `again` can tell which are passing."""
    try:
        yield
    except HTTPError as error:
        error.close()
        if error.code != SPENT:
            raise
        _forget(part)
        raise DamagedError("the server has another file by now") from error
    except URLError as error:
        raise (error.reason if isinstance(error.reason, OSError) else error) from error
    except HTTPException as error:
        raise DamagedError(first_line(error)) from error


def _extent(answer: HTTPResponse) -> tuple[int, int | None]:
    """(where the answer begins in the file, the size of the whole file or None)."""
    if answer.status == 206:
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", answer.headers.get("Content-Range", ""))
        if found is None:
            return -1, None
        return int(found[1]), None if found[2] == "*" else int(found[2])
    length = answer.headers.get("Content-Length", "")
    return 0, int(length) if length.isdecimal() else None


def _tag(part: Path, address: str) -> dict[str, Any]:
    """What the server said of the file that `part` is a part of; nothing where it cannot be gone on with."""
    try:
        known = json_file(_beside(part))
        return known if known["address"] == address and isinstance(known["validator"], str) else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _keep_tag(part: Path, address: str, answer: HTTPResponse, total: int | None) -> None:
    """Note by what the server will know this very file again; an ETag that starts with W/ does not promise that."""
    etag = answer.headers.get("ETag", "")
    validator = etag if etag and not etag.startswith("W/") else answer.headers.get("Last-Modified")
    content = {"address": address, "validator": validator, "total": total}
    _beside(part).write_text(json.dumps(content), encoding="utf-8")


def _beside(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    _beside(part).unlink(missing_ok=True)


def _admit(file: Path, name: str, source: str) -> None:
    """UserError unless the file is a published checkpoint of the size and patches of its name."""
    facts = PUBLISHED[name]
    try:
        check_sizes(read_checkpoint(file), model_size=facts.model_size, fshape=facts.fshape, tshape=facts.tshape)
    except UserError as error:
        reason = str(error).replace(str(file), "it")
        raise UserError(f"what {source} holds is not {name}: {reason}", path=source) from error


def _pin(place: Path) -> Path:
    return place.with_name(f"{place.name}.sha256")


def _keep_pin(place: Path, file: Path, say: Say) -> None:
    """Write the file's SHA-256 down as sha256sum does, and say so."""
    digest = _sha256(file)
    with atomic_file(_pin(place)) as unfinished:
        unfinished.write_text(f"{digest}  {place.name}\n", encoding="utf-8")
    say(
        f"{place.name} has SHA-256 {digest}; its authors publish none to compare with, so this one is pinned in "
        f"{_pin(place)} and checked from now on"
    )


def _compare(place: Path, file: Path | None = None, lead: str = "") -> None:
    """UserError unless the file (None: that at the place) has the SHA-256 that was pinned."""
    expected = _pin(place).read_text(encoding="utf-8").split()[:1]
    digest = _sha256(file or place)
    if [digest] != expected:
        raise UserError(
            f"{lead or f'{place} is not the file that was fetched:'} its SHA-256 is {digest}, and "
            f"{''.join(expected) or 'nothing'} was pinned in {_pin(place)}; "
            + (f"remove {place} to fetch it anew" if file is None else "ask where the file comes from")
            + ", or remove the pin if you trust it.",
            path=[_pin(place), place],
        )


def _sha256(file: Path) -> str:
    with open(file, "rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


@contextlib.contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Say in one sentence that the cache cannot be written."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"cannot write the cache {folder}: {first_line(error).lower()}; free space, change the rights, "
            "or set SSAST_CACHE to another folder.",
            path=folder,
        ) from error
