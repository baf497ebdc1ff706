"""Give the classes that Ray Data maps over shards: recordings in, embeddings or scores out, the weights loaded once.

`ray.data.read_parquet(SHARDS).map_batches(ShardEmbedder, fn_constructor_args=[MODEL], concurrency=2)`; Ray itself is
not imported here. A batch is rows with `audio`, a struct of `bytes` and `path` as in shards and as Hugging Face's data
sets have it, and `uid`.

Shapes: D width, W outputs of all labels, N recordings.
"""

import io
import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from ssast.adapters.embedding import Embedding, embedding_model
from ssast.audio.decode import blocks
from ssast.data.audio_conf import Judged
from ssast.data.batch import ClipItem
from ssast.data.dataset import AudioConf
from ssast.data.loader import loader
from ssast.data.recordings import naming
from ssast.data.tables.label_columns import answer_table, level_table, score_columns
from ssast.engine.hardware import in_precision, pick_device
from ssast.engine.inference import float_lists, loader_size, on_device
from ssast.engine.lengths import Grouping, answers
from ssast.engine.predictor import WindowPredictor, label_names, settings_of, usual_share
from ssast.engine.windows import WINDOW_POOLINGS, pool_windows
from ssast.errors import AudioError, UserError
from ssast.model.classification import SSASTForAudioClassification
from ssast.model.encoder import check_choice
from ssast.model.label_kinds import CHOICE, LabelKinds
from ssast.safe_reading import brief

_AUDIO, _REASON = "audio", "reason"
_BAD = ("error", "skip")


class PackedClips(Judged, Dataset[ClipItem]):
    """The recordings of a batch as items like those of `FileDataset`; while they are read their uids are their numbers.

    AudioError, the row's own uid in front, for one that cannot be used.
    """

    def __init__(self, batch: Any, conf: Mapping[str, object], *, hold: str):
        table = _table(batch)
        self.rows, self.names = table[_AUDIO], names_of(table)
        self.conf, self.hold = AudioConf.of(conf), hold
        self.uids = [str(number) for number in range(len(self.names))]

    def __len__(self) -> int:
        return len(self.uids)

    def __getitem__(self, key: tuple[int, int]) -> ClipItem:
        index = key[0]
        with naming(self.names[index]):
            found = self.rows[index].as_py() or {}
            content, path = found.get("bytes"), str(found.get("path") or "")
            if not content:
                raise AudioError("its row holds no bytes of audio; pack the recordings themselves")
            opens = partial(_opened, content, PurePosixPath(path).suffix[1:].lower())
            heard = self.conf.item(opens, self.hold, judges=False)
        return {
            **heard,
            "uid": self.uids[index],
            "sample_rate": self.conf.resample_rate,
            "targets": torch.empty(0),
        }


def _opened(content: bytes, extension: str) -> Any:
    return blocks(io.BytesIO(content), extension=extension)


def names_of(table: pa.Table) -> list[str]:
    """The uid of each row; where there is no such column the stem of its path. UserError where a row has none."""
    if "uid" in table.column_names:
        if table["uid"].null_count:
            raise UserError("a row has no uid; give each recording one, or leave that column out.")
        return [str(uid) for uid in table["uid"].to_pylist()]
    paths = (row["path"].as_py() if row.is_valid else None for row in table[_AUDIO])
    return [PurePosixPath(path or "").stem for path in paths]


def _table(batch: Any) -> pa.Table:
    """A batch in whichever form Ray brings it; UserError where it has no recordings."""
    try:
        table = batch if isinstance(batch, pa.Table) else pa.table({name: list(cells) for name, cells in batch.items()})
    except (pa.ArrowException, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"a batch of rows is no table ({brief(str(error))}); make shards with `ssast pack`.") from error
    names = table.column_names
    if names.count(_AUDIO) != 1 or names.count("uid") > 1 or not _is_sound(table.schema.field(_AUDIO).type):
        raise UserError(
            f"the rows have the columns {', '.join(names)[:200]}, expected audio with bytes and path; make shards with "
            "`ssast pack`."
        )
    return table


def _is_sound(kind: pa.DataType) -> bool:
    """Whether a column of this type can hold recordings; that of a batch without one is null."""
    if not pa.types.is_struct(kind):
        return bool(pa.types.is_null(kind))
    inside = {field.name: field.type for field in kind}
    content, path = inside.get("bytes"), inside.get("path", pa.null())
    is_content = content is not None and any(
        is_so(content) for is_so in (pa.types.is_null, pa.types.is_binary, pa.types.is_large_binary)
    )
    return is_content and any(is_so(path) for is_so in (pa.types.is_null, pa.types.is_string, pa.types.is_large_string))


