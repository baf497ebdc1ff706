"""Write the model card (README.md of a shared model) from its settings and the records of the run beside it."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ssast.errors import UserError
from ssast.model.label_kinds import CHOICE, NUMBER, SCALE, LabelKind, LabelKinds
from ssast.safe_reading import json_file, text_of, yaml_of

CARD, _RECORD, _SCORES = "README.md", "run.yaml", "metrics.json"
ADDRESS = "ORGANISATION/MODEL"
"""Stands for the model's address on the hub until that is known."""
PUBLIC = "public"
"""Where a run's record lists the options that may be told: those declared so. All others may hold paths and names."""
RECORDINGS, POWER_SPECTROGRAMS = "recordings", "power spectrograms"
"""What a run's record says where the recordings were no sound."""
MADE_WITH = ("ssast", "torch", "python")
_WORD = re.compile(r"[a-z][a-z0-9_]{0,29}")
"""What the text of an option may look like on a card: one of its choices, never a path or a sentence."""
_SHOWN = {
    "BCE": {"auc": "AUC", "sensitivity": "sensitivity", "specificity": "specificity"},
    "MSE": {"mae": "MAE", "pearson": "Pearson", "ccc": "CCC"},
    "ordinal": {"qwk": "QWK", "spearman": "Spearman", "mae_steps": "MAE (steps)"},
    "CE": {"balanced_accuracy": "balanced accuracy", "auc": "AUC", "accuracy": "accuracy"},
}


def model_card(config: Mapping[str, Any], folder: Path | None = None) -> str:
    """The card of a model: its settings, the facts from its run in `folder`, and gaps that only its makers can fill."""
    record, scores = _read(folder, _RECORD), _read(folder, _SCORES)
    is_pretrained = "num_labels" not in config
    parts = [_head(is_pretrained), _about(config, is_pretrained), _use(is_pretrained)]
    try:
        parts += filter(None, [_data(record), _scores(scores), _training(record)])
    except (TypeError, ValueError, AttributeError, KeyError, IndexError) as error:
        raise UserError(
            f"{_RECORD} or {_SCORES} in {folder} was not written by ssast; correct or remove it to share this model.",
            path=folder,
        ) from error
    return "\n\n".join([*parts, _limits(is_pretrained)]) + "\n"


def _read(folder: Path | None, name: str) -> dict[str, Any]:
    """The content of a run's file; empty where there is none."""
    if folder is None or not (folder / name).is_file():
        return {}
    try:
        content = json_file(folder / name) if name.endswith(".json") else yaml_of(text_of(folder / name))
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"{folder / name} cannot be read ({reason}); correct or remove it to share this model.", path=folder / name
        ) from error
    return content if isinstance(content, dict) else {}


def _head(is_pretrained: bool) -> str:
    kind = "feature-extraction" if is_pretrained else "audio-classification"
    return f"""---
library_name: ssast
pipeline_tag: {kind}
tags:
- audio
- speech
- audio-spectrogram-transformer
# license: choose one; https://hf.co/docs/hub/repositories-licenses lists their names
---"""


def _about(config: Mapping[str, Any], is_pretrained: bool) -> str:
    patches = f"patches of {config['fshape']} mel bins x {config['tshape']} frames"
    seconds = config["target_length"] / 100
    what = "pretrained on unlabelled recordings" if is_pretrained else "fine-tuned to label recordings"
    lines = [
        f"# SSAST, {config['model_size']}, {what}",
        "",
        f"A Self-Supervised Audio Spectrogram Transformer (Gong et al. 2022, arXiv 2110.09784), {patches}. "
        f"It hears {seconds:g} seconds at a time, as {config['num_mel_bins']} mel bins.",
    ]
    if not is_pretrained:
        names = config.get("labels") or [f"{config['num_labels']} labels without names"]
        answer = "a probability from 0 to 1" if config.get("loss", "BCE") == "BCE" else "a number"
        if config.get("kinds") is None:
            lines += ["", f"It gives {answer} for each of: {', '.join(names)}."]
        else:
            kinds = LabelKinds.of_entries(config["loss"], names, config["kinds"])
            lines += ["", "It gives:", "", *(f"- {label.name}: {_answer(label)}" for label in kinds.labels)]
    return "\n".join(lines)


def _answer(label: LabelKind) -> str:
    """What the model says of a label."""
    levels = ", ".join(label.shown_levels)
    if label.kind == SCALE:
        cut = "" if label.cut is None else f", counted as present from {label.cut:g}"
        return f"the probability of each level of a scale ({levels}) and of at least each{cut}"
    if label.kind == CHOICE:
        return f"the probability of each of {levels}, of which one holds"
    return "a number" if label.kind == NUMBER else "a probability from 0 to 1"


