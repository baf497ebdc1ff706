"""Fewer open files than the workers need: one sentence, nothing left, and no worker that is waited for in vain."""

import contextlib
import os
import resource

import pytest
import torch

import ssast
from ssast.audio.source import bytes_of
from ssast.data.loader import loader
from ssast.data.storage.location import Location
from ssast.errors import UserError, lacks_handles

pytestmark = pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts its open files in /proc")


@contextlib.contextmanager
def room_for_files(more: int):
    """Inside, this process may open so many files more."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    held = [os.open(os.devnull, os.O_RDONLY)]
    highest = max(map(int, os.listdir("/proc/self/fd")))
    while held[-1] < highest:  # no gap is left below
        held.append(os.open(os.devnull, os.O_RDONLY))
    resource.setrlimit(resource.RLIMIT_NOFILE, (held[-1] + 1 + more, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        for number in held:
            os.close(number)


@pytest.mark.parametrize(("mode", "more"), [("check", 9), ("stats", 12), ("audit", 9), ("pack", 9)])
def test_too_few_open_files_for_the_workers_are_a_sentence_and_nothing_is_left(
    mode, more, still_corpus, tmp_path, capfd
):
    """It was a traceback of fifty lines, and beside it torch's own about processes that it had half begun."""
    where = {"prefix": str(still_corpus.audio), "data_split_root": str(still_corpus.splits)}
    where |= {"label_txt": str(still_corpus.label_txt)} if mode in ("check", "audit") else {}
    usual = {**where, "num_workers": 4, "exp_dir": str(tmp_path / "o")}
    run = getattr(ssast, mode)
    wanted = rf"{mode} needs more open files at once than the \d+ that .*`ulimit -n \d+`, or .* --num_workers than 4\."
    with pytest.raises(UserError, match=wanted), room_for_files(more):
        run(**usual)
    assert not (tmp_path / "o").exists()
    assert "Traceback" not in capfd.readouterr().err
    run(**usual)
    assert (tmp_path / "o" / "run.yaml").exists()


class TakesTheRest:
    """After a first item no file can be opened in the worker, which hands over tensors by opened files."""

    def __len__(self):
        return 4

    def __getitem__(self, key):
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        waveform = torch.zeros(1, 100)
        return {"uid": str(key[0]), "waveform": waveform, "targets": torch.zeros(1), "length": 100}


@pytest.mark.usefixtures("told_soon")
def test_a_worker_that_cannot_hand_over_a_batch_is_not_waited_for_in_vain():
    """It dropped the batch, and a run with one worker and 16 open files stood still for ever."""
    with pytest.raises(OSError, match="Too many open files"):
        list(loader(TakesTheRest(), batch_size=1, num_workers=1))


def test_a_recording_that_cannot_be_opened_for_want_of_handles_is_no_bad_recording(still_corpus):
    """With --on_bad_audio skip it would have been left out, and the results would be those of other recordings."""
    uid = sorted(path.name for path in still_corpus.audio.iterdir())[0]
    place = Location(str(still_corpus.audio)) / uid / "waveform.wav"
    for read in (place.read_bytes, lambda: bytes_of(place.path)):
        with pytest.raises(OSError, match="Too many open files") as caught, room_for_files(0):
            read()
        assert lacks_handles(caught.value)
