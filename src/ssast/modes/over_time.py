"""Rows and a model in; an embedding for each step of time of each recording, in the run folder's parts, out."""

from pathlib import Path
from typing import Any

import torch

from ssast.data.loader import loader
from ssast.engine import infer
from ssast.engine.windows import Cutter, step_rows, window_batches
from ssast.model.classification import SSASTForAudioClassification
from ssast.modes.assemble import Rows, Settings, Work, dataset, loading, prepare
from ssast.modes.heard import Remembered
from ssast.modes.passes import one_pass
from ssast.modes.scoring import ready


def step_values(
    work: Work,
    model: SSASTForAudioClassification,
    source: Rows,
    settings: Settings,
    folder: Path,
    key: str,
    kind: dict[str, Any],
) -> infer.Rows:
    """Rows of uid, time and values; recordings longer than the model's input are heard in windows."""
    options = work.options
    ready(work, model)
    prepared = prepare(options, settings, work.accelerator.device, augment=False)
    cutter = Cutter.in_steps(prepared.frontend, options.window_overlap, model.v)
    data = dataset(options, source, settings, augment=False, hold="windows")
    size = infer.loader_size(options.batch_size, work.accelerator.device)

    def batches(start: int, stop: int | None = None) -> Any:
        return window_batches(loader(data, batch_size=1, start=start, stop=stop, **loading(work)), cutter, size)

    def embed(batch: infer.Batch) -> torch.Tensor:
        made = prepared(batch)
        return model.frame_embeddings(made["fbank"], kind["layer"], kind["embedding_type"], made["frames"])[0]

    def rows(batch: infer.Batch, values_BTD: torch.Tensor) -> Any:
        return step_rows(cutter, model.v.middles, batch, values_BTD)

    def heard() -> Remembered:
        return Remembered.of(options, source)

    return one_pass(work, embed, batches, len(data), folder, key, rows=rows, heard=heard, unit="recording")
