"""The table of formats, with speech of espeak-ng in files that sox and FFmpeg wrote, as laboratories have them."""

import functools
import io
import shutil
import subprocess
from dataclasses import dataclass

import numpy as np
import pytest
import soundfile
import soxr

from ssast.audio.decode import decode

PROGRAMS = ("ffmpeg", "sox", "espeak-ng")
MISSING = [name for name in PROGRAMS if shutil.which(name) is None]
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"{', '.join(MISSING)} not installed; .ci/run installs it")

SENTENCE = "The north wind and the sun were disputing which was the stronger, when a traveller came along."


@dataclass(frozen=True)
class Format:
    """A kind of file: how it is written from `source.wav`, the rate [Hz] it must come with, the most loss [dB].

    `rate` None is that of the source, `most_db` None means exact to `step`, but for up to
    `padding` zeros at the end.
    """

    name: str
    extension: str
    command: str
    source: int = 22050
    rate: int | None = None
    most_db: float | None = None
    step: float = 2**-15
    padding: int = 0


def sox(name, extension, options, **rest):
    return Format(f"sox {name}", extension, f"sox -D source.wav {options} file.{extension}", **rest)


def ffmpeg(name, extension, options, **rest):
    command = f"ffmpeg -nostdin -loglevel error -y -i source.wav {options} file.{extension}"
    return Format(f"ffmpeg {name}", extension, command, **rest)


FORMATS = [
    sox("wav 8 bit", "wav", "-b 8 -e unsigned", step=2**-7),
    sox("wav 16 bit", "wav", "-b 16"),
    sox("wav 24 bit", "wav", "-b 24"),
    sox("wav 32 bit", "wav", "-b 32"),
    sox("wav float 32", "wav", "-b 32 -e float"),
    sox("wav float 64", "wav", "-b 64 -e float"),
    sox("wav mu-law", "wav", "-e mu-law", step=0.04),
    sox("wav a-law", "wav", "-e a-law", step=0.04),
    sox("wav big-endian", "wav", "-B"),
    sox("wav through a pipe", "wav", "-t wav - | cat >"),
    sox("flac", "flac", ""),
    sox("aiff", "aiff", ""),
    sox("au", "au", ""),
    sox("au mu-law", "au", "-e mu-law", step=0.04),
    sox("caf", "caf", ""),
    sox("w64", "w64", ""),
    sox("sph", "sph", ""),
    sox("sph mu-law", "sph", "-e mu-law", source=8000, step=0.04),
    sox("wav IMA ADPCM", "wav", "-e ima-adpcm", most_db=-25),
    sox("wav MS ADPCM", "wav", "-e ms-adpcm", most_db=-25),
    sox("wav GSM", "wav", "-e gsm-full-rate", source=8000, most_db=-10),
    sox("mp3", "mp3", "-C 64", most_db=-20),
    sox("mp3 of variable rate", "mp3", "-C -2", most_db=-20),
    sox("ogg vorbis", "ogg", "-C 6", most_db=-20),
    sox("opus", "opus", "", rate=48000, most_db=-20),
    # sox leaves pauses out (DTX), as telephones do; FFmpeg's own decoder once refused such files.
    sox("amr-nb", "amr", "-t amr-nb -C 7", source=8000, most_db=-5),
    ffmpeg("wav 16 bit", "wav", "-c:a pcm_s16le"),
    ffmpeg("wav 24 bit", "wav", "-c:a pcm_s24le"),
    ffmpeg("wav of unknown size", "wav", "-f wav - | cat >"),
    ffmpeg("rf64", "wav", "-rf64 always"),
    ffmpeg("wav IMA ADPCM", "wav", "-c:a adpcm_ima_wav", most_db=-25),
    ffmpeg("wav MS ADPCM", "wav", "-c:a adpcm_ms", most_db=-25),
    ffmpeg("wav GSM", "wav", "-c:a libgsm_ms", source=8000, most_db=-10),
    ffmpeg("flac", "flac", "-sample_fmt s16"),
    ffmpeg("flac in ogg", "ogg", "-c:a flac -sample_fmt s16"),
    ffmpeg("aiff", "aiff", ""),
    ffmpeg("aiff little-endian", "aiff", "-c:a pcm_s16le"),
    ffmpeg("au", "au", ""),
    ffmpeg("caf", "caf", ""),
    ffmpeg("w64, whose size is rounded up", "w64", "", padding=3),
    ffmpeg("mp3", "mp3", "-b:a 64k", most_db=-20),
    ffmpeg("mp3 of variable rate", "mp3", "-q:a 2", most_db=-20),
    ffmpeg("mp3 without a count of frames", "mp3", "-q:a 2 -write_xing 0", most_db=-20),
    ffmpeg("ogg vorbis", "ogg", "-c:a libvorbis -q:a 6", most_db=-20),
    ffmpeg("opus", "opus", "-b:a 64k", rate=48000, most_db=-20),
    ffmpeg("opus in ogg", "ogg", "-c:a libopus -b:a 64k", rate=48000, most_db=-20),
    ffmpeg("m4a", "m4a", "-c:a aac -b:a 96k", most_db=-15),
    ffmpeg("m4a with its index first", "m4a", "-c:a aac -b:a 96k -movflags +faststart", most_db=-15),
    ffmpeg("m4a in fragments", "m4a", "-c:a aac -b:a 96k -movflags +frag_keyframe+empty_moov", most_db=-15),
    ffmpeg("aac", "aac", "-b:a 96k", most_db=-15),
    ffmpeg("alac", "m4a", "-c:a alac -sample_fmt s16p"),
    ffmpeg("alac in caf", "caf", "-c:a alac -sample_fmt s16p"),
    ffmpeg("mp4", "mp4", "-c:a aac -b:a 96k", most_db=-15),
    ffmpeg("mp4 with a picture", "mp4", "-f lavfi -i color=s=32x32:r=5 -shortest -c:a aac -b:a 96k", most_db=-15),
    ffmpeg("webm opus", "webm", "-c:a libopus -b:a 64k", rate=48000, most_db=-20),
    ffmpeg("webm vorbis", "webm", "-c:a libvorbis -q:a 6", most_db=-20),
    ffmpeg("wma", "wma", "-c:a wmav2 -b:a 96k", most_db=-15),
    ffmpeg("wma of the first version", "wma", "-c:a wmav1 -b:a 96k", most_db=-15),
]


