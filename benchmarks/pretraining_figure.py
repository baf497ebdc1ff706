"""Draw docs/pretraining.svg from the answers in pretraining_results/: each probe by way, and two by processor time.

    python benchmarks/pretraining_figure.py CORPUS --ratings CSV ... --digits DIGITS

The corpora tell which answer is whose, so only their tables are read. A line is the 95 % interval, by people (2,000
resamples), of the mean score of the seeds. Muon's points stand at the steps of the others, which take it 1.2 times as
long (`pretraining.py --timed`).
"""

import argparse
from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path

import numpy as np
from pretraining import RESULTS, all_probes, results
from probes import RESAMPLES, Probe, scored_probe

PICTURE = Path(__file__).resolve().parents[1] / "docs" / "pretraining.svg"
GREY, BLUE, ORANGE, GREEN, RED = "#6b7574", "#1f5f8b", "#c4661f", "#3d7a3d", "#a3243b"
WAYS = {
    "fbank": ("fbank, mean and deviation", GREY),
    "egemaps": ("eGeMAPS, 88 functionals", GREY),
    "random": ("random weights", GREY),
    "published_random": ("random, published code's", GREY),
    "published": ("published way, 10 min", GREEN),
    "0": ("N = 0, 10 min", BLUE),
    "0_x4": ("N = 0, 40 min", BLUE),
    "0_x16": ("N = 0, 160 min", BLUE),
    "0_muon_3e-3": ("N = 0 with Muon, 12 min", RED),
    "0_muon_3e-3_x4": ("N = 0 with Muon, 47 min", RED),
    "0_muon_3e-3_x16": ("N = 0 with Muon, 190 min", RED),
    "10": ("N = 10, 10 min", ORANGE),
    "10_x4": ("N = 10, 40 min", ORANGE),
    "10_x16": ("N = 10, 160 min", ORANGE),
}
TITLES = {
    "female": "female (AUC)",
    "child": "child (AUC)",
    "fluent": "fluent (AUC)",
    "speaker": "speaker (share right)",
    "digit": "digit (share right)",
}
COURSES = {
    "N = 0": (BLUE, ["random", "0", "0_x4", "0_x16"]),
    "N = 10": (ORANGE, ["random", "10", "10_x4", "10_x16"]),
    "Muon": (RED, ["random", "0_muon_3e-3", "0_muon_3e-3_x4", "0_muon_3e-3_x16"]),
}
BESIDE = {"fbank": "fbank", "egemaps": "eGeMAPS", "published_random": "published random"}
TIMES = ("random weights", "10 min", "40 min", "160 min")
LEFT, PANEL, GAP, ROW, TOP = 190, 122, 30, 21, 40
WIDTH = LEFT + 5 * PANEL + 4 * GAP + 12
COURSE_TOP, COURSE_HEIGHT, COURSE_WIDTH = TOP + ROW * len(WAYS) + 86, 190, 330
HEIGHT = COURSE_TOP + COURSE_HEIGHT + 40
STYLE = (
    "svg{font-family:Helvetica,Arial,sans-serif;font-size:12px;fill:#1d2b2a}.t,.n{font-weight:bold}.s{font-size:11px}"
)
Estimate = tuple[float, float, float]


def estimate(scored: Probe, several: Iterable[list[float]]) -> Estimate:
    """The mean score of several seeds, and its 95 % interval by people."""
    answers = [np.asarray(own) for own in several]
    rows_of = [np.flatnonzero(scored.people == person) for person in np.unique(scored.people)]
    rng, found = np.random.default_rng(0), []
    for _ in range(RESAMPLES):
        rows_N = np.concatenate([rows_of[at] for at in rng.integers(len(rows_of), size=len(rows_of))])
        found.append(np.mean([scored.score(own_N, rows_N) for own_N in answers]))
    low, high = np.nanpercentile(found, [2.5, 97.5])
    return float(np.mean([scored.score(own_N) for own_N in answers])), float(low), float(high)


def estimates(probes: Mapping[str, Probe]) -> dict[str, dict[str, Estimate]]:
    """By probe and way, of what the picture shows."""
    ways = results(RESULTS)
    return {
        name: {
            way: estimate(scored_probe(one), [row["probes"][name]["answers"] for row in ways[way]])
            for way in WAYS
            if way in ways
        }
        for name, one in probes.items()
    }


def line(x1: float, y1: float, x2: float, y2: float, colour: str, extra: str = "") -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" {extra}/>'


