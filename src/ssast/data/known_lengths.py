"""Tell how many frames of recordings a model will hear, before they are read, as far as that costs no request.

Headers of files on this machine say so, among them those that the cache has of a bucket; nothing is decoded. It is an
estimate: what is altered, or has a header that errs, is found to be longer or shorter when it is decoded.
"""

import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import soundfile
import torch

from ssast.audio import container, readers
from ssast.audio.source import Data, as_file, opened_bytes
from ssast.data.prepare import AudioSettings
from ssast.data.shards.collection import Collection, already_open
from ssast.data.storage import location
from ssast.data.storage.cache import cache
from ssast.data.storage.location import Location
from ssast.data.workers import in_threads
from ssast.errors import AudioError, UserError


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


def known_frames(root: Location, uids: Sequence[str], audio: AudioSettings) -> list[int | None]:
    """The frames of each recording below `root`, at most those of the model's input; None where they are not known."""
    frontend = audio.frontend()
    found = list(in_threads(partial(_seconds, root), uids))
    heard = [None if seconds is None else min(seconds, audio.clip_length or seconds) for seconds in found]
    samples = torch.tensor([round((seconds or 0) * audio.sample_rate) for seconds in heard], dtype=torch.int64)
    frames = frontend.frames(samples).clamp(max=frontend.target_length).tolist()
    return [None if seconds is None else own for seconds, own in zip(heard, frames, strict=True)]


def _seconds(root: Location, uid: str) -> float | None:
    with suppress(UserError, OSError):  # said when it is read
        collection = already_open(root)
        if collection is not None:
            return _collection_seconds(collection, uid)
        file = _on_this_machine(root / uid)
        return None if file is None else header_seconds(file)
    return None


def _collection_seconds(collection: Collection, uid: str) -> float | None:
    """The seconds of a recording of a collection, by its header; None where it is not on this machine."""
    if not collection.is_here(uid):
        return None
    file = collection.find(uid).location
    return header_seconds(file.path if file.is_local else file.read_bytes())


def _on_this_machine(folder: Location) -> Path | None:
    """The recording in a folder, of a remote one in the cache; its store is not asked, so what is not kept is None."""
    if folder.is_local:
        name = _recording(os.listdir(folder.path))
        return None if name is None else folder.path / name
    stored = location._kept.get(folder._id) or {}
    name = _recording(stored)
    key = None if name is None else stored[name].key((folder / name).address)
    return None if name is None or key is None else cache(folder.cache_gb).find(key, stored[name].size)


def _recording(names: Iterable[str]) -> str | None:
    return next((name for name in sorted(names) if name.lower().startswith("waveform.")), None)