def _use(is_pretrained: bool) -> str:
    name = "SSASTForPreTraining" if is_pretrained else "SSASTForAudioClassification"
    last = (
        'model.save_pretrained("pretrained")  # for --pretrained_mdl_path'
        if is_pretrained
        else ('model.predict(["a.wav", "b.wav"])  # a table, one row a recording')
    )
    return f"""## How to use it

```python
from ssast import {name}
model = {name}.from_pretrained("{ADDRESS}")
{last}
```"""


def _data(record: Mapping[str, Any]) -> str:
    kept = record.get("record") or {}
    clips = kept.get("clips") or {}
    if not clips:
        return ""
    name = _told(record).get("dataset") or "not named (`--dataset` names it)"
    rows = [f"| {split} | {count} |" for split, count in clips.items()]
    kind = ""
    if kept.get(RECORDINGS) == POWER_SPECTROGRAMS:
        kind = " Its recordings came as power spectrograms, whose log-mel values differ a little from those of sound."
    return "\n".join(["## Data", "", f"Data set: {name}.{kind}", "", "| split | clips |", "|---|---|", *rows])


def _scores(scores: Mapping[str, Any]) -> str:
    labels = scores.get("labels") or {}
    if not labels:
        return ""
    parts = _parts(scores)
    unit = scores.get("unit")
    of = f"{scores.get('n')} test clips" + (f" of {scores.get('subjects')} {unit}s" if unit else "")
    drawn = f"drawn by {unit}" if unit else "drawn by clip"
    intro = f"On {of}; 95 % intervals in brackets, {drawn}. They hold for recordings like these, made the same way."
    tables = [["", *_table(loss, mean, found)] for loss, mean, found in parts]
    return "\n".join(["## Scores", "", intro, *(line for table in tables for line in table)])


def _parts(scores: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any], Mapping[str, Any]]]:
    """Loss, mean and labels of the scores, of labels of several kinds one for each kind."""
    labels, kinds = scores["labels"], scores.get("kinds")
    if not kinds:
        return [(scores.get("loss", "BCE"), scores.get("mean") or {}, labels)]
    return [(kind, own["mean"], {name: labels[name] for name in own["labels"]}) for kind, own in kinds.items()]


def _table(loss: str, mean: Mapping[str, Any], labels: Mapping[str, Any]) -> list[str]:
    shown = _SHOWN.get(loss, _SHOWN["BCE"])
    table = [f"| label | {' | '.join(shown.values())} | threshold |", "|---" * (len(shown) + 2) + "|"]
    for label, found in (("mean", mean), *labels.items()):
        cells = [_value(found, name) for name in shown]
        threshold = found.get("threshold")
        shown_label = label.replace("|", "\\|")
        table.append(
            f"| {shown_label} | {' | '.join(cells)} | {'' if threshold is None else format(threshold, '.3g')} |"
        )
    return table


def _value(found: Mapping[str, Any], name: str) -> str:
    value = found.get(name)
    if value is None:
        return "undefined"
    span = (found.get("intervals") or {}).get(name)
    return f"{value:.3f}" + (f" [{span[0]:.3f}, {span[1]:.3f}]" if span else "")


def _training(record: Mapping[str, Any]) -> str:
    if not record:
        return ""
    chosen = ", ".join(f"{name} {value}" for name, value in _options(record))
    versions = (record.get("record") or {}).get("versions") or {}
    made = ", ".join(f"{name} {versions[name]}" for name in MADE_WITH if name in versions)
    lines = [f"Options: {chosen}." if chosen else "", f"Made with {made}." if made else ""]
    return "\n\n".join(["## Training", *filter(None, lines)])


def _told(record: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a run that its record allows to publish; none where the record does not say."""
    names = (record.get("record") or {}).get(PUBLIC) or ()
    return {name: record[name] for name in names if name in record}


def _options(record: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The options that may be published and were switched on; the data set is named elsewhere."""
    for name, value in _told(record).items():
        is_plain = isinstance(value, bool | int | float) or (isinstance(value, str) and _WORD.fullmatch(value))
        if is_plain and value not in (False, 0) and name != "dataset":
            yield name, value


def _limits(is_pretrained: bool) -> str:
    more = (
        ""
        if is_pretrained
        else (
            "\n- It is a research model, not a medical device. A score says how a recording resembles those that were "
            "labelled so, not what a person has."
            "\n- Scores of other microphones, rooms, languages or ways of recording may be worse than those above."
        )
    )
    return f"""## Limits

- Who was recorded is not known from the run: number, age, sex, languages and dialects, health, consent. Whoever shares
  this model should say so here.{more}"""
