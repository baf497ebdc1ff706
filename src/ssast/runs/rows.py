"""Read the rows that a mode works on, with the labels that are asked of them."""

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from ssast import redaction
from ssast.data.audio_files import look_for_audio
from ssast.data.recordings import check_uid
from ssast.data.shards.collection import Collection, opened
from ssast.data.storage.location import Location
from ssast.data.tables.label_file import asked_kinds, code_doubt, doubts, kinds_in_table, kinds_place
from ssast.data.tables.people import across
from ssast.data.tables.ratings import DRAW, MEAN_RATING, SOFT, DrawnRatings, Ratings, columns_of, with_raters
from ssast.data.tables.splits import read_split, split_validation
from ssast.data.tables.targets import read_labels
from ssast.errors import UserError
from ssast.model.label_kinds import KIND_WORDS, NUMBER, YES_NO, LabelKinds
from ssast.runs.context import Paths, collection_in, needed, say, split_place
from ssast.safe_reading import some


@dataclass(frozen=True)
class Rows:
    """The rows of a csv that a mode works on, with the labels that are asked of them.

    `asked` says what the labels are, numbers where it is left out; `way` what is made of several raters' answers;
    `read` is what the rows say of them, where that was read before.
    """

    frame: pd.DataFrame
    labels: list[str]
    source: Location
    asked: LabelKinds | None = None
    way: str = MEAN_RATING
    read: Ratings | None = None

    def part(self, frame: pd.DataFrame) -> "Rows":
        """Some of the rows, with what was read of them."""
        read = self.read and self.read.at(self.frame.index.get_indexer(frame.index))
        return replace(self, frame=frame, read=read)

    @property
    def kinds(self) -> LabelKinds:
        """What the labels are."""
        return LabelKinds.plain(NUMBER, self.labels) if self.asked is None else self.asked

    @cached_property
    def ratings(self) -> Ratings:
        """What the rows say of the labels, every rater's word."""
        return self.read or Ratings.of(self.frame, self.kinds, self.source)

    @property
    def targets(self) -> NDArray[np.float64]:
        """The rows' labels as numbers (rows, labels) of 32 bits, as models get them, NaN where a cell is empty."""
        return self.ratings.values.astype(np.float32).astype(np.float64)

    @property
    def outputs(self) -> Tensor:
        """What a model's outputs are to be (rows, outputs), float32; where one rating is drawn, their shares."""
        values = self.ratings.targets(MEAN_RATING if self.way == MEAN_RATING else SOFT)
        return torch.from_numpy(values.astype(np.float32))

    def drawn(self, seed: int) -> DrawnRatings | None:
        """One rating of each row, another in each epoch, where that is asked for."""
        return self.ratings.drawn(seed) if self.way == DRAW else None


def training_rows(
    paths: Paths,
    kinds: LabelKinds,
    *,
    val_share: float,
    seed: int,
    on_bad_audio: str,
    tests: bool = False,
    raters: str = MEAN_RATING,
) -> tuple[Rows, Rows]:
    """train.csv, split into what is trained on and what is held out to choose the best epoch.

    The rows know the levels of scales and choices, as that table has them. Where the mode `tests` its model, one csv
    does not do. `raters` is the way in which several ratings are learned from.
    """
    place = split_place(paths, "train")
    root = paths.data_split_root
    if tests and root and str(place) == str(Location(root)):
        raise UserError(
            f"--data_split_root {root} is one csv; give the folder with train.csv and test.csv, or --folds 5", path=root
        )
    if tests and not root and str(place) == str(split_place(paths, "test")):
        raise UserError(
            f"{paths.recordings} holds one table; give shards with train and test, or --folds 5", path=paths.recordings
        )
    frame = read_split(place)
    kinds = with_raters(kinds, [str(column) for column in frame.columns])
    for label in kinds.labels:
        if all(name in frame.columns and frame[name].isna().all() for name in columns_of(label)):
            raise UserError(
                f"the label {label.name!r} is empty in every row of {place}; fill it in, or correct --label_txt.",
                path=place,
            )
    kinds = kinds_in_table(kinds, frame, place)
    ratings = Ratings.of(frame, kinds, place)
    for label, value_R in zip(kinds.labels, ratings.values.T, strict=True):
        if len(np.unique(value_R[~np.isnan(value_R)])) == 1:
            say(f"Careful: the label {label.name!r} has one answer in every row of {place}, so it cannot be learned.")
    _check_recordings(paths, frame, place, on_bad_audio)
    train, held_out, sentence = split_validation(frame, val_share, seed)
    say(sentence)
    _say_kinds(ratings, raters)
    whole = Rows(frame, kinds.names, place, kinds, raters, ratings)
    return whole.part(train), whole.part(held_out)


