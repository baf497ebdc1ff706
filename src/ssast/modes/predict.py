"""Predict the labels of any audio files with a fine-tuned model, for each recording and each window of it."""

import hashlib
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from numpy.typing import NDArray

from ssast import redaction
from ssast.data.audio_files import FileDataset, blocks_of_files
from ssast.data.tables.label_columns import (
    NOTE,
    WINDOW,
    answer_table,
    call_column,
    called_levels,
    check_label_names,
    level_table,
    predicted_table,
    score_columns,
)
from ssast.engine import inference
from ssast.engine.lengths import Grouping
from ssast.engine.predictor import WindowPredictor, label_names
from ssast.engine.windows import WindowedRecording, pool_windows
from ssast.errors import UserError
from ssast.model.label_kinds import CHOICE, SCALE, YES_NO, LabelKind, LabelKinds
from ssast.options.options import Options
from ssast.pages.sound_finding_sentences import finding_note
from ssast.pages.tables import number, text_table
from ssast.runs.batches import ClipReader, part_bounds, part_key
from ssast.runs.context import RunContext, say
from ssast.runs.models import ModelSettings, audio_settings, finetuned_model, model_settings
from ssast.runs.output.folder import fingerprint, open_folder
from ssast.runs.output.notes import note_recordings
from ssast.runs.output.part_tables import GROUPS, PREDICTED, WINDOWS, PartNote, save_scores
from ssast.runs.output.skipped_recordings import SkippedRecordings
from ssast.runs.resuming import Passes, RememberedRecordings
from ssast.runs.rows import named_recordings
from ssast.runs.scoring import Scorer
from ssast.runs.thresholds import read_thresholds
from ssast.runs.wrapping.wrapper import Mode

_ON_SCREEN, MOST_LABELS, BEST = 20, 8, 3
_USUAL_TEXT = pd.Series([""]).dtype
TEXT = _USUAL_TEXT if isinstance(_USUAL_TEXT, pd.StringDtype) else pd.StringDtype()
HOW_POOLED = {"mean": "the mean of its windows'", "max": "the highest of its windows'"}


@Mode
def predict(options: Options) -> Path:
    """Say what a fine-tuned model makes of audio files, or of those in folders; the folder with predicted.csv.

    Takes the command line's options by name: `finetuned_mdl_path` and `files`, which may be a list, are needed.
    """
    context = RunContext.of(options)
    paths, asked = context.paths, audio_settings(options)
    model = finetuned_model(paths, ModelSettings.of(options), asked)
    check_label_names(
        label_names(model),
        [predicted_table],
        source="the model",
        remedy="fine-tune the model with another name for the label",
    )
    audio = model_settings(asked, model, options.given)
    every = named_recordings(paths, options.files or "", options.on_bad_audio)
    reader = ClipReader.of(context, audio)
    bounds = part_bounds(context.part, len(every), reader, blocks_of_files(every))
    files = every[slice(*bounds)]
    used = fingerprint(paths.model_source(paths.finetuned_mdl_path or ""))
    folder = open_folder(context.record, clips={"predict": len(files)}, files=used, trains=False)
    Scorer.of(context, reader).ready(model)
    share = options.window_overlap if "window_overlap" in options.given else None
    predictor = WindowPredictor.of(model, audio, audio.share(share), reader.device)
    data = FileDataset(files, predictor.conf, librosa=options.lib, hold="windows")
    data.judges = True
    key = f"{sorted(used.values())} {hashlib.sha256(repr(data.uids).encode()).hexdigest()}"
    key += part_key(context.part, bounds)
    done = Passes.of(context).run(
        predictor.scores,
        lambda start, stop: predictor.batches(
            reader.load(data, batch_size=1, start=start, stop=stop), reader.loader_size
        ),
        len(data),
        folder,
        key,
        rows=predictor.rows,
        heard=lambda: RememberedRecordings.of_files(paths, data.files),
        unit="recording",
        grouping=Grouping.of(predictor.prepare, reader.loader_size),
    )
    thresholds = read_thresholds(paths.model_home(folder))
    note = PartNote.of(context.record, bounds, [str(file) for file in every], used)
    kinds = model.label_kinds.named(label_names(model))
    _write(done, folder, kinds, thresholds, context.skipped, options.window_pooling, note)
    done.remove()
    note_recordings(context.record, context.skipped, folder, data.uids)
    return folder


def _write(
    done: inference.FinishedPass,
    folder: Path,
    kinds: LabelKinds,
    thresholds: Mapping[str, float],
    skipped: SkippedRecordings,
    pooling: str,
    note: PartNote,
) -> None:
    """Both tables as csv and parquet, each moved into place whole; the first rows on the screen."""
    heard = pool_windows(done.tables(), pooling)
    first = list(itertools.islice(heard, _ON_SCREEN))
    part = note.part
    if not first and part.is_whole:
        skipped.write(folder)
        raise UserError(f"no recording could be used; bad_audio.csv in {folder} says why.", path=folder)
    skipped.gather()
    seen: Counter[str] = Counter()
    frames = _recordings(_counted(itertools.chain(first, heard), seen), kinds, thresholds, skipped)
    own = _windows_in_pieces(done, kinds)
    tables, windows_of = folder / f"{PREDICTED}{part.suffix}", folder / f"{WINDOWS}{part.suffix}"
    facts = note.metadata()
    count = save_scores(frames, tables, GROUPS[PREDICTED], facts)
    windows = save_scores(own, windows_of, GROUPS[WINDOWS], facts)
    say(text_table(_screen_rows(first, kinds, thresholds)))
    more = f" and {count - len(first)} more" if count > len(first) else ""
    say(f"{len(first)}{more} recordings in {tables}.csv, their {windows} windows in {windows_of.name}.csv")
    if seen["in windows"]:
        how = HOW_POOLED[pooling]
        say(f"{seen['in windows']} of {count} longer than the model's input, heard whole in windows: a score is {how}")


