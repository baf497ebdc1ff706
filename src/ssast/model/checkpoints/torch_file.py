"""Read the named tensors of a file that torch.save wrote, checked before any memory is taken for them.

Nothing in the file is executed, and no size that it declares is believed before its bytes are seen to be there.
"""

import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ssast.errors import UserError, lacks_means
from ssast.model.checkpoints.pickles import Made, NamedObject, Outside, Pickle, Refused
from ssast.model.checkpoints.torch_outline import (
    _DEEPEST,
    ITEMS,
    MOST_LISTED,
    MOST_UNFOLDED,
    PARAMETER,
    TENSOR,
    TORCHS_PROTOCOL,
    ZIP,
    DoubtfulError,
    check_torch_file,
    list_pickle,
    open_regular,
    storage_of,
)
from ssast.safe_reading import brief


def load_tensors(file: Path) -> dict[str, Tensor]:
    """Named tensors of a torch file, `module.` taken off their names; UserError where it holds anything else."""
    try:
        found = check_torch_file(file)
        if found.protocol > TORCHS_PROTOCOL:
            content: object = _built(file, found)
        else:
            content = torch.load(file, map_location="cpu", weights_only=True)
    except Refused as error:
        raise UserError(
            f"{file} holds more than tensors ({error}) and could run code when opened, so it was not; "
            "give a file of tensors only, saved with torch.save(model.state_dict(), ...).",
            path=file,
        ) from error
    except Exception as error:  # torch, pickle and zip each have their own
        if lacks_means(error):
            raise
        raise _unreadable(file, error) from error
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise UserError(
            f"{file} holds {_describe(content)}, not a state dict of named tensors; "
            "give a file saved with torch.save(model.state_dict(), ...).",
            path=file,
        )
    _check_repeats(file, content)
    return {str(key).removeprefix("module."): value for key, value in content.items()}


def _check_repeats(file: Path, content: Mapping[Any, Tensor]) -> None:
    """UserError where one tensor has so many names that copies of them would fill the memory."""
    values, bytes_there = sum(value.numel() for value in content.values()), file.stat().st_size
    if 4 * values > MOST_UNFOLDED * bytes_there:
        raise UserError(
            f"{file} names {values} values in {bytes_there} bytes, the same ones many times; "
            "give a file saved with torch.save(model.state_dict(), ...).",
            path=file,
        )


def _unreadable(file: Path, error: Exception) -> UserError:
    """The sentence for a file that is not what torch writes."""
    if isinstance(error, UserError):
        return error
    if isinstance(error, DoubtfulError):
        return UserError(f"{file} {error}, so it was not opened; download it again, or ask who made it.", path=file)
    return UserError(
        f"{file} is not a checkpoint that torch can read ({_looks(file) or type(error).__name__}); "
        "download it again, or check that the path names the checkpoint itself.",
        path=file,
    )


def _looks(file: Path) -> str:
    """The kind of a file by its first bytes, where that helps the user; empty otherwise."""
    try:
        with open_regular(file) as opened:
            start = opened.read(512)
    except OSError as error:
        return (error.strerror or type(error).__name__).lower()
    except ValueError as error:
        return str(error)
    if not start:
        return "it is empty"
    if start.lstrip().lower().startswith((b"<!doctype html", b"<html", b"<?xml")):
        return "it is a web page, as comes where a login was wanted"
    if start.startswith(b"version https://git-lfs"):
        return "it is a pointer of git-lfs; fetch the file itself with git lfs pull"
    if start.startswith(ZIP):
        return "it is a zip archive that is cut off, or none of torch's"
    return ""


def _describe(content: object) -> str:
    if isinstance(content, Mapping):
        return f"a dictionary with {', '.join(brief(key) for key in list(content)[:3]) or 'nothing'}"
    return f"a {type(content).__name__}"


def outline(file: Path) -> dict[str, tuple[int, ...] | str]:
    """What a torch file of any kind lists: the shape of every tensor and the rest in words, by names joined with dots.

    Nothing of it is imported, called or built, whatever it asks for. UserError where it is no complete file of torch.
    """
    try:
        with open_regular(file) as opened:
            content = list_pickle(opened, file.stat().st_size, _Anything(), is_loaded=False).value
    except Exception as error:  # as in load_tensors
        if lacks_means(error):
            raise
        raise _unreadable(file, error) from error
    return dict(_named(content))


class _Anything:
    """Every name is in it: for readers that only look."""

    def __contains__(self, name: object) -> bool:
        return True


def _named(content: object) -> Iterator[tuple[str, tuple[int, ...] | str]]:
    """What is listed, with its name; after so many values, however often the same ones are named, it ends."""
    waiting: list[tuple[str, object, int]] = [("", content, 0)]
    for _ in range(MOST_LISTED):
        if not waiting:
            return
        name, one, depth = waiting.pop()
        items = one.items if isinstance(one, Made) and one.items else one
        if isinstance(items, dict) and items and depth < _DEEPEST:
            inside = [(f"{name}.{key}" if name else str(key), value, depth + 1) for key, value in items.items()]
            waiting += inside[: MOST_LISTED - len(waiting)][::-1]
        else:
            yield name, _told(one)


def _told(one: object) -> tuple[int, ...] | str:
    """The shape of a tensor; of anything else a few words."""
    if isinstance(one, Made):
        inner = one.arguments[0] if one.name == PARAMETER and one.arguments else one
        is_tensor = isinstance(inner, Made) and inner.name == TENSOR and len(inner.arguments) > 2
        return inner.arguments[2] if is_tensor else one.name
    return (
        "a part of the file" if isinstance(one, Outside) else one.name if isinstance(one, NamedObject) else brief(one)
    )


def _built(file: Path, found: Pickle) -> object:
    """The tensors of an archive whose pickle torch itself does not read safely, made of the notes alone."""
    content = found.value.items if isinstance(found.value, Made) else found.value
    if not isinstance(content, dict):
        return content
    with zipfile.ZipFile(file) as archive:
        names = set(archive.namelist())
        folder = next(name for name in names if name.rpartition("/")[2] == "data.pkl").removesuffix("data.pkl")
        if f"{folder}byteorder" in names and archive.read(f"{folder}byteorder").decode() != sys.byteorder:
            raise DoubtfulError("was saved on a machine with another byte order")
        read: dict[str, Tensor] = {}

        def values(kind: str, key: str, count: int) -> Tensor:
            if key not in read:
                part = bytearray(archive.read(f"{folder}data/{key}"))
                read[key] = torch.frombuffer(part, dtype=ITEMS[kind]) if count else torch.empty(0, dtype=ITEMS[kind])
            return read[key]

        return {key: _tensor(one, values) for key, one in content.items()}


def _tensor(one: object, values: Callable[[str, str, int], Tensor]) -> object:
    """The object that one note describes, with the values of its part."""
    made = one.arguments[0] if isinstance(one, Made) and one.name == PARAMETER and one.arguments else one
    if not isinstance(made, Made) or made.name != TENSOR:
        return one
    storage, offset, size, stride = made.arguments[:4]
    return values(*storage_of(storage)).as_strided(size, stride, offset)
