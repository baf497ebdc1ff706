"""Let a fine-tuned model score labelled rows, and choose its thresholds."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from ssast.data.storage.atomic_writes import atomic_file
from ssast.data.tables.people import find_people
from ssast.data.tables.splits import label_values
from ssast.engine import distributed, inference
from ssast.engine.hardware import uses_bf16
from ssast.errors import UserError
from ssast.metrics.predictions import Predictions
from ssast.metrics.scores import choose_thresholds, unchosen_thresholds
from ssast.model.checkpoints.model_folder import THRESHOLDS
from ssast.model.classification import SSASTForAudioClassification
from ssast.options.options import Options
from ssast.pages.remarks import unchosen_sentence
from ssast.pages.sound_finding_sentences import finding_counts, finding_sentences
from ssast.runs.audio_settings import Settings
from ssast.runs.batches import row_batches
from ssast.runs.context import RunContext, say
from ssast.runs.features import keeps_features, pooled_rows
from ssast.runs.models import compiled
from ssast.runs.output.changed_recordings import RememberedRecordings
from ssast.runs.output.folder import fingerprint
from ssast.runs.output.notes import note_recordings
from ssast.runs.output.skipped_recordings import JOURNAL
from ssast.runs.overlap import say_overlap
from ssast.runs.paths import at, model_path
from ssast.runs.results import score_predictions, write_report, write_scores
from ssast.runs.resumable_inference import one_pass
from ssast.runs.rows import Rows
from ssast.runs.thresholds import read_thresholds, read_unchosen, thresholds_from
from ssast.runs.training_rows import trained_rows


def ready(context: RunContext, model: SSASTForAudioClassification) -> None:
    """Bring the model to where it runs, as it runs there."""
    model.eval().to(context.accelerator.device)
    compiled(context.options, model.v)
    if uses_bf16(context.accelerator):
        # Autocast would cast the weights in every batch. The head keeps fp32, else scores come in coarse steps.
        model.v.to(torch.bfloat16)


def clip_values(
    context: RunContext,
    apply: Any,
    model: SSASTForAudioClassification,
    source: Rows,
    settings: Settings,
    folder: Path,
    key: str,
    *,
    pooled: bool = False,
    aside: str = "",
) -> inference.FinishedPass:
    """One value a clip of `source`, in the run folder's parts; `pooled` gives `apply` batches of pooled states."""
    ready(context, model)
    given = pooled_rows(context, model, source, settings) if pooled else row_batches(context, source, settings)
    batches, steps, prepare = given
    kind: dict[str, Any] = {
        "heard": lambda: RememberedRecordings.of(context.options, source),
        "aside": aside,
        "clips_a_step": inference.loader_size(context.options.batch_size, context.accelerator.device),
    }
    return one_pass(context, lambda batch: apply(prepare(batch)), batches, steps, folder, key, **kind)


def predict_rows(
    context: RunContext,
    model: SSASTForAudioClassification,
    source: Rows,
    settings: Settings,
    folder: Path,
    beside: Sequence[pd.DataFrame] = (),
    *,
    aside: str = "",
) -> tuple[Predictions, inference.FinishedPass] | None:
    """What the model says of these rows, and the parts in `folder`, to be removed once the results are in place.

    `beside` are the other tables that tell who speaks. None in a process that only does its share.
    """
    pooled = context.options.mode == "finetune" and keeps_features(context, model)

    def predict(batch: dict[str, Any]) -> torch.Tensor:
        if pooled:
            return model.score_pooled(batch["pooled"])
        return model.predict_scores(batch["fbank"], frames=batch["frames"])

    files = fingerprint(source.source, at(context.options, context.options.finetuned_mdl_path or str(folder)))
    key = f"{sorted(files.values())} {len(source.frame)}"
    done = clip_values(context, predict, model, source, settings, folder, key, pooled=pooled, aside=aside)
    if not distributed.is_main():
        return None
    rows = [row for table in done.tables() for row in table.to_pylist()]
    if not rows:
        context.skipped.write(folder)
        raise UserError(
            f"no recording of {source.source} could be used; bad_audio.csv in {folder} says why.",
            path=[source.source, folder],
        )
    uids = [row["uid"] for row in rows]
    frame, labels = source.frame.loc[uids], list(source.labels)
    columns = [(model.labels or labels).index(label) for label in labels]
    scores = np.array([row["values"] for row in rows], dtype=np.float32)[:, columns]
    whose = named_subjects(frame, [source.frame, *beside])
    return Predictions(uids, labels, scores, label_values(frame, labels), **whose), done


