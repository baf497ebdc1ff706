"""How large a report of many labels and groups is, and how long it takes to score, to write and to draw.

    python benchmarks/report.py [--labels 20] [--clips 2000] [--people 100] [--keep FOLDER] [--profile]

The predictions are simulated, everything else is the product's own: intervals, calibration, net benefit, subgroups by
four columns, raters of the scales, a plain baseline, the test of another place, and sounds of the hardest clips.
Chromium opens the page offline at two widths, five times each; the table has the median.
"""

import argparse
import cProfile
import io
import json
import pstats
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ssast.data.storage.location import Location
from ssast.metrics.external.development import Development, Spread
from ssast.metrics.external.place import Place, add_external, label_summaries
from ssast.metrics.measures import Floats
from ssast.metrics.predictions import Predictions
from ssast.metrics.score_entries import Metrics
from ssast.model.label_kinds import SCALE, YES_NO, LabelKind, LabelKinds
from ssast.pages.html import sound_uri, write_page
from ssast.pages.report_page import hardest, report_page
from ssast.runs.reviewing.groups import group_columns
from ssast.runs.reviewing.whole_review import reviewed_scores
from ssast.runs.rows import Rows

LEVELS, RATERS = (0, 1, 2, 3), 3
GROUPS = "sex,age:50:65,site,device"
WIDTHS = {"1280 pixels": (1280, 900), "390 pixels": (390, 844)}
TIMES = 5
_SOUND_SECONDS, _RATE = 10.0, 16_000
_DRAWN = """() => new Promise(resolve => requestAnimationFrame(() => requestAnimationFrame(() => {
  const first = performance.getEntriesByName("first-contentful-paint")[0];
  const load = performance.getEntriesByType("navigation")[0];
  resolve([first ? first.startTime : NaN, load.loadEventEnd, performance.now()]);
})))"""


def kinds_of(labels: int) -> LabelKinds:
    """Yes/no labels, each fifth one a scale with three raters."""
    made = []
    for number in range(labels):
        name = f"label_{number + 1:02d}"
        if number % 5 == 4:
            raters = tuple(f"{name}_r{rater + 1}" for rater in range(RATERS))
            made.append(LabelKind(name, SCALE, LEVELS, cut=2, raters=raters))
        else:
            made.append(LabelKind(name))
    return LabelKinds(tuple(made))


def table_of(kinds: LabelKinds, traits_NL: Floats, speaker_N: Any, rng: np.random.Generator) -> pd.DataFrame:
    """What a table says of the clips: who speaks, four groups, and the answers."""
    people = int(speaker_N.max()) + 1
    own = {
        "sex": np.where(rng.random(people) < 0.5, "f", "m"),
        "age": rng.integers(20, 90, people),
        "site": rng.choice(["north", "south", "west"], people),
        "device": rng.choice(["headset", "phone", "table"], people),
    }
    columns: dict[str, Any] = {name: values[speaker_N] for name, values in own.items()}
    columns["speaker"] = [f"person {number:03d}" for number in speaker_N]
    for at, label in enumerate(kinds.labels):
        trait_N = traits_NL[:, at]
        if label.kind == YES_NO:
            columns[label.name] = (trait_N > 0.6).astype(int)
        for name in label.raters:
            heard_N = 1.5 + trait_N + rng.normal(0, 0.6, len(trait_N))
            columns[name] = np.clip(np.rint(heard_N), LEVELS[0], LEVELS[-1]).astype(int)
    return pd.DataFrame(columns, index=pd.Index([f"clip_{number:05d}" for number in range(len(speaker_N))], name="uid"))


def scores_of(kinds: LabelKinds, traits_NL: Floats, rng: np.random.Generator) -> Floats:
    """What a model says that hears the traits with some noise (N, W)."""
    parts = []
    for at, label in enumerate(kinds.labels):
        heard_N = traits_NL[:, at] + rng.normal(0, 1.0, len(traits_NL))
        cuts = [0.8] if label.kind == YES_NO else [level - 2.0 for level in LEVELS[1:]]
        parts += [1 / (1 + np.exp(-(heard_N - cut) / 0.7)) for cut in cuts]
    return np.stack(parts, axis=1)


def drawn(labels: int, clips: int, people: int, seed: int) -> tuple[Rows, Predictions]:
    """A table and a model's predictions of it."""
    rng, kinds = np.random.default_rng(seed), kinds_of(labels)
    speaker_N = np.arange(clips) % people
    traits_NL = 0.7 * rng.normal(size=(people, labels))[speaker_N] + 0.7 * rng.normal(size=(clips, labels))
    frame = table_of(kinds, traits_NL, speaker_N, rng)
    rows = Rows(frame, kinds.names, Location("test.csv"), kinds)
    subjects = frame["speaker"].to_numpy(dtype=object)
    scores_NW = scores_of(kinds, traits_NL, rng)
    return rows, Predictions(list(frame.index), kinds.names, scores_NW, rows.targets, subjects, "speaker", kinds)


