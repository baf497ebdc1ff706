"""report.html in a real browser, offline: readable, silent in the console, its sounds play."""

from itertools import pairwise

import numpy as np
import pytest

from ssast.metrics.predictions import Predictions
from ssast.metrics.review import add_review
from ssast.metrics.scores import score
from ssast.metrics.subgroups import GroupColumn, add_subgroups
from ssast.pages.html import sound_uri, write_page
from ssast.pages.report_page import report_page

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
LABELS = ["breathy", "a label with a name that is longer than most screens are wide"]


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 2, (60, len(LABELS))).astype(float)
    scores = np.clip(0.3 * targets + 0.7 * rng.random(targets.shape), 0, 1)
    uids, subjects = [f"u{number}" for number in range(60)], np.repeat(np.arange(12), 5).astype(object)
    predictions = Predictions(uids, LABELS, scores, targets, subjects=subjects, unit="speaker")
    metrics = score(targets, scores, LABELS, loss="BCE", subjects=subjects, resamples=30)
    metrics |= {"unit": "speaker", "by_subject": None}
    add_review(metrics, predictions, {})
    add_subgroups(metrics, predictions, {}, [GroupColumn("site", ["one", "another"] * 30)])
    log = [
        {"epoch": epoch, "step": 5 * epoch, "learning_rate": 1e-3, "train_loss": 1 / epoch, "validation_loss": 0.5}
        for epoch in (1, 2, 3)
    ]
    sounds = {uid: sound_uri(0.1 * rng.standard_normal(16000), 16000) for uid in uids}
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_page(path, report_page("A report", predictions, metrics, log=log, record={"seed": 0}, sounds=sounds))
    return path


@pytest.mark.parametrize("size", ["wide", "narrow"])
def test_the_report_fits_the_screen(report, opened, size):
    with opened(report, size) as it:
        assert it.value("document.documentElement.scrollWidth <= innerWidth")
        assert it.value("[...document.querySelectorAll('svg')].every(each => each.getBoundingClientRect().width > 100)")


def test_what_is_folded_is_printed_too_but_for_asides(report, opened):
    with opened(report) as it:
        it.page.emulate_media(media="print")
        heights = "[...document.querySelectorAll('details:not([open]):not(.aside)')].map(each => each.offsetHeight)"
        assert min(it.value(heights)) > 45
        wide = "[...document.querySelectorAll('.wide')].every(each => getComputedStyle(each).overflowX == 'visible')"
        assert it.value(wide)


def test_folded_figures_are_printed_side_by_side_like_open_ones(report, opened):
    with opened(report) as it:
        it.page.evaluate("document.querySelectorAll('details').forEach(each => each.open = false)")
        it.page.emulate_media(media="print")
        widths = it.value("[...document.querySelectorAll('details > .figures svg')].map(each => each.clientWidth)")
        assert max(widths) < 0.5 * it.value("document.querySelector('main').clientWidth")


def test_the_hardest_clips_can_be_heard(report, opened):
    with opened(report) as it:
        it.wait("document.querySelector('audio').readyState >= 1")
        it.value("document.querySelector('audio').play()")
        it.wait("document.querySelector('audio').currentTime > 0.2")
        assert it.value("[...document.querySelectorAll('audio')].every(each => each.controls && !each.error)")


def test_what_is_folded_opens_with_the_keyboard(report, opened):
    with opened(report) as it:
        summary = it.page.query_selector("details:not([open]) > summary")
        summary.focus()
        it.page.keyboard.press("Enter")
        assert it.value("document.activeElement.parentElement.open")


def test_the_keyboard_reaches_sections_by_links_and_headings_follow_each_other(report, opened):
    with opened(report) as it:
        it.page.keyboard.press("Tab")
        assert it.value("document.activeElement.closest('nav').ariaLabel") == "Sections"
        assert it.value("getComputedStyle(document.activeElement).outlineStyle") != "none"
        it.page.keyboard.press("Enter")
        it.wait("location.hash == '#section-1'")
        levels = it.value("[...document.querySelectorAll('h1, h2, h3')].map(each => Number(each.tagName[1]))")
        assert levels[0] == 1
        assert all(after <= before + 1 for before, after in pairwise(levels))
        assert it.value("[...document.querySelectorAll('svg, .wide')].every(each => each.ariaLabel)")
