"""List all modes: one record for each says what it does, takes and gives, and which options."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ssast.options import checks
from ssast.options.audio_options import AUGMENTATIONS

INSIDE, BESIDE, THERE = "inside", "beside", "there"
"""Where the lock of a mode's folder lies: in it, beside a folder that the mode makes whole, in it if it is there."""
Check = Callable[[Any], Iterator[str]]


@dataclass(frozen=True)
class ModeRecord:
    """Everything that is declared about one mode; the mode is the function of its name in `modes/<name>.py`.

    `options` are the names of those that its help shows. `words` names the options that bare words on the command line
    fill: one each, and all that are left one with `...`. `checks` give a sentence for each thing that is wrong among
    options, as far as that can be told without a file or a model. One that `only_prints` may end where nobody reads on.
    `lock` says where the lock of its folder lies, if it makes one; what `tidies` takes its first files away where it
    fails; what is `shared` several processes do together; what `reads_spectrograms` takes them in place of sound.
    """

    summary: str
    takes: str
    gives: str
    options: tuple[str, ...]
    checks: tuple[Check, ...] = ()
    words: str = ""
    only_prints: bool = False
    lock: str = INSIDE
    tidies: bool = False
    shared: bool = False
    reads_spectrograms: bool = False

    @property
    def sends(self) -> bool:
        """Whether the mode sends its results to a bucket where one is named."""
        return "cloud" in self.options


def _names(*parts: str) -> tuple[str, ...]:
    """The names of options in these texts, each once."""
    return tuple(dict.fromkeys(name for part in parts for name in part.split()))


# What several modes take. A further option is one name here, or in the record of each mode that takes it.
_EVERY = "private exp_dir config num_workers device precision threads seed resume"
_CLOUD = "bucket_name project_name cloud cloud_dir"
_RECORDINGS = f"prefix data_split_root study lib cache_gb {_CLOUD}"
_PACKING = "prefix study cache_gb bucket_name project_name"
_SOUND = "resample_rate reduce clip_length target_length"
_SPECTROGRAM = f"{_SOUND} num_mel_bins dataset_mean dataset_std"
_CLIPS = f"{_EVERY} {_RECORDINGS} {_SPECTROGRAM} on_bad_audio dataset mask_padding worker_start"
_BATCHES = "batch_size compile"
_WINDOWS = "whole_recording window_overlap"
_NEW_MODEL = "pretrained_mdl_path model_size fshape tshape fstride tstride"
_TRAINING = f"{_BATCHES} learning_rate epochs optim weight_decay scheduler max_lr clip_grad patience val_share"
_CHECKPOINTS = "micro_batch save_every_seconds keep_checkpoints tensorboard"
_HEAD = "label_txt loss activation final_dropout layernorm head_lr raters pos_weight balanced seeds features"
_CHECKPOINT_HEAD = "label_txt task weighted layer fstride tstride loss activation"

