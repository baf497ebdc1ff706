"""What a large run asks for, by a small model whose constants are measured here and checked against whole runs.

    python benchmarks/scale.py constants                  # two minutes: what one clip costs, by itself
    python benchmarks/scale.py runs [1000 10000 100000]   # extractions of short clips, folders and shards: 15 minutes
    python benchmarks/scale.py table [--clips 2300000 --seconds 10 --epochs 8 --gpu_clips 1186]
    python benchmarks/scale.py page                       # puts both tables into docs/scale.md

The first two keep what they find in benchmarks/scale_results/ as JSON; the machine should have nothing else to do.
`runs` keeps each as soon as it is known and does none again that is kept (`--again` does): started anew it goes on.
Shards are written at once; folders, of which 100,000 take longer to make than to read, are measured up to 10,000. The
third prints what the model says of a pretraining of that size, and how its word for the measured runs came out. Prices
are in units of one hour of a large GPU; their ratios differ between providers, so give your own (--help).
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from short_shards import short_shards

RESULTS = Path(__file__).parent / "scale_results"
PAGE = Path(__file__).parents[1] / "docs" / "scale.md"
MARKS = {name: (f"<!-- {name}: begin -->", f"<!-- {name}: end -->") for name in ("demands", "measured")}
"""What stands between them on the page is written by `page`."""
FEW, MORE = 64, 1064
"""What one short clip costs is the difference of two extractions, over the clips between."""
ROW_GROUP = 64e6
SHORT_SECONDS = 0.25
ROWS = 200_000
MOST_FOLDERS = 10_000
"""So many folders are made at most; their clips are links to one file, fewer than a disk allows."""
ASKING_AT_ONCE = 8 * 8
"""Eight processes that load, each with eight requests on their way."""
H100_CLIPS = 1186.0
"""Clips of 10 s a second in the joint step of base, 128 clips, compiled: docs/performance.md, by `gpu.py`."""
H100_LATE_CLIPS = 3184.0
"""The same with `--mask_layer 10`."""
PEAK = """
import resource, sys, time
began = time.perf_counter()
from ssast import cli
code = cli.main(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter() - began)
sys.exit(code)
"""
DECODING = """
import statistics, sys, time
import torch
torch.set_num_threads(1)
from ssast.audio.decode import decode
times = []
for _ in range(60):
    began = time.process_time()
    decode(sys.argv[1], extension="flac")
    times.append(time.process_time() - began)
print(statistics.median(times[10:]))
"""
MEMORY = """
import resource, sys
from ssast.data.storage.location import Location
from ssast.data.tables.splits import read_split
read_split(Location(sys.argv[1]))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
kept = read_split(Location(sys.argv[2]))
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / len(kept))
"""
STATE = """
from ssast import SSASTForPreTraining
model = SSASTForPreTraining("base", seed=0)
weights = sum(one.nbytes for one in model.parameters())
print(3 * weights, model.v.width)
"""


@dataclass(frozen=True)
class Constants:
    """What was measured of one clip: seconds of one core, bytes, and what a mode needs before its first clip."""

    flac_bytes: float
    decode_seconds: float
    table_bytes: float
    start_seconds: float
    start_bytes: float
    short_seconds: dict[str, float]
    state_bytes: float
    width: float
    machine: str


@dataclass(frozen=True)
class Prices:
    """Units of an hour of one large GPU: for an hour of a core, a month of a GB, a thousand reads of a bucket."""

    core_hour: float
    gb_month: float
    thousand_reads: float


KNOWN = Constants(180_485, 0.0016, 419, 0, 0, {}, 1_046_704_128, 768, "two cores of the machine of docs/performance.md")
"""Until `constants` has run: sizes, which do not go with how quiet a machine is, and decoding as on that page."""


def lines(program: str, *words: object, cache: Path | None = None) -> list[float]:
    """The numbers on the last line that a program prints in a process of its own."""
    told = os.environ | ({} if cache is None else {"SSAST_CACHE": str(cache)})
    done = subprocess.run([sys.executable, "-c", program, *map(str, words)], capture_output=True, text=True, env=told)
    if done.returncode:
        raise SystemExit(f"{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    return [float(word) for word in done.stdout.splitlines()[-1].split()]


def short_clips(folder: Path, clips: int) -> list[str]:
    """So many clips of a quarter of a second in folders; the options that give them."""
    import numpy as np
    import soundfile

    (folder / "audio").mkdir(parents=True)
    first = folder / "audio" / "0000000"
    for number in range(clips):
        home = folder / "audio" / f"{number:07d}"
        home.mkdir()
        if number:
            for name in ("waveform.wav", "metadata.json"):
                os.link(first / name, home / name)
            continue
        noise = 0.1 * np.random.default_rng(0).standard_normal(int(16000 * SHORT_SECONDS))
        soundfile.write(home / "waveform.wav", noise, 16000)
        (home / "metadata.json").write_text('{"encoding": "WAV", "sample_rate_hz": 16000}')
    (folder / "test.csv").write_text("uid\n" + "".join(f"{number:07d}\n" for number in range(clips)))
    return ["-i", str(folder / "audio"), "-d", str(folder / "test.csv")]


def packed_clips(folder: Path, clips: int) -> list[str]:
    """So many in shards; the options that give them."""
    return ["-i", str(short_shards(folder / "shards", clips, SHORT_SECONDS))]


SOURCES = {"folders": short_clips, "shards": packed_clips}


def extracted(source: str, clips: int) -> dict[str, float]:
    """Peak memory [bytes] and time [s] of an extraction from so many short clips: tiny model, own process and cache."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        words = SOURCES[source](folder, clips)
        how = ["--pretrained_mdl_path", "none", "--model_size", "tiny", "--target_length", 24, "--device", "cpu"]
        how += ["--embedding_type", "pt", "--threads", 1, "--batch_size", 64, "-o", folder / "out"]
        peak, seconds = lines(PEAK, "extract", *words, *how, cache=folder / "cache")
    return {"bytes": peak * 1024, "seconds": seconds}


