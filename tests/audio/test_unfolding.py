"""Small files that unfold to hours of sound are refused, or no more of them is read than is heard.

Memory is measured in processes of their own, each forked for one file: a process keeps the highest it ever had.
"""

import json
import math
import struct
import subprocess
import sys

import numpy as np
import pytest
import soundfile
import torch

from ssast.audio.conform import conform, conform_waveform, conformed
from ssast.audio.decode import Recording, blocks, decode
from ssast.audio.frontend import Frontend
from ssast.data.batch import LongRecording, WindowReader
from ssast.data.dataset import AudioConf
from ssast.errors import AudioError

HEARD = """
import json, os, sys, time
import numpy as np, soxr, soundfile
from ssast.data.audio_files import FileDataset
from ssast.data.storage.location import Location
from ssast.errors import AudioError

soxr.resample(np.zeros(1000, "f4"), 8000, 16000)

def highest():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]) / 1024

def measure(path, hold):
    before, begun = highest(), time.process_time()
    try:
        item = FileDataset([Location(path)], {"target_length": 30}, hold=hold)[0]
        said = [list(item["waveform"].shape), item["whole_length"]]
    except AudioError as error:
        said = str(error)
    print(json.dumps([path, hold, highest() - before, time.process_time() - begun, said]), flush=True)

for path, hold in json.loads(sys.argv[1]):
    if not os.fork():
        measure(path, hold)
        os._exit(0)
    os.wait()
"""


