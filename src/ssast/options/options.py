"""Hold every option in one class; those of checkpoints, scores, attention and machines are declared here.

From the declarations follow the command line, its help, the keys of `--config run.yaml`, the record in a run's folder
and the page docs/options.md. Which mode takes which option stands in `records.py`.
"""

import dataclasses
from dataclasses import dataclass

from ssast.options.declaration import OptionGroup, Spec, option, specs
from ssast.options.training_options import TrainingOptions

CHECKPOINT = OptionGroup("Checkpoint")
SCORES = OptionGroup("Scores")
ATTENTION = OptionGroup("Attention")
MACHINE = OptionGroup("Machine")
DEMO = OptionGroup("Demo")
# Stands for "whatever differs from its default".
NOT_SAID: frozenset[str] = frozenset({""})


@dataclass(frozen=True)
class Options(TrainingOptions):
    """Every option of a run, each value checked.

    `given` holds the names of those that were asked for, so that a mode can tell them from defaults that a model folder
    may overrule; `dataclasses.replace` leaves it alone. Build one with `resolve`, which also reads --config and checks
    that the options go together.
    """

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
    folds: int | str = option(
        0,
        "cross-validation: so many parts of train.csv by subject, or one a value of a column; 0: none",
        SCORES,
        low=0,
        high=10000,
        other="column",
        is_public=True,
    )
    prevalence: float | None = option(
        None,
        "share of people with the label where the model is to be used, for PPV and NPV; none: that of the test csv",
        SCORES,
        above=0,
        below=1,
        is_rare=True,
        changes_result=False,
    )
    sensitivity: float | None = option(
        None,
        "choose thresholds that reach this sensitivity on the validation clips; none: the largest sum of both",
        SCORES,
        above=0,
        high=1,
        is_rare=True,
        is_public=True,
    )
    specificity: float | None = option(
        None,
        "choose thresholds that reach this specificity on the validation clips; none: the largest sum of both",
        SCORES,
        above=0,
        high=1,
        is_rare=True,
        is_public=True,
    )
    groups: str | None = option(
        None,
        "columns of the csv by which to score subgroups, with commas between: sex,age; age:40:65 cuts there",
        SCORES,
        is_rare=True,
        changes_result=False,
    )
    external: bool = option(
        False,
        "the recordings are of another place than those that the model was developed on: say what differs between "
        "both, and what its own threshold does here",
        SCORES,
    )
    recalibrate: float | None = option(
        None,
        "with external: fit a new slope and intercept of the scores on this share of the people, and score the others",
        SCORES,
        above=0,
        below=1,
    )
    seeds: int = option(1, "repeat the run with so many seeds, from --seed up", SCORES, low=1, high=1000)
    runs: str | None = option(
        None,
        "folders of the runs to compare, with commas between; for audit one that scored these clips; for merge those "
        "that hold parts; for retest also files; for report all that belong to the study",
        SCORES,
        secret="run",
    )
    columns: str | None = option(
        None,
        "columns of the csv (or fields of metadata.json) to hold against the labels, with commas between; "
        "none: all that are no label and no subject",
        SCORES,
    )
    pretraining: str | None = option(
        None,
        "what the base was pretrained on, to look for its people in the test: a csv, or the folder of ssast pretrain",
        SCORES,
        is_path=True,
    )
    checklist: str = option(
        "tripod",
        "checklist to fill: tripod (TRIPOD+AI, how to report), probast (PROBAST+AI, risk of bias), or both",
        SCORES,
        choices=("tripod", "probast", "both"),
        changes_result=False,
    )
    study_file: str | None = option(
        None,
        "study.yaml with what only people know of the study, for the checklist",
        SCORES,
        is_path=True,
        changes_result=False,
    )
    template: bool = option(
        False, "write an empty study.yaml to fill in, and nothing else", SCORES, changes_result=False
    )
    # Attention
    uids: str | None = option(
        None, "clips of the csv to look at, by uid with commas between; none: its first", ATTENTION, secret="uid"
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
    compile: bool | str = option(
        "auto",
        "compile the blocks of the model when they first run (torch.compile, a minute or two); "
        "auto: in long trainings on a GPU",
        MACHINE,
        word="auto",
        once=False,
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
        is_rare=True,
        changes_result=False,
    )
    part: str | None = option(
        None,
        "do one share of the recordings alone, such as 3/64 (the third of 64), into files of its own, which ssast "
        "merge joins; auto: the share of this task of a Slurm array; auto/64: also of a Kubernetes job with an index",
        MACHINE,
        shown="all recordings",
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

    @property
    def altering(self) -> dict[str, object]:
        """The augmentations that are switched on, by name: each makes a clip differ between epochs."""
        kind: type = type(self)
        return {name: value for name, spec in specs(kind).items() if spec.alters and (value := getattr(self, name))}

    def __post_init__(self):
        for name, spec in SPECS.items():
            object.__setattr__(self, name, spec.check(getattr(self, name), name))
        if self.given is NOT_SAID:
            changed = frozenset(name for name, spec in SPECS.items() if getattr(self, name) != spec.default)
            object.__setattr__(self, "given", changed - {"mode", "config"})


SPECS: dict[str, Spec] = specs(Options)