def blocks_of(paths: Paths, source: Rows) -> list[int] | None:
    """The row group of each row's recording; None where recordings lie in folders."""
    collection = opened(paths.recordings)
    return None if collection is None else collection.blocks_of(list(source.frame.index))


def _say_kinds(ratings: Ratings, way: str) -> None:
    """What each label is taken for, where that is more than one kind for all, or where several people rated it."""
    for label, most in zip(ratings.kinds.labels, ratings.most, strict=True):
        if ratings.kinds.is_plain and most < 2:
            continue
        levels = f" of {some(label.shown_levels, 12)}" if label.levels else ""
        cut = "" if label.cut is None else f", present from {label.cut:g}"
        weight = "" if label.weight == 1 else f", weight {label.weight:g}"
        whose = f" in {some(label.raters)}" if label.raters else ""
        rated = f", rated{whose} by up to {most} people (--raters {way})" if most > 1 else ""
        say(f"{label.name}: {KIND_WORDS[label.kind]}{levels}{cut}{weight}{rated}")
    is_mixed = any(label.kind != NUMBER for label in ratings.kinds.labels)
    for label, own_RJ in zip(ratings.kinds.labels, ratings.by_label, strict=True):
        for doubt in doubts(label, own_RJ, is_mixed):
            say(f"Careful: {doubt}.")


def rows(paths: Paths, kinds: LabelKinds, *, on_bad_audio: str, in_part: bool = False) -> Rows:
    """The test.csv of the folder, or the single csv, that --data_split_root gives.

    `in_part` takes those of the labels that it has, one at least, and says which it lacks.
    """
    place = split_place(paths, "test")
    frame = read_split(place)
    kinds = with_raters(kinds, [str(column) for column in frame.columns], kept=False)
    if in_part:
        kinds = kinds.some(_labels_there(frame, kinds, place))
    found = Rows(frame, kinds.names, place, kinds, read=Ratings.of(frame, kinds, place))
    for label, own_RJ in zip(kinds.labels, found.ratings.by_label, strict=True):
        if label.kind == NUMBER and (told := code_doubt(label, own_RJ)):
            say(f"Careful: in {place.name} {told}.")
    _check_recordings(paths, frame, place, on_bad_audio)
    return found


def _labels_there(frame: pd.DataFrame, kinds: LabelKinds, place: Location) -> list[str]:
    """The labels of a model that are columns of the table; names the others on the screen. UserError where none is."""
    columns = [str(name) for name in frame.columns]
    there = [label.name for label in kinds.labels if any(name in columns for name in columns_of(label))]
    if kinds.names and not there:
        raise UserError(
            f"none of the model's labels ({some(kinds.names)}) is a column of {place}, "
            f"which has {some(columns) or 'only uid'}; give its columns the names of these labels.",
            path=place,
        )
    for label in (label for label in kinds.names if label not in there):
        alike = [name for name in columns if name.casefold() == label.casefold()]
        hint = f" (it has {alike[0]}, which differs in capital letters)" if alike else ""
        say(f"not scored: {label}, since {place} has no such column{hint}")
    return there


def _check_recordings(paths: Paths, frame: pd.DataFrame, source: Location, on_bad_audio: str) -> None:
    """UserError where the folder of recordings, or that of some uid, is missing: known in a moment, before hours."""
    root, collection = paths.recordings, collection_in(paths)
    for uid in frame.index:
        check_uid(uid)
    missing, what, there = _not_there(root, collection, list(frame.index))
    if not missing or (on_bad_audio == "skip" and len(missing) < len(frame)):
        return
    pair = next(across(missing, there), ())
    hint = f" ({pair[0]} may be {pair[1]} there; import uids as text into a spreadsheet)" if pair else ""
    if len(missing) == len(frame):
        whole = f"no uid of {source} has a {what} in {root}{hint}; check --prefix and --study."
        raise UserError(whole, uid=pair, path=[source, root])
    raise UserError(
        f"{len(missing)} of the {len(frame)} uids of {source} have no {what} in {root}, the first is {missing[0]}"
        f"{hint}; put the recordings there, remove the rows, or pass --on_bad_audio skip.",
        uid=[*missing, *pair],
        path=[source, root],
    )


