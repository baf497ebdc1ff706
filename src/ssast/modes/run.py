"""Options in; model folders, scores and embeddings out: the main modes, each one straight line."""

from pathlib import Path
from typing import Any

import torch

from ssast.data.label_columns import check_label_names, predictions_table
from ssast.data.storage import whole_file
from ssast.engine import crew
from ssast.engine.train import train
from ssast.model.classification import SSASTForAudioClassification
from ssast.model.lora import merge_lora
from ssast.model.masking import check_mask_patch
from ssast.modes.assemble import (
    Rows,
    Settings,
    Work,
    audio_settings,
    data_name,
    feed,
    model_settings,
    recipe,
    rows,
    say,
    target_labels,
    training_rows,
)
from ssast.modes.heard import Remembered
from ssast.modes.holding import alone
from ssast.modes.models import (
    classification_model,
    compiled,
    finetuned_model,
    in_pieces,
    pretraining_model,
    save,
    trained_parts,
)
from ssast.modes.noting import note_recordings
from ssast.modes.options import Options
from ssast.modes.over_time import step_values
from ssast.modes.overlap import say_overlap
from ssast.modes.pooling import keeps_features, pooled_feed
from ssast.modes.repeats import repeated
from ssast.modes.runfolder import nothing_half_written, open_folder, run_key, used_files
from ssast.modes.scoring import clip_values, evaluate_model, save_thresholds
from ssast.modes.settle import resolve
from ssast.modes.uploads import uploaded
from ssast.report.remarks import best_is_first


@alone("pretrain")
@uploaded("pretrain")
@nothing_half_written
def pretrain(options: Options | None = None, /, **overrides: Any) -> Path:
    """Learn from unlabelled recordings; the model folder. Takes the command line's options by name."""
    work = Work.of(options, "pretrain", overrides)
    options = work.options
    settings = audio_settings(options)
    train_rows, held_out = training_rows(options, [])
    model = pretraining_model(options, settings)
    check_mask_patch(options.mask_patch, model.v.num_patches)
    work = in_pieces(work, model)
    options = work.options
    compiled(options, model.v)
    batches = feed(work, train_rows, held_out, settings)
    folder, key = _start(options, train_rows, held_out)
    outcome = train(model, batches, recipe(options), folder, work.accelerator, key=key)
    save(model, folder)
    note_recordings(work, folder, train_rows.frame.index, held_out.frame.index)
    if outcome.best_epoch == 0 and options.epochs > 1:
        say(best_is_first(options.epochs))
    if "validation_accuracy" in outcome.report:
        accuracy, chance = outcome.report["validation_accuracy"], outcome.report["validation_chance"]
        say(f"pretext accuracy on held-out clips {accuracy:.4f}, {accuracy / chance:.1f} times chance ({chance:.4f})")
    say(f"pretrained model of epoch {outcome.best_epoch + 1} in {folder}")
    return folder


@alone("finetune")
@uploaded("finetune")
@nothing_half_written
def finetune(options: Options | None = None, /, **overrides: Any) -> Path:
    """Train a classifier on a pretrained model, then evaluate the saved folder on test.csv; the model folder."""
    work = Work.of(options, "finetune", overrides)
    options = work.options
    if options.folds or options.seeds > 1:
        return repeated(options, finetune)
    settings, labels = audio_settings(options), target_labels(options)
    train_rows, held_out = training_rows(options, labels)
    test = rows(options, labels, options.loss)
    say_overlap(test.frame, [train_rows.frame, held_out.frame])
    model = classification_model(options, labels, settings)
    trained_parts(options, model, train_rows)
    work = in_pieces(work, model)
    options = work.options
    compiled(options, model.v)
    batches = feed(work, train_rows, held_out, settings)
    folder, key = _start(options, train_rows, held_out, test)
    if keeps_features(work, model):
        batches = pooled_feed(work, model, batches, settings, train_rows, held_out)
    outcome = train(model, batches, recipe(options), folder, work.accelerator, key=key)
    if outcome.best_epoch == 0 and options.epochs > 1:
        say(best_is_first(options.epochs))
    merge_lora(model.v)
    save(model, folder)
    say(f"fine-tuned model of epoch {outcome.best_epoch + 1} in {folder}; evaluating it on {test.source}")
    saved = SSASTForAudioClassification.from_pretrained(folder)
    save_thresholds(work, saved, held_out, settings, folder)
    evaluate_model(work, saved, test, settings, folder, also=(train_rows, held_out))
    return folder


@alone("evaluate")
@uploaded("evaluate")
@nothing_half_written
def evaluate(options: Options | None = None, /, **overrides: Any) -> Path:
    """Score a fine-tuned model on labelled recordings; the folder with metrics.json, aucs.csv and predictions.csv."""
    work = Work.of(options, "evaluate", overrides)
    options = work.options
    model = finetuned_model(options)
    settings = model_settings(options, model.frontend)
    remedy = "fine-tune the model with another name for the label"
    check_label_names(model.labels or [], [predictions_table], source="the model", remedy=remedy)
    test = rows(options, target_labels(options, model.labels), model.config["loss"], in_part=True)
    folder = open_folder(options, clips={"test": len(test.frame)}, files=used_files(options, test.source), trains=False)
    evaluate_model(work, model, test, settings, folder)
    return folder


