import pytest

from ssast.errors import UserError
from ssast.model.checkpoints.config_entries import check_kinds, entry_fault, lacks_levels

SCALE = {"kind": "ordinal", "levels": [1, 2, 3], "cut": 2}


def test_what_ssast_writes_of_labels_is_taken():
    assert check_kinds(None, "BCE", ["a"], "config.json") is None
    entries = [{"kind": "BCE"}, SCALE]
    assert check_kinds(entries, "mixed", ["a", "b"], "config.json") is entries


@pytest.mark.parametrize(
    ("entries", "loss", "told"),
    [
        (None, "ordinal", "says loss ordinal but not the kinds and levels"),
        ([SCALE, SCALE], "ordinal", "does not say one kind for each"),
        ({"kind": "BCE"}, "BCE", "does not say one kind for each"),
        ([{"kind": "ordinal"}], "ordinal", "of the label 'x' kind ordinal without levels"),
        ([SCALE], "CE", "says loss CE, but its labels' kinds are ordinal"),
        ([{"kind": "ordinal", "levels": [1, 2, float("nan")]}], "ordinal", "rising numbers"),
        ([{"kind": "CE", "levels": ["a", "b\u202ec"]}], "CE", "different words"),
        (["ordinal"], "ordinal", "expected entries such as kind and levels"),
    ],
)
def test_a_stranger_s_file_that_does_not_fit_is_refused(entries, loss, told):
    with pytest.raises(UserError, match=told):
        check_kinds(entries, loss, ["x"], "config.json")


def test_levels_may_be_left_out_where_the_table_will_say_them():
    assert entry_fault({"kind": "ordinal"}) == ""
    assert lacks_levels({"kind": "ordinal"}) == "kind ordinal without levels"
    assert lacks_levels({"kind": "MSE"}) == ""
