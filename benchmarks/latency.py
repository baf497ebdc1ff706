"""Clips of 10 s in a bucket that answers 50 ms late in; how much longer extraction takes than from the disk out.

    python benchmarks/latency.py [--clips 64] [--rounds 3] [--workers 4] [--delay 0.05] [--model_size base]

The bucket is the tests' emulator behind the tests' proxy, each a process of its own on loopback. A round extracts once
from the disk and once from the bucket with an empty cache, the order changing from round to round; both must give the
same bytes. Medians over the rounds, and the ratio of each.
"""

import argparse
import importlib.util
import multiprocessing
import os
import platform
import statistics
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

import ssast
from ssast.data.storage import location, stores

STORES = Path(__file__).resolve().parents[1] / "tests" / "cloud" / "conftest.py"
BUCKET = "latency"
RATE, SECONDS = 16000, 10
TARGET = 1.2
"""What the ratio has to stay below."""


def stores() -> Any:
    """The tests' emulator and proxy."""
    spec = importlib.util.spec_from_file_location("stores", STORES)
    module = sys.modules["stores"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def serve_proxy(upstream: str, delay: float, told: Connection) -> None:
    """A proxy in this process until it is ended; it tells its url, and when asked how many requests it saw."""
    with stores().proxying(upstream) as proxy:
        proxy.delay = delay
        told.send(proxy.url)
        while told.recv():
            told.send(len(proxy.seen))


def write_clips(folder: Path, clips: int) -> None:
    """Noise, each clip its own, in the layout of a data set."""
    chance = np.random.default_rng(0)
    for number in range(clips):
        home = folder / "audio" / f"{number:05d}"
        home.mkdir(parents=True)
        samples = (0.1 * chance.standard_normal(RATE * SECONDS)).astype(np.float32)
        soundfile.write(home / "waveform.wav", samples, RATE, subtype="PCM_16")
        (home / "metadata.json").write_text(f'{{"encoding": "WAV", "sample_rate_hz": {RATE}}}')
    rows = "".join(f"{number:05d}\n" for number in range(clips))
    (folder / "test.csv").write_text(f"uid\n{rows}")


def extract(folder: Path, prefix: str, out: Path, workers: int) -> tuple[float, bytes]:
    """Seconds that an extraction takes, and the bytes of its result; nothing is in the cache before."""
    os.environ["SSAST_CACHE"] = str(out / "cache")
    location.forget()
    for client in stores._clients.values():
        type(client).clear_instance_cache()
    stores._clients.clear()
    began = time.perf_counter()
    table = ssast.extract(
        prefix=prefix,
        data_split_root=folder / "test.csv",
        pretrained_mdl_path=folder / "model",
        embedding_type="pt",
        num_workers=workers,
        dataset="latency",
        exp_dir=out,
    )
    return time.perf_counter() - began, table.read_bytes()


def measured_rounds(folder: Path, place: Path, rounds: int, workers: int) -> list[tuple[float, float]]:
    """(seconds from the disk, seconds from the bucket) of each round, after a short one that does not count."""
    found = []
    addresses = {"disk": str(folder / "audio"), "bucket": f"gs://{BUCKET}/audio"}
    for number in range(rounds + 1):
        results = {}
        for name in sorted(addresses, reverse=number % 2 == 0):
            results[name] = extract(folder, addresses[name], place / f"{number}-{name}", workers)
        if results["disk"][1] != results["bucket"][1]:
            raise SystemExit("the bucket gave other bytes than the disk")
        found.append((results["disk"][0], results["bucket"][0]))
        counted = f"round {number}" if number else "first round, not counted"
        print(f"{counted}: disk {found[-1][0]:.2f} s, bucket {found[-1][1]:.2f} s, ratio {_ratio(found[-1]):.3f}")
    return found[1:]


def _ratio(pair: tuple[float, float]) -> float:
    return pair[1] / pair[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("clips", 64), ("rounds", 3), ("workers", 4), ("delay", 0.05), ("model_size", "base")):
        parser.add_argument(f"--{name}", default=default, type=type(default))
    given = parser.parse_args()
    emulator = ("gcp-storage-emulator", "start", "--host=127.0.0.1", "--port={port}", "--in-memory", "--quiet")
    with tempfile.TemporaryDirectory() as place, stores().running(*emulator) as url:
        folder = Path(place) / "data"
        write_clips(folder, given.clips)
        ssast.SSASTForPreTraining(given.model_size, target_length=1024, seed=0).save_pretrained(folder / "model")
        store = stores().Store("gs", url)
        store.bucket(BUCKET)
        store.put_folder(BUCKET, folder / "audio", "audio/")
        told, other = multiprocessing.get_context("spawn").Pipe()
        process = multiprocessing.get_context("spawn").Process(target=serve_proxy, args=(url, given.delay, other))
        process.start()
        os.environ["STORAGE_EMULATOR_HOST"] = told.recv()
        try:
            pairs = measured_rounds(folder, Path(place), given.rounds, given.workers)
            told.send(True)
            requests = told.recv()
        finally:
            process.terminate()
            process.join()
    disk, bucket = (statistics.median(times) for times in zip(*pairs, strict=True))
    ratios = sorted(map(_ratio, pairs))
    print(
        f"\n{given.clips} clips of {SECONDS} s, model {given.model_size}, {given.workers} workers, {platform.machine()}"
    )
    print(f"{requests / (given.rounds + 1) / given.clips:.1f} requests a clip, each {1000 * given.delay:.0f} ms late")
    print(f"median of {given.rounds} rounds: disk {disk:.2f} s, bucket {bucket:.2f} s")
    middle = statistics.median(ratios)
    print(f"ratio {middle:.3f} ({ratios[0]:.3f} to {ratios[-1]:.3f}), expected under {TARGET}: {middle < TARGET}")


if __name__ == "__main__":
    main()
