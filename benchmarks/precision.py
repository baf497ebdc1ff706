"""What bf16 changes in the scores and embeddings of a fine-tuned model: the same recordings in fp32 and in bf16.

python benchmarks/precision.py MODEL RECORDINGS TEST.csv
"""

import argparse
import json
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

import ssast


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("recordings")
    parser.add_argument("csv")
    asked = parser.parse_args()
    given = {"finetuned_mdl_path": asked.model, "prefix": asked.recordings, "data_split_root": asked.csv}
    aucs, scores, embeddings = {}, {}, {}
    with TemporaryDirectory() as home:
        for precision in ("fp32", "bf16"):
            folder = Path(home) / precision
            ssast.evaluate(**given, precision=precision, resamples=0, exp_dir=str(folder))
            labels = json.loads((folder / "metrics.json").read_text())["labels"]
            aucs[precision] = pd.Series({label: own["auc"] for label, own in labels.items()}, dtype=float)
            table = ssast.extract(**given, precision=precision, embedding_type="pt", exp_dir=str(folder))
            embeddings[precision] = np.stack(pd.read_parquet(table)["embedding"].tolist())
            scores[precision] = pd.read_csv(folder / "predictions.csv", dtype={"uid": str})[list(labels)]
    table = pd.DataFrame(aucs)
    table["difference"] = table["bf16"] - table["fp32"]
    print("| label | AUC in fp32 | in bf16 | difference |\n|---|---|---|---|")
    for label, row in table.iterrows():
        print(f"| {label} | {row['fp32']:.4f} | {row['bf16']:.4f} | {row['difference']:+.4f} |")
    print(f"| mean | {table['fp32'].mean():.4f} | {table['bf16'].mean():.4f} | {table['difference'].mean():+.4f} |")
    norms = [np.linalg.norm(own, axis=1) for own in embeddings.values()]
    cosines = (embeddings["fp32"] * embeddings["bf16"]).sum(axis=1) / (norms[0] * norms[1])
    print(f"\nsmallest cosine of two embeddings of a clip: {cosines.min():.5f}")
    print(f"largest difference of a score: {(scores['fp32'] - scores['bf16']).abs().max().max():.4f}")


if __name__ == "__main__":
    main()
