"""Ratings of fluency by several listeners: learned as a scale, as a number, and cut into yes and no.

    python benchmarks/ratings.py ../shared/speechocean --out /tmp/ratings --seeds 3

Prints a table and writes ratings.json into --out. All ways hear the same clips and start from the same weights and
seeds; the test speakers are in no training set. Beside them stands how well a rater does against the others' mean.
--model takes a pretrained model; without it weights are random.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import spearmanr
from sklearn.metrics import cohen_kappa_score, roc_auc_score

import ssast
from ssast.data.tables.splits import read_split

Numbers = NDArray[np.float64]
CUT = 8
"""From this mean rating on speech counts as fluent."""
MEASURES = ("Spearman", "QWK", "MAE (steps)", f"AUC at {CUT}")
FINETUNING: dict[str, Any] = {
    "model_size": "tiny",
    "target_length": 400,
    "fstride": 16,
    "tstride": 16,
    "task": "ft_avgtok",
    "freeze": False,
    "batch_size": 16,
    "optim": "adamw",
    "scheduler": "onecycle",
    "max_lr": 5e-4,
    "mask_padding": True,
    "resamples": 1000,
}
WAYS: dict[str, dict[str, str]] = {
    "ordinal, mean of raters": {"label": "fluency_raters", "loss": "ordinal", "raters": "mean"},
    "ordinal, share of raters": {"label": "fluency_raters", "loss": "ordinal", "raters": "soft"},
    "ordinal, one rater drawn": {"label": "fluency_raters", "loss": "ordinal", "raters": "draw"},
    "regression of the mean": {"label": "standardised", "loss": "MSE"},
    "yes or no": {"label": "fluent", "loss": "BCE"},
}


def ratings_of(frame: pd.DataFrame) -> list[Numbers]:
    """The single ratings of each clip."""
    return [np.array(cell.split(), dtype=np.float64) for cell in frame["fluency_raters"]]


def mean_ratings(frame: pd.DataFrame) -> Numbers:
    """The mean rating of each clip (N,)."""
    return np.array([own.mean() for own in ratings_of(frame)])


def prepare(data: Path, folder: Path) -> tuple[float, float]:
    """Splits with a column for each way, and a file of labels for each; mean and deviation of the training ratings."""
    folder.mkdir(parents=True, exist_ok=True)
    known = mean_ratings(read_split(data / "splits" / "train.csv"))
    for name in ("train", "test"):
        frame = read_split(data / "splits" / f"{name}.csv")[["speaker", "fluency_raters"]].copy()
        own = mean_ratings(frame)
        frame["standardised"], frame["fluent"] = (own - known.mean()) / known.std(), (own >= CUT).astype(int)
        frame.to_csv(folder / f"{name}.csv")
    for label in {way["label"] for way in WAYS.values()}:
        (folder / f"{label}.txt").write_text(f"{label}\n", encoding="utf-8")
    return float(known.mean()), float(known.std())


def nearest(values_N: Numbers) -> NDArray[np.intp]:
    """Whole steps; halfway counts up."""
    return np.floor(values_N + 0.5).astype(np.intp)


def against(truth_N: Numbers, order_N: Numbers, fluent_N: Numbers, called_N: Numbers | None) -> dict[str, float]:
    """The measures of scores that order clips, that say whether they are fluent, and that call a level, if any."""
    found = {"Spearman": spearmanr(truth_N, order_N).statistic, "QWK": np.nan, "MAE (steps)": np.nan}
    if called_N is not None:
        found["QWK"] = cohen_kappa_score(nearest(truth_N), nearest(called_N), weights="quadratic")
        found["MAE (steps)"] = np.abs(truth_N - nearest(called_N)).mean()
    return {**found, MEASURES[-1]: roc_auc_score(truth_N >= CUT, fluent_N)}


def scored(run: Path, way: str, truth: pd.Series, mean: float, deviation: float) -> dict[str, float]:
    """The measures of a run's predictions."""
    table = pd.read_csv(run / "predictions.csv", dtype={"uid": str}).set_index("uid").loc[truth.index]
    label, loss, values_N = WAYS[way]["label"], WAYS[way]["loss"], truth.to_numpy()
    score_N = table[label].to_numpy(dtype=np.float64)
    if loss == "BCE":
        return against(values_N, score_N, score_N, None)
    if loss == "MSE":
        rating_N = mean + deviation * score_N
        return against(values_N, rating_N, rating_N, rating_N)
    cuts = [name for name in table.columns if name.startswith(f"{label}_atleast_")]
    lowest = int(cuts[0].rpartition("_")[2]) - 1
    called_N = lowest + (table[cuts] >= 0.5).sum(axis=1).to_numpy(dtype=np.float64)
    return against(values_N, score_N, table[f"{label}_atleast_{CUT}"].to_numpy(dtype=np.float64), called_N)


