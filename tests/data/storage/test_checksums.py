"""Files against the checksums that stores give."""

import base64
import hashlib
import zlib

import pytest

from ssast.data.storage.checksums import DamagedError, check_amazon, check_crc32c, check_md5, md5_of_base64

CONTENT = b"123456789"
MD5 = hashlib.md5(CONTENT).hexdigest()
CRC32C = "4waSgw=="  # E3069283, the check value of CRC-32C in RFC 3720


def coded(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


SUMS = {
    "ChecksumSHA256": coded(hashlib.sha256(CONTENT).digest()),
    "ChecksumSHA1": coded(hashlib.sha1(CONTENT).digest()),
    "ChecksumCRC32": coded(zlib.crc32(CONTENT).to_bytes(4, "big")),
    "ChecksumCRC32C": CRC32C,
}


@pytest.fixture
def whole(tmp_path):
    (tmp_path / "whole").write_bytes(CONTENT)
    return tmp_path / "whole"


@pytest.fixture
def damaged(tmp_path):
    (tmp_path / "damaged").write_bytes(b"023456789")
    return tmp_path / "damaged"


def never() -> dict[str, str]:
    raise AssertionError("the store need not be asked")


def test_googles_checksums_hold_and_fail(whole, damaged):
    check_md5(whole, md5_of_base64(coded(hashlib.md5(CONTENT).digest())))
    check_crc32c(whole, CRC32C)
    with pytest.raises(DamagedError, match="MD5"):
        check_md5(damaged, MD5)
    with pytest.raises(DamagedError, match="CRC32C"):
        check_crc32c(damaged, CRC32C)


def test_an_etag_that_is_the_md5_needs_no_further_question(whole):
    check_amazon(whole, f'"{MD5}"', never)


def test_an_etag_that_differs_is_damage_unless_it_cannot_be_an_md5(whole, damaged):
    with pytest.raises(DamagedError, match="MD5"):
        check_amazon(damaged, f'"{MD5}"', dict)
    with pytest.raises(DamagedError, match="MD5"):
        check_amazon(damaged, f'"{MD5}"', lambda: {"ServerSideEncryption": "AES256"})
    check_amazon(whole, f'"{"0" * 32}"', lambda: {"ServerSideEncryption": "aws:kms"})
    check_amazon(whole, f'"{"0" * 32}"', lambda: {"SSECustomerAlgorithm": "AES256"})
    check_amazon(whole, f'"{"0" * 32}-3"', dict)


@pytest.mark.parametrize("name", SUMS)
@pytest.mark.parametrize("etag", [f'"{"0" * 32}-3"', f'"{"0" * 32}"', ""])
def test_a_checksum_that_an_object_was_written_with_decides(whole, damaged, name, etag):
    head = {name: SUMS[name], "ChecksumType": "FULL_OBJECT", "ServerSideEncryption": "aws:kms"}
    check_amazon(whole, etag, lambda: head)
    with pytest.raises(DamagedError, match=name.removeprefix("Checksum")):
        check_amazon(damaged, etag, lambda: head)


@pytest.mark.parametrize(
    "head",
    [{"ChecksumCRC32": f"{SUMS['ChecksumSHA1']}-3"}, {**SUMS, "ChecksumSHA256": "x", "ChecksumType": "COMPOSITE"}],
)
def test_a_checksum_of_the_pieces_says_nothing_of_the_whole(damaged, head):
    check_amazon(damaged, f'"{"0" * 32}-3"', lambda: head)
