"""Test whether recordings give the labels away without a voice being heard; write numbers and a page."""

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from ssast import redaction
from ssast.data.storage.atomic_writes import atomic_file
from ssast.data.storage.location import forget
from ssast.data.tables.label_file import as_numbers
from ssast.data.tables.people import find_all_people, subject_names
from ssast.data.tables.splits import read_split
from ssast.data.tables.targets import label_values
from ssast.dataset_audit.advice import next_steps
from ssast.dataset_audit.analysis import Clips
from ssast.dataset_audit.analysis import analyse as audit_clips
from ssast.dataset_audit.audit_results import AuditResults, Leak
from ssast.dataset_audit.leak_taxonomy import Seen, leak_rows, leak_summary
from ssast.dataset_audit.listening import ListenedRecording
from ssast.dataset_audit.page import audit_page, audit_screen_rows, csv_rows
from ssast.dataset_audit.sentences import ACROSS, audit_summary
from ssast.dataset_audit.survey import FAULTS, NOTES, Finding, findings
from ssast.dataset_audit.traits import as_columns, without_words
from ssast.errors import UserError
from ssast.metrics.predictions import read_predictions
from ssast.modes.check import listen_as_heard, split_places
from ssast.options.declaration import suggestion
from ssast.options.options import SPECS, Options
from ssast.options.privacy import shown_facts
from ssast.options.record import RunRecord, read_mapping
from ssast.pages.html import write_page
from ssast.pages.tables import text_table
from ssast.processors import worker_count
from ssast.runs.context import Paths, collection_in, say, words_in
from ssast.runs.models import audio_settings
from ssast.runs.output.folder import fingerprint, open_folder, record_path, versions
from ssast.runs.results import RESAMPLES_SEED
from ssast.runs.rows import data_name
from ssast.runs.training_rows import Trained, trained_rows
from ssast.runs.wrapping.wrapper import Mode
from ssast.safe_reading import some

LEAKS = (*ACROSS, "same sound, other labels", "same sound")


@Mode
def audit(options: Options) -> Path:
    """Ask whether labels can be told from the recordings rather than from the voice; the folder of the results.

    Leaves audit.html, audit.csv (one row a label and trait), audit.json and traits.csv (what was measured of each
    clip) in exp_dir. Takes the command line's options by name.
    """
    forget()
    paths, audio = Paths.of(options), audio_settings(options)
    root = paths.recordings
    collection_in(paths)
    places = split_places(paths)
    label_txt = paths.at(paths.label_txt or "")
    splits = {name: read_split(place) for name, place in places.items()}
    splits, labels, loss = as_numbers(splits, label_txt, options.loss, places)
    columns = _columns(options.columns, splits, labels)
    told_by = options.runs or options.finetuned_mdl_path
    told = _predictions(paths, told_by, labels)
    known = _pretraining(paths, options.pretraining)
    counts = {name: len(frame) for name, frame in splits.items()}
    folder = open_folder(
        RunRecord.of(options), clips=counts, files=fingerprint(*places.values(), label_txt), trains=False
    )
    reading, librosa = worker_count(options.num_workers), options.lib
    heard = listen_as_heard(root, splits, audio, title="audit", num_workers=reading, librosa=librosa, closely=True)
    clips = _clips(heard, splits, labels, columns, told)
    found = audit_clips(clips, loss=loss, resamples=options.resamples, seed=RESAMPLES_SEED, progress=_progress)
    remarks = findings(heard, splits, labels, loss=loss)
    found |= {"leaks": _leaks(remarks), "not_read": _not_read(heard), "doubts": _sound_findings(heard)}
    seen = Seen(splits, labels, remarks, *_of_model(paths, told_by), known.rows, known.reason)
    found["taxonomy"] = leak_rows(found, seen)
    name = data_name(options.dataset, options.data_split_root, next(iter(places.values())))
    _write(folder, found, clips, f"Audit of {name}", _facts(folder))
    _show(found, folder)
    return folder


def _columns(asked: str | None, splits: Mapping[str, pd.DataFrame], labels: Sequence[str]) -> list[str] | None:
    """The columns that --columns names; None for all that are no label and no subject."""
    if asked is None:
        return None
    names = list(dict.fromkeys(words_in(asked)))
    known = list(dict.fromkeys(str(name) for frame in splits.values() for name in frame.columns))
    for name in names:
        if name in labels:
            raise UserError(f"--columns names {name}, which is a label; leave it out, or out of --label_txt.")
        # A field of metadata.json is known only once the recordings were read.
        if hint := name not in known and suggestion(name, known):
            raise UserError(f"--columns names {name}, which no csv has{hint}")
    return names


