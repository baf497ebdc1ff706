"""Hold the maps of clips for the page, on grids with Hz and seconds; summarise how far to trust them, and draw them.

A figure is one PNG: a panel for each map, padding hatched.
Shapes: T frames, F mel bins, R rows and C columns of a map's own grid, S samples.
"""

import importlib.util
import io
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypedDict

import numpy as np

from ssast.audio.frontend import LOW_HZ, SHIFT_MS, WINDOW_MS

FIRST_EDGE = (WINDOW_MS - SHIFT_MS) / 2000
"""Where the first frame's share of time begins [s]: the middle of its window less half a shift."""
MOST_CELLS = 512
SIGNED = ("integrated", "gradient", "occlusion", "told")
FINE = ("integrated", "gradient")
BY_LABEL = ("relevance", "integrated", "gradient", "occlusion", "published")
METHODS = {
    "relevance": "gradient-weighted relevance",
    "integrated": "integrated gradients",
    "gradient": "input x gradient",
    "occlusion": "occlusion",
    "published": "relevance as published",
    "rollout": "attention rollout",
    "attention": "raw attention",
    "told": "hidden patches told apart",
}


@dataclass(frozen=True)
class Grid:
    """A map (R, C) whose cells are `height` mel bins and `width` frames, from the lowest bin and the first frame on."""

    values: np.ndarray
    height: int
    width: int

    @classmethod
    def of(cls, map_TF: np.ndarray, height: int, width: int, most: int = MOST_CELLS) -> "Grid":
        """The means of a plane (T, F) in such cells, some times as wide where there would be more than `most`."""
        columns = max(1, most // -(-map_TF.shape[1] // height))
        width = width * -(-map_TF.shape[0] // (width * columns))
        sums = np.add.reduceat(
            np.add.reduceat(map_TF, _edges(map_TF.shape[0], width), 0), _edges(map_TF.shape[1], height), 1
        )
        ones = np.multiply.outer(_sizes(map_TF.shape[0], width), _sizes(map_TF.shape[1], height))
        return cls((sums / ones).T, height, width)


def _edges(length: int, step: int) -> np.ndarray:
    return np.arange(0, length, step)


def _sizes(length: int, step: int) -> np.ndarray:
    return np.diff(np.append(_edges(length, step), length))


@dataclass(frozen=True)
class Clip:
    """One clip of the page.

    `pictures` are spectrograms (T, F) by name, the first being the clip as it is; `maps` are grids by key: those of
    `BY_LABEL` as relevance/3 (the label's number), rollout, attention/5/mean, attention/5/2 (block and head from 1) and
    told. `scores` and `targets` are by label's number, `numbers` those of labels that are values. `drops` holds, by key
    and label's number, how far the logit falls when the top shares of a map are removed, `random` the same for random
    shares. `in_padding` is the share of each map past the clip's own `frames`.
    """

    uid: str
    pictures: Mapping[str, np.ndarray]
    frames: int
    waveform: np.ndarray
    sample_rate: int
    maps: Mapping[str, Grid]
    scores: Mapping[int, float] = field(default_factory=dict)
    targets: Mapping[int, float] = field(default_factory=dict)
    drops: Mapping[str, Mapping[int, Sequence[float]]] = field(default_factory=dict)
    random: Mapping[int, Sequence[float]] = field(default_factory=dict)
    in_padding: Mapping[str, float] = field(default_factory=dict)
    remark: str = ""
    numbers: Collection[int] = ()

    def top(self, key: str) -> float:
        """The size that a map reaches within the clip's own frames (or at all): the end of its colour scale.

        Of the gradients' many small cells one in a hundred is beyond it, else one would leave the others blank.
        """
        grid = self.maps[key]
        own = np.abs(grid.values[:, : -(-self.frames // grid.width)])
        most = float(np.quantile(own, 0.99)) if own.size and key.split("/")[0] in FINE else 0.0
        return most or float(own.max(initial=0)) or float(np.abs(grid.values).max(initial=0))

    @property
    def span(self) -> tuple[float, float]:
        """The grey scale's ends: nearly all of the clip's own values lie between."""
        own = self.picture[: max(self.frames, 1)]
        return float(np.quantile(own, 0.01)), float(np.quantile(own, 0.995))

    @property
    def picture(self) -> np.ndarray:
        """The clip as it is (T, F)."""
        return next(iter(self.pictures.values()))

    @property
    def best(self) -> int | None:
        """The label with the highest score; one of those that have a probability, where any has."""
        shares = [label for label in self.scores if label not in self.numbers]
        return max(shares or self.scores, key=lambda label: self.scores[label], default=None)


@dataclass(frozen=True)
class ClipGroup:
    """The mean of several clips: spectrogram (T, F) and relevance for a label."""

    title: str
    count: int
    picture: np.ndarray
    relevance: Grid


def is_signed(key: str) -> bool:
    """Whether values below 0 mean something in the map of this key."""
    return key.split("/")[0] in SIGNED


def bin_hz(sample_rate: int, num_mel_bins: int) -> np.ndarray:
    """The edges (F + 1,) [Hz] between mel bins: the middles between neighbouring filters' centres, in mel."""
    low, high = (1127 * np.log1p(hz / 700) for hz in (LOW_HZ, sample_rate / 2))
    step = (high - low) / (num_mel_bins + 1)
    return 700 * np.expm1((low + step * (np.arange(num_mel_bins + 1) + 0.5)) / 1127)


def frame_seconds(frames: int) -> np.ndarray:
    """The edges (T + 1,) [s] between frames: each has 10 ms around the middle of its window."""
    return FIRST_EDGE + np.arange(frames + 1) * SHIFT_MS / 1000


def beats_random(clips: Sequence[Clip], key: str, at: slice) -> list[tuple[float, float]]:
    """(drop by the map, drop by chance) of each clip's highest label, mean of some shares, where it was measured."""
    pairs = []
    for clip in clips:
        label = clip.best
        found = clip.drops.get(key.format(label=label), {})
        if label is not None and label in found:
            pairs.append((float(np.mean(found[label][at])), float(np.mean(clip.random[label][at]))))
    return pairs


class MapTest(TypedDict):
    """How a method's maps did when the `share` that they mark most was removed, beside as much removed at random."""

    method: str
    share: float
    clips: int
    beats_random: float
    """In which share of the clips."""
    overall: float
    drop: float
    random_drop: float


def attention_summary(clips: Sequence[Clip], shares: Sequence[float], layers: int) -> list[MapTest]:
    """For each method and share: in how many clips it beats chance for the clip's highest label, and by how much.

    `overall` is the same for the mean drop of all shares, as in Samek et al. 2017, arXiv 1509.06321.
    """
    keys = {name: f"{name}/{{label}}" for name in BY_LABEL}
    keys |= {"rollout": "rollout", "attention": f"attention/{layers}/mean"}
    found: list[MapTest] = []
    for method, key in keys.items():
        overall = _wins(beats_random(clips, key, slice(None)))
        for at, share in enumerate(shares):
            pairs = beats_random(clips, key, slice(at, at + 1))
            if pairs:
                top, chance = np.mean(pairs, axis=0)
                found.append(
                    {
                        "method": method,
                        "share": share,
                        "clips": len(pairs),
                        "beats_random": _wins(pairs),
                        "overall": overall,
                        "drop": float(top),
                        "random_drop": float(chance),
                    }
                )
    return found


def _wins(pairs: Sequence[tuple[float, float]]) -> float:
    return float(np.mean([top > chance for top, chance in pairs])) if pairs else 0.0


def can_draw() -> bool:
    """Whether matplotlib, of the extra `report`, is installed."""
    return importlib.util.find_spec("matplotlib") is not None


def clip_figure(clip: Clip, panels: Sequence[tuple[str, str]]) -> bytes:
    """A PNG with the spectrogram and below it one panel for each (key, title), Hz and seconds on the axes."""
    from matplotlib.figure import Figure

    first = clip.picture
    own = np.where(np.arange(len(first))[:, None] < clip.frames, first, np.nan)
    tall = 1.9 * (len(panels) + 1)
    figure = Figure(figsize=(9, tall))
    # Measured places: matplotlib's own layouts draw everything twice, which took longer than all else here.
    edge = {"left": 0.09, "right": 0.92, "top": 1 - 0.3 / tall, "bottom": 0.45 / tall, "hspace": 0.28, "wspace": 0.03}
    places = figure.add_gridspec(len(panels) + 1, 2, width_ratios=[60, 1], **edge)
    edges = (frame_seconds(first.shape[0]), bin_hz(clip.sample_rate, first.shape[1]))
    for row, (key, title) in enumerate([("", clip.uid), *panels]):
        axis = figure.add_subplot(places[row, 0])
        axis.pcolormesh(*edges, own.T, cmap="gray_r", vmin=clip.span[0], vmax=clip.span[1], rasterized=True)
        if key:
            figure.colorbar(_overlay(axis, clip, key), cax=figure.add_subplot(places[row, 1]))
        _axes(axis, title, edges, clip.frames)
        axis.tick_params(labelbottom=row == len(panels))
    axis.set_xlabel("seconds")
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=100)
    return file.getvalue()


def _overlay(axis: Any, clip: Clip, key: str) -> Any:
    """One map over a panel's spectrogram."""
    grid = clip.maps[key]
    seconds, hz = frame_seconds(clip.picture.shape[0]), bin_hz(clip.sample_rate, clip.picture.shape[1])
    rows, columns = grid.values.shape
    across = seconds[np.minimum(np.arange(columns + 1) * grid.width, len(seconds) - 1)]
    up = hz[np.minimum(np.arange(rows + 1) * grid.height, len(hz) - 1)]
    top = clip.top(key) or 1.0
    kind = {"cmap": "RdBu_r", "vmin": -top} if is_signed(key) else {"cmap": "Oranges", "vmin": 0}
    alpha = np.clip(np.abs(grid.values) / top, 0, 1) * 0.85
    return axis.pcolormesh(across, up, grid.values, vmax=top, alpha=alpha, rasterized=True, **kind)


def _axes(axis: Any, title: str, edges: tuple[np.ndarray, np.ndarray], frames: int) -> None:
    seconds, hz = edges
    # A name may hold dollar signs, which matplotlib would read as mathematics.
    # Where it is said, matplotlib need not measure all labels to find the place, which is the same.
    axis.set_title(title.replace("$", r"\$"), fontsize=9, loc="left", y=1.0)
    axis.set_yscale("function", functions=(lambda x: np.log1p(x / 700), lambda x: 700 * np.expm1(x)))
    axis.set_yticks([tick for tick in (250, 1000, 4000) if tick < hz[-1]])
    axis.set_xlim(seconds[0], seconds[-1])
    axis.set_ylim(hz[0], hz[-1])
    axis.set_ylabel("Hz")
    if frames < len(seconds) - 1:
        axis.axvspan(seconds[frames], seconds[-1], facecolor="none", edgecolor="#777777", hatch="//", linewidth=0)
