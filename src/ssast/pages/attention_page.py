"""Write the page of `attention`: clips with their maps, to see, to hear and to question.

Shapes: T frames, F mel bins.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ssast.audio.frontend import SHIFT_MS
from ssast.pages.html import embed, escape, levels, page, sound_uri, table
from ssast.pages.maps import (
    BY_LABEL,
    FIRST_EDGE,
    METHODS,
    SIGNED,
    Clip,
    ClipGroup,
    Grid,
    MapTest,
    attention_summary,
    bin_hz,
    is_signed,
)

GROUP_ROWS, GROUP_CELLS = 64, 16384


def attention_page(
    clips: Sequence[Clip],
    *,
    title: str,
    labels: Sequence[str],
    explained: Sequence[int],
    layers: int,
    heads: int,
    shares: Sequence[float],
    groups: Sequence[tuple[ClipGroup, ClipGroup]] = (),
    facts: Sequence[tuple[str, str]] = (),
) -> str:
    """The whole page (html) for a batch of clips of one model; every uid and label in it is escaped.

    `labels` are all of the model's, `explained` the numbers of those with maps; `facts` are shown as a small table.
    """
    data = {
        "clips": [_clip(clip) for clip in clips],
        "groups": [_group(group, top) for pair in groups for top in [_top(pair)] for group in pair],
        "labels": list(labels),
        "explained": list(explained),
        "layers": layers,
        "heads": heads,
        "shares": list(shares),
        "signed": list(SIGNED),
        "byLabel": list(BY_LABEL),
        "hz": [round(float(hz), 1) for hz in bin_hz(clips[0].sample_rate, clips[0].picture.shape[1])] if clips else [],
        "first": FIRST_EDGE,
        "shift": SHIFT_MS / 1000,
    }
    named = {name: text for name, text in METHODS.items() if any(key.split("/")[0] == name for key in _keys(clips))}
    body = "\n".join(
        [
            f"<h1>{escape(title)}</h1>",
            _summary(clips, shares, layers),
            _controls(named, labels, explained, layers, heads, clips),
            *(_section(number, clip, labels) for number, clip in enumerate(clips)),
            _groups(groups),
            _HOW_TO_READ if explained else HOW_TO_READ_PRETRAINED,
            f"<details><summary>What made this page</summary>{table(['what', 'value'], facts)}</details>",
            embed("data", data),
        ]
    )
    return page(title, body, scripts=["attention_draw.js", "attention.js"], styles=["attention.css"])


_HOW_TO_READ = """<section class="note"><h2>How to read this, and how not to</h2><ul>
<li>Orange is where the map says the model found something that speaks <em>for</em> the label, blue (gradients of the
input and occlusion only) what speaks <em>against</em> it. It says nothing about whether the label is right.</li>
<li>A map is a guess about the model. The test beside it removes the marked parts: where that lowers the label's score
no more than removing random parts, do not read the map.</li>
<li>Raw attention and rollout know nothing of labels; they show where information could flow, not what was used. They
are here to compare with.</li>
<li>Colours run from nothing to the highest value of <em>each</em> map within the clip (gradients: to what all but
1 % of it stays below), so a strong colour in two clips need not be the same amount.</li>
<li>Hatched is padding. A model that looks there may judge by the length of the clip.</li>
<li>Models with whole-frame patches have no frequency axis in their tokens: relevance and attention fill whole columns.
The gradients of the input have one for every model, and are noisier.</li>
<li>A map of one clip is an anecdote. Look at several, and at the group averages, before you conclude anything; never
use one to diagnose.</li></ul></section>"""
HOW_TO_READ_PRETRAINED = """<section class="note"><h2>How to read this, and how not to</h2><ul>
<li>This model was pretrained and knows no label: the maps show how its tokens look at each other, averaged over all
patches of the clip, not what matters for any question.</li>
<li>Of the hidden patches the model saw nothing but their places. What it draws is a mean of what could be there, so it
looks smoother than sound does.</li></ul></section>"""


def _keys(clips: Sequence[Clip]) -> set[str]:
    return {key for clip in clips for key in clip.maps}


def _grid(grid: Grid, top: float, *, signed: bool) -> dict[str, object]:
    shape = {"rows": grid.values.shape[0], "cols": grid.values.shape[1], "h": grid.height, "w": grid.width}
    return shape | {"v": levels(grid.values, -top if signed else 0.0, top)}


def _picture(picture_TF: np.ndarray, low: float, high: float) -> str:
    return levels(picture_TF.T, low, high)


def _clip(clip: Clip) -> dict[str, object]:
    first = clip.picture
    return {
        "uid": clip.uid,
        "frames": clip.frames,
        "size": list(first.shape),
        "grid": list(first.shape),
        "sound": sound_uri(clip.waveform, clip.sample_rate),
        "pictures": {name: _picture(picture, *clip.span) for name, picture in clip.pictures.items()},
        "maps": {key: _grid(grid, clip.top(key), signed=is_signed(key)) for key, grid in clip.maps.items()},
        "best": clip.best,
        "drops": {key: {label: _short(row) for label, row in rows.items()} for key, rows in clip.drops.items()},
        "random": {label: _short(row) for label, row in clip.random.items()},
        "inPadding": {key: round(value, 4) for key, value in clip.in_padding.items()},
    }


def _short(values: Sequence[float]) -> list[float]:
    return [float(f"{value:.4g}") for value in values]


def _top(pair: tuple[ClipGroup, ClipGroup]) -> float:
    """One scale for the two groups of a label, so that they can be compared."""
    return max(float(group.relevance.values.max(initial=0)) for group in pair)


def _group(group: ClipGroup, top: float) -> dict[str, object]:
    frames, bins = group.picture.shape
    small = Grid.of(group.picture, -(-bins // GROUP_ROWS), 1, GROUP_CELLS)
    low, high = float(small.values.min()), float(small.values.max())
    return {
        "frames": frames,
        "size": [small.values.shape[1] * small.width, small.values.shape[0] * small.height],
        "grid": [small.values.shape[1], small.values.shape[0]],
        "pictures": {"": _picture(small.values.T, low, high)},
        "maps": {"relevance": _grid(group.relevance, top, signed=False)},
    }


def _summary(clips: Sequence[Clip], shares: Sequence[float], layers: int) -> str:
    found = attention_summary(clips, shares, layers)
    if not found:
        return f"<p>{len(clips)} clips.</p>"
    by_method: dict[str, list[MapTest]] = {}
    for one in found:
        by_method.setdefault(one["method"], []).append(one)
    rows = [
        [METHODS[name], *(f"{one['beats_random']:.0%}" for one in each), f"{each[0]['overall']:.0%}", *_drops(each)]
        for name, each in by_method.items()
    ]
    head = ["map", *(f"{share:.0%} removed" for share in shares), "mean of these", "logit falls by", "by chance"]
    text = f"""<p>{len(clips)} clips. Each map was tested: what it marks most was removed from the clip, and the drop