def _not_there(root: Location, collection: Collection | None, uids: list[str]) -> tuple[list[str], str, Iterable[str]]:
    """Those of the uids that have no recording, what they lack, a folder or a row, and the uids that are there."""
    if collection is not None:
        return [uid for uid in uids if uid not in collection], "row", collection.uids
    there = {place.name for place in root.list()}
    # Names may be spelled otherwise on a disk that does not tell capitals from small letters.
    return [uid for uid in uids if uid not in there and not (root.is_local and (root / uid).exists())], "folder", there


def label_kinds(paths: Paths, loss: str, *, weighs: int = 0) -> LabelKinds:
    """The labels of --label_txt, of the kinds that the .yaml beside it says; else all are what `loss` learns.

    `weighs` is in how many ways rare answers count for more, by their weight or by how often clips are drawn. UserError
    where they do and not all labels are answered by yes or no.
    """
    place = paths.at(needed(paths.label_txt, "label_txt", "a text file with one label a line"))
    kinds = asked_kinds(place, loss)
    if kinds_place(place).exists():
        say(f"what kind each label is: {kinds_place(place)}")
    if weighs and kinds.loss != YES_NO:
        raise UserError(
            f"--pos_weight and --balanced belong to yes/no labels, but {kinds_place(place)} says that others are among "
            "them; leave both out.",
            path=kinds_place(place),
        )
    if weighs > 1:
        say("Careful: --pos_weight and --balanced make rare answers count for more twice over; one of them is enough.")
    return kinds


def check_yes_no(kinds: LabelKinds, **asked: float | None) -> None:
    """UserError where an option that only yes/no labels can follow is given, and no label is one."""
    given = [f"--{name}" for name, value in asked.items() if value is not None]
    if given and all(label.kind != YES_NO for label in kinds.labels):
        raise UserError(f"{given[0]} belongs to yes/no labels, but {some(kinds.names)} is none; leave it out.")


def target_labels(paths: Paths, own: list[str] | None = None, *, asked: bool = True) -> list[str]:
    """The labels of --label_txt; for a fine-tuned model its own, of which a file that was asked for may name some."""
    path = paths.label_txt
    if own is not None and not asked:
        return own
    labels = read_labels(paths.at(needed(path, "label_txt", "a text file with one label a line")))
    if unknown := [label for label in labels if own is not None and label not in own]:
        raise UserError(
            f"{path} names {', '.join(unknown)}, but the model was fine-tuned for {', '.join(own or [])}; "
            "name some of these in that file, or leave --label_txt out.",
            path=path,
        )
    return labels


def data_name(dataset: str | None, data_split_root: str | None, source: Location) -> str:
    """--dataset, or the lowest folder of data_split_root and the file's name where that is a csv; of shards theirs."""
    if dataset:
        return dataset
    root = Location(data_split_root) if data_split_root else source.parent
    name = Location(os.path.abspath(str(root))).name if root.is_local else root.name
    if str(root) == str(source):
        stem = root.name.rsplit(".", 1)[0]
        above = Location(os.path.abspath(str(root))).parent if root.is_local else root.parent
        name = f"{above.name}_{stem}" if above.name else stem
    return redaction.shown_name("dataset", name)


def named_recordings(paths: Paths, files: str, on_bad_audio: str) -> list[Location]:
    """The audio files that --files names, one or a folder of them a line; what is odd about them is said."""
    lines = [line for line in files.splitlines() if line.strip()]
    if not lines:
        raise UserError("--files names nothing; give audio files or folders, one a line.")
    found = look_for_audio([paths.at(line) for line in lines], any_name=on_bad_audio == "skip")
    for remark in found.remarks():
        say(remark)
    return found.files
