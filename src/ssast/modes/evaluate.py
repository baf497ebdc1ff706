"""Score a fine-tuned model on labelled recordings: `ssast evaluate`."""

from pathlib import Path

from ssast.data.tables.label_columns import check_label_names, predictions_table
from ssast.model.label_kinds import LabelKinds
from ssast.options.options import Options
from ssast.runs.batches import ClipReader
from ssast.runs.context import RunContext
from ssast.runs.models import ModelSettings, audio_settings, finetuned_model, model_settings
from ssast.runs.output.folder import open_folder, used_files
from ssast.runs.reviewing.external import ExternalTest
from ssast.runs.reviewing.groups import group_columns
from ssast.runs.reviewing.plain_baseline import PlainBaseline
from ssast.runs.rows import check_yes_no, rows, target_labels
from ssast.runs.scoring import Scorer, evaluate_model
from ssast.runs.wrapping.wrapper import Mode


@Mode
def evaluate(options: Options) -> Path:
    """Score a fine-tuned model on labelled recordings; the folder with metrics.json, aucs.csv and predictions.csv."""
    context = RunContext.of(options)
    asked = audio_settings(options)
    model = finetuned_model(context.paths, ModelSettings.of(options), asked, needs_labels=True)
    audio = model_settings(asked, model, options.given, overlap=options.window_overlap)
    remedy = "fine-tune the model with another name for the label"
    check_label_names(model.labels or [], [predictions_table], source="the model", remedy=remedy)
    labels = target_labels(context.paths, model.labels, asked="label_txt" in options.given)
    kinds = model.label_kinds.some(labels) if model.labels else LabelKinds.plain(model.config["loss"], labels)
    test = rows(context.paths, kinds, on_bad_audio=options.on_bad_audio, in_part=True)
    group_columns(options.groups, test)
    check_yes_no(kinds, prevalence=options.prevalence)
    if elsewhere := ExternalTest.of(context.record.values):
        elsewhere.check(test)
    files = used_files(context.paths, test.source)
    folder = open_folder(context.record, clips={"test": len(test.frame)}, files=files, trains=False)
    baseline = PlainBaseline.of(ClipReader.of(context, audio), options.cache_gb)
    scorer = Scorer.of(context, baseline.reader)
    evaluate_model(scorer, model, test, folder, context.record, baseline=baseline)
    return folder
