"""Name files after clips so that no disk takes two of them for one, and no system refuses one."""

import re
from collections.abc import Sequence
from unicodedata import normalize

from ssast.data.storage import atomic_writes

RESERVED = re.compile(r"con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9¹²³]", re.IGNORECASE)
"""What Windows keeps for devices, whatever ending follows (Microsoft, "Naming Files, Paths, and Namespaces")."""
REFUSED = re.compile(r'[<>:"/\\|?*\x00-\x1f]')
"""What no name on Windows may hold."""


def plain(text: str) -> str:
    """A text to compare by: large and small letters, and accents of their own or on a letter, are the same."""
    return normalize("NFC", normalize("NFC", text).casefold()).strip()


def on_disk(name: str) -> str:
    """The name that a file or folder can have here: on Windows `con.1` becomes `con_.1`, elsewhere nothing changes."""
    if not atomic_writes.ON_WINDOWS:
        return name
    safe = REFUSED.sub("_", name).rstrip(". ")  # which Windows would cut off without a word
    first = safe.split(".")[0]
    return f"{first}_{safe[len(first) :]}" if RESERVED.fullmatch(first.rstrip()) or not safe else safe


def apart(names: Sequence[str]) -> list[str]:
    """File names for these names, in their order: each its own, or with a number where a disk may take two for one.

    Most disks of Windows and macOS take `A` and `a` for one.
    """
    wanted = [on_disk(name) for name in names]
    taken = {plain(name) for name in wanted}
    found: dict[str, str] = {}  # by what a disk may take for the same
    for name in wanted:
        own, number = name, 1
        while plain(own) in (taken if number > 1 else found):
            number += 1
            own = f"{name}-{number}"
        found[plain(own)] = own
        taken.add(plain(own))
    return list(found.values())
