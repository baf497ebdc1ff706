"""The pages in a real browser, offline, as a reader uses them: seen, heard, clicked and driven by the keyboard."""

import time
from dataclasses import replace

import numpy as np
import pytest

from ssast.pages.attention_page import attention_page
from ssast.pages.html import write_page
from ssast.pages.maps import Clip, ClipGroup, Grid

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
FRAMES, BINS, RATE = 304, 128, 16000
LAYERS, HEADS = 12, 3
SLACK = 5  # a machine that does other work as well

PICTURE = "document.querySelector('canvas').toDataURL()"
CURSOR = "parseFloat(getComputedStyle(document.querySelector('.plot i')).left)"
SOUND = "document.querySelector('audio')"
FOCUSED = "document.activeElement.id || document.activeElement.className || document.activeElement.tagName"


def a_clip(number, size=FRAMES, *, labels=2, heads=HEADS):
    """A clip with every map that the mode gives a fine-tuned model, filled with chance; a fifth of it is padding."""
    rng, frames = np.random.default_rng(number), round(0.8 * size)
    keys = [f"{name}/{label}" for name in ("relevance", "occlusion", "published") for label in range(labels)]
    keys += [f"attention/{block}/{head}" for block in range(1, LAYERS + 1) for head in (*range(1, heads + 1), "mean")]
    maps = {key: Grid.of(rng.random((size, BINS)), BINS, 2) for key in [*keys, "rollout"]}
    fine = [f"{name}/{label}" for name in ("integrated", "gradient") for label in range(labels)]
    maps |= {key: Grid.of(rng.standard_normal((size, BINS)), 8, 1, 2048) for key in fine}
    tested = [key for key in maps if not key.startswith("attention") or key.endswith("mean")]
    return Clip(
        uid=f"clip {number}",
        pictures={"as it is": rng.standard_normal((size, BINS)).astype(np.float32)},
        frames=frames,
        waveform=0.05 * rng.standard_normal(frames * RATE // 100),
        sample_rate=RATE,
        maps=maps,
        scores={label: 0.9 - 0.1 * label for label in range(labels)},
        drops={key: {label: [0.5, 1.0, 1.5] for label in range(labels)} for key in tested},
        random={label: [0.1, 0.2, 0.3] for label in range(labels)},
    )


def write(folder, clips, labels=2, heads=HEADS):
    picture = np.random.default_rng(0).standard_normal((FRAMES, BINS))
    groups = [ClipGroup(f"label 0: {word}", 3, picture, Grid.of(picture**2, BINS, 4)) for word in ("yes", "no")]
    kind = {"explained": range(labels), "layers": LAYERS, "heads": heads, "shares": (0.1, 0.2, 0.3)}
    names = [f"label {number}" for number in range(labels)]
    text = attention_page(clips, title="What the model looks at", labels=names, groups=[tuple(groups)], **kind)
    write_page(folder / "attention.html", text)
    return folder / "attention.html"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    return write(tmp_path_factory.mktemp("page"), [a_clip(number) for number in range(3)])


def ready(it):
    """Drawn and loaded; sounds play at a quarter of their speed, so that none is over before it is looked at."""
    it.wait("document.documentElement.dataset.drawn !== undefined")
    it.wait(f"{SOUND}.readyState >= 2")
    it.value("document.querySelectorAll('audio').forEach(each => { each.playbackRate = 0.25 })")


@pytest.mark.parametrize("size", ["wide", "narrow"])
def test_nothing_sticks_out_on_a_screen_of_any_width(page, opened, size):
    with opened(page, size) as it:
        ready(it)
        assert it.value("document.documentElement.scrollWidth <= innerWidth")
        smallest = it.value(
            "Math.min(...[...document.querySelectorAll('button, select')].filter(e => e.offsetParent)"
            ".map(e => e.getBoundingClientRect().height))"
        )
        assert smallest >= 30  # a finger hits it
        letters = it.value(
            "Math.min(...[...document.querySelectorAll('p, td, th, li, label, button')]"
            ".map(e => parseFloat(getComputedStyle(e).fontSize)))"
        )
        assert letters >= 13


def test_the_sound_plays_and_the_cursor_runs_over_the_picture(page, opened):
    with opened(page) as it:
        ready(it)
        before = it.value(CURSOR)
        it.page.click(".play")
        it.wait(f"{SOUND}.currentTime > 0.2")
        first = it.value(CURSOR)
        it.wait(f"{SOUND}.currentTime > 0.6")
        assert before < first < it.value(CURSOR)
        assert it.page.inner_text(".play") == "Stop"
        it.page.click(".play")
        assert it.value(f"{SOUND}.paused")


def test_a_click_in_the_picture_plays_from_there(page, opened):
    with opened(page) as it:
        ready(it)
        box = it.page.query_selector("canvas").bounding_box()
        it.value(f"{SOUND}.addEventListener('play', () => {{ document.begun = {SOUND}.currentTime }})")
        it.page.mouse.click(box["x"] + 0.5 * box["width"], box["y"] + 60)
        it.wait(f"!{SOUND}.paused && document.begun !== undefined && {SOUND}.currentTime > document.begun")
        at, place = it.value(f"[document.begun, {CURSOR}]")
        assert 1.1 <= at <= 1.6  # half of 2.43 s and a little padding
        assert place >= 0.45 * box["width"]


def test_only_one_sound_plays_at_a_time(page, opened):
    with opened(page) as it:
        ready(it)
        for number in (0, 1):
            it.page.query_selector_all(".play")[number].click()
            it.wait(f"!document.querySelectorAll('audio')[{number}].paused")
        assert it.value("[...document.querySelectorAll('audio')].filter(sound => !sound.paused).length") == 1


def test_a_button_plays_a_strong_segment_and_stops_at_its_end(page, opened):
    with opened(page) as it:
        ready(it)
        button = it.page.query_selector(".segments button")
        begin, end = (float(word) for word in button.inner_text().split(" s ")[0].split("\u2013"))
        button.click()
        it.wait(f"!{SOUND}.paused || {SOUND}.currentTime > {begin}")
        it.wait(f"{SOUND}.paused")
        assert begin <= it.value(f"{SOUND}.currentTime") <= end + 0.5


def test_every_control_changes_the_picture(page, opened):
    with opened(page) as it:
        ready(it)
        seen = {"start": it.value(PICTURE)}
        for method in it.value("[...document.getElementById('method').options].map(each => each.value)")[1:]:
            it.page.select_option("#method", method)
            seen[method] = it.value(PICTURE)
        it.page.select_option("#method", "attention")
        for name, value in (("layer", "5"), ("head", "2")):
            it.page.select_option(f"#{name}", value)
            seen[f"{name} {value}"] = it.value(PICTURE)
        assert "Not tested for a single head" in it.page.inner_text(".test")
        it.page.select_option("#method", "relevance")
        it.page.select_option("#label", "1")
        seen["label 1"] = it.value(PICTURE)
        assert "Label: label 1." in it.page.inner_text(".test")
        it.page.fill("#opacity", "15")
        seen["opacity"] = it.value(PICTURE)
        it.page.check("#padding")
        seen["padding"] = it.value(PICTURE)
        assert set(seen) >= {"relevance", "integrated", "gradient", "occlusion", "published", "rollout", "none"} - {
            "relevance"
        }
        assert len(set(seen.values())) == len(seen)


def test_the_keyboard_alone_suffices(page, opened):
    """Tab to a control, arrows choose; Tab to the picture, arrows move, Space plays and stops, Enter on a segment."""
    with opened(page) as it:
        ready(it)
        press, order, before = it.page.keyboard.press, [], it.value(PICTURE)

        def tab_to(name):
            for _ in range(30):
                press("Tab")
                order.append(it.value(FOCUSED))
                if order[-1] == name:
                    return
            raise AssertionError(f"Tab never came to {name}, only to {order}")

        tab_to("method")
        press("ArrowDown")
        assert it.value("document.getElementById('method').value") != "relevance"
        assert it.value(PICTURE) != before
        tab_to("opacity")
        press("ArrowLeft")
        assert it.value("document.getElementById('opacity').value") == "69"
        tab_to("CANVAS")
        assert it.value("getComputedStyle(document.activeElement).outlineStyle") != "none"
        for key, at in (
            ("Home", 0),
            ("ArrowRight", 0.05),
            ("Shift+ArrowRight", 0.55),
            ("ArrowLeft", 0.5),
            ("End", 2.43),
        ):
            press(key)
            assert it.value(f"{SOUND}.currentTime") == pytest.approx(at, abs=0.01)
        assert float(it.value("document.activeElement.getAttribute('aria-valuenow')")) == pytest.approx(2.43, abs=0.01)
        press("Home")
        press(" ")
        it.wait(f"!{SOUND}.paused && {SOUND}.currentTime > 0.1")
        press(" ")
        assert it.value(f"{SOUND}.paused")
        press("Tab")
        assert it.value(FOCUSED) == "play"
        press("Tab")
        press("Enter")
        it.wait(f"!{SOUND}.paused || {SOUND}.currentTime > 0.2")


def test_a_page_of_twenty_clips_is_small_and_drawn_at_once(opened, tmp_path):
    """Of ten seconds and a base model: under 15 MB, and drawn within 2 s of a machine that does nothing else."""
    one = a_clip(0, 1024, labels=5, heads=12)
    path = write(tmp_path, [replace(one, uid=f"clip {number}") for number in range(20)], labels=5, heads=12)
    with opened(path) as it:
        ready(it)
        seconds = float(it.value("document.documentElement.dataset.drawn")) / 1000
        print(f"20 clips: {path.stat().st_size / 1e6:.1f} MB, drawn after {seconds:.2f} s")
        assert path.stat().st_size < 15e6
        assert seconds < 2 * SLACK
        begin = time.monotonic()
        it.page.select_option("#method", "gradient")
        it.value(PICTURE)
        assert time.monotonic() - begin < 0.5 * SLACK
        it.page.query_selector_all(".clip")[-1].scroll_into_view_if_needed()
        it.wait("[...document.querySelectorAll('.clip')].at(-1).querySelector('audio').readyState >= 2")
        assert it.value("[...document.querySelectorAll('.clip')].at(-1).querySelector('.test').textContent") != ""
