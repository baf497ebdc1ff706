"""Keep the sound findings of recordings on this machine, so that one whose states are kept need not be read again."""

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from ssast.data.storage.cache import Cache, fingerprint_of
from ssast.safe_reading import json_file

_FORMAT = "doubts 2"
"""The version of the judgement; it changes whenever recordings are judged otherwise."""


class KeptFindings:
    """Sound findings of recordings in the cache, by content; `heard_as` names all else that they depend on."""

    def __init__(self, cache: Cache, heard_as: str):
        self.cache, self.heard_as = cache, heard_as

    def find(self, content: str | None) -> dict[str, str] | None:
        """The details by kind, none for a recording without findings; None where it has not been judged."""
        place = None if content is None else self.cache.find(self._key(content))
        if place is None:
            return None
        with suppress(FileNotFoundError, ValueError):  # another process made room; a disk that failed
            found = json_file(place)
            if isinstance(found, dict):
                return {str(kind): str(detail) for kind, detail in found.items()}
        place.unlink(missing_ok=True)
        return None

    def keep(self, content: str | None, details: Mapping[str, str]) -> None:
        """Keep them, in a file that is complete or not there at all."""
        if content is None:
            return
        text = json.dumps(dict(details))

        def fill(unfinished: Path) -> None:
            unfinished.write_text(text, encoding="utf-8")

        self.cache.get(self._key(content), len(text), fill)

    def _key(self, content: str) -> str:
        return fingerprint_of(_FORMAT, self.heard_as, content)
