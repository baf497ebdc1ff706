"""A recording is read as it was coded, or one sentence says why it cannot be used; every file is made here."""

import contextlib
import io
import os
import struct
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
import soxr
import torch

from ssast.audio.conform import conform
from ssast.audio.decode import EXTENSIONS, Recording, decode
from ssast.errors import AudioError, UserError

SHARED = Path(os.environ.get("SSAST_SHARED", Path(__file__).parents[3] / "shared"))


def voice(sample_rate, samples, channels=1):
    """Make a voice-like sound (channels, samples): gliding harmonics that come and go, otherwise in each channel."""
    time = np.arange(samples) / sample_rate
    rows = []
    for channel in range(channels):
        phase = 2 * np.pi * np.cumsum(150 + 40 * np.sin(2 * np.pi * 1.3 * time + channel)) / sample_rate
        harmonics = sum(np.sin(k * phase) / k**1.5 for k in range(1, 7))
        rows.append(0.4 * harmonics * (0.6 + 0.4 * np.sin(2 * np.pi * 2.1 * time + channel)))
    return np.stack(rows).astype(np.float32)


def with_soundfile(sound, sample_rate, container, subtype=None):
    file = io.BytesIO()
    soundfile.write(file, sound.T, sample_rate, format=container, subtype=subtype)
    return file.getvalue()


def with_pyav(sound, sample_rate, codec, container, *, bit_rate=None, options=None, coding=None):
    file, layout = io.BytesIO(), {1: "mono", 2: "stereo"}[len(sound)]
    with av.open(file, "w", format=container, options=options or {}) as output:
        stream = output.add_stream(codec, rate=sample_rate, layout=layout, options=coding or {})
        if bit_rate:
            stream.bit_rate = bit_rate
        stream.codec_context.open()
        resampler = av.AudioResampler(stream.format.name, layout, sample_rate, stream.codec_context.frame_size or 1024)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(sound), format="fltp", layout=layout)
        frame.sample_rate, frame.pts = sample_rate, 0
        for piece in [*resampler.resample(frame), *resampler.resample(None)]:
            output.mux(stream.encode(piece))
        output.mux(stream.encode(None))
    return file.getvalue()


def error_db(source, decoded, most_delay=3000):
    """Give the loss in dB below the source, after the codec's delay is taken out."""
    size = 1 << (len(source) + len(decoded)).bit_length()
    match = np.fft.irfft(np.fft.rfft(decoded, size) * np.conj(np.fft.rfft(source, size)), size)
    delay = max(range(-most_delay, most_delay), key=lambda lag: match[lag])
    source, decoded = source[max(0, -delay) :], decoded[max(0, delay) :]
    both = min(len(source), len(decoded))
    assert both > 0.9 * len(source)
    return 10 * np.log10(np.sum((source[:both] - decoded[:both]) ** 2) / np.sum(source[:both] ** 2) + 1e-20)


def read(data, extension, **options):
    return decode(io.BytesIO(data), extension=extension, **options)


def reason(data, extension, **options):
    with pytest.raises(AudioError) as caught:
        read(data, extension, **options)
    sentence = str(caught.value)
    assert "\n" not in sentence
    return sentence


EXACT = {  # (extension, container, coding): the largest difference allowed
    ("wav", "WAV", "PCM_U8"): 2**-7, ("wav", "WAV", "PCM_16"): 2**-15, ("wav", "WAV", "PCM_24"): 2**-23,
    ("wav", "WAV", "PCM_32"): 2**-23, ("wav", "WAV", "FLOAT"): 0, ("wav", "WAV", "DOUBLE"): 0,
    ("wav", "WAVEX", "PCM_16"): 2**-15, ("wav", "RF64", "PCM_16"): 2**-15, ("wave", "WAV", "PCM_16"): 2**-15,
    ("wav", "WAV", "ULAW"): 0.04, ("wav", "WAV", "ALAW"): 0.04, ("flac", "FLAC", "PCM_S8"): 2**-6,
    ("flac", "FLAC", "PCM_16"): 2**-14, ("flac", "FLAC", "PCM_24"): 2**-22, ("aiff", "AIFF", "PCM_16"): 2**-15,
    ("aif", "AIFF", "PCM_24"): 2**-22, ("aiff", "AIFF", "FLOAT"): 0, ("au", "AU", "PCM_16"): 2**-15,
    ("au", "AU", "ULAW"): 0.04, ("snd", "AU", "FLOAT"): 0, ("caf", "CAF", "PCM_16"): 2**-15,
    ("caf", "CAF", "ALAC_16"): 2**-15, ("w64", "W64", "PCM_16"): 2**-15, ("sph", "NIST", "PCM_16"): 2**-15,
}  # fmt: skip


