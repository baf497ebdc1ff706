"""Write the results of scoring into a run folder: predictions, scores and the report page."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ssast import redaction
from ssast.data.storage.atomic_writes import atomic_file
from ssast.data.storage.location import Location
from ssast.data.tables.people import find_people
from ssast.metrics.predictions import Predictions, first_clips, pool
from ssast.metrics.score_entries import Metrics
from ssast.metrics.scores import Thresholds, aucs_table, score
from ssast.model.checkpoints.model_card import PUBLIC
from ssast.options.record import RunRecord, read_mapping
from ssast.pages.html import sound_uri, write_page
from ssast.pages.place_section import place_rows, place_sentences
from ssast.pages.rater_section import rater_sentences
from ssast.pages.remarks import remarks
from ssast.pages.report_page import hardest, report_page
from ssast.pages.sentences import how_sure
from ssast.pages.subgroup_section import cannot_sentences, said_groups, site_rows
from ssast.pages.tables import reasons, screen_tables, text_table
from ssast.runs.batches import ClipReader
from ssast.runs.context import say
from ssast.runs.output.folder import record_path
from ssast.runs.rows import Rows, data_name
from ssast.safe_reading import is_number, json_lines

# Apart from --seed, so that `evaluate` of a folder draws what `finetune` drew whatever seed it was trained with.
RESAMPLES_SEED = 0
_FRAME_SECONDS, _WINDOW_SECONDS = 0.01, 0.025
SOUND_CHARACTERS = 3_500_000
"""Room for sounds in the report page, which stays below 5 MB."""


def score_predictions(
    predictions: Predictions, loss: str, thresholds: Thresholds, resamples: int, *, left_out: int = 0
) -> Metrics:
    """metrics.json: the scores of the clips, and under "by_subject" those of their subjects where these are named.

    `left_out` counts the rows of the csv whose recordings could not be used.
    """
    found = score(
        predictions.targets,
        predictions.scores,
        predictions.labels,
        subjects=predictions.subjects,
        thresholds=thresholds,
        loss=loss,
        kinds=predictions.kinds,
        resamples=resamples,
        seed=RESAMPLES_SEED,
    )
    found |= {"unit": predictions.unit, "left_out": left_out, "by_subject": None}
    if predictions.subjects is None:
        return found
    pooled, varying = pool(predictions)
    if pooled.labels:
        first_S = first_clips(predictions)
        of_subjects = {label: own[first_S] if isinstance(own, np.ndarray) else own for label, own in thresholds.items()}
        by_subject = score(
            pooled.targets,
            pooled.scores,
            pooled.labels,
            thresholds=of_subjects,
            loss=loss,
            kinds=pooled.kinds,
            resamples=resamples,
            seed=RESAMPLES_SEED,
        )
        by_subject |= {"unit": pooled.unit, "left_out": varying, "pooling": "mean score of the clips"}
        found["by_subject"] = by_subject
    return found


def write_scores(folder: Path, predictions: Predictions, metrics: Metrics) -> None:
    """predictions.csv and .parquet, metrics.json and aucs.csv, each moved into place whole; a table on the screen."""
    with atomic_file(folder / "predictions.csv") as unfinished:
        predictions.table().to_csv(unfinished)
    with atomic_file(folder / "predictions.parquet") as unfinished:
        predictions.write_parquet(unfinished)
    with atomic_file(folder / "metrics.json") as unfinished:
        Path(unfinished).write_text(json.dumps(metrics, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    with atomic_file(folder / "aucs.csv") as unfinished:
        aucs_table(metrics).to_csv(unfinished, index=False)
    for shown in screen_tables(metrics):
        say(shown)
    sentences = (*reasons(metrics), *remarks(metrics), *rater_sentences(metrics), *said_groups(metrics))
    for sentence in (*sentences, how_sure(metrics)):
        say(sentence)
    for rows in (site_rows(metrics), place_rows(metrics)):
        if rows:
            say(text_table(rows))
    for sentence in (*place_sentences(metrics), *cannot_sentences(metrics)):
        say(sentence)


def named_subjects(frame: pd.DataFrame, beside: Sequence[pd.DataFrame] = ()) -> tuple[NDArray[np.object_] | None, str]:
    """Who speaks in each of these rows, None where the csv names fewer than two people, and what they are called."""
    people = find_people(frame, beside, least=2)
    return (None, "clip") if people is None else (np.array(people.names, dtype=object), people.unit)


@dataclass(frozen=True)
class ScoreReport:
    """What report.html shows besides scores: its run, its rows, and the sentences that belong to it."""

    record: RunRecord
    test: Rows
    title: str = "Evaluation"
    log: Path | None = None
    remark: str = ""
    careful: Sequence[str] = ()


def write_report(
    report: ScoreReport, reader: ClipReader, folder: Path, predictions: Predictions, metrics: Metrics
) -> None:
    """report.html: scores, figures, the training run, the hardest clips with their sound, the run's record."""
    values, test = report.record.values, report.test
    uids = [predictions.uids[hard.row] for hard in hardest(predictions, metrics["loss"])]
    mode = report.record.mode
    text = report_page(
        f"{report.title} on {data_name(values['dataset'], values['data_split_root'], test.source)}",
        predictions.shown(),
        metrics,
        log=_log_lines(report.log),
        record=_shown(read_mapping(record_path(folder, mode, trains=mode == "finetune"))),
        sounds=_sounds(reader, test.frame.loc[uids], test.source),
        remark=report.remark,
        careful=report.careful,
    )
    write_page(folder / "report.html", text)
    say(f"figures and the hardest clips in {folder / 'report.html'}")


def _log_lines(path: Path | None) -> list[dict[str, object]]:
    """The lines of a training run's log, without what a kill left unfinished; none where there is no log."""
    if path is None:
        return []
    try:
        lines = json_lines(path)
    except (OSError, ValueError) as error:
        say(f"note: the page leaves the training run out, since {path} cannot be read ({error})")
        return []
    plain = [line for line in lines if all(map(_is_plain, line.values()))]
    if len(plain) < len(lines):
        say(f"note: the page leaves {len(lines) - len(plain)} lines of {path} out, which hold more than numbers")
    return plain


def _is_plain(value: object) -> bool:
    return value is None or (is_number(value) and abs(value) < 1e300)


def _shown(record: Mapping[str, object]) -> dict[str, object]:
    """What the page shows of a run's record."""
    return {name: value for name, value in _flat(record).items() if name != f"record.{PUBLIC}"}


def _flat(nested: Mapping[str, object], above: str = "") -> dict[str, object]:
    """Nested mappings as one, `record.versions.torch`."""
    flat: dict[str, object] = {}
    for name, value in nested.items():
        flat |= _flat(value, f"{above}{name}.") if isinstance(value, dict) else {f"{above}{name}": value}
    return flat


def _sounds(reader: ClipReader, frame: pd.DataFrame, source: Location) -> dict[str, str]:
    """What the model hears of each recording, as data URIs by uid, while they fit into SOUND_CHARACTERS."""
    if frame.empty or reader.audio.spectrograms or redaction.redaction_in_use():
        return {}
    data, rate = reader.dataset(Rows(frame, [], source)), reader.audio.sample_rate
    heard = int((reader.audio.target_length * _FRAME_SECONDS + _WINDOW_SECONDS) * rate)
    sounds: dict[str, str] = {}
    for index, uid in enumerate(frame.index):
        sound = sound_uri(data[index]["waveform"][0, :heard].numpy(), rate)
        if sum(map(len, sounds.values())) + len(sound) <= SOUND_CHARACTERS:
            sounds[uid] = sound
    return sounds