def _predictions(paths: Paths, address: str | None, labels: Sequence[str]) -> pd.DataFrame | None:
    """What a model said of clips, by uid and label; None where no run is named."""
    if not address:
        return None
    if "," in address:
        raise UserError(
            f"--runs is {address}, but audit takes one; name one folder that finetune or evaluate wrote.", path=address
        )
    place = paths.at(address)
    folder = place.path if place.is_local else place.on_disk("predictions.parquet", "predictions.csv")
    found = read_predictions(folder, labels, in_part=True)
    if lacking := [label for label in labels if label not in found.labels]:
        say(f"{address} has no scores of {some(lacking)}, so the page does not show what the model makes of them")
    return pd.DataFrame(found.scores, index=found.uids, columns=found.labels, dtype=float).reindex(columns=list(labels))


def _of_model(paths: Paths, address: str | None) -> tuple[bool | None, bool | None]:
    """Whether a fine-tuned model has the published normalisation, and was tested in folds; None without its record."""
    place = paths.at(address) / "run.yaml" if address else None
    if place is None or not place.is_local or not place.exists():
        return None, None
    record = read_mapping(place.path)
    if record.get("mode") != "finetune":
        return None, None
    published = [SPECS[name].as_default(record.get(name)) for name in ("dataset_mean", "dataset_std")]
    return all(published), bool(record.get("folds"))


def _pretraining(paths: Paths, address: str | None) -> Trained:
    """The rows that the base was pretrained on, of a csv or of the folder of its run, as far as they can be read."""
    if not address:
        return Trained([])
    place = paths.at(address)
    if place.name.lower().endswith(".csv"):
        return Trained([read_split(place)])
    if not (place.is_local and (place / "run.yaml").exists()):
        raise UserError(
            f"--pretraining is {address}, expected a csv or the folder that ssast pretrain wrote; name that.",
            path=address,
        )
    found = trained_rows(paths, place.path)
    if found.reason:
        return Trained(found.rows, f"{found.reason}; --pretraining takes its csv too")
    return found if found.rows else Trained([], "the folder does not say what it was trained on")


def _progress(labels: Sequence[str]) -> Iterable[str]:
    return tqdm(labels, desc="audit", unit="label", dynamic_ncols=True)


def _clips(
    heard: Mapping[str, ListenedRecording],
    splits: Mapping[str, pd.DataFrame],
    labels: Sequence[str],
    columns: Sequence[str] | None,
    told: pd.DataFrame | None,
) -> Clips:
    """The clips that could be read, each once, with everything that is known of them."""
    whole = pd.concat([frame.assign(**{SPLIT: name}) for name, frame in splits.items()])
    whole = whole[~whole.index.duplicated()]
    rows = whole[[bool(one.sound and one.digest) for one in map(heard.__getitem__, whole.index)]]
    if rows.empty:
        first = next(iter(heard.values()))
        said = f"no recording could be read, the first: {first.uid}: {first.reason}; see `ssast check`."
        raise UserError(said, **{**first.names, "uid": (*first.names.get("uid", ()), first.uid)})
    table, sources = _table(heard, rows, labels, columns)
    scores = None
    if told is not None:
        scores = told.reindex(rows.index)[list(labels)].to_numpy(dtype=np.float64)
        if np.isnan(scores).all():
            raise UserError(f"none of the run's {len(told)} clips is in the csv; give the csv that the run scored.")
    targets = label_values(rows, labels)
    split = rows[SPLIT].to_numpy(dtype=object)
    subjects, unit = _whose(rows, splits)
    return Clips(table, sources, list(labels), targets, split, subjects, unit, scores)


def _whose(rows: pd.DataFrame, splits: Mapping[str, pd.DataFrame]) -> tuple[NDArray[np.object_] | None, str]:
    """`subjects` and `unit` of Clips for these rows, whatever each csv calls its column of people."""
    frames = list(splits.values())
    named = [(frame, people) for frame, people in zip(frames, find_all_people(frames), strict=True) if people]
    name_of = {
        uid: name for frame, people in reversed(named) for uid, name in zip(frame.index, people.names, strict=True)
    }
    names = [name_of.get(uid) for uid in rows.index]
    if len({name for name in names if name is not None}) < 2:
        return None, "clip"
    return np.array(names, dtype=object), named[0][1].unit