of the label's logit compared with removing as much at random. A map that does not beat chance should not be believed.
Occlusion is made by removing, so it wins this test almost by definition: it is the yardstick.</p>"""
    return text + table(head, rows, "Share of clips where the map beats chance, for each clip's highest label")


def _drops(found: Sequence[MapTest]) -> tuple[str, str]:
    """The mean fall of the logit at the middle share, by the map and by chance."""
    one = found[len(found) // 2]
    return f"{one['drop']:.2f}", f"{one['random_drop']:.2f}"


def _select(name: str, text: str, options: Mapping[str, str]) -> str:
    choices = "".join(f'<option value="{escape(value)}">{escape(shown)}</option>' for value, shown in options.items())
    return f'<label id="for-{name}">{text} <select id="{name}">{choices}</select></label>'


def _controls(
    methods: Mapping[str, str], labels: Sequence[str], explained: Sequence[int], layers: int, heads: int, clips: Any
) -> str:
    asked = {"best": "each clip's highest"} | {str(number): labels[number] for number in explained}
    blocks = {str(number): f"{number} of {layers}" for number in range(layers, 0, -1)}
    of_head = {"mean": "mean of all"} | {str(number): str(number) for number in range(1, heads + 1)}
    pictures = list(dict.fromkeys(name for clip in clips for name in clip.pictures))
    parts = [
        _select("method", "Map", {**methods, "none": "none"}),
        _select("label", "Label", asked) if explained else "",
        _select("layer", "Layer", blocks),
        _select("head", "Head", of_head),
        _select("picture", "Picture", {name: name for name in pictures}) if len(pictures) > 1 else "",
        '<label>Opacity <input id="opacity" type="range" min="0" max="100" value="70"></label>',
        '<label><input id="padding" type="checkbox"> all of the padding</label>',
    ]
    hint = """<p class="soft">Click a picture to play from there. With the keyboard: Tab to a picture, left and right
