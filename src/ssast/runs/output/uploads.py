"""Send the finished files of an output folder to a bucket, each when it changed, and remember which folder went where.

A folder's record may be a stranger's; the list of folders is the user's own, closed to others, and lies in no output
folder.
"""

import contextlib
import csv
import io
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from ssast.data.storage.atomic_writes import atomic_file, writable_folder
from ssast.data.storage.cache import own_folder
from ssast.data.storage.location import Location
from ssast.engine.signals import ended_by_signals
from ssast.errors import UserError
from ssast.options.parts import WHOLE, Part
from ssast.safe_reading import json_file

SENT = "sent.csv"
"""A row a folder: its path, links followed, and the address; of two rows of one folder the later one holds."""


def remember(folder: Path, address: str) -> None:
    """Note that a run of this machine sends what it writes into the folder to this address.

    Where nothing can be kept, as in a container without a home, the folder stays unknown.
    """
    if remembered(folder) == address:
        return
    row = io.StringIO()
    csv.writer(row, lineterminator="\n").writerow([os.path.realpath(folder), address])
    with contextlib.suppress(UserError, OSError):
        place = _place()
        if not place.exists():
            writable_folder(place.parent).chmod(0o700)
        with open(os.open(place, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600), "ab", buffering=0) as file:
            file.write(row.getvalue().encode("utf-8", "surrogatepass"))  # in one piece: other processes write too


def remembered(folder: Path) -> str:
    """The address that a run of this machine sent the folder to last; empty where none did."""
    with contextlib.suppress(UserError, OSError, ValueError, csv.Error):
        text = _place().read_bytes().decode("utf-8", "surrogatepass")
        rows = list(csv.reader(io.StringIO(text, newline="")))
        own = os.path.realpath(folder)
        return next((row[1] for row in reversed(rows) if len(row) == 2 and row[0] == own), "")
    return ""


def _place() -> Path:
    return own_folder("SSAST_STATE", "~/.local/state/ssast") / SENT


LEDGER = ".uploaded.json"
"""What lies in the bucket already, or has to: by file its size and time when it was sent, or nothing."""
PROBE = ".ssast"
_POLL_SECONDS = 5.0
_NAMED = 5


@dataclass
class Uploads:
    """A folder's files on their way to `target`: all that are visible, or those alone that are not as `before`.

    A `part` of a run sends what is its own and keeps a list of its own of what it sent.
    """

    folder: Path
    target: Location
    before: dict[str, list[int]] | None = None
    done: dict[str, list[int] | None] = field(default_factory=dict)
    part: Part = WHOLE

    def __post_init__(self) -> None:
        try:
            kept = json_file(self._ledger)
        except (OSError, ValueError):
            return  # without it files are sent once more than they need
        if isinstance(kept, dict) and kept.get("to") == str(self.target) and isinstance(kept.get("files"), dict):
            self.done = kept["files"]
            if self.before is not None and isinstance(kept.get("before"), dict):
                self.before = kept["before"]  # what a killed run wrote since then is still to be sent

    def waiting(self) -> dict[str, list[int]]:
        """What is to be sent, small files first: by file its size and time."""
        found: dict[str, list[int]] = {}
        for name in visible(self.folder):
            if not (self.part.is_whole or self.part.owns(name)):
                continue
            try:
                stat = (self.folder / name).stat()
            except FileNotFoundError:
                continue
            now = [stat.st_size, stat.st_mtime_ns]
            is_own = self.before is None or name in self.done or self.before.get(name) != _state(stat)
            if is_own and self.done.get(name) != now:
                found[name] = now
        return dict(sorted(found.items(), key=lambda item: item[1]))

    def send(self) -> tuple[int, str]:
        """Send the waiting files until one cannot be sent; returns how many were sent, and the reason if one failed."""
        waiting, sent = self.waiting(), 0
        self.done |= {name: self.done.get(name) for name in waiting}
        if waiting:
            self._keep()
        for name, now in waiting.items():
            try:
                (self.target / name).send(self.folder / name)
            except UserError as error:
                if not (self.folder / name).exists():
                    continue
                self._keep()
                return sent, str(error)
            self.done[name] = now
            sent += 1
        if waiting:
            self._keep()
        return sent, ""

    def finish(self) -> tuple[int, str]:
        """`send` at the end of a run; once all was sent, the next run in the folder answers for its own files alone."""
        sent, reason = self.send()
        if not reason and self.done:
            self.before = None
            self._keep()
        return sent, reason

    def _keep(self) -> None:
        content = {"to": str(self.target), "before": self.before, "files": self.done}
        with atomic_file(self._ledger) as unfinished:
            unfinished.write_text(json.dumps(content, indent=1), encoding="utf-8")

    @property
    def _ledger(self) -> Path:
        return self.folder / self.part.named(LEDGER)

    def sentence(self, reason: str) -> str:
        """What was not sent, why, and what to do."""
        names = list(self.waiting())
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        return (
            f"{len(names)} files were not sent to {self.target}: {', '.join(names[:_NAMED])}{more} "
            f"({reason.rstrip('.')}); they are in {self.folder}, and `ssast upload {self.folder}` sends them."
        )

    def error(self, reason: str) -> UserError:
        """Make an error of the sentence, with the names that it holds."""
        return UserError(self.sentence(reason), path=[self.folder, self.target], file=list(self.waiting())[:_NAMED])