MODES = {
    "arrange": ModeRecord(
        "lay a folder of audio files and one table out as the other modes read them",
        "a folder of audio files and a csv that names them or their speakers: ssast arrange FOLDER TABLE NEW_FOLDER",
        "recordings/, splits/, all.csv and labels.txt in a new folder",
        _names(
            *(_EVERY, "prefix data_split_root label_txt on_bad_audio file_column subject_column label_column"),
            "join_table join_on test_share",
        ),
        checks=(checks.check_arrange,),
        words="prefix data_split_root exp_dir",
        lock=BESIDE,
    ),
    "pretrain": ModeRecord(
        "learn from unlabelled recordings, by guessing hidden patches of their spectrograms",
        "recordings, train.csv",
        "a pretrained model folder",
        _names(
            _CLIPS, _NEW_MODEL, _TRAINING, _CHECKPOINTS, AUGMENTATIONS, "crop task mask_patch cluster_factor mask_layer"
        ),
        checks=checks.CHECK_WORK,
        tidies=True,
        shared=True,
    ),
    "finetune": ModeRecord(
        "train a classifier on a pretrained model, then evaluate it",
        "recordings, train.csv and test.csv, labels.txt, a pretrained model",
        "a fine-tuned model folder with scores, predictions and report.html",
        _names(
            *(_CLIPS, _NEW_MODEL, _TRAINING, _CHECKPOINTS, AUGMENTATIONS, _HEAD, _WINDOWS),
            "crop task freeze unfreeze_last lora_rank lora_alpha weighted layer resamples folds",
            "prevalence groups sensitivity specificity",
        ),
        checks=(*checks.CHECK_WORK, checks.check_scoring),
        tidies=True,
        shared=True,
        reads_spectrograms=True,
    ),
    "evaluate": ModeRecord(
        "score a fine-tuned model on labelled recordings",
        "recordings, a csv, labels.txt, a fine-tuned model",
        "scores, predictions and report.html",
        _names(
            _CLIPS, _BATCHES, _WINDOWS, "label_txt finetuned_mdl_path resamples prevalence groups external recalibrate"
        ),
        checks=(*checks.CHECK_WORK, checks.check_scoring),
        tidies=True,
        shared=True,
        reads_spectrograms=True,
    ),
    "extract": ModeRecord(
        "write an embedding of every recording",
        "recordings, a csv, a pretrained or fine-tuned model",
        "a parquet file of uid and embedding",
        _names(
            *(_CLIPS, _BATCHES, _WINDOWS),
            "pretrained_mdl_path finetuned_mdl_path task layer embedding_type over_time part",
        ),
        checks=checks.CHECK_WORK,
        tidies=True,
        shared=True,
        reads_spectrograms=True,
    ),
    "attention": ModeRecord(
        "show what a model looks at in chosen clips, and how far to trust that",
        "a fine-tuned or pretrained model, recordings and a csv, or audio files as in `ssast attention FILES`",
        "a page to see and hear it, a picture and a file of values for each clip",
        _names(_CLIPS, "pretrained_mdl_path finetuned_mdl_path files uids max_clips"),
        checks=checks.CHECK_WORK,
        words="files...",
        tidies=True,
    ),
    "predict": ModeRecord(
        "say what a fine-tuned model makes of any recordings; no csv is needed",
        "a fine-tuned model, audio files or folders, as in `ssast predict MODEL FILES`",
        "predicted.csv, a row a recording, and predicted_windows.csv, a row a window",
        _names(
            *(_EVERY, _CLOUD, "lib cache_gb on_bad_audio mask_padding batch_size finetuned_mdl_path files"),
            "window_overlap window_pooling part",
        ),
        checks=(checks.check_predict, checks.check_cloud),
        words="finetuned_mdl_path files...",
        tidies=True,
    ),
    "merge": ModeRecord(
        "join the tables that extract or predict wrote in parts, and see that no part is missing or doubled",
        "the folder, or folders, of runs with --part, as in `ssast merge FOLDER -o OUT`",
        "the tables of one run",
        _names(_EVERY, _CLOUD, "cache_gb runs"),
        checks=(checks.check_folders, checks.check_cloud),
        words="runs...",
        tidies=True,
    ),
    "stats": ModeRecord(
        "measure the mean and standard deviation of a data set's log-mel values, to normalise by",
        "recordings, train.csv",
        "stats.yaml, to be given to the next run with --config",
        _names(_EVERY, _RECORDINGS, _SOUND, "num_mel_bins on_bad_audio batch_size"),
        checks=(checks.check_sources, checks.check_clip_length, checks.check_cloud),
        tidies=True,
    ),
    "check": ModeRecord(
        "look through a data set before a long run: recordings, csv files, labels, what the splits share",
        "recordings, csv files, perhaps labels.txt",
        "tables of findings and of recordings; exit code 1 where a run would suffer",
        _names(_EVERY, _RECORDINGS, _SOUND, "label_txt loss"),
        checks=(checks.check_sources, checks.check_clip_length, checks.check_cloud),
        tidies=True,
    ),
    "sweep": ModeRecord(
        "find the layer and the pooling of a frozen base that serve best, by validation",
        "recordings, train.csv, labels.txt, a pretrained model",
        "sweep.csv: the validation score of a head on each layer, in each pooling",
        _names(_CLIPS, _NEW_MODEL, _TRAINING, _HEAD, _WINDOWS),
        checks=checks.CHECK_WORK,
        tidies=True,
    ),
    "audit": ModeRecord(
        "ask whether labels can be told from the recordings instead of the voice: leaks, loudness, length, device, ...",
        "recordings, csv files, labels.txt, perhaps the folder of a run that scored these clips",
        "audit.html, audit.csv, audit.json, and traits.csv with what was measured of each clip",
        _names(_EVERY, _RECORDINGS, _SOUND, "label_txt finetuned_mdl_path resamples runs columns pretraining"),
        checks=(checks.check_sources, checks.check_audit, checks.check_clip_length, checks.check_cloud),
        words="runs...",
        tidies=True,
    ),
    "compare": ModeRecord(
        "put runs that scored the same clips side by side, with paired intervals of their differences",
        "two or more folders that finetune or evaluate wrote, as in `ssast compare RUN RUN`",
        "compare.csv",
        _names(_EVERY, _CLOUD, "resamples runs"),
        checks=(checks.check_compare, checks.check_cloud),
        words="runs...",
    ),
    "retest": ModeRecord(
        "say how well scores and embeddings repeat in people who were recorded twice",
        "a csv with a column session, and folders of evaluate, csv files of scores, or files of extract",
        "retest.csv, retest.json and retest.html",
        _names(_EVERY, _CLOUD, "data_split_root resamples runs"),
        checks=(checks.check_retest, checks.check_cloud),
        words="runs...",
    ),
    "report": ModeRecord(
        "fill the checklists of reviewers, TRIPOD+AI and PROBAST+AI, from the records of runs and from study.yaml",
        "folders that finetune, evaluate, audit, check or retest wrote, as in `ssast report RUN RUN`",
        "checklist.md and checklist.html, each item with its answer and its place, or open",
        _names(_EVERY, _CLOUD, "runs checklist study_file template"),
        checks=(checks.check_folders, checks.check_cloud),
        words="runs...",
    ),
    "inspect": ModeRecord(
        "say what a checkpoint is, what it hears and names, and what can be done with it",
        "a checkpoint of any kind, or a folder: ssast inspect FILE",
        "its kind, sizes, labels, SHA-256 and the commands it serves in; exit code 1 where it is of no use here",
        _names("checkpoint"),
        checks=(checks.check_checkpoint,),
        words="checkpoint...",
        only_prints=True,
        lock="",
    ),
    "convert": ModeRecord(
        "make a model folder of a published or older checkpoint, and prove that it answers the same",
        "a published, or fine-tuned, .pth or .pt: ssast convert FILE OUT",
        "a model folder, and how far its outputs are from the original's formula",
        _names(_EVERY, _SPECTROGRAM, _CHECKPOINT_HEAD, "checkpoint"),
        checks=(checks.check_checkpoint,),
        words="checkpoint exp_dir",
        lock=BESIDE,
    ),
    "export": ModeRecord(
        "write a model as other tools read it, and prove that it answers the same",
        "a model folder, or a published or older file: ssast export MODEL OUT --format onnx|ast",
        "a folder with model.onnx, or one that Hugging Face's transformers load as AST",
        _names(_EVERY, "checkpoint format"),
        checks=(checks.check_checkpoint,),
        words="checkpoint exp_dir",
        lock=BESIDE,
    ),
    "pack": ModeRecord(
        "pack recordings and their table into a few large files, which buckets and other machines read fast",
        "recordings, csv files: ssast pack -i RECORDINGS -d CSV -o SHARDS",
        "Parquet shards, for -i of the other modes and for Hugging Face's datasets; in a folder or a bucket",
        _names(_EVERY, _PACKING, "data_split_root lib on_bad_audio shard_mb row_group_mb"),
        checks=(checks.check_pack, checks.check_cloud),
        words="prefix data_split_root exp_dir",
    ),
    "unpack": ModeRecord(
        "give packed recordings and their tables back as they were",
        "shards that pack made: ssast unpack SHARDS NEW_FOLDER",
        "recordings/ and splits/ in a new folder, byte for byte what was packed",
        _names(_EVERY, _PACKING),
        checks=(checks.check_pack, checks.check_cloud),
        words="prefix exp_dir",
        lock=BESIDE,
    ),
    "upload": ModeRecord(
        "send the results of a run that did not reach the bucket: ssast upload FOLDER",
        "an output folder",
        "its files in the bucket",
        _names(_EVERY, "bucket_name project_name cloud_dir"),
        checks=(checks.check_cloud,),
        words="exp_dir",
        lock=THERE,
    ),
    "demo": ModeRecord(
        "synthesise a small speech corpus; pretrain, fine-tune, evaluate and extract on it",
        "nothing",
        "the corpus, and a folder for each step",
        _names(_EVERY, "speakers clips_per_speaker"),
        tidies=True,
    ),
}

ALIASES = {"eval": "evaluate", "eval-only": "evaluate", "extraction": "extract", "embed": "extract"}
"""The seed's other names of modes; it has `train` too, which is pretrain or finetune as the task says."""
SPELLINGS = ("train", *MODES, *ALIASES)


def check_together(options: Any) -> str:
    """The first thing that is wrong among checked options of a canonical mode, in one sentence; empty where nothing is.

    The type of `options` is not named, because options.py stands above this file.
    """
    return next((problem for check in MODES[options.mode].checks for problem in check(options)), "")