def of_raters(frame: pd.DataFrame) -> dict[str, float]:
    """Each rater against the mean of the others, mean over raters, who are the places in a cell."""
    single = ratings_of(frame)
    each = []
    for rater in range(max(map(len, single))):
        rated = [own for own in single if rater < len(own) > 1]
        own_N = np.array([own[rater] for own in rated])
        others_N = np.array([np.delete(own, rater).mean() for own in rated])
        each.append(against(others_N, own_N, own_N, own_N))
    return {name: float(np.mean([own[name] for own in each])) for name in MEASURES}


def measure(data: Path, out: Path, ways: Sequence[str], seeds: int, **training: Any) -> dict[str, Any]:
    """The measures of every way and seed, of the raters, and what a run of ours says of their agreement."""
    mean, deviation = prepare(data, out / "splits")
    frame = read_split(data / "splits" / "test.csv")
    truth = pd.Series(mean_ratings(frame), index=frame.index)
    found: dict[str, Any] = {"cut": CUT, "clips": len(frame), "speakers": frame["speaker"].nunique(), "ways": {}}
    for way in ways:
        asked = {name: value for name, value in WAYS[way].items() if name != "label"}
        where = {"prefix": str(data / "audio"), "data_split_root": str(out / "splits")}
        for seed in range(seeds):
            run = ssast.finetune(
                **where,
                **{**FINETUNING, **training, **asked},
                label_txt=str(out / "splits" / f"{WAYS[way]['label']}.txt"),
                exp_dir=str(out / way.replace(", ", "-").replace(" ", "-") / f"seed-{seed}"),
                seed=seed,
            )
            found["ways"].setdefault(way, []).append(scored(run, way, truth, mean, deviation))
            entry = json.loads((run / "metrics.json").read_text())["labels"][WAYS[way]["label"]]
            if "raters" in entry:
                found.setdefault("agreement", {}).setdefault(way, []).append(entry["raters"])
    return found | {"raters": of_raters(frame)}


def markdown(found: dict[str, Any]) -> str:
    """A row a way: the mean over seeds, and in brackets the range; then the raters and their agreement."""
    lines = [["", *MEASURES], ["---"] * (1 + len(MEASURES))]
    for way, runs in found["ways"].items():
        lines.append([way, *(cell([own[name] for own in runs]) for name in MEASURES)])
    lines.append(["a rater against the others' mean", *(f"{found['raters'][name]:.3f}" for name in MEASURES)])
    text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    for way, runs in found.get("agreement", {}).items():
        first = runs[0]
        text += f"\n\n{way}, first seed:"
        for name in ("alpha", "icc_2_1", "rater_with_rater", "model_with_rater", "difference"):
            pair = first[name]["interval"] or [np.nan, np.nan]
            text += f" {name} {first[name]['value']:.3f} ({pair[0]:.3f} to {pair[1]:.3f})"
    return text


def cell(values: Sequence[float]) -> str:
    """Mean and range over the seeds; a dash where the way has no such measure."""
    if np.isnan(values).any():
        return "-"
    return f"{np.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of the data set with the column fluency_raters")
    parser.add_argument("--out", type=Path, required=True, help="folder for the runs")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--model", default="none", help="a pretrained model")
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS), metavar="WAY")
    given = parser.parse_args()
    training = {"epochs": given.epochs, "pretrained_mdl_path": given.model}
    found = measure(given.data, given.out, given.ways, given.seeds, **training)
    (given.out / "ratings.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(f"\n{markdown(found)}", flush=True)


if __name__ == "__main__":
    main()
