"""Probe what the states of an encoder hold about people whom it has not heard, and compare two encoders clip by clip.

Shapes: N clips, S states, D width, P patches, T frames, F mel bins.

Each probe sees the mean and the deviation of a clip's own patches. A trait is told by logistic regression over five
folds of people and scored by the area under the ROC curve; a kind (which digit) likewise, and a speaker by the nearest
other clip, both by the share of clips that are right. The layer is chosen on two fifths of the people and scored on the
others, whose answers are kept: resampling these people gives the interval of a score, and of a difference of two.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.stats import rankdata
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from ssast import SSASTForPreTraining
from ssast.model.encoder import NUM_STATES

CHOOSING = 0.4
"""The share of the people on whom layers are chosen."""
FOLDS, RESAMPLES, AT_ONCE = 5, 2000, 32
Values = NDArray[np.floating]


@dataclass(frozen=True)
class Probe:
    """What is asked of each clip: a trait (0 or 1), a kind (any word), or by whom it is."""

    name: str
    truth: NDArray[Any]
    people: NDArray[Any]

    @property
    def is_trait(self) -> bool:
        """Whether the answers are graded, and scored by the area under the ROC curve."""
        return self.truth.dtype.kind != "U"

    @property
    def is_speaker(self) -> bool:
        """Whether it asks by whom a clip is."""
        return self.name == "speaker"

    def answers(self, values_ND: Values) -> Values:
        """For a trait how far each clip is on the side of 1, else 1 where the answer is right and 0 where not."""
        if self.is_speaker:
            return (self.people[_nearest(values_ND)] == self.people).astype(float)
        regression = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))
        folds = GroupKFold(min(FOLDS, len(np.unique(self.people))))
        how = "decision_function" if self.is_trait else "predict"
        said_N = cross_val_predict(regression, values_ND, self.truth, groups=self.people, cv=folds, method=how)
        return said_N if self.is_trait else (said_N == self.truth).astype(float)

    def score(self, answers_N: Values, rows_N: NDArray[Any] | slice = slice(None)) -> float:
        """The area under the ROC curve or the share that is right, of these rows; NaN where one class is missing."""
        if not self.is_trait:
            return float(answers_N[rows_N].mean())
        is_one_N = self.truth[rows_N] == 1
        ones = int(is_one_N.sum())
        if ones in (0, len(is_one_N)):
            return float("nan")
        ranks = float(rankdata(answers_N[rows_N])[is_one_N].sum())  # ten times as fast as roc_auc_score
        return (ranks - ones * (ones + 1) / 2) / (ones * (len(is_one_N) - ones))

    def of(self, rows_N: NDArray[np.bool_]) -> "Probe":
        """The same of some of the clips."""
        return Probe(self.name, self.truth[rows_N], self.people[rows_N])

    def chooses(self) -> NDArray[np.bool_]:
        """The clips of the people on whom layers are chosen."""
        everybody = np.unique(self.people)
        some = np.random.default_rng(0).permutation(everybody)[: round(CHOOSING * len(everybody))]
        return np.isin(self.people, some)


def _nearest(values_ND: Values) -> NDArray[np.intp]:
    """The nearest other clip of each, by cosine of standardised values."""
    scaled_ND = StandardScaler().fit_transform(values_ND)
    scaled_ND /= np.linalg.norm(scaled_ND, axis=1, keepdims=True)
    near_NN = scaled_ND @ scaled_ND.T
    np.fill_diagonal(near_NN, -np.inf)
    return near_NN.argmax(axis=1)


def probes_of(table: pd.DataFrame, traits: Iterable[str], kinds: Iterable[str] = ()) -> dict[str, Probe]:
    """The probes of a table with `speaker`: these traits and kinds, where it has them, and by whom a clip is."""
    people = table["speaker"].astype(str).to_numpy(dtype=str)
    found = {name: Probe(name, table[name].to_numpy(dtype=float), people) for name in traits if name in table}
    found |= {name: Probe(name, table[name].to_numpy(dtype=str), people) for name in kinds if name in table}
    return {**found, "speaker": Probe("speaker", people, people)}


def probe(values_NSD: Values, probes: Mapping[str, Probe]) -> dict[str, dict[str, Any]]:
    """For each probe the layer, the score and the answers on the people who did not choose the layer."""
    found = {}
    for name, asked in probes.items():
        known_N = np.ones(len(asked.people), bool) if not asked.is_trait else ~np.isnan(asked.truth)
        chooses_N = known_N & asked.chooses()
        scored_N = known_N & ~asked.chooses()
        choosing = asked.of(chooses_N)
        scores = [
            choosing.score(choosing.answers(values_NSD[chooses_N, layer])) for layer in range(values_NSD.shape[1])
        ]
        layer, scored = int(np.argmax(scores)), asked.of(scored_N)
        answers_N = scored.answers(values_NSD[scored_N, layer])
        found[name] = {"layer": layer, "score": scored.score(answers_N), "answers": np.round(answers_N, 4).tolist()}
    return found


def scored_probe(asked: Probe) -> Probe:
    """The clips whose answers `probe` keeps."""
    known_N = np.ones(len(asked.people), bool) if not asked.is_trait else ~np.isnan(asked.truth)
    return asked.of(known_N & ~asked.chooses())


def interval(scored: Probe, ours: Iterable[list[float]], others: Iterable[list[float]]) -> tuple[float, float, float]:
    """The difference of the mean scores of several seeds, ours less the others', and its 95 % interval by people."""
    one, other = ([np.asarray(answers) for answers in several] for several in (ours, others))

    def difference(rows_N: NDArray[Any] | slice = slice(None)) -> float:
        return float(
            np.mean([scored.score(answers, rows_N) for answers in one])
            - np.mean([scored.score(answers, rows_N) for answers in other])
        )

    rows_of = {person: np.flatnonzero(scored.people == person) for person in np.unique(scored.people)}
    people, rng = list(rows_of), np.random.default_rng(0)
    drawn = (rng.choice(len(people), len(people)) for _ in range(RESAMPLES))
    several = [difference(np.concatenate([rows_of[people[at]] for at in draw])) for draw in drawn]
    low, high = np.nanpercentile(several, [2.5, 97.5])
    return difference(), float(low), float(high)


