"""Train a classifier on a pretrained model, then evaluate it: `ssast finetune`."""

from pathlib import Path

from ssast.engine.train import train
from ssast.model.classification import SSASTForAudioClassification
from ssast.model.lora import add_lora, merge_lora
from ssast.options.options import Options
from ssast.pages.remarks import best_is_first
from ssast.runs.batches import ClipReader
from ssast.runs.context import RunContext, say
from ssast.runs.cross_validation import repeated
from ssast.runs.features import Pooler, own_states, pooled_training_batches
from ssast.runs.models import (
    ModelSettings,
    audio_settings,
    begin_cuts,
    classification_model,
    compile_blocks,
    piece_size,
    save,
    weigh_rare_labels,
)
from ssast.runs.reviewing.groups import group_columns, say_overlap
from ssast.runs.reviewing.plain_baseline import PlainBaseline, save_plain_baseline
from ssast.runs.rows import Rows, check_yes_no, label_kinds, rows, training_rows
from ssast.runs.scoring import Scorer, evaluate_model, save_thresholds
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
def finetune(options: Options) -> Path:
    """Train a classifier on a pretrained model, then evaluate the saved folder on test.csv; the model folder."""
    if options.folds or options.seeds > 1:
        return repeated(options, finetune)
    context = RunContext.of(options)
    paths, audio = context.paths, audio_settings(options)
    kinds = label_kinds(paths, options.loss, weighs=options.pos_weight + options.balanced)
    check_yes_no(kinds, sensitivity=options.sensitivity, specificity=options.specificity, prevalence=options.prevalence)
    share, skips, way = options.val_share, options.on_bad_audio, options.raters
    train_rows, held_out = training_rows(
        paths, kinds, val_share=share, seed=options.seed, on_bad_audio=skips, tests=True, raters=way
    )
    test = rows(paths, train_rows.kinds, on_bad_audio=skips)
    group_columns(options.groups, test)
    say_overlap(test.frame, [train_rows.frame, held_out.frame])
    model = classification_model(paths, ModelSettings.of(options), train_rows.kinds, audio)
    begin_cuts(model, train_rows)
    _choose_trained_parts(options, model, train_rows)
    pieces = piece_size(context.record, model, context.engine)
    record = context.record.with_values(micro_batch=pieces)
    pools = _is_still(options, model)
    steps = options.epochs * epoch_steps(train_rows, options.batch_size)
    compile_blocks(model, options.compile, context.engine, 0 if pools else steps)
    baseline = PlainBaseline.of(ClipReader.of(context, audio), options.cache_gb, keeps=options.features == "auto")
    reader = baseline.reader
    remember_skipped(reader, Path(options.exp_dir), resume=options.resume)
    lengths = ClipLengths.of(reader, model.rounding, Path(options.exp_dir), train_rows, held_out)
    batches = training_batches(
        reader, train_rows, held_out, piece_size=pieces, balanced=options.balanced, lengths=lengths
    )
    folder, key = start_training(record, paths, train_rows, held_out, test)
    if pools:
        states = own_states(model)
        pooler = Pooler(reader, context.engine, model, states, autocast=True, cache_gb=options.cache_gb)
        batches = pooled_training_batches(pooler, batches, train_rows, held_out)
    outcome = train(model, batches, training_settings(options), folder, context.engine, key=key)
    note_changed(record, paths, folder, train_rows, held_out)
    if outcome.best_epoch == 0 and options.epochs > 1:
        say(best_is_first(options.epochs))
    merge_lora(model.v)
    save(model, folder)
    say(f"fine-tuned model of epoch {outcome.best_epoch + 1} in {folder}; evaluating it on {test.source}")
    saved = SSASTForAudioClassification.from_pretrained(folder)
    scorer = Scorer.of(context, reader, pools=pools)
    save_thresholds(scorer, saved, held_out, folder)
    save_plain_baseline(baseline, train_rows, held_out, folder)
    evaluate_model(scorer, saved, test, folder, record, baseline=baseline, also=(train_rows, held_out))
    return folder


def _choose_trained_parts(options: Options, model: SSASTForAudioClassification, train: Rows) -> None:
    """Make the model learn what the options ask for beside the head, and count rare labels as they ask."""
    if options.unfreeze_last:
        model.unfreeze_last(options.unfreeze_last)
    if options.lora_rank:
        add_lora(model.v, rank=options.lora_rank, alpha=options.lora_alpha, seed=options.seed)
    if options.pos_weight:
        weigh_rare_labels(model, train)


def _is_still(options: Options, model: SSASTForAudioClassification) -> bool:
    """Whether a clip's pooled states are the same in every epoch, and are to be kept."""
    is_still = options.freeze and not options.unfreeze_last and not options.lora_rank and not options.altering
    is_still = is_still and not any(one.requires_grad for one in model.v.parameters())
    if is_still and options.crop == "random":
        say("--crop random takes another stretch of long recordings in each epoch, so no states of the base are kept")
    return options.features == "auto" and is_still and options.crop == "start"
