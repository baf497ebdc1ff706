"""Measure what reading from shards costs: beside decoding alone, and from a bucket that answers late beside a disk.

    python benchmarks/shards.py --clips 400

Run it on a quiet machine. Ratios are medians of pairs that follow one another.
"""

import argparse
import contextlib
import io
import os
import statistics
import tempfile
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import soundfile
import torch
from fsspec.implementations.local import LocalFileSystem
from scale import H100_LATE_CLIPS
from torch.utils.data import Dataset

import ssast
from ssast.audio.decode import blocks
from ssast.data.audio_conf import AudioConf
from ssast.data.dataset import AudioDataset
from ssast.data.loader import loader

RATE, SECONDS = 16000, 10
LATE_SECONDS = 0.05
COUNT = "SSAST_BENCHMARK_REQUESTS"


class LateStore(LocalFileSystem):
    """A folder as a bucket: each request comes LATE_SECONDS late, and is counted in a file."""

    protocol = "late"

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return LocalFileSystem._strip_protocol(str(path).removeprefix("late://"))

    def _wait(self, what: str) -> None:
        time.sleep(LATE_SECONDS)
        with open(os.environ[COUNT], "a", encoding="utf-8") as count:
            count.write(f"{what}\n")

    def info(self, path: str, **how: Any) -> dict:
        """What is at a path."""
        self._wait("info")
        return super().info(path, **how)

    def ls(self, path: str, detail: bool = False, **how: Any) -> list:
        """What lies in a folder: one request, while the class above would ask for each file in it too."""
        self._wait("ls")
        return LocalFileSystem().ls(self._strip_protocol(path), detail=detail)

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **how: Any) -> bytes:
        """A stretch of a file."""
        self._wait("cat_file")
        with open(self._strip_protocol(path), "rb") as file:
            file.seek(start or 0)
            return file.read(-1 if end is None else end - (start or 0))


class InMemory(Dataset):
    """The same files, held in memory: what is left is decoding."""

    def __init__(self, contents: list[bytes], conf: AudioConf):
        self.contents, self.conf = contents, conf

    def __len__(self) -> int:
        return len(self.contents)

    def __getitem__(self, key: tuple[int, int]) -> dict:
        opens = partial(self._blocks, key[0])
        item = self.conf.item(opens, "heard")
        return {**item, "uid": str(key[0]), "sample_rate": RATE, "targets": torch.empty(0)}

    def _blocks(self, index: int) -> Any:
        return blocks(io.BytesIO(self.contents[index]), extension="flac")


def make(folder: Path, clips: int, group_mb: int) -> Path:
    """Clips of coloured noise as FLAC, packed."""
    rng = np.random.default_rng(0)
    for number in range(clips):
        place = folder / "audio" / f"{number:06d}"
        place.mkdir(parents=True)
        noise = np.cumsum(rng.standard_normal(RATE * SECONDS)) % 40 - 20
        soundfile.write(place / "waveform.flac", (noise / 200).astype(np.float32), RATE)
        (place / "metadata.json").write_text(f'{{"encoding": "FLAC", "sample_rate_hz": {RATE}}}', encoding="utf-8")
    pd.DataFrame({"uid": [f"{number:06d}" for number in range(clips)]}).to_csv(folder / "clips.csv", index=False)
    with contextlib.redirect_stdout(io.StringIO()):
        ssast.pack(
            prefix=str(folder / "audio"),
            data_split_root=str(folder / "clips.csv"),
            exp_dir=str(folder / "shards"),
            row_group_mb=group_mb,
        )
    return folder / "shards"


def seconds_of(data: Any, workers: int) -> float:
    """How long one epoch takes, the start of the workers left out."""
    batches = iter(loader(data, batch_size=8, num_workers=workers))
    next(batches)
    began = time.perf_counter()
    for _ in batches:
        pass
    return time.perf_counter() - began


def decoding(folder: Path, shards: Path, workers: int, rounds: int) -> None:
    """Print the rate of decoding alone, and that of reading and decoding from shards."""
    uids = pd.read_csv(folder / "clips.csv", dtype=str)
    conf = {"resample_rate": RATE}
    contents = [(folder / "audio" / uid / "waveform.flac").read_bytes() for uid in uids["uid"]]
    alone, packed = InMemory(contents, AudioConf.of(conf)), AudioDataset(uids, [], conf, shards, with_fbank=False)
    packed.hold = "heard"
    pairs = [(seconds_of(alone, workers), seconds_of(packed, workers)) for _ in range(rounds)]
    clips = len(uids) - 8
    first, second = (clips / statistics.median(times) for times in zip(*pairs, strict=True))
    ratio = statistics.median(one / other for one, other in pairs)
    print(f"decoding alone {first:.0f} clips/s, from shards {second:.0f} clips/s, {workers} workers: {ratio:.3f}")
    rate = 16 * second / workers
    print(f"16 such workers on cores of their own would give {rate:.0f} clips/s; an H100 takes {H100_LATE_CLIPS:,.0f}")


def late(folder: Path, shards: Path, rounds: int) -> None:
    """Print the time of an extraction from a bucket that answers late, over that from a disk, and its requests."""
    fsspec.register_implementation("late", LateStore, clobber=True)
    (name,) = [place.name for place in shards.glob("*.parquet")][:1]
    groups = pq.read_metadata(shards / name).num_row_groups
    ratios, kinds = [], Counter[str]()
    for number in range(rounds):
        times = []
        for where in (str(shards), f"late://{shards}"):
            os.environ["SSAST_CACHE"] = str(folder / f"cache-{number}-{len(times)}")
            os.environ[COUNT] = str(folder / f"count-{number}-{len(times)}")
            Path(os.environ[COUNT]).touch()
            began = time.perf_counter()
            with contextlib.redirect_stdout(io.StringIO()):
                ssast.extract(
                    prefix=where,
                    pretrained_mdl_path="none",
                    model_size="tiny",
                    embedding_type="pt",
                    num_workers=2,
                    dataset="clips",
                    exp_dir=str(folder / f"out-{number}-{len(times)}"),
                )
            times.append(time.perf_counter() - began)
        kinds = Counter(Path(os.environ[COUNT]).read_text(encoding="utf-8").split())
        ratios.append(times[1] / times[0])
    print(
        f"extraction from a bucket {1000 * LATE_SECONDS:.0f} ms late: {statistics.median(ratios):.3f} of that from disk"
    )
    others = kinds["ls"] + kinds["info"]
    print(
        f"{kinds.total()} requests for {groups} row groups of {name}: {kinds['cat_file']} reads, one of them of the "
        f"footer, and {others} listings"
    )


def main() -> None:
    """Make the clips, and print both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--row_group_mb", type=int, default=8)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        shards = make(folder, asked.clips, asked.row_group_mb)
        decoding(folder, shards, asked.workers, asked.rounds)
        late(folder, shards, asked.rounds)


if __name__ == "__main__":
    main()