def properties(people: int, seed: int, louder: float = 0.0) -> dict[str, Spread]:
    """How loud, long and so on the recordings of people are."""
    rng = np.random.default_rng(seed)
    middles = {"loudness": -24 + louder, "noise": -58.0, "bandwidth": 7600.0, "brightness": -14.0, "length": 6.0}
    found = {name: Spread.of(middle + abs(middle) / 10 * rng.normal(size=people)) for name, middle in middles.items()}
    return found | {"age": Spread.of(rng.uniform(20, 90, people))}


def scored(labels: int, clips: int, people: int, resamples: int) -> tuple[Rows, Predictions, Metrics]:
    """All that metrics.json holds of a test in another place."""
    rows, predictions = drawn(labels, clips, people, 0)
    thresholds = {label.name: 0.4 for label in rows.kinds.labels if label.kind == YES_NO}
    rng = np.random.default_rng(1)
    plain = {
        label: own_N * 0.3 + rng.random(clips) * 0.7
        for label, own_N in zip(predictions.labels, predictions.targets.T, strict=True)
        if label in thresholds
    }
    how: dict[str, Any] = {"plain": plain, "groups": group_columns(GROUPS, rows), "reasons": {}, "left_out": 0}
    metrics = reviewed_scores(predictions, rows, thresholds, resamples=resamples, prevalence=0.1, **how)
    _, before = drawn(labels, clips, people, 2)
    summaries = label_summaries(metrics, before, thresholds)
    there = Development(clips, people, people, "speaker", properties(people, 3), summaries)
    _, fitted = drawn(labels, clips // 2, people // 2, 4)
    about = {"share": 0.5, "seed": 0, "people": people // 2, "recordings": clips // 2, "unit": "speaker"}
    place = Place(thresholds, properties(people, 5, louder=6.0), there, "", fitted, about)
    add_external(metrics, predictions, place)
    return rows, predictions, metrics


def page_of(predictions: Predictions, metrics: Metrics) -> str:
    """The page, with ten seconds of sound for each of the hardest clips."""
    rng = np.random.default_rng(0)
    uids = [predictions.uids[hard.row] for hard in hardest(predictions, metrics["loss"])]
    sounds = {uid: sound_uri(0.1 * rng.standard_normal(int(_SOUND_SECONDS * _RATE)), _RATE) for uid in uids}
    log = [
        {"epoch": epoch, "learning_rate": 1e-3, "train_loss": 1 / epoch, "validation_loss": 0.5}
        for epoch in range(1, 41)
    ]
    return report_page("A large report", predictions, metrics, log=log, record={"seed": 0}, sounds=sounds)


def drawing_times(path: Path, size: tuple[int, int]) -> list[float]:
    """Seconds to the first text, to the end of loading, and to the second frame after it: medians of some times."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    found = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        for _ in range(TIMES):
            context = browser.new_context(viewport={"width": size[0], "height": size[1]}, offline=True)
            page = context.new_page()
            page.goto(path.resolve().as_uri())
            found.append(page.evaluate(_DRAWN))
            context.close()
        browser.close()
    return [statistics.median(each) / 1000 for each in zip(*found, strict=True)]


def timed(work: Callable[[], Any], name: str, times: dict[str, float]) -> Any:
    """What the work gives; its seconds go into `times`."""
    start = time.perf_counter()
    found = work()
    times[name] = time.perf_counter() - start
    return found


def parts_by_size(text: str) -> list[tuple[int, str]]:
    """The sections of a page, the largest first."""
    sections = text.split("<h2 ")[1:]
    names = (part.partition("</h2>")[0].partition(">")[2] for part in sections)
    return sorted(zip((len(part.encode()) for part in sections), names, strict=True), reverse=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, usual in (("labels", 20), ("clips", 2000), ("people", 100), ("resamples", 1000)):
        parser.add_argument(f"--{name}", type=int, default=usual)
    parser.add_argument("--keep", type=Path, help="folder in which the page stays")
    parser.add_argument("--profile", action="store_true", help="show where scoring spends its time")
    asked = parser.parse_args()
    times: dict[str, float] = {}
    amounts = asked.labels, asked.clips, asked.people, asked.resamples
    profile = cProfile.Profile(builtins=False)
    if asked.profile:
        profile.enable()
    _, predictions, metrics = timed(lambda: scored(*amounts), "score [s]", times)
    profile.disable()
    with tempfile.TemporaryDirectory() as temporary:
        folder = asked.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "metrics.json").write_text(json.dumps(metrics, indent=1))
        text = timed(lambda: page_of(predictions, metrics), "make the page [s]", times)
        write_page(folder / "report.html", text)
        for name, size in WIDTHS.items():
            drawn_in = drawing_times(folder / "report.html", size)
            words = ("first text", "loaded", "drawn")
            times |= {f"{word}, {name} [s]": each for word, each in zip(words, drawn_in, strict=True)}
        size_mb = (folder / "report.html").stat().st_size / 1e6
    print("| what | value |\n|---|---|")
    print(f"| report.html [MB] | {size_mb:.2f} |")
    for name, value in times.items():
        print(f"| {name} | {value:.2f} |")
    print("\nlargest sections: " + ", ".join(f"{name} {size / 1e3:.0f} kB" for size, name in parts_by_size(text)[:6]))
    if asked.profile:
        out = io.StringIO()
        pstats.Stats(profile, stream=out).sort_stats("tottime").print_stats(25)
        print(out.getvalue())


if __name__ == "__main__":
    main()
