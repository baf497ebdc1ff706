"""A fine-tuned model and labelled rows in; scores and predictions in a run folder out."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from ssast.assemble import Rows, Settings, Work, row_batches, say
from ssast.data.storage import whole_file
from ssast.engine import infer
from ssast.engine.hardware import uses_bf16
from ssast.model.classification import SSASTForAudioClassification
from ssast.report.metrics import aucs_table, score
from ssast.runfolder import fingerprint, run_key


def clip_values(
    work: Work,
    apply: Any,
    model: SSASTForAudioClassification,
    source: Rows,
    settings: Settings,
    folder: Path,
    key: str,
) -> infer.Rows:
    """One value a clip of `source`, in the run folder's parts."""
    model.eval().to(work.accelerator.device)
    if uses_bf16(work.accelerator):
        # Autocast would cast the weights in every batch. The head keeps fp32, else scores come in coarse steps.
        model.v.to(torch.bfloat16)
    batches, steps, prepare = row_batches(work, source, settings)
    return infer.infer(
        lambda batch: apply(prepare(batch)),
        batches,
        steps=steps,
        folder=folder / ".parts" / work.options.mode,
        key=f"{key} {run_key(work.options, {})}",
        accelerator=work.accelerator,
        title=work.options.mode,
    )


def evaluate_model(
    work: Work, model: SSASTForAudioClassification, test: Rows, settings: Settings, folder: Path
) -> None:
    """predictions.csv, metrics.json and aucs.csv of `test` in `folder`, and the scores on the screen."""

    def predict(batch: dict[str, Any]) -> torch.Tensor:
        return model.predict_scores(batch["fbank"], frames=batch["frames"])

    key = " ".join(fingerprint(test.source, work.options.finetuned_mdl_path or folder).values())
    done = clip_values(work, predict, model, test, settings, folder, key)
    uids = [uid for table in done.tables() for uid in table["uid"].to_pylist()]
    scores = np.array([row for table in done.tables() for row in table["values"].to_pylist()], dtype=np.float32)
    targets = test.frame.loc[uids, test.labels].to_numpy(dtype=np.float64)
    metrics = score(targets, scores.reshape(len(uids), -1), test.labels, loss=model.config["loss"])
    write_scores(folder, uids, test.labels, scores, targets, metrics)
    done.remove()
    work.bad.write(folder)


def write_scores(
    folder: Path, uids: list[str], labels: list[str], scores_NL: Any, targets_NL: Any, metrics: dict[str, Any]
) -> None:
    """predictions.csv, metrics.json and aucs.csv, each moved into place whole."""
    table = pd.DataFrame(scores_NL, index=pd.Index(uids, name="uid"), columns=labels)
    table = table.join(pd.DataFrame(targets_NL, index=table.index, columns=[f"{label}_target" for label in labels]))
    with whole_file(folder / "predictions.csv") as beside:
        table.to_csv(beside)
    with whole_file(folder / "metrics.json") as beside:
        Path(beside).write_text(json.dumps(metrics, indent=1, allow_nan=False) + "\n")
    shown = aucs_table(metrics)
    with whole_file(folder / "aucs.csv") as beside:
        shown.to_csv(beside, index=False)
    say(shown.to_string(index=False, na_rep="undefined"))
