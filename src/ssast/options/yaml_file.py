"""Read and write YAML files of options as plain dictionaries; what the keys mean is decided in `options.py`."""

import os
from collections.abc import Mapping
from typing import Any

from ssast.data.storage.atomic_writes import atomic_file
from ssast.data.storage.location import Location
from ssast.errors import UserError
from ssast.safe_reading import MOST_BYTES, yaml_of


def read_mapping(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The keys and values of a YAML file, local or at an address such as gs://bucket/run.yaml; an empty file has none.

    Raises UserError where the file is missing, is not YAML or holds something else than `key: value` lines.
    """
    text = Location(os.fspath(path)).read_text(most=MOST_BYTES)
    try:
        content = yaml_of(text)
    except ValueError as error:
        line, _, reason = str(error).partition(": ") if str(error).startswith("line ") else ("", "", str(error))
        raise UserError(
            f"{path} cannot be read as YAML{f' ({line})' if line else ''}: {reason}; correct it.", path=path
        ) from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise UserError(f"{path} holds a {type(content).__name__}, expected lines of `option: value`", path=path)
    return content


def write_mapping(path: str | os.PathLike[str], comment: str, sections: Mapping[str, Mapping[str, Any]]) -> None:
    """Write the sections one after the other, each under its title as a comment, complete or not at all."""
    parts = [f"# {comment}\n"]
    for title, values in sections.items():
        parts.append(f"\n# {title}\n{yaml_text(dict(values))}")
    with atomic_file(path) as unfinished:
        unfinished.write_text("".join(parts), encoding="utf-8")


def yaml_text(values: Mapping[str, object]) -> str:
    """The values as `yaml.safe_dump` writes them, ten times as fast where libyaml is known to write the same bytes.

    The two differ in empty and long keys, and in where they fold or escape what is not ASCII.
    """
    import yaml

    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper) if _is_written_alike(values) else yaml.SafeDumper
    return str(yaml.dump(values, Dumper=dumper, sort_keys=False, allow_unicode=True, width=120))


def _is_written_alike(value: object) -> bool:
    if isinstance(value, dict):
        keys = (isinstance(key, str) and 0 < len(key) <= 100 and _is_written_alike(key) for key in value)
        return all(keys) and all(map(_is_written_alike, value.values()))
    if isinstance(value, list | tuple):
        return all(map(_is_written_alike, value))
    if isinstance(value, str):
        return value.isascii() and value.isprintable()
    return value is None or isinstance(value, bool | int | float)
