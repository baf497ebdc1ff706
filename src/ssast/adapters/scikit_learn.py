"""Offer a model as a transformer of scikit-learn, for a Pipeline: it turns recordings into a matrix of embeddings."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin

from ssast.adapters.encoders import embedding_model, is_pretrained
from ssast.audio.settings import AudioSettings
from ssast.data.audio_files import FileDataset
from ssast.data.batch import Batch
from ssast.data.loader import loader
from ssast.data.prepare import Prepare
from ssast.data.storage.location import Location, as_location, forget
from ssast.engine.hardware import in_precision, pick_device, wants_bf16
from ssast.engine.inference import loader_size, on_device
from ssast.engine.lengths import Grouping, answers
from ssast.engine.predictor import Waveforms, settings_of, usual_share
from ssast.engine.windows import Cutter, mean_of_windows, window_batches
from ssast.errors import UserError
from ssast.model.checkpoints.model_folder import WEIGHTS
from ssast.model.classification import SSASTForAudioClassification

KEPT_MODELS = 2


class SpeechEmbedder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Turn recordings into the embeddings that `ssast extract` writes, one row each, float32.

    `model` is a model folder, a published file or name, a hub name, or a model itself. `embedding_type` is pt (a hidden
    state), wt or ft of a fine-tuned model, or None: ft where the model was fine-tuned, else pt. `layer` (0 to 13, -1
    the last) and `task` (ft_cls, ft_avgtok) choose state and pooling of pt; None is the model's own. `precision` is
    fp32, as Python takes it, auto, as `ssast extract` does (bf16 where the processor is made for it; the third digit
    differs), or bf16. With `whole_recording` recordings longer than the model's input are heard whole, by the mean of
    windows that share `window_overlap` (0 to 0.95); else their beginnings; None is the model's own, else beginnings and
    half. `sample_rate` in Hz is needed where waveforms are given. Nothing is learned: `fit` only checks.
    Models that were named are loaded once for all copies; a pickle holds the name.
    """

    def __init__(
        self,
        model: Any,
        *,
        layer: int | None = None,
        embedding_type: str | None = None,
        task: str | None = None,
        sample_rate: int | None = None,
        batch_size: int = 8,
        num_workers: int = 0,
        device: str = "auto",
        precision: str = "fp32",
        whole_recording: bool | None = None,
        window_overlap: float | None = None,
    ):
        self.model = model
        self.layer = layer
        self.embedding_type = embedding_type
        self.task = task
        self.sample_rate = sample_rate
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.device = device
        self.precision = precision
        self.whole_recording = whole_recording
        self.window_overlap = window_overlap

    def fit(self, X: Any, y: Any = None) -> Self:
        """Check that model and settings go together, without reading a recording; UserError where they do not."""
        model = self._model()
        model.check_embedding(self._kind(model), self.layer, self.task)
        self._overlap(settings_of(model))
        _items(X)
        return self

    def transform(self, X: Any) -> NDArray[np.float32]:
        """Embeddings (recordings, width) of a list of audio files, or of waveforms (S,) or (C, S).

        AudioError, the recording in front, for one that cannot be used; UserError for anything that is no such list.
        """
        device = pick_device(self.device)
        wants_bf16(device, self.precision)  # a wrong word is said first
        self.fit(X)
        model = self._model()
        model = in_precision(model, self.precision, device).eval().to(device)
        audio = settings_of(model)
        overlap = self._overlap(audio)
        prepare = Prepare(audio.frontend(), rounding=model.rounding).to(device)
        kind = self._kind(model)

        def embed(batch: Batch) -> torch.Tensor:
            made = prepare(batch)
            return model.extract_embedding(made["fbank"], kind, self.layer, self.task, frames=made["frames"])

        size = loader_size(self.batch_size, device)
        batches = self._batches(_items(X), audio, overlap, size)
        found = answers(lambda batch: on_device(embed, batch, device), batches, Grouping.of(prepare, size))
        numbers = ((batch, values_BD.numpy()) for batch, values_BD in found)
        if overlap is None:
            rows = [values_BD for _, values_BD in numbers]
            return np.concatenate(rows) if rows else np.empty((0, model.v.width), np.float32)
        pooled = list(_recordings(numbers))
        return np.stack(pooled) if pooled else np.empty((0, model.v.width), np.float32)

    def _overlap(self, audio: AudioSettings) -> float | None:
        """What the windows of a recording share; None where only its beginning is heard."""
        overlap = usual_share(self.window_overlap, audio)
        is_whole = audio.window_overlap is not None if self.whole_recording is None else self.whole_recording
        return overlap if is_whole else None

    def _batches(self, items: Sequence[Any], audio: AudioSettings, overlap: float | None, size: int) -> Iterable[Batch]:
        if overlap is None:
            data = _data(items, self.sample_rate, replace(audio, window_overlap=None).conf())
            return loader(data, batch_size=size, num_workers=self.num_workers)
        # As in `extract`, a clip_length bounds the windows, not the recording.
        data = _data(items, self.sample_rate, replace(audio, clip_length=0.0).conf(), hold="windows")
        cutter = Cutter.of(audio.frontend(), overlap, most_seconds=audio.clip_length)
        return window_batches(loader(data, batch_size=1, num_workers=self.num_workers), cutter, size)

    @property
    def _n_features_out(self) -> int:
        return self._model().v.width

    def _model(self) -> SSASTForAudioClassification:
        if isinstance(self.model, str | os.PathLike):
            return _named(name := os.fspath(self.model), _stamp(name))
        return embedding_model(self.model)

    def _kind(self, model: SSASTForAudioClassification) -> str:
        return self.embedding_type or ("pt" if is_pretrained(model) else "ft")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        tags.input_tags.two_d_array = False
        tags.input_tags.string = True
        return tags


