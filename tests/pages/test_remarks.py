"""Sentences that keep scores from being misread stand beside them, and only where they hold."""

import numpy as np
import pytest

from ssast.metrics.measures import SOFT_POSITIVE
from ssast.metrics.scores import choose_thresholds, score, unchosen_thresholds
from ssast.model.label_kinds import SCALE, LabelKind, LabelKinds
from ssast.pages.remarks import first_epoch, remarks, unchosen_sentence
from ssast.pages.sentences import cautions, score_summary
from ssast.pages.tables import screen_rows


def scored(targets, scores, *, subjects=None, resamples=50, **more):
    found = score(np.array(targets, float)[:, None], np.array(scores, float)[:, None], ["x"], subjects=subjects,
                  resamples=resamples, **more)  # fmt: skip
    return found | {"unit": "speaker" if subjects is not None else "clip", "by_subject": None}


def pooled(found, targets, scores):
    return found | {"by_subject": score(np.array(targets, float)[:, None], np.array(scores, float)[:, None], ["x"])}


def test_two_people_do_not_show_that_a_label_is_above_chance():
    """One of each: any score that differs looks perfect, and so does luck in every second case."""
    found = scored([1] * 10 + [0] * 10, np.linspace(1, 0, 20), subjects=["a"] * 10 + ["b"] * 10)
    found = pooled(found, [1, 0], [0.8, 0.2])
    told = " ".join(score_summary(found))
    assert "above chance" not in told.lower()
    assert "Too few speakers to tell the scores from luck: x." in remarks(found)
    assert "Too few speakers to tell the scores from luck: x." in cautions(found)


@pytest.mark.parametrize(("people", "ill", "is_enough"), [(5, 2, False), (6, 3, True), (19, 1, False), (20, 1, True)])
def test_luck_is_told_from_skill_where_labels_can_be_dealt_in_twenty_ways(people, ill, is_enough):
    truth = [1.0] * ill + [0.0] * (people - ill)
    assert any("Too few clips" in one for one in remarks(scored(truth, np.linspace(1, 0, people)))) == (not is_enough)


def test_without_shuffles_nothing_is_said_of_luck():
    assert remarks(scored([1, 0], [0.9, 0.1], resamples=0)) == []


def test_a_threshold_that_calls_all_or_none_is_told():
    truth = [1, 0] * 20
    every = remarks(scored(truth, [0.7] * 40))
    assert every[0] == (
        "At the threshold every clip is called x: sensitivity 1 and specificity 0, whatever the recording."
    )
    assert remarks(scored(truth, [0.2] * 40))[0].startswith("At the threshold no clip is called x")


def test_f1_says_nothing_where_nobody_has_the_label():
    """Always yes was said to do at least as well as the model: 0.000 against 0.000."""
    assert not any(sentence.startswith("By F1") for sentence in remarks(scored([0] * 40, np.linspace(0, 1, 40))))


def test_f1_stands_beside_what_always_yes_reaches():
    truth, scores = [1, 1, 1, 0] * 10, [0.9, 0.1, 0.1, 0.1] * 10
    found = scored(truth, scores)
    always = score(np.array(truth, float)[:, None], np.ones((40, 1)), ["x"])["labels"]["x"]["f1"]
    assert found["labels"]["x"]["baseline"] == {"f1": pytest.approx(always)}
    assert found["mean"]["baseline"] == {"f1": pytest.approx(always)}
    assert "By F1 always saying yes does at least as well as the model: x (0.500 against 0.857)." in remarks(found)
    assert not any("By F1" in one for one in remarks(scored(truth, truth)))


def test_the_mean_error_stands_beside_that_of_the_mean():
    rng = np.random.default_rng(0)
    truth = rng.normal(50, 10, 40)
    far, near = scored(truth, truth + 30, loss="MSE"), scored(truth, truth + 1, loss="MSE")
    by_mean = score(truth[:, None], np.full((40, 1), truth.mean()), ["x"], loss="MSE")["labels"]["x"]
    assert far["labels"]["x"]["baseline"] == {
        "mae": pytest.approx(by_mean["mae"]),
        "rmse": pytest.approx(by_mean["rmse"]),
    }
    assert any(
        one.startswith("By MAE the mean of the targets does at least as well as the model: x (30.0")
        for one in remarks(far)
    )
    assert remarks(near) == []
    header, row, mean = screen_rows(far)
    assert header[-1] == "MAE of the mean"
    assert row[-1] == mean[-1] == f"{by_mean['mae']:.3f}"


def test_a_label_without_targets_has_no_baseline():
    found = scored([np.nan, np.nan], [0.1, 0.2], resamples=0)
    assert found["labels"]["x"]["baseline"] == {"f1": None}
    assert found["mean"]["baseline"] == {"f1": None}


@pytest.mark.parametrize(
    ("targets", "scores", "why"),
    [
        ([1, 1], [0.1, 0.9], "the validation clips hold only one answer"),
        ([0, 1], [0.2, 0.2], "the validation clips all have the same score"),
        ([1, 0], [0.1, 0.2], "no threshold was better than chance on the validation clips"),
    ],
)
def test_why_a_threshold_is_a_half_is_kept(targets, scores, why):
    pair = np.array(targets, float)[:, None], np.array(scores)[:, None]
    assert unchosen_thresholds(*pair, ["x"]) == {"x": why}
    assert choose_thresholds(*pair, ["x"]) == {"x": SOFT_POSITIVE}
    assert f"x ({why})" in unchosen_sentence({"x": why})


def test_a_threshold_that_was_chosen_needs_no_word():
    assert unchosen_thresholds([[0.0], [1.0]], [[0.2], [0.8]], ["x"]) == {}
    assert unchosen_sentence({}) == ""


@pytest.mark.parametrize(
    ("losses", "is_told"),
    [([0.5, 0.6, 0.7], True), ([0.5, 0.4], False), ([0.5], False), ([None, None], False), ([], False)],
)
def test_a_best_epoch_that_is_the_first_is_told(losses, is_told):
    log = [{"epoch": 1 + at, "validation_loss": loss} for at, loss in enumerate(losses)]
    assert bool(first_epoch(log)) == is_told
    if is_told:
        assert "The best of 3 epochs by validation loss is the first" in first_epoch([{"hardware": "cpu"}, *log])


def test_a_scale_that_is_always_the_same_is_not_above_chance_and_its_missing_interval_is_named():
    """Kappa was 0 and the level of chance -1e-17, so it was said to be above chance."""
    scores = np.sort(np.random.default_rng(0).random((60, 3)))[:, ::-1]
    kinds = LabelKinds((LabelKind("x", SCALE, (0, 1, 2, 3)),))
    found = score(np.full((60, 1), 2.0), scores, ["x"], resamples=50, kinds=kinds) | {"by_subject": None}
    found |= {"unit": "clip", "kinds": kinds.entries()}
    told = " ".join(score_summary(found))
    assert "Not shown to be above chance: x." in told
    assert "at 0.000 (QWK; no interval)." in told
    assert any(one.startswith("No interval can be given for the score of x: too few") for one in cautions(found))


def test_a_single_speaker_is_counted_in_the_singular():
    found = scored([1, 0] * 10, np.linspace(1, 0, 20), subjects=["a"] * 20)
    assert score_summary(found)[0] == "20 clips of 1 speaker were scored for 1 label."
    assert "Only 1 speaker was tested: take every number as a first look." in cautions(found)