def visible(folder: Path) -> Iterator[str]:
    """The finished files below a folder; hidden ones, unfinished ones among them, links and pipes are left out."""
    for root, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            path = Path(root) / name
            if not name.startswith(".") and not path.is_symlink() and path.is_file():
                yield path.relative_to(folder).as_posix()


def file_states(folder: Path) -> dict[str, list[int]]:
    """The state of each visible file of a folder: a file whose state differs later was written since."""
    return {name: _state((folder / name).stat()) for name in visible(folder)}


def _state(stat: os.stat_result) -> list[int]:
    return [stat.st_size, stat.st_mtime_ns, stat.st_ino]


@contextmanager
def uploading(folder: Path, to: Location, *, part: Part = WHOLE, poll_seconds: float = _POLL_SECONDS) -> Iterator[None]:
    """Send what the block writes into the folder: each checkpoint soon after it is written, and the rest at the end.

    UserError at once where the bucket takes no files, and at the end where some could not be sent.
    """
    print(f"results are also saved to {to}; --cloud False keeps them in {folder} alone", flush=True)
    _probe(to, f"{PROBE}{part.suffix}")
    remember(folder, str(to))
    uploads = Uploads(folder, to, before=file_states(folder), part=part)
    ended, problems = threading.Event(), [""]

    def watch() -> None:
        while not ended.wait(poll_seconds):
            problem = uploads.send()[1]
            if problem and not problems[0]:
                print(f"{problem} The results are kept in {folder} and sent later.", flush=True)
            problems[0] = problem

    watcher = threading.Thread(target=watch, name="uploads", daemon=True)
    watcher.start()
    try:
        with ended_by_signals():
            yield
    except BaseException:
        _end(ended, watcher)
        reason = uploads.send()[1]
        if reason:
            print(uploads.sentence(reason), flush=True)
        raise
    _end(ended, watcher)
    reason = uploads.finish()[1]
    if reason:
        raise uploads.error(reason)
    print(f"the results are in {to}", flush=True)


def _end(ended: threading.Event, watcher: threading.Thread) -> None:
    ended.set()
    watcher.join()


def _probe(to: Location, name: str) -> None:
    """Write a line to the bucket: better refused now than after days."""
    with TemporaryDirectory() as folder:
        line = Path(folder) / PROBE
        line.write_text("ssast saves results here\n", encoding="utf-8")
        try:
            (to / name).send(line)  # one of its own for each part: a store refuses many writes of one object a second
        except UserError as error:
            raise UserError(
                f"{str(error).rstrip('.')}, or keep the results here with --cloud False.", **error.names
            ) from error
