"""Say what the records know of how a model was made: what it hears, how it was trained, what it gives.

Every function takes the records of all runs and gives None where they do not know.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from ssast.model.label_kinds import CHOICE, NUMBER, SCALE, YES_NO, LabelKinds
from ssast.options.options import SPECS
from ssast.pages.tables import counted
from ssast.runs.checklists.items import Knowledge
from ssast.runs.checklists.records import Records, RunFolder
from ssast.safe_reading import brief, some

_ALTERING = tuple(name for name, spec in SPECS.items() if spec.group.alters and not spec.amount_of)
_ANSWERS = {
    YES_NO: "a probability from 0 to 1",
    NUMBER: "a number",
    SCALE: "the probability of each level of a scale",
    CHOICE: "the probability of each of several kinds",
}
_WEIGHING = {"pos_weight": "the loss weighed yes by its rarity", "balanced": "clips with rare answers were drawn more"}
_MADE_WITH = ("ssast", "torch", "python")


def _models(records: Records) -> list[RunFolder]:
    return [run for run in records.having("config.json") if "finetune" in run.records]


def _each(runs: list[RunFolder], sentence: Any, place: str, lacks: str = "") -> Knowledge | None:
    """What one sentence says of each of these runs; None where there is none."""
    found = [run.state(text, place) for run in runs if (text := sentence(run))]
    return Knowledge(tuple(found), lacks) if found else None


def sound_alone_known(records: Records) -> Knowledge | None:
    """What the model hears, and that nothing else goes in."""
    return _each(_models(records), _hears, "config.json")


def _hears(run: RunFolder) -> str:
    front = run.file("config.json")["frontend"]
    seconds, rate = run.file("config.json")["target_length"] / 100, front["sample_rate"]
    return (
        f"The model hears the recording alone, {seconds:g} seconds of it at a time, at {rate:g} Hz. No column of the "
        "table goes in, and no predictor was chosen or dropped."
    )


def spectrogram_known(records: Records) -> Knowledge | None:
    """The predictors: log-mel values."""
    return _each(_models(records), _mel, "config.json")


def _mel(run: RunFolder) -> str:
    front = run.file("config.json")["frontend"]
    return (
        f"The predictors are the log energies of {front['num_mel_bins']:g} mel bins in frames of 25 ms, one each 10 ms."
    )


def measured_by_program_known(records: Records) -> Knowledge | None:
    """Nobody judges when predictors are computed."""
    return _each(
        _models(records),
        lambda run: "A program computes the spectrogram from the recording; it is given no outcome, and nobody judges.",
        "config.json",
    )


def continuous_known(records: Records) -> Knowledge | None:
    """No predictor is cut into classes."""
    return _each(
        _models(records),
        lambda run: "All predictors are log energies, which go in as numbers; none is cut into classes.",
        "config.json",
    )


def handling_known(records: Records) -> Knowledge | None:
    """How a recording becomes what the model hears, the same way for each."""
    return _each(_models(records), _handled, "config.json and run.yaml")


def _handled(run: RunFolder) -> str:
    front, options = run.file("config.json")["frontend"], run.options("finetune")
    channels = "the mean of its channels" if front["reduce"] else "its channels as they are"
    parts = [
        f"Every recording goes the same way: {channels}, resampled to {front['sample_rate']:g} Hz, log-mel values less "
        f"{front['mean']:.4g}, over twice {front['std']:.4g}."
    ]
    altered = [name for name in _ALTERING if options[name]]
    how = f"altered at random by {', '.join(altered)}" if altered else "not altered"
    return f"{parts[0]} Training clips were {how}; clips that are scored never are."


def preparation_known(records: Records) -> Knowledge | None:
    """What was checked, and how recordings were prepared."""
    found = [run.state(_checked(run.findings or {}), "check.csv") for run in records.runs if run.findings is not None]
    found += [
        run.state("The audit looked for recordings that are there twice and for traits that tell labels.", "audit.html")
        for run in records.having("audit.json")
    ]
    prepared = handling_known(records)
    found += prepared.statements if prepared else ()
    return Knowledge(tuple(found)) if found else None


def _checked(findings: Mapping[str, int]) -> str:
    kinds = some([f"{kind} ({count})" for kind, count in findings.items()])
    return "ssast check looked through recordings and tables and found " + (f"{kinds}." if findings else "nothing.")


def labels_known(records: Records) -> Knowledge | None:
    """What is predicted, by its names in the table."""
    return _each(
        _models(records),
        lambda run: f"The model predicts {some(_label_names(run), 20)}, as columns of the table hold them.",
        "config.json",
    )


def _label_names(run: RunFolder) -> list[str]:
    config = run.file("config.json")
    return [brief(name) for name in config.get("labels") or [f"{config['num_labels']} labels without names"]]


def partition_known(records: Records) -> Knowledge | None:
    """How many recordings trained, chose and tested."""
    return _each([run for run in records.trained if run.kept("finetune", "clips")], _parted, "run.yaml")


def _parted(run: RunFolder) -> str:
    clips, options = run.kept("finetune", "clips"), run.options("finetune")
    shown = ", ".join(f"{brief(name)} {count:d}" for name, count in clips.items())
    folds = options["folds"]
    if folds:
        return (
            f"Recordings: {shown}. Each was scored once, by a model that was not trained on its fold: {_split(folds)}."
        )
    return (
        f"Recordings: {shown}. The validation rows are a share of {options['val_share']:g} of the training csv, drawn "
        f"with seed {options['seed']:d}, by person where the csv names at least 10; they chose the epoch and the "
        "thresholds. The test csv was scored at the end."
    )


def _split(folds: object) -> str:
    """How folds were made: so many of people, or one a value of a column."""
    return f"{folds:d} folds, by person where people are named" if isinstance(folds, int) else f"one a {brief(folds)}"


def building_known(records: Records) -> Knowledge | None:
    """The type of the model and how it was trained."""
    return _each(_models(records), _built, "run.yaml, log.jsonl")


def _built(run: RunFolder) -> str:
    config, options = run.file("config.json"), run.options("finetune")
    base = "kept as it was" if options["freeze"] else "trained on with the head"
    if options["freeze"] and _is_partly_trained(options):
        base = "trained in part"
    begun = "base of random weights" if options["pretrained_mdl_path"] is None else "pretrained base"
    return (
        f"A Self-Supervised Audio Spectrogram Transformer ({brief(config['model_size'])}), its {begun} {base}, "
        f"with a head of {counted(len(_label_names(run)), 'answer')}; trained with {brief(options['optim'])}, rate "
        f"{options['learning_rate']:g}, {counted(options['epochs'], 'epoch')}, loss "
        f"{' and '.join(_kinds(run).alike())}, seed {options['seed']:d}."
    )


def _is_partly_trained(options: Mapping[str, Any]) -> bool:
    return bool(options["unfreeze_last"] or options["lora_rank"])


def overfitting_known(records: Records) -> Knowledge | None:
    """What held training back from learning its data by heart."""
    return _each([run for run in records.trained if run.log], _held_back, "log.jsonl and run.yaml")


def _held_back(run: RunFolder) -> str:
    options, config = run.options("finetune"), run.file("config.json")
    losses: Mapping[Any, Any] = {
        line["epoch"]: line["validation_loss"] for line in run.log if "validation_loss" in line
    }
    parts = list(_brakes(options, config))
    if losses:
        best = min(losses, key=lambda epoch: losses[epoch])
        parts.insert(0, f"the epoch with the least loss on held-out rows was kept ({best} of {len(losses)})")
    return f"Against overfitting: {', '.join(parts)}." if parts else ""


def _brakes(options: Mapping[str, Any], config: Mapping[str, Any]) -> Iterator[str]:
    if options["freeze"]:
        yield f"{'most of ' if _is_partly_trained(options) else ''}the base stayed frozen"
    if config.get("final_dropout"):
        yield f"a dropout of {config['final_dropout']:g} in the head"
    if options["patience"]:
        yield f"training ended after {counted(options['patience'], 'epoch')} without a better validation loss"


def imbalance_known(records: Records) -> Knowledge | None:
    """Whether rare answers were weighed up; where they were, a person says why and what followed."""
    used = any(run.options("finetune")[name] for run in records.trained for name in _WEIGHING)
    lacks = "Say why, and what set the scores right afterwards." if used else ""
    return _each(records.trained, lambda run: _weighed(run.options("finetune")), "run.yaml", lacks)


def _weighed(options: Mapping[str, Any]) -> str:
    used = [text for name, text in _WEIGHING.items() if options[name]]
    return f"In training, {' and '.join(used)}." if used else "No method against class imbalance was used."


def test_as_it_is_known(records: Records) -> Knowledge | None:
    """Weights and draws concern training alone."""
    return _each(
        records.scored,
        lambda run: (
            "Scores are those of the test rows as the table has them; no row was weighed, drawn or left out "
            "for its answer."
        ),
        "metrics.json",
    )


def folds_known(records: Records) -> Knowledge | None:
    """Whether folds were used, and what was done anew in each."""
    return _each(records.trained, _folded, "run.yaml")


def _folded(run: RunFolder) -> str:
    count = run.options("finetune")["folds"]
    if not count:
        return "No resampling was used to test the model: it was scored on a table of its own."
    return (
        f"In each fold ({_split(count)}) a model was trained anew, and its epoch and thresholds were chosen on rows of "
        "the other folds."
    )


def output_known(records: Records) -> Knowledge | None:
    """What the model gives, and how thresholds were found."""
    return _each(_models(records), _given, "thresholds.json")


def _given(run: RunFolder) -> str:
    chosen = run.file("thresholds.json")
    text = f"For each label the model gives {' or '.join({_ANSWERS[kind]: None for kind in _kinds(run).alike()})}."
    if rule := chosen.get("rule"):
        text += f" Thresholds: {brief(rule, 300)}."
    if unchosen := chosen.get("unchosen"):
        text += f" None could be chosen for {some([brief(name) for name in unchosen])}."
    return text


def _kinds(run: RunFolder) -> LabelKinds:
    config = run.file("config.json")
    return LabelKinds.of_entries(config.get("loss", YES_NO), _label_names(run), config.get("kinds"))


def calculation_known(records: Records) -> Knowledge | None:
    """By which program scores came about."""
    runs = [run for run in records.scored if any(mode in run.records for mode in ("evaluate", "finetune"))]
    return _each(runs, _calculated, "run.yaml, which --config repeats")


def _calculated(run: RunFolder) -> str:
    mode = "evaluate" if "evaluate" in run.records else "finetune"
    made = run.kept(mode, "versions")
    shown = ", ".join(f"{name} {brief(made[name], 40)}" for name in _MADE_WITH if name in made)
    return f"ssast {mode} computed the scores from the saved model folder, with {shown}." if shown else ""


def versions_known(records: Records) -> Knowledge | None:
    """The program that the analysis was made with."""
    found = calculation_known(records)
    return found and Knowledge(found.statements)


def files_known(records: Records) -> Knowledge | None:
    """What there is of the model for others to use."""
    return _each(
        [run for run in _models(records) if "model.safetensors" in run.present],
        lambda run: (
            "The folder holds the whole model: weights, settings"
            + (", thresholds" if run.file("thresholds.json") else "")
            + "; ssast predict scores new recordings with it."
        ),
        "model.safetensors, config.json",
    )
