"""A random stretch is one of the recording, in every format; which one depends on seed, epoch and index alone."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch

from ssast.audio import readers
from ssast.audio.frontend import samples_of
from ssast.data import audio_conf
from ssast.data.dataset import AudioDataset, loader
from ssast.data.random_crops import RandomCrop
from ssast.errors import AudioError

torch.set_num_threads(1)
FRAMES, RATE = 40, 16000
SAMPLES = samples_of(FRAMES, RATE)


def sound(seconds: float, rate: int = RATE, channels: int = 1) -> np.ndarray:
    rng, time = np.random.default_rng(0), np.arange(round(seconds * rate)) / rate
    tone = 0.1 * np.sin(2 * np.pi * (200 + 100 * time) * time) + 0.01 * rng.standard_normal(len(time))
    return np.stack([tone * (1 - 0.1 * one) for one in range(channels)], axis=1).astype(np.float32)


def data_of(folder: Path, *uids: str, hold: str = "stretch", **conf: object) -> AudioDataset:
    frame = pd.DataFrame(index=pd.Index(uids, name="uid"))
    return AudioDataset(frame, [], {"target_length": FRAMES, **conf}, folder, with_fbank=False, hold=hold)


def place_of(stretch_S: torch.Tensor, whole_S: torch.Tensor) -> int:
    """Where the stretch lies in the whole, to 1e-6; -1 where it does not."""
    starts = whole_S[: len(whole_S) - len(stretch_S) + 1]
    for place in ((starts - stretch_S[0]).abs() < 1e-6).nonzero().flatten().tolist():
        if (whole_S[place : place + len(stretch_S)] - stretch_S).abs().max() < 1e-6:
            return place
    return -1


@pytest.mark.parametrize("extension", ["wav", "flac", "aiff", "au", "w64", "mp3", "ogg"])
def test_a_stretch_is_one_of_the_recording_and_another_in_each_epoch(tmp_path, record, extension):
    record(tmp_path / "long", sound(4), RATE, extension)
    whole_S = data_of(tmp_path, "long", hold="whole")[0]["waveform"][0]
    data = data_of(tmp_path, "long")
    stretches = [data[0, epoch]["waveform"] for epoch in range(6)]
    assert {tuple(one.shape) for one in stretches} == {(1, SAMPLES)}
    places = [place_of(one[0], whole_S) for one in stretches]
    assert min(places) >= 0
    assert all(torch.equal(whole_S[at : at + SAMPLES], one[0]) for at, one in zip(places, stretches, strict=True))
    assert len(set(places)) == 6
    assert max(places) - min(places) > RATE
    assert torch.equal(data_of(tmp_path, "long")[0, 3]["waveform"], stretches[3])
    assert data[0, 0]["whole_length"] == len(whole_S)


@pytest.mark.parametrize(("rate", "channels"), [(44100, 2), (8000, 1), (22050, 1), (48000, 3)])
def test_a_stretch_at_another_rate_is_that_of_the_whole(tmp_path, record, rate, channels):
    record(tmp_path / "long", sound(4, rate, channels), rate)
    whole_S = data_of(tmp_path, "long", hold="whole")[0]["waveform"][0]
    data = data_of(tmp_path, "long")
    for epoch in range(4):
        stretch_S = data[0, epoch]["waveform"][0]
        assert len(stretch_S) == SAMPLES
        assert place_of(stretch_S, whole_S) >= 0


def test_what_lies_before_and_behind_a_stretch_is_not_decoded(tmp_path, record, monkeypatch):
    """Five minutes are opened, and less than a second of them is read."""
    record(tmp_path / "long", sound(300), RATE, "flac")
    read, whole = [], soundfile.SoundFile.read

    def counted(self, frames=-1, *args, **named):
        found = whole(self, frames, *args, **named)
        read.append(len(found))
        return found

    monkeypatch.setattr(soundfile.SoundFile, "read", counted)
    data_of(tmp_path, "long")[0, 1]
    assert sum(read) == SAMPLES + 1, "the last sample shows that the file is whole"


def test_one_that_is_too_long_for_the_memory_is_read_twice_where_its_format_cannot_be_sought(
    tmp_path, record, monkeypatch
):
    record(tmp_path / "long", sound(4), RATE, "ogg")
    held = data_of(tmp_path, "long")[0, 2]["waveform"]
    monkeypatch.setattr(audio_conf, "HELD_SECONDS", 1.0)
    monkeypatch.setattr(readers, "BLOCK", 5000)
    assert torch.equal(data_of(tmp_path, "long")[0, 2]["waveform"], held)


def test_a_short_recording_is_heard_whole(tmp_path, record):
    for uid, seconds in (("a", 0.03), ("b", 0.2), ("c", SAMPLES / RATE)):
        record(tmp_path / uid, sound(seconds), RATE)
    data, whole = data_of(tmp_path, "a", "b", "c"), data_of(tmp_path, "a", "b", "c", hold="whole")
    for index in range(3):
        assert torch.equal(data[index, 5]["waveform"], whole[index]["waveform"])
    record(tmp_path / "tiny", sound(0.02), RATE)
    with pytest.raises(AudioError, match=r"clip tiny: it lasts 20\.0 ms, less than one window"):
        data_of(tmp_path, "tiny")[0]


def test_only_the_beginning_counts_where_a_clip_length_says_so(tmp_path, record):
    record(tmp_path / "long", sound(4), RATE)
    whole_S = data_of(tmp_path, "long", hold="whole")[0]["waveform"][0]
    data = data_of(tmp_path, "long", clip_length=1.0)
    places = [place_of(data[0, epoch]["waveform"][0], whole_S) for epoch in range(30)]
    assert 0 <= min(places) < 2000
    assert RATE - SAMPLES - 2000 < max(places) <= RATE - SAMPLES


@pytest.mark.parametrize("whole", [SAMPLES + 1, SAMPLES + 2, 5 * SAMPLES])
def test_every_beginning_is_drawn_alike(whole):
    spans = [RandomCrop(share, SAMPLES, RATE, True).within(whole) for share in np.linspace(0, 1, 1001)[:-1]]
    assert {end - begin for begin, end in spans} == {SAMPLES}
    assert min(begin for begin, _ in spans) == 0
    assert max(end for _, end in spans) > whole * 0.99
    assert RandomCrop(1 - 2**-53, SAMPLES, RATE, True).within(whole) == (whole - SAMPLES, whole)


def test_workers_and_a_restart_change_nothing(tmp_path, record):
    for number in range(6):
        record(tmp_path / str(number), sound(1 + number / 4), RATE, ("wav", "mp3")[number % 2])
    data = data_of(tmp_path, *map(str, range(6)))
    batches = [batch["waveform"] for batch in loader(data, batch_size=2, shuffle_seed=0, epoch=3)]
    workers = loader(data, batch_size=2, shuffle_seed=0, epoch=3, num_workers=2)
    assert all(torch.equal(one["waveform"], other) for one, other in zip(workers, batches, strict=True))
    later = loader(data_of(tmp_path, *map(str, range(6))), batch_size=2, shuffle_seed=0, epoch=3, start=1)
    assert all(torch.equal(one["waveform"], other) for one, other in zip(later, batches[1:], strict=True))


def test_an_altered_stretch_is_as_long_as_what_is_heard(tmp_path, record):
    record(tmp_path / "long", sound(4), RATE)
    data = data_of(tmp_path, "long", speed=1.0, speed_range=0.5, gain=1.0)
    assert {data[0, epoch]["waveform"].shape[1] for epoch in range(8)} == {SAMPLES}


def test_damage_elsewhere_is_told_at_once_or_left_alone_whatever_was_read_before(tmp_path, record):
    """Whether a recording is used must not depend on which worker, or which start of a run, met it first."""
    samples = sound(4)
    samples[-10] = np.nan
    record(tmp_path / "odd", samples, RATE)
    soundfile.write(tmp_path / "odd" / "waveform.wav", samples, RATE, subtype="FLOAT")
    data = data_of(tmp_path, "odd")
    data.judges = True
    with pytest.raises(AudioError, match="1 of its 64000 samples are NaN or infinite"):
        data[0, 0]
    data = data_of(tmp_path, "odd")
    data.judges, data.refuses_damage = True, False
    first = [data[0, epoch]["waveform"] for epoch in range(3)]
    again = data_of(tmp_path, "odd")
    assert all(torch.equal(again[0, epoch]["waveform"], first[epoch]) for epoch in range(3))


@pytest.mark.parametrize("extension", ["wav", "flac"])
def test_a_file_that_is_cut_off_has_no_stretch(tmp_path, record, extension):
    place = record(tmp_path / "odd", sound(4), RATE, extension) / f"waveform.{extension}"
    place.write_bytes(place.read_bytes()[:-20000])
    with pytest.raises(AudioError, match="cut off"):
        data_of(tmp_path, "odd")[0, 0]


def test_metadata_that_names_another_rate_is_found(tmp_path, record):
    record(tmp_path / "odd", sound(4), RATE)
    (tmp_path / "odd" / "metadata.json").write_text('{"encoding": "WAV", "sample_rate_hz": 8000}')
    with pytest.raises(AudioError, match=r"waveform\.wav holds 16000 Hz, but metadata\.json says 8000"):
        data_of(tmp_path, "odd")[0, 0]
