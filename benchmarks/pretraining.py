"""Pretrain tiny models by several ways for equal processor time, and probe them on people whom none has heard.

    python benchmarks/corpora.py speechocean762 CLONE CORPUS
    python benchmarks/pretraining.py CORPUS --calibrate 600      # once: the steps of so many seconds, for each way
    python benchmarks/pretraining.py CORPUS --ratings CSV ...    # each way and seed that has no result yet
    python benchmarks/pretraining.py CORPUS --table

A way's number is the depth at which hidden patches enter (--mask_layer). The steps are written down in
pretraining_results/steps.json and repeated, so a result depends on no machine's load; each way and seed is a small file
beside it, and what was stopped begins with the first that is missing. Random weights (0 steps) and the mean and
deviation of the fbank stand beside.

Probes, all on the test people: female, child and (with --ratings) fluent by logistic regression on the mean state of a
clip, area under the ROC curve over five folds of people; speaker, the share of clips whose nearest other clip is by the
same person. The layer is chosen on two fifths of the people and scored on the others.
"""

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from published import our_step
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from ssast import AudioDataset, Frontend, SSASTForPreTraining
from ssast.data.tables.splits import read_split
from ssast.engine.hardware import native_bf16
from ssast.engine.optimiser import TrainingSettings, optimiser
from ssast.model.encoder import NUM_STATES

CPU = torch.device("cpu")
LENGTH, MASK, BATCH, RATE = 204, 76, 32, 5e-4
WAYS = ("0", "10")
SEEDS = (0, 1, 2)
RESULTS = Path(__file__).with_name("pretraining_results")
CHOOSING = 0.4
"""The share of the test people on whom layers are chosen."""
CLIPS_A_PERSON = 8
LOOKED_AT = 512
"""So many stretches of unheard people is the pretext task judged on."""
TIMED = 6
"""Steps that calibration takes of each way, in turn."""


def fbanks(root: Path, split: str) -> list[Tensor]:
    """The normalised fbank (T, F) of every clip of a split, read once and kept beside the corpus."""
    kept = root / f"{split}.fbanks.pt"
    if not kept.exists():
        frontend = Frontend(target_length=LENGTH)
        frame = read_split(root / "splits" / f"{split}.csv")
        data = AudioDataset(frame, None, {"target_length": LENGTH}, str(root / "audio"), with_fbank=False)
        clips = (data[index]["waveform"][:1] for index in range(len(data)))
        torch.save([frontend.normalise(frontend.fbank(clip))[0].half() for clip in clips], kept)
    return torch.load(kept)


def stretch(fbank_TF: Tensor, start: int) -> Tensor:
    """LENGTH frames from `start` on, zeros after the end."""
    part_TF = fbank_TF[start : start + LENGTH].float()
    return torch.nn.functional.pad(part_TF, (0, 0, 0, LENGTH - len(part_TF)))


def stretches(clips: list[Tensor], seed: int) -> Iterator[Tensor]:
    """Batches of random stretches of random clips, without end."""
    rng = np.random.default_rng(seed)
    while True:
        chosen = rng.integers(len(clips), size=BATCH)
        starts = [int(rng.integers(max(1, len(clips[index]) - LENGTH + 1))) for index in chosen]
        yield torch.stack([stretch(clips[index], start) for index, start in zip(chosen, starts, strict=True)])


class Training:
    """A model on its way through steps."""

    def __init__(self, way: str, seed: int, clips: list[Tensor]):
        self.model = SSASTForPreTraining(
            "tiny", target_length=LENGTH, mask_patch=MASK, mask_layer=int(way), seed=seed
        ).train()
        self.optimizer = optimiser(self.model, TrainingSettings(optim="adamw", learning_rate=RATE))
        self.batches, self.half = stretches(clips, seed), native_bf16(CPU)

    def step(self) -> float:
        """Take one step; the processor time [s] that it used, of all threads."""
        began = time.process_time()
        our_step(self.model, self.optimizer, next(self.batches), MASK, self.half)
        return time.process_time() - began