@alone("extract")
@uploaded("extract")
@nothing_half_written
def extract(options: Options | None = None, /, **overrides: Any) -> Path:
    """Write one embedding a recording; the parquet file with the columns `uid` and `embedding`.

    With `over_time` one for each step of time, and a column `time` with its middle in seconds.
    """
    work = Work.of(options, "extract", overrides)
    options = work.options
    model, settings = _extraction_model(options)
    source = rows(options, [], "MSE")
    layer = model.layer if "layer" not in options.given else options.layer
    task = model.task if "task" not in options.given else options.task
    kind: dict[str, Any] = {"embedding_type": options.embedding_type, "layer": layer, "task": task}
    model.check_embedding(options.embedding_type, layer, task)
    if options.over_time:
        model.check_over_time(options.embedding_type, layer)
    files = used_files(options, source.source)
    name = _embedding_name(data_name(options, source.source), model.config["model_size"], **kind)
    key = f"{name} {sorted(files.values())}"
    if options.over_time:
        name = name.replace("_embeddings.pqt", "_embeddings_over_time.pqt")
    clips = {"extract": len(source.frame)}
    folder = open_folder(options, clips=clips, files=files, trains=False, table=name)

    def embed(batch: dict[str, Any]) -> torch.Tensor:
        return model.extract_embedding(batch["fbank"], frames=batch["frames"], **kind)

    if options.over_time:
        done = step_values(work, model, source, settings, folder, key, kind)
    else:
        done = clip_values(work, embed, model, source, settings, folder, key)
    if crew.is_main():
        count = done.write_parquet(folder / name, "embedding")
        done.remove()
        note_recordings(work, folder, source.frame.index)
        say(f"{count} embeddings in {folder / name}")
    return folder / name


@alone("demo")
@nothing_half_written
def demo(options: Options | None = None, /, **overrides: Any) -> Path:
    """Make a small synthetic speech corpus and go the whole way on it, pretraining to attention page; its folder."""
    from ssast.audio.voices import write_corpus
    from ssast.modes.attend import attention

    options = resolve(options, mode="demo", **overrides)
    root = Path(options.exp_dir)
    say(f"1/5 a corpus of {options.speakers} synthetic speakers, {options.clips_per_speaker} clips each")
    size = {"speakers": options.speakers, "clips_per_speaker": options.clips_per_speaker, "seed": options.seed}
    corpus = root / f"corpus-{options.speakers}x{options.clips_per_speaker}-{options.seed}"
    if not corpus.exists():  # it is written whole or not at all
        write_corpus(corpus, **size)
    shared: Settings = {
        name: getattr(options, name) for name in ("device", "precision", "threads", "seed", "num_workers", "resume")
    }
    shared |= {"prefix": str(corpus / "audio"), "data_split_root": str(corpus / "splits"), "dataset": "demo"}
    shared |= {"label_txt": str(corpus / "labels.txt"), **DEMO_TRAINING}
    say("2/5 pretraining a tiny model on its training clips")
    pretrained = pretrain(**shared, **DEMO_PRETRAINING, exp_dir=str(root / "pretrained"))
    say("3/5 fine-tuning it for the five labels, then evaluating it on unseen speakers")
    finetuned = finetune(
        **shared, **DEMO_FINETUNING, pretrained_mdl_path=str(pretrained), exp_dir=str(root / "finetuned")
    )
    say("4/5 one embedding for each test clip")
    shared["data_split_root"] = str(corpus / "splits" / "test.csv")
    table = extract(**shared, finetuned_mdl_path=str(finetuned), exp_dir=str(root / "embeddings"))
    say("5/5 what the model looks at in three of them")
    attention(**shared, finetuned_mdl_path=str(finetuned), max_clips=3, exp_dir=str(root / "seen"))
    say(f"\nListen to {corpus / 'audio'}/*/waveform.wav; their labels are in {corpus / 'splits'}")
    say(f"Look at {finetuned / 'report.html'} and {root / 'seen' / 'attention' / 'attention.html'} in a browser")
    say(f"The numbers are in {finetuned / 'aucs.csv'}, {finetuned / 'predictions.csv'} and {table}")
    return root


# A demo has to end within minutes on two cores: two seconds of each clip to pretrain on, three to fine-tune on.
DEMO_TRAINING: Settings = {"batch_size": 8, "optim": "adamw", "scheduler": "onecycle"}
DEMO_PRETRAINING: Settings = {"model_size": "tiny", "target_length": 200, "mask_patch": 25, "epochs": 7, "max_lr": 1e-3}
TRAINED_ON = 2
"""Training goes on from what it heard of train.csv; the test's recordings are heard after it."""
DEMO_FINETUNING: Settings = {
    "target_length": 304,
    "task": "ft_avgtok",
    "freeze": False,
    "epochs": 15,
    "max_lr": 5e-4,
    "noise": True,
    "freqm": 24,
}


def _start(options: Options, *sources: Rows) -> tuple[Path, str]:
    """The folder of a training run, with its record and the rows held out, and the key of its result."""
    files = used_files(options, *(source.source for source in sources))
    names = ("train", "validation", "test")
    clips = {name: len(source.frame) for name, source in zip(names, sources, strict=False)}
    folder = open_folder(
        options, clips=clips, files=files, trains=True, heard=lambda: Remembered.of(options, *sources[:TRAINED_ON])
    )
    if crew.is_main():
        with whole_file(folder / "validation.csv") as beside:
            sources[1].frame.to_csv(beside)
    return folder, run_key(options, files)


def _extraction_model(options: Options) -> tuple[SSASTForAudioClassification, Settings]:
    """The fine-tuned model where one is given, else the pretrained one with a head that is never used."""
    if options.finetuned_mdl_path:
        model = finetuned_model(options)
        return model, model_settings(options, model.frontend)
    settings = audio_settings(options)
    return classification_model(options, ["unused"], settings), settings


def _embedding_name(dataset: str, model_size: str, *, embedding_type: str, layer: int, task: str) -> str:
    shown = ("Final" if layer == -1 else str(layer)) if embedding_type == "pt" else "NA"
    return f"{dataset}_{model_size}_layer{shown}_{task}_{embedding_type}_embeddings.pqt"
