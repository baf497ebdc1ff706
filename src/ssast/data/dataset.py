"""Give the recordings of a table one by one, as dictionaries that are ready to be batched.

Shapes: C channels, S samples, T frames, F mel bins, N labels.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ssast.audio import augment
from ssast.audio.decode import enough_memory_for_clip
from ssast.data.audio_conf import AudioConf, Judged
from ssast.data.batch import ClipItem
from ssast.data.loader import Loader, collate, loader
from ssast.data.order import CROP, ITEM, BlockOrder, EpochSampler, derive_seed
from ssast.data.prepare import Prepare
from ssast.data.random_crops import cropped
from ssast.data.recordings import check_uid, naming, prefetch, recording_blocks, recording_stretch
from ssast.data.shards.collection import keep_open, opened_anew
from ssast.data.storage.location import Address, forget, locate
from ssast.data.tables.splits import find_split, read_split, split_validation
from ssast.data.tables.targets import check_targets, label_list, read_labels, targets
from ssast.data.tables.uid_list import UidList
from ssast.errors import AudioError, UserError

__all__ = [
    "AudioConf",
    "AudioDataset",
    "EpochSampler",
    "Loader",
    "Prepare",
    "check_targets",
    "collate",
    "find_split",
    "label_list",
    "loader",
    "read_labels",
    "read_split",
    "split_validation",
    "targets",
]

HOLDS = ("whole", "heard", "windows", "stretch")


def check_hold(hold: str) -> str:
    """The same; UserError for a word that says nothing."""
    if hold not in HOLDS:
        raise UserError(f"hold is {hold!r}; expected {', '.join(HOLDS)}.")
    return hold


class AudioDataset(Judged, Dataset[ClipItem]):
    """Recordings as dictionaries: uid, waveform (C, S), sample_rate, targets (N,), fbank (target_length, F).

    `annotations_df` is indexed by uid; `target_labels` (None, [] or an empty array for none) are columns of it, with
    empty cells as NaN. `prefix` is the folder of `<uid>/waveform.EXT` and `<uid>/metadata.json`, or of shards, with
    `bucket` (a name or a google-cloud-storage Bucket) a folder there, with `study` the folder of that name. `librosa`
    chooses who decodes; `cdo` and `shift` are coarse dropout and affine shift of the fbank; without `with_fbank` items
    hold no fbank, and spectrogram masks, noise and mixup are left to `Prepare`. `hold` says what of a long recording is
    held: the "whole", what is "heard" (reaches the fbank, unless it is altered), a "stretch" as long as that, another
    one in each epoch, or nothing but where it lies, for who reads it in "windows". One that is damaged elsewhere than
    in the stretch is an AudioError the first time that it is read, if the data set `judges` and `refuses_damage`.

    `dataset[index]` is the item in epoch 0, `dataset[index, epoch]` in another: its chance comes from
    (seed, epoch, index) alone. AudioError, the uid in front, for a recording that cannot be used. Batches are made with
    `loader`, or with `collate` as the collate_fn of a DataLoader.
    """

    refuses_damage = True

    def __init__(
        self,
        annotations_df: pd.DataFrame,
        target_labels: Any,
        audio_conf: Mapping[str, object] | None,
        prefix: Address,
        bucket: Any = None,
        librosa: bool = False,
        cdo: bool = False,
        shift: bool = False,
        with_fbank: bool = True,
        *,
        seed: int = 0,
        study: str | None = None,
        project: str | None = None,
        hold: str = "whole",
    ):
        frame = annotations_df.set_index("uid") if "uid" in annotations_df.columns else annotations_df
        self.uids = UidList(str(uid) for uid in frame.index)
        for uid in self.uids:
            check_uid(uid)
        self.labels = label_list(target_labels)
        self.targets = targets(frame, self.labels)
        self.drawn: Callable[[int, int], Any] | None = None
        self.conf = AudioConf.of(audio_conf)
        forget()  # a folder in a bucket may have changed since the last data set
        self.root = locate(prefix, study, bucket, project)
        self.collection = opened_anew(self.root)
        self.blocks = None if self.collection is None else self.collection.blocks_of(self.uids)
        self._order = BlockOrder(self.blocks or [], None)
        if self.collection is None and not self.root.is_dir():
            raise UserError(
                f"the data folder {self.root} does not exist; check --prefix, --study and --bucket_name.",
                path=self.root,
            )
        self.librosa, self.seed, self.hold = librosa, seed, check_hold(hold)
        self.augment = self.conf.waveform
        self.prepare = self.conf.prepare(cdo=cdo, shift=shift, mixup=0.0) if with_fbank else None

    def __len__(self) -> int:
        return len(self.uids)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        keep_open(self.root, self.collection)

    def reads_in_order(self, shuffle_seed: int | None, *, by_weight: bool) -> None:
        """Tell in which order its blocks will be asked for, so that they are fetched ahead."""
        self._order = BlockOrder([], None) if by_weight else BlockOrder(self.blocks or [], shuffle_seed)

    def prefetch(self, indices: Sequence[int], epoch: int = 0) -> None:
        """Bring the recordings of these items into the cache where they lie in a bucket, several at once."""
        uids = [self.uids[index] for index in indices]
        if self.collection is None:
            prefetch(self.root, uids)
        else:
            self.collection.prefetch(uids, self._order.of(epoch))

    def __getitem__(self, key: int | tuple[int, int]) -> ClipItem:
        index, epoch = key if isinstance(key, tuple) else (key, 0)
        index = range(len(self))[index]  # negative numbers count from the end; IndexError beyond it
        item: ClipItem = {
            **self._heard(index, epoch),
            "uid": self.uids[index],
            "sample_rate": self.conf.resample_rate,
            "targets": self.answer(index, epoch),
        }
        if self.prepare is not None:
            generator = torch.Generator().manual_seed(derive_seed(self.seed, epoch, index, ITEM))
            self._mix(item, epoch, generator)
            item["fbank"] = self.prepare(collate([item]), generator)["fbank"][0]
        return item

    def answer(self, index: int, epoch: int) -> Tensor:
        """The targets (N,) of a clip; those that are `drawn` for the epoch, where several people rated it."""
        if self.drawn is None:
            return self.targets[index].clone()
        return torch.from_numpy(self.drawn(index, epoch)).to(self.targets.dtype)

    def _heard(self, index: int, epoch: int) -> ClipItem:
        """The altered waveform (C, S) of a clip, at the rate and length asked for, and the length of the whole."""
        with naming(self.uids[index]), enough_memory_for_clip():
            heard = self._held(index, epoch)
            if not self.augment.active:
                return heard
            seed = derive_seed(self.seed, epoch, index)
            waveform_CS = self.augment(heard["waveform"], self.conf.resample_rate, seed=seed)
            most = self.conf.most_samples if self.hold == "stretch" else None
        return {**heard, "waveform": waveform_CS[:, :most], "whole_length": waveform_CS.shape[1]}

    def _held(self, index: int, epoch: int) -> ClipItem:
        """What is held of a recording before it is altered."""
        root, uid, judges = self.root, self.uids[index], self.is_new(index)
        opens = partial(recording_blocks, root, uid, use_librosa=self.librosa)
        if self.hold != "stretch":
            return self.conf.item(opens, "whole" if self.augment.active else self.hold, judges=judges)
        sought = partial(recording_stretch, root, uid, use_librosa=self.librosa)
        # Alterations may shorten it, so they are given more.
        samples = self.conf.most_samples * (2 if self.augment.active else 1)
        crop = self.conf.crop(samples, derive_seed(self.seed, epoch, index, CROP))
        whole = partial(self.conf.item, opens, "windows")
        return cropped(crop, sought, whole, judges=judges, refuses_damage=self.refuses_damage)

    def _mix(self, item: ClipItem, epoch: int, generator: torch.Generator) -> None:
        """With the probability `mixup`, mix another recording of the data set, drawn by chance, into the item."""
        if self.conf.mixup == 0 or not torch.rand((), generator=generator) < self.conf.mixup:
            return
        partner = int(torch.randint(len(self), (), generator=generator))
        try:
            waveform_CS = self._heard(partner, epoch)["waveform"]
        except AudioError:
            return  # said when its own turn comes
        pair = collate([item, {"uid": "", "waveform": waveform_CS, "targets": self.answer(partner, epoch)}])
        # A column that is 1 for the partner alone tells whether the draw inside this batch of two took it.
        targets_2N = torch.cat([pair["targets"], torch.tensor([[0.0], [1.0]])], dim=1)
        while True:
            waveform_2S, lengths_2, mixed_2N = augment.mixup(
                pair["waveform"], pair["lengths"], targets_2N, 1.0, generator, self.conf.mixup_alpha
            )
            if mixed_2N[0, -1] > 0:
                break
        item["waveform"] = waveform_2S[:1, : int(lengths_2[0])]
        item["targets"] = mixed_2N[0, :-1]
