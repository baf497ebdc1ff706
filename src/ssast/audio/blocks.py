"""Find recordings that follow one another in one file, and samples that the file's header does not count.

Only the framing is read, as in `container.py`; each recording of such a file is decoded as a file of its own.
"""

import struct
from collections.abc import Callable, Iterator

from ssast.audio import container, frames, sizes
from ssast.audio.source import Data, part, places, unpacked
from ssast.errors import AudioError

MOST_PARTS = 1000
PADDING_BYTES = 1 << 16
"""So many zeros may stand behind the samples: recorders fill a block of the disk."""
STRAY_BYTES = 16
TAGS = (b"TAG", b"ID3", b"APETAGEX", b"LYRICSBEGIN")
MAGIC = {"wav": (b"RIFF", b"RIFX", b"RF64"), "aiff": (b"FORM",), "caf": (b"caff\0\1\0\0desc",), "au": (b".snd\0\0\0",)}
MAGIC |= {"w64": (sizes.W64_RIFF,), "sph": (b"NIST_1A",)}
FLAC_STARTS = (b"fLaC\0\0\0\x22", b"fLaC\x80\0\0\x22")
STRAY_FRAMES = 4
"""So few MP3 frames more than the header counts are a header that miscounts, not another recording."""


def split_recordings(data: Data, kind: str) -> Iterator[Data]:
    """Give the recordings of a file, one after the other: nearly always one, which is the whole file."""
    for number in range(MOST_PARTS):
        step = _behind(data, kind)
        if not step:
            yield data
            return
        yield part(data, 0, step)
        data = part(data, step)
        if number == MOST_PARTS - 1:
            raise AudioError(f"more than {MOST_PARTS} recordings follow one another in its file; split it")


def _behind(data: Data, kind: str) -> int | None:
    """Where the second recording begins, None where there is one alone."""
    try:
        return NEXT[kind](data) if kind in NEXT else _behind_samples(data, kind)
    except (struct.error, IndexError, OverflowError, ValueError):
        return None  # said when it is read


def untold(data: Data, kind: str) -> str | None:
    """Say how much follows the samples that belongs neither to them nor to a further chunk."""
    if kind not in MAGIC:
        return None
    try:
        at, size = sizes.samples_span(data, kind)
        stop = None if size < 0 or at + size > len(data) else _end(data, kind, at + size)
    except (struct.error, IndexError, OverflowError, ValueError):
        return None
    rest = 0 if stop is None else len(data) - stop
    if stop is None or rest < STRAY_BYTES or any(data[stop : stop + len(tag)] == tag for tag in TAGS):
        return None
    if rest <= PADDING_BYTES and not any(data[stop:]):
        return None
    return f"its header promises {size} bytes of samples, and {rest} more bytes follow them"


def _behind_samples(data: Data, kind: str) -> int | None:
    """Of a format whose header gives the size of the samples: behind them and the chunks that follow."""
    if kind not in MAGIC:
        return None
    at, size = sizes.samples_span(data, kind)
    stop = at if size < 0 else _end(data, kind, at + size)
    found = (place for magic in MAGIC[kind] for place in places(data, magic, stop) if _starts(data, place, kind))
    return min(found, default=None)


def _starts(data: Data, at: int, kind: str) -> bool:
    """Whether a file of this kind begins here, with a header that could be one."""
    head = data[at : at + 16]
    if container.sniff(head) != kind:
        return False
    return kind != "au" or 24 <= struct.unpack(">I" if head[:1] == b"." else "<I", head[4:8])[0] <= 1 << 16


def _end(data: Data, kind: str, at: int) -> int:
    """Where the chunks behind the samples end: at a place that is no chunk, or at the end of the data."""
    while at < len(data):
        if data[at] == 0 and (_starts(data, at + 1, kind) or _chunk(data, kind, at + 1)):
            at += 1  # it fills up what is odd
        size = _chunk(data, kind, at)
        if not size or _starts(data, at, kind):
            break
        at += size
    return at


