"""Real recordings in; the tables of docs/results.md out: pretrained, random weights, and plain fbank statistics.

    python benchmarks/real_speech.py ../shared fsdd speechocean --out /tmp/real --seeds 3

Every model is tiny and pretrained on the training clips alone; all layers are fine-tuned; no test speaker is in any of
them. --seeds counts fine-tunings (head, order, dropout, held-out clips); both ways start from the same seeds.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import ssast
from ssast.data.tables.splits import read_split
from ssast.data.tables.targets import read_labels

SETS: dict[str, dict[str, Any]] = {
    "fsdd": {"target_length": 100, "mask_patch": 20},
    "speechocean": {"target_length": 400, "mask_patch": 80},
}
PRETRAINING: dict[str, Any] = {
    "model_size": "tiny",
    "epochs": 20,
    "batch_size": 16,
    "learning_rate": 5e-4,
    "optim": "adamw",
    "mask_padding": True,
}
FINETUNING: dict[str, Any] = {
    "model_size": "tiny",
    "task": "ft_avgtok",
    "freeze": False,
    "epochs": 12,
    "batch_size": 16,
    "optim": "adamw",
    "scheduler": "onecycle",
    "max_lr": 5e-4,
    "mask_padding": True,
}


def shared_options(root: Path, name: str) -> dict[str, Any]:
    """What every run on this data set has in common."""
    folder = root / name
    return {
        "prefix": str(folder / "audio"),
        "data_split_root": str(folder / "splits"),
        "label_txt": str(folder / "labels.txt"),
        "dataset": name,
        "target_length": SETS[name]["target_length"],
    }


def accuracy(predictions: pd.DataFrame, labels: list[str]) -> float:
    """The share of clips whose highest score is that of a positive label, where each clip has exactly one."""
    truth = predictions[[f"{label}_target" for label in labels]].to_numpy()
    if not (truth.sum(axis=1) == 1).all():
        return float("nan")
    return float((predictions[labels].to_numpy().argmax(1) == truth.argmax(1)).mean())


def read_run(folder: Path, labels: list[str]) -> dict[str, float]:
    """Mean AUC and accuracy of a fine-tuned folder."""
    metrics = json.loads((folder / "metrics.json").read_text())
    predictions = pd.read_csv(folder / "predictions.csv", dtype={"uid": str})
    per_label = {label: entry["auc"] for label, entry in metrics["labels"].items()}
    return {"mean AUC": metrics["mean"]["auc"], "accuracy": accuracy(predictions, labels), **per_label}


def baseline(root: Path, name: str) -> dict[str, float]:
    """Mean and deviation over time of the raw log-mel, standardised, one logistic regression a label."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    labels = read_labels(root / name / "labels.txt")
    frames = {part: read_split(root / name / "splits" / f"{part}.csv") for part in ("train", "test")}
    values = {part: statistics(root / name / "audio", frame) for part, frame in frames.items()}
    scores = pd.DataFrame(index=frames["test"].index)
    for label in labels:
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
        model.fit(values["train"], frames["train"][label].astype(int))
        scores[label] = model.predict_proba(values["test"])[:, 1]
        scores[f"{label}_target"] = frames["test"][label]
    per_label = {label: roc_auc_score(scores[f"{label}_target"], scores[label]) for label in labels}
    return {"mean AUC": float(np.mean(list(per_label.values()))), "accuracy": accuracy(scores, labels), **per_label}


def statistics(prefix: Path, frame: pd.DataFrame) -> np.ndarray:
    """Mean and deviation of each mel bin over a clip's own frames: (clips, 2 * mel bins)."""
    data = ssast.AudioDataset(frame, None, {}, str(prefix), with_fbank=False)
    frontend = ssast.Frontend()
    fbanks = [frontend.fbank(data[index]["waveform"][:1])[0] for index in range(len(data))]
    return np.stack([np.concatenate([fbank.mean(0), fbank.std(0)]) for fbank in fbanks])


def measure(root: Path, name: str, out: Path, seeds: int) -> pd.DataFrame:
    """One row a way of training: mean over the seeds, with the range of the mean AUC."""
    shared, labels = shared_options(root, name), read_labels(root / name / "labels.txt")
    rows: dict[str, dict[str, Any]] = {}
    runs: dict[str, list[dict[str, float]]] = {"pretrained": [], "random weights": []}
    start = out / name / "pretrained"
    ssast.pretrain(**shared, **PRETRAINING, mask_patch=SETS[name]["mask_patch"], exp_dir=str(start))
    for seed in range(seeds):
        for way, path in (("pretrained", str(start)), ("random weights", "none")):
            folder = out / name / f"{way.split()[0]}-finetuned-{seed}"
            ssast.finetune(**shared, **FINETUNING, pretrained_mdl_path=path, seed=seed, exp_dir=str(folder))
            runs[way].append(read_run(folder, labels))
    for way, found in runs.items():
        table = pd.DataFrame(found)
        spread = f"{table['mean AUC'].min():.3f} to {table['mean AUC'].max():.3f}"
        rows[way] = {**table.mean().to_dict(), "range of mean AUC": spread}
    rows["fbank mean + std, logistic regression"] = {**baseline(root, name), "range of mean AUC": ""}
    return pd.DataFrame(rows).T


def markdown(table: pd.DataFrame) -> str:
    """The table as docs/results.md shows it."""
    head = ["", *table.columns]
    lines = [head, ["---"] * len(head)]
    for way, row in table.iterrows():
        cells = ["" if value != value else f"{value:.3f}" if isinstance(value, float) else str(value) for value in row]
        lines.append([str(way), *cells])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, help="folder that holds the data sets")
    parser.add_argument("sets", nargs="+", choices=sorted(SETS))
    parser.add_argument("--out", type=Path, required=True, help="folder for the runs")
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    for name in arguments.sets:
        table = measure(arguments.root, name, arguments.out, arguments.seeds)
        print(f"\n{name}\n\n{markdown(table)}", flush=True)


if __name__ == "__main__":
    main()
