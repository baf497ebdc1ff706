"""A recording whose decoder ends the process that reads it is named like any other that cannot be used."""

import faulthandler
import os
import signal
import time
from multiprocessing import parent_process

import pandas as pd
import pytest

from ssast.data.storage.location import Location
from ssast.dataset_audit.listening import listen, listen_to_all
from ssast.modes import audit, check
from ssast.runs.context import Paths

pytestmark = pytest.mark.usefixtures("told_soon")

DEADLY = {"0003": "SIGSEGV", "0004": "SIGABRT", "0017": "SIGKILL"}


class Deadly(Location):
    """A folder in which some recordings end the worker that reads them, as a decoder in C does."""

    def __truediv__(self, child: str) -> Location:
        if child in DEADLY and parent_process() is not None:
            faulthandler.disable()  # pytest's would write all stacks on the screen
            os.kill(os.getpid(), getattr(signal, DEADLY[child]))
            time.sleep(60)
        return Location(self.address) / child


@pytest.mark.parametrize("workers", [1, 3])
def test_a_worker_that_dies_costs_its_own_recording_alone(workers, still_corpus):
    """It once ended `check` and `audit` with a traceback that named no recording."""
    uids = [f"{number:04d}" for number in range(18)]
    heard = list(listen_to_all(Deadly(str(still_corpus.audio)), uids, num_workers=workers))
    assert [one.uid for one in heard] == uids
    dead = {one.uid: one for one in heard if one.finding}
    assert {uid: one.finding for uid, one in dead.items()} == dict.fromkeys(DEADLY, "not usable")
    for uid, name in DEADLY.items():
        assert dead[uid].reason.startswith(f"the process that read it died (signal {name}), because a decoder failed")
    whole = [one for one in heard if one.uid not in DEADLY]
    assert whole == [listen(Location(str(still_corpus.audio)), one.uid) for one in whole]


@pytest.fixture
def deadly(still_corpus, monkeypatch):
    """The options of a mode over recordings some of which end the worker that reads them."""
    monkeypatch.setattr(Paths, "recordings", property(lambda self: Deadly(self.prefix)))
    where = {"prefix": str(still_corpus.audio), "data_split_root": str(still_corpus.splits)}
    return where | {"label_txt": str(still_corpus.label_txt), "num_workers": 2}


def test_check_names_a_recording_whose_decoder_dies_and_goes_on(deadly, tmp_path):
    assert check.check(**deadly, exp_dir=str(tmp_path)) == check.FAULTY
    found = pd.read_csv(tmp_path / "check.csv", dtype=str)
    dead = found[found["detail"].str.contains("the process that read it died", na=False)]
    assert sorted(dead["uid"]) == sorted(DEADLY)
    assert set(dead["finding"]) == {"not usable"}
    assert pd.read_csv(tmp_path / "recordings.csv")["usable"].sum() == 18 - len(DEADLY)


def test_audit_names_a_recording_whose_decoder_dies_and_goes_on(deadly, tmp_path):
    folder = audit.audit(**deadly, exp_dir=str(tmp_path), resamples=100)
    text = (folder / "audit.json").read_text(encoding="utf-8")
    assert text.count("the process that read it died") == len(DEADLY)
    assert len(pd.read_csv(folder / "traits.csv")) == 18 - len(DEADLY)
