"""Streams of frames are walked by their own lengths, and a last frame in pieces shows."""

import struct

import pytest

from ssast.audio.frames import (
    aac_cut_off,
    adts_frame_bytes,
    after_id3,
    amr_cut_off,
    first_frame,
    mp3_cut_off,
    mp3_frame_bytes,
    mp3_frames,
)

MP3_FRAME = b"\xff\xfb\x90\x64" + bytes(413)  # MPEG 1 layer III, 128 kbit/s, 44.1 kHz: 417 bytes
ADTS_FRAME = b"\xff\xf1\x50\x80\x02\x1f\xfc" + bytes(9)  # 16 bytes
INFO_FRAME = b"\xff\xfb\x90\x64" + bytes(32) + b"Info" + struct.pack(">II", 1, 5) + bytes(369)


@pytest.mark.parametrize(
    ("header", "size"),
    [
        (b"\xff\xfb\x90\x64", 417),
        (b"\xff\xfb\x92\x64", 418),
        (b"\xff\xf3\x40\xc4", 104),  # MPEG 2 layer III, 32 kbit/s, 22.05 kHz
        (b"\xff\xe3\x48\xc4", 288),  # MPEG 2.5 layer III, 32 kbit/s, 8 kHz
        (b"\xff\xfd\x84\x04", 384),  # MPEG 1 layer II, 128 kbit/s, 48 kHz
        (b"\xff\xff\x44\x04", 128),  # MPEG 1 layer I, 128 kbit/s, 48 kHz
        (b"\xff\xfb\xf0\x64", 0),
        (b"\xff\xeb\x90\x64", 0),
        (b"\xff\xf1\x90\x64", 0),
        (b"abcd", 0),
        (b"\xff", 0),
    ],
)
def test_an_mp3_frame_tells_its_length(header, size):
    assert mp3_frame_bytes(header, 0) == size


def test_an_adts_frame_tells_its_length():
    assert adts_frame_bytes(ADTS_FRAME, 0) == 16
    assert adts_frame_bytes(MP3_FRAME, 0) == 0


def test_the_first_frame_is_found_behind_a_tag_and_junk():
    tag = b"ID3\x04\0\0\0\0\x01\x02" + bytes(130)
    assert after_id3(tag) == 140
    assert first_frame(tag + b"\xff\xfb junk" + MP3_FRAME * 4, mp3_frame_bytes) == 147
    assert first_frame(MP3_FRAME, mp3_frame_bytes) == 0
    assert first_frame(b"\xff" * 900, mp3_frame_bytes) is None


def test_a_whole_mp3_with_tags_behind_is_whole():
    assert mp3_cut_off(MP3_FRAME * 5 + b"TAG" + b"\xff" * 125) is None


def test_an_mp3_is_held_against_its_count_of_frames():
    assert mp3_frames(INFO_FRAME + MP3_FRAME * 5) == 5
    assert mp3_frames(MP3_FRAME * 5) == 0
    assert mp3_cut_off(INFO_FRAME + MP3_FRAME * 5) is None
    assert mp3_cut_off(INFO_FRAME + MP3_FRAME * 2) == "its header promises 5 frames and 2 are there"


def test_a_last_frame_in_pieces_shows():
    assert mp3_cut_off((MP3_FRAME * 5)[:-10]) == "its last frame should hold 417 bytes and 407 are there"
    assert aac_cut_off((ADTS_FRAME * 5)[:-3]) == "its last frame should hold 16 bytes and 13 are there"
    assert amr_cut_off(b"#!AMR\n" + (b"\x3c" + bytes(31)) * 3) is None
    assert amr_cut_off(b"#!AMR\n" + (b"\x3c" + bytes(31)) * 3 + b"\x3c") == (
        "its last frame should hold 32 bytes and 1 are there"
    )
    assert amr_cut_off(b"#!AMR-WB\n" + b"\x04" + bytes(16)) == "its last frame should hold 18 bytes and 17 are there"
