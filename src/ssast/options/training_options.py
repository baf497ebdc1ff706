"""Declare the options about training."""

from dataclasses import dataclass

from ssast.options.declaration import OptionGroup, option
from ssast.options.model_options import ModelOptions

TRAINING = OptionGroup("Training")
PRETRAINING = OptionGroup("Pretraining")
HEAD = OptionGroup("Classification head")


@dataclass(frozen=True)
class TrainingOptions(ModelOptions):
    """The part of `Options` about training: every value is checked there."""

    # Training
    batch_size: int = option(
        8,
        "clips in a batch; in training: of one step, on all processes",
        TRAINING,
        low=1,
        is_public=True,
    )
    micro_batch: int | None = option(
        None,
        "clips that go through the model at once in each process; gradients of a batch's pieces are added up",
        TRAINING,
        low=1,
        shown="batch_size over the number of processes, fewer where a GPU's memory asks for it",
        is_rare=True,
        is_public=True,
        changes_result=False,
    )
    num_workers: int | str = option(
        0,
        "processes that load recordings; 0: the main one; auto: as many as processors to spare",
        TRAINING,
        low=0,
        word="auto",
        changes_result=False,
    )
    learning_rate: float = option(
        0.0003, "how far a step goes; onecycle has --max_lr instead", TRAINING, above=0, is_public=True
    )
    head_lr: float | None = option(
        None,
        "learning rate of the head where it differs; onecycle keeps the ratio",
        TRAINING,
        above=0,
        is_rare=True,
        is_public=True,
    )
    epochs: int = option(1, "passes over the training recordings", TRAINING, low=1, is_public=True)
    optim: str = option(
        "adam",
        "optimizer; muon for the blocks only",
        TRAINING,
        choices=("adam", "adamw", "muon"),
        is_public=True,
    )
    weight_decay: float = option(
        0.0001, "weight decay of adamw and muon", TRAINING, low=0, is_rare=True, is_public=True
    )
    loss: str = option(
        "BCE",
        "for yes/no, numbers, scales, one of several kinds",
        TRAINING,
        choices=("BCE", "MSE", "ordinal", "CE"),
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
        "end after so many epochs without a better validation loss, 0: never",
        TRAINING,
        unit="epochs",
        low=0,
        is_public=True,
    )
    raters: str = option(
        "mean",
        "of several ratings of a recording, learn from their mean, from the share of raters for each answer (soft), "
        "or from one drawn in each epoch",
        TRAINING,
        choices=("mean", "soft", "draw"),
        is_rare=True,
        is_public=True,
    )
    pos_weight: bool = option(
        False,
        "weigh the yes of each label by the number of no for one yes in the training rows (BCE)",
        TRAINING,
        is_rare=True,
        is_public=True,
    )
    balanced: bool = option(
        False,
        "draw training clips with replacement, those with rare values of the labels more often (BCE)",
        TRAINING,
        is_rare=True,
        is_public=True,
    )
    crop: str = option(
        "start",
        "what training hears of long recordings: their start, or another stretch each epoch",
        TRAINING,
        choices=("start", "random"),
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
        is_rare=True,
        changes_result=False,
    )
    keep_checkpoints: int = option(
        1,
        "checkpoints of an unfinished run to keep, the newest ones, besides the best weights",
        TRAINING,
        low=1,
        high=1000,
        is_rare=True,
        changes_result=False,
    )
    tensorboard: bool = option(False, "also write TensorBoard logs", TRAINING, is_rare=True, changes_result=False)
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
    mask_layer: int = option(
        0,
        "blocks that see the visible patches alone, which costs less; the tokens of hidden patches enter after them "
        "(0: as published). A model that is gone on with keeps its own",
        PRETRAINING,
        unit="blocks",
        low=0,
        high=11,
        is_public=True,
    )
    # Classification head
    activation: str = option(
        "relu",
        "activation of the head",
        HEAD,
        choices=("relu", "gelu", "silu", "tanh"),
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
