import numpy as np

from ssast.metrics.label_entries import jsonable, label_entry
from ssast.model.label_kinds import LabelKind


def test_a_scale_s_entry_says_its_levels_cut_and_table_and_others_do_not():
    scale = LabelKind("rough", "ordinal", (0.0, 1.0, 2.0), cut=1.0)
    scores = np.array([[0.9, 0.2], [0.1, 0.0]])
    entry = label_entry(scale, np.array([1.0, 0.0]), scores, {"qwk": 1.0, "auc_at_1": 1.0, "auc_at_2": np.nan}, 0.5)
    assert (entry["kind"], entry["levels"], entry["cut"]) == ("ordinal", [0.0, 1.0, 2.0], 1.0)
    assert entry["confusion"] == [[1, 0, 0], [0, 1, 0], [0, 0, 0]]
    assert entry["reason"] is None, "a cut that nobody reaches is no fault of the label"
    plain = label_entry(LabelKind("ill"), np.array([1.0, 0.0]), np.array([[0.9], [0.1]]), {"auc": 1.0}, 0.5)
    assert plain.keys() == {"auc", "n", "reason", "threshold", "n_positive", "baseline"}


def test_what_is_undefined_has_its_reason():
    scale = LabelKind("rough", "ordinal", (0.0, 1.0))
    entry = label_entry(scale, np.array([1.0, 1.0]), np.array([[0.9], [0.1]]), {"qwk": np.nan, "auc": np.nan}, 0.5)
    assert entry["reason"] == "undefined: qwk, auc; no clip, or every clip, has that level or kind"


def test_nan_becomes_none_as_json_wants_it():
    assert jsonable({"auc": float("nan"), "f1": 0.5}) == {"auc": None, "f1": 0.5}
