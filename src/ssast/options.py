"""Text, a YAML file or Python values in, one checked `Options` out: every option is declared here, once.

From here follow the command line, its help, the keys of `--config run.yaml`, the record in a run's folder and the page
docs/options.md, which `python -m ssast.options` prints.
"""

import dataclasses
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ssast.declare import Group, Spec, option, specs, suggestion
from ssast.errors import UserError
from ssast.modes import FINETUNING_TASKS, MODES, PRETEXT_TASKS, SPELLINGS, canonical
from ssast.rules import validate
from ssast.runfile import read_mapping, write_mapping

# Stands for "whatever differs from its default".
NOT_SAID: frozenset[str] = frozenset({""})
# The key in a run's own YAML file that holds what is not an option.
RECORD = "record"
PREFACE = """# Options

Every option can be given on the command line (`ssast MODE --name value` or `python run.py -m MODE --name value`), as a
key in a YAML file (`--config run.yaml`; what is given beside it wins), and as an argument in Python
(`ssast.finetune(name=value)`). True and False are written out, `none` stands for nothing, and an option that a mode has
no use for does no harm.

This page is written by `make docs`.
"""

EVERY = tuple(MODES)
BATCHED = ("pretrain", "finetune", "evaluate", "extract")
WORK = (*BATCHED, "attention")
TRAIN = ("pretrain", "finetune")
USE = ("evaluate", "extract", "attention")
LABELLED = ("finetune", "evaluate", "check")
READ = (*WORK, "check")
SEND = (*WORK, "upload")
BUCKET = (*READ, "upload")

NOWHERE = ("",)

LOADING = Group("Loading data", READ)
CLOUD = Group("Google cloud storage", WORK)
SAVING = Group("Saving data", WORK)
RUN = Group("Run mode", EVERY)
AUDIO = Group("Audio and spectrogram", WORK)
WAVEFORM = Group("Waveform augmentation (training only)", TRAIN)
FBANK = Group("Spectrogram augmentation (training only)", TRAIN)
MODEL = Group("Model", TRAIN)
TRAINING = Group("Training", TRAIN)
PRETRAINING = Group("Pretraining", ("pretrain",))
HEAD = Group("Classification head", ("finetune",))
SCORES = Group("Scores", ("finetune", "evaluate", "compare"))
ATTENTION = Group("Attention", ("attention",))
MACHINE = Group("Machine", EVERY)
DEMO = Group("Demo", ("demo",))

_PROBABILITY: dict[str, Any] = {"unit": "probability a clip", "low": 0, "high": 1}


