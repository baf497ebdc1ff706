"""Draw a clip and its maps as one PNG: a panel for each map, axes in Hz and seconds, padding hatched."""

import importlib.util
import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from ssast.pages.maps import Clip, bin_hz, frame_seconds, is_signed


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
