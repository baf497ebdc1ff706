"""A file that holds more than its first header tells is heard whole, or refused by name."""

import io
import struct

import av
import numpy as np
import pytest
import soundfile

from ssast.audio.decode import decode
from ssast.errors import AudioError


def voice(rate, samples, channels=1):
    time = np.arange(samples) / rate
    rows = [np.sin(2 * np.pi * 220 * (1 + channel) * time) * np.sin(3 * time) for channel in range(channels)]
    return 0.4 * np.stack(rows).astype(np.float32)


def with_soundfile(sound, rate, container, coding=None):
    file = io.BytesIO()
    soundfile.write(file, sound.T, rate, format=container, subtype=coding)
    return file.getvalue()


def with_pyav(sound, rate, codec, container, *, bit_rate=None, options=None):
    file = io.BytesIO()
    with av.open(file, "w", format=container, options=options or {}) as output:
        stream = output.add_stream(codec, rate=rate, layout="mono")
        if bit_rate:
            stream.bit_rate = bit_rate
        stream.codec_context.open()
        resampler = av.AudioResampler(stream.format.name, "mono", rate, stream.codec_context.frame_size or 1024)
        frame = av.AudioFrame.from_ndarray(sound, format="fltp", layout="mono")
        frame.sample_rate, frame.pts = rate, 0
        for piece in [*resampler.resample(frame), *resampler.resample(None)]:
            output.mux(stream.encode(piece))
        output.mux(stream.encode(None))
    return file.getvalue()


def read(data, extension, **options):
    return decode(io.BytesIO(data), extension=extension, **options)


def reason(data, extension):
    with pytest.raises(AudioError) as caught:
        read(data, extension)
    return str(caught.value)


ONE, TWO = voice(16000, 16000), voice(16000, 24000) * 0.5
SOUNDFILE = [
    ("wav", "WAV", "PCM_16"),
    ("wav", "RF64", "PCM_16"),
    ("wav", "WAV", "IMA_ADPCM"),
    ("flac", "FLAC", None),
    ("ogg", "OGG", "VORBIS"),
    ("mp3", "MP3", None),
    ("aiff", "AIFF", "PCM_24"),
    ("au", "AU", "PCM_16"),
    ("caf", "CAF", "PCM_16"),
    ("w64", "W64", "PCM_16"),
    ("sph", "NIST", "PCM_16"),
]
PYAV = [
    ("opus", "libopus", "ogg", 48000),
    ("webm", "libopus", "webm", 48000),
    ("mka", "libopus", "matroska", 48000),
    ("m4a", "aac", "ipod", 16000),
    ("aac", "aac", "adts", 16000),
    ("wma", "wmav2", "asf", 16000),
]


def tag(size):
    """An ID3v2 tag that holds a picture."""
    content = b"APIC" + np.random.default_rng(0).integers(0, 127, size - 4, dtype=np.uint8).tobytes()
    return b"ID3\x04\0\0" + bytes(size >> shift & 127 for shift in (21, 14, 7, 0)) + content


@pytest.mark.parametrize(("extension", "container", "coding"), SOUNDFILE)
@pytest.mark.parametrize("use_librosa", [False, True])
def test_recordings_behind_one_another_are_heard_one_after_the_other(extension, container, coding, use_librosa):
    """`cat a.ogg b.ogg` was heard as a.ogg alone, without a word."""
    files = [with_soundfile(sound, 16000, container, coding) for sound in (ONE, TWO, ONE)]
    alone = [read(file, extension, use_librosa=use_librosa).waveform.numpy() for file in files]
    both = read(b"".join(files), extension, use_librosa=use_librosa)
    np.testing.assert_array_equal(both.waveform.numpy(), np.concatenate(alone, axis=1))


@pytest.mark.parametrize(("extension", "codec", "container", "rate"), PYAV)
def test_so_are_those_of_ffmpegs_formats(extension, codec, container, rate):
    files = [with_pyav(voice(rate, seconds * rate), rate, codec, container, bit_rate=48000) for seconds in (1, 2)]
    seconds = [read(file, extension).waveform.shape[1] / rate for file in (*files, b"".join(files))]
    assert seconds[2] == pytest.approx(seconds[0] + seconds[1], abs=0.1)


def test_amr_behind_amr_is_heard():
    data = with_pyav(voice(8000, 8000), 8000, "libopencore_amrnb", "amr", bit_rate=12200)
    assert read(data * 2, "amr").waveform.shape[1] == 2 * read(data, "amr").waveform.shape[1]


@pytest.mark.parametrize(("extension", "container", "coding"), SOUNDFILE)
@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (16000, 2)])
def test_another_rate_or_number_of_channels_behind_is_not_heard_at_the_wrong_speed(
    extension, container, coding, rate, channels
):
    other = with_soundfile(voice(rate, 8000, channels), rate, container, coding)
    assert "changes in the middle" in reason(with_soundfile(ONE, 16000, container, coding) + other, extension)


