import pickle

import pytest

from ssast.data.tables import uid_list
from ssast.data.tables.uid_list import UidList, named_twice

UIDS = ["b", "a", "ümlaut", "b", "0001", "a"]


def test_each_uid_is_found_in_its_first_row_and_others_nowhere():
    uids = UidList(UIDS)
    assert list(uids) == UIDS
    assert (uids[2], uids[-1], uids[1:3], len(uids)) == ("ümlaut", "a", ["a", "ümlaut"], 6)
    assert uids == UIDS
    assert [uids.row(uid) for uid in (*UIDS, "c", None)] == [0, 1, 2, 0, 4, 1, None, None]
    assert "b" in uids
    assert "c" not in uids
    assert UidList([]).row("b") is None


@pytest.mark.parametrize("uids", [UIDS, ["a", "b"], []])
def test_uids_of_one_hash_are_told_apart(monkeypatch, uids):
    monkeypatch.setattr(uid_list, "hash", lambda text: 7, raising=False)
    held = UidList(uids)
    assert [held.row(uid) for uid in uids] == [uids.index(uid) for uid in uids]
    assert held.row("c") is None
    assert named_twice(uids) == list(dict.fromkeys(uid for uid in uids if uids.count(uid) > 1))


def test_another_process_hashes_texts_anew(monkeypatch):
    held = UidList(UIDS)
    assert held.row("0001") == 4
    monkeypatch.setattr(uid_list, "hash", lambda text: len(text), raising=False)
    assert pickle.loads(pickle.dumps(held)).row("0001") == 4