def stretch(fbank_TF: Tensor, start: int, length: int) -> Tensor:
    """`length` frames from `start` on, zeros after the end."""
    part_TF = fbank_TF[start : start + length].float()
    return torch.nn.functional.pad(part_TF, (0, 0, 0, length - len(part_TF)))


@torch.no_grad()
def states(model: SSASTForPreTraining, clips: list[Tensor], last: int = NUM_STATES - 1) -> Values:
    """Mean and deviation of each state over a clip's own patches: (N, 14, 2 D), of its windows side by side.

    States after `last` are neither computed nor given.
    """
    length, width, device = model.v.target_length, model.v.width, model.mask_embed.device
    pieces = [(at, start) for at, clip in enumerate(clips) for start in range(0, len(clip), length)]
    sums_NSD, squares_NSD = (
        torch.zeros(len(clips), last + 1, width, dtype=torch.float64, device=device) for _ in range(2)
    )
    counts_N = torch.zeros(len(clips), dtype=torch.float64, device=device)
    for part in _parts(pieces):
        rows_B = torch.tensor([at for at, _ in part], device=device)
        frames_B = torch.tensor([min(length, len(clips[at]) - start) for at, start in part], device=device)
        own_BP = (torch.arange(model.v.grid[1], device=device) * model.v.stride[1] < frames_B[:, None]).double()
        windows_BTF = torch.stack([stretch(clips[at], start, length) for at, start in part]).to(device)
        each = [state[:, model.v.num_prefix :].double() for state in model.v(windows_BTF, last, frames=frames_B)]
        for sums, power in ((sums_NSD, 1), (squares_NSD, 2)):
            summed = torch.stack([torch.einsum("bpd,bp->bd", state**power, own_BP) for state in each], dim=1)
            sums.index_add_(0, rows_B, summed)
        counts_N.index_add_(0, rows_B, own_BP.sum(dim=1))
    mean_NSD = sums_NSD / counts_N[:, None, None]
    spread_NSD = (squares_NSD / counts_N[:, None, None] - mean_NSD**2).clamp(min=0).sqrt()
    return torch.cat([mean_NSD, spread_NSD], dim=2).float().cpu().numpy()


def _parts(pieces: list[tuple[int, int]]) -> Iterator[list[tuple[int, int]]]:
    for first in range(0, len(pieces), AT_ONCE):
        yield pieces[first : first + AT_ONCE]


def fbank_statistics(clips: list[Tensor]) -> Values:
    """Mean and deviation of the fbank over a clip's frames, as if it were the one state: (N, 1, 2 F)."""
    values = [torch.cat([clip.float().mean(dim=0), clip.float().std(dim=0)]) for clip in clips]
    return torch.stack(values)[:, None].numpy()
