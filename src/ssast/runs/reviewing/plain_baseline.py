"""Set a plain baseline beside a fine-tuned model: loudness, length and average spectrum, on the same rows.

Shapes: R rows, P plain features.
"""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ssast import __version__
from ssast.data.features import Values
from ssast.data.plain_features import PLACE_VALUES, KeptPlainFeatures, PlainFeatures, complete
from ssast.data.storage.atomic_writes import atomic_file
from ssast.data.storage.cache import cache
from ssast.data.storage.fingerprints import fingerprint_of, recording_fingerprints
from ssast.engine import distributed
from ssast.metrics.measures import Floats
from ssast.metrics.plain_model import PlainModel, fit_plain, leading_beside
from ssast.metrics.predictions import Predictions
from ssast.metrics.score_entries import Metrics, kind_of
from ssast.model.checkpoints.model_folder import PLAIN_BASELINE
from ssast.pages.shown_kinds import SHOWN
from ssast.runs.batches import ClipReader
from ssast.runs.context import say
from ssast.runs.results import RESAMPLES_SEED
from ssast.runs.rows import Rows
from ssast.safe_reading import brief, json_file

PLAIN_SCORES = "plain_baseline.csv"
FEATURES = "mean and deviation of each mel bin, loudness, length"
COMPARED = ("BCE", "MSE")
"""The losses of labels that have a plain baseline."""


@dataclass(frozen=True)
class PlainBaseline:
    """Measures the plain features of recordings with a `reader` that takes note of what it prepares."""

    reader: ClipReader
    plain: PlainFeatures
    cache_gb: float
    keeps: bool
    began: float
    """Since when it measures: what changed later may have been measured as it was before."""

    @classmethod
    def of(cls, reader: ClipReader, cache_gb: float, *, keeps: bool = True) -> "PlainBaseline":
        """One for this reader; it is `reader` of the result that measures."""
        plain = PlainFeatures()
        return cls(replace(reader, plain=plain), plain, cache_gb, keeps, time.time())

    def features(self, source: Rows) -> Values:
        """The features (R, P) of these rows' recordings, NaN where one cannot be used; all processes ask together."""
        return self.measured(source)[:, :-PLACE_VALUES]

    def measured(self, source: Rows) -> Values:
        """Return the features with the recordings' noise and bandwidth behind them."""
        self._share()
        uids = list(source.frame.index)
        self._complete(source, [uid for uid in uids if uid not in self.plain.asked])
        return self._with_whole_lengths(self.plain.values(uids), uids)

    def _complete(self, source: Rows, uids: list[str]) -> None:
        """Find what was measured of these recordings, in this run or in one before, and measure the others."""
        disk = cache(self.cache_gb)
        audio = replace(self.reader.audio, window_overlap=None)
        heard_as = fingerprint_of(sorted(audio.entries().items()), self.reader.librosa, __version__)
        width = 2 * audio.num_mel_bins + 2 + PLACE_VALUES
        kept = KeptPlainFeatures(disk, heard_as, width) if self.keeps else None
        root, nothing = self.reader.recordings, [None] * len(uids)
        contents = recording_fingerprints(root, uids, disk, until=self.began) if self.keeps else nothing

        def read(missing: list[str]) -> None:
            usable = [uid for uid in missing if not self.reader.skipped.has(uid)]
            self._read(source.part(source.frame.loc[usable]))

        complete(self.plain, uids, contents, kept, read)

    def _share(self) -> None:
        if distributed.size() > 1:
            for found in distributed.gather(self.plain.found):
                self.plain.take(found)

    def _read(self, source: Rows) -> None:
        """Measure recordings that no pass has read, each in one process."""
        uids = list(source.frame.index)
        own = [uids[number] for numbers in distributed.share([range(len(uids))]) for number in numbers]
        if own:
            data = self.reader.dataset(Rows(source.frame.loc[own], [], source.source))
            prepare = self.reader.prepare()
            for batch in self.reader.load(data, batch_size=self.reader.loader_size, is_part=True):
                if batch["uid"]:
                    prepare(batch)
        self._share()

    def _with_whole_lengths(self, features: Values, uids: Sequence[str]) -> Values:
        """Return the features with the seconds of whole recordings where more than what is heard is known."""
        told = {uid: own[0] for uid in uids if (own := self.reader.skipped.lengths([uid]))}
        seconds_R = np.array([told.get(uid, np.nan) for uid in uids], dtype=np.float32)
        features = np.array(features)
        if features.shape[1]:
            has_R = ~np.isnan(seconds_R)
            features[has_R, -1 - PLACE_VALUES] = seconds_R[has_R]
        return features


