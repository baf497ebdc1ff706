"""Score labelled rows with a fine-tuned model, and choose its thresholds."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ssast import redaction
from ssast.data.batch import Batch
from ssast.data.storage.atomic_writes import atomic_file
from ssast.engine import distributed
from ssast.engine.hardware import Engine
from ssast.engine.inference import FinishedPass
from ssast.engine.windows import WindowedPass
from ssast.errors import UserError
from ssast.metrics.predictions import Predictions
from ssast.metrics.score_entries import Metrics
from ssast.metrics.scores import choose_thresholds, unchosen_thresholds
from ssast.metrics.threshold_rules import ThresholdRule
from ssast.model.checkpoints.model_folder import THRESHOLDS
from ssast.model.classification import SSASTForAudioClassification
from ssast.model.label_kinds import YES_NO
from ssast.options.record import RunRecord
from ssast.pages.remarks import unchosen_sentence
from ssast.pages.sound_finding_sentences import finding_counts, finding_sentences
from ssast.runs.batches import ClipReader, RowBatches
from ssast.runs.context import Paths, RunContext, say
from ssast.runs.features import Pooler, own_states, pooled_rows
from ssast.runs.models import compile_blocks
from ssast.runs.output.folder import fingerprint
from ssast.runs.output.notes import Listening, note_recordings
from ssast.runs.output.skipped_recordings import JOURNAL, SkippedRecordings
from ssast.runs.results import ScoreReport, named_subjects, write_report, write_scores
from ssast.runs.resuming import Passes, RememberedRecordings
from ssast.runs.reviewing.development import property_table, save_development
from ssast.runs.reviewing.external import ExternalTest, reasons_with
from ssast.runs.reviewing.groups import group_columns, overlap
from ssast.runs.reviewing.plain_baseline import PlainBaseline, plain_rows, plain_scores, write_plain_scores
from ssast.runs.reviewing.whole_review import reviewed_scores
from ssast.runs.rows import Rows
from ssast.runs.thresholds import read_thresholds, read_unchosen, thresholds_from, weighed_training
from ssast.runs.training_rows import trained_rows


@dataclass(frozen=True)
class Scorer:
    """Lets a model answer to the recordings of rows, in passes that can be gone on with.

    `compiles` says whether its blocks are compiled first. Where it `pools`, each recording's pooled states are kept in
    the cache of `cache_gb`.
    """

    reader: ClipReader
    passes: Passes
    paths: Paths
    engine: Engine
    rule: ThresholdRule
    compiles: bool | str
    pools: bool
    cache_gb: float

    @classmethod
    def of(cls, context: RunContext, reader: ClipReader, *, pools: bool = False) -> "Scorer":
        """The scorer of a mode."""
        options = context.options
        return cls(
            reader,
            Passes.of(context),
            context.paths,
            context.engine,
            ThresholdRule(options.sensitivity, options.specificity),
            options.compile,
            pools,
            options.cache_gb,
        )

    def ready(self, model: SSASTForAudioClassification) -> None:
        """Bring the model to where it runs, as it runs there."""
        model.eval().to(self.engine.device)
        compile_blocks(model, self.compiles, self.engine)
        if self.engine.bf16:
            # Autocast would cast the weights in every batch. The head keeps fp32, else scores come in coarse steps.
            model.v.to(torch.bfloat16)

    def values(
        self,
        apply: Callable[[Batch], Tensor],
        model: SSASTForAudioClassification,
        source: Rows,
        folder: Path,
        key: str,
        *,
        aside: str = "",
    ) -> FinishedPass:
        """One value a clip of `source`, in the run folder's parts; `apply` gets pooled states where they are kept.

        Of recordings that are heard whole it is the mean over their windows.
        """
        self.ready(model)
        given = self._pooled(model, source) if self.pools else self.reader.row_batches(source, model.rounding)
        done = self.passes.run(
            lambda batch: apply(given.prepare(batch)),
            given.batches,
            given.steps,
            folder,
            f"{key} {self.reader.audio.window_overlap}" if self.reader.is_whole else key,
            heard=lambda: RememberedRecordings.of(self.paths, source),
            aside=aside,
            clips_a_step=given.clips_a_step,
            unit=given.unit,
            grouping=given.grouping,
        )
        return WindowedPass(done.folder) if self.reader.is_whole else done

    def _pooled(self, model: SSASTForAudioClassification, source: Rows) -> RowBatches:
        states, is_whole = own_states(model), self.reader.is_whole
        pooler = Pooler(self.reader, self.engine, model, states, False, self.cache_gb, in_windows=is_whole)
        return pooled_rows(pooler, source)

    def predictions(
        self,
        model: SSASTForAudioClassification,
        source: Rows,
        folder: Path,
        beside: Sequence[pd.DataFrame] = (),
        *,
        aside: str = "",
    ) -> tuple[Predictions, FinishedPass] | None:
        """What the model says of these rows, and the parts in `folder`, to be removed once the results are in place.

        `beside` are the other tables that tell who speaks. None in a process that only does its share.
        """

        def predict(batch: Batch) -> Tensor:
            if self.pools:
                return model.score_pooled(batch["pooled"])
            return model.predict_scores(batch["fbank"], frames=batch["frames"])

        files = fingerprint(source.source, self.paths.at(self.paths.finetuned_mdl_path or str(folder)))
        key = f"{sorted(files.values())} {len(source.frame)}"
        done = self.values(predict, model, source, folder, key, aside=aside)
        if not distributed.is_main():
            return None
        rows = [row for table in done.tables() for row in table.to_pylist()]
        if not rows:
            self.reader.skipped.write(folder, list(source.frame.index))
            raise UserError(
                f"no recording of {source.source} could be used; bad_audio.csv in {folder} says why.",
                path=[source.source, folder],
            )
        uids = [row["uid"] for row in rows]
        frame, labels = source.frame.loc[uids], list(source.labels)
        of_model = model.label_kinds if model.labels else source.kinds
        columns = of_model.columns(labels)
        scores = np.array([row["values"] for row in rows], dtype=np.float32)[:, columns]
        subjects, unit = named_subjects(frame, [source.frame, *beside])
        kinds = None if source.kinds.is_plain else source.kinds
        rows_of = source.frame.index.get_indexer(pd.Index(uids))
        return Predictions(uids, labels, scores, source.ratings.values[rows_of], subjects, unit, kinds), done


def save_thresholds(scorer: Scorer, model: SSASTForAudioClassification, held_out: Rows, folder: Path) -> None:
    """Choose each label's threshold on the held-out validation rows and keep it in the model folder."""
    if distributed.is_main():
        (folder / THRESHOLDS).unlink(missing_ok=True)
    yes_no = [label.name for label in held_out.kinds.labels if label.kind == YES_NO]
    if not yes_no:
        return
    # Aside, so that a kill while the test is scored leaves those parts to go on from.
    predicted = scorer.predictions(model, held_out, folder, aside="-validation")
    if predicted is None:
        return
    predictions, done = predicted
    asked = [predictions.labels.index(label) for label in yes_no]
    known = predictions.targets[:, asked], predictions.answers[:, asked], yes_no
    found = choose_thresholds(*known, scorer.rule)
    content: dict[str, object] = {
        "rule": scorer.rule.sentence,
        "clips": len(predictions.uids),
        "thresholds": found,
    }
    if unchosen := unchosen_thresholds(*known, scorer.rule):
        content["unchosen"] = unchosen
    with atomic_file(folder / THRESHOLDS) as unfinished:
        Path(unfinished).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    scorer.reader.skipped.close(done.folder / JOURNAL)
    done.remove()