def constants() -> Constants:
    """Measure each of them by itself."""
    import soundfile

    from ssast.audio.speech_synthesis import Traits, synthesise

    with TemporaryDirectory() as name:
        folder = Path(name)
        sizes, times = [], []
        for number in range(3):
            place = folder / f"{number}.flac"
            soundfile.write(place, synthesise(Traits(clip_seconds=10.0), seed=number), 16000)
            sizes.append(place.stat().st_size)
            times += lines(DECODING, place)
        small, large = folder / "few.csv", folder / "many.csv"
        for place, rows in ((small, 10), (large, ROWS)):
            place.write_text("uid,label\n" + "".join(f"{number:010d},{number % 2}\n" for number in range(rows)))
        table_bytes = lines(MEMORY, small, large)[0]
    extracted("shards", FEW)  # the first one after a boot reads the libraries from the disk: ten seconds
    few, more = ({source: extracted(source, clips) for source in SOURCES} for clips in (FEW, MORE))
    a_clip = {source: (more[source]["seconds"] - few[source]["seconds"]) / (MORE - FEW) for source in few}
    start = few["folders"] | {"seconds": few["folders"]["seconds"] - FEW * a_clip["folders"]}
    state, width = lines(STATE)
    machine = f"{platform.machine()}, {os.cpu_count()} cores"
    return Constants(
        flac_bytes=statistics.mean(sizes),
        decode_seconds=statistics.median(times),
        table_bytes=table_bytes,
        start_seconds=start["seconds"],
        start_bytes=start["bytes"],
        short_seconds=a_clip,
        state_bytes=state,
        width=width,
        machine=machine,
    )


@dataclass(frozen=True)
class Run:
    """A pretraining: how many clips, how long, how often, in which batches, on which GPU (clips a second)."""

    clips: int
    seconds: float
    epochs: int
    batch: int
    gpu_clips: float


def demands(run: Run, of: Constants, prices: Prices) -> Iterator[tuple[str, str, float]]:
    """(what, how much, units) that a run asks for; each line follows from constants and the run alone."""
    size = run.clips * of.flac_bytes * run.seconds / 10
    seen = run.clips * run.epochs
    gpu_hours = seen / run.gpu_clips / 3600
    core_hours = seen * of.decode_seconds * run.seconds / 10 / 3600
    months = gpu_hours / 730
    folders, groups = 3 * run.clips, size / ROW_GROUP
    yield "storage, flac", f"{size / 1e9:,.0f} GB", size / 1e9 * max(months, 1) * prices.gb_month
    yield "requests of one epoch, folders", f"{folders:,.0f}", folders * run.epochs / 1000 * prices.thousand_reads
    yield "requests of one epoch, shards", f"{groups:,.0f}", groups * run.epochs / 1000 * prices.thousand_reads
    waiting = folders * 0.05 / 3600
    shared = f"{waiting:,.0f} h, with {ASKING_AT_ONCE} requests at once {waiting / ASKING_AT_ONCE:.1f}"
    yield "waiting in one epoch at 50 ms a request, folders", shared, 0.0
    yield "waiting in one epoch at 50 ms a request, shards", f"{groups * 0.05 / 3600:.2f} h", 0.0
    yield "decoding, all epochs", f"{core_hours:,.0f} core-hours", core_hours * prices.core_hour
    for how, rate in (("", run.gpu_clips), (" with `--mask_layer 10`", run.gpu_clips * H100_LATE_CLIPS / H100_CLIPS)):
        yield f"cores that decode for one GPU{how}", f"{rate * of.decode_seconds * run.seconds / 10:.1f}", 0.0
        yield f"reading for one GPU{how}", f"{rate * size / run.clips / 1e6:,.0f} MB/s", 0.0
    yield "steps", f"{seen / run.batch:,.0f} of {run.batch} clips", 0.0
    yield f"one GPU, {run.gpu_clips:,.0f} clips a second", f"{gpu_hours:,.1f} h", gpu_hours
    yield "table in memory, each process", f"{run.clips * of.table_bytes / 1e9:.1f} GB", 0.0
    yield "a checkpoint, base", f"{of.state_bytes / 1e9:.1f} GB", 0.0
    yield "embeddings of all clips, base", f"{run.clips * of.width * 4 / 1e9:,.1f} GB", 0.0