def save_plain_baseline(baseline: PlainBaseline, train: Rows, held_out: Rows, folder: Path) -> None:
    """Fit a model a label on the training rows, its penalty chosen on the held-out ones, and keep them in `folder`."""
    features, held = baseline.features(train), baseline.features(held_out)
    if not distributed.is_main():
        return
    models = {}
    for at, label in enumerate(train.kinds.labels):
        if label.kind not in COMPARED:
            continue
        own = (features, train.targets[:, at], held, held_out.targets[:, at])
        if model := fit_plain(*own, is_yes_no=label.kind == "BCE"):
            models[label.name] = model.entries()
    content = {"features": FEATURES, "width": features.shape[1], "labels": models}
    with atomic_file(folder / PLAIN_BASELINE) as unfinished:
        Path(unfinished).write_text(json.dumps(content) + "\n", encoding="utf-8")


def read_plain_baseline(home: Path, width: int) -> dict[str, PlainModel]:
    """The models by label that lie in a model folder; none where they are not for such features, which is said."""
    try:
        found = json_file(home / PLAIN_BASELINE)["labels"]
        return {str(label): PlainModel.of_entries(own, width) for label, own in found.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        say(f"note: no plain baseline, since {PLAIN_BASELINE} of the model cannot be read ({brief(str(error), 100)})")
        return {}


def plain_scores(baseline: PlainBaseline, source: Rows, home: Path) -> dict[str, Floats]:
    """What the plain baseline of a model says of these rows (R,), by label; all processes ask together."""
    if not (home / PLAIN_BASELINE).is_file():
        return {}
    features = baseline.features(source)
    models = read_plain_baseline(home, features.shape[1]) if distributed.is_main() else {}
    return {label: model.scores(features.astype(np.float64)) for label, model in models.items()}


def write_plain_scores(scores: Mapping[str, Floats], source: Rows, folder: Path) -> None:
    """plain_baseline.csv: a row a recording, a column a label."""
    (folder / PLAIN_SCORES).unlink(missing_ok=True)
    if scores:
        with atomic_file(folder / PLAIN_SCORES) as unfinished:
            pd.DataFrame(dict(scores), index=source.frame.index).to_csv(unfinished)


def read_plain_scores(folders: Sequence[Path], uids: Sequence[str]) -> dict[str, Floats]:
    """What runs of ours wrote of these recordings together, by label; none where one wrote none."""
    places = [folder / PLAIN_SCORES for folder in folders]
    if not all(place.is_file() for place in places):
        return {}
    how: dict[str, Any] = {"dtype": {"uid": str}, "keep_default_na": False, "na_values": [""]}
    table = pd.concat([pd.read_csv(place, **how) for place in places])
    table = table.set_index("uid").reindex(list(uids))
    return {str(label): table[label].to_numpy(dtype=np.float64) for label in table.columns}


def add_plain_baseline(metrics: Metrics, predictions: Predictions, scores_of: Mapping[str, Floats]) -> None:
    """Put "plain_baseline" into metrics.json: its leading measure and interval by label, and how far the model is
    above it on the same clips. `scores_of` has a value for each of the predictions' clips."""
    by_kind: dict[str, list[str]] = {}
    for label in predictions.labels:
        kind = kind_of(metrics, label)
        if kind in COMPARED and label in scores_of and np.isfinite(scores_of[label]).all():
            by_kind.setdefault(kind, []).append(label)
    if not by_kind:
        return
    told: dict[str, Any] = {}
    for kind, labels in by_kind.items():
        told |= _beside(predictions, labels, scores_of, kind, metrics["resamples"])
    metrics["plain_baseline"] = {"features": FEATURES, "labels": told}


def _beside(
    predictions: Predictions, labels: list[str], scores_of: Mapping[str, Floats], kind: str, resamples: int
) -> dict[str, dict[str, Any]]:
    columns = [predictions.labels.index(label) for label in labels]
    own_NL = np.stack([scores_of[label] for label in labels], axis=1).astype(np.float64)
    targets_NL, model_NL = (each[:, columns].astype(np.float64) for each in (predictions.targets, predictions.answers))
    how: dict[str, Any] = {"subjects": predictions.subjects, "resamples": resamples, "seed": RESAMPLES_SEED}
    found = leading_beside(targets_NL, own_NL, model_NL, labels, kind, **how)
    return {label: {"measure": SHOWN[kind].leading, **own} for label, own in found.items()}


def plain_rows(predictions: Predictions, source: Rows, scores: Mapping[str, Floats]) -> dict[str, Floats]:
    """The scores of the rows that were predicted, in the order of the predictions."""
    at = source.frame.index.get_indexer(pd.Index(predictions.uids))
    return {label: own[at] for label, own in scores.items()}
