"""Train a model on unlabelled recordings: `ssast pretrain`."""

from pathlib import Path

from ssast.engine.train import train
from ssast.model.label_kinds import LabelKinds
from ssast.model.masking import check_mask_patch
from ssast.options.options import Options
from ssast.pages.remarks import best_is_first
from ssast.runs.batches import ClipReader
from ssast.runs.context import RunContext, say
from ssast.runs.models import ModelSettings, audio_settings, compile_blocks, piece_size, pretraining_model, save
from ssast.runs.output.notes import Listening, note_recordings
from ssast.runs.rows import training_rows
from ssast.runs.training import (
    ClipLengths,
    epoch_steps,
    note_changed,
    remember_skipped,
    start_training,
    training_batches,
    training_settings,
)
from ssast.runs.wrapping.wrapper import Mode


@Mode
def pretrain(options: Options) -> Path:
    """Learn from unlabelled recordings; the model folder. Takes the command line's options by name."""
    context = RunContext.of(options)
    paths, audio, settings = context.paths, audio_settings(options), ModelSettings.of(options)
    share, skips = options.val_share, options.on_bad_audio
    train_rows, held_out = training_rows(paths, LabelKinds(()), val_share=share, seed=options.seed, on_bad_audio=skips)
    model = pretraining_model(paths, settings, audio)
    check_mask_patch(options.mask_patch, model.v.num_patches)
    pieces = piece_size(context.record, model, context.engine)
    record = context.record.with_values(micro_batch=pieces)
    steps = options.epochs * epoch_steps(train_rows, options.batch_size)
    compile_blocks(model, options.compile, context.engine, steps)
    reader = ClipReader.of(context, audio)
    remember_skipped(reader, Path(options.exp_dir), resume=options.resume)
    lengths = ClipLengths.of(reader, model.rounding, Path(options.exp_dir), train_rows, held_out)
    batches = training_batches(
        reader, train_rows, held_out, piece_size=pieces, balanced=options.balanced, lengths=lengths
    )
    folder, key = start_training(record, paths, train_rows, held_out)
    outcome = train(model, batches, training_settings(options), folder, context.engine, key=key)
    note_changed(record, paths, folder, train_rows, held_out)
    save(model, folder)
    listening = Listening(audio, options.crop, trains=True)
    uids = (train_rows.frame.index, held_out.frame.index)
    note_recordings(record, context.skipped, folder, *uids, listening=listening)
    if outcome.best_epoch == 0 and options.epochs > 1:
        say(best_is_first(options.epochs))
    if "validation_accuracy" in outcome.report:
        accuracy, chance = outcome.report["validation_accuracy"], outcome.report["validation_chance"]
        say(f"pretext accuracy on held-out clips {accuracy:.4f}, {accuracy / chance:.1f} times chance ({chance:.4f})")
    say(f"pretrained model of epoch {outcome.best_epoch + 1} in {folder}")
    return folder