def text(x: float, y: float, words: str, anchor: str = "start", kind: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{kind}">{escape(words)}</text>'


def dot(x: float, y: float, colour: str) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>'


def span(found: Mapping[str, Estimate]) -> tuple[float, float]:
    """Tenths around all that a panel shows."""
    low, high = min(one[1] for one in found.values()), max(one[2] for one in found.values())
    return np.floor(10 * low) / 10, min(1.0, np.ceil(10 * high) / 10)


def ticks(low: float, high: float) -> list[float]:
    """Tenths, or every second one where they are many."""
    tenths = np.arange(round(10 * low), round(10 * high) + 1)
    return [float(at) / 10 for at in (tenths if len(tenths) < 6 else tenths[::2])]


def panel(number: int, name: str, found: Mapping[str, Estimate]) -> list[str]:
    """One probe: a dot and a line for each way."""
    left, (low, high), bottom = LEFT + number * (PANEL + GAP), span(found), TOP + ROW * len(WAYS)

    def across(value: float) -> float:
        return left + PANEL * (value - low) / (high - low)

    drawn = [text(left + PANEL / 2, TOP - 12, TITLES[name], "middle", "t")]
    for value in ticks(low, high):
        drawn += [line(across(value), TOP, across(value), bottom, "#e3e7e6")]
        drawn += [text(across(value), bottom + 15, f"{value:.1f}", "middle", "s")]
    drawn += [line(across(found["random"][0]), TOP, across(found["random"][0]), bottom, GREY, 'stroke-dasharray="3 3"')]
    for row, (way, (_, colour)) in enumerate(WAYS.items()):
        if way in found:
            score, least, most = found[way]
            y = TOP + ROW * (row + 0.5)
            drawn += [
                line(across(least), y, across(most), y, colour, 'stroke-width="2"'),
                dot(across(score), y, colour),
            ]
    return drawn


def course(left: float, name: str, found: Mapping[str, Estimate]) -> list[str]:
    """One probe by processor time: a line a depth, and what needs no training as dashed lines."""
    low, high = span(found)
    step = (COURSE_WIDTH - 90) / (len(TIMES) - 1)

    def down(value: float) -> float:
        return COURSE_TOP + COURSE_HEIGHT * (high - value) / (high - low)

    drawn = [text(left, COURSE_TOP - 14, f"{TITLES[name]} by processor time of two cores", kind="t")]
    for value in ticks(low, high):
        drawn += [line(left, down(value), left + COURSE_WIDTH - 90, down(value), "#e3e7e6")]
        drawn += [text(left - 6, down(value) + 4, f"{value:.1f}", "end", "s")]
    for at, words in enumerate(TIMES):
        drawn += [text(left + step * at, COURSE_TOP + COURSE_HEIGHT + 16, words, "middle", "s")]
    beside, free = {way: name for way, name in BESIDE.items() if way in found}, 0.0
    for way in sorted(beside, key=lambda way: -found[way][0]):
        y = down(found[way][0])
        free = max(y, free + 12)  # where its name stands, clear of the one above
        drawn += [line(left, y, left + COURSE_WIDTH - 90, y, GREY, 'stroke-dasharray="3 3"')]
        drawn += [text(left + COURSE_WIDTH - 84, free + 4, beside[way], kind="s")]
    ends: list[tuple[float, str, str]] = []  # how low a course ends, its colour and its name
    for shift, (label, (colour, ways)) in enumerate(COURSES.items()):
        points = [(left + step * at + 4 * shift, found[way]) for at, way in enumerate(ways) if way in found]
        path = " ".join(f"{x:.1f},{down(one[0]):.1f}" for x, one in points)
        drawn += [f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>']
        for x, (score, least, most) in points:
            drawn += [line(x, down(least), x, down(most), colour, 'stroke-width="1.5"'), dot(x, down(score), colour)]
        ends.append((down(points[-1][1][0]), colour, label))
    free = min(ends)[0] - 24
    for y, colour, label in sorted(ends):
        free = max(y - 13, free + 14)
        drawn += [f'<g style="fill:{colour}">{text(left + COURSE_WIDTH - 72, free, label, kind="n")}</g>']
    return drawn


def picture(found: Mapping[str, Mapping[str, Estimate]]) -> str:
    """The whole SVG."""
    drawn = [f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>']
    for row, (words, _) in enumerate(WAYS.values()):
        drawn += [text(LEFT - 12, TOP + ROW * (row + 0.5) + 4, words, "end")]
    for number, name in enumerate(name for name in TITLES if name in found):
        drawn += panel(number, name, found[name])
    drawn += [text(LEFT, TOP + ROW * len(WAYS) + 34, "dashed: random weights", kind="s")]
    for number, name in enumerate(name for name in ("speaker", "digit") if name in found):
        drawn += course(60 + number * (COURSE_WIDTH + 90), name, found[name])
    size = f'width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size}><style>{STYLE}</style>'
    return "\n".join([head, *drawn, "</svg>"]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--ratings", type=Path, nargs="*", default=[], help="tables with uid and fluency")
    parser.add_argument("--digits", type=Path, help="a second corpus, of spoken digits")
    PICTURE.write_text(picture(estimates(all_probes(parser.parse_args()))), encoding="utf-8")


if __name__ == "__main__":
    main()