@lru_cache(maxsize=KEPT_MODELS)
def _named(name: str, stamp: int | None) -> SSASTForAudioClassification:
    return embedding_model(name)


def _stamp(name: str) -> int | None:
    """What changes with the weights of a local model; None for others."""
    places = (os.path.join(name, WEIGHTS), name)
    return next((os.stat(place).st_mtime_ns for place in places if os.path.exists(place)), None)


def _items(given: Any) -> Sequence[Any]:
    if isinstance(given, str | bytes | os.PathLike | dict) or not hasattr(given, "__iter__"):
        raise UserError(f"{type(given).__name__} came where a list of audio files or of waveforms was expected.")
    return list(given)


def _recordings(found: Iterable[tuple[Batch, NDArray[np.float32]]]) -> Iterator[NDArray[np.float32]]:
    """The mean (D,) over the windows of each recording, of which the first begins with its first sample."""
    own: list[NDArray[np.float32]] = []
    for batch, values_WD in found:
        for window, values_D in zip(batch["windows"], values_WD, strict=True):
            if own and window.begin == 0:
                yield mean_of_windows(np.stack(own))
                own = []
            own.append(values_D)
    if own:
        yield mean_of_windows(np.stack(own))


def _data(items: Sequence[Any], sample_rate: int | None, conf: Mapping[str, object], *, hold: str = "heard") -> Any:
    """A data set with one item for each of them, in their order."""
    named = [isinstance(item, str | os.PathLike | Location) for item in items]
    if any(named) and not all(named):
        raise UserError("files and waveforms came mixed in one list; give one kind or the other.")
    if items and not any(named):
        return Waveforms(items, sample_rate, conf)
    forget()
    files = [as_location(item) for item in items]
    missing = next((file for file in files if not file.exists() or file.is_dir()), None)
    if missing is not None:
        raise UserError(f"{missing} is no file; give one audio file for each row.", path=missing)
    return FileDataset(files, conf, hold=hold)
