"""Every option, declared once: the part about models, training and machines here, that about data in data_options.py.

From here follow the command line, its help, the keys of `--config run.yaml`, the record in a run's folder and the page
docs/options.md.
"""

import dataclasses
from dataclasses import dataclass

from ssast.options.data_options import DataOptions
from ssast.options.declaration import Spec, option, specs
from ssast.options.groups import (
    ATTENTION,
    BATCHED,
    CHECKPOINT,
    DEMO,
    EVERY,
    HEAD,
    HEADS,
    HEAR,
    MACHINE,
    MODEL,
    NOWHERE,
    PRETRAINING,
    RUN,
    SCORES,
    TRAIN,
    TRAINING,
    USE,
    WORK,
)
from ssast.options.records import FINETUNING_TASKS, PRETEXT_TASKS, SPELLINGS

# Stands for "whatever differs from its default".
NOT_SAID: frozenset[str] = frozenset({""})


@dataclass(frozen=True)
class Options(DataOptions):
    """Every option of a run, each value checked.

    `given` holds the names of those that were asked for, so that a mode can tell them from defaults that a model folder
    may overrule; `dataclasses.replace` leaves it alone. Build one with `resolve`, which also reads --config and checks
    that the options go together.
    """

    # Run mode
    mode: str = option(
        "finetune",
        "what to do, for run.py; train is pretrain or finetune, as --task says",
        RUN,
        short="m",
        choices=SPELLINGS,
        modes=NOWHERE,
        changes_result=False,
    )
    config: str | None = option(
        None, "YAML file of options such as a run folder's run.yaml; options given beside it win", RUN, is_path=True
    )
    task: str = option(
        "ft_cls",
        "pretraining: hidden patches told apart (mpc), drawn (mpg) or both (joint); "
        "fine-tuning: average the class tokens (ft_cls) or all patches (ft_avgtok)",
        RUN,
        choices=(*PRETEXT_TASKS, *FINETUNING_TASKS),
        modes=("pretrain", "finetune", "extract", "convert"),
        shown="ft_cls; pretrain: pretrain_joint",
        is_public=True,
    )
    freeze: bool = option(
        True, "keep the base model as it is and train only the head", RUN, modes=("finetune",), is_public=True
    )
    unfreeze_last: int = option(
        0,
        "with a frozen base: so many of the last blocks that the layer needs train all the same",
        RUN,
        unit="blocks",
        low=0,
        high=12,
        modes=("finetune",),
        is_rare=True,
        is_public=True,
    )
    lora_rank: int = option(
        0,
        "with a frozen base: train low-rank additions (LoRA) of this rank in every block's attention, 0: none",
        RUN,
        low=0,
        high=1024,
        modes=("finetune",),
        is_public=True,
    )
    lora_alpha: int = option(
        16, "weight of these additions, times 1 / rank", RUN, low=1, high=100000, modes=("finetune",), is_rare=True
    )
    weighted: bool = option(
        False, "learn a weighted sum of the hidden states 0 to 12", RUN, modes=("finetune", "convert"), is_public=True
    )
    layer: int = option(
        -1,
        "hidden state to use: 0 the embedded input, 1 to 12 the blocks, 13 or -1 the last after its normalisation",
        RUN,
        low=-1,
        high=13,
        modes=("finetune", "extract", "convert"),
        is_public=True,
    )
    embedding_type: str = option(
        "ft",
        "embedding from the head's first dense layer (ft), a hidden state (pt) or the weighted sum (wt)",
        RUN,
        choices=("ft", "pt", "wt"),
        modes=("extract",),
    )
    over_time: bool = option(
        False, "an embedding for each step of time in place of one a recording", RUN, modes=("extract",)
    )
    # Model
    model_size: str = option(
        "base", "size of the model; that of the pretrained one", MODEL, choices=("tiny", "small", "base", "base_nokd")
    )
    fshape: int = option(
        128,
        "height of a patch; a pretrained model brings its own",
        MODEL,
        unit="mel bins",
        low=1,
        is_rare=True,
        is_public=True,
    )
    tshape: int = option(
        2,
        "width of a patch; a pretrained model brings its own",
        MODEL,
        unit="frames",
        low=1,
        is_rare=True,
        is_public=True,
    )
    fstride: int | None = option(
        None,
        "step between patches",
        MODEL,
        unit="mel bins",
        low=1,
        shown="the patch height, 128 for frame models",
        modes=(*MODEL.modes, "convert"),
        is_rare=True,
        is_public=True,
    )
    tstride: int | None = option(
        None,
        "step between patches",
        MODEL,
        unit="frames",
        low=1,
        shown="the patch width, 2 for frame models",
        modes=(*MODEL.modes, "convert"),
        is_rare=True,
        is_public=True,
    )
    mask_padding: bool = option(
        False,
        "keep padding out of attention, pooling and pretext targets",
        MODEL,
        modes=(*MODEL.modes, *USE, "predict"),
        shown="False; a fine-tuned model's own",
        is_public=True,
    )
    # Training
    batch_size: int = option(
        8,
        "clips in a batch; in training those of one step, over all processes",
        TRAINING,
        low=1,
        modes=(*BATCHED, *HEAR),
        is_public=True,
    )
    micro_batch: int | None = option(
        None,
        "clips that go through the model at once in each process; gradients of a batch's pieces are added up",
        TRAINING,
        low=1,
        modes=TRAIN,
        shown="batch_size over the number of processes, fewer where a GPU's memory asks for it",
        is_rare=True,
        is_public=True,
        changes_result=False,
    )
    num_workers: int = option(
        0, "processes that load recordings; 0: the main one does", TRAINING, low=0, modes=EVERY, changes_result=False
    )
    learning_rate: float = option(
        0.0003, "how far a step goes; onecycle has --max_lr instead", TRAINING, above=0, is_public=True
    )
    head_lr: float | None = option(
        None,
        "learning rate of the head where it differs; onecycle keeps the ratio",
        TRAINING,
        above=0,
        modes=HEADS,
        is_rare=True,
        is_public=True,
    )
    epochs: int = option(1, "passes over the training recordings", TRAINING, low=1, is_public=True)
    optim: str = option("adam", "optimizer", TRAINING, choices=("adam", "adamw"), is_public=True)
    weight_decay: float = option(0.0001, "weight decay of adamw", TRAINING, low=0, is_rare=True, is_public=True)
    loss: str = option(
        "BCE",
        "loss: BCE for yes/no labels (0 or 1), MSE for numbers",
        TRAINING,
        choices=("BCE", "MSE"),
        modes=(*HEADS, "check", "convert"),
        is_public=True,
    )
    scheduler: str | None = option(
        None, "course of the learning rate; none: constant", TRAINING, choices=("onecycle",), is_public=True
    )
    max_lr: float = option(0.01, "highest learning rate of onecycle", TRAINING, above=0, is_public=True)
    clip_grad: float = option(
        0.0, "largest norm of the gradients of one step, 0: any", TRAINING, low=0, is_rare=True, is_public=True
    )
    patience: int = option(
        0,
        "end training after so many epochs without a better validation loss, 0: never",
        TRAINING,
        unit="epochs",
        low=0,
        is_public=True,
    )
    pos_weight: bool = option(
        False,
        "weigh the yes of each label by the number of no for one yes in the training rows (BCE)",
        TRAINING,
        modes=HEADS,
        is_rare=True,
        is_public=True,
    )
    balanced: bool = option(
        False,
        "draw training clips with replacement, those with rare values of the labels more often (BCE)",
        TRAINING,
        modes=HEADS,
        is_rare=True,
        is_public=True,
    )
    val_share: float = option(
        0.1,
        "share of train.csv held out to choose the best epoch; by speaker where the csv names them",
        TRAINING,
        above=0,
        below=1,
        is_public=True,
    )
    save_every_seconds: float = option(
        60.0,
        "time between two checkpoints of an unfinished run",
        TRAINING,
        unit="seconds",
        low=0,
        modes=TRAIN,
        is_rare=True,
        changes_result=False,
    )
    keep_checkpoints: int = option(
        1,
        "checkpoints of an unfinished run to keep, the newest ones, besides the best weights",
        TRAINING,
        low=1,
        high=1000,
        modes=TRAIN,
        is_rare=True,
        changes_result=False,
    )
    tensorboard: bool = option(
        False, "also write TensorBoard logs", TRAINING, modes=TRAIN, is_rare=True, changes_result=False
    )
    # Pretraining
    mask_patch: int = option(400, "patches hidden in each clip", PRETRAINING, unit="patches", low=1, is_public=True)
    cluster_factor: int = option(
        3,
        "square patches are hidden in clusters with a side of this many to two more",
        PRETRAINING,
        unit="patches",
        low=1,
        is_rare=True,
    )
    # Classification head
    activation: str = option(
        "relu",
        "activation of the head",
        HEAD,
        choices=("relu", "gelu", "silu", "tanh"),
        modes=(*HEAD.modes, "convert"),
        is_rare=True,
        is_public=True,
    )
    final_dropout: float = option(
        0.2,
        "dropout before the last layer of the head",
        HEAD,
        unit="probability",
        low=0,
        high=1,
        is_rare=True,
        is_public=True,
    )
    layernorm: bool = option(True, "LayerNorm in the head", HEAD, is_rare=True, is_public=True)
    # Checkpoint
    checkpoint: str | None = option(
        None,
        "file or folder to look at, to convert or to export; a published name too",
        CHECKPOINT,
        is_path=True,
        is_needed=True,
    )
    format: str = option(
        "onnx",
        "onnx: a program for other languages and machines; ast: a folder for Hugging Face's transformers",
        CHECKPOINT,
        choices=("onnx", "ast"),
        modes=("export",),
    )
    # Scores
    resamples: int = option(
        1000,
        "times that subjects (or clips) are drawn anew for intervals and shuffled for the level of chance; 0: neither",
        SCORES,
        low=0,
        high=1000000,
        changes_result=False,
    )
    folds: int = option(
        0,
        "cross-validation: so many parts of train.csv, by subject, each scored by a model of the others; 0: none",
        SCORES,
        low=0,
        high=10000,
        modes=("finetune",),
        is_public=True,
    )
    seeds: int = option(1, "repeat the run with so many seeds, from --seed up", SCORES, low=1, high=1000, modes=HEADS)
    runs: str | None = option(
        None,
        "folders of the runs to compare, with commas between; for audit one that scored these clips",
        SCORES,
        modes=("compare", "audit"),
    )
    columns: str | None = option(
        None,
        "columns of the csv (or fields of metadata.json) to hold against the labels, with commas between; "
        "none: all that are no label and no subject",
        SCORES,
        modes=("audit",),
    )
    # Attention
    uids: str | None = option(
        None, "clips of the csv to look at, by uid with commas between; none: its first", ATTENTION
    )
    max_clips: int = option(20, "at most so many clips", ATTENTION, low=1, high=1000)
    # Machine
    device: str = option("auto", "where the model runs", MACHINE, choices=("auto", "cpu", "cuda", "mps"))
    precision: str = option(
        "auto",
        "arithmetic of the model; auto: bf16 where the processor multiplies it natively",
        MACHINE,
        choices=("auto", "fp32", "bf16"),
        is_public=True,
    )
    compile: bool = option(
        False,
        "compile the blocks of the model before the first batch (torch.compile; minutes, for long runs)",
        MACHINE,
        modes=BATCHED,
        is_rare=True,
    )
    threads: int | None = option(
        None,
        "threads of the processor that torch computes on; the result's last bits depend on their number",
        MACHINE,
        low=1,
        high=1024,
        shown="as many as this process has cores to itself",
        is_rare=True,
        changes_result=False,
    )
    worker_start: str = option(
        "auto",
        "how the processes of num_workers start; auto: as Python does on this system",
        MACHINE,
        choices=("auto", "fork", "spawn", "forkserver"),
        modes=WORK,
        is_rare=True,
        changes_result=False,
    )
    seed: int = option(
        0, "where all chance starts: the same seed, the same result", MACHINE, low=0, high=2**32 - 1, is_public=True
    )
    features: str = option(
        "auto",
        "auto: with a frozen base and no augmentation each recording goes through the base once, and its pooled states "
        "are kept in the cache (--cache_gb); never: keep none",
        MACHINE,
        choices=("auto", "never"),
        modes=HEADS,
        is_rare=True,
        changes_result=False,
    )
    resume: str = option(
        "auto",
        "auto: go on with the unfinished run of the output folder; never: start anew",
        MACHINE,
        choices=("auto", "never"),
        changes_result=False,
    )
    # Demo
    speakers: int = option(48, "synthetic speakers", DEMO, low=4, high=10000)
    clips_per_speaker: int = option(10, "clips of each", DEMO, low=1, high=1000)

    given: frozenset[str] = dataclasses.field(default=NOT_SAID, repr=False, compare=False)

    def __post_init__(self):
        for name, spec in SPECS.items():
            object.__setattr__(self, name, spec.check(getattr(self, name), name))
        if self.given is NOT_SAID:
            changed = frozenset(name for name, spec in SPECS.items() if getattr(self, name) != spec.default)
            object.__setattr__(self, "given", changed - {"mode", "config"})


SPECS: dict[str, Spec] = specs(Options)