def checks(of: Constants, runs: dict[str, dict[str, dict[str, float]]]) -> Iterator[tuple[str, ...]]:
    """(source, clips, said seconds, measured, said memory, measured) of every run that was measured."""
    for source, measured in runs.items():
        for clips, found in sorted(measured.items(), key=lambda one: int(one[0])):
            seconds = of.start_seconds + int(clips) * of.short_seconds.get(source, of.short_seconds["folders"])
            memory = of.start_bytes + int(clips) * of.table_bytes
            yield (
                *(source, f"{int(clips):,}", f"{seconds:.0f} s", f"{found['seconds']:.0f} s"),
                *(f"{memory / 1e6:.0f} MB", f"{found['bytes'] / 1e6:.0f} MB"),
            )


def keep(name: str, content: object) -> None:
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def kept(name: str) -> dict:
    place = RESULTS / f"{name}.json"
    return json.loads(place.read_text(encoding="utf-8")) if place.exists() else {}


def measure_runs(sizes: list[int], *, again: bool) -> None:
    """Measure the extractions that are not kept, and keep each as soon as it is known."""
    for clips in sizes:
        for source in SOURCES if clips <= MOST_FOLDERS else ("shards",):
            began, found = time.perf_counter(), kept("runs")
            known = found.setdefault(source, {}).get(str(clips))
            if known is None or again:
                found[source][str(clips)] = known = extracted(source, clips)
                keep("runs", found)
            taken = time.perf_counter() - began
            print(f"{source}, {clips} clips: {known}; {taken:.0f} s with making them", flush=True)


def comparison(of: Constants) -> str:
    """What the constants say of the measured runs, beside what was measured, as a table."""
    rows = "\n".join(f"| {' | '.join(row)} |" for row in checks(of, kept("runs")))
    head = "| short clips from | how many | said | measured | memory, said | measured |\n|---|---|---|---|---|---|"
    return f"{head}\n{rows}"


def needs(run: Run, of: Constants, prices: Prices) -> str:
    """What a run asks for, as a table."""
    rows = [
        f"| {what} | {much} |{f' {units:.2f}' if units else ''} |" for what, much, units in demands(run, of, prices)
    ]
    return "\n".join(["| what | how much | units |", "|---|---|---|", *rows])


def write_page(run: Run, prices: Prices) -> None:
    """Put both tables between their marks on the page."""
    if not kept("constants") or not kept("runs"):
        raise SystemExit("nothing is measured yet: run `constants` and `runs` first")
    of = Constants(**kept("constants"))
    told = f"Constants of {of.machine}; decoding takes {1000 * of.decode_seconds:.1f} ms a clip of 10 s on one core:"
    said = f"On {of.machine}; clips of {SHORT_SECONDS:g} s, tiny model, one process:"
    text = PAGE.read_text(encoding="utf-8")
    for name, content in {
        "demands": f"{told}\n\n{needs(run, of, prices)}",
        "measured": f"{said}\n\n{comparison(of)}",
    }.items():
        begins, ends = MARKS[name]
        before, rest = text.split(begins)
        text = f"{before}{begins}\n{content}\n{ends}{rest.split(ends)[1]}"
    PAGE.write_text(text, encoding="utf-8")


def print_table(run: Run, prices: Prices) -> None:
    known = kept("constants")
    of = Constants(**known) if known else KNOWN
    print(f"{run.clips:,} clips of {run.seconds:g} s, {run.epochs} epochs; constants of {of.machine}\n")
    print(needs(run, of, prices))
    if known:
        print(f"\n{comparison(of)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("constants", "runs", "table", "page"))
    parser.add_argument("sizes", nargs="*", type=int, help="clips of the runs (1000 10000 100000)")
    parser.add_argument("--again", action="store_true", help="measure runs that are kept, too")
    parser.add_argument("--clips", type=int, default=2_300_000)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--gpu_clips", type=float, default=H100_CLIPS, help="clips a second that one GPU trains on")
    parser.add_argument("--core_hour", type=float, default=0.01, help="units for an hour of one core")
    parser.add_argument("--gb_month", type=float, default=0.005, help="units for a month of one GB in a bucket")
    parser.add_argument("--thousand_reads", type=float, default=0.0001, help="units for a thousand reads of a bucket")
    asked = parser.parse_args()
    run = Run(asked.clips, asked.seconds, asked.epochs, asked.batch, asked.gpu_clips)
    prices = Prices(asked.core_hour, asked.gb_month, asked.thousand_reads)
    if asked.what == "constants":
        keep("constants", vars(constants()))
    elif asked.what == "runs":
        measure_runs(asked.sizes or [1000, 10_000, 100_000], again=asked.again)
    elif asked.what == "page":
        write_page(run, prices)
    else:
        print_table(run, prices)


if __name__ == "__main__":
    main()
