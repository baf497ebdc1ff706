"""Send the finished files of an output folder to a bucket, each when it changed."""

import functools
import json
import os
import shlex
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from ssast.bounded import brief, json_file
from ssast.data.storage import Location, bucket_address, whole_file
from ssast.engine import crew
from ssast.engine.stopping import ended_by_signals
from ssast.errors import UserError
from ssast.modes.holding import THERE, alone
from ssast.modes.options import Options
from ssast.modes.places import at
from ssast.modes.private import revealed
from ssast.modes.runfile import read_mapping
from ssast.modes.sent import remember, remembered
from ssast.modes.settle import resolve

LEDGER = ".uploaded.json"
"""What lies in the bucket already, or has to: by file its size and time when it was sent, or nothing."""
PROBE = ".ssast"
POLL_SECONDS = 5.0
NAMED = 5

# Whether a mode of this thread sends its folder already.
_inside: ContextVar[bool] = ContextVar("inside", default=False)

Mode = TypeVar("Mode", bound=Callable[..., Any])


@dataclass
class Uploads:
    """A folder's files on their way to `target`: all that are visible, or those alone that are not as `before`."""

    folder: Path
    target: Location
    before: dict[str, list[int]] | None = None
    done: dict[str, list[int] | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        try:
            kept = json_file(self.folder / LEDGER)
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
        """Send what is waiting, up to the first that cannot be; how many were sent, and the reason if any."""
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
        with whole_file(self.folder / LEDGER) as beside:
            beside.write_text(json.dumps(content, indent=1), encoding="utf-8")

    def sentence(self, reason: str) -> str:
        """What was not sent, why, and what to do."""
        names = list(self.waiting())
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        return (
            f"{len(names)} files were not sent to {self.target}: {', '.join(names[:NAMED])}{more} "
            f"({reason.rstrip('.')}); they are in {self.folder}, and `ssast upload {self.folder}` sends them."
        )

    def error(self, reason: str) -> UserError:
        """The same as an error, with the names that it holds."""
        return UserError(self.sentence(reason), path=[self.folder, self.target], file=list(self.waiting())[:NAMED])


def visible(folder: Path) -> Iterator[str]:
    """The finished files below a folder; hidden ones, unfinished ones among them, links and pipes are left out."""
    for root, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            path = Path(root) / name
            if not name.startswith(".") and not path.is_symlink() and path.is_file():
                yield path.relative_to(folder).as_posix()


def states(folder: Path) -> dict[str, list[int]]:
    """How the visible files of a folder are: what differs later was written since, whatever the clock says."""
    return {name: _state((folder / name).stat()) for name in visible(folder)}


def _state(stat: os.stat_result) -> list[int]:
    return [stat.st_size, stat.st_mtime_ns, stat.st_ino]


def target(options: Options) -> Location:
    """The folder in the bucket that results go to."""
    if not options.bucket_name:
        raise UserError("no bucket is named; give -b/--bucket_name.")
    folder = options.cloud_dir.strip("/")
    bucket = at(options, bucket_address(options.bucket_name))
    return bucket / folder if folder else bucket


def uploaded(mode: str) -> Callable[[Mode], Mode]:
    """Make a mode send its results where a bucket is named and --cloud True; within another mode that one does."""

    def around(function: Mode) -> Mode:
        @functools.wraps(function)
        def run(options: Options | None = None, /, **overrides: Any) -> Any:
            resolved = resolve(options, mode=mode, **overrides)
            if not (resolved.cloud and resolved.bucket_name) or _inside.get() or not crew.is_main():
                return function(resolved)
            inside = _inside.set(True)
            try:
                with uploading(Path(resolved.exp_dir), target(resolved)):
                    return function(resolved)
            finally:
                _inside.reset(inside)

        return run  # type: ignore[return-value]

    return around


@contextmanager
def uploading(folder: Path, to: Location, *, poll_seconds: float = POLL_SECONDS) -> Iterator[None]:
    """Send what the block writes into the folder: each checkpoint soon after it is written, and the rest at the end.

    UserError at once where the bucket takes no files, and at the end where some could not be sent.
    """
    print(f"results are also saved to {to}; --cloud False keeps them in {folder} alone", flush=True)
    _probe(to)
    remember(folder, str(to))
    uploads = Uploads(folder, to, before=states(folder))
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


def _probe(to: Location) -> None:
    """Write a line to the bucket: better refused now than after days."""
    with TemporaryDirectory() as folder:
        line = Path(folder) / PROBE
        line.write_text("ssast saves results here\n", encoding="utf-8")
        try:
            (to / PROBE).send(line)
        except UserError as error:
            raise UserError(
                f"{str(error).rstrip('.')}, or keep the results here with --cloud False.", **error.names
            ) from error


@alone("upload", lock=THERE)
def upload(options: Options | None = None, /, **overrides: Any) -> Path:
    """Send the files of an output folder to the bucket that its run sent them to, or that is given; the folder."""
    options = resolve(options, mode="upload", **overrides)
    folder = Path(options.exp_dir)
    if not folder.is_dir():
        raise UserError(
            f"{folder} is no folder; give the output folder of a run, as in `ssast upload FOLDER`.", path=folder
        )
    to = _place(folder, options)
    uploads = Uploads(folder, to)
    sent, reason = uploads.send()
    if reason:
        raise uploads.error(reason)
    print(f"{sent} files sent to {uploads.target}; {len(uploads.done) - sent} were there already", flush=True)
    return folder


def _place(folder: Path, options: Options) -> Location:
    """Where the folder goes: where the command says, or where a run of this machine sent it before.

    The folder's record may be a stranger's, so it opens no address and names no folder in a bucket by itself.
    """
    own = remembered(folder)
    if "bucket_name" in options.given and not own:
        return target(options)
    known = resolve(options, **_recorded(folder, options.given))
    noted = "" if known.bucket_name else _noted(folder)
    to = at(known, noted) if noted else target(known)
    if "bucket_name" not in options.given:
        bucket = f"{bucket_address(known.bucket_name or noted)}/"
        if own != str(to) and not ("cloud_dir" in options.given and f"{own}/".startswith(bucket)):
            raise _not_sent_before(folder, str(to))
        print(f"sending to {to}, as the run in {folder} did; -b/--bucket_name names another", flush=True)
    return to


def _not_sent_before(folder: Path, address: str) -> UserError:
    """The sentence for a folder whose record alone says where it goes, with what to add to the command."""
    kind, _, rest = address.removeprefix("gs://").rpartition("://")
    bucket, _, below = rest.partition("/")
    bucket = f"{kind}://{bucket}" if kind else bucket
    named = {"--bucket_name": bucket, **({"--cloud_dir": below} if below else {})}
    asked = " ".join(f"{flag} {shlex.quote(brief(value))}" for flag, value in named.items())
    return UserError(
        f"the record in {folder} names a bucket, but no run of this machine is known to have sent that folder there, "
        f"so nothing was sent; if it is yours and the place is right, add {asked}.",
        path=folder,
        bucket=[brief(value) for value in named.values()],
    )


def _noted(folder: Path) -> str:
    """Where a mode that leaves no record was sending its results; empty where nothing says so."""
    try:
        return str(json_file(folder / LEDGER)["to"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _recorded(folder: Path, given: frozenset[str]) -> dict[str, Any]:
    """Bucket, folder and project from the record of a run, those left out that were given anew."""
    records = [folder / "run.yaml", *sorted(folder.glob("run-*.yaml"))]
    for record in records:
        found = revealed(read_mapping(record), record) if record.exists() else {}
        if found.get("bucket_name"):
            names = {"bucket_name", "cloud_dir", "project_name"} - given
            return {name: found[name] for name in names if found.get(name) is not None}
    return {}
