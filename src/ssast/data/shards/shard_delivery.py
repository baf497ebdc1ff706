"""Bring finished shards to their place, and know after a kill which are there already.

On a disk they wait in a hidden folder until all are done, and then move into place together. A bucket gets each as it
is done: a set that lacks one is refused by who reads it. A ledger has of each finished one what it was made from.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from ssast.data.shards.shard_schema import shard_of
from ssast.data.storage.atomic_writes import atomic_file, while_the_disk_has_room
from ssast.data.storage.location import Location
from ssast.errors import UserError
from ssast.safe_reading import json_file

WAITING = ".packing"
"""The hidden folder in the place of the shards, where finished ones wait."""
_LEDGER, _LEDGER_BYTES = "finished.json", 1 << 28


class ShardDelivery:
    """The way of shards to `target`; `work` is a folder on this machine for what is not there yet."""

    def __init__(self, target: Location, work: Path):
        self.target, self.work = target, work
        self.finished: dict[str, list[str]] = {}
        with suppress(OSError, ValueError):
            kept = json_file(work / _LEDGER, _LEDGER_BYTES)
            if isinstance(kept, dict) and kept.get("to") == str(target) and isinstance(kept.get("shards"), dict):
                self.finished = kept["shards"]
        self._sender = ThreadPoolExecutor(1)
        self._sent: Future[None] | None = None

    def start_anew(self) -> None:
        """Forget what an earlier start finished."""
        self.finished = {}
        shutil.rmtree(self.work, ignore_errors=True)

    def check_free(self, names: set[str]) -> None:
        """UserError where the target holds other shards, or finished ones that no ledger knows."""
        there = [place.name for place in self.target.list()] if self.target.is_dir() else []
        others = [name for name in there if shard_of(name) and not (name in names and name in self.finished)]
        if others:
            raise UserError(
                f"{self.target} holds shards already, the first is {others[0]}; give the name of a new folder.",
                path=self.target,
            )

    def has(self, name: str, made_from: str) -> bool:
        """Whether a shard was finished from the same recordings and is still whole."""
        noted = self.finished.get(name)
        if not isinstance(noted, list) or len(noted) != 2 or noted[0] != made_from:
            return False
        if not self.target.is_local:
            return noted[1] == (self.target / name).content_key()
        return any(_digest(place) == noted[1] for place in (self.work / name, self.target.path / name))

    def take(self, name: str, made_from: str, write: Callable[[Path], object]) -> None:
        """Let `write` make a shard, complete or not at all, and bring it on its way."""
        place = self.work / name
        with atomic_file(place) as unfinished, while_the_disk_has_room(self.work):
            write(unfinished)
        if self.target.is_local:
            self._note(name, made_from, _digest(place) or "")
            return
        self._wait()  # so that two wait on this disk at most
        self._sent = self._sender.submit(self._send, name, made_from)

    def _send(self, name: str, made_from: str) -> None:
        there = self.target / name
        there.send(self.work / name)
        self._note(name, made_from, there.content_key() or "")
        (self.work / name).unlink()

    def _wait(self) -> None:
        if self._sent is not None:
            sent, self._sent = self._sent, None
            sent.result()

    def _note(self, name: str, made_from: str, content: str) -> None:
        self.finished[name] = [made_from, content]
        with atomic_file(self.work / _LEDGER) as unfinished:
            unfinished.write_text(json.dumps({"to": str(self.target), "shards": self.finished}), encoding="utf-8")

    def finish(self, names: list[str]) -> None:
        """All shards to their place; what was needed on the way goes away."""
        self._wait()
        for name in names if self.target.is_local else ():
            _move(self.work / name, self.target.path / name)
        shutil.rmtree(self.work, ignore_errors=True)

    def close(self) -> None:
        """End the thread that sends; without a finished shard nothing is kept."""
        self._sender.shutdown(cancel_futures=True)
        if not self.finished:
            shutil.rmtree(self.work, ignore_errors=True)


def _move(waiting: Path, place: Path) -> None:
    with suppress(FileNotFoundError):  # it was moved before a kill
        os.replace(waiting, place)


def _digest(place: Path) -> str | None:
    try:
        with open(place, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None