arrows move by 0.05 s (with Shift 0.5 s), Home and End jump, Space plays and stops.</p>"""
    form = f'<form id="controls" aria-label="What the pictures show">{"".join(parts)}</form>'
    return f'{form}<p id="about" class="soft" aria-live="polite"></p>{hint}'


def _section(number: int, clip: Clip, labels: Sequence[str]) -> str:
    ranked = sorted(clip.scores, key=lambda label: -clip.scores[label])
    shown = ", ".join(f"{labels[label]} {clip.scores[label]:.2f}" for label in ranked[:5])
    line = f'<p class="soft">Scores: {escape(shown)}. {escape(_truth(clip, labels))}</p>' if shown else ""
    remark = f"<p>{escape(clip.remark)}</p>" if clip.remark else ""
    uid = escape(clip.uid)
    return f"""<section class="clip" data-clip="{number}"><h2>{uid}</h2>{line}{remark}
<div class="plot"><canvas tabindex="0" role="slider" aria-label="Place in {uid}, seconds"></canvas><i></i></div>
<div class="player"><button type="button" class="play" aria-label="Play {uid}">Play</button>
<output>0.00 s</output><span class="segments"></span></div>
<p class="test"></p><audio preload="auto"></audio></section>"""


def _truth(clip: Clip, labels: Sequence[str]) -> str:
    """What the csv says of a clip: the labels it has, or the values where they are no yes and no."""
    known = {labels[label]: value for label, value in clip.targets.items() if not np.isnan(value)}
    if not known:
        return ""
    if set(known.values()) <= {0.0, 1.0}:
        return f"In the csv: {', '.join(name for name, value in known.items() if value) or 'none of the labels'}."
    return f"In the csv: {', '.join(f'{name} {value:g}' for name, value in list(known.items())[:5])}."


def _groups(groups: Sequence[tuple[ClipGroup, ClipGroup]]) -> str:
    if not groups:
        return ""
    figures = "".join(_figure(at, group) for at, group in enumerate(one for both in groups for one in both))
    return f"""<section><h2>Group averages</h2><p class="soft">Mean spectrogram and mean relevance for the label, each
clip's relevance counting as 1 in all; both groups of a label share one colour scale. Clips are laid over each other
from their beginnings, so sounds at changing times blur.</p><div class="groups">{figures}</div></section>"""


def _figure(at: int, group: ClipGroup) -> str:
    title, clips = escape(group.title), "clip" if group.count == 1 else "clips"
    return (
        f'<figure data-group="{at}"><figcaption>{title}, {group.count} {clips}</figcaption>'
        f'<div class="plot"><canvas role="img" aria-label="{title}"></canvas></div></figure>'
    )