@pytest.mark.parametrize(("extension", "container", "coding"), EXACT)
@pytest.mark.parametrize("channels", [1, 2])
def test_uncoded_formats_are_exact_to_their_step(extension, container, coding, channels):
    sound = voice(22050, 4001, channels)
    recording = read(with_soundfile(sound, 22050, container, coding), extension)
    assert recording.sample_rate == 22050
    assert recording.waveform.shape == (channels, 4001)
    assert recording.waveform.dtype == torch.float32
    assert np.abs(recording.waveform.numpy() - sound).max() <= EXACT[extension, container, coding]


BY_SOUNDFILE = [
    ("wav", "WAV", "IMA_ADPCM", -25), ("wav", "WAV", "MS_ADPCM", -25), ("wav", "WAV", "GSM610", -12),
    ("mp3", "MP3", None, -20), ("ogg", "OGG", "VORBIS", -20), ("oga", "OGG", "VORBIS", -20),
]  # fmt: skip
BY_PYAV = [
    ("m4a", "aac", "ipod", 48000, -15), ("mp4", "aac", "mp4", 48000, -15), ("aac", "aac", "adts", 48000, -15),
    ("aac", "aac", "ipod", 48000, -15), ("m4a", "alac", "ipod", None, -90), ("wma", "wmav2", "asf", 64000, -15),
    ("wma", "wmav1", "asf", 64000, -15), ("mp3", "libmp3lame", "mp3", 64000, -20), ("mov", "aac", "mov", 48000, -15),
    ("wav", "libmp3lame", "wav", 64000, -20), ("oga", "flac", "ogg", None, -80), ("flac", "flac", "flac", None, -80),
]  # fmt: skip


@pytest.mark.parametrize("use_librosa", [False, True])
@pytest.mark.parametrize(("extension", "container", "coding", "most_db"), BY_SOUNDFILE)
def test_coded_formats_of_soundfile_keep_rate_length_and_sound(extension, container, coding, most_db, use_librosa):
    sound = voice(16000, 24123)
    recording = read(with_soundfile(sound, 16000, container, coding), extension, use_librosa=use_librosa)
    assert recording.sample_rate == 16000
    assert 0 <= recording.waveform.shape[1] - 24123 < 1024
    assert error_db(sound[0], recording.waveform[0].numpy()) < most_db


@pytest.mark.parametrize("use_librosa", [False, True])
@pytest.mark.parametrize(("extension", "codec", "container", "bit_rate", "most_db"), BY_PYAV)
def test_formats_of_pyav_keep_rate_length_and_sound(extension, codec, container, bit_rate, most_db, use_librosa):
    sound = voice(16000, 24123)
    recording = read(with_pyav(sound, 16000, codec, container, bit_rate=bit_rate), extension, use_librosa=use_librosa)
    assert recording.sample_rate == 16000
    assert abs(recording.waveform.shape[1] - 24123) < 2300
    assert error_db(sound[0], recording.waveform[0].numpy()) < most_db


@pytest.mark.parametrize(
    ("codec", "container"), [("aac", "ipod"), ("alac", "ipod"), ("libmp3lame", "mp3"), ("wmav2", "asf")]
)
def test_stereo_at_44100_keeps_its_channels_apart(codec, container):
    sound = voice(44100, 50001, 2)
    extension = {"ipod": "m4a", "asf": "wma"}.get(container, container)
    recording = read(with_pyav(sound, 44100, codec, container, bit_rate=128000), extension)
    assert (recording.sample_rate, len(recording.waveform)) == (44100, 2)
    for own, decoded in zip(sound, recording.waveform.numpy(), strict=True):
        assert error_db(own, decoded) < -15


def test_the_padding_behind_an_m4a_is_dropped():
    recording = read(with_pyav(voice(16000, 24123), 16000, "aac", "ipod"), "m4a")
    assert abs(recording.waveform.shape[1] - 24123) <= 16


