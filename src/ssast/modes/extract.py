"""Write an embedding of every recording, or of every step of its time: `ssast extract`."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from torch import Tensor

from ssast.data.batch import Batch
from ssast.data.prepare import AudioSettings
from ssast.engine import distributed
from ssast.engine.inference import FinishedPass
from ssast.engine.lengths import Grouping
from ssast.engine.windows import Cutter, step_rows, window_batches
from ssast.model.classification import SSASTForAudioClassification
from ssast.model.label_kinds import LabelKinds
from ssast.options.options import Options
from ssast.runs.batches import ClipReader, part_bounds, part_key
from ssast.runs.context import Paths, RunContext, say
from ssast.runs.models import ModelSettings, audio_settings, classification_model, finetuned_model, model_settings
from ssast.runs.output.folder import open_folder, used_files
from ssast.runs.output.notes import Listening, note_recordings
from ssast.runs.output.part_tables import PartNote
from ssast.runs.resuming import RememberedRecordings
from ssast.runs.rows import Rows, blocks_of, data_name, rows
from ssast.runs.scoring import Scorer
from ssast.runs.wrapping.wrapper import Mode


@Mode
def extract(options: Options) -> Path:
    """Write one embedding a recording; the parquet file with the columns `uid` and `embedding`.

    With `over_time` one for each step of time, and a column `time` with its middle in seconds.
    """
    context = RunContext.of(options)
    paths, skipped = context.paths, context.skipped
    model, audio = _extraction_model(options, paths)
    every = rows(paths, LabelKinds(()), on_bad_audio=options.on_bad_audio)
    reader = ClipReader.of(context, audio)
    bounds = part_bounds(context.part, len(every.frame), reader, blocks_of(paths, every))
    source = every.part(every.frame.iloc[slice(*bounds)])
    layer = model.layer if "layer" not in options.given else options.layer
    task = model.task if "task" not in options.given else options.task
    wanted = Wanted(options.embedding_type, layer, task)
    model.check_embedding(options.embedding_type, layer, task)
    if options.over_time:
        model.check_over_time(options.embedding_type, layer)
    files = used_files(paths, source.source)
    dataset = data_name(options.dataset, options.data_split_root, source.source)
    name = wanted.file_name(dataset, model.config["model_size"])
    key = f"{name} {sorted(files.values())}" + part_key(context.part, bounds)
    if options.over_time:
        name = name.replace("_embeddings.pqt", "_embeddings_over_time.pqt")
    if not context.part.is_whole:
        name = context.part.named(name).removesuffix(".pqt") + ".parquet"
    clips = {"extract": len(source.frame)}
    folder = open_folder(context.record, clips=clips, files=files, trains=False, table=name)
    scorer = Scorer.of(context, reader)
    if options.over_time:
        done = _step_values(scorer, model, source, folder, key, wanted, options.window_overlap)
    else:
        done = scorer.values(wanted.embed_with(model), model, source, folder, key)
    if distributed.is_main():
        note = PartNote.of(context.record, bounds, list(every.frame.index), files)
        count = done.write_parquet(folder / name, "embedding", note.metadata())
        done.remove()
        listening = None if options.over_time else Listening(audio)
        note_recordings(context.record, skipped, folder, source.frame.index, listening=listening)
        say(f"{count} embeddings in {folder / name}")
    return folder / name


@dataclass(frozen=True)
class Wanted:
    """Which embedding is asked for."""

    embedding_type: str
    layer: int
    task: str

    def embed_with(self, model: SSASTForAudioClassification) -> Callable[[Batch], Tensor]:
        """Return the function that gives the embeddings (B, D) of a prepared batch."""

        def embed(batch: Batch) -> Tensor:
            return model.extract_embedding(
                batch["fbank"], self.embedding_type, self.layer, self.task, frames=batch["frames"]
            )

        return embed

    def file_name(self, dataset: str, model_size: str) -> str:
        """The name of its table, as in the seed."""
        shown = ("Final" if self.layer == -1 else str(self.layer)) if self.embedding_type == "pt" else "NA"
        return f"{dataset}_{model_size}_layer{shown}_{self.task}_{self.embedding_type}_embeddings.pqt"


def _extraction_model(options: Options, paths: Paths) -> tuple[SSASTForAudioClassification, AudioSettings]:
    """The fine-tuned model where one is given, else the pretrained one with a head that is never used."""
    settings, asked = ModelSettings.of(options), audio_settings(options)
    if options.finetuned_mdl_path:
        model = finetuned_model(paths, settings, asked)
        return model, model_settings(asked, model, options.given, overlap=options.window_overlap)
    return classification_model(paths, settings, LabelKinds.plain("BCE", ["unused"]), asked), asked


def _step_values(
    scorer: Scorer,
    model: SSASTForAudioClassification,
    source: Rows,
    folder: Path,
    key: str,
    wanted: Wanted,
    overlap: float,
) -> FinishedPass:
    """Rows of uid, time and values; recordings longer than the model's input are heard in windows."""
    scorer.ready(model)
    reader = scorer.reader
    prepared = reader.prepare(rounding=model.rounding)
    cutter = Cutter.in_steps(prepared.frontend, overlap, model.v)
    data = reader.dataset(source, hold="windows")

    def batches(start: int, stop: int) -> Iterable[Batch]:
        return window_batches(reader.load(data, batch_size=1, start=start, stop=stop), cutter, reader.loader_size)

    def embed(batch: Batch) -> Tensor:
        made = prepared(batch)
        return model.frame_embeddings(made["fbank"], wanted.layer, wanted.embedding_type, made["frames"])[0]

    def table(batch: Batch, values_BTD: Tensor) -> pa.Table:
        return step_rows(cutter, model.v.middles, batch, values_BTD)

    def heard() -> RememberedRecordings:
        return RememberedRecordings.of(scorer.paths, source)

    grouping = Grouping.of(prepared, reader.loader_size)
    return scorer.passes.run(
        embed, batches, len(data), folder, key, rows=table, heard=heard, unit="recording", grouping=grouping
    )
