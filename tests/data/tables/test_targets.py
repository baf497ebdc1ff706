"""Weights that make up for rare labels."""

import numpy as np
import pytest

from ssast.data.order import EpochSampler
from ssast.data.tables.targets import clip_weights, positive_weights

NAN = float("nan")


def test_a_yes_counts_as_often_as_there_are_no_for_it():
    targets_RN = np.array([[1, 0, 1], [0, 0, 1], [0, 0, 1], [0, 1, NAN]])
    assert positive_weights(targets_RN).tolist() == [3, 3, 1]


def test_soft_labels_count_for_both_sides():
    assert positive_weights(np.array([[0.25], [0.25]])).tolist() == [3]


def test_yes_and_no_are_drawn_equally_often():
    rng = np.random.default_rng(0)
    targets_RN = (rng.random((2000, 1)) < 0.05).astype(float)
    weights = clip_weights(targets_RN)
    drawn = [index for index, _ in EpochSampler(2000, shuffle_seed=1, weights=weights.tolist())]
    assert len(drawn) == 2000
    assert targets_RN[drawn].mean() == pytest.approx(0.5, abs=0.05)


def test_cells_that_are_empty_and_labels_of_one_kind_have_no_say():
    targets_RN = np.array([[1, 1, NAN], [0, 1, NAN], [NAN, NAN, NAN]])
    weights = clip_weights(targets_RN)
    assert weights[2] == 1
    assert np.isfinite(weights).all()
    assert weights[0] == weights[1] == pytest.approx(0.75)


def test_drawn_clips_depend_on_seed_and_epoch_alone():
    def drawn(seed, epoch):
        return list(EpochSampler(50, shuffle_seed=seed, epoch=epoch, weights=[1.0] * 25 + [3.0] * 25))

    assert drawn(1, 0) == drawn(1, 0)
    assert [index for index, _ in drawn(1, 0)] != [index for index, _ in drawn(1, 1)]
    assert [index for index, _ in drawn(1, 0)] != [index for index, _ in drawn(2, 0)]
