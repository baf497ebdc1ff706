"""Give collated batches of a data set, the same ones whatever the number of workers and wherever a run starts.

Shapes: B clips, S samples, N labels.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from ssast import redaction
from ssast.audio.sound_findings import SoundFinding
from ssast.data.batch import Bad, Batch, ClipItem
from ssast.data.order import EpochSampler, Pieces
from ssast.data.workers import Workers, killed
from ssast.errors import AudioError, UserError

Report = Callable[[str, str], None] | list[tuple[str, str]]
Note = Callable[[str, Sequence[SoundFinding]], None]
"""Takes a uid and what is doubtful about its recording."""


def collate(items: Sequence[ClipItem | Bad]) -> Batch:
    """One batch of items: "uid" (list), "waveform" (B, S) zero-padded (channel 0), "lengths" (B,), "targets" (B, N).

    "whole_lengths" (B,) are those of the recordings, of which long ones may be held in part; "long" holds what stands
    for those that are not held at all (None for others). "fbank" is stacked where the items hold it. Recordings that
    could not be read are listed under "bad", what is doubtful about others under "findings", as pairs with the uid.
    """
    good = [item for item in items if not isinstance(item, Bad)]
    bad = [item for item in items if isinstance(item, Bad)]
    waveforms = [item["waveform"][0] for item in good]
    batch: Batch = {
        "uid": [item["uid"] for item in good],
        "waveform": _padded(waveforms),
        "lengths": torch.tensor([len(waveform_S) for waveform_S in waveforms], dtype=torch.int64),
        "targets": torch.stack([item["targets"] for item in good]) if good else torch.empty(0, 0),
    }
    whole = [item.get("whole_length", len(waveform_S)) for item, waveform_S in zip(good, waveforms, strict=True)]
    batch["whole_lengths"] = torch.tensor(whole, dtype=torch.int64)
    if any("long" in item for item in good):
        batch["long"] = [item.get("long") for item in good]
    if good and "fbank" in good[0]:
        batch["fbank"] = torch.stack([item["fbank"] for item in good])
    if bad:
        batch["bad"] = bad
    if any("findings" in item for item in good):
        batch["findings"] = [(item["uid"], item["findings"]) for item in good if "findings" in item]
    return batch


def _padded(waveforms: list[Tensor]) -> Tensor:
    if not waveforms:
        return torch.empty(0, 0)
    try:
        return torch.nn.utils.rnn.pad_sequence(waveforms, batch_first=True)
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "allocate memory" not in str(error):  # torch's own words
            raise
        raise UserError(
            f"there is not enough memory for a batch of {len(waveforms)} recordings, the longest of "
            f"{max(map(len, waveforms))} samples; pass a smaller --batch_size or a --clip_length."
        ) from error


class _Guarded(Dataset[Any]):
    """A data set whose user errors come as values, so that they reach the main process as they are."""

    def __init__(self, dataset: Any):
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitems__(self, keys: list[tuple[int, int]]) -> list[Any]:
        """A batch, whose recordings a data set can fetch all together before they are read one by one."""
        if hasattr(self.dataset, "prefetch"):
            self.dataset.prefetch([index for index, _ in keys], keys[0][1] if keys else 0)
        return [self[key] for key in keys]

    def __getitem__(self, key: tuple[int, int]) -> Any:
        try:
            return self.dataset[key]
        except UserError as error:
            return Bad(self.name(key), str(error), isinstance(error, AudioError), error.names)

    def name(self, key: tuple[int, int]) -> str:
        """The uid of an item, or its number."""
        uids = getattr(self.dataset, "uids", None)
        return uids[key[0]] if uids is not None else str(key[0])

    def dead(self, key: tuple[int, int], ending: str) -> Bad:
        """The entry for an item whose reading ended a worker."""
        uid = self.name(key)
        return Bad(uid, killed(uid, ending), True, {"uid": (uid,)})


class Loader(Workers):
    """Collated pieces of the batches of one epoch; made by `loader`. `at` turns to another and keeps the workers."""

    def __init__(
        self,
        dataset: Any,
        pieces: Pieces,
        skip: bool,
        report: Report | None,
        note: Note | None = None,
        is_part: bool = False,
        **how: Any,
    ):
        self.skip, self.report, self.note, self.is_part = skip, report, note, is_part
        self.clips, self.batches = pieces.clips, pieces
        guarded = _Guarded(dataset)
        super().__init__(guarded, pieces, guarded.dead, collate_fn=collate, **how)

    def at(self, epoch: int, start: int = 0) -> "Loader":
        """The same loader, from batch `start` of `epoch` on."""
        self.clips.epoch, self.clips.start = epoch, start * self.batches.batch_size
        return self

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        whole, used = len(self.clips) == self.clips.size, 0
        first: list[Bad] = []
        try:
            for batch in super().__iter__():
                bad: list[Bad] = batch.pop("bad", [])
                self._answer(bad)
                for uid, findings in batch.pop("findings", ()):
                    if self.note is not None:
                        self.note(uid, findings)
                first += bad[: 1 - len(first)]
                used += len(batch["uid"])
                yield batch
        except BaseException:
            # Ends the workers now; garbage collection may come late, and in a thread that their end waits for.
            self._iterator = None
            raise
        if whole and first and not used and not self.is_part:
            said = f"none of the {len(self.clips)} recordings can be used; the first: {first[0].reason}"
            raise UserError(said, **first[0].names)

    def _answer(self, bad: list[Bad]) -> None:
        """Raise for the first recording that may not be skipped, report the others."""
        for one in bad:
            if not one.skippable:
                raise UserError(one.reason, **one.names)
            if not self.skip:
                raise AudioError(f"{one.reason.rstrip('.')}, or pass --on_bad_audio skip.", **one.names)
        for one in bad:
            redaction.know(one.names)
            if isinstance(self.report, list):
                self.report.append((one.uid, one.reason))
            elif self.report is not None:
                self.report(one.uid, one.reason)


def loader(
    dataset: Any,
    *,
    batch_size: int,
    piece_size: int | None = None,
    share: tuple[int, int] = (0, 1),
    num_workers: int = 0,
    shuffle_seed: int | None = None,
    weights: Sequence[float] | None = None,
    epoch: int = 0,
    start: int = 0,
    stop: int | None = None,
    pin: bool = True,
    on_bad_audio: str = "error",
    report: Report | None = None,
    note: Note | None = None,
    context: str | None = None,
    is_part: bool = False,
) -> Loader:
    """Collated batches of an epoch from batch `start` to `stop`, their order from (shuffle_seed, epoch).

    With a `piece_size` a batch comes in pieces of so many clips; `share` is (number of this process, number of
    processes), and only its own pieces come, see `Pieces`. `weights` are those of `EpochSampler`.

    A recording that cannot be used ends the run in one sentence, or with `on_bad_audio="skip"` is left out and given to
    `report` as (uid, reason) - called, or appended where it is a list. Batches keep their numbers: one whose recordings
    are all left out comes with an empty "uid". The findings of a data set about a recording go to `note`. `context` is
    how workers start (fork, spawn, forkserver; None: as torch does). Memory is pinned only where CUDA is. UserError
    where none of the recordings can be used, unless a part of a data set was asked for.
    """
    if batch_size < 1 or num_workers < 0 or (piece_size is not None and piece_size < 1):
        raise UserError(
            f"batch_size is {batch_size}, piece_size {piece_size} and num_workers {num_workers}; "
            "expected at least 1, 1 and 0."
        )
    if on_bad_audio not in ("error", "skip"):
        raise UserError(f"on_bad_audio is {on_bad_audio!r}; expected error or skip.")
    blocks = getattr(dataset, "blocks", None)
    if blocks is not None:
        dataset.reads_in_order(shuffle_seed, by_weight=weights is not None)
    first, last = start * batch_size, None if stop is None else stop * batch_size
    clips = EpochSampler(
        len(dataset),
        shuffle_seed=shuffle_seed,
        epoch=epoch,
        start=first,
        stop=last,
        weights=weights,
        batch_size=batch_size,
        blocks=blocks,
    )
    return Loader(
        dataset,
        Pieces(clips, batch_size, piece_size or batch_size, share),
        on_bad_audio == "skip",
        report,
        note,
        is_part or share[1] > 1,
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
        pin_memory=pin and torch.cuda.is_available(),
        multiprocessing_context=context if num_workers else None,
    )
