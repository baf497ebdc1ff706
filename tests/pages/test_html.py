"""Pages carry everything themselves, and nothing that comes from a user's file can become markup."""

import json
import re

import numpy as np

from ssast.pages import html

NASTY = "</script><img src=x onerror=alert(1)>&\"'\u2028"


def test_embedded_values_come_back_and_cannot_end_the_script():
    text = html.embed("data", {"uid": NASTY})
    content = re.fullmatch(r'<script type="application/json" id="data">(.*)</script>', text).group(1)
    assert "<" not in content
    assert "\u2028" not in content
    assert json.loads(content) == {"uid": NASTY}


def test_tables_and_titles_escape_what_they_show():
    text = html.page(NASTY, html.table([NASTY], [[NASTY, 0.12345, 3]], caption=NASTY))
    assert "<img src=x" not in text
    assert '<td class="number">0.123</td>' in text
    assert '<td class="number">3</td>' in text


def test_a_page_names_no_address_outside_itself():
    text = html.page("title", "<p>body</p>")
    assert "default-src 'none'" in text
    assert not re.search(r"(?:src|href)=\"(?!data:)", text)
    assert "http:" not in text
    assert "https:" not in text


def test_levels_keep_order_and_ends():
    assert html.levels([0.0, 0.5, 1.0, np.nan]) == "Ag/A"
    assert html.levels([-1, 1], low=-1, high=1) == "A/"
    assert html.levels([0.0, 0.0]) == "AA"


def test_sounds_are_embedded_as_wav_at_16_khz_at_most():
    import base64
    import io

    import soundfile

    wave = np.sin(np.arange(44100) / 10).astype(np.float32)
    head, content = html.sound_uri(wave, 44100).split(",")
    samples, rate = soundfile.read(io.BytesIO(base64.b64decode(content)))
    assert head == "data:audio/wav;base64"
    assert rate == 16000
    assert len(samples) == 16000
