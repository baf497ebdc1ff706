"""Tell how long a recording lasts by the header of its file alone: nothing is decoded."""

import os
from contextlib import suppress

import soundfile

from ssast.audio import container, readers
from ssast.audio.source import Data, as_file, opened_bytes
from ssast.errors import AudioError


def header_seconds(file: str | os.PathLike | bytes) -> float | None:
    """The seconds that the header of a file, given by its path or its bytes, promises.

    None where it tells none, or is damaged.
    """
    with suppress(AudioError, OSError, ValueError, EOFError, RuntimeError):
        data = file if isinstance(file, bytes) else opened_bytes(file)
        kind = container.sniff(data)
        if kind is not None:
            return _by_av(data, kind) if readers.needs_av(data, kind) else _by_soundfile(data)
    return None


def _by_soundfile(data: Data) -> float | None:
    with soundfile.SoundFile(as_file(data)) as opened:
        return opened.frames / opened.samplerate if opened.samplerate else None


def _by_av(data: Data, kind: str) -> float | None:
    import av

    with suppress(av.FFmpegError), av.open(as_file(data), "r", format=readers.DEMUXERS.get(kind, kind)) as opened:
        return opened.duration / av.time_base if opened.duration else None
    return None
