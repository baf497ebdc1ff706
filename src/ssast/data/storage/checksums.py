"""Compare a local file with the checksums that a store gives for it.

Google names MD5 and CRC32C of nearly every object. Amazon names those that the object was written with, if any
(`x-amz-checksum-*`); its ETag is the MD5 of an object that was written in one piece and not encrypted with a key of the
user's or of its key service (Amazon S3 API reference, "Object").
"""

import base64
import hashlib
import re
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

_PIECE = 1 << 20


class DamagedError(OSError):
    """What arrived is not what the store holds."""


def check_md5(file: Path, expected: str) -> None:
    """Raise DamagedError unless the file has this MD5 (hexadecimal)."""
    if _digest(file, "md5").hex() != expected:
        raise DamagedError("the MD5 checksum differs")


def check_crc32c(file: Path, expected: str) -> None:
    """Raise DamagedError unless the file has this CRC32C (base64); nothing where it cannot be computed here."""
    if _crc32c(file) not in (expected, ""):
        raise DamagedError("the CRC32C checksum differs")


def check_amazon(file: Path, etag: str, ask: Callable[[], Mapping[str, Any]]) -> None:
    """Raise DamagedError unless the file has the ETag as its MD5, or else what `ask` (head_object) says of it.

    An object without a checksum whose ETag is no MD5 cannot be compared.
    """
    tag = etag.strip('"')
    is_md5 = re.fullmatch(r"[0-9a-f]{32}", tag) is not None
    if is_md5 and _digest(file, "md5").hex() == tag:
        return
    head = ask()
    if str(head.get("ChecksumType") or "FULL_OBJECT") == "FULL_OBJECT":
        for name, compute in AMAZON_CHECKSUMS.items():
            expected = str(head.get(name) or "")
            if not expected or "-" in expected:  # with a dash it is of the pieces
                continue
            if compute(file) not in (expected, ""):
                raise DamagedError(f"the checksum {name.removeprefix('Checksum')} differs")
            return
    if is_md5 and not _hides_md5(head):
        raise DamagedError("the MD5 checksum differs")


def _hides_md5(head: Mapping[str, Any]) -> bool:
    """Whether an object is encrypted in a way that makes its ETag something else than the MD5."""
    return bool(head.get("SSECustomerAlgorithm")) or str(head.get("ServerSideEncryption") or "").startswith("aws:kms")


def _digest(file: Path, name: str) -> bytes:
    with open(file, "rb") as content:
        return hashlib.file_digest(content, lambda: hashlib.new(name, usedforsecurity=False)).digest()


def crc32(file: Path) -> int:
    """The CRC-32 of a file, as zlib computes it."""
    value = 0
    with open(file, "rb") as content:
        while piece := content.read(_PIECE):
            value = zlib.crc32(piece, value)
    return value


def _crc32c(file: Path) -> str:
    """The CRC32C in a store's spelling; empty where nothing here can compute it."""
    try:
        import google_crc32c
    except ImportError:
        return ""
    checksum = google_crc32c.Checksum()
    with open(file, "rb") as content:
        while piece := content.read(_PIECE):
            checksum.update(piece)
    return _base64(checksum.digest())


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


AMAZON_CHECKSUMS: dict[str, Callable[[Path], str]] = {
    "ChecksumSHA256": lambda file: _base64(_digest(file, "sha256")),
    "ChecksumSHA1": lambda file: _base64(_digest(file, "sha1")),
    "ChecksumCRC32C": _crc32c,
    "ChecksumCRC32": lambda file: _base64(crc32(file).to_bytes(4, "big")),
}


def md5_of_base64(text: Any) -> str:
    """An MD5 in base64 as hexadecimal digits; empty where it is none."""
    if not isinstance(text, str) or not re.fullmatch(r"[A-Za-z0-9+/]{22}==", text):
        return ""
    return base64.b64decode(text).hex()
