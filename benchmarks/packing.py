"""The peak memory of packing, extracting and more of few and many short clips, in bytes a clip beyond the few.

    python benchmarks/packing.py [--few 1000] [--many 100000] [--seconds 0.1] [--only extract check]

The clips are one recording under many uids. Each step is a process of its own, without processes that load, so that
nothing is left out of its peak; what is known is said as it comes. Also the time of each and, with `--workers N`, that
of packing with N processes. Packing and extracting 100,000 clips take ten minutes on one quiet core.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from memory import PEAK, write_clips

MOST_BYTES_A_CLIP = 1500
"""So much more may a clip take, for its row, its uid and its place."""


def steps(folder: Path) -> dict[str, list[str]]:
    """The command line of each step; all but the first read what packing wrote."""
    tiny = ["--pretrained_mdl_path", "none", "--model_size", "tiny", "--target_length", "16", "--embedding_type", "pt"]
    tiny += ["--batch_size", "64", "--device", "cpu"]
    shards = ["-i", str(folder / "shards")]
    table = ["-d", str(folder / "all.csv")]
    return {
        "pack": ["pack", "-i", str(folder / "audio"), *table, "-o", str(folder / "shards")],
        "extract": ["extract", *shards, "-o", str(folder / "extracted"), *tiny],
        "stats": ["stats", *shards, "-o", str(folder / "stats")],
        "check": ["check", *shards, "-o", str(folder / "check")],
        "unpack": ["unpack", *shards, "-o", str(folder / "unpacked")],
    }


def measured(words: list[str]) -> tuple[float, float]:
    """The largest resident memory [bytes] and the seconds of one command."""
    start = time.monotonic()
    # `check` ends with 1 where it finds something, and many clips with the same samples are a finding.
    done = subprocess.run([sys.executable, "-c", PEAK, *words], capture_output=True, text=True)
    if done.returncode not in (0, 1) or not done.stdout.split():
        raise SystemExit(done.stderr[-2000:])
    return int(done.stdout.splitlines()[-1]) * 1024, time.monotonic() - start


def run(clips: int, seconds: float, only: list[str], workers: int) -> dict[str, tuple[float, float]]:
    """Memory and time of each step with so many clips."""
    found = {}
    with TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["SSAST_CACHE"] = str(folder / "cache")
        write_clips(folder, clips, seconds)
        for step, words in steps(folder).items():
            if step == "pack" or step in only:
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
    parser.add_argument("--only", nargs="*", default=["extract"], help="stats check unpack too")
    asked = parser.parse_args()
    few, many = (run(clips, asked.seconds, asked.only, asked.workers) for clips in (asked.few, asked.many))
    print(f"| step | {asked.few} clips, MB | {asked.many} clips, MB | bytes a clip | clips a second |")
    print("|---|---|---|---|---|")
    for step, (peak, taken) in many.items():
        more = (peak - few[step][0]) / (asked.many - asked.few)
        rate = (asked.many - asked.few) / (taken - few[step][1])
        judged = "" if more <= MOST_BYTES_A_CLIP else f" (above {MOST_BYTES_A_CLIP})"
        print(f"| {step} | {few[step][0] / 1e6:.0f} | {peak / 1e6:.0f} | {more:.0f}{judged} | {rate:.0f} |")


if __name__ == "__main__":
    main()