def _counted(heard: Iterable[WindowedRecording], seen: Counter[str]) -> Iterator[WindowedRecording]:
    for one in heard:
        seen["in windows"] += one.windows > 1
        yield one


def _recordings(
    heard: Iterable[WindowedRecording], kinds: LabelKinds, thresholds: Mapping[str, float], bad: SkippedRecordings
) -> Iterator[pd.DataFrame]:
    """predicted.csv in pieces, of which there is one at least: a part of a run without recordings has the columns too.

    They are file, seconds, windows, the labels' scores, yes or no where there is a threshold, and a note, which comes
    last and is always there, so that the other columns keep their names and places.
    """
    heard = iter(heard)
    piece = list(itertools.islice(heard, GROUPS[PREDICTED]))
    if not piece:
        nobody = WindowedRecording("", 0.0, 1, np.zeros(kinds.width, np.float32))
        yield _rows_of([nobody], kinds, thresholds, bad).iloc[:0]
    while piece:
        yield _rows_of(piece, kinds, thresholds, bad)
        piece = list(itertools.islice(heard, GROUPS[PREDICTED]))


def _rows_of(
    piece: list[WindowedRecording], kinds: LabelKinds, thresholds: Mapping[str, float], bad: SkippedRecordings
) -> pd.DataFrame:
    frame = pd.DataFrame({"file": [one.uid for one in piece], "seconds": [round(one.seconds, 4) for one in piece]})
    frame["windows"] = [one.windows for one in piece]
    values_NW = np.stack([one.values for one in piece])
    scores = answer_table(kinds, values_NW, score_columns(kinds.names))
    calls = {
        call_column(label.name): called
        for label, own in zip(kinds.labels, kinds.slices, strict=True)
        if (called := _calls(label, values_NW[:, own], thresholds))
    }
    told = [finding_note(bad.about(one.uid)) or None for one in piece]
    notes = pd.DataFrame({NOTE: pd.array(told, dtype=TEXT)})  # text also where no recording has one
    return pd.concat([frame, scores, level_table(kinds, values_NW), pd.DataFrame(calls), notes], axis=1)


def _windows_in_pieces(done: inference.FinishedPass, kinds: LabelKinds) -> Iterator[pd.DataFrame]:
    """predicted_windows.csv in pieces, of which there is one at least."""
    tables = (table for table in done.tables() if table.num_rows)
    first = next(tables, None)
    if first is None:
        made_up = {"uid": [""], "start_seconds": [0.0], "end_seconds": [0.0]}
        made_up["values"] = inference.float_lists(torch.zeros(1, kinds.width))
        yield _windows(pa.table(made_up), kinds).iloc[:0]
        return
    yield from (_windows(table, kinds) for table in itertools.chain([first], tables))


def _calls(label: LabelKind, scores_Nw: NDArray[Any], thresholds: Mapping[str, float]) -> list[str]:
    """What each recording is called: yes or no, or its level; nothing for a number and for a choice, whose kind is."""
    if label.kind == SCALE:
        return called_levels(label, scores_Nw)
    if label.kind != YES_NO or label.name not in thresholds:
        return []
    return ["yes" if score >= thresholds[label.name] else "no" for score in scores_Nw[:, 0].astype(float)]


def _windows(table: pa.Table, kinds: LabelKinds) -> pd.DataFrame:
    """predicted_windows.csv of a part: file, start_seconds, end_seconds, the labels' scores."""
    times = table.drop_columns(["values"]).rename_columns(list(WINDOW)).to_pandas()
    values = table["values"].combine_chunks().flatten().to_numpy().reshape(len(times), -1)
    answers = answer_table(kinds, values, score_columns(kinds.names))
    return pd.concat([times.round(4), answers, level_table(kinds, values)], axis=1)


def _screen_rows(heard: list[WindowedRecording], kinds: LabelKinds, thresholds: Mapping[str, float]) -> list[list[str]]:
    """A row a recording: all answers with their calls, or of many labels the highest scores."""
    labels = kinds.names
    many = len(labels) > MOST_LABELS and kinds.is_plain
    header = ["file", "seconds", "windows", *([f"label {place}" for place in range(1, BEST + 1)] if many else labels)]
    rows = [header]
    for one in heard:
        if many:
            best = sorted(zip(labels, one.values.tolist(), strict=True), key=lambda pair: -pair[1])[:BEST]
            cells = [f"{label} {number(score)}" for label, score in best]
        else:
            pairs = zip(kinds.labels, kinds.slices, strict=True)
            cells = [_cell(label, one.values[None, own], thresholds) for label, own in pairs]
        rows.append([redaction.shown(one.uid), f"{one.seconds:.2f}", str(one.windows), *cells])
    return rows


def _cell(label: LabelKind, scores_1w: NDArray[Any], thresholds: Mapping[str, float]) -> str:
    """What the table on the screen shows of one label: its score with the call, a scale's level, a choice's kind."""
    answer = float(label.answers(scores_1w)[0])
    if label.kind == CHOICE:
        at = int(answer)
        return f"{label.levels[at]} {number(float(label.level_chances(scores_1w)[0, at]))}"
    if label.kind == SCALE:
        return f"{number(answer, 2)} {called_levels(label, scores_1w)[0]}"
    return f"{number(answer)}{_mark(label.name, answer, thresholds)}"


def _mark(label: str, score: float, thresholds: Mapping[str, float]) -> str:
    """What the score says at the label's threshold, if it has one."""
    return "" if label not in thresholds else " yes" if score >= thresholds[label] else " no "