def calibrate(clips: list[Tensor], seconds: float) -> dict[str, int]:
    """How many steps of each way so much processor time allows, timed in turn."""
    trainings = {way: Training(way, 0, clips) for way in WAYS}
    used: dict[str, list[float]] = {way: [] for way in WAYS}
    for _ in range(TIMED + 1):
        for way, training in trainings.items():
            used[way].append(training.step())
    return {way: round(seconds / float(np.median(times[1:]))) for way, times in used.items()}


@torch.no_grad()
def states(model: SSASTForPreTraining, clips: list[Tensor]) -> Tensor:
    """The mean of each state over the patches of a clip: (clips, 14, D), of a clip's windows side by side."""
    pieces = [(at, start) for at, clip in enumerate(clips) for start in range(0, len(clip), LENGTH)]
    sums_NSD = torch.zeros(len(clips), NUM_STATES, model.v.width)
    counts_N = torch.zeros(len(clips))
    for first in range(0, len(pieces), BATCH):
        part = pieces[first : first + BATCH]
        rows_B = torch.tensor([at for at, _ in part])
        frames_B = torch.tensor([min(LENGTH, len(clips[at]) - start) for at, start in part])
        own_BP = (torch.arange(model.v.grid[1]) * model.v.stride[1] < frames_B[:, None]).float()
        windows_BTF = torch.stack([stretch(clips[at], start) for at, start in part])
        each = [state[:, model.v.num_prefix :] for state in model.v(windows_BTF, frames=frames_B)]
        summed_BSD = torch.stack([torch.einsum("bpd,bp->bd", state, own_BP) for state in each], dim=1)
        sums_NSD.index_add_(0, rows_B, summed_BSD)
        counts_N.index_add_(0, rows_B, own_BP.sum(dim=1))
    return sums_NSD / counts_N[:, None, None]


@torch.no_grad()
def judge(model: SSASTForPreTraining, clips: list[Tensor]) -> dict[str, float]:
    """Loss and accuracy of the pretext task on always the same stretches and masks."""
    several = stretches(clips, seed=0)
    generator = torch.Generator().manual_seed(0)
    rows = [model.loss({"fbank": next(several)}, generator) for _ in range(LOOKED_AT // BATCH)]
    return {name: float(torch.stack([row[name] for row in rows]).mean()) for name in ("loss", "nce", "mse", "accuracy")}


def trait_score(values_ND: np.ndarray, has_N: np.ndarray, people_N: np.ndarray) -> float:
    """Area under the ROC curve of a logistic regression over five folds of people."""
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))
    folds = GroupKFold(5)
    said = cross_val_predict(model, values_ND, has_N, groups=people_N, cv=folds, method="decision_function")
    return float(roc_auc_score(has_N, said))


def speaker_score(values_ND: np.ndarray, people_N: np.ndarray) -> float:
    """The share of clips whose nearest other clip, by cosine of standardised values, is by the same person."""
    scaled_ND = StandardScaler().fit_transform(values_ND)
    scaled_ND /= np.linalg.norm(scaled_ND, axis=1, keepdims=True)
    near_NN = scaled_ND @ scaled_ND.T
    np.fill_diagonal(near_NN, -np.inf)
    return float((people_N[near_NN.argmax(axis=1)] == people_N).mean())


