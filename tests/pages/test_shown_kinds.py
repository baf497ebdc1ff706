"""Every kind of label is shown, by measures that have names and stand in metrics.json."""

import numpy as np
import pytest

from ssast.metrics.scores import score
from ssast.model.label_kinds import LABEL_KINDS, LabelKind, LabelKinds
from ssast.pages.shown_kinds import SHOWN
from ssast.pages.tables import TITLES


def test_every_kind_of_label_has_a_record():
    assert list(SHOWN) == list(LABEL_KINDS)


@pytest.mark.parametrize("kind", LABEL_KINDS)
def test_the_measures_that_are_shown_are_those_of_metrics_json(kind):
    label = LabelKind("x", kind, (0, 1, 2) if kind == "ordinal" else ("a", "b", "c") if kind == "CE" else ())
    rng = np.random.default_rng(0)
    scores = np.sort(rng.random((30, label.width)))[:, ::-1]
    targets = rng.integers(0, 2, (30, 1)).astype(float)
    found = score(targets, scores, ["x"], resamples=10, kinds=LabelKinds((label,)))["labels"]["x"]
    own = SHOWN[kind]
    for name in (own.leading, *own.on_screen, *own.on_page, *own.swept, own.trivial[0]):
        assert name in found, name
        assert name in TITLES, name
    assert own.leading in found["chance"]
    assert own.trivial[0] in found["baseline"]
    assert set(own.baseline) <= set(found["baseline"])
    assert len(own.reading.splitlines()) >= 3