class ShardEmbedder:
    """Embed the recordings of a batch, as `ssast extract` does: a table of `uid`, `embedding` and `reason`.

    `model` is a model folder, a published file or name, or a hub name; it is loaded when the actor starts. What
    `embedding_type` (ft, wt, pt), `layer`, `task`, `whole_recording`, `window_overlap` and `precision` mean is said at
    `ssast.SpeechEmbedder`; None is the model's own. With `on_bad_audio="skip"` a recording that cannot be used has no
    embedding, and `reason` says why; else it is an AudioError, the uid in front.
    """

    def __init__(
        self,
        model: str | os.PathLike[str],
        *,
        embedding_type: str | None = None,
        layer: int | None = None,
        task: str | None = None,
        whole_recording: bool | None = None,
        window_overlap: float | None = None,
        batch_size: int = 24,
        device: str = "auto",
        precision: str = "auto",
        on_bad_audio: str = "error",
    ):
        self.on_bad_audio = _checked(on_bad_audio)
        self.embedding = Embedding.of(
            embedding_model(model),
            embedding_type=embedding_type,
            layer=layer,
            task=task,
            whole_recording=whole_recording,
            window_overlap=window_overlap,
            batch_size=batch_size,
            device=device,
        ).ready(precision)

    def __call__(self, batch: Any) -> pa.Table:
        """The rows of a batch, in its order."""
        table, reasons = _table(batch), dict[str, str]()
        rows = self.embedding.rows(
            partial(PackedClips, table), on_bad_audio=self.on_bad_audio, report=reasons.__setitem__, is_part=True
        )
        vectors = dict(rows)
        uids = names_of(table)
        numbers = [str(number) for number in range(len(uids))]
        kind = float_lists(torch.empty(0, 1)).type
        column = pa.array([vectors.get(number) for number in numbers], kind)
        return pa.table({"uid": pa.array(uids, pa.string()), "embedding": column, _REASON: _reasons(numbers, reasons)})


class ShardPredictor:
    """Score the recordings of a batch, as `ssast predict` does: `uid`, `seconds`, `windows`, the labels, `reason`.

    `model` is the folder of a fine-tuned model. Recordings longer than its input are heard whole, in windows that share
    `window_overlap` (None: as it was fine-tuned, else half), whose scores become one by `window_pooling` (mean or max).
    `on_bad_audio` as for `ShardEmbedder`.
    """

    def __init__(
        self,
        model: str | os.PathLike[str],
        *,
        window_overlap: float | None = None,
        window_pooling: str = "mean",
        batch_size: int = 24,
        device: str = "auto",
        precision: str = "auto",
        on_bad_audio: str = "error",
    ):
        self.on_bad_audio, where = _checked(on_bad_audio), pick_device(device)
        check_choice("window_pooling", window_pooling, WINDOW_POOLINGS)
        loaded = SSASTForAudioClassification.from_pretrained(os.fspath(model))
        audio = settings_of(loaded)
        ready = in_precision(loaded, precision, where).eval().to(where)
        self.predictor = WindowPredictor.of(ready, audio, usual_share(window_overlap, audio), where)
        self.pooling, self.size, self.device = window_pooling, loader_size(batch_size, where), where

    def __call__(self, batch: Any) -> pa.Table:
        """The rows of a batch, in its order."""
        table, reasons = _table(batch), dict[str, str]()
        clips = PackedClips(table, self.predictor.conf, hold="windows")
        one_by_one = loader(
            clips, batch_size=1, on_bad_audio=self.on_bad_audio, report=reasons.__setitem__, is_part=True
        )
        found = answers(
            lambda batch: on_device(self.predictor.scores, batch, self.device),
            self.predictor.batches(one_by_one, self.size),
            Grouping.of(self.predictor.prepare, self.size),
        )
        tables = (self.predictor.rows(batch, scores_WN) for batch, scores_WN in found if batch["uid"])
        heard = {one.uid: one for one in pool_windows(tables, self.pooling)}
        own = [heard.get(uid) for uid in clips.uids]
        scores: list[NDArray[np.float32] | None] = [None if one is None else one.values for one in own]
        columns: dict[str, Any] = {"uid": pa.array(clips.names, pa.string())}
        columns["seconds"] = pa.array([one and round(one.seconds, 4) for one in own], pa.float64())
        columns["windows"] = pa.array([one and one.windows for one in own], pa.int64())
        columns |= _answers(self.predictor.model.label_kinds.named(label_names(self.predictor.model)), scores)
        return pa.table({**columns, _REASON: _reasons(clips.uids, reasons)})


def _answers(kinds: LabelKinds, scores: Sequence[NDArray[np.float32] | None]) -> dict[str, pa.Array]:
    """The columns of predicted.csv that say what a model answers, empty for recordings without scores."""
    known = [at for at, row_W in enumerate(scores) if row_W is not None]
    values_NW = np.array([scores[at] for at in known], np.float32).reshape(len(known), kinds.width)
    names = score_columns(kinds.names)
    found = pd.concat([answer_table(kinds, values_NW, names), level_table(kinds, values_NW)], axis=1)
    words = {name for name, label in zip(names, kinds.labels, strict=True) if label.kind == CHOICE}
    columns: dict[str, pa.Array] = {}
    for name in found.columns.tolist():
        cells: list[Any] = [None] * len(scores)
        for at, cell in zip(known, found[name].tolist(), strict=True):
            cells[at] = cell
        columns[name] = pa.array(cells, pa.string() if name in words else pa.float32())
    return columns


def _checked(on_bad_audio: str) -> str:
    if on_bad_audio not in _BAD:
        raise UserError(f"on_bad_audio is {on_bad_audio!r}; expected error or skip.")
    return on_bad_audio


def _reasons(numbers: list[str], reasons: Mapping[str, str]) -> pa.Array:
    return pa.array([reasons.get(number) for number in numbers], pa.string())