def test_alac_is_exact():
    sound = np.round(voice(16000, 9000) * 2**15) / 2**15
    recording = read(with_pyav(sound.astype(np.float32), 16000, "alac", "ipod"), "alac")
    np.testing.assert_array_equal(recording.waveform.numpy(), sound)


@pytest.mark.parametrize(
    ("extension", "container"), [("opus", "ogg"), ("ogg", "ogg"), ("webm", "webm"), ("mka", "matroska")]
)
@pytest.mark.parametrize("use_librosa", [False, True])
def test_opus_is_read_at_48_khz_as_coded(extension, container, use_librosa):
    sound = voice(48000, 48077, 2)
    recording = read(with_pyav(sound, 48000, "libopus", container), extension, use_librosa=use_librosa)
    assert recording.sample_rate == 48000
    assert recording.waveform.shape == (2, 48077)
    assert error_db(sound[1], recording.waveform[1].numpy()) < -20


def test_opus_made_at_16_khz_is_read_at_48_khz():
    sound = voice(16000, 16000)
    recording = read(with_soundfile(sound, 16000, "OGG", "OPUS"), "opus")
    assert (recording.sample_rate, recording.waveform.shape[1]) == (48000, 48000)
    assert error_db(soxr.resample(sound[0], 16000, 48000), recording.waveform[0].numpy()) < -20


def test_amr_keeps_rate_length_and_sound():
    time = np.arange(16000) / 8000  # a codec for telephone speech: even that it keeps to -9 dB only, a tone better
    sound = (0.3 * np.sin(2 * np.pi * 600 * time) * np.sin(np.pi * time))[None].astype(np.float32)
    recording = read(with_pyav(sound, 8000, "libopencore_amrnb", "amr", bit_rate=12200), "amr")
    assert recording.sample_rate == 8000
    assert abs(recording.waveform.shape[1] - 16000) <= 320
    assert error_db(sound[0], recording.waveform[0].numpy()) < -10


def test_many_channels_are_kept():
    sound = voice(8000, 2000, 6)
    np.testing.assert_array_equal(read(with_soundfile(sound, 8000, "WAV", "FLOAT"), "wav").waveform.numpy(), sound)


def test_mp3_of_variable_rate_without_a_count_of_frames_is_read_whole():
    """soundfile guesses its length from the first frame's bit rate and once lost two thirds without a word."""
    sound, best = voice(16000, 48000), {"flags": "+qscale", "global_quality": "236"}
    data = with_pyav(sound, 16000, "libmp3lame", "mp3", options={"write_xing": "0"}, coding=best)
    assert soundfile.info(io.BytesIO(data)).frames < 40000
    assert 48000 <= read(data, "mp3").waveform.shape[1] < 48000 + 4 * 1152


def test_flac_whose_writer_did_not_know_its_length_is_read():
    data = bytearray(with_soundfile(voice(16000, 9000), 16000, "FLAC"))
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    assert read(bytes(data), "flac").waveform.shape == (1, 9000)


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0x7FFFF000])
@pytest.mark.parametrize("use_librosa", [False, True])
def test_wav_from_a_pipe_with_unknown_size_is_read_to_its_end(size, use_librosa):
    sound = voice(16000, 9000)
    data = bytearray(with_soundfile(sound, 16000, "WAV", "PCM_16"))
    at = data.index(b"data")
    data[4:8] = data[at + 4 : at + 8] = struct.pack("<I", size)
    waveform = read(bytes(data), "wav", use_librosa=use_librosa).waveform
    np.testing.assert_allclose(waveform.numpy(), sound, atol=2**-15)


@pytest.mark.parametrize(
    ("container", "extension", "offset", "unknown"),
    [("AU", "au", 8, b"\xff" * 4), ("CAF", "caf", None, b"\xff" * 8)],
)
def test_other_streams_with_unknown_size_are_read_to_their_end(container, extension, offset, unknown):
    data = bytearray(with_soundfile(voice(16000, 9000), 16000, container, "PCM_16"))
    offset = offset or data.index(b"data") + 4
    data[offset : offset + len(unknown)] = unknown
    assert read(bytes(data), extension).waveform.shape == (1, 9000)


def test_a_path_a_text_path_and_an_open_file_give_the_same(tmp_path):
    path = tmp_path / "waveform.wav"
    path.write_bytes(with_soundfile(voice(16000, 500), 16000, "WAV"))
    with path.open("rb") as file:
        found = [decode(path, extension=".WAV"), decode(str(path), extension="wav"), decode(file, extension="Wav")]
    assert all(torch.equal(recording.waveform, found[0].waveform) for recording in found)


