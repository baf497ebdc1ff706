"""Declare the options that say what a mode does, and of which model."""

from dataclasses import dataclass

from ssast.options.audio_options import AudioOptions
from ssast.options.checks import FINETUNING_TASKS, PRETEXT_TASKS
from ssast.options.declaration import OptionGroup, option
from ssast.options.records import SPELLINGS

RUN = OptionGroup("Run mode")
MODEL = OptionGroup("Model")


@dataclass(frozen=True)
class ModelOptions(AudioOptions):
    """The part of `Options` about the mode and its model: every value is checked there."""

    # Run mode
    mode: str = option(
        "finetune",
        "what to do, for run.py; train is pretrain or finetune, as --task says",
        RUN,
        short="m",
        choices=SPELLINGS,
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
        shown="ft_cls; pretrain: pretrain_joint",
        is_public=True,
    )
    freeze: bool = option(True, "keep the base model as it is and train only the head", RUN, is_public=True)
    unfreeze_last: int = option(
        0,
        "with a frozen base: so many of the last blocks that the layer needs train all the same",
        RUN,
        unit="blocks",
        low=0,
        high=12,
        is_rare=True,
        is_public=True,
    )
    lora_rank: int = option(
        0,
        "with a frozen base: train low-rank additions (LoRA) of this rank in every block's attention, 0: none",
        RUN,
        low=0,
        high=1024,
        is_rare=True,
        is_public=True,
    )
    lora_alpha: int = option(16, "weight of these additions, times 1 / rank", RUN, low=1, high=100000, is_rare=True)
    weighted: bool = option(False, "learn a weighted sum of the hidden states 0 to 12", RUN, is_public=True)
    layer: int = option(
        -1,
        "hidden state to use: 0 the embedded input, 1 to 12 the blocks, 13 or -1 the last after its normalisation",
        RUN,
        low=-1,
        high=13,
        is_public=True,
    )
    embedding_type: str = option(
        "ft",
        "embedding from the head's first dense layer (ft), a hidden state (pt) or the weighted sum (wt)",
        RUN,
        choices=("ft", "pt", "wt"),
    )
    over_time: bool = option(False, "an embedding for each step of time in place of one a recording", RUN)
    # Model
    model_size: str = option(
        "base", "size; that of the pretrained model", MODEL, choices=("tiny", "small", "base", "base_nokd")
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
        is_rare=True,
        is_public=True,
    )
    mask_padding: bool = option(
        False,
        "keep padding out of attention, pooling and pretext targets",
        MODEL,
        shown="False; a fine-tuned model's own",
        is_public=True,
    )
