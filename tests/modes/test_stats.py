"""`ssast stats`: the mean and the standard deviation of log-mel values, and the next run that takes them."""

import numpy as np
import pytest
import soundfile
import torch
import yaml

import ssast
from ssast import cli
from ssast.modes.stats import Moments
from ssast.options.record import resolve

torch.set_num_threads(1)


def stats(corpus, out, **options):
    where = {"prefix": str(corpus.audio), "data_split_root": str(corpus.splits), "device": "cpu"}
    return yaml.safe_load(ssast.stats(**{**where, **options}, exp_dir=str(out)).read_text())


def by_hand(corpus, length, uids=None):
    """All log-mel values of the training clips' own frames."""
    frontend, values = ssast.Frontend(target_length=length), []
    for uid in corpus.frame("train").index if uids is None else uids:
        samples, _ = soundfile.read(corpus.audio / uid / "waveform.wav", dtype="float32")
        values.append(frontend.fbank(torch.from_numpy(samples)[None])[0, :length].flatten().double())
    return torch.cat(values).numpy()


def test_they_are_those_of_the_clips_own_frames(still_corpus, tmp_path):
    found = stats(still_corpus, tmp_path / "out", target_length=60)
    values = by_hand(still_corpus, 60)
    assert found["dataset_mean"] == pytest.approx(values.mean(), abs=1e-6)
    assert found["dataset_std"] == pytest.approx(values.std(), abs=1e-6)
    assert found["record"]["clips"] == 12
    assert found["record"]["frames"] * 128 == len(values)


def test_what_padding_would_have_made_of_them_is_told(still_corpus, tmp_path):
    found = stats(still_corpus, tmp_path / "out", target_length=100)
    values = by_hand(still_corpus, 100)
    padded = np.concatenate([values, np.zeros(12 * 100 * 128 - len(values))])
    assert found["record"]["with_padding"] == {"mean": pytest.approx(padded.mean()), "std": pytest.approx(padded.std())}
    assert abs(found["dataset_mean"] - padded.mean()) > 1


def test_the_size_of_batches_and_the_number_of_workers_change_nothing(still_corpus, tmp_path):
    one = stats(still_corpus, tmp_path / "a")
    other = stats(still_corpus, tmp_path / "b", batch_size=5, num_workers=2)
    assert one["dataset_mean"] == pytest.approx(other["dataset_mean"], abs=1e-6)
    assert one["dataset_std"] == pytest.approx(other["dataset_std"], abs=1e-6)


def test_the_next_run_takes_them(still_corpus, tmp_path):
    found = stats(still_corpus, tmp_path / "out", target_length=60, resample_rate=8000)
    options = resolve(mode="finetune", config=tmp_path / "out" / "stats.yaml", prefix="a", data_split_root="b")
    assert (options.dataset_mean, options.dataset_std) == (found["dataset_mean"], found["dataset_std"])
    assert (options.target_length, options.resample_rate) == (60, 8000)
    assert {"dataset_mean", "dataset_std"} <= options.given


def test_one_csv_will_do(still_corpus, tmp_path):
    found = stats(still_corpus, tmp_path / "out", data_split_root=str(still_corpus.splits / "test.csv"))
    assert found["record"]["clips"] == 6


def test_a_recording_that_cannot_be_used_is_left_out_and_named(corpus, tmp_path, capsys):
    (corpus.audio / "0003" / "waveform.wav").write_bytes(b"RIFF nothing")
    words = ["stats", "-i", str(corpus.audio), "-d", str(corpus.splits), "--device", "cpu", "-o"]
    assert cli.main([*words, str(tmp_path / "a")]) == 2
    assert "0003" in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "a").exists()
    found = stats(corpus, tmp_path / "b", on_bad_audio="skip")
    uids = [uid for uid in corpus.frame("train").index if uid != "0003"]
    assert found["dataset_mean"] == pytest.approx(by_hand(corpus, 1024, uids).mean(), abs=1e-6)
    assert "0003" in (tmp_path / "b" / "bad_audio.csv").read_text()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"-i": "nowhere"}, "nowhere does not exist"),
        ({"-d": "nowhere"}, "nowhere does not exist"),
        ({"--clip_length": "0.01"}, "clip_length"),
    ],
)
def test_what_is_wrong_is_one_sentence(still_corpus, tmp_path, capsys, change, said):
    words = {"-i": str(still_corpus.audio), "-d": str(still_corpus.splits), "-o": str(tmp_path / "out")} | change
    assert cli.main(["stats", *(word for pair in words.items() for word in pair)]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert said in error
    assert not (tmp_path / "out").exists()


def test_silence_has_no_deviation(corpus, tmp_path, capsys):
    for uid in corpus.frame("train").index:
        soundfile.write(corpus.audio / uid / "waveform.wav", np.zeros(8000), 16000)
    words = ["-i", str(corpus.audio), "-d", str(corpus.splits), "-o", str(tmp_path / "out"), "--device", "cpu"]
    assert cli.main(["stats", *words]) == 2
    assert "nothing but silence" in capsys.readouterr().err.splitlines()[-1]


def test_digits_survive_a_large_mean():
    """A plain sum of squares loses the deviation of numbers far from zero."""
    numbers = torch.from_numpy(np.random.default_rng(0).normal(1e8, 1.0, 10000))
    whole = sum((Moments.of(part) for part in numbers.split(37)), Moments())
    assert whole.count == 10000
    assert whole.mean == pytest.approx(numbers.mean().item(), abs=1e-6)
    assert whole.std == pytest.approx(numbers.std(correction=0).item(), rel=1e-6)
    assert (Moments() + Moments()).std == 0
