"""Remember on this machine which folders its own runs sent to a bucket, and where to.

A folder's record may be a stranger's; this list is the user's own, closed to others, and lies in no output folder.
"""

import contextlib
import csv
import io
import os
from pathlib import Path

from ssast.data.storage.atomic_writes import writable_folder
from ssast.data.storage.cache import own_folder
from ssast.errors import UserError

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
