"""Say how well scores and embeddings repeat in people who were recorded twice: `ssast retest`."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from ssast.data.storage.atomic_writes import atomic_file, writable_folder
from ssast.errors import UserError
from ssast.metrics.measures import Floats
from ssast.metrics.reliability import LEAST_PEOPLE, embedding_repeatability, repeatability
from ssast.options.options import Options
from ssast.pages.html import write_page
from ssast.pages.retest_page import retest_page
from ssast.pages.tables import number, span, text_table
from ssast.runs.context import Paths, needed, run_names, say, words_in
from ssast.runs.results import RESAMPLES_SEED
from ssast.runs.reviewing.repeated_recordings import Repeats, find_repeats, read_embeddings, read_scores, table_of
from ssast.runs.wrapping.wrapper import Mode

_ON_SCREEN = {"icc_2_1": "ICC(2,1)", "icc_3_1": "ICC(3,1)", "sem": "standard error", "mdc95": "detectable change"}
_PARQUET = (".pqt", ".parquet")


@Mode
def retest(options: Options) -> Path:
    """Hold the values of people's first session against those of their second; the csv with every measure.

    `runs` names folders of evaluate, csv files of scores and parquet files of embeddings, with commas between.
    """
    paths = Paths.of(options)
    root = needed(options.data_split_root, "data_split_root", "a csv with the columns uid, speaker and session")
    repeats = find_repeats(paths.at(root))
    for sentence in repeats.sentences():
        say(sentence)
    tables = [table_of(word) for word in words_in(options.runs)]
    names = _names(tables)
    scores: dict[str, dict[str, Any]] = {}
    embeddings: dict[str, dict[str, Any]] = {}
    pairs: dict[str, Floats] = {}
    for name, table in zip(names, tables, strict=True):
        if table.suffix in _PARQUET:
            values = _enough(repeats.values(read_embeddings(table)), table)
            found = embedding_repeatability(values, options.resamples, RESAMPLES_SEED)
            embeddings[name] = {"people": len(values), **found}
            continue
        for label, values_of in read_scores(table).items():
            own = label if len(tables) == 1 else f"{name}: {label}"
            pairs[own] = _enough(repeats.values(values_of), table)[:, :, 0]
            scores[own] = {"people": len(pairs[own]), **repeatability(pairs[own])}
    return _write(writable_folder(options.exp_dir), repeats, scores, embeddings, pairs)


def _names(tables: list[Path]) -> list[str]:
    """What each table is called: its run's folder or its own name, the whole path where two share that."""
    short = [table.parent.resolve().name if table.name == "predictions.csv" else table.stem for table in tables]
    return run_names(short, tables)


def _enough(values: Floats, table: Path) -> Floats:
    """The values (P, 2, D); UserError where too few people have some in both sessions."""
    if len(values) < LEAST_PEOPLE:
        raise UserError(
            f"{table} has values of both sessions of {len(values)} people, expected at least {LEAST_PEOPLE}; "
            "score or extract the recordings of both sessions.",
            path=table,
        )
    return values


def _write(
    folder: Path,
    repeats: Repeats,
    scores: dict[str, dict[str, Any]],
    embeddings: dict[str, dict[str, Any]],
    pairs: dict[str, Floats],
) -> Path:
    """retest.csv, retest.json and retest.html in a folder, and a table on the screen; the csv."""
    with atomic_file(folder / "retest.csv") as unfinished:
        pd.DataFrame(list(_rows({**scores, **embeddings}))).to_csv(unfinished, index=False)
    content = {"people": len(repeats.uids), "unit": repeats.unit, "scores": scores, "embeddings": embeddings}
    with atomic_file(folder / "retest.json") as unfinished:
        Path(unfinished).write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    text = retest_page("Test and retest", repeats.sentences(), scores, embeddings, pairs)
    write_page(folder / "retest.html", text)
    say(text_table([["", "people", *_ON_SCREEN.values()], *map(_screen_row, [*scores.items(), *embeddings.items()])]))
    say(f"every measure in {folder / 'retest.csv'}, figures in {folder / 'retest.html'}")
    return folder / "retest.csv"


def _rows(found: dict[str, dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """A row a value and measure; of embeddings the median over their dimensions."""
    for name, own in found.items():
        for measure, entry in own.items():
            if isinstance(entry, dict):
                low, high = entry["interval"] or (None, None)
                yield {"name": name, "people": own["people"], "measure": measure} | {
                    "value": entry["value"],
                    "low": low,
                    "high": high,
                }


def _screen_row(named: tuple[str, dict[str, Any]]) -> list[str]:
    name, own = named
    cells = [
        f"{number(own[key]['value'])} ({span(own[key]['interval'], 2)})" if key in own else "" for key in _ON_SCREEN
    ]
    return [f"{name} (median)" if "dimensions" in own else name, str(own["people"]), *cells]
