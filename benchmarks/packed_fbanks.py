"""Pack the fbanks of a corpus small, for a machine to which recordings cannot go, and unpack them there.

    python benchmarks/packed_fbanks.py pack CORPUS OUT [--splits train] [--ratings CSV ...]
    python benchmarks/packed_fbanks.py unpack OUT CORPUS

Values are rounded to steps of 1.7 dB, a fifth of the size of half precision. Of what is only probed (the test people,
the digits) the clips that benchmarks/pretraining.py asks about are kept, and the others are empty. speechocean762's
training split takes 57 MB, its test people 24 MB and the digits 1 MB: two journeys where 64 MB may travel at once.
"""

import argparse
import bz2
import shutil
from pathlib import Path

import numpy as np
import torch
from pretraining import SPLITS, digit_people, fbanks, test_people
from torch import Tensor

from ssast.data.tables.splits import read_split

STEP = 0.4 / 9.14
"""0.4 of the natural logarithm of power, 1.7 dB, in a normalised fbank."""


def packed(clips: list[Tensor]) -> tuple[list[int], bytes]:
    """The frames of each clip, and all values: each bin less the one below it, bin after bin, compressed."""
    values_TF = np.concatenate([clip.float().numpy() for clip in clips])
    whole_TF = np.clip(np.round(values_TF / STEP), -127, 127).astype(np.int16)
    rest_TF = (np.diff(whole_TF, axis=1, prepend=0) & 255).astype(np.uint8)
    return [len(clip) for clip in clips], bz2.compress(rest_TF.T.tobytes())


def unpacked(frames: list[int], content: bytes) -> list[Tensor]:
    """What was packed, in half precision."""
    rest_TF = np.frombuffer(bz2.decompress(content), np.uint8).reshape(-1, sum(frames)).T
    whole_TF = np.cumsum(rest_TF, axis=1, dtype=np.uint8).view(np.int8)
    values_TF = torch.from_numpy(whole_TF.astype(np.float32) * STEP).half()
    return [part.clone() for part in values_TF.split(frames)]


def wanted(root: Path, split: str, ratings: list[Path]) -> set[int]:
    """The rows of a split that training hears, or probes ask about."""
    table = read_split(root / "splits" / f"{split}.csv")
    if "female" not in table:
        first = len(read_split(root / "splits" / "train.csv")) if split == "test" else 0
        return {number - first for number in digit_people(root)["number"]} & set(range(len(table)))
    return set(test_people(root, ratings)["number"]) if split == "test" else set(range(len(table)))


def pack(root: Path, out: Path, splits: list[str], ratings: list[Path]) -> None:
    shutil.copytree(root / "splits", out / "splits", dirs_exist_ok=True)
    for split in splits:
        rows = wanted(root, split, ratings)
        clips = [clip if number in rows else clip[:0] for number, clip in enumerate(fbanks(root, split))]
        frames, content = packed(clips)
        np.savez(out / f"{split}.packed.npz", frames=frames, content=np.frombuffer(content, np.uint8))
        print(f"{split}: {len(rows)} clips, {len(content) / 1e6:.1f} MB")


def unpack(out: Path, root: Path) -> None:
    shutil.copytree(out / "splits", root / "splits", dirs_exist_ok=True)
    for path in sorted(out.glob("*.packed.npz")):
        with np.load(path) as found:
            clips = unpacked(found["frames"].tolist(), found["content"].tobytes())
        torch.save(clips, root / f"{path.name.removesuffix('.packed.npz')}.fbanks.pt")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("pack", "unpack"))
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--splits", nargs="*", default=SPLITS, choices=SPLITS)
    parser.add_argument("--ratings", type=Path, nargs="*", default=[], help="tables with uid and fluency")
    given = parser.parse_args()
    given.target.mkdir(parents=True, exist_ok=True)
    if given.what == "pack":
        pack(given.source, given.target, given.splits, given.ratings)
    else:
        unpack(given.source, given.target)


if __name__ == "__main__":
    main()