@pytest.mark.parametrize("between", [tag(300), tag(100_000), tag(70_000) * 2, b"TAG" + bytes(125)])
@pytest.mark.parametrize(("extension", "container"), [("mp3", "MP3"), ("flac", "FLAC")])
def test_tags_between_recordings_are_stepped_over(extension, container, between):
    files = [with_soundfile(sound, 16000, container) for sound in (ONE, TWO)]
    whole = sum(read(file, extension).waveform.shape[1] for file in files)
    assert read(between.join(files), extension).waveform.shape[1] == whole


@pytest.mark.parametrize("tags", [tag(100_000) * 2, tag(20) + tag(300_000), tag(10) * 5 + tag(80_000)])
@pytest.mark.parametrize(("extension", "container"), [("mp3", "MP3"), ("flac", "FLAC")])
def test_a_second_large_tag_in_front_is_no_other_format(extension, container, tags):
    data = with_soundfile(ONE, 16000, container)
    assert read(tags + data, extension).waveform.shape == read(data, extension).waveform.shape


@pytest.mark.parametrize("order", [(True, False), (False, True), (False, False)])
def test_mp3s_with_and_without_a_count_of_frames_are_read_whole(order):
    counted = with_soundfile(ONE, 16000, "MP3")
    bare = with_pyav(TWO, 16000, "libmp3lame", "mp3", options={"write_xing": "0"})
    data = b"".join(counted if first else bare for first in order)
    seconds = sum(1.0 if first else 1.5 for first in order)
    assert seconds <= read(data, "mp3").waveform.shape[1] / 16000 < seconds + 0.3


def with_size(container, place, layout, value, coding="PCM_16"):
    data = bytearray(with_soundfile(ONE, 16000, container, coding))
    at = data.index(place) + len(place)
    struct.pack_into(layout, data, at, value)
    return bytes(data)


W64_DATA = b"data\xf3\xac\xd3\x11\x8c\xd1\x00\xc0O\x8e\xdb\x8a"
NEVER_WRITTEN = [
    ("wav", "WAV", b"data", "<I", 0xFFFFFFFF),
    ("aiff", "AIFF", b"SSND", ">I", 0),
    ("aiff", "AIFF", b"SSND", ">I", 0xFFFFFFFF),
    ("au", "AU", b".snd\0\0\0\x18", ">I", 0),
    ("au", "AU", b".snd\0\0\0\x18", ">I", 0xFFFFFFFF),
    ("caf", "CAF", b"data", ">q", -1),
    ("caf", "CAF", b"data", ">q", 4),
    ("w64", "W64", W64_DATA, "<Q", 0),
    ("w64", "W64", W64_DATA, "<Q", 24),
    ("w64", "W64", W64_DATA, "<Q", (1 << 64) - 1),
    ("w64", "W64", W64_DATA, "<Q", 1 << 63),
]


@pytest.mark.parametrize(("extension", "container", "place", "layout", "value"), NEVER_WRITTEN)
def test_samples_of_a_size_that_was_never_written_are_read_to_the_end(extension, container, place, layout, value):
    data = with_size(container, place, layout, value)
    assert read(data, extension).waveform.shape == (1, 16000)
    assert read(data + data, extension).waveform.shape == (1, 32000)


@pytest.mark.parametrize(
    ("extension", "container", "place", "layout"),
    [("wav", "WAV", b"data", "<I"), ("aiff", "AIFF", b"SSND", ">I"), ("w64", "W64", W64_DATA, "<Q"),
     ("au", "AU", b".snd\0\0\0\x18", ">I"), ("caf", "CAF", b"data", ">q")],
)  # fmt: skip
def test_more_samples_than_the_header_tells_are_named(extension, container, place, layout):
    """A recorder that was cut off leaves the size that it wrote last: a quarter was heard, without a word."""
    assert "the true length" in reason(with_size(container, place, layout, 8000), extension)


@pytest.mark.parametrize(
    "behind", [b"TAG" + bytes(125), bytes(4000), b"LIST\x04\0\0\0INFO", b"id3 \x05\0\0\0hello\0", b"\n"]
)
def test_what_usually_stands_behind_the_samples_of_a_wav_is_no_sound(behind):
    data = with_soundfile(ONE, 16000, "WAV", "PCM_16")
    assert read(data + behind, "wav").waveform.shape == (1, 16000)
    assert read(data + behind + data, "wav").waveform.shape == (1, 32000)


@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize("coding", ["PCM_16", "FLOAT", "ULAW"])
def test_an_odd_chunk_before_the_samples_needs_no_byte_that_fills_it_up(padded, coding):
    """Such a WAV was called cut off, or its samples were taken from the wrong place."""
    data = with_soundfile(ONE, 16000, "WAV", coding)
    at = data.index(b"data")
    chunk = b"LIST" + struct.pack("<I", 13) + b"INFOIART\x01\0\0\0A" + (b"\0" if padded else b"")
    longer = data[:4] + struct.pack("<I", len(data) - 8 + len(chunk)) + data[8:at] + chunk + data[at:]
    np.testing.assert_array_equal(read(longer, "wav").waveform, read(data, "wav").waveform)