@pytest.mark.skipif(
    not (SHARED / "audio" / "jfk.flac").exists(), reason="the shared recordings are not here (SSAST_SHARED)"
)
@pytest.mark.parametrize("use_librosa", [False, True])
def test_a_real_speech_is_read(use_librosa):
    recording = decode(SHARED / "audio" / "jfk.flac", extension="flac", use_librosa=use_librosa)
    assert (recording.sample_rate, len(recording.waveform)) == (44100, 2)
    assert recording.waveform.shape[1] / 44100 == pytest.approx(11, abs=0.01)


# --- what cannot be used ---


def test_a_missing_file_and_a_folder_are_named_without_their_path(tmp_path):
    for path in (tmp_path / "absent.wav", tmp_path):
        with pytest.raises(AudioError, match="cannot be read") as caught:
            decode(path, extension="wav")
        assert str(tmp_path) not in str(caught.value)


def test_an_unknown_extension_names_the_known_ones():
    sentence = reason(b"", "xyz")
    assert "'xyz' is not known" in sentence
    assert all(extension in sentence for extension in EXTENSIONS)


def test_an_empty_file_is_named():
    assert "empty (0 bytes)" in reason(b"", "wav")


@pytest.mark.parametrize("container", ["WAV", "AIFF", "AU", "CAF", "W64"])
def test_a_recording_without_samples_is_named(container):
    extension = container.lower()
    sentence = reason(with_soundfile(np.zeros((1, 0), np.float32), 16000, container), extension)
    assert "0 samples" in sentence or "ends before its samples" in sentence


def test_bytes_that_are_no_sound_are_named():
    noise = np.random.default_rng(0).integers(0, 256, 20000, dtype=np.uint8).tobytes()
    for data in (b"<!DOCTYPE html><html>not found</html>" * 50, noise, bytes(5000), b"a"):
        for extension in ("wav", "mp3", "m4a", "ogg"):
            assert f"named {extension} but holds bytes of no audio format" in reason(data, extension)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("coding", ["FLOAT", "DOUBLE"])
def test_samples_that_are_not_finite_are_counted(value, coding):
    sound = voice(16000, 500)
    sound[0, [3, 77]] = value
    assert "2 of its 500 samples are NaN or infinite" in reason(with_soundfile(sound, 16000, "WAV", coding), "wav")


@pytest.mark.parametrize(
    ("container", "content", "wrong"),
    [("WAV", "wav", "flac"), ("FLAC", "flac", "wav"), ("MP3", "mp3", "wav"), ("OGG", "ogg", "mp3"),
     ("NIST", "sph", "wav"), ("AIFF", "aiff", "wav"), ("CAF", "caf", "m4a"), ("W64", "w64", "wav"),
     ("AU", "au", "wav")],
)  # fmt: skip
def test_a_wrong_extension_names_both(container, content, wrong):
    sentence = reason(with_soundfile(voice(16000, 3000), 16000, container), wrong)
    assert f"named {wrong} but holds {content}" in sentence


@pytest.mark.parametrize(
    ("codec", "container", "content", "wrong"),
    [("aac", "ipod", "mp4 (m4a)", "mp3"), ("aac", "adts", "aac", "mp3"), ("wmav2", "asf", "wma", "mp4"),
     ("libopus", "webm", "webm", "opus"), ("libopus", "ogg", "ogg", "webm")],
)  # fmt: skip
def test_a_wrong_extension_of_pyavs_formats_names_both(codec, container, content, wrong):
    sentence = reason(with_pyav(voice(48000, 9600), 48000, codec, container, bit_rate=64000), wrong)
    assert f"named {wrong} but holds {content}" in sentence


def test_video_without_sound_is_named():
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as output:
        stream = output.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 32
        output.mux(stream.encode(av.VideoFrame(32, 32, "yuv420p")))
        output.mux(stream.encode(None))
    assert "holds no sound" in reason(file.getvalue(), "mp4")


