"""Build self-contained html pages of text, tables, sounds and pictures; they load nothing from any network.

Shapes: S samples.
"""

import base64
import html
import io
import json
import re
from collections.abc import Iterable, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from ssast import redaction
from ssast.data.storage.atomic_writes import atomic_file

# What a page may load: nothing but what it carries itself.
POLICY = (
    "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'"
)
LEVELS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
SOUND_RATE = 16000  # [Hz] sounds are embedded at this rate at most
_NAMED, _OPEN_ROWS, _FEW_SECTIONS = 3, 12, 4
"""Headings of a table that name it; rows of one that is not folded; sections from which links to them help."""
_SECTION = re.compile("<h2>(.*?)</h2>", re.DOTALL)
PRIVATE = '<p class="soft">A private page: hashes stand for names, and its sounds are silent.</p>\n'


def escape(value: object) -> str:
    """Any value as text that is safe inside an element and inside a quoted attribute."""
    return html.escape(str(value), quote=True)


def asset(name: str) -> str:
    """A style sheet or script that is installed beside this file."""
    return resources.files("ssast.pages").joinpath(name).read_text(encoding="utf-8")


def embed(name: str, value: Any) -> str:
    """A value as JSON that a script reads with `JSON.parse(document.getElementById(name).textContent)`."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return f'<script type="application/json" id="{escape(name)}">{text}</script>'


def page(title: str, body: str, *, scripts: Sequence[str] = (), styles: Sequence[str] = ()) -> str:
    """A whole page around `body` (html), with the common style sheet and these further assets, by file name."""
    style = "\n".join(asset(name) for name in ("page.css", *styles))
    code = "\n".join(f"<script>\n{asset(name)}</script>" for name in scripts)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>{escape(title)}</title>
<style>
{style}</style>
</head>
<body>
<main>
{PRIVATE if redaction.redaction_in_use() else ""}{body}
</main>
{code}
</body>
</html>
"""


def write_page(path: Path, text: str) -> None:
    """Write a page, as it may be shown, complete or not at all."""
    with atomic_file(path) as unfinished:
        Path(unfinished).write_text(redaction.shown_page(text), encoding="utf-8")


def table(head: Sequence[object], rows: Iterable[Sequence[object]], caption: str = "") -> str:
    """A table of plain values, each escaped; numbers are set to the right, and a narrow screen can scroll it."""
    named = f"<caption>{escape(caption)}</caption>" if caption else ""
    top = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    inside = f"<table>{named}<thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"
    name = caption or f"Table of {', '.join(str(word) for word in head[:_NAMED] if word)}"
    return f'<div class="wide" tabindex="0" role="region" aria-label="{escape(name)}">{inside}</div>'


def bullets(sentences: Iterable[str]) -> str:
    """A list with a point for each sentence."""
    return f"<ul>{''.join(f'<li>{escape(sentence)}</li>' for sentence in sentences)}</ul>"


def folded(body: str, rows: int, what: str) -> str:
    """A table as it is, or in a box that opens where it has many rows."""
    return body if rows <= _OPEN_ROWS else f"<details><summary>{rows} {escape(what)}</summary>{body}</details>"


def with_contents(body: str) -> str:
    """The sections behind links to each of them; `body` has its <h2> without attributes."""
    names = _SECTION.findall(body)
    if len(names) < _FEW_SECTIONS:
        return body
    places = iter(range(1, len(names) + 1))
    body = _SECTION.sub(lambda found: f'<h2 id="section-{next(places)}">{found[1]}</h2>', body)
    links = "".join(f'<a href="#section-{at}">{name}</a>' for at, name in enumerate(names, 1))
    return f'<nav class="contents" aria-label="Sections">{links}</nav>\n{body}'


class Breakable(str):
    """A name in a table that may go on in the next line behind its `_`, `-`, `.` and `/`, not within a word."""


def _cell(value: object) -> str:
    if isinstance(value, Breakable):
        parts = re.sub(r"([_./-])(?=.)", r"\1<wbr>", escape(value))
        return f"<td>{parts}</td>"
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)):
        return f"<td>{escape(value)}</td>"
    return f'<td class="number">{value if isinstance(value, (int, np.integer)) else format(value, ".3g")}</td>'


def data_uri(content: bytes, kind: str) -> str:
    """Bytes of a MIME type (`image/png`) as an address that can stand in the page."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def sound_uri(waveform_S: Any, sample_rate: int) -> str:
    """A waveform (S,), -1..1, as 16-bit wav in a data URI, at 16 kHz where it has more.

    FLAC would take less, but Chromium fails to seek in one that it holds in memory. In a private run it is silence of
    the same length, since a voice tells who speaks.
    """
    import soundfile
    import soxr

    samples_S = np.asarray(waveform_S, dtype=np.float32)
    if redaction.redaction_in_use():
        samples_S = np.zeros_like(samples_S)
    if sample_rate > SOUND_RATE:
        samples_S, sample_rate = soxr.resample(samples_S, sample_rate, SOUND_RATE), SOUND_RATE
    file = io.BytesIO()
    soundfile.write(file, np.clip(samples_S, -1, 1), sample_rate, format="WAV", subtype="PCM_16")
    return data_uri(file.getvalue(), "audio/wav")


def levels(values: Any, low: float = 0.0, high: float | None = None) -> str:
    """An array as one character a value, 64 levels from `low` to `high` (None: its largest), in C order.

    A third smaller than base64 of bytes; NaN becomes the lowest. `decode` in attention.js reads it.
    """
    flat = np.nan_to_num(np.asarray(values, dtype=np.float64).ravel(), nan=low)
    top = float(flat.max(initial=low)) if high is None else high
    scaled = (flat - low) / (top - low) if top > low else np.zeros_like(flat)
    alphabet = np.frombuffer(LEVELS.encode("ascii"), dtype=np.uint8)
    return alphabet[np.clip(np.rint(scaled * 63), 0, 63).astype(np.intp)].tobytes().decode("ascii")