def crc(data, bits, polynomial):
    value = 0
    for byte in data:
        value ^= byte << bits - 8
        for _ in range(8):
            value = (value << 1 ^ (polynomial if value >> bits - 1 else 0)) & (1 << bits) - 1
    return value.to_bytes(bits // 8, "big")


def silent_flac(rate, channels, seconds, *, count=True):
    """A FLAC whose frames each say "65535 times the same sample"."""
    frames = -(-rate * seconds // 65535)
    info = struct.pack(">HH", 65535, 65535) + bytes(6)
    told = frames * 65535 if count else 0
    info += (rate << 44 | channels - 1 << 41 | 15 << 36 | told).to_bytes(8, "big") + bytes(16)
    parts = [b"fLaC\x80\0\0\x22" + info]
    for number in range(frames):
        head = b"\xff\xf8\x70" + bytes([channels - 1 << 4 | 8]) + chr(number).encode("utf-8", "surrogatepass")
        head += struct.pack(">H", 65534)
        frame = head + crc(head, 8, 0x07) + b"\0\0\0" * channels
        parts.append(frame + crc(frame, 16, 0x8005))
    return b"".join(parts)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    files = {
        "five_hours.flac": silent_flac(44100, 1, 5 * 3600),
        "eight_channels.flac": silent_flac(96000, 8, 1800),
        "uncounted.flac": silent_flac(44100, 2, 3600, count=False),
        "fast.flac": silent_flac(655350, 1, 1100),
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
    for rate in (1, 7, 999):
        soundfile.write(folder / f"rate_{rate}.wav", np.zeros(500_000, np.int16), rate)
    noise = np.random.default_rng(0).integers(-3000, 3000, 16000 * 60, dtype=np.int16)
    with soundfile.SoundFile(folder / "half_an_hour.wav", "w", 16000, 1) as file:
        for _ in range(30):
            file.write(noise)
    return folder


def measured(paths_and_holds):
    asked = [(str(path), hold) for path, hold in paths_and_holds]
    run = [sys.executable, "-c", HEARD, json.dumps(asked)]
    done = subprocess.run(run, capture_output=True, text=True, check=True, timeout=250)
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells the highest memory of a process")
def test_what_unfolds_is_refused_or_read_as_far_as_it_is_heard(hostile):
    """72 kB of FLAC took 9 GB, and half an hour among clips of 3 seconds up to 4 GB."""
    found = measured([*((path, "heard") for path in sorted(hostile.iterdir())), (hostile / "five_hours.flac", "whole")])
    assert len(found) == 9
    for path, hold, megabytes, seconds, said in found:
        assert megabytes < 300, (path, hold, megabytes)
        assert seconds < 2, (path, hold, seconds)
        if "rate_" in path:
            assert "expected 1000 to 1000000" in said
        elif hold == "whole":
            assert "too long for the memory" in said
        else:
            assert said[0] == [1, 29 * 160 + 400]
            assert said[1] > 1000 * 16000 or "uncounted" in path


def make(path, seconds, rate, channels):
    chance = np.random.default_rng(1)
    with soundfile.SoundFile(path, "w", rate, channels, subtype="PCM_16") as file:
        for _ in range(seconds):
            file.write(0.05 + 0.1 * chance.standard_normal((rate, channels)))


@pytest.fixture(
    scope="module", params=[("flac", 44100, 2), ("wav", 48000, 1), ("wav", 16000, 3)], ids=["flac", "wav", "3 channels"]
)
def long(request, tmp_path_factory):
    """A recording of 150 s, its extension, and what all of it is at 16 kHz."""
    extension, rate, channels = request.param
    path = tmp_path_factory.mktemp("long") / f"long.{extension}"
    make(path, 150, rate, channels)
    return path, extension, conform(decode(path, extension=extension), sample_rate=16000)


@pytest.mark.parametrize("target_length", [30, 1024])
def test_what_is_heard_of_a_long_recording_is_what_is_heard_of_the_whole(long, target_length):
    path, extension, whole = long
    conf = AudioConf.of({"target_length": target_length})
    item = conf.item(lambda: blocks(path, extension=extension), "heard")
    assert item["waveform"].shape[1] == (target_length - 1) * 160 + 400
    assert item["whole_length"] == pytest.approx(150 * 16000, abs=2)
    torch.testing.assert_close(item["waveform"], whole.waveform[:, : item["waveform"].shape[1]], rtol=0, atol=0)
    frontend = Frontend(target_length=target_length)
    ours, theirs = frontend(item["waveform"]), frontend(whole.waveform)
    apart, below_db = (ours - theirs).abs(), 2 * frontend.std * 10 / math.log(10) * (theirs.max() - theirs)
    # The mean that is taken off is that of what is held; each window's own goes off too, which leaves rounding alone,
    # and that shows in the rare bins alone that hold next to nothing.
    assert (below_db <= 50).float().mean() > 0.9
    assert apart.quantile(0.999) < 1e-5
    assert apart[below_db <= 50].max() < 1e-5
    assert apart.max() < 1e-3


@pytest.mark.parametrize(("rate", "new_rate"), [(44100, 16000), (8000, 16000), (48000, 16000), (16000, 16000)])
@pytest.mark.parametrize("mono", [True, False])
def test_blocks_are_mixed_and_resampled_to_the_same_bytes_as_the_whole(rate, new_rate, mono):
    waveform = torch.from_numpy(np.random.default_rng(0).standard_normal((2, 7 * rate + 11)).astype(np.float32))
    pieces = [Recording(piece, rate, waveform.shape[1]) for piece in waveform.split(rate + 77, dim=1)]
    whole = conform(Recording(waveform, rate), sample_rate=new_rate, mono=mono).waveform
    parts = [block.waveform for block in conformed(iter(pieces), sample_rate=new_rate, mono=mono)]
    torch.testing.assert_close(torch.cat(parts, dim=1), whole, rtol=0, atol=0)
    clip = conform_waveform(iter(pieces), sample_rate=new_rate, mono=mono, clip_seconds=2.5)
    torch.testing.assert_close(clip.waveform, whole[:, : round(2.5 * new_rate)], rtol=0, atol=0)


def test_an_ordinary_recording_is_held_whole_whatever_is_heard_of_it(tmp_path):
    make(tmp_path / "clip.wav", 20, 16000, 1)
    item = AudioConf.of({"target_length": 30}).item(lambda: blocks(tmp_path / "clip.wav", extension="wav"), "heard")
    assert item["waveform"].shape == (1, 20 * 16000)


def test_windows_of_a_long_recording_are_cut_from_its_blocks(tmp_path):
    make(tmp_path / "long.flac", 400, 22050, 2)
    opens = lambda: blocks(tmp_path / "long.flac", extension="flac")  # noqa: E731
    whole = conform(decode(tmp_path / "long.flac", extension="flac"), sample_rate=16000).waveform[0]
    item = AudioConf.of({}).item(opens, "windows")
    assert item["waveform"].shape == (1, 0)
    assert isinstance(item["long"], LongRecording)
    assert item["long"].samples == item["whole_length"] == len(whole)
    reader = WindowReader(item["long"])
    for begin in range(0, len(whole) - 160_000, 800_000):
        assert reader.window(begin, begin + 160_000).equal(whole[begin : begin + 160_000])
    assert reader.window(len(whole) - 5, len(whole)).equal(whole[-5:])


def test_a_long_flac_whose_end_is_missing_is_refused_though_no_more_than_its_beginning_is_heard(tmp_path):
    make(tmp_path / "long.flac", 200, 44100, 1)
    content = (tmp_path / "long.flac").read_bytes()
    (tmp_path / "long.flac").write_bytes(content[: len(content) * 3 // 4])
    with pytest.raises(AudioError, match="cut off"):
        AudioConf.of({}).item(lambda: blocks(tmp_path / "long.flac", extension="flac"), "heard")


def test_memory_that_one_recording_cannot_get_is_an_error_of_that_recording(tmp_path, monkeypatch):
    make(tmp_path / "clip.wav", 2, 16000, 1)

    def too_much(*_, **__):
        raise MemoryError

    monkeypatch.setattr("soundfile.SoundFile.read", too_much)
    with pytest.raises(AudioError, match="there is not enough memory to read it"):
        decode(tmp_path / "clip.wav", extension="wav")
