"""Draw figures of points and bars as inline SVG, with their words as text and colours from report.css."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ssast.pages.html import escape

WIDTH, HEIGHT = 320.0, 250.0
LEFT, _RIGHT, TOP, BOTTOM = 44.0, 12.0, 10.0, 40.0


class Plot:
    """A figure with two axes; what is drawn first lies beneath. `kind` names a colour: first, second or soft.

    `is_counted` leaves only whole numbers on the x axis.
    """

    def __init__(
        self, x: tuple[float, float], y: tuple[float, float], *, x_name: str, y_name: str, is_counted: bool = False
    ):
        self.x, self.y = _widened(x), _widened(y)
        self.names, self.is_counted = (x_name, y_name), is_counted
        self.parts: list[str] = []

    def at(self, x: Any, y: Any) -> tuple[Any, Any]:
        """Pixels of a point, or of arrays of them."""
        across = (np.asarray(x, dtype=float) - self.x[0]) / (self.x[1] - self.x[0])
        up = (np.asarray(y, dtype=float) - self.y[0]) / (self.y[1] - self.y[0])
        return LEFT + across * (WIDTH - LEFT - _RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)

    def line(self, x: Any, y: Any, kind: str = "first") -> "Plot":
        """A line through the points."""
        points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(*map(np.atleast_1d, self.at(x, y)), strict=True))
        self.parts.append(f'<polyline class="{kind}" points="{points}"/>')
        return self

    def band(self, x: Any, low: Any, high: Any) -> "Plot":
        """A light area between two lines over the same points."""
        there, back = (list(zip(*map(np.atleast_1d, self.at(x, y)), strict=True)) for y in (low, high))
        points = " ".join(f"{a:.1f},{b:.1f}" for a, b in [*there, *reversed(back)])
        self.parts.append(f'<polygon class="band" points="{points}"/>')
        return self

    def dots(self, x: Any, y: Any, kind: str = "first", *, radius: Any = 3.0, notes: Sequence[str] = ()) -> "Plot":
        """Round points; `notes` appear when the pointer rests on one."""
        across, up = (np.atleast_1d(values) for values in self.at(x, y))
        radii = np.broadcast_to(radius, across.shape)
        for number, (a, b, r) in enumerate(zip(across, up, radii, strict=True)):
            note = f"<title>{escape(notes[number])}</title>" if notes else ""
            self.parts.append(f'<circle class="{kind}" cx="{a:.1f}" cy="{b:.1f}" r="{r:.1f}">{note}</circle>')
        return self

    def bars(self, edges: Any, heights: Any, kind: str = "first") -> "Plot":
        """Bars from zero up, between neighbouring edges."""
        left, foot = self.at(np.asarray(edges)[:-1], 0)
        right, head = self.at(np.asarray(edges)[1:], heights)
        for a, b, top in zip(left, right, head, strict=True):
            if foot - top > 0:
                box = f'x="{a:.1f}" y="{top:.1f}" width="{b - a:.1f}" height="{foot - top:.1f}"'
                self.parts.append(f'<rect class="{kind}" {box}/>')
        return self

    def mark(self, x: float, text: str) -> "Plot":
        """An upright dashed line with a word at its head."""
        (across, top), (_, foot) = self.at(x, self.y[1]), self.at(x, self.y[0])
        anchor, shift = ("end", -4) if across > WIDTH * 0.6 else ("start", 4)
        self.parts.append(f'<line class="soft" x1="{across:.1f}" x2="{across:.1f}" y1="{top:.1f}" y2="{foot:.1f}"/>')
        self.parts.append(
            f'<text x="{across + shift:.1f}" y="{top + 10:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
        )
        return self

    def figure(self, title: str, description: str, legend: Sequence[tuple[str, str]] = ()) -> str:
        """The whole figure as html; `description` says what is to be seen, `legend` pairs kinds with names."""
        keys = "".join(f'<span class="key {kind}"></span>{escape(name)} ' for kind, name in legend)
        below = f'<p class="keys">{keys}</p>' if keys else ""
        return (
            f"<figure><figcaption>{escape(title)}</figcaption>"
            f'<svg viewBox="0 0 {WIDTH:.0f} {HEIGHT:.0f}" role="img" aria-label="{escape(description)}">'
            f"{self._axes()}{''.join(self.parts)}</svg>{below}</figure>"
        )

    def _axes(self) -> str:
        parts = []
        for value in ticks(*self.x, is_counted=self.is_counted):
            across, foot = self.at(value, self.y[0])
            parts.append(f'<line class="grid" x1="{across:.1f}" x2="{across:.1f}" y1="{TOP:.0f}" y2="{foot:.1f}"/>')
            parts.append(f'<text x="{across:.1f}" y="{foot + 14:.1f}" text-anchor="middle">{value:g}</text>')
        for value in ticks(*self.y):
            left, up = self.at(self.x[0], value)
            parts.append(f'<line class="grid" x1="{left:.1f}" x2="{WIDTH - _RIGHT:.0f}" y1="{up:.1f}" y2="{up:.1f}"/>')
            parts.append(f'<text x="{left - 5:.1f}" y="{up + 4:.1f}" text-anchor="end">{value:g}</text>')
        middle_x, middle_y = (LEFT + WIDTH - _RIGHT) / 2, (TOP + HEIGHT - BOTTOM) / 2
        x_name, y_name = (escape(name) for name in self.names)
        parts.append(f'<text x="{middle_x:.0f}" y="{HEIGHT - 6:.0f}" text-anchor="middle">{x_name}</text>')
        turn = f'transform="rotate(-90 11 {middle_y:.0f})"'
        parts.append(f'<text x="11" y="{middle_y:.0f}" text-anchor="middle" {turn}>{y_name}</text>')
        return "".join(parts)


def _widened(ends: tuple[float, float]) -> tuple[float, float]:
    """Return the ends, moved apart where they are equal."""
    low, high = ends
    away = max(0.5, abs(low) / 1e6)  # half a step beside 1e300 is none
    return (low, high) if high > low else (low - away, low + away)


def ticks(low: float, high: float, most: int = 6, *, is_counted: bool = False) -> list[float]:
    """Round numbers (steps of 1, 2 or 5) from `low` to `high`, at most so many; whole ones where they count.

    None where the ends are so large, or so near each other, that numbers between them cannot be told apart.
    """
    rough = high / (most - 1) - low / (most - 1)
    if not rough * 1e15 > max(abs(low), abs(high)) or not np.isfinite(rough * 1e15):
        return []
    rough = max(rough, 1.0) if is_counted else rough
    size = 10.0 ** np.floor(np.log10(rough))
    step = next(size * factor for factor in (1, 2, 5, 10) if size * factor >= rough * (1 - 1e-9))
    numbers = np.arange(np.ceil(low / step - 1e-9), np.floor(high / step + 1e-9) + 1)
    return [float(f"{number * step:.10g}") + 0.0 for number in numbers]
