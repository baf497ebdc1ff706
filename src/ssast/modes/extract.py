"""Write an embedding of every recording, or of every step of its time: `ssast extract`."""

from pathlib import Path
from typing import Any

import torch

from ssast.data.loader import loader
from ssast.engine import distributed, inference
from ssast.engine.windows import Cutter, step_rows, window_batches
from ssast.model.classification import SSASTForAudioClassification
from ssast.options.options import Options
from ssast.runs.audio_settings import Settings, audio_settings, model_settings
from ssast.runs.batches import dataset, loading, prepare
from ssast.runs.context import RunContext, say
from ssast.runs.models import classification_model, finetuned_model
from ssast.runs.output.changed_recordings import RememberedRecordings
from ssast.runs.output.folder import nothing_half_written, open_folder, used_files
from ssast.runs.output.lock import alone
from ssast.runs.output.notes import note_recordings
from ssast.runs.output.uploads import uploaded
from ssast.runs.resumable_inference import one_pass
from ssast.runs.rows import Rows, data_name, rows
from ssast.runs.scoring import clip_values, ready


@alone("extract")
@uploaded("extract")
@nothing_half_written
def extract(options: Options | None = None, /, **overrides: Any) -> Path:
    """Write one embedding a recording; the parquet file with the columns `uid` and `embedding`.

    With `over_time` one for each step of time, and a column `time` with its middle in seconds.
    """
    context = RunContext.of(options, "extract", overrides)
    options = context.options
    model, settings = _extraction_model(options)
    source = rows(options, [], "MSE")
    layer = model.layer if "layer" not in options.given else options.layer
    task = model.task if "task" not in options.given else options.task
    kind: dict[str, Any] = {"embedding_type": options.embedding_type, "layer": layer, "task": task}
    model.check_embedding(options.embedding_type, layer, task)
    if options.over_time:
        model.check_over_time(options.embedding_type, layer)
    files = used_files(options, source.source)
    name = _embedding_name(data_name(options, source.source), model.config["model_size"], **kind)
    key = f"{name} {sorted(files.values())}"
    if options.over_time:
        name = name.replace("_embeddings.pqt", "_embeddings_over_time.pqt")
    clips = {"extract": len(source.frame)}
    folder = open_folder(options, clips=clips, files=files, trains=False, table=name)

    def embed(batch: dict[str, Any]) -> torch.Tensor:
        return model.extract_embedding(batch["fbank"], frames=batch["frames"], **kind)

    if options.over_time:
        done = step_values(context, model, source, settings, folder, key, kind)
    else:
        done = clip_values(context, embed, model, source, settings, folder, key)
    if distributed.is_main():
        count = done.write_parquet(folder / name, "embedding")
        done.remove()
        note_recordings(context, folder, source.frame.index)
        say(f"{count} embeddings in {folder / name}")
    return folder / name


def _extraction_model(options: Options) -> tuple[SSASTForAudioClassification, Settings]:
    """The fine-tuned model where one is given, else the pretrained one with a head that is never used."""
    if options.finetuned_mdl_path:
        model = finetuned_model(options)
        return model, model_settings(options, model.frontend)
    settings = audio_settings(options)
    return classification_model(options, ["unused"], settings), settings


def _embedding_name(dataset: str, model_size: str, *, embedding_type: str, layer: int, task: str) -> str:
    shown = ("Final" if layer == -1 else str(layer)) if embedding_type == "pt" else "NA"
    return f"{dataset}_{model_size}_layer{shown}_{task}_{embedding_type}_embeddings.pqt"


def step_values(
    context: RunContext,
    model: SSASTForAudioClassification,
    source: Rows,
    settings: Settings,
    folder: Path,
    key: str,
    kind: dict[str, Any],
) -> inference.FinishedPass:
    """Rows of uid, time and values; recordings longer than the model's input are heard in windows."""
    options = context.options
    ready(context, model)
    prepared = prepare(options, settings, context.accelerator.device, augment=False)
    cutter = Cutter.in_steps(prepared.frontend, options.window_overlap, model.v)
    data = dataset(options, source, settings, augment=False, hold="windows")
    size = inference.loader_size(options.batch_size, context.accelerator.device)

    def batches(start: int, stop: int | None = None) -> Any:
        return window_batches(loader(data, batch_size=1, start=start, stop=stop, **loading(context)), cutter, size)

    def embed(batch: inference.Batch) -> torch.Tensor:
        made = prepared(batch)
        return model.frame_embeddings(made["fbank"], kind["layer"], kind["embedding_type"], made["frames"])[0]

    def rows(batch: inference.Batch, values_BTD: torch.Tensor) -> Any:
        return step_rows(cutter, model.v.middles, batch, values_BTD)

    def heard() -> RememberedRecordings:
        return RememberedRecordings.of(options, source)

    return one_pass(context, embed, batches, len(data), folder, key, rows=rows, heard=heard, unit="recording")
