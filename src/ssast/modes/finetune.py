"""Train a classifier on a pretrained model, then evaluate it: `ssast finetune`."""

from pathlib import Path
from typing import Any

from ssast.engine.train import train
from ssast.model.classification import SSASTForAudioClassification
from ssast.model.lora import merge_lora
from ssast.options.options import Options
from ssast.pages.remarks import best_is_first
from ssast.runs.audio_settings import audio_settings
from ssast.runs.context import RunContext, say
from ssast.runs.cross_validation import repeated
from ssast.runs.features import keeps_features, pooled_feed
from ssast.runs.models import classification_model, compiled, in_pieces, save, trained_parts
from ssast.runs.output.folder import nothing_half_written
from ssast.runs.output.lock import alone
from ssast.runs.output.uploads import uploaded
from ssast.runs.overlap import say_overlap
from ssast.runs.rows import rows, target_labels, training_rows
from ssast.runs.scoring import evaluate_model, save_thresholds
from ssast.runs.training import start_training, training_batches, training_settings


@alone("finetune")
@uploaded("finetune")
@nothing_half_written
def finetune(options: Options | None = None, /, **overrides: Any) -> Path:
    """Train a classifier on a pretrained model, then evaluate the saved folder on test.csv; the model folder."""
    context = RunContext.of(options, "finetune", overrides)
    options = context.options
    if options.folds or options.seeds > 1:
        return repeated(options, finetune)
    settings, labels = audio_settings(options), target_labels(options)
    train_rows, held_out = training_rows(options, labels)
    test = rows(options, labels, options.loss)
    say_overlap(test.frame, [train_rows.frame, held_out.frame])
    model = classification_model(options, labels, settings)
    trained_parts(options, model, train_rows)
    context = in_pieces(context, model)
    options = context.options
    compiled(options, model.v)
    batches = training_batches(context, train_rows, held_out, settings)
    folder, key = start_training(options, train_rows, held_out, test)
    if keeps_features(context, model):
        batches = pooled_feed(context, model, batches, settings, train_rows, held_out)
    outcome = train(model, batches, training_settings(options), folder, context.accelerator, key=key)
    if outcome.best_epoch == 0 and options.epochs > 1:
        say(best_is_first(options.epochs))
    merge_lora(model.v)
    save(model, folder)
    say(f"fine-tuned model of epoch {outcome.best_epoch + 1} in {folder}; evaluating it on {test.source}")
    saved = SSASTForAudioClassification.from_pretrained(folder)
    save_thresholds(context, saved, held_out, settings, folder)
    evaluate_model(context, saved, test, settings, folder, also=(train_rows, held_out))
    return folder
