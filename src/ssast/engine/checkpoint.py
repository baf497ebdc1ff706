"""Write the state of a training run as one file that is complete or not there at all, and read it again."""

import os
import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict

import torch
from torch import Tensor, nn

from ssast.data.storage.atomic_writes import UNFINISHED, atomic_file
from ssast.errors import UserError, lacks_means
from ssast.model.checkpoints.torch_outline import check_torch_file
from ssast.model.finite import LARGEST_WEIGHT, fault
from ssast.safe_reading import is_number


@dataclass
class TrainState:
    """Where a run stands: `step` optimiser steps done in all, `step_in_epoch` of them in epoch `epoch` (from 0)."""

    epoch: int = 0
    step: int = 0
    step_in_epoch: int = 0
    best_loss: float = float("inf")
    best_epoch: int = -1
    sums: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        counts = (self.epoch, self.step, self.step_in_epoch)
        if not all(isinstance(count, int) and count >= 0 for count in counts) or not isinstance(self.best_epoch, int):
            raise TypeError("a place in a training is counted in whole numbers")
        if not isinstance(self.sums, dict) or not all(
            isinstance(number, int | float) for number in (self.best_loss, *self.sums.values())
        ):
            raise TypeError("losses are numbers")


class RunState(TypedDict):
    """What `last.pt` holds: whose run it is, where that stands, and the states of all that training changes."""

    key: str
    progress: dict[str, Any]
    model: dict[str, Tensor]
    optimizer: Any
    scheduler: Any


class BestWeights(TypedDict):
    """What `best.pt` holds: the best weights of a run, their epoch (from 0) and what it reported."""

    key: str
    epoch: int
    model: dict[str, Tensor]
    report: dict[str, float]


def trainable_state(model: nn.Module) -> dict[str, Tensor]:
    """The model's state that training changes: all but the frozen parameters."""
    held = model.state_dict(keep_vars=True).items()
    return {name: value.detach() for name, value in held if value.requires_grad or not isinstance(value, nn.Parameter)}


def load_trainable(model: nn.Module, state: dict[str, Tensor]) -> None:
    """Put `trainable_state` back; the frozen parameters stay. UserError when the state is another model's."""
    own = trainable_state(model)
    if not isinstance(state, dict) or not all(map(torch.is_tensor, state.values())):
        raise UserError("the checkpoint holds no weights; start anew with --resume never or --exp_dir.")
    if own.keys() != state.keys() or any(own[name].shape != value.shape for name, value in state.items()):
        raise UserError("the checkpoint holds another model's weights; start anew with --resume never or --exp_dir.")
    model.load_state_dict(state, strict=False)


def check_like(own: Any, found: Any, name: str = "state") -> None:
    """TypeError unless `found` is built as `own` is: the same names, lengths and kinds of values, tensors of one shape.

    An optimiser takes up whatever it is given, and fails in its next step. Names beyond those of `own` may be there.
    """
    if isinstance(own, dict):
        if not isinstance(found, dict) or own.keys() - found.keys():
            raise TypeError(f"{name} lacks entries")
        for key, value in own.items():
            check_like(value, found[key], f"{name}.{key}")
    elif isinstance(own, list | tuple):
        if not isinstance(found, list | tuple) or len(own) != len(found):
            raise TypeError(f"{name} is of another length")
        for one, other in zip(own, found, strict=True):
            check_like(one, other, name)
    elif isinstance(own, Tensor):
        if not isinstance(found, Tensor) or own.shape != found.shape:
            raise TypeError(f"{name} is of another shape")
    elif _kind(own) is not _kind(found):
        raise TypeError(f"{name} is of another kind")


def _kind(value: Any) -> type:
    """Return the type of a value; all numbers count as one."""
    return float if is_number(value) else type(value)


def load_optimiser(optimizer: torch.optim.Optimizer, state: Any) -> None:
    """Put an optimiser's state back; TypeError unless it is one of Adam's, or Muon's, for the same parameters."""
    own = optimizer.state_dict()["param_groups"]
    check_like({"param_groups": own}, state)
    if [group["params"] for group in own] != [group["params"] for group in state["param_groups"]]:
        raise TypeError("the parameters of an optimiser are numbered in their order")
    parameters = [(one, group.get("is_matrix")) for group in optimizer.param_groups for one in group["params"]]
    if not isinstance(state.get("state"), dict) or not state["state"].keys() <= set(range(len(parameters))):
        raise TypeError("the state of an optimiser is kept by the number of a parameter")
    for number, kept in state["state"].items():
        parameter, is_matrix = parameters[number]
        like = torch.empty_like(parameter, device="meta")
        of_adam = {"step": torch.tensor(0.0), "exp_avg": like, "exp_avg_sq": like}
        check_like({"momentum_buffer": like} if is_matrix else of_adam, kept)
    optimizer.load_state_dict(state)