def evaluate_model(
    scorer: Scorer,
    model: SSASTForAudioClassification,
    test: Rows,
    folder: Path,
    record: RunRecord,
    *,
    baseline: PlainBaseline,
    also: Sequence[Rows] = (),
) -> None:
    """predictions, metrics.json, aucs.csv and report.html of `test` in `folder`, and the scores on the screen.

    `also` are the rows that this run trained on, whose recordings are named too, and summed up for later tests.
    """
    home, skipped = scorer.paths.model_home(folder), scorer.reader.skipped
    groups, elsewhere = group_columns(record.values["groups"], test), ExternalTest.of(record.values)
    trained = trained_rows(scorer.paths, home)
    predicted = scorer.predictions(model, test, folder, trained.rows)
    plain = plain_scores(baseline, test, home)
    properties = property_table(baseline, *(also or [test])) if also or elsewhere else None
    if predicted is None:
        return
    everybody, done = predicted
    predictions, fitted = elsewhere.divided(everybody, test) if elsewhere else (everybody, None)
    thresholds = read_thresholds(home)
    write_plain_scores(plain, test, folder)
    skipped.gather()
    metrics = reviewed_scores(
        predictions,
        test,
        thresholds,
        resamples=record.values["resamples"],
        prevalence=record.values["prevalence"],
        left_out=len(test.frame) - len(everybody.uids),
        plain=plain_rows(predictions, test, plain),
        groups=groups,
        reasons=reasons_with(skipped.reasons, fitted),
        not_scored=[label for label in model.labels or [] if label not in test.labels],
    )
    if elsewhere and properties is not None:
        elsewhere.add(metrics, predictions, fitted, properties, home)
    listening = Listening(scorer.reader.audio, scorer.reader.crop, trains=bool(also))
    _add_heard(metrics, predictions, skipped, listening)
    careful = overlap(test.frame, trained.rows, is_all=not trained.note)
    if careful:
        metrics["overlap"] = redaction.shown(careful, is_sentence=True)
    write_scores(folder, predictions, metrics)
    if also and properties is not None:
        save_development(properties, also, predictions, metrics, thresholds, folder)
    report = ScoreReport(
        record,
        test,
        log=home / "log.jsonl",
        remark=thresholds_from(home) if _has_thresholds(test) else "",
        careful=[
            *_said_doubts(test, home, careful, trained.note),
            *_heard_sentences(skipped, predictions.uids, also),
        ],
    )
    write_report(report, scorer.reader, folder, predictions, metrics)
    done.remove()
    note_recordings(record, skipped, folder, *(rows.frame.index for rows in (*also, test)), listening=listening)


