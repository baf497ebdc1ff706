"""Containers are told by their bytes alone, and say themselves when they are not whole."""

import struct

import pytest

from ssast.audio.container import CHECKS, cut_off, sniff
from ssast.audio.sizes import corrected, wav_parts

FMT = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, 16000, 32000, 2, 16)


def wav(data_size, content, *, riff_size=None, before=b"", after=b"", magic=b"RIFF"):
    body = b"WAVE" + before + FMT + struct.pack("<4sI", b"data", data_size) + content + after
    return magic + struct.pack("<I", len(body) if riff_size is None else riff_size) + body


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"RIFF\0\0\0\0WAVEfmt ", "wav"),
        (b"RF64\xff\xff\xff\xffWAVEds64", "wav"),
        (b"RIFF\0\0\0\0AVI LIST", None),
        (b"FORM\0\0\0\0AIFCFVER", "aiff"),
        (b"\0\0\0\x20ftypM4A ", "mp4"),
        (b"\0\0\0\x08wide\0\0\0\0mdat", "mp4"),
        (b"fLaC\0\0\0\x22", "flac"),
        (b"ID3\x04\0\0\0\0\0\x02\0\0fLaC\0\0\0\x22", "flac"),
        (b"OggS\0\x02", "ogg"),
        (b"#!AMR-WB\n", "amr"),
        (b"NIST_1A\n   1024\n", "sph"),
        (b"hello, world", None),
        (b"", None),
    ],
)
def test_the_first_bytes_tell_the_container(head, kind):
    assert sniff(head) == kind


@pytest.mark.parametrize("kind", CHECKS)
@pytest.mark.parametrize("data", [b"", b"\0", b"\xff" * 40, bytes(300)])
def test_no_bytes_make_the_check_fail_otherwise_than_in_words(kind, data):
    assert cut_off(data, kind) is None or isinstance(cut_off(data, kind), str)


def test_a_whole_wav_stays_as_it_is():
    data = wav(8, bytes(8), after=b"LIST\x04\0\0\0INFO")
    assert cut_off(data, "wav") is None
    assert corrected(data, "wav") is data


def test_an_empty_wav_with_a_chunk_behind_is_not_taken_for_a_stream():
    data = wav(0, b"", after=b"LIST\x04\0\0\0INFO")
    assert wav_parts(data)[b"data"][1] == 0
    assert corrected(data, "wav") is data


@pytest.mark.parametrize(("size", "riff_size"), [(0, 36), (0, 0), (0xFFFFFFFF, 0xFFFFFFFF), (0x7FFFF000, 0x7FFFF024)])
def test_a_stream_of_unknown_size_gets_the_true_one(size, riff_size):
    data = corrected(wav(size, bytes(100), riff_size=riff_size), "wav")
    assert wav_parts(data)[b"data"] == (44, 100)
    assert struct.unpack_from("<I", data, 4)[0] == len(data) - 8
    assert cut_off(data, "wav") is None


def test_an_rf64_stream_of_unknown_size_becomes_a_plain_wav():
    before = struct.pack("<4sIQQQI", b"ds64", 28, 0, 0, 0, 0)
    data = corrected(wav(0xFFFFFFFF, bytes(100), riff_size=0xFFFFFFFF, before=before, magic=b"RF64"), "wav")
    assert data[:4] == b"RIFF"
    assert data[12:16] == b"JUNK"
    assert wav_parts(data)[b"data"][1] == 100


def test_an_index_that_never_came_is_missed():
    assert cut_off(b"\0\0\0\x10ftypM4A \0\0\0\0" + b"\0\0\0\x10mdat" + bytes(8), "mp4") == (
        "it ends before its index ('moov')"
    )


def test_an_ogg_whose_last_page_does_not_end_the_stream_is_missed():
    page = b"OggS\0\0" + bytes(8) + b"abcd" + bytes(8) + b"\x01\x05hello"
    assert cut_off(page, "ogg") == "its last page does not end the stream"
    assert cut_off(page + page[:5] + b"\x04" + page[6:], "ogg") is None