def write_state(path: Path, state: Mapping[str, object]) -> None:
    """Write the state to `path`, replacing what was there in one step; a kill half-way leaves the old file."""
    # Into an open file: of a path torch does not say what the disk said.
    with atomic_file(path) as unfinished, open(unfinished, "wb") as file:
        torch.save(state, file)


def read_state(path: Path) -> dict[str, Any] | None:
    """The state at `path`, None where there is none; UserError when it is no such file. Nothing in it is executed."""
    if not path.exists():
        return None
    try:
        check_torch_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a file that is not one
        if lacks_means(error):
            raise
        raise UserError(
            f"{path} is not a readable checkpoint; delete it, or start anew with --resume never.", path=path
        ) from error
    if not isinstance(state, dict):
        raise UserError(f"{path} is no state of a training; delete it, or start anew with --resume never.", path=path)
    found = fault(_tensors(state)) or fault(_tensors(state.get("model")), LARGEST_WEIGHT)
    if found:
        raise UserError(f"{path} holds a training that diverged ({found}); start anew with --resume never.", path=path)
    return state


def _tensors(value: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """Every tensor in nested lists and mappings, with the names on the way to it."""
    if isinstance(value, Tensor):
        yield name.lstrip("."), value
    elif isinstance(value, dict | list | tuple):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _tensors(item, f"{name}.{key}")


def to_cpu(value: Any) -> Any:
    """A copy of nested lists, tuples and mappings with every tensor copied to memory that training does not touch."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        return {key: to_cpu(item) for key, item in value.items()}
    return type(value)(map(to_cpu, value)) if isinstance(value, list | tuple) else value


class CheckpointWriter:
    """Writes the states of a run in the background, one after the other, each complete or not at all.

    Beside `last.pt`, the newest, and `best.pt` it keeps the `older` states before the newest as `step-NUMBER.pt`.
    """

    def __init__(self, folder: Path, *, older: int = 0):
        self.folder, self.older = folder, older
        self.writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoints")
        self.pending: list[Future[None]] = []
        self.kept: BestWeights | None = None

    @property
    def last(self) -> Path:
        """Where the newest state lies."""
        return self.folder / "last.pt"

    @property
    def best(self) -> Path:
        """Where the best weights lie."""
        return self.folder / "best.pt"

    def keep_best(self, state: BestWeights) -> None:
        """Keep the best weights in memory; they are written before the next state, which tells that they are best."""
        self.kept = to_cpu(state)

    def write_last(self, state: RunState, step: int) -> None:
        """Write the newest state. Waits for the one before; UserError where that could not be written."""
        self.flush()
        best, self.kept = self.kept, None
        self.pending.append(self.writer.submit(self._write, best, to_cpu(state), step))

    def _write(self, best: BestWeights | None, state: RunState, step: int) -> None:
        if best is not None:
            write_state(self.best, best)
        write_state(self.last, state)
        if not self.older:
            return
        with atomic_file(self.folder / f"step-{step:09d}.pt") as unfinished:
            try:
                os.link(self.last, unfinished)
            except OSError:  # a disk without hard links
                shutil.copyfile(self.last, unfinished)
        # The newest bears both names.
        for old in sorted(self.folder.glob("step-*.pt"))[: -self.older - 1]:
            old.unlink()

    def flush(self) -> None:
        """Come back when everything is written; UserError where something could not be."""
        while self.pending:
            self.pending.pop().result()

    def close(self) -> None:
        """Come back when everything is written, well or not, and end the thread."""
        self.writer.shutdown(wait=True)


def sweep_strays(folder: Path) -> None:
    """Delete half-written files that killed runs left in the folder; this run has it for itself."""
    for stray in folder.glob(f"{UNFINISHED}*"):
        stray.unlink(missing_ok=True)