@dataclass(frozen=True)
class Options:
    """Every option of a run, each value checked.

    `given` holds the names of those that were asked for, so that a mode can tell them from defaults that a model folder
    may overrule; `dataclasses.replace` leaves it alone. Build one with `resolve`, which also reads --config and checks
    that the options go together.
    """

    # Loading data
    prefix: str | None = option(
        None,
        "folder of the recordings, PREFIX/UID/waveform.EXT; in a bucket without gs://",
        LOADING,
        short="i",
        is_path=True,
        is_needed=True,
    )
    study: str | None = option(None, "folder below prefix, where that holds more than one study", LOADING, short="s")
    data_split_root: str | None = option(
        None,
        "folder with train.csv and test.csv, or one csv for evaluate, extract and attention",
        LOADING,
        short="d",
        is_path=True,
        is_needed=True,
    )
    label_txt: str | None = option(
        "./labels.txt",
        "text file with the target labels, one a line",
        LOADING,
        short="l",
        is_path=True,
        modes=LABELLED,
    )
    lib: bool = option(False, "read recordings with librosa", LOADING)
    pretrained_mdl_path: str | None = option(
        "SSAST-Base-Frame-400.pth",
        "pretrained model to start from: a published .pth or a model folder; none: random weights",
        LOADING,
        modes=("pretrain", "finetune", "extract", "attention"),
        shown="SSAST-Base-Frame-400.pth; pretrain: none",
        is_path=True,
    )
    finetuned_mdl_path: str | None = option(
        None, "fine-tuned model to use: a model folder, or an older .pt file", LOADING, modes=USE, is_path=True
    )
    on_bad_audio: str = option(
        "error",
        "what a recording that cannot be used does: end the run, or be left out and named",
        LOADING,
        choices=("error", "skip"),
        modes=WORK,
    )
    # Google cloud storage
    bucket_name: str | None = option(
        None, "bucket of the recordings and, while cloud is True, of the results", CLOUD, short="b", modes=BUCKET
    )
    project_name: str | None = option(None, "project of the bucket", CLOUD, short="p", modes=BUCKET)
    cloud: bool = option(True, "also save the results to the bucket; without --bucket_name they stay here", CLOUD)
    cache_gb: float = option(
        50.0,
        "room on this disk for what was read from buckets, in $SSAST_CACHE or ~/.cache/ssast; "
        "what was not used for the longest time goes first",
        CLOUD,
        unit="GB",
        above=0,
        modes=READ,
    )
    # Saving data
    dataset: str | None = option(
        None, "name of the data set in file names", SAVING, shown="lowest folder of data_split_root"
    )
    exp_dir: str = option(
        "./experiments", "local folder for everything that is written", SAVING, short="o", modes=EVERY, is_path=True
    )
    cloud_dir: str = option(
        "", "folder inside the bucket to save to, without gs:// and bucket name", SAVING, modes=SEND
    )
    # Run mode
    mode: str = option(
        "finetune",
        "what to do, for run.py; train is pretrain or finetune, as --task says",
        RUN,
        short="m",
        choices=SPELLINGS,
        modes=NOWHERE,
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
        modes=("pretrain", "finetune", "extract"),
        shown="ft_cls; pretrain: pretrain_joint",
    )
    freeze: bool = option(True, "keep the base model as it is and train only the head", RUN, modes=("finetune",))
    weighted: bool = option(False, "learn a weighted sum of the hidden states 0 to 12", RUN, modes=("finetune",))
    layer: int = option(
        -1,
        "hidden state to use: 0 the embedded input, 1 to 12 the blocks, 13 or -1 the last after its normalisation",
        RUN,
        low=-1,
        high=13,
        modes=("finetune", "extract"),
    )
    embedding_type: str = option(
        "ft",
        "embedding from the head's first dense layer (ft), a hidden state (pt) or the weighted sum (wt)",
        RUN,
        choices=("ft", "pt", "wt"),
        modes=("extract",),
    )
    # Audio and spectrogram
    dataset_mean: float = option(-4.2677393, "mean of the data set's log-mel values", AUDIO)
    dataset_std: float = option(
        4.5689974, "their standard deviation; values become (x - mean) / (2 std)", AUDIO, above=0
    )
    resample_rate: int = option(
        16000, "sample rate that every recording is brought to", AUDIO, unit="Hz", low=1000, high=384000
    )
    reduce: bool = option(True, "average the channels into one; otherwise the first is used", AUDIO)
    clip_length: float = option(
        0.0, "use only the beginning of each recording, 0: all of it", AUDIO, unit="seconds", low=0
    )
    num_mel_bins: int = option(128, "frequency bins of the spectrogram", AUDIO, unit="mel bins", low=1, high=1024)
    target_length: int = option(
        1024, "length that spectrograms are cut or padded to", AUDIO, unit="frames of 10 ms", low=1
    )
    # Waveform augmentation: for each kind how often, then how much
    tshift: float = option(0.0, "shift in time", WAVEFORM, **_PROBABILITY)
    tshift_share: float = option(
        0.25, "shift by at most so much, either way", WAVEFORM, unit="share of the clip", low=0, high=0.5
    )
    speed: float = option(0.0, "play faster or slower, pitch going with it", WAVEFORM, **_PROBABILITY)
    speed_range: float = option(
        0.1, "at most so much faster or slower", WAVEFORM, unit="share of the speed", low=0, high=0.9
    )
    gauss: float = option(0.0, "add Gaussian noise", WAVEFORM, **_PROBABILITY)
    gauss_snr_db: float = option(
        15.0, "speech is at least so far above that noise", WAVEFORM, unit="dB", low=0, high=100
    )
    pshift: float = option(0.0, "shift the pitch, the length staying", WAVEFORM, **_PROBABILITY)
    pshiftn: float = option(2.0, "at most so much up or down", WAVEFORM, unit="semitones", low=0, high=24)
    gain: float = option(0.0, "make louder or quieter", WAVEFORM, **_PROBABILITY)
    gain_db: float = option(6.0, "at most so much", WAVEFORM, unit="dB", low=0, high=60)
    stretch: float = option(0.0, "stretch or squeeze in time, the pitch staying", WAVEFORM, **_PROBABILITY)
    stretch_range: float = option(
        0.2, "at most so much faster or slower", WAVEFORM, unit="share of the speed", low=0, high=0.9
    )
    mixup: float = option(0.0, "mix with another clip of the batch, labels too", WAVEFORM, **_PROBABILITY)
    mixup_alpha: float = option(10.0, "shares are drawn from Beta(alpha, alpha); large: near halves", WAVEFORM, above=0)
    # Spectrogram augmentation
    freqm: int = option(0, "hide a band narrower than this", FBANK, unit="mel bins", low=0)
    timem: int = option(0, "hide a stretch shorter than this", FBANK, unit="frames", low=0)
    noise: bool = option(False, "add noise and roll by up to 10 frames", FBANK)
    cdo: bool = option(False, "coarse dropout: hide small rectangles", FBANK)
    shift: bool = option(False, "shift by a little in time and frequency", FBANK)
    # Model
    model_size: str = option(
        "base", "size of the model; that of the pretrained one", MODEL, choices=("tiny", "small", "base", "base_nokd")
    )
    fshape: int = option(128, "height of a patch; a pretrained model brings its own", MODEL, unit="mel bins", low=1)
    tshape: int = option(2, "width of a patch; a pretrained model brings its own", MODEL, unit="frames", low=1)
    fstride: int | None = option(
        None, "step between patches", MODEL, unit="mel bins", low=1, shown="the patch height, 128 for frame models"
    )
    tstride: int | None = option(
        None, "step between patches", MODEL, unit="frames", low=1, shown="the patch width, 2 for frame models"
    )
    mask_padding: bool = option(False, "keep padding out of attention, pooling and pretext targets", MODEL)
    # Training
    batch_size: int = option(8, "clips in a batch", TRAINING, low=1, modes=BATCHED)
    num_workers: int = option(0, "processes that load recordings; 0: the main one does", TRAINING, low=0, modes=EVERY)
    learning_rate: float = option(0.0003, "how far a step goes; onecycle has --max_lr instead", TRAINING, above=0)
    epochs: int = option(1, "passes over the training recordings", TRAINING, low=1)
    optim: str = option("adam", "optimizer", TRAINING, choices=("adam", "adamw"))
    weight_decay: float = option(0.0001, "weight decay of adamw", TRAINING, low=0)
    loss: str = option(
        "BCE",
        "loss: BCE for yes/no labels (0 or 1), MSE for numbers",
        TRAINING,
        choices=("BCE", "MSE"),
        modes=("finetune", "check"),
    )
    scheduler: str | None = option(None, "course of the learning rate; none: constant", TRAINING, choices=("onecycle",))
    max_lr: float = option(0.01, "highest learning rate of onecycle", TRAINING, above=0)
    val_share: float = option(
        0.1,
        "share of train.csv held out to choose the best epoch; by speaker where the csv names them",
        TRAINING,
        above=0,
        below=1,
    )
    save_every_seconds: float = option(
        60.0, "time between two checkpoints of an unfinished run", TRAINING, unit="seconds", low=0
    )
    tensorboard: bool = option(False, "also write TensorBoard logs", TRAINING)
    # Pretraining
    mask_patch: int = option(400, "patches hidden in each clip", PRETRAINING, unit="patches", low=1)
    cluster_factor: int = option(
        3,
        "square patches are hidden in clusters with a side of this many to two more",
        PRETRAINING,
        unit="patches",
        low=1,
    )
    # Classification head
    activation: str = option("relu", "activation of the head", HEAD, choices=("relu", "gelu", "silu", "tanh"))
    final_dropout: float = option(
        0.2, "dropout before the last layer of the head", HEAD, unit="probability", low=0, high=1
    )
    layernorm: bool = option(True, "LayerNorm in the head", HEAD)
    # Scores
    resamples: int = option(
        1000,
        "times that subjects (or clips) are drawn anew for intervals and shuffled for the level of chance; 0: neither",
        SCORES,
        low=0,
        high=1000000,
    )
    folds: int = option(
        0,
        "cross-validation: so many parts of train.csv, by subject, each scored by a model of the others; 0: none",
        SCORES,
        low=0,
        high=10000,
        modes=("finetune",),
    )
    seeds: int = option(
        1, "repeat the run with so many seeds, from --seed up", SCORES, low=1, high=1000, modes=("finetune",)
    )
    runs: str | None = option(None, "folders of the runs to compare, with commas between", SCORES, modes=("compare",))
    # Attention
    uids: str | None = option(
        None, "clips to look at, by uid with commas between; none: the first of the csv", ATTENTION
    )
    max_clips: int = option(20, "at most so many clips", ATTENTION, low=1, high=1000)
    # Machine
    device: str = option("auto", "where the model runs", MACHINE, choices=("auto", "cpu", "cuda", "mps"))
    precision: str = option(
        "auto",
        "arithmetic of the model; auto: bf16 where the processor multiplies it natively",
        MACHINE,
        choices=("auto", "fp32", "bf16"),
    )
    seed: int = option(0, "where all chance starts: the same seed, the same result", MACHINE, low=0, high=2**32 - 1)
    resume: str = option(
        "auto",
        "auto: go on with the unfinished run of the output folder; never: start anew",
        MACHINE,
        choices=("auto", "never"),
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

    @classmethod
    def from_args(cls, texts: Mapping[str, str]) -> "Options":
        """The options of a command line, by name as they were typed; a --config among them is read first."""
        return resolve(**{name: SPECS[name].check(text, f"--{name}") for name, text in texts.items()})


SPECS: dict[str, Spec] = specs(Options)


def resolve(options: Options | None = None, /, **overrides: Any) -> Options:
    """The options (or the defaults), under them a `config` file if one is named, over them the overrides; then checked.

    The mode comes out under its own name, `given` has grown by the new names, and in pretraining `task` and
    `pretrained_mdl_path` are pretrain_joint and None (random weights) unless they were given.
    Raises UserError for an unknown name, a value that is not allowed, or options that do not go together.
    """
    for name in overrides:
        _known(name, "there is no option", SPECS)
    base = Options() if options is None else options
    file = load_config(overrides["config"]) if overrides.get("config") else {}
    values = {**file, **overrides}
    # A record holds every option; only what differs from its default was asked for.
    asked = {name for name, value in file.items() if value != SPECS[name].default} | overrides.keys()
    given = base.given | (asked - {"mode", "config"})
    merged = dataclasses.replace(base, **values, given=given)
    settled = dataclasses.replace(merged, **_by_mode(canonical(merged.mode, merged.task), given))
    validate(settled)
    return settled


def load_config(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The options in a YAML file, checked one by one; the block `record`, which a run adds, is passed over."""
    values = read_mapping(path)
    values.pop(RECORD, None)
    for name in values:
        _known(name, f"{path}: there is no option", [name for name in SPECS if name != "config"])
    return {name: SPECS[name].check(value, f"{path}: {name}") for name, value in values.items()}


def record(options: Options) -> dict[str, Any]:
    """Every option as plain values, fit for YAML and for --config; without `config`, whose content is in them."""
    return {name: getattr(options, name) for name in SPECS if name != "config"}


def write_record(path: str | os.PathLike[str], options: Options, extra: Mapping[str, Any]) -> None:
    """Write the options as used, by groups, and under `record:` whatever else the run wants to keep (plain values)."""
    values = record(options)
    sections: dict[str, dict[str, Any]] = {}
    for spec in SPECS.values():
        if spec.name in values:
            sections.setdefault(spec.group.title, {})[spec.name] = values[spec.name]
    comment = f"Every option of this run; `ssast {options.mode} --config {os.path.basename(path)}` repeats it."
    write_mapping(path, comment, {**sections, "Not options, and not read": {RECORD: dict(extra)}})


def page() -> str:
    """docs/options.md: the options of each group as a Markdown table."""
    groups = dict.fromkeys(spec.group for spec in SPECS.values())
    tables = [_table(group, [spec for spec in SPECS.values() if spec.group == group]) for group in groups]
    return "\n".join([PREFACE, *tables])


def _known(name: str, sentence: str, names: Iterable[str]) -> None:
    if name not in names:
        raise UserError(f"{sentence} {name}{suggestion(name, names) or '; docs/options.md lists them all'}")


def _by_mode(mode: str, given: frozenset[str]) -> dict[str, Any]:
    """The mode, and the defaults that differ in it."""
    own = {"task": "pretrain_joint", "pretrained_mdl_path": None} if mode == "pretrain" else {}
    return {"mode": mode, **{name: value for name, value in own.items() if name not in given}}


def _table(group: Group, members: list[Spec]) -> str:
    head = ["| option | short | value | default | meaning |", "|---|---|---|---|---|"]
    return "\n".join([f"## {group.title}", "", *head, *map(_row, members), ""])


def _row(spec: Spec) -> str:
    value = spec.allowed() + (f" [{spec.unit}]" if spec.unit else "")
    is_literal = spec.default not in (None, "") and not spec.shown
    default = f"`{spec.default_text}`" if is_literal else spec.default_text
    cells = [f"`--{spec.name}`", f"`-{spec.short}`" if spec.short else "", value, default, spec.help]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    print(page(), end="")
