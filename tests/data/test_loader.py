import faulthandler
import os
import signal
import threading
import time

import pytest
import torch

from ssast.data.loader import Bad, collate, loader
from ssast.data.order import EpochSampler, derive_seed
from ssast.errors import AudioError, UserError


class Clips(torch.utils.data.Dataset):
    """Items whose waveform tells (index, epoch); `bad` ones raise."""

    def __init__(self, size=10, bad=(), error=AudioError):
        self.uids, self.bad, self.error = [f"u{index}" for index in range(size)], bad, error

    def __len__(self):
        return len(self.uids)

    def __getitem__(self, key):
        index, epoch = key
        if index in self.bad:
            raise self.error(f"clip u{index}: it has 0 samples")
        waveform = torch.full((1, index + 1), float(epoch))
        return {"uid": self.uids[index], "waveform": waveform, "targets": torch.tensor([float(index)])}


def uids(batches):
    return [batch["uid"] for batch in batches]


def test_a_batch_is_padded_with_zeros_and_knows_the_lengths():
    items = [
        {"uid": "a", "waveform": torch.ones(2, 3), "targets": torch.empty(0)},
        {"uid": "b", "waveform": torch.ones(2, 5), "targets": torch.empty(0)},
    ]
    batch = collate(items)
    assert batch["uid"] == ["a", "b"]
    assert batch["waveform"].tolist() == [[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]
    assert batch["lengths"].tolist() == [3, 5]
    assert batch["lengths"].dtype == torch.int64
    assert batch["targets"].shape == (2, 0)


def test_a_batch_without_a_usable_recording_is_empty_and_names_the_bad():
    batch = collate([Bad("a", "why", True)])
    assert (batch["uid"], batch["waveform"].shape, batch["lengths"].shape) == ([], (0, 0), (0,))
    assert batch["bad"] == [Bad("a", "why", True)]


@pytest.mark.parametrize("workers", [1, 4])
def test_workers_change_nothing(workers):
    how = {"batch_size": 3, "shuffle_seed": 7, "epoch": 2}
    alone = list(loader(Clips(), **how))
    helped = list(loader(Clips(), **how, num_workers=workers))
    assert uids(alone) == uids(helped)
    assert all(one["waveform"].equal(other["waveform"]) for one, other in zip(alone, helped, strict=True))


def test_the_order_depends_on_seed_and_epoch_alone():
    def order(seed, epoch):
        batches = loader(Clips(), batch_size=4, shuffle_seed=seed, epoch=epoch)
        return [uid for batch in batches for uid in batch["uid"]]

    assert order(1, 0) == order(1, 0)
    assert order(1, 0) != order(1, 1)
    assert order(1, 0) != order(2, 0)
    assert sorted(order(1, 5)) == sorted(Clips().uids)
    assert order(None, 3) == Clips().uids


def test_a_later_start_gives_the_rest_of_the_same_epoch():
    whole = list(loader(Clips(), batch_size=3, shuffle_seed=1, epoch=4))
    rest = loader(Clips(), batch_size=3, shuffle_seed=1, epoch=4, start=2)
    assert len(rest) == 2
    assert uids(rest) == uids(whole)[2:]
    assert uids(loader(Clips(), batch_size=3, start=4)) == []


@pytest.mark.parametrize("workers", [0, 2])
def test_one_loader_serves_all_epochs(workers):
    kept = loader(Clips(), batch_size=3, shuffle_seed=1, num_workers=workers)
    for epoch, start in ((0, 0), (1, 0), (1, 2)):
        fresh = loader(Clips(), batch_size=3, shuffle_seed=1, epoch=epoch, start=start)
        assert uids(kept.at(epoch, start)) == uids(fresh)


def test_an_epoch_broken_off_can_be_begun_again():
    kept = loader(Clips(40), batch_size=2, shuffle_seed=1, num_workers=2)
    assert next(iter(kept))["uid"] == next(iter(kept))["uid"]
    assert uids(kept) == uids(loader(Clips(40), batch_size=2, shuffle_seed=1))


def test_torchs_global_chance_is_left_alone():
    before = torch.get_rng_state()
    list(loader(Clips(), batch_size=3, shuffle_seed=0))
    list(loader(Clips(), batch_size=3, shuffle_seed=0, num_workers=1))
    assert torch.get_rng_state().equal(before)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(("error", "said"), [(AudioError, "--on_bad_audio skip"), (UserError, "0 samples$")])
def test_an_error_reaches_the_main_process_as_one_clean_sentence(workers, error, said):
    with pytest.raises(error, match=f"^clip u4: .*{said}") as caught:
        list(loader(Clips(bad=(4,), error=error), batch_size=2, num_workers=workers))
    assert "Traceback" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_batches_before_a_bad_recording_still_come():
    seen = []
    with pytest.raises(AudioError):
        seen.extend(batch["uid"] for batch in loader(Clips(bad=(4,)), batch_size=2))
    assert seen == [["u0", "u1"], ["u2", "u3"]]


@pytest.mark.parametrize("workers", [0, 2])
def test_skipping_leaves_out_the_bad_reports_them_and_keeps_order_and_numbers(workers):
    noted = []
    batches = list(loader(Clips(bad=(1, 4, 5)), batch_size=2, num_workers=workers, on_bad_audio="skip", report=noted))
    assert uids(batches) == [["u0"], ["u2", "u3"], [], ["u6", "u7"], ["u8", "u9"]]
    assert [uid for uid, _ in noted] == ["u1", "u4", "u5"]
    assert noted[0][1] == "clip u1: it has 0 samples"
    assert all("bad" not in batch for batch in batches)


def test_the_bad_can_be_reported_to_a_function():
    noted = {}
    list(loader(Clips(bad=(1,)), batch_size=2, on_bad_audio="skip", report=noted.__setitem__))
    assert noted == {"u1": "clip u1: it has 0 samples"}


def test_errors_that_are_not_about_one_recording_are_never_skipped():
    with pytest.raises(UserError, match="clip u4"):
        list(loader(Clips(bad=(4,), error=UserError), batch_size=2, on_bad_audio="skip"))


def test_skipping_everything_is_an_error():
    with pytest.raises(UserError, match="none of the 3 recordings can be used; the first: clip u0"):
        list(loader(Clips(3, bad=range(3)), batch_size=2, on_bad_audio="skip"))


def test_bugs_keep_their_traceback():
    with pytest.raises(ZeroDivisionError):
        list(loader(Clips(bad=(0,), error=ZeroDivisionError), batch_size=2))


def test_wrong_settings_are_one_sentence():
    for wrong in ({"batch_size": 0}, {"batch_size": 1, "num_workers": -1}, {"batch_size": 1, "on_bad_audio": "x"}):
        with pytest.raises(UserError, match="expected"):
            loader(Clips(), **wrong)


def test_workers_end_with_their_loader():
    before = threading.active_count()
    list(loader(Clips(), batch_size=2, num_workers=2))
    patience = time.monotonic() + 10
    while threading.active_count() > before + 1 and time.monotonic() < patience:
        time.sleep(0.05)  # the threads that feed them end a moment later
    assert threading.active_count() <= before + 1


def test_seeds_depend_on_every_number_of_the_key():
    keys = [(0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0), (-1, 0, 0), (2**64 - 2, 0, 0)]
    assert len({derive_seed(*key) for key in keys}) == len(keys)
    assert derive_seed(1, 2, 3) == derive_seed(1, 2, 3)
    assert list(EpochSampler(3, epoch=5)) == [(0, 5), (1, 5), (2, 5)]


class Deadly(Clips):
    """Some clips end the process that reads them, as a decoder in C does; the main process reads none of them."""

    def __init__(self, size, deadly, signals=("SIGSEGV",)):
        super().__init__(size)
        self.deadly, self.signals, self.main = deadly, signals, os.getpid()

    def __getitem__(self, key):
        if key[0] in self.deadly and os.getpid() != self.main:
            faulthandler.disable()  # pytest's would write all stacks on the screen
            os.kill(os.getpid(), getattr(signal, self.signals[key[0] % len(self.signals)]))
            time.sleep(60)
        return super().__getitem__(key)


@pytest.mark.parametrize(("workers", "deadly"), [(1, {0}), (3, {7}), (1, {5, 6}), (3, {0, 9})])
@pytest.mark.usefixtures("told_soon")
def test_a_decoder_that_dies_costs_its_own_clip_alone(workers, deadly):
    """A worker killed by a signal once ended the run with a traceback that named no recording."""
    report = []
    data = Deadly(10, deadly, ("SIGSEGV", "SIGABRT", "SIGKILL"))
    batches = list(loader(data, batch_size=2, num_workers=workers, on_bad_audio="skip", report=report))
    assert [batch["uid"] for batch in batches] == [
        [f"u{index}" for index in pair if index not in deadly] for pair in ((0, 1), (2, 3), (4, 5), (6, 7), (8, 9))
    ]
    assert [uid for uid, _ in report] == [f"u{index}" for index in sorted(deadly)]
    assert all("died (signal SIG" in reason for _, reason in report)


@pytest.mark.usefixtures("told_soon")
def test_a_decoder_that_dies_is_named_and_ends_the_run_in_one_sentence():
    with pytest.raises(AudioError, match=r"clip u3: the process that read it died \(signal SIGSEGV\).*--on_bad_audio"):
        list(loader(Deadly(6, {3}), batch_size=2, num_workers=2))


@pytest.mark.usefixtures("told_soon")
def test_the_next_epoch_comes_whole_after_a_death():
    report = []
    batches = loader(Deadly(6, {3}), batch_size=2, num_workers=2, on_bad_audio="skip", report=report, shuffle_seed=0)
    for epoch in range(2):
        read = [uid for batch in batches.at(epoch) for uid in batch["uid"]]
        assert sorted(read) == ["u0", "u1", "u2", "u4", "u5"]
    assert len(report) == 2
