"""The attention page: everything in it is the batch's own, escaped, small, and on the right axes."""

import json
import re

import numpy as np
import pytest

from ssast.pages.attention_page import attention_page
from ssast.pages.maps import Clip, ClipGroup, Grid, attention_summary, bin_hz, clip_figure, frame_seconds

FRAMES, BINS = 64, 32
NASTY = "<img src=x onerror=alert(1)>&\"'"


def a_clip(uid="one", frames=48, *, drops=((0.5, 1.0, 2.0), (0.4, 0.4, 0.4)), **others):
    random = np.random.default_rng(0)
    picture = random.standard_normal((FRAMES, BINS)).astype(np.float32)
    maps = {"relevance/0": picture**2, "gradient/0": picture, "rollout": picture**2, "attention/2/mean": picture**2}
    top, chance = drops
    return Clip(
        uid=uid,
        pictures={"as it is": picture},
        frames=frames,
        waveform=0.1 * random.standard_normal(16000 * frames // 100),
        sample_rate=16000,
        maps={key: Grid.of(value, BINS, 2) for key, value in maps.items()},
        scores={0: 0.75},
        targets={0: 1.0},
        drops={key: {0: list(top)} for key in maps},
        random={0: list(chance)},
        **others,
    )


def test_the_highest_label_of_a_clip_is_one_with_a_probability_where_any_has():
    """An age of 54 years was higher than every probability, so each clip's page and test were of the age alone."""
    picture = np.zeros((FRAMES, BINS), np.float32)

    def best(scores, numbers=()):
        return Clip("one", {"": picture}, 48, np.zeros(800), 16000, {}, scores=scores, numbers=numbers).best

    assert best({0: 0.2, 1: 54.0, 2: 0.7}, numbers=[1]) == 2
    assert best({0: 12.0, 1: 54.0}, numbers=[0, 1]) == 1
    assert best({0: 0.2, 1: 0.1}) == 0
    assert best({}) is None


def a_page(clips, labels=("breathy",), **others):
    kind = {"title": "A page", "explained": [0], "layers": 2, "heads": 3, "shares": (0.1, 0.2, 0.3)}
    return attention_page(clips, labels=labels, **kind, **others)


def data_of(text):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL).group(1))


def test_the_page_holds_every_clip_and_asks_for_nothing_else():
    text = a_page([a_clip("one"), a_clip("two")])
    assert [clip["uid"] for clip in data_of(text)["clips"]] == ["one", "two"]
    assert text.count("<canvas") == 2
    assert not re.search(r"https?:|<link(?! rel=\"icon\" href=\"data:)|<iframe|@import|url\(", text)


def test_uids_and_labels_are_escaped_everywhere():
    group = ClipGroup(f"{NASTY}: csv says yes", 1, np.zeros((8, BINS)), Grid.of(np.ones((8, BINS)), BINS, 2))
    facts = [("model", NASTY)]
    text = a_page([a_clip(NASTY)], labels=[NASTY], groups=[(group, group)], facts=facts)
    assert "<img" not in text
    assert data_of(text)["labels"] == [NASTY]


def test_a_grid_keeps_the_means_of_its_cells():
    plane_TF = np.arange(12.0).reshape(4, 3)
    grid = Grid.of(plane_TF, 2, 3)
    assert grid.values.tolist() == [[(0 + 1 + 3 + 4 + 6 + 7) / 6, 9.5], [5.0, 11.0]]
    assert (grid.height, grid.width) == (2, 3)


def test_a_long_map_gets_wider_cells():
    grid = Grid.of(np.ones((3000, BINS)), BINS, 2)
    assert grid.values.shape == (1, 500)
    assert grid.width == 6
    assert Grid.of(np.ones((1024, 128)), 10, 10).values.size <= 512


def test_the_axes_are_those_of_the_frontend():
    """A tone lies in the bin whose edges hold it, a click in the frame whose 10 ms hold it."""
    import torch

    from ssast.audio.frontend import Frontend

    frontend = Frontend()
    time = torch.arange(16000) / 16000
    tone = frontend.fbank(torch.sin(2 * np.pi * 2000 * time)[None])[0].mean(dim=0)
    edges = bin_hz(16000, 128)
    loudest = int(tone.argmax())
    assert edges[loudest - 1] < 2000 < edges[loudest + 2]
    click = torch.zeros(1, 16000)
    click[0, 8080] = 1  # 0.505 s
    frames = frontend.fbank(click)[0].mean(dim=1)
    seconds = frame_seconds(len(frames))
    loudest = int(frames.argmax())
    assert seconds[loudest] - 0.0051 <= 0.505 <= seconds[loudest + 1] + 0.0051


def test_the_colour_scale_ends_within_the_clip():
    plane_TF = np.ones((FRAMES, BINS))
    plane_TF[48:] = 10
    clip = a_clip()
    clip.maps["rollout"] = Grid.of(plane_TF, BINS, 2)
    assert clip.top("rollout") == 1


def test_the_summary_counts_where_a_map_beats_chance():
    good, bad = a_clip(drops=((1, 1, 1), (0, 0, 0))), a_clip(drops=((0, 0, 0), (1, 1, 1)))
    found = attention_summary([good, good, good, bad], (0.1, 0.2, 0.3), layers=2)
    assert {one["method"] for one in found} == {"relevance", "gradient", "rollout", "attention"}
    assert all(one["beats_random"] == one["overall"] == 0.75 for one in found)
    assert "75%" in a_page([good, good, good, bad])


def test_a_page_of_a_pretrained_model_has_no_labels():
    picture = np.zeros((FRAMES, BINS))
    maps = {"rollout": Grid.of(picture, BINS, 2), "told": Grid.of(picture, BINS, 2)}
    clip = Clip("one", {"as it is": picture, "blank": picture}, 48, np.zeros(800), 16000, maps, remark="8 hidden")
    kind = {"title": "A page", "labels": (), "explained": (), "layers": 2, "heads": 3, "shares": ()}
    text = attention_page([clip], **kind)
    assert 'id="label"' not in text
    assert 'id="picture"' in text
    assert "knows no label" in text


def test_twenty_clips_of_ten_seconds_stay_under_15_mb():
    """The largest page: base, overlapping square patches, ten labels, 12 layers of 12 heads, noise as sound."""
    random = np.random.default_rng(0)
    picture = random.standard_normal((1024, 128)).astype(np.float32)
    patches, fine = random.random((1024, 128)), Grid.of(random.random((1024, 128)), 8, 1, 2048)
    keys = [f"attention/{layer}/{head}" for layer in range(1, 13) for head in (*range(1, 13), "mean")]
    keys += [f"{name}/{label}" for name in ("relevance", "published", "occlusion") for label in range(10)]
    maps = {key: Grid.of(patches, 10, 10) for key in keys}
    maps |= {f"{name}/{label}": fine for name in ("gradient", "integrated") for label in range(10)}
    waveform = random.standard_normal(163920)
    clips = [Clip(f"{number}", {"": picture}, 1024, waveform, 16000, maps) for number in range(2)]
    kind = {"labels": [str(label) for label in range(10)], "explained": range(10), "layers": 12, "heads": 12}
    text = attention_page(clips, title="A page", shares=(0.1,), **kind)
    assert 10 * len(text) < 15e6, 10 * len(text)


@pytest.mark.parametrize("frames", [FRAMES, 20])
def test_the_picture_of_a_clip_is_a_png(frames):
    content = clip_figure(a_clip("$uid_{1}$", frames), [("relevance/0", "relevance"), ("gradient/0", "gradient")])
    assert content.startswith(b"\x89PNG")
