"""Offer a model as a transformer of scikit-learn, for a Pipeline: it turns recordings into a matrix of embeddings."""

import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin

from ssast.adapters.embedding import Embedding, embedding_model
from ssast.data.audio_files import FileDataset
from ssast.data.storage.location import Location, as_location, forget
from ssast.engine.predictor import Waveforms
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
        self._embedding()
        _items(X)
        return self

    def transform(self, X: Any) -> NDArray[np.float32]:
        """Embeddings (recordings, width) of a list of audio files, or of waveforms (S,) or (C, S).

        AudioError, the recording in front, for one that cannot be used; UserError for anything that is no such list.
        """
        embedding = self._embedding()
        items = _items(X)
        found = embedding.ready(self.precision).rows(
            lambda conf, hold: _data(items, self.sample_rate, conf, hold=hold), num_workers=self.num_workers
        )
        rows = [values_D for _, values_D in found]
        return np.stack(rows) if rows else np.empty((0, embedding.model.v.width), np.float32)

    def _embedding(self) -> Embedding:
        return Embedding.of(
            self._model(),
            embedding_type=self.embedding_type,
            layer=self.layer,
            task=self.task,
            whole_recording=self.whole_recording,
            window_overlap=self.window_overlap,
            batch_size=self.batch_size,
            device=self.device,
        )

    @property
    def _n_features_out(self) -> int:
        return self._model().v.width

    def _model(self) -> SSASTForAudioClassification:
        if isinstance(self.model, str | os.PathLike):
            return _named(name := os.fspath(self.model), _stamp(name))
        return embedding_model(self.model)

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