def _add_heard(metrics: Metrics, predictions: Predictions, skipped: SkippedRecordings, listening: Listening) -> None:
    """Put what a model does not hear of the recordings, or hears otherwise, into metrics.json."""
    metrics["heard"] = finding_counts(skipped.of(predictions.uids))
    for unheard in replace(listening, trains=False).unheard(skipped, [predictions.uids]):
        if unheard.longer:
            metrics["unheard"] = unheard.facts


def _said_doubts(test: Rows, home: Path, careful: str, note: str) -> list[str]:
    """Whether the model knows these people, which labels have no chosen threshold, and which scores are no chances.

    `careful` is what is wrong, else the `note` says why that is not known. All of it is printed, too.
    """
    is_called = _has_thresholds(test)
    unchosen = unchosen_sentence(read_unchosen(home, test.labels)) if is_called else ""
    weighed = weighed_training(home) if is_called else ""
    for sentence in filter(None, [careful or note, unchosen, weighed]):
        say(sentence)
    return [sentence for sentence in (careful, unchosen, weighed) if sentence]


def _has_thresholds(test: Rows) -> bool:
    return any(label.kind == YES_NO for label in test.kinds.labels)


def _heard_sentences(skipped: SkippedRecordings, scored: Sequence[str], also: Sequence[Rows]) -> list[str]:
    """What is doubtful about the recordings that were scored, and about those that the run trained on."""
    uids = [uid for rows in also for uid in rows.frame.index if not skipped.has(uid)]
    return [
        *finding_sentences(skipped.of(scored), len(scored)),
        *finding_sentences(skipped.of(uids), len(uids), "training recordings"),
    ]