@pytest.fixture(scope="module")
def speech(tmp_path_factory):
    """A spoken sentence at each source rate: a folder with source.wav by rate."""
    root = tmp_path_factory.mktemp("speech")
    subprocess.run(["espeak-ng", "-v", "en", "-w", str(root / "spoken.wav"), SENTENCE], check=True)
    folders = {}
    for rate in sorted({form.source for form in FORMATS}):
        folders[rate] = root / str(rate)
        folders[rate].mkdir()
        # Quieter, so that no coder clips, and whole 16-bit steps, so that what is exact can be seen to be.
        convert = ["sox", "-D", "-v", "0.7", str(root / "spoken.wav"), "-b", "16", str(folders[rate] / "source.wav")]
        subprocess.run([*convert, "rate", "-h", str(rate)], check=True)
    return folders


@functools.cache
def write(form, folder):
    """The file's bytes, once for both ways to read it; the test is skipped where this build has no such coder."""
    done = subprocess.run(form.command, shell=True, cwd=folder, capture_output=True, text=True)
    file = folder / f"file.{form.extension}"
    unknown = ("no handler", "Unknown encoder", "can't encode", "can't open output", "does not support")
    if any(word in done.stderr for word in unknown):
        pytest.skip(f"this build cannot write it: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    content = file.read_bytes()
    file.unlink()
    return content


def loss_db(source, decoded, most_delay=4000):
    """The loss against the source, after the coder's delay is taken out; and how many samples too many there are."""
    size = 1 << (len(source) + len(decoded)).bit_length()
    match = np.fft.irfft(np.fft.rfft(decoded, size) * np.conj(np.fft.rfft(source, size)), size)
    delay = max(range(-most_delay, most_delay), key=lambda lag: match[lag])
    source, decoded = source[max(0, -delay) :], decoded[max(0, delay) :]
    both = min(len(source), len(decoded))
    error = np.sum((source[:both] - decoded[:both]) ** 2) / np.sum(source[:both] ** 2)
    return 10 * np.log10(error + 1e-20)


@pytest.mark.parametrize("use_librosa", [False, True], ids=["as it comes", "librosa"])
@pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.name)
def test_it_decodes_to_the_same_waveform_at_the_right_rate_and_length(form, use_librosa, speech):
    source, rate = soundfile.read(speech[form.source] / "source.wav", dtype="float32")
    recording = decode(io.BytesIO(write(form, speech[form.source])), extension=form.extension, use_librosa=use_librosa)
    assert recording.sample_rate == (form.rate or rate)
    assert len(recording.waveform) == 1
    decoded = recording.waveform[0].numpy()
    if form.most_db is None:
        assert 0 <= len(decoded) - len(source) <= form.padding
        assert np.abs(decoded - np.pad(source, (0, len(decoded) - len(source)))).max() <= form.step
        return
    if form.rate:
        source = soxr.resample(source, rate, form.rate)
    seconds = (len(decoded) - len(source)) / recording.sample_rate
    assert -0.03 < seconds < 0.15, "coders pad to whole blocks"
    assert loss_db(source, decoded) < form.most_db


def test_every_way_to_read_has_its_formats():
    """The table itself: the extensions of the design page are all there."""
    assert {form.extension for form in FORMATS} >= {
        *("wav", "flac", "aiff", "au", "caf", "w64", "sph", "mp3", "ogg", "opus", "m4a", "aac", "webm", "wma", "amr"),
        "mp4",
    }
