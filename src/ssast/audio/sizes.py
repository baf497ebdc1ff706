"""Find where the samples of WAV, AIFF, CAF, W64, AU and SPH files lie, and write sizes that were never written.

Everything works on damaged bytes: struct.error, IndexError or ValueError where a header is not whole.
"""

import struct
from collections.abc import Callable, Iterator
from contextlib import suppress

from ssast.audio.source import Data, part, unpacked

UNKNOWN_RIFF = 0x7FFFF000  # sizes from here on are what writers into a pipe leave: sox this one, FFmpeg 0xFFFFFFFF
UNKNOWN_AIFF = 0x7F000000
W64_RIFF = bytes.fromhex("726966662e91cf11a5d628db04c10000")
CHUNK_NAMES = {
    b"data", b"fmt ", b"fact", b"LIST", b"bext", b"iXML", b"cue ", b"smpl", b"id3 ", b"ID3 ", b"JUNK", b"junk", b"PEAK",
    b"inst", b"PAD ", b"FLLR", b"DISP", b"chna", b"axml", b"cart", b"SSND", b"COMM", b"NAME", b"AUTH", b"(c) ", b"ANNO",
    b"FVER", b"MARK", b"INST", b"COMT", b"CHAN", b"APPL", b"free", b"desc", b"info", b"chan", b"pakt", b"kuki",
}  # fmt: skip


def chunks(data: Data, start: int, header: str, *, even: bool) -> Iterator[tuple[bytes, int, int]]:
    """Give (name, place of the content, size) of the chunks of RIFF, AIFF and CAF files."""
    at, width = start, struct.calcsize(header)
    while at + width <= len(data):
        name, size = unpacked(header, data, at)
        yield name, at + width, size
        at += width + max(size, 0)
        at += even and size & 1 and not _unpadded(data, at)


def _unpadded(data: Data, at: int) -> bool:
    """Whether a chunk follows an odd one at once: some writers forget the byte that fills it up."""
    return data[at : at + 4] in CHUNK_NAMES and data[at + 1 : at + 5] not in CHUNK_NAMES


def _order(data: Data) -> str:
    return ">" if data[:4] == b"RIFX" else "<"


def wav_parts(data: Data) -> dict[bytes, tuple[int, int]]:
    """Give place and size of a WAV file's chunks up to the samples ("data", whose size is -1 where it is not known)."""
    order, parts = _order(data), {}
    for name, at, size in chunks(data, 12, order + "4sI", even=True):
        parts[name] = at, size
        if name == b"data":
            break
    at, size = parts.get(b"data", (0, 0))
    if data[:4] == b"RF64" and b"ds64" in parts and size == 0xFFFFFFFF:
        size = unpacked("<Q", data, parts[b"ds64"][0] + 8)[0]
        size = size if 0 < size < 1 << 62 else 0xFFFFFFFF
    whole = unpacked(order + "I", data, 4)[0] + 8
    unfinished = size == 0 and at < len(data) and whole < len(data)
    if unfinished or (size >= UNKNOWN_RIFF and at + size > len(data)):
        size = -1
    if b"data" in parts:
        parts[b"data"] = at, size
    return parts


def wav_codec(data: Data) -> int:
    """Give the number by which a WAV file names its coding (1 PCM, 3 float, 0x55 mp3), 0 without one."""
    at, size = wav_parts(data).get(b"fmt ", (0, 0))
    return unpacked(_order(data) + "H", data, at)[0] if size >= 2 else 0


def wav_samples(data: Data) -> int:
    """Give the number of samples a channel that a WAV file of coded samples promises ("fact"), 0 where it does not."""
    at, size = wav_parts(data).get(b"fact", (0, 0))
    if size < 4 or wav_codec(data) in (1, 3, 0xFFFE):
        return 0
    return unpacked(_order(data) + "I", data, at)[0]


def sph_size(data: Data) -> tuple[int, int | None]:
    """Give where the samples of an SPH file begin and their bytes, None where they are shortened or not given."""
    start = int(data[8:16]) if data[8:16].strip().isdigit() else 1024
    fields = {part[0]: part[2] for line in data[:start].split(b"\n") if len(part := line.split(None, 2)) == 3}
    counts = [fields.get(name, b"1") for name in (b"sample_count", b"channel_count", b"sample_n_bytes")]
    if b"shorten" in fields.get(b"sample_coding", b"") or not all(count.strip().isdigit() for count in counts):
        return start, None
    samples, channels, width = map(int, counts)
    return start, samples * channels * width


def samples_span(data: Data, kind: str) -> tuple[int, int]:
    """Give where the samples of a file begin and their bytes, -1 where those are not known; ValueError without any.

    A size that was never updated (0, or the largest number) counts as not known.
    """
    at, size = SPANS[kind](data)
    # No samples are promised, and what lies there is no chunk either.
    unfinished = kind != "wav" and size == 0 and at < len(data) and data[at : at + 4] not in CHUNK_NAMES
    return at, -1 if unfinished else size