def probe(values_NSD: np.ndarray, table: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Each probe's score on the people who did not choose its layer, and the layer."""
    people = np.array(sorted(table["speaker"].unique()))
    choosing = set(np.random.default_rng(0).permutation(people)[: round(CHOOSING * len(people))])
    chooses_N = table["speaker"].isin(choosing).to_numpy()
    found = {}
    for trait in [name for name in ("female", "child", "fluent", "speaker") if name in table or name == "speaker"]:
        known_N = table[trait].notna().to_numpy()

        def of(layer: int, rows_N: np.ndarray, trait: str = trait, known_N: np.ndarray = known_N) -> float:
            rows_N = rows_N & known_N
            people_N = table["speaker"].to_numpy()[rows_N]
            if trait == "speaker":
                return speaker_score(values_NSD[rows_N, layer], people_N)
            return trait_score(values_NSD[rows_N, layer], table[trait].to_numpy()[rows_N].astype(int), people_N)

        best = int(np.argmax([of(layer, chooses_N) for layer in range(values_NSD.shape[1])]))
        found[trait] = {"layer": best, "score": of(best, ~chooses_N)}
    return found


def test_people(root: Path, ratings: list[Path]) -> pd.DataFrame:
    """Some clips of each test person, by `number`, and all with a rating, with `fluent` (above the median rating)."""
    table = pd.read_csv(root / "splits" / "test.csv", dtype={"uid": str, "speaker": str})
    table["number"] = range(len(table))
    rated = [pd.read_csv(path, dtype={"uid": str})[["uid", "fluency"]] for path in ratings]
    if rated:
        table = table.drop(columns="fluency", errors="ignore").merge(pd.concat(rated), on="uid", how="left")
    if "fluency" in table:
        table["fluent"] = (table["fluency"] > table["fluency"].median()).where(table["fluency"].notna()).astype(float)
    is_rated = table["fluent"].notna() if "fluent" in table else False
    return table[(table.groupby("speaker").cumcount() < CLIPS_A_PERSON) | is_rated]


def cell(way: str, seed: int, steps: int, heard: list[Tensor], unheard: list[Tensor], table: pd.DataFrame) -> dict:
    """Train for so many steps and look at the result."""
    training = Training(way, seed, heard)
    for number in range(steps):
        training.step()
        if number % 100 == 0:
            print(f"{way}, seed {seed}: step {number} of {steps}", flush=True)
    model = training.model.eval()
    values_NSD = states(model, [unheard[number] for number in table["number"]]).numpy()
    return {
        "steps": steps,
        **judge(model, unheard),
        "probes": probe(values_NSD, table),
    }


def plain(unheard: list[Tensor], table: pd.DataFrame) -> dict[str, Any]:
    """The probes on mean and deviation of the fbank."""
    clips = [unheard[number].float() for number in table["number"]]
    values = [torch.cat([clip.mean(dim=0), clip.std(dim=0)]) for clip in clips]
    return {"steps": 0, "probes": probe(torch.stack(values)[:, None].numpy(), table)}


def show() -> None:
    """All results as a Markdown table, a line each."""
    names = ("female", "child", "fluent", "speaker")
    print("| way | seed | steps | loss | accuracy | " + " | ".join(names) + " |")
    print("|---" * (5 + len(names)) + "|")
    for path in sorted(RESULTS.glob("*-*.json")):
        row = json.loads(path.read_text())
        way, _, seed = path.stem.rpartition("-")
        pretext = [f"{row[name]:.3f}" if name in row else "" for name in ("loss", "accuracy")]
        probes = [f"{row['probes'][name]['score']:.3f}" if name in row["probes"] else "" for name in names]
        print(f"| {' | '.join([way, seed, str(row['steps']), *pretext, *probes])} |")


def run(corpus: Path, ratings: list[Path], seeds: list[int]) -> None:
    """Every way, with each of these seeds, that has no result yet."""
    steps = json.loads((RESULTS / "steps.json").read_text())
    heard, unheard, table = fbanks(corpus, "train"), fbanks(corpus, "test"), test_people(corpus, ratings)
    todo = [("random", seed, 0) for seed in seeds] + [(way, seed, steps[way]) for seed in seeds for way in WAYS]
    for way, seed, count in [("fbank", 0, 0), *todo]:
        path = RESULTS / f"{way}-{seed}.json"
        if path.exists():
            continue
        number = WAYS[0] if way == "random" else way
        found = plain(unheard, table) if way == "fbank" else cell(number, seed, count, heard, unheard, table)
        path.write_text(json.dumps(found, indent=1) + "\n")
        print(path.name, found, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--calibrate", type=float, metavar="SECONDS")
    parser.add_argument("--ratings", type=Path, nargs="*", default=[], help="tables with uid and fluency")
    parser.add_argument("--seeds", type=int, nargs="*", default=SEEDS, help="only these")
    parser.add_argument("--table", action="store_true")
    asked = parser.parse_args()
    RESULTS.mkdir(exist_ok=True)
    if asked.table:
        show()
    elif asked.calibrate:
        steps = calibrate(fbanks(asked.corpus, "train"), asked.calibrate)
        (RESULTS / "steps.json").write_text(json.dumps({"seconds": asked.calibrate, **steps}, indent=1) + "\n")
        print(steps)
    else:
        run(asked.corpus, asked.ratings, asked.seeds)


if __name__ == "__main__":
    main()