SPLIT = "\0split"
"""No csv has a column of this name."""


def _table(
    heard: Mapping[str, ListenedRecording], rows: pd.DataFrame, labels: Sequence[str], columns: Sequence[str] | None
) -> tuple[pd.DataFrame, dict[str, str]]:
    """What is known of each clip beside its sound, by column, and where each column comes from."""
    own, fields = as_columns(heard, rows.index)
    sources = dict.fromkeys(own, "recording")
    passed = {*labels, SPLIT, *subject_names(rows.columns)}
    for source, frame in (("csv", rows), ("metadata.json", fields)):
        for name in frame.columns:
            wanted = str(name) in columns if columns is not None else name not in passed
            if wanted and not (source == "metadata.json" and (subject_names([name]) or str(name).lower() == "uid")):
                shown = str(name) if name not in own else f"{name} ({source})"
                own[shown], sources[shown] = _cells(frame[name]), source
    missing = [name for name in columns or () if name not in own and f"{name} (csv)" not in own]
    if missing:
        raise UserError(f"--columns names {missing[0]}, which neither a csv nor a metadata.json has; correct the name.")
    return pd.DataFrame(own, index=rows.index), sources


def _cells(column: pd.Series) -> Any:
    """A user's own column as it may be shown: its texts can be names, whatever it is called. Amounts are shown."""
    if not redaction.redaction_in_use():
        return column.to_numpy()
    amounts = without_words(column)[0]
    if amounts is not column:
        column = column.astype(object).where(amounts.isna(), amounts)
    return column.map(lambda cell: redaction.shown_name("cell", cell) if isinstance(cell, str) else cell).to_numpy()


def _leaks(found: Sequence[Finding]) -> dict[str, Leak]:
    """What the splits share and what is there twice, by kind."""
    kinds = {kind: [one for one in found if one.finding == kind] for kind in LEAKS}
    meanings = FAULTS | NOTES
    return {
        kind: {
            "meaning": meanings[kind],
            "found": [{"uid": one.uid, "split": one.split, "detail": one.detail} for one in own],
        }
        for kind, own in kinds.items()
        if own
    }


def _sound_findings(heard: Mapping[str, ListenedRecording]) -> dict[str, dict[str, str]]:
    """What is doubtful about recordings as a model hears them: by kind, the details by uid as it may be shown."""
    found: dict[str, dict[str, str]] = {}
    for uid, one in heard.items():
        for finding in one.sound_findings:
            found.setdefault(finding.kind, {})[redaction.shown_name("uid", uid)] = finding.detail
    return found


def _not_read(heard: Mapping[str, ListenedRecording]) -> dict[str, str]:
    return {one.uid: one.reason for one in heard.values() if not one.digest}


def _facts(folder: Path) -> list[tuple[str, Any]]:
    """What the page says of its making, from the run's record, in which a private run hides names."""
    names = ("prefix", "study", "data_split_root", "label_txt", "columns", "runs", "finetuned_mdl_path", "resamples")
    kept = read_mapping(record_path(folder, "audit", trains=False))
    return [*((name, kept[name]) for name in names if kept.get(name) is not None), *versions().items()]


def _write(folder: Path, found: AuditResults, clips: Clips, title: str, facts: Sequence[tuple[str, Any]]) -> None:
    found = shown_facts(found)
    with atomic_file(folder / "traits.csv") as unfinished:
        table = clips.table.rename(index=partial(redaction.shown_name, "uid"))
        table.insert(0, "split", clips.split, allow_duplicates=True)  # a csv may have such a column too
        table.to_csv(unfinished)
    with atomic_file(folder / "audit.csv") as unfinished:
        pd.DataFrame(csv_rows(found)).to_csv(unfinished, index=False)
    with atomic_file(folder / "audit.json") as unfinished:
        Path(unfinished).write_text(json.dumps(found, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    write_page(folder / "audit.html", audit_page(title, found, clips, facts))


def _show(found: AuditResults, folder: Path) -> None:
    say(text_table(audit_screen_rows(found)))
    summary = (*audit_summary(found), leak_summary(found["taxonomy"]))
    for sentence in (*summary, *(f"next: {step}" for step in next_steps(found))):
        say(sentence)
    say(f"every number in {folder / 'audit.csv'}, the page in {folder / 'audit.html'}")
