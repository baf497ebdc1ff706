import re
from html.parser import HTMLParser

import numpy as np
import pytest

from ssast.metrics.predictions import Predictions, pool
from ssast.metrics.scores import score
from ssast.model.label_kinds import LabelKind, LabelKinds
from ssast.pages.report_page import HARD_A_LABEL, HARD_CLIPS, hardest, report_page

RNG = np.random.default_rng(5)
NASTY = "</script><img src=x onerror=alert(1)>\"'&"
VOID = {"meta", "link", "line", "img", "wbr"}
LOG = [
    {"epoch": 1, "step": 5, "learning_rate": 1e-3, "train_loss": 0.7, "validation_loss": 0.69},
    {"epoch": 2, "step": 10, "learning_rate": 1e-4, "train_loss": 0.5, "validation_loss": None},
]


class Elements(HTMLParser):
    """Checks that every element is closed where it should be, and gathers the addresses."""

    def __init__(self, text):
        super().__init__()
        self.open, self.addresses, self.words = [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.addresses += [value for name, value in attrs if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def made(labels=("ill", "old"), clips=60, loss="BCE", subjects=True, resamples=30):
    targets = RNG.integers(0, 2, (clips, len(labels))).astype(float)
    scores = np.clip(0.3 * targets + 0.7 * RNG.random(targets.shape), 0, 1)
    if loss == "MSE":
        targets = targets + RNG.normal(size=targets.shape)
    named = {"subjects": np.repeat(np.arange(-(-clips // 5)), 5)[:clips].astype(object), "unit": "speaker"}
    predictions = Predictions(
        [f"u{n}" for n in range(clips)], list(labels), scores, targets, **named if subjects else {}
    )
    metrics = score(targets, scores, labels, loss=loss, subjects=predictions.subjects, resamples=resamples)
    return predictions, metrics | {"unit": predictions.unit, "by_subject": None}


def shown(predictions, metrics, **more):
    text = report_page("A report", predictions, metrics, **more)
    elements = Elements(text)
    assert all(address.startswith(("data:", "#")) for address in elements.addresses)
    assert not re.search(r"\bnan\b|\bNone\b", " ".join(elements.words))
    return text


@pytest.mark.parametrize("loss", ["BCE", "MSE"])
@pytest.mark.parametrize("resamples", [0, 30])
def test_the_page_holds_every_part_and_asks_for_nothing_outside_itself(loss, resamples):
    predictions, metrics = made(loss=loss, resamples=resamples)
    pooled, _ = pool(predictions)
    if pooled.labels:
        metrics["by_subject"] = score(pooled.targets, pooled.scores, pooled.labels, loss=loss, resamples=resamples)
        metrics["by_subject"] |= {"unit": "speaker", "left_out": []}
    uid = predictions.uids[hardest(predictions, loss)[0].row]
    sounds = {uid: "data:audio/flac;base64,AAAA"}
    text = shown(predictions, metrics, log=LOG, record={"seed": 0, "versions.torch": "2.13"}, sounds=sounds)
    parts = ["Scores by label", "The training run", "The hardest clips", "How to read", "The run's record"]
    parts += ["ROC", "Calibration"] if loss == "BCE" else ["Value and truth", "Errors"]
    assert [part for part in parts if part not in text] == []
    assert text.count("<audio") == 1


def test_names_of_the_user_cannot_become_markup():
    predictions, metrics = made(labels=(NASTY, "old"))
    predictions.uids[:] = [f"{NASTY}{n}" for n in range(len(predictions.uids))]
    text = shown(predictions, metrics, record={NASTY: [NASTY]})
    assert "<img" not in text


def test_a_label_of_one_class_or_without_targets_says_why_and_the_rest_goes_on():
    predictions, _ = made(labels=("ill", "never", "unknown"))
    predictions.targets[:, 1], predictions.targets[:, 2] = 0, np.nan
    metrics = score(predictions.targets, predictions.scores, predictions.labels, resamples=10)
    text = shown(predictions, metrics | {"unit": "clip", "by_subject": None})
    assert "never: all 60 targets are negative, so there is no AUC" in text
    assert "No figures: no clip has a target." in text
    assert text.count("ROC curve") == 1


@pytest.mark.parametrize("loss", ["BCE", "MSE"])
def test_one_clip_makes_a_page_too(loss):
    shown(*made(clips=1, loss=loss, subjects=False))


def test_the_page_says_which_labels_are_above_chance_and_warns_of_few_subjects():
    predictions, _ = made(clips=40)
    predictions.scores[:, 0] = 0.1 + 0.8 * predictions.targets[:, 0]
    predictions.scores[:, 1] = RNG.random(40)
    predictions.targets[:, 1] = np.arange(40) % 2
    how = {"subjects": predictions.subjects, "resamples": 100}
    metrics = score(predictions.targets, predictions.scores, predictions.labels, **how)
    text = shown(predictions, metrics | {"unit": "speaker", "by_subject": None})
    assert "Above chance: ill." in text
    assert "Not shown to be above chance: old." in text
    assert "Only 8 speakers were tested" in text


def test_twenty_labels_of_ten_thousand_clips_stay_below_five_megabytes():
    predictions, metrics = made(labels=[f"l{n}" for n in range(20)], clips=10000, subjects=False, resamples=0)
    assert len(shown(predictions, metrics)) < 5e6


def test_the_hardest_clips_are_on_the_wrong_side_each_once_and_two_a_label_at_most():
    predictions, _ = made(labels=("a", "b", "c", "d", "e"), clips=200)
    found = hardest(predictions, "BCE")
    assert len({hard.row for hard in found}) == len(found) == HARD_CLIPS
    assert max(sum(hard.label == at for hard in found) for at in range(5)) == HARD_A_LABEL
    worst = found[0]
    targets, scores = predictions.targets[:, worst.label], predictions.scores[:, worst.label]
    other = scores[targets != targets[worst.row]]
    share = np.mean(other > scores[worst.row]) if targets[worst.row] else np.mean(other < scores[worst.row])
    assert share > 0.5


def test_few_labels_share_the_places():
    assert len(hardest(made(labels=("a",), clips=200)[0], "BCE")) == HARD_CLIPS


def test_nothing_is_hard_where_everything_is_right():
    predictions, _ = made()
    predictions.scores[:] = predictions.targets
    assert hardest(predictions, "BCE") == []
    assert hardest(predictions, "MSE") == []


def test_a_label_goes_on_in_the_next_line_behind_its_words_only():
    predictions, metrics = made(labels=("reading_hypernasality<b", "old"))
    text = shown(predictions, metrics)
    assert "<td>reading_<wbr>hypernasality&lt;b</td>" in text
    assert "overflow-wrap: anywhere; min-width" not in text, "it would break a word rather than widen its column"


def test_f1_and_the_mean_error_have_what_needs_no_model_beside_them():
    predictions, metrics = made()
    f1 = metrics["labels"]["ill"]["baseline"]["f1"]
    text = shown(predictions, metrics)
    assert "of always yes" in text
    assert f"<td>{f1:.3f}</td>" in text
    predictions, metrics = made(loss="MSE")
    assert f"({metrics['labels']['ill']['baseline']['mae']:.3f})</td>" in shown(predictions, metrics)


def test_links_lead_to_every_section_and_each_has_a_place_of_its_own():
    text = shown(*made(), log=LOG, record={"seed": 0})
    links = re.findall(r'<a href="#(section-\d+)">(.*?)</a>', text)
    assert links == re.findall(r'<h2 id="(section-\d+)">(.*?)</h2>', text)
    assert len(links) > 4


def test_labels_of_several_kinds_have_a_table_each_and_one_sentence_says_which_are_above_chance():
    kinds = LabelKinds((LabelKind("ill"), LabelKind("rough", "ordinal", (0, 1, 2))))
    targets = np.stack([np.arange(60) % 2, np.arange(60) % 3], axis=1).astype(float)
    own = [targets[:, 0], targets[:, 1] >= 1, targets[:, 1] >= 2]
    scores = np.stack([0.1 + 0.8 * each for each in own], axis=1)
    predictions = Predictions([f"u{n}" for n in range(60)], kinds.names, scores, targets, kinds=kinds)
    metrics = score(targets, scores, kinds.names, loss="mixed", kinds=kinds, resamples=30)
    text = shown(predictions, metrics | {"unit": "clip", "by_subject": None})
    assert "Scores by label: yes or no</h2>" in text
    assert "Scores by label: scales</h2>" in text
    assert "Above chance: ill, rough." in text
