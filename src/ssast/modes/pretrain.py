"""Learn from unlabelled recordings: `ssast pretrain`."""

from pathlib import Path
from typing import Any

from ssast.engine.train import train
from ssast.model.masking import check_mask_patch
from ssast.options.options import Options
from ssast.pages.remarks import best_is_first
from ssast.runs.audio_settings import audio_settings
from ssast.runs.context import RunContext, say
from ssast.runs.models import compiled, in_pieces, pretraining_model, save
from ssast.runs.output.folder import nothing_half_written
from ssast.runs.output.lock import alone
from ssast.runs.output.notes import note_recordings
from ssast.runs.output.uploads import uploaded
from ssast.runs.rows import training_rows
from ssast.runs.training import start_training, training_batches, training_settings


@alone("pretrain")
@uploaded("pretrain")
@nothing_half_written
def pretrain(options: Options | None = None, /, **overrides: Any) -> Path:
    """Learn from unlabelled recordings; the model folder. Takes the command line's options by name."""
    context = RunContext.of(options, "pretrain", overrides)
    options = context.options
    settings = audio_settings(options)
    train_rows, held_out = training_rows(options, [])
    model = pretraining_model(options, settings)
    check_mask_patch(options.mask_patch, model.v.num_patches)
    context = in_pieces(context, model)
    options = context.options
    compiled(options, model.v)
    batches = training_batches(context, train_rows, held_out, settings)
    folder, key = start_training(options, train_rows, held_out)
    outcome = train(model, batches, training_settings(options), folder, context.accelerator, key=key)
    save(model, folder)
    note_recordings(context, folder, train_rows.frame.index, held_out.frame.index)
    if outcome.best_epoch == 0 and options.epochs > 1:
        say(best_is_first(options.epochs))
    if "validation_accuracy" in outcome.report:
        accuracy, chance = outcome.report["validation_accuracy"], outcome.report["validation_chance"]
        say(f"pretext accuracy on held-out clips {accuracy:.4f}, {accuracy / chance:.1f} times chance ({chance:.4f})")
    say(f"pretrained model of epoch {outcome.best_epoch + 1} in {folder}")
    return folder
