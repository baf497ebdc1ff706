"""Recordings of any length as windows: everything is heard, steps of time once, and rows come together again."""

import functools

import numpy as np
import pytest
import torch

from ssast.audio.frontend import Frontend
from ssast.data.loader import collate
from ssast.engine.inference import float_lists
from ssast.engine.windows import Cutter, pool_windows, step_rows, window_batches, window_rows
from ssast.model.encoder import SSASTEncoder

torch.set_num_threads(1)
FRONTEND = Frontend(sample_rate=16000, num_mel_bins=32, target_length=40)


def samples_of(frames, more=0):
    return 400 + (frames - 1) * 160 + more


def recordings(*frames):
    for number, count in enumerate(frames):
        waveform_1S = torch.randn(1, samples_of(count), generator=torch.Generator().manual_seed(number))
        yield collate([{"uid": f"r{number}", "waveform": waveform_1S, "targets": torch.empty(0)}])


@pytest.mark.parametrize("frames", [1, 39, 40])
def test_a_recording_that_fits_is_one_window_with_every_sample(frames):
    (window,) = Cutter.of(FRONTEND, 0.5).cut(samples_of(frames, more=159))
    assert (window.start, window.begin, window.end) == (0, 0, samples_of(frames, more=159))


@pytest.mark.parametrize("overlap", [0, 0.25, 0.5, 0.95])
@pytest.mark.parametrize("frames", [41, 59, 60, 61, 200])
def test_windows_are_full_share_what_is_asked_for_and_end_with_the_recording(frames, overlap):
    cutter = Cutter.of(FRONTEND, overlap)
    windows = cutter.cut(samples_of(frames, more=7))
    starts = [window.start for window in windows]
    assert starts[0] == 0
    assert starts[-1] == frames - 40
    steps = np.diff(starts)
    assert (steps[:-1] == cutter.hop).all()
    assert 0 < steps[-1] <= cutter.hop
    assert cutter.hop == max(1, round(40 * (1 - overlap)))
    lengths = {int(FRONTEND.frames(torch.tensor(window.end - window.begin))) for window in windows}
    assert lengths == {40}
    assert windows[-1].end == samples_of(frames, more=7)


def test_a_window_is_no_longer_than_the_clips_that_a_model_learned_from():
    assert Cutter.of(FRONTEND, 0.5, most_seconds=0.3).length == 28
    assert Cutter.of(FRONTEND, 0.5, most_seconds=30).length == 40


@functools.cache
def encoder_of(stride):
    return SSASTEncoder("tiny", 8, 8, *stride, num_mel_bins=32, target_length=40)


@pytest.mark.parametrize("stride", [(8, 4), (8, 3), (4, 8), (8, 16)])
@pytest.mark.parametrize("overlap", [0, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("frames", [17, 40, 41, 55, 83, 203])
def test_every_step_of_time_is_kept_once_and_in_order(frames, overlap, stride):
    """Also with patches that overlap (stride 4) or leave gaps (stride 16), and where windows do not."""
    encoder = encoder_of(stride)
    cutter = Cutter.in_steps(FRONTEND, overlap, encoder)
    times = []
    for batch in window_batches(recordings(frames), cutter, 8):
        values = torch.zeros(len(batch["uid"]), encoder.grid[1], 3)
        times += step_rows(cutter, encoder.middles, batch, values)["time"].to_pylist()
    numbers = (np.array(times) - FRONTEND.seconds(encoder.middles[0]).item()) / (0.01 * encoder.stride[1])
    np.testing.assert_allclose(numbers, np.arange(len(times)), atol=1e-6)
    last = (len(times) - 1) * encoder.stride[1]
    assert last < frames
    if frames > 40:
        assert last + encoder.stride[1] + encoder.shape[1] > frames, "no whole patch is left out at the end"


def test_a_step_comes_from_the_window_that_has_it_farther_from_its_edges():
    encoder = SSASTEncoder("tiny", 32, 2, num_mel_bins=32, target_length=40)
    windows = Cutter.in_steps(FRONTEND, 0.5, encoder).cut(samples_of(80))
    assert [(window.start, window.first, window.last) for window in windows] == [(0, 0, 30), (20, 10, 30), (40, 10, 40)]


def test_times_are_those_of_the_samples_at_rates_where_a_shift_is_not_10_ms():
    """At 22050 Hz a shift has 220 samples, 9.977 ms: counting 10 ms would be 8 s off after an hour."""
    frontend = Frontend(sample_rate=22050, num_mel_bins=32, target_length=40)
    assert frontend.seconds(torch.tensor(1000.0)).item() == pytest.approx((1000 * 220 + 551 / 2) / 22050)
    cutter = Cutter.of(frontend, 0.0)
    assert cutter.seconds(cutter.cut(22050)[1].begin) == pytest.approx(40 * 220 / 22050)


def test_short_recordings_share_batches_and_long_ones_are_taken_apart():
    batches = list(window_batches(recordings(10, 10, 10, 200, 10), Cutter.of(FRONTEND, 0.5), 4))
    assert [len(batch["uid"]) for batch in batches] == [4, 4, 4, 1]
    assert [batch["steps"] for batch in batches] == [0, 0, 4, 1]
    assert [uid for batch in batches for uid in batch["uid"]] == ["r0", "r1", "r2", *["r3"] * 9, "r4"]


def test_a_recording_that_was_left_out_still_counts_as_a_step():
    empty = collate([])
    batches = list(window_batches([empty, *recordings(10), empty], Cutter.of(FRONTEND, 0.5), 4))
    assert [batch["steps"] for batch in batches] == [3]
    assert [batch["steps"] for batch in window_batches([empty, empty], Cutter.of(FRONTEND, 0.5), 4)] == [2]


def test_windows_become_recordings_again_across_tables():
    cutter, rng = Cutter.of(FRONTEND, 0.5), np.random.default_rng(0)
    tables, values = [], []
    for batch in window_batches(recordings(100, 20, 70), cutter, 2):
        values.append(rng.random((len(batch["uid"]), 3), dtype=np.float32))
        tables.append(window_rows(cutter, batch, torch.from_numpy(values[-1])))
    scores = np.concatenate(values)
    for pooling, pool in (("mean", np.mean), ("max", np.max)):
        heard = list(pool_windows(tables, pooling))
        assert [(one.uid, one.windows) for one in heard] == [("r0", 4), ("r1", 1), ("r2", 3)]
        np.testing.assert_allclose(heard[0].values, pool(scores[:4], axis=0), rtol=1e-6)
        assert heard[1].values.tobytes() == scores[4].tobytes()
        assert heard[2].seconds == pytest.approx(samples_of(70) / 16000)


def test_rows_of_numbers_become_lists():
    assert float_lists(torch.tensor([[1.0, 2.0], [3.0, 4.0]])).to_pylist() == [[1.0, 2.0], [3.0, 4.0]]
    assert float_lists(torch.empty(0, 5)).to_pylist() == []