def _wav_span(data: Data) -> tuple[int, int]:
    return _found(wav_parts(data).get(b"data"))


def _found(place: tuple[int, int] | None) -> tuple[int, int]:
    if place is None:
        raise ValueError("no samples")
    return place


def _aiff_span(data: Data) -> tuple[int, int]:
    all_of_them = chunks(data, 12, ">4sI", even=True)
    at, size = _found(next(((at, size) for name, at, size in all_of_them if name == b"SSND"), None))
    return at + 8, -1 if size >= UNKNOWN_AIFF else max(size, 8) - 8


def _caf_span(data: Data) -> tuple[int, int]:
    all_of_them = chunks(data, 8, ">4sq", even=False)
    at, size = _found(next(((at, size) for name, at, size in all_of_them if name == b"data"), None))
    return at + 4, -1 if size < 0 else max(size, 4) - 4


def _w64_span(data: Data) -> tuple[int, int]:
    at = 40
    while True:
        size = unpacked("<Q", data, at + 16)[0]
        if data[at : at + 4] == b"data":
            return at + 24, -1 if size >= 1 << 62 else max(size, 24) - 24
        at += max(24, size + 7 & ~7)


def _au_span(data: Data) -> tuple[int, int]:
    start, size = unpacked(">II" if data[:4] == b".snd" else "<II", data, 4)
    return start, -1 if size == 0xFFFFFFFF else size


def _sph_span(data: Data) -> tuple[int, int]:
    start, size = sph_size(data)
    return _found(None if size is None else (start, size))


SPANS: dict[str, Callable[[Data], tuple[int, int]]] = {
    "wav": _wav_span, "aiff": _aiff_span, "caf": _caf_span, "w64": _w64_span, "au": _au_span, "sph": _sph_span,
}  # fmt: skip


def corrected(data: Data, kind: str) -> Data:
    """Write the true size where a writer into a pipe could not: the samples then last to the end of the file.

    A WAV header whose chunks lack the bytes that fill them up is packed anew. The data itself where nothing is wrong.
    """
    with suppress(struct.error, IndexError, OverflowError, ValueError):  # said when it is read
        if kind not in HEADERS:
            return data
        at, size = samples_span(data, kind)
        if size == -1 and len(data) < 1 << 32:
            return part(data, at, None, HEADERS[kind](data, at))
        if kind == "wav" and at + size <= len(data) and _lacks_padding(data):
            return part(data, at, at + size, _packed(data, size))
    return data


def _lacks_padding(data: Data) -> bool:
    parts = wav_parts(data).items()
    return any(size & 1 and _unpadded(data, at + size) for name, (at, size) in parts if name != b"data")


def _packed(data: Data, size: int) -> bytes:
    """A WAV header of what is needed alone, for `size` bytes of samples."""
    order, parts = _order(data), wav_parts(data)
    held = [(name, data[at : at + length]) for name, (at, length) in parts.items() if name in (b"fmt ", b"fact")]
    packed = b"".join(name + struct.pack(order + "I", len(one)) + one for name, one in held)
    name = b"RIFX" if order == ">" else b"RIFF"
    whole = struct.pack(order + "I", len(packed) + 12 + size)
    return name + whole + b"WAVE" + packed + b"data" + struct.pack(order + "I", size)


def _wav_header(data: Data, at: int) -> bytes:
    order, name = _order(data), b"RIFF" if data[:4] == b"RF64" else data[:4]
    if _lacks_padding(data):
        return _packed(data, len(data) - at)
    header = name + struct.pack(order + "I", len(data) - 8) + data[8 : at - 4]
    header = header.replace(b"ds64", b"JUNK", 1) if data[:4] == b"RF64" else header
    return header + struct.pack(order + "I", len(data) - at)


def _caf_header(data: Data, at: int) -> bytes:
    return data[: at - 12] + struct.pack(">q", len(data) - at + 4) + data[at - 4 : at]


def _w64_header(data: Data, at: int) -> bytes:
    return data[:16] + struct.pack("<Q", len(data)) + data[24 : at - 8] + struct.pack("<Q", len(data) - at + 24)


def _au_header(data: Data, at: int) -> bytes:
    return data[:8] + struct.pack(">I" if data[:4] == b".snd" else "<I", len(data) - at) + data[12:at]


def _aiff_header(data: Data, at: int) -> bytes:
    whole, own = struct.pack(">I", len(data) - 8), struct.pack(">I", len(data) - at + 8)
    return data[:4] + whole + data[8 : at - 12] + own + data[at - 8 : at]


HEADERS: dict[str, Callable[[Data, int], bytes]] = {
    "wav": _wav_header, "caf": _caf_header, "w64": _w64_header, "au": _au_header, "aiff": _aiff_header,
}  # fmt: skip
