"""Score a fine-tuned model on labelled recordings: `ssast evaluate`."""

from pathlib import Path
from typing import Any

from ssast.data.tables.label_columns import check_label_names, predictions_table
from ssast.options.options import Options
from ssast.runs.audio_settings import model_settings
from ssast.runs.context import RunContext
from ssast.runs.models import finetuned_model
from ssast.runs.output.folder import nothing_half_written, open_folder, used_files
from ssast.runs.output.lock import alone
from ssast.runs.output.uploads import uploaded
from ssast.runs.rows import rows, target_labels
from ssast.runs.scoring import evaluate_model


@alone("evaluate")
@uploaded("evaluate")
@nothing_half_written
def evaluate(options: Options | None = None, /, **overrides: Any) -> Path:
    """Score a fine-tuned model on labelled recordings; the folder with metrics.json, aucs.csv and predictions.csv."""
    context = RunContext.of(options, "evaluate", overrides)
    options = context.options
    model = finetuned_model(options)
    settings = model_settings(options, model.frontend)
    remedy = "fine-tune the model with another name for the label"
    check_label_names(model.labels or [], [predictions_table], source="the model", remedy=remedy)
    test = rows(options, target_labels(options, model.labels), model.config["loss"], in_part=True)
    folder = open_folder(options, clips={"test": len(test.frame)}, files=used_files(options, test.source), trains=False)
    evaluate_model(context, model, test, settings, folder)
    return folder