def _chunk(data: Data, kind: str, at: int) -> int:
    """The bytes of the chunk that begins here, 0 where none does."""
    if kind not in CHUNKS or at + 8 > len(data):
        return 0
    layout = CHUNKS["aiff" if data[:4] == b"RIFX" else kind]
    name, size = unpacked(layout, data, at)
    size += 0 if kind == "w64" else struct.calcsize(layout)  # W64 counts the header in
    named = all(32 <= byte < 127 for byte in name[:4])
    if not named or not 8 <= size <= len(data) - at:
        return 0
    return size + 7 & ~7 if kind == "w64" else size


CHUNKS = {"wav": "<4sI", "aiff": ">4sI", "caf": ">4sq", "w64": "<16sQ"}


def _ogg(data: Data) -> int | None:
    """The first page that begins a stream once another has gone on: chained, not multiplexed, streams."""
    at, goes_on = 0, False
    while at >= 0 and at + 27 <= len(data):
        begins, segments = data[at + 5] & 2, data[at + 26]
        if begins and goes_on:
            return at
        goes_on = goes_on or not begins
        at = data.find(b"OggS", at + 27 + segments + sum(data[at + 27 : at + 27 + segments]))
    return None


def _flac(data: Data) -> int | None:
    own = data.find(b"fLaC")
    found = [place for start in FLAC_STARTS if (place := data.find(start, own + 4)) > 0]
    if not found:
        return None
    first = min(found)
    tag = next((at for at in places(data, b"ID3", own) if at < first == frames.after_id3(data, at)), 0)
    return tag or first


def _mp3(data: Data) -> int | None:
    """At an ID3 tag, at a header with a count of frames, or where as many frames are over as the first one counted."""
    first = frames.first_frame(data, frames.mp3_frame_bytes)
    at, count, promised = first or 0, 0, frames.mp3_frames(data)
    while 0 <= at < len(data):
        step = frames.mp3_frame_bytes(data, at)
        if count and data[at : at + 3] == b"ID3":
            return at if frames.mp3_frame_bytes(data, frames.after_id3(data, at)) else None
        if step and count and _is_header(data, at):
            return at
        if step and promised and count > promised and at + STRAY_FRAMES * step < len(data):
            return at
        count += bool(step)
        at = at + step if step else frames.next_sign(data, at)
    return None


def _is_header(data: Data, at: int) -> bool:
    head = data[at + 13 : at + 44]
    return b"Xing" in head or b"Info" in head or b"VBRI" in head


def _amr(data: Data) -> int | None:
    for magic, lengths in frames.AMR_BYTES.items():
        at = len(magic)
        while data[: len(magic)] == magic and at < len(data):
            if data[at : at + 5] == b"#!AMR":
                return at
            at += lengths[data[at] >> 3 & 15]
    return None


def _mp4(data: Data) -> int | None:
    at, seen = 0, set()
    while at + 8 <= len(data):
        size, name = unpacked(">I4s", data, at)
        size = unpacked(">Q", data, at + 8)[0] if size == 1 else size
        if name == b"ftyp" and b"moov" in seen:
            return at
        if size < 8:
            return None
        seen.add(name)
        at += size
    return None


def _webm(data: Data) -> int | None:
    """A second EBML header: sought by its first bytes and the name of what it holds, since sizes may be unknown."""
    for at in places(data, b"\x1a\x45\xdf\xa3", 4):
        if b"\x42\x82" in data[at + 5 : at + 64]:  # DocType
            return at
    return None


def _asf(data: Data) -> int | None:
    return next(iter(places(data, container.ASF_HEADER, 30)), None)


NEXT: dict[str, Callable[[Data], int | None]] = {
    "ogg": _ogg, "flac": _flac, "mp3": _mp3, "amr": _amr, "mp4": _mp4, "webm": _webm, "asf": _asf,
}  # fmt: skip
