"""Count in how many clips the relevance map finds what a fine-tuned model heard better than chance does.

    ssast finetune ... -o MODEL
    python benchmarks/relevance.py MODEL CORPUS [--clips 100]      # CORPUS holds audio/ and splits/test.csv

For each clip's highest label, the 20 % of the clip's own cells where relevance is highest are taken away, and as many
drawn at random, five times. Relevance wins where the label's logit falls by more than in the mean of the five draws.
The clips are the test split's, one of each person in turn. The interval of the share is by people (2,000 resamples), or
where there is but one, Wilson's by clips.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from probes import stretch
from torch import Tensor

from ssast import AudioDataset, Frontend, SSASTForAudioClassification
from ssast.data.tables.splits import read_split
from ssast.model.explain import relevance
from ssast.model.explain.occlusion import RANDOM_SETS, faithfulness

SHARE, RESAMPLES, Z = 0.2, 2000, 1.959964


def chosen(table: pd.DataFrame, clips: int) -> pd.DataFrame:
    """So many clips: one of each person, drawn from seed 0, then a second of each, and so on."""
    drawn = table.iloc[np.random.default_rng(0).permutation(len(table))]
    number = drawn.groupby("speaker").cumcount()
    return drawn.iloc[np.argsort(number.to_numpy(), kind="stable")[:clips]]


def fbanks(corpus: Path, table: pd.DataFrame, length: int) -> Iterator[tuple[Tensor, int]]:
    """Each clip's normalised fbank (T, F) of the model's length, and its own frames."""
    frontend = Frontend(target_length=length)
    data = AudioDataset(table, None, {"target_length": length}, str(corpus / "audio"), with_fbank=False)
    for index in range(len(data)):
        own_TF = frontend.normalise(frontend.fbank(data[index]["waveform"][:1]))[0]
        yield stretch(own_TF, 0, length), min(len(own_TF), length)


def drops(model: SSASTForAudioClassification, fbank_TF: Tensor, frames: int, seed: int) -> tuple[int, float, float]:
    """The highest label, how far its logit falls without the most relevant cells, and without random ones."""
    frames_B = torch.tensor([frames])
    with torch.no_grad():
        label = int(model(fbank_TF[None], frames_B)[0].argmax())
    found = relevance.explain(model, fbank_TF[None], [label], frames_B, steps=1)
    plane_1TF = relevance.fold(found.relevance[0, 0], model.v)[None]
    generator = torch.Generator().manual_seed(seed)
    fallen = faithfulness(model, fbank_TF, plane_1TF, frames, generator=generator, shares=[SHARE])
    return label, float(fallen.top[0, 0, label]), float(fallen.random[:, 0, label].mean())


def interval(wins_N: NDArray[np.bool_], people: NDArray[np.str_]) -> tuple[float, float, str]:
    """The 95 % interval of the share of wins, and of what: by people where there are several, else by clips."""
    names, rng = np.unique(people), np.random.default_rng(0)
    if len(names) > 1:
        parts = [wins_N[people == name] for name in names]
        drawn = (rng.integers(len(parts), size=len(parts)) for _ in range(RESAMPLES))
        low, high = np.percentile([np.concatenate([parts[at] for at in draw]).mean() for draw in drawn], [2.5, 97.5])
        return float(low), float(high), f"by {len(names)} people"
    count, share = len(wins_N), wins_N.mean()
    middle, half = share + Z**2 / (2 * count), Z * np.sqrt(share * (1 - share) / count + Z**2 / (4 * count**2))
    return float((middle - half) / (1 + Z**2 / count)), float((middle + half) / (1 + Z**2 / count)), "by clips"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--clips", type=int, default=100)
    given = parser.parse_args()
    model = SSASTForAudioClassification.from_pretrained(given.model).eval()
    table = chosen(read_split(given.corpus / "splits" / "test.csv"), given.clips)
    heard = fbanks(given.corpus, table, model.v.target_length)
    rows = [drops(model, fbank_TF, frames, number) for number, (fbank_TF, frames) in enumerate(heard)]
    wins_N = np.array([top > random for _, top, random in rows])
    low, high, by = interval(wins_N, table["speaker"].astype(str).to_numpy(dtype=str))
    top, random = (float(np.mean([row[at] for row in rows])) for at in (1, 2))
    print(f"{len(rows)} clips of {given.corpus.name}, {RANDOM_SETS} draws: relevance beats random deletion in")
    print(f"{wins_N.mean():.2f} of them ({low:.2f} to {high:.2f}, {by}); the logit falls by {top:.3f} and {random:.3f}")
    labels = model.labels or range(model.num_labels)
    of_label = {
        str(name): [w for w, row in zip(wins_N, rows, strict=True) if row[0] == at] for at, name in enumerate(labels)
    }
    print(json.dumps({name: [int(sum(own)), len(own)] for name, own in of_label.items() if own}))


if __name__ == "__main__":
    main()
