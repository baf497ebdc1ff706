"""A fine-tuned model and labelled rows in; thresholds, scores, predictions and their page in a run folder out."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from ssast import veil
from ssast.bounded import json_lines
from ssast.data.people import find_people
from ssast.data.splits import label_values
from ssast.data.storage import Location, whole_file
from ssast.engine import crew, infer
from ssast.engine.hardware import uses_bf16
from ssast.errors import UserError
from ssast.model.card import PUBLIC
from ssast.model.classification import SSASTForAudioClassification
from ssast.model.folder import THRESHOLDS
from ssast.modes.assemble import Rows, Settings, Work, data_name, dataset, row_batches, say
from ssast.modes.heard import Remembered
from ssast.modes.left_out import JOURNAL
from ssast.modes.models import compiled
from ssast.modes.noting import note_recordings
from ssast.modes.options import Options
from ssast.modes.overlap import say_overlap
from ssast.modes.passes import one_pass
from ssast.modes.places import at, model_path
from ssast.modes.pooling import keeps_features, pooled_rows
from ssast.modes.runfile import read_mapping
from ssast.modes.runfolder import fingerprint, record_path
from ssast.modes.thresholds import read_thresholds, read_unchosen, thresholds_from
from ssast.modes.trained import trained_rows
from ssast.report.doubt_words import doubt_counts, doubt_sentences
from ssast.report.html import sound_uri, write_page
from ssast.report.metrics import Thresholds, aucs_table, choose_thresholds, score, unchosen_thresholds
from ssast.report.predictions import Predictions, first_clips, pool
from ssast.report.remarks import remarks, unchosen_sentence
from ssast.report.report_page import hardest, report_page
from ssast.report.tables import reasons, screen_rows, text_table
from ssast.report.words import how_sure

# Apart from --seed, so that `evaluate` of a folder draws what `finetune` drew whatever seed it was trained with.
RESAMPLES_SEED = 0
FRAME_SECONDS, WINDOW_SECONDS = 0.01, 0.025
SOUND_CHARACTERS = 3_500_000
"""Room for sounds in the report page, which stays below 5 MB."""


def ready(work: Work, model: SSASTForAudioClassification) -> None:
    """Bring the model to where it runs, as it runs there."""
    model.eval().to(work.accelerator.device)
    compiled(work.options, model.v)
    if uses_bf16(work.accelerator):
        # Autocast would cast the weights in every batch. The head keeps fp32, else scores come in coarse steps.
        model.v.to(torch.bfloat16)


def clip_values(
    work: Work,
    apply: Any,
    model: SSASTForAudioClassification,
    source: Rows,
    settings: Settings,
    folder: Path,
    key: str,
    *,
    pooled: bool = False,
    aside: str = "",
) -> infer.Rows:
    """One value a clip of `source`, in the run folder's parts; `pooled` gives `apply` batches of pooled states."""
    ready(work, model)
    given = pooled_rows(work, model, source, settings) if pooled else row_batches(work, source, settings)
    batches, steps, prepare = given
    kind: dict[str, Any] = {
        "heard": lambda: Remembered.of(work.options, source),
        "aside": aside,
        "clips_a_step": infer.loader_size(work.options.batch_size, work.accelerator.device),
    }
    return one_pass(work, lambda batch: apply(prepare(batch)), batches, steps, folder, key, **kind)


def predict_rows(
    work: Work,
    model: SSASTForAudioClassification,
    source: Rows,
    settings: Settings,
    folder: Path,
    beside: Sequence[pd.DataFrame] = (),
    *,
    aside: str = "",
) -> tuple[Predictions, infer.Rows] | None:
    """What the model says of these rows, and the parts in `folder`, to be removed once the results are in place.

    `beside` are the other tables that tell who speaks. None in a process that only does its share.
    """
    pooled = work.options.mode == "finetune" and keeps_features(work, model)

    def predict(batch: dict[str, Any]) -> torch.Tensor:
        if pooled:
            return model.score_pooled(batch["pooled"])
        return model.predict_scores(batch["fbank"], frames=batch["frames"])

    files = fingerprint(source.source, at(work.options, work.options.finetuned_mdl_path or str(folder)))
    key = f"{sorted(files.values())} {len(source.frame)}"
    done = clip_values(work, predict, model, source, settings, folder, key, pooled=pooled, aside=aside)
    if not crew.is_main():
        return None
    rows = [row for table in done.tables() for row in table.to_pylist()]
    if not rows:
        work.bad.write(folder)
        raise UserError(
            f"no recording of {source.source} could be used; bad_audio.csv in {folder} says why.",
            path=[source.source, folder],
        )
    uids = [row["uid"] for row in rows]
    frame, labels = source.frame.loc[uids], list(source.labels)
    columns = [(model.labels or labels).index(label) for label in labels]
    scores = np.array([row["values"] for row in rows], dtype=np.float32)[:, columns]
    whose = named_subjects(frame, [source.frame, *beside])
    return Predictions(uids, labels, scores, label_values(frame, labels), **whose), done


