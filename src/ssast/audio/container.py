"""Tell which container a recording's bytes are, and whether they end before their own headers promise.

Only the framing is read, never the sound: chunk, page, packet and frame sizes. Everything works on damaged bytes.
"""

import struct
from collections.abc import Callable

from ssast.audio import frames
from ssast.audio.sizes import UNKNOWN_AIFF, W64_RIFF, chunks, sph_size, wav_parts
from ssast.audio.source import Data, unpacked

ASF_HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
ASF_FILE = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
EBML_HEADER, EBML_SEGMENT, EBML_CLUSTER = 0x1A45DFA3, 0x18538067, 0x1F43B675
MP4_FIRST = {b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"}


def sniff(data: Data) -> str | None:
    """Name the container by its first bytes: wav, flac, mp3, aac, ogg, mp4, webm, asf, aiff, amr, au, caf, w64, sph."""
    head = data[:16]
    if head[:4] in (b"RIFF", b"RIFX", b"RF64") and data[8:12] == b"WAVE":
        return "wav"
    if head[:4] == b"FORM" and data[8:12] in (b"AIFF", b"AIFC"):
        return "aiff"
    if head[4:8] in MP4_FIRST:
        return "mp4"
    for magic, kind in (
        (b"fLaC", "flac"),
        (b"OggS", "ogg"),
        (b"\x1a\x45\xdf\xa3", "webm"),
        (ASF_HEADER, "asf"),
        (b"#!AMR", "amr"),
        (b".snd", "au"),
        (b"dns.", "au"),
        (b"caff", "caf"),
        (W64_RIFF, "w64"),
        (b"NIST_1A", "sph"),
    ):
        if head.startswith(magic):
            return kind
    return _sniff_frames(data)


def _sniff_frames(data: Data) -> str | None:
    start = frames.after_id3(data)
    if data[start : start + 4] == b"fLaC":
        return "flac"
    if frames.first_frame(data, frames.mp3_frame_bytes) is not None:
        return "mp3"
    if frames.first_frame(data, frames.adts_frame_bytes) is not None:
        return "aac"
    return None


def cut_off(data: Data, kind: str) -> str | None:
    """Say what is missing behind the end of a container's data, None where nothing is or where it cannot be known."""
    try:
        return CHECKS[kind](data)
    except (struct.error, IndexError, OverflowError):
        return "its header is not whole"


def _wav(data: Data) -> str | None:
    parts = wav_parts(data)
    if b"data" not in parts:
        return "it ends before its samples begin"
    at, size = parts[b"data"]
    return frames.missing("its data chunk", size, len(data) - at)


def _aiff(data: Data) -> str | None:
    for name, at, size in chunks(data, 12, ">4sI", even=True):
        if name == b"SSND":
            return frames.missing("its sound chunk", size if size < UNKNOWN_AIFF else 0, len(data) - at)
    return "it ends before its samples begin"


def _caf(data: Data) -> str | None:
    seen = False
    for name, at, size in chunks(data, 8, ">4sq", even=False):
        if seen and not name.isalnum():
            break  # no chunk
        seen = seen or name == b"data"
        if size > len(data) - at:
            return frames.missing("its chunk of samples" if name == b"data" else "a chunk", size, len(data) - at)
    return None if seen else "it ends before its samples begin"


def _au(data: Data) -> str | None:
    start, size = unpacked(">II" if data[:4] == b".snd" else "<II", data, 4)
    return frames.missing("its part with samples", size if size != 0xFFFFFFFF else 0, len(data) - start)


def _w64(data: Data) -> str | None:
    at = 40
    while at + 24 <= len(data):
        size = unpacked("<Q", data, at + 16)[0]
        if data[at : at + 4] == b"data":
            return frames.missing("its data chunk", size - 24 if size < 1 << 62 else 0, len(data) - at - 24)
        at += max(24, size + 7 & ~7)
    return "it ends before its samples begin"


def _sph(data: Data) -> str | None:
    start, size = sph_size(data)
    return None if size is None else frames.missing("its part with samples", size, len(data) - start)


def _flac(data: Data) -> str | None:
    """Find metadata that ends early only; the frames carry no sizes, so their number is compared when decoded."""
    at = data.find(b"fLaC") + 4
    while True:
        last, size = data[at] >> 7, int.from_bytes(data[at + 1 : at + 4], "big")
        at += 4 + size
        if last or at >= len(data):
            return None if at < len(data) else "it ends before its samples begin"


def flac_samples(data: Data) -> int:
    """Give the number of samples a FLAC header promises, 0 where the writer did not know it."""
    at = data.find(b"fLaC") + 8
    return int.from_bytes(data[at + 13 : at + 18], "big") & (1 << 36) - 1


def _ogg(data: Data) -> str | None:
    at, closed = 0, {}
    while at >= 0 and at + 27 <= len(data):
        flags, serial, segments = data[at + 5], data[at + 14 : at + 18], data[at + 26]
        size = 27 + segments + sum(data[at + 27 : at + 27 + segments])
        if at + size > len(data):
            return frames.missing("its last page", size, len(data) - at)
        closed[serial] = bool(flags & 4)
        at = data.find(b"OggS", at + size)
    if at >= 0:
        return "it ends within a page's header" if at < len(data) else None
    return None if all(closed.values()) else "its last page does not end the stream"


def _mp4(data: Data) -> str | None:
    at, seen = 0, set()
    while at + 8 <= len(data):
        size, name = unpacked(">I4s", data, at)
        size = unpacked(">Q", data, at + 8)[0] if size == 1 else len(data) - at if size == 0 else size
        if size < 8 or not name.isascii() or not name.strip(b"\0"):
            break
        if at + size > len(data):
            return frames.missing(f"its part '{name.decode()}'", size, len(data) - at)
        seen.add(name)
        at += size
    return None if b"moov" in seen else "it ends before its index ('moov')"


def _vint(data: Data, at: int, *, keep_mark: bool) -> tuple[int, int, bool]:
    width = 9 - data[at].bit_length()
    value = int.from_bytes(data[at : at + width], "big")
    bare = value & (1 << 7 * width) - 1
    return (value if keep_mark else bare), at + width, bare == (1 << 7 * width) - 1


def _webm(data: Data) -> str | None:
    at = 0
    while at < len(data):
        name, at, _ = _vint(data, at, keep_mark=True)
        if name == 0:  # padding
            return None
        size, at, unknown = _vint(data, at, keep_mark=False)
        if not unknown and at + size > len(data):
            return frames.missing("its last element", size, len(data) - at)
        inside = name in (EBML_SEGMENT, EBML_CLUSTER)
        if unknown and not inside:
            return None
        at += 0 if inside else size
    return None


def _asf(data: Data) -> str | None:
    at = 30
    for _ in range(unpacked("<I", data, 24)[0]):
        size = unpacked("<Q", data, at + 16)[0]
        if data[at : at + 16] == ASF_FILE:
            promised, broadcast = unpacked("<Q", data, at + 40)[0], data[at + 88] & 1
            return None if broadcast else frames.missing("the file", promised, len(data))
        at += max(24, size)
    return None


CHECKS: dict[str, Callable[[Data], str | None]] = {
    "wav": _wav, "aiff": _aiff, "caf": _caf, "au": _au, "w64": _w64, "sph": _sph, "flac": _flac,
    "mp3": frames.mp3_cut_off, "aac": frames.aac_cut_off, "amr": frames.amr_cut_off,
    "ogg": _ogg, "mp4": _mp4, "webm": _webm, "asf": _asf,
}  # fmt: skip
