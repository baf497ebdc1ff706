"""Find the frames of mp3, AAC and AMR streams, how long they are and what is missing of the last one."""

import struct
from collections.abc import Callable

from ssast.audio.source import Data

MP3_KBPS = {  # by (MPEG version 1, layer), ISO 11172-3 and 13818-3
    (True, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
AMR_BYTES = {  # of a frame with its header, by frame type; RFC 4867
    b"#!AMR\n": (13, 14, 16, 18, 20, 21, 27, 32, 6, 7, 6, 6, 1, 1, 1, 1),
    b"#!AMR-WB\n": (18, 24, 33, 37, 41, 47, 51, 59, 61, 6, 1, 1, 1, 1, 1, 1),
}

MOST_TAGS = 64


def missing(what: str, promised: int, present: int) -> str | None:
    """Say how much less is there than promised, None where it is all there."""
    return f"{what} should hold {promised} bytes and {max(present, 0)} are there" if promised > present else None


def after_id3(data: Data, at: int = 0) -> int:
    """Give where the sound begins behind the ID3v2 tags at a place, the place itself where none is."""
    for _ in range(MOST_TAGS):
        if data[at : at + 3] != b"ID3" or at + 10 > len(data):
            break
        head = data[at + 5 : at + 10]
        size = sum((byte & 127) << shift for byte, shift in zip(head[1:], (21, 14, 7, 0), strict=True))
        at += 10 + size + (10 if head[0] & 0x10 else 0)  # a tag may end with its header once more
    return at


def mp3_frame_bytes(data: Data, at: int) -> int:
    """Give the length of the MPEG audio frame at a place, 0 where there is none."""
    if at + 4 > len(data) or data[at] != 0xFF or data[at + 1] & 0xE0 != 0xE0:
        return 0
    version, layer = data[at + 1] >> 3 & 3, 4 - (data[at + 1] >> 1 & 3)
    kbps_index, rate_index, padding = data[at + 2] >> 4, data[at + 2] >> 2 & 3, data[at + 2] >> 1 & 1
    if version == 1 or layer == 4 or kbps_index in (0, 15) or rate_index == 3:
        return 0
    sample_rate = (44100, 48000, 32000)[rate_index] >> {3: 0, 2: 1, 0: 2}[version]
    bits = 1000 * MP3_KBPS[version == 3, layer][kbps_index]
    if layer == 1:
        return (12 * bits // sample_rate + padding) * 4
    return (72 if layer == 3 and version != 3 else 144) * bits // sample_rate + padding


def adts_frame_bytes(data: Data, at: int) -> int:
    """Give the length of the ADTS frame (AAC) at a place, 0 where there is none."""
    if at + 7 > len(data) or data[at] != 0xFF or data[at + 1] & 0xF6 != 0xF0 or data[at + 2] >> 2 & 15 > 12:
        return 0
    length = (data[at + 3] & 3) << 11 | data[at + 4] << 3 | data[at + 5] >> 5
    return length if length > 7 else 0


def first_frame(data: Data, length: Callable[[Data, int], int]) -> int | None:
    """Give where three frames follow each other (fewer at the end of the data), looked for in the first 64 KiB."""
    start = after_id3(data)
    at = data.find(b"\xff", start, start + 65536)
    while at >= 0:
        place = at
        for _ in range(3):
            step = length(data, place)
            place += step
            if step == 0 or place >= len(data):
                break
        if step and (place < len(data) or at == start):
            return at
        at = data.find(b"\xff", at + 1, start + 65536)
    return None


def _walk(data: Data, at: int, length: Callable[[Data, int], int]) -> tuple[int, str | None]:
    """Count the frames and say whether the last one is whole; bytes between frames (tags, damage) are stepped over."""
    count, lost = 0, False
    while at < len(data):
        step = length(data, at)
        if step and at + step > len(data):
            return count, None if lost else missing("its last frame", step, len(data) - at)
        count, lost = count + bool(step), step == 0
        at = at + step if step else next_sign(data, at)
        if at < 0:
            break
    return count, None


def next_sign(data: Data, at: int) -> int:
    """Give the next place behind this one where a frame may begin, tags stepped over; -1 where there is none."""
    if data[at : at + 3] == b"ID3":
        return max(at + 1, after_id3(data, at))
    frame = data.find(b"\xff", at + 1)
    tag = data.find(b"ID3", at + 1, frame if frame >= 0 else len(data))
    return tag if tag >= 0 else frame


def mp3_frames(data: Data) -> int:
    """Give the number of frames that an MP3's Xing or Info header promises, 0 where it has none or does not tell."""
    at = first_frame(data, mp3_frame_bytes)
    head = data[at : at + 200] if at is not None else b""
    places = [place for name in (b"Xing", b"Info") if (place := head.find(name, 13, 44)) > 0]
    flags, count = struct.unpack_from(">II", head, places[0] + 4) if places else (0, 0)
    return count if flags & 1 else 0


def mp3_cut_off(data: Data) -> str | None:
    """Compare with the frame count of the Xing header; without one, only a last frame in pieces tells."""
    start = first_frame(data, mp3_frame_bytes)
    count, lacking = _walk(data, start or 0, mp3_frame_bytes)
    promised = mp3_frames(data)
    if count < promised:  # the frame with the header itself is counted here and not there
        return f"its header promises {promised} frames and {max(count - 1, 0)} are there"
    return lacking


def aac_cut_off(data: Data) -> str | None:
    """Find a last frame in pieces; ADTS has no header that tells more."""
    return _walk(data, first_frame(data, adts_frame_bytes) or 0, adts_frame_bytes)[1]


def amr_cut_off(data: Data) -> str | None:
    """Find a last frame in pieces; AMR has no header that tells more."""
    for magic, sizes in AMR_BYTES.items():
        at = len(magic)
        while data[: len(magic)] == magic and at < len(data):
            step = sizes[data[at] >> 3 & 15]
            if at + step > len(data):
                return missing("its last frame", step, len(data) - at)
            at += step
    return None
