"""Send the results of a run that did not reach the bucket: `ssast upload`."""

import shlex
from pathlib import Path
from typing import Any

from ssast.data.storage.location import Location, bucket_address
from ssast.errors import UserError
from ssast.options.options import Options
from ssast.options.privacy import revealed
from ssast.options.record import read_mapping, resolve
from ssast.runs.context import Paths
from ssast.runs.output.uploads import LEDGER, Uploads, remembered
from ssast.runs.wrapping.wrapper import Mode
from ssast.safe_reading import brief, json_file


@Mode
def upload(options: Options) -> Path:
    """Send the files of an output folder to the bucket that its run sent them to, or that is given; the folder."""
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
        return Paths.of(options).results
    known = Paths.of(resolve(options, **_recorded(folder, options.given)))
    noted = "" if known.bucket_name else _noted(folder)
    to = known.at(noted) if noted else known.results
    if "bucket_name" not in options.given:
        bucket = f"{bucket_address(known.bucket_name or noted)}/"
        if own != str(to) and not ("cloud_dir" in options.given and f"{own}/".startswith(bucket)):
            raise _not_sent_before(folder, str(to))
        print(f"sending to {to}, as the run in {folder} did; -b/--bucket_name names another", flush=True)
    return to


def _not_sent_before(folder: Path, address: str) -> UserError:
    """The sentence for a folder of which only its record says where it goes; it names the options to add."""
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
    """Bucket, folder and project from the record of a run, except those that the command gives."""
    records = [folder / "run.yaml", *sorted(folder.glob("run-*.yaml"))]
    for record in records:
        found = revealed(read_mapping(record), record) if record.exists() else {}
        if found.get("bucket_name"):
            names = {"bucket_name", "cloud_dir", "project_name"} - given
            return {name: found[name] for name in names if found.get(name) is not None}
    return {}
