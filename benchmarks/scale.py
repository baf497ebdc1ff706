"""What a large run asks for, by a small model whose constants are measured here and checked against whole runs.

    python benchmarks/scale.py constants                  # two minutes: what one clip costs, by itself
    python benchmarks/scale.py runs [1000 10000 100000]   # extractions of short clips, folders and shards: 20 minutes
    python benchmarks/scale.py table [--clips 2300000 --seconds 10 --epochs 8 --gpu_clips 1186]
    python benchmarks/scale.py page                       # puts what runs were said and measured into docs/scale.md

The first two keep what they find in benchmarks/scale_results/ as JSON; the machine should have nothing else to do. The
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

RESULTS = Path(__file__).parent / "scale_results"
PAGE = Path(__file__).parents[1] / "docs" / "scale.md"
BEGINS, ENDS = "<!-- measured: begin -->", "<!-- measured: end -->"
FEW, MORE = 64, 1064
"""What one short clip costs is the difference of two extractions, over the clips between."""
ROW_GROUP = 64e6
SHORT_SECONDS = 0.25
ROWS = 200_000
CLIPS_A_FILE = 10_000
"""Short clips are links to a few files: so many to one, fewer than a disk allows."""
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


def lines(program: str, *words: object) -> list[float]:
    """The numbers on the last line that a program prints in a process of its own."""
    done = subprocess.run([sys.executable, "-c", program, *map(str, words)], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    return [float(word) for word in done.stdout.splitlines()[-1].split()]


def short_clips(folder: Path, clips: int) -> Path:
    """The table of so many clips of a quarter of a second, in folders as all modes read them."""
    import numpy as np
    import soundfile

    (folder / "audio").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(clips):
        home = folder / "audio" / f"{number:07d}"
        home.mkdir()
        first = folder / "audio" / f"{number - number % CLIPS_A_FILE:07d}"
        if home == first:
            soundfile.write(home / "waveform.wav", 0.1 * rng.standard_normal(int(16000 * SHORT_SECONDS)), 16000)
            (home / "metadata.json").write_text('{"encoding": "WAV", "sample_rate_hz": 16000}')
            continue
        for name in ("waveform.wav", "metadata.json"):
            os.link(first / name, home / name)
    (folder / "test.csv").write_text("uid\n" + "".join(f"{number:07d}\n" for number in range(clips)))
    return folder / "test.csv"


def short_shards(folder: Path, table: Path) -> Path:
    """The same clips as `ssast pack` writes them."""
    words = ["-i", folder / "audio", "-d", table, "-o", folder / "shards", "--num_workers", os.cpu_count() or 1]
    lines(PEAK, "pack", *words)
    return folder / "shards"


def extracted(clips: int) -> dict[str, dict[str, float]]:
    """Peak memory [bytes] and time [s] of extractions from so many short clips, in folders and in shards.

    Tiny model, each in its own process.
    """
    found = {}
    with TemporaryDirectory() as name:
        folder = Path(name)
        table = short_clips(folder, clips)
        sources = {"folders": ["-i", folder / "audio", "-d", table], "shards": ["-i", short_shards(folder, table)]}
        for source, words in sources.items():
            how = ["--pretrained_mdl_path", "none", "--model_size", "tiny", "--target_length", 24, "--device", "cpu"]
            how += ["--embedding_type", "pt", "--threads", 1, "--batch_size", 64, "-o", folder / f"out-{source}"]
            peak, seconds = lines(PEAK, "extract", *words, *how)
            found[source] = {"bytes": peak * 1024, "seconds": seconds}
    return found


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
        few, many = folder / "few.csv", folder / "many.csv"
        for place, rows in ((few, 10), (many, ROWS)):
            place.write_text("uid,label\n" + "".join(f"{number:010d},{number % 2}\n" for number in range(rows)))
        table_bytes = lines(MEMORY, few, many)[0]
    few, more = extracted(FEW), extracted(MORE)
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
    yield (
        "waiting in one epoch at 50 ms a request, folders",
        f"{folders * 0.05 / 3600:,.0f} h, shared by all readers",
        0.0,
    )
    yield "waiting in one epoch at 50 ms a request, shards", f"{groups * 0.05 / 3600:.2f} h", 0.0
    yield "decoding, all epochs", f"{core_hours:,.0f} core-hours", core_hours * prices.core_hour
    cores = run.gpu_clips * of.decode_seconds * run.seconds / 10
    yield "cores that decode for one GPU", f"{cores:.1f}", 0.0
    yield "reading for one GPU", f"{run.gpu_clips * size / run.clips / 1e6:,.0f} MB/s", 0.0
    yield "steps", f"{seen / run.batch:,.0f} of {run.batch} clips", 0.0
    yield "one GPU", f"{gpu_hours:,.1f} h", gpu_hours
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


def measure_runs(sizes: list[int]) -> None:
    """Measure the extractions and keep each as soon as it is known."""
    for clips in sizes:
        began, found = time.perf_counter(), kept("runs")
        for source, measured in extracted(clips).items():
            found.setdefault(source, {})[str(clips)] = measured
            print(f"{source}, {clips} clips: {measured}", flush=True)
        keep("runs", found)
        print(f"{time.perf_counter() - began:.0f} s in all, with making and packing the clips", flush=True)


def comparison(of: Constants) -> str:
    """What the constants say of the measured runs, beside what was measured, as a table."""
    rows = "\n".join(f"| {' | '.join(row)} |" for row in checks(of, kept("runs")))
    head = "| short clips from | how many | said | measured | memory, said | measured |\n|---|---|---|---|---|---|"
    return f"{head}\n{rows}"


def write_page() -> None:
    """Put the comparison between its marks on the page."""
    if not kept("constants") or not kept("runs"):
        raise SystemExit("nothing is measured yet: run `constants` and `runs` first")
    of = Constants(**kept("constants"))
    before, rest = PAGE.read_text(encoding="utf-8").split(BEGINS)
    after = rest.split(ENDS)[1]
    said = f"On {of.machine}; clips of {SHORT_SECONDS:g} s, tiny model, one process:"
    PAGE.write_text(f"{before}{BEGINS}\n{said}\n\n{comparison(of)}\n{ENDS}{after}", encoding="utf-8")


def print_table(run: Run, prices: Prices) -> None:
    known = kept("constants")
    of = Constants(**known) if known else KNOWN
    print(f"{run.clips:,} clips of {run.seconds:g} s, {run.epochs} epochs; constants of {of.machine}\n")
    print("| what | how much | units |\n|---|---|---|")
    for what, much, units in demands(run, of, prices):
        print(f"| {what} | {much} | {f'{units:.2f}' if units else ''} |")
    if not known:
        return
    print(f"\n{comparison(of)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("constants", "runs", "table", "page"))
    parser.add_argument("sizes", nargs="*", type=int, help="clips of the runs (1000 10000 100000)")
    parser.add_argument("--clips", type=int, default=2_300_000)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--gpu_clips", type=float, default=1186.0, help="clips a second that one GPU trains on")
    parser.add_argument("--core_hour", type=float, default=0.01, help="units for an hour of one core")
    parser.add_argument("--gb_month", type=float, default=0.005, help="units for a month of one GB in a bucket")
    parser.add_argument("--thousand_reads", type=float, default=0.0001, help="units for a thousand reads of a bucket")
    asked = parser.parse_args()
    if asked.what == "constants":
        keep("constants", vars(constants()))
    elif asked.what == "runs":
        measure_runs(asked.sizes or [1000, 10_000, 100_000])
    elif asked.what == "page":
        write_page()
    else:
        run = Run(asked.clips, asked.seconds, asked.epochs, asked.batch, asked.gpu_clips)
        print_table(run, Prices(asked.core_hour, asked.gb_month, asked.thousand_reads))


if __name__ == "__main__":
    main()
