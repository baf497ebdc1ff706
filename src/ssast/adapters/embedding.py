"""Load any model that can be named, and embed recordings as `ssast extract` does, for toolkits that take vectors.

Shapes: B clips or windows, D width.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from ssast.data.batch import Batch
from ssast.data.loader import loader
from ssast.data.prepare import AudioSettings
from ssast.data.storage.download import weights_file
from ssast.engine.hardware import in_precision, pick_device, wants_bf16
from ssast.engine.inference import loader_size, on_device
from ssast.engine.lengths import Grouping, answers
from ssast.engine.predictor import WindowPredictor, settings_of, usual_share
from ssast.engine.windows import mean_of_windows
from ssast.errors import UserError
from ssast.model.checkpoints.checkpoint import looks_like_hub_name
from ssast.model.checkpoints.detect import OWN_FINETUNED, OWN_PRETRAINED, PUBLISHED_FILE, detect
from ssast.model.checkpoints.published import PUBLISHED_ENDING, published_name, read_checkpoint
from ssast.model.classification import SSASTForAudioClassification

DEFAULT = "SSAST-Base-Frame-400"


def embedding_model(source: Any, **sizes: Any) -> SSASTForAudioClassification:
    """The model of a folder, a published file or name, or a hub name; or the model that was given. In evaluation mode.

    A pretrained one comes with a head that is never used. `sizes` such as target_length replace its own. UserError:
    nothing is there, or it must be converted first.
    """
    if isinstance(source, SSASTForAudioClassification):
        return source
    name = os.fspath(source)
    known = published_name(name)
    if known and not os.path.exists(name):
        path = Path(f"{known}{PUBLISHED_ENDING}")
        name = str(path if path.exists() else weights_file(known))
    elif not os.path.exists(name) and looks_like_hub_name(name):
        return SSASTForAudioClassification.from_pretrained(name, **sizes)
    found = detect(name)
    if found.kind == OWN_FINETUNED:
        return SSASTForAudioClassification.from_pretrained(found.path, **sizes)
    if found.kind not in (OWN_PRETRAINED, PUBLISHED_FILE):
        raise UserError(
            f"{name} is no model that gives embeddings as it is; run `ssast convert {name} OUT`, give OUT.", path=name
        )
    checkpoint = read_checkpoint(found.path)
    kept = {"target_length": checkpoint.config["target_length"], "frontend": checkpoint.config.get("frontend")}
    kept["mask_padding"] = bool(checkpoint.config.get("mask_padding"))
    return SSASTForAudioClassification.from_published(found.path, num_labels=1, seed=0, **{**kept, **sizes})


def is_pretrained(model: SSASTForAudioClassification) -> bool:
    """Whether the head is the unused one that `embedding_model` made: it names no labels and has one output."""
    return model.labels is None and model.num_labels == 1


Vectors = Iterator[tuple[str, NDArray[np.float32]]]


@dataclass(frozen=True)
class Embedding:
    """Which embedding a model gives, and how it hears: `overlap` is what windows share, None for beginnings alone."""

    model: SSASTForAudioClassification
    kind: str
    layer: int | None
    task: str | None
    audio: AudioSettings
    overlap: float | None
    device: torch.device
    size: int

    @classmethod
    def of(
        cls,
        model: SSASTForAudioClassification,
        *,
        embedding_type: str | None,
        layer: int | None,
        task: str | None,
        whole_recording: bool | None,
        window_overlap: float | None,
        batch_size: int,
        device: str,
    ) -> Self:
        """The settings, checked; None is the model's own. UserError where model and settings do not go together."""
        kind = embedding_type or ("pt" if is_pretrained(model) else "ft")
        model.check_embedding(kind, layer, task)
        audio, where = settings_of(model), pick_device(device)
        overlap = usual_share(window_overlap, audio)
        is_whole = audio.window_overlap is not None if whole_recording is None else whole_recording
        size = loader_size(batch_size, where)
        return cls(model, kind, layer, task, audio, overlap if is_whole else None, where, size)

    def ready(self, precision: str) -> Self:
        """Return the extractor with the model on its device, in the arithmetic that it runs in."""
        wants_bf16(self.device, precision)  # a wrong word is said first
        return replace(self, model=in_precision(self.model, precision, self.device).eval().to(self.device))

    def rows(self, data: Callable[..., Any], **loading: Any) -> Vectors:
        """(uid, vector (D,)) of each recording of the data set that `data` makes of a conf and what to `hold`.

        `loading` as `loader` takes it.
        """
        heard = WindowPredictor.of(self.model, self.audio, self.overlap or 0.0, self.device)

        def embed(batch: Batch) -> torch.Tensor:
            made = heard.prepare(batch)
            return self.model.extract_embedding(made["fbank"], self.kind, self.layer, self.task, frames=made["frames"])

        found = answers(
            lambda batch: on_device(embed, batch, self.device),
            self._batches(heard, data, loading),
            Grouping.of(heard.prepare, self.size),
        )
        numbers = ((batch, values_BD.numpy()) for batch, values_BD in found)
        if self.overlap is not None:
            yield from _recordings(numbers)
            return
        for batch, values_BD in numbers:
            yield from zip(batch["uid"], values_BD, strict=True) if batch["uid"] else ()

    def _batches(self, heard: WindowPredictor, data: Callable[..., Any], loading: dict[str, Any]) -> Iterable[Batch]:
        if self.overlap is None:
            return loader(data(self.audio.conf(), hold="heard"), batch_size=self.size, **loading)
        return heard.batches(loader(data(heard.conf, hold="windows"), batch_size=1, **loading), self.size)


def _recordings(found: Iterable[tuple[Batch, NDArray[np.float32]]]) -> Vectors:
    """The mean (D,) over the windows of each recording, of which the first begins with its first sample."""
    own: list[NDArray[np.float32]] = []
    last = ""
    for batch, values_WD in found:
        for uid, window, values_D in zip(batch["uid"], batch["windows"], values_WD, strict=True):
            if own and window.begin == 0:
                yield last, mean_of_windows(np.stack(own))
                own = []
            own.append(values_D)
            last = uid
    if own:
        yield last, mean_of_windows(np.stack(own))
