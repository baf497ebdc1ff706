"""Say what does not go together among options, as far as that can be told without a table or a model.

Each check gives a sentence for each thing that is wrong. The type of `options` is not named: options.py stands above.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

PRETEXT_TASKS = ("pretrain_mpc", "pretrain_mpg", "pretrain_joint")
FINETUNING_TASKS = ("ft_cls", "ft_avgtok")
_WINDOW_SECONDS = 0.025
LEAST_SHUFFLES = 100


def check_checkpoint(options: Any) -> Iterator[str]:
    """Whether a checkpoint is named, and a folder to make."""
    if options.checkpoint is None:
        where = "" if options.mode == "inspect" else " OUT"
        yield f"{options.mode} needs a checkpoint; write `ssast {options.mode} FILE{where}`"
    if options.mode != "inspect" and "exp_dir" not in options.given:
        yield f"{options.mode} needs a folder to make; write `ssast {options.mode} FILE OUT`"
    if options.mode == "convert" and options.task not in FINETUNING_TASKS:
        yield f"convert cannot have --task {options.task}; give {' or '.join(FINETUNING_TASKS)}"


def check_arrange(options: Any) -> Iterator[str]:
    """Whether files, table and new folder are named."""
    lacking = {
        "a folder of audio files": options.prefix is None,
        "a table": options.data_split_root is None,
        "a new folder": "exp_dir" not in options.given,
    }
    if any(lacking.values()):
        first = next(what for what, lacks in lacking.items() if lacks)
        yield f"arrange lacks {first}; write `ssast arrange FOLDER TABLE NEW_FOLDER`, the table as a csv"


def check_pack(options: Any) -> Iterator[str]:
    """Whether what to pack or unpack and where to are named."""
    packs = options.mode == "pack"
    lacking = {
        "recordings" if packs else "shards": options.prefix is None,
        "a table": packs and options.data_split_root is None and not _brings_tables(options),
        "a place to write to": "exp_dir" not in options.given,
    }
    if any(lacking.values()):
        first = next(what for what, lacks in lacking.items() if lacks)
        usage = "ssast pack -i RECORDINGS -d CSV -o SHARDS" if packs else "ssast unpack SHARDS NEW_FOLDER"
        yield f"{options.mode} lacks {first}; write `{usage}`"


def check_audit(options: Any) -> Iterator[str]:
    """Whether there are shuffles enough."""
    if options.resamples < LEAST_SHUFFLES:
        yield (
            f"audit cannot have --resamples {options.resamples}; "
            f"give at least {LEAST_SHUFFLES}, since what luck does is told from shuffles"
        )


def check_retest(options: Any) -> Iterator[str]:
    """Whether there are values to hold against each other, and a table that tells the sessions apart."""
    if not options.runs:
        yield "retest needs scores or embeddings; write `ssast retest RUN -d TABLE`, a folder of evaluate or their file"
    if options.data_split_root is None:
        yield "retest needs -d/--data_split_root, a csv with the columns uid, speaker and session"


def check_scoring(options: Any) -> Iterator[str]:
    """Whether thresholds are asked for by one rule, and what is recalibrated is tried in another place."""
    if options.sensitivity is not None and options.specificity is not None:
        yield "a threshold reaches a --sensitivity or a --specificity; give one of the two"
    if options.recalibrate is not None and not options.external:
        yield "--recalibrate belongs to a test in another place; add --external True, or leave it out"


def check_folders(options: Any) -> Iterator[str]:
    """Whether merge or report has folders of runs; an empty study.yaml needs none."""
    if options.mode == "merge" and not options.runs:
        yield "merge lacks a folder with parts; write `ssast merge FOLDER -o OUT`"
    if options.mode == "report" and not (options.runs or options.template):
        yield "report needs folders of runs; write `ssast report RUN RUN`, or --template True for an empty study.yaml"


def check_compare(options: Any) -> Iterator[str]:
    """Whether there are runs to compare, and resamples enough."""
    if not options.runs:
        yield "compare needs two runs or more; write `ssast compare RUN RUN`, each a folder of a run"
    if options.resamples < 2:
        yield f"compare cannot have --resamples {options.resamples}; give at least 2, better 1000"


def _task(options: Any) -> Iterator[str]:
    allowed = PRETEXT_TASKS if options.mode == "pretrain" else FINETUNING_TASKS
    if options.task not in allowed:
        other = "finetune" if options.mode == "pretrain" else "pretrain"
        hint = f", or use the mode {other}" if options.mode in ("pretrain", "finetune") else ""
        yield f"{options.mode} cannot have --task {options.task}; give {' or '.join(allowed)}{hint}"


def _brings_tables(options: Any) -> bool:
    """Whether the recordings lie in shards, which have tables of their own. UserError where these are damaged."""
    from ssast.data.metadata import may_be_collection
    from ssast.data.storage.location import locate

    if options.prefix is None:
        return False
    root = locate(options.prefix, options.study, options.bucket_name, options.project_name)
    if not may_be_collection(root):
        return False
    from ssast.data.shards.collection import opened  # late: it brings torch

    return opened(root) is not None


def check_sources(options: Any) -> Iterator[str]:
    """Whether recordings, tables and labels are named."""
    if options.mode == "attention" and options.files is not None:
        if options.uids is not None:
            yield "--uids chooses clips of a csv, and --files audio files; give one of the two"
        return
    or_files = ", or audio files, as in `ssast attention FILES`" if options.mode == "attention" else ""
    if options.prefix is None:
        yield f"{options.mode} needs -i/--prefix, the folder that holds <uid>/waveform.EXT{or_files}"
    if options.data_split_root is None and not _brings_tables(options):
        what = "with train.csv" if options.mode in ("pretrain", "sweep") else "with train.csv and test.csv"
        alone = ("evaluate", "extract", "attention", "check", "stats", "audit")
        or_file = ", or one csv file" if options.mode in alone else ""
        yield f"{options.mode} needs -d/--data_split_root, the folder {what}{or_file}"
    if options.mode == "finetune" and options.folds == 1:
        yield "--folds 1 leaves nothing to train on; give 0 for no cross-validation, or at least 2"
    if options.label_txt is None and options.mode in ("finetune", "sweep", "evaluate", "audit"):
        yield f"{options.mode} needs -l/--label_txt, a text file with one label a line"


def check_predict(options: Any) -> Iterator[str]:
    """Whether a model and recordings are named."""
    if options.finetuned_mdl_path is None or options.files is None:
        lacks = "a model" if options.finetuned_mdl_path is None else "recordings"
        yield f"predict lacks {lacks}; write `ssast predict MODEL FILES`, a fine-tuned model and audio files or folders"


def _model(options: Any) -> Iterator[str]:
    finetuned = options.finetuned_mdl_path
    if options.mode == "evaluate" and finetuned is None:
        yield "evaluate needs --finetuned_mdl_path, the folder that finetune wrote"
    if options.mode in ("pretrain", "finetune", "sweep") and finetuned is not None:
        yield (
            f"{options.mode} cannot have --finetuned_mdl_path; "
            "to start from a model folder give it as --pretrained_mdl_path"
        )
    if options.mode == "extract" and finetuned is None and options.embedding_type != "pt":
        yield (
            f"--embedding_type {options.embedding_type} needs a fine-tuned model: give --finetuned_mdl_path, "
            "or --embedding_type pt for the pretrained one"
        )


def _training(options: Any) -> Iterator[str]:
    if options.micro_batch is not None and options.micro_batch > options.batch_size:
        yield (
            f"--micro_batch {options.micro_batch} is more than the {options.batch_size} clips of a batch; "
            "give fewer, or a larger --batch_size"
        )
    if options.mode not in ("finetune", "sweep"):
        return
    for name in ("unfreeze_last", "lora_rank"):
        if options.mode == "finetune" and getattr(options, name) and not options.freeze:
            yield f"--{name} belongs to a frozen base, but --freeze is False; give one of the two"
    is_still = options.mode == "sweep" or (options.freeze and not options.unfreeze_last)
    if options.optim == "muon" and is_still:
        ways = "" if options.mode == "sweep" else "--freeze False, --unfreeze_last or "
        yield f"--optim muon trains the matrices of the blocks, which a frozen base keeps; give {ways}another --optim"
    for name in ("pos_weight", "balanced"):
        if getattr(options, name) and options.loss != "BCE":
            yield f"--{name} True belongs to yes/no labels, but --loss is {options.loss}; leave it out"


def check_cloud(options: Any) -> Iterator[str]:
    """Whether bucket and folder are bare names."""
    if options.bucket_name and "/" in re.sub(r"^(?!gs://)\w+://", "", options.bucket_name):
        yield f"--bucket_name is {options.bucket_name}, expected the bare name without gs:// and folders"
    if "://" in options.cloud_dir:
        yield f"--cloud_dir is {options.cloud_dir}, expected a folder inside the bucket without gs:// and bucket name"


def _spectrogram(options: Any) -> Iterator[str]:
    if options.target_length < options.tshape:
        yield (
            f"--target_length {options.target_length} is shorter than a patch of {options.tshape} frames; "
            f"give at least {options.tshape}"
        )
    yield from check_clip_length(options)
    if options.freqm > options.num_mel_bins:
        yield f"--freqm {options.freqm} is more than the {options.num_mel_bins} mel bins there are; give at most those"
    if options.timem > options.target_length:
        yield f"--timem {options.timem} is more than the {options.target_length} frames there are; give at most those"
    if options.pretrained_mdl_path is None and options.mode in ("pretrain", "finetune", "sweep"):
        yield from _new_model(options)


def check_clip_length(options: Any) -> Iterator[str]:
    """Whether a clip is at least one window long."""
    if 0 < options.clip_length < _WINDOW_SECONDS:
        yield (
            f"--clip_length {options.clip_length} is shorter than one window of {_WINDOW_SECONDS} seconds; "
            "give more, or 0 for whole recordings"
        )


def _new_model(options: Any) -> Iterator[str]:
    """What is known without a checkpoint: the shape of the patches is that of the options."""
    if options.num_mel_bins < options.fshape:
        yield (
            f"--fshape {options.fshape} is higher than the {options.num_mel_bins} mel bins there are; "
            "give fewer, or more with --num_mel_bins"
        )
    if options.mode != "pretrain":
        return
    shape, stride = (options.fshape, options.tshape), (options.fstride, options.tstride)
    if any(step is not None and step != side for step, side in zip(stride, shape, strict=True)):
        yield (
            "pretraining patches lie side by side; leave out --fstride and --tstride, "
            f"or give {shape[0]} and {shape[1]}, the shape of a patch"
        )
    patches = (options.num_mel_bins // shape[0]) * (options.target_length // shape[1])
    if options.mask_patch >= patches:
        yield f"--mask_patch {options.mask_patch} leaves none of a clip's {patches} patches; give fewer than {patches}"


CHECK_WORK = (_task, check_sources, _model, _training, check_cloud, _spectrogram)
"""What is checked where a model works on recordings."""


def check_spectrograms(
    mode: str, readers: Sequence[str], values: Mapping[str, object], altering: Sequence[str]
) -> Iterator[str]:
    """Whether recordings that are power spectrograms will do; `altering` are the augmentations that need sound.

    `readers` are the modes that read them.
    """
    if mode not in readers:
        yield f"{mode} needs sound, and these recordings are spectrograms; {', '.join(readers)} read them"
    for name in altering:
        if values[name]:
            yield f"--{name} alters sound, and these recordings are spectrograms; leave it out"
    usual = {"resample_rate": 16000, "clip_length": 0, "crop": "start", "over_time": 0, "whole_recording": 0}
    for name, value in usual.items():
        if (values[name] or 0) != value:
            yield f"--{name} {values[name]} needs sound, and these recordings are spectrograms; leave it out"
