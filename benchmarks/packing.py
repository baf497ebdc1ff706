"""The peak memory of modes on few and on many short clips in shards, in kB a clip beyond the few.

    python benchmarks/packing.py [--few 1000] [--many 100000] [--seconds 0.1] [--only check audit]

Each step is a process of its own, without processes that load, so that nothing is left out of its peak; what is known
is said as it comes. Also the time of each and, with `--workers N`, that of packing with N processes. The clips are
written as shards at once, which `ssast pack` then packs anew; with `--folders` it packs folders, of which 100,000 take
minutes to make. All steps with 100,000 clips take half an hour on one quiet core.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from memory import PEAK, write_clips
from short_shards import short_shards

MOST_BYTES_A_CLIP = 1500
"""So much more may a clip take, for its row, its uid and its place."""
DEFAULT = ["pack", "extract", "check", "stats", "audit"]


def steps(folder: Path) -> dict[str, list[str]]:
    """The command line of each step."""
    tiny = ["--pretrained_mdl_path", "none", "--model_size", "tiny", "--target_length", "16", "--embedding_type", "pt"]
    tiny += ["--batch_size", "64", "--device", "cpu"]
    shards, labels = ["-i", str(folder / "shards")], ["-l", str(folder / "labels.txt")]
    folders = ["-i", str(folder / "audio"), "-d", str(folder / "all.csv")]
    return {
        "pack": ["pack", *(folders if (folder / "audio").exists() else shards), "-o", str(folder / "packed")],
        "extract": ["extract", *shards, "-o", str(folder / "extracted"), *tiny],
        "check": ["check", *shards, *labels, "-o", str(folder / "check")],
        "stats": ["stats", *shards, "-o", str(folder / "stats")],
        "audit": ["audit", *shards, *labels, "-o", str(folder / "audit"), "--resamples", "100"],
        "unpack": ["unpack", *shards, "-o", str(folder / "unpacked")],
    }


def measured(words: list[str]) -> tuple[float, float]:
    """The largest resident memory [bytes] and the seconds of one command."""
    start = time.monotonic()
    # `check` ends with 1 where it finds something.
    done = subprocess.run([sys.executable, "-c", PEAK, *words], capture_output=True, text=True)
    if done.returncode not in (0, 1) or not done.stdout.split():
        raise SystemExit(done.stderr[-2000:])
    return int(done.stdout.splitlines()[-1]) * 1024, time.monotonic() - start


def run(clips: int, seconds: float, only: list[str], workers: int, *, folders: bool) -> dict[str, tuple[float, float]]:
    """Memory and time of each step with so many clips."""
    found = {}
    with TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["SSAST_CACHE"] = str(folder / "cache")
        short_shards(folder / "shards", clips, seconds)
        (folder / "labels.txt").write_text("odd\n")
        if folders:
            write_clips(folder, clips, seconds)
        for step, words in steps(folder).items():
            if step in only:
                found[step] = measured([*words, "--num_workers", "0"])
                print(f"{step}, {clips} clips: {found[step][0] / 1e6:.0f} MB, {found[step][1]:.0f} s", file=sys.stderr)
        if workers:
            again = [*steps(folder)["pack"][:-1], str(folder / "again"), "--num_workers", str(workers)]
            found[f"pack with {workers} processes"] = measured(again)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--few", type=int, default=1000)
    parser.add_argument("--many", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=0.1)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--only", nargs="*", default=DEFAULT, help=f"of {' '.join(DEFAULT)} unpack")
    parser.add_argument("--folders", action="store_true", help="pack folders, not shards")
    asked = parser.parse_args()
    few, many = (
        run(clips, asked.seconds, asked.only, asked.workers, folders=asked.folders) for clips in (asked.few, asked.many)
    )
    print(f"| step | {asked.few} clips, MB | {asked.many} clips, MB | kB a clip | clips a second |")
    print("|---|---|---|---|---|")
    for step, (peak, taken) in many.items():
        more = (peak - few[step][0]) / (asked.many - asked.few)
        rate = (asked.many - asked.few) / (taken - few[step][1])
        judged = "" if more <= MOST_BYTES_A_CLIP else f" (above {MOST_BYTES_A_CLIP / 1000:g})"
        print(f"| {step} | {few[step][0] / 1e6:.0f} | {peak / 1e6:.0f} | {more / 1000:.2f}{judged} | {rate:.0f} |")


if __name__ == "__main__":
    main()