def named_subjects(frame: pd.DataFrame, beside: Sequence[pd.DataFrame] = ()) -> dict[str, Any]:
    """`subjects` and `unit` of Predictions for these rows; empty where the csv names fewer than two subjects."""
    people = find_people(frame, beside, least=2)
    return {} if people is None else {"subjects": np.array(people.names, dtype=object), "unit": people.unit}


def save_thresholds(
    context: RunContext, model: SSASTForAudioClassification, held_out: Rows, settings: Settings, folder: Path
) -> None:
    """Choose each label's threshold on the held-out validation rows and keep it in the model folder."""
    if distributed.is_main():
        (folder / THRESHOLDS).unlink(missing_ok=True)
    if model.config["loss"] != "BCE":
        return
    # Aside, so that a kill while the test is scored leaves those parts to go on from.
    predicted = predict_rows(context, model, held_out, settings, folder, aside="-validation")
    if predicted is None:
        return
    predictions, done = predicted
    found = choose_thresholds(predictions.targets, predictions.scores, predictions.labels)
    content: dict[str, Any] = {
        "rule": "largest sensitivity + specificity on the validation clips; 0.5 where they do not hold both classes",
        "clips": len(predictions.uids),
        "thresholds": found,
    }
    if unchosen := unchosen_thresholds(predictions.targets, predictions.scores, predictions.labels):
        content["unchosen"] = unchosen
    with atomic_file(folder / THRESHOLDS) as beside:
        Path(beside).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    context.skipped.close(done.folder / JOURNAL)
    done.remove()


def model_home(options: Options, folder: Path) -> Path:
    """The folder of the fine-tuned model: the one that is named, else the run's own."""
    path = Path(model_path(options, options.finetuned_mdl_path)) if options.finetuned_mdl_path else folder
    return path if path.is_dir() else path.parent


def evaluate_model(
    context: RunContext,
    model: SSASTForAudioClassification,
    test: Rows,
    settings: Settings,
    folder: Path,
    *,
    also: Sequence[Rows] = (),
) -> None:
    """predictions, metrics.json, aucs.csv and report.html of `test` in `folder`, and the scores on the screen.

    `also` are the rows that this run trained on, whose recordings are named too.
    """
    home = model_home(context.options, folder)
    trained = trained_rows(context.options, home)
    predicted = predict_rows(context, model, test, settings, folder, trained.rows)
    if predicted is None:
        return
    predictions, done = predicted
    thresholds = read_thresholds(home)
    left_out = len(test.frame) - len(predictions.uids)
    metrics = score_predictions(
        predictions, model.config["loss"], thresholds, context.options.resamples, left_out=left_out
    )
    if lacking := [label for label in model.labels or [] if label not in test.labels]:
        metrics["not_scored"] = lacking
    context.skipped.gather()
    metrics["heard"] = finding_counts(context.skipped.of(predictions.uids))
    write_scores(folder, predictions, metrics)
    chosen = thresholds_from(home) if metrics["loss"] == "BCE" else ""
    unchosen = unchosen_sentence(read_unchosen(home, test.labels)) if metrics["loss"] == "BCE" else ""
    if unchosen:
        say(unchosen)
    careful = say_overlap(test.frame, trained.rows)
    if trained.note and not careful:
        say(trained.note)
    remark = " ".join(filter(None, [careful, chosen, unchosen]))
    told: dict[str, Any] = {"log": home / "log.jsonl", "remark": remark}
    told["careful"] = _heard_sentences(context, predictions.uids, also)
    write_report(context.options, test, settings, folder, predictions, metrics, **told)
    done.remove()
    note_recordings(context, folder, *(rows.frame.index for rows in (*also, test)))


def _heard_sentences(context: RunContext, scored: Sequence[str], also: Sequence[Rows]) -> list[str]:
    """What is doubtful about the recordings that were scored, and about those that the run trained on."""
    uids = [uid for rows in also for uid in rows.frame.index if uid not in context.skipped.reasons]
    return [
        *finding_sentences(context.skipped.of(scored), len(scored)),
        *finding_sentences(context.skipped.of(uids), len(uids), "training recordings"),
    ]