def named_subjects(frame: pd.DataFrame, beside: Sequence[pd.DataFrame] = ()) -> dict[str, Any]:
    """`subjects` and `unit` of Predictions for these rows; empty where the csv names fewer than two subjects."""
    people = find_people(frame, beside, least=2)
    return {} if people is None else {"subjects": np.array(people.names, dtype=object), "unit": people.unit}


def save_thresholds(
    work: Work, model: SSASTForAudioClassification, held_out: Rows, settings: Settings, folder: Path
) -> None:
    """Choose each label's threshold on the held-out validation rows and keep it in the model folder."""
    if crew.is_main():
        (folder / THRESHOLDS).unlink(missing_ok=True)
    if model.config["loss"] != "BCE":
        return
    # Aside, so that a kill while the test is scored leaves those parts to go on from.
    predicted = predict_rows(work, model, held_out, settings, folder, aside="-validation")
    if predicted is None:
        return
    predictions, done = predicted
    found = choose_thresholds(predictions.targets, predictions.scores, predictions.labels)
    content: dict[str, Any] = {
        "rule": "largest sensitivity + specificity on the validation clips; 0.5 where they do not hold both classes",
        "clips": len(predictions.uids),
        "thresholds": found,
    }
    if unchosen := unchosen_thresholds(predictions.targets, predictions.scores, predictions.labels):
        content["unchosen"] = unchosen
    with whole_file(folder / THRESHOLDS) as beside:
        Path(beside).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    work.bad.close(done.folder / JOURNAL)
    done.remove()


def model_home(options: Options, folder: Path) -> Path:
    """The folder of the fine-tuned model: the one that is named, else the run's own."""
    path = Path(model_path(options, options.finetuned_mdl_path)) if options.finetuned_mdl_path else folder
    return path if path.is_dir() else path.parent


def evaluate_model(
    work: Work,
    model: SSASTForAudioClassification,
    test: Rows,
    settings: Settings,
    folder: Path,
    *,
    also: Sequence[Rows] = (),
) -> None:
    """predictions, metrics.json, aucs.csv and report.html of `test` in `folder`, and the scores on the screen.

    `also` are the rows that this run trained on, whose recordings are named too.
    """
    home = model_home(work.options, folder)
    trained = trained_rows(work.options, home)
    predicted = predict_rows(work, model, test, settings, folder, trained.rows)
    if predicted is None:
        return
    predictions, done = predicted
    thresholds = read_thresholds(home)
    left_out = len(test.frame) - len(predictions.uids)
    metrics = measure(predictions, model.config["loss"], thresholds, work.options.resamples, left_out=left_out)
    if lacking := [label for label in model.labels or [] if label not in test.labels]:
        metrics["not_scored"] = lacking
    work.bad.gather()
    metrics["heard"] = doubt_counts(work.bad.of(predictions.uids))
    write_scores(folder, predictions, metrics)
    chosen = thresholds_from(home) if metrics["loss"] == "BCE" else ""
    unchosen = unchosen_sentence(read_unchosen(home, test.labels)) if metrics["loss"] == "BCE" else ""
    if unchosen:
        say(unchosen)
    careful = say_overlap(test.frame, trained.rows)
    if trained.note and not careful:
        say(trained.note)
    remark = " ".join(filter(None, [careful, chosen, unchosen]))
    told: dict[str, Any] = {"log": home / "log.jsonl", "remark": remark}
    told["careful"] = _heard_sentences(work, predictions.uids, also)
    write_report(work.options, test, settings, folder, predictions, metrics, **told)
    done.remove()
    note_recordings(work, folder, *(rows.frame.index for rows in (*also, test)))


def _heard_sentences(work: Work, scored: Sequence[str], also: Sequence[Rows]) -> list[str]:
    """What is doubtful about the recordings that were scored, and about those that the run trained on."""
    uids = [uid for rows in also for uid in rows.frame.index if uid not in work.bad.reasons]
    return [
        *doubt_sentences(work.bad.of(scored), len(scored)),
        *doubt_sentences(work.bad.of(uids), len(uids), "training recordings"),
    ]


