import av
import numpy as np
import pytest
import soundfile

from ssast.audio.decode import decode
from ssast.data.known_lengths import header_seconds


@pytest.fixture(scope="module")
def tone(tmp_path_factory):
    path = tmp_path_factory.mktemp("tone") / "tone.wav"
    soundfile.write(path, 0.1 * np.sin(np.arange(37000) / 8).astype(np.float32), 16000)
    return path


@pytest.mark.parametrize("extension", ["wav", "flac", "ogg", "mp3", "aiff"])
def test_a_header_tells_what_decoding_gives(extension, tone, tmp_path):
    path = tmp_path / f"tone.{extension}"
    soundfile.write(path, soundfile.read(tone)[0], 16000)
    found = decode(path, extension=extension)
    seconds = found.waveform.shape[1] / found.sample_rate
    assert header_seconds(path) == pytest.approx(seconds, abs=0.03)


@pytest.mark.parametrize(("extension", "codec"), [("m4a", "aac"), ("webm", "libopus"), ("opus", "libopus")])
def test_containers_that_ffmpeg_reads_tell_it_too(extension, codec, tone, tmp_path):
    path = tmp_path / f"tone.{extension}"
    with av.open(tone) as source, av.open(path, "w") as target:
        stream = target.add_stream(codec, rate=16000)
        for frame in [*source.decode(audio=0), None]:
            target.mux(stream.encode(frame))
    assert header_seconds(path) == pytest.approx(37000 / 16000, abs=0.1)


@pytest.mark.parametrize("content", [b"", b"RIFF", b"RIFF\0\0\0\0WAVEfmt ", b"no sound at all", b"\xff\xfb\x90d" * 9])
def test_a_file_that_tells_nothing_is_not_an_error(content, tmp_path):
    (tmp_path / "waveform.wav").write_bytes(content)
    assert header_seconds(tmp_path / "waveform.wav") is None


def test_a_missing_file_and_a_pipe_tell_nothing(tmp_path, pipe):
    assert header_seconds(tmp_path / "nothing.wav") is None
    pipe(tmp_path / "pipe.wav")
    assert header_seconds(tmp_path / "pipe.wav") is None


def test_nothing_but_the_header_of_a_long_file_is_read(tmp_path, monkeypatch):
    path = tmp_path / "long.wav"
    soundfile.write(path, np.zeros(16000 * 300, np.int16), 16000)
    from ssast.audio import source

    read, most = source._Disk.read, []
    monkeypatch.setattr(source._Disk, "read", lambda self, at, count: (most.append(count), read(self, at, count))[1])
    assert header_seconds(path) == 300
    assert sum(most) < path.stat().st_size / 2