CUT = [
    *((extension, "soundfile", (container, coding)) for extension, container, coding in EXACT),
    *((extension, "soundfile", (container, coding)) for extension, container, coding, _ in BY_SOUNDFILE),
    *((extension, "pyav", (codec, container)) for extension, codec, container, _, _ in BY_PYAV),
    ("opus", "pyav", ("libopus", "ogg")), ("webm", "pyav", ("libopus", "webm")),
    ("mp4", "pyav", ("aac", "mp4", {"movflags": "frag_keyframe+empty_moov"})),
    ("webm", "pyav", ("libopus", "webm", {"live": "1"})),
    ("mp3", "pyav", ("libmp3lame", "mp3", {"write_xing": "0"})),
]  # fmt: skip


def made(maker, how):
    if maker == "soundfile":
        return with_soundfile(voice(48000, 12001), 48000, *how)
    codec, container, *options = how
    return with_pyav(voice(48000, 12001), 48000, codec, container, bit_rate=64000, options=dict(*options))


@pytest.mark.parametrize(("extension", "maker", "how"), CUT)
def test_a_cut_off_file_is_refused_wherever_it_is_cut(extension, maker, how):
    data = made(maker, how)
    assert read(data, extension).waveform.shape[1] > 10000
    for share in (0.05, 0.31, 0.5, 0.77, 0.96):
        sentence = reason(data[: int(share * len(data))], extension)
        assert "cut off" in sentence, sentence


def test_amr_cut_within_a_frame_is_refused():
    data = with_pyav(voice(8000, 8000), 8000, "libopencore_amrnb", "amr", bit_rate=12200)
    assert "its last frame should hold" in reason(data[:-5], "amr")


def test_a_cut_off_wav_tells_how_much_is_missing():
    data = with_soundfile(voice(16000, 1000), 16000, "WAV", "PCM_16")
    assert "cut off: its data chunk should hold 2000 bytes and 1000 are there" in reason(data[:-1000], "wav")


def test_a_header_that_promises_more_than_memory_is_refused_at_once():
    data = bytearray(with_soundfile(voice(16000, 9000), 16000, "FLAC"))
    data[21] |= 0x0F
    assert "cut off" in reason(bytes(data), "flac")


@pytest.mark.parametrize(("extension", "maker", "how"), CUT[::3])
def test_damaged_bytes_give_a_recording_or_one_sentence_and_nothing_else(extension, maker, how):
    data, chance = made(maker, how), np.random.default_rng(0)
    for trial in range(12):
        damaged = bytearray(data)
        at = int(chance.integers(0, len(data) if trial % 2 else 200))
        damaged[at : at + 12] = chance.integers(0, 256, 12, dtype=np.uint8).tobytes()
        with contextlib.suppress(AudioError):
            assert torch.isfinite(read(bytes(damaged), extension).waveform).all()


# --- conform ---


def test_conform_reduces_resamples_and_cuts():
    sound = torch.from_numpy(voice(44100, 44100, 2))
    recording = conform(Recording(sound, 44100), sample_rate=16000, clip_seconds=0.5)
    assert (recording.sample_rate, recording.waveform.shape) == (16000, (1, 8000))
    expected = soxr.resample(sound.mean(0).numpy(), 44100, 16000)[:8000]
    np.testing.assert_allclose(recording.waveform[0].numpy(), expected, atol=1e-6)


def test_conform_keeps_channels_when_asked():
    sound = torch.from_numpy(voice(8000, 800, 3))
    recording = conform(Recording(sound, 8000), sample_rate=16000, mono=False)
    assert recording.waveform.shape == (3, 1600)
    np.testing.assert_allclose(recording.waveform[2].numpy(), soxr.resample(sound[2].numpy(), 8000, 16000), atol=1e-6)


def test_conform_with_nothing_to_do_gives_the_same_waveform():
    sound = torch.from_numpy(voice(16000, 800))
    assert conform(Recording(sound, 16000), sample_rate=16000).waveform is sound


def test_conform_cuts_only_what_is_longer():
    sound = torch.from_numpy(voice(16000, 800))
    assert conform(Recording(sound, 16000), sample_rate=16000, clip_seconds=10).waveform.shape == (1, 800)


def test_conform_names_what_cannot_be():
    recording = Recording(torch.zeros(1, 1), 48000)
    with pytest.raises(UserError, match="sample rate is 0 Hz"):
        conform(recording, sample_rate=0)
    for seconds in (-1.0, 1e-6, float("nan")):
        with pytest.raises(UserError, match="clip length is"):
            conform(recording, sample_rate=16000, clip_seconds=seconds)
    with pytest.raises(AudioError, match="too few to resample"):
        conform(recording, sample_rate=100)