def measure(
    predictions: Predictions, loss: str, thresholds: Thresholds, resamples: int, *, left_out: int = 0
) -> dict[str, Any]:
    """metrics.json: the scores of the clips, and under "by_subject" those of their subjects where these are named.

    `left_out` counts the rows of the csv whose recordings could not be used.
    """
    how: dict[str, Any] = {"loss": loss, "resamples": resamples, "seed": RESAMPLES_SEED}
    found = score(
        predictions.targets,
        predictions.scores,
        predictions.labels,
        subjects=predictions.subjects,
        thresholds=thresholds,
        **how,
    )
    found |= {"unit": predictions.unit, "left_out": left_out, "by_subject": None}
    if predictions.subjects is None:
        return found
    pooled, varying = pool(predictions)
    if pooled.labels:
        first_S = first_clips(predictions)
        of_subjects = {label: own[first_S] if isinstance(own, np.ndarray) else own for label, own in thresholds.items()}
        found["by_subject"] = score(pooled.targets, pooled.scores, pooled.labels, thresholds=of_subjects, **how)
        found["by_subject"] |= {"unit": pooled.unit, "left_out": varying, "pooling": "mean score of the clips"}
    return found


def write_scores(folder: Path, predictions: Predictions, metrics: dict[str, Any]) -> None:
    """predictions.csv and .parquet, metrics.json and aucs.csv, each moved into place whole; a table on the screen."""
    with whole_file(folder / "predictions.csv") as beside:
        predictions.table().to_csv(beside)
    with whole_file(folder / "predictions.parquet") as beside:
        predictions.write_parquet(beside)
    with whole_file(folder / "metrics.json") as beside:
        Path(beside).write_text(json.dumps(metrics, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    with whole_file(folder / "aucs.csv") as beside:
        aucs_table(metrics).to_csv(beside, index=False)
    say(text_table(screen_rows(metrics)))
    for sentence in (*reasons(metrics), *remarks(metrics), how_sure(metrics)):
        say(sentence)


def write_report(
    options: Options,
    test: Rows,
    settings: Settings,
    folder: Path,
    predictions: Predictions,
    metrics: Mapping[str, Any],
    *,
    title: str = "Evaluation",
    log: Path | None = None,
    remark: str = "",
    careful: Sequence[str] = (),
) -> None:
    """report.html: scores, figures, the training run, the hardest clips with their sound, the run's record."""
    uids = [predictions.uids[hard.row] for hard in hardest(predictions, metrics["loss"])]
    text = report_page(
        f"{title} on {data_name(options, test.source)}",
        predictions.shown(),
        metrics,
        log=_log_lines(log),
        record=_shown(read_mapping(record_path(folder, options.mode, trains=options.mode == "finetune"))),
        sounds=_sounds(options, test.frame.loc[uids], test.source, settings),
        remark=remark,
        careful=careful,
    )
    write_page(folder / "report.html", text)
    say(f"figures and the hardest clips in {folder / 'report.html'}")


def _log_lines(path: Path | None) -> list[dict[str, Any]]:
    """The lines of a training run's log, without what a kill left unfinished; none where there is no log."""
    if path is None:
        return []
    try:
        lines = json_lines(path)
    except (OSError, ValueError) as error:
        say(f"note: the page leaves the training run out, since {path} cannot be read ({error})")
        return []
    told = [line for line in lines if all(value is None or _is_plain(value) for value in line.values())]
    if len(told) < len(lines):
        say(f"note: the page leaves {len(lines) - len(told)} lines of {path} out, which hold more than numbers")
    return told


def _is_plain(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def _shown(record: Mapping[str, Any]) -> dict[str, Any]:
    """What the page shows of a run's record."""
    return {name: value for name, value in _flat(record).items() if name != f"record.{PUBLIC}"}


def _flat(nested: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Nested mappings as one, `record.versions.torch`."""
    flat: dict[str, Any] = {}
    for name, value in nested.items():
        flat |= _flat(value, f"{above}{name}.") if isinstance(value, dict) else {f"{above}{name}": value}
    return flat


def _sounds(options: Options, frame: pd.DataFrame, source: Location, settings: Settings) -> dict[str, str]:
    """As much of each recording as the model hears, as data URIs by uid, while they fit into SOUND_CHARACTERS."""
    if frame.empty or veil.worn():
        return {}
    data = dataset(options, Rows(frame, [], source), settings, augment=False)
    heard = int((settings["target_length"] * FRAME_SECONDS + WINDOW_SECONDS) * settings["sample_rate"])
    sounds: dict[str, str] = {}
    for index, uid in enumerate(frame.index):
        sound = sound_uri(data[index]["waveform"][0, :heard].numpy(), settings["sample_rate"])
        if sum(map(len, sounds.values())) + len(sound) <= SOUND_CHARACTERS:
            sounds[uid] = sound
    return sounds
