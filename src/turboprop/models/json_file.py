"""The small files of a model's folder, read as a stranger's: regular files of a bounded size."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, TypeVar

from turboprop.errors import ModelFormatError
from turboprop.files import NotRegularFileError, open_regular

_MAX_BYTES = 1 << 26
"""The index of a model in 200 shards has some 10 MB; a tokenizer.json is the largest of the JSON files."""

Kind = TypeVar("Kind", dict[str, Any], list[Any])


def read_model_file(path: Path, most: int = _MAX_BYTES) -> bytes:
    """All of a regular file; a link is followed, as the hub's cache has its files.

    Raises `ModelFormatError` for a pipe or a device, and for a file of more than `most` bytes, OSError as `open` does.
    """
    try:
        with open_regular(path, follow=True) as file:
            size = os.fstat(file.fileno()).st_size
            data = file.read(most + 1) if size <= most else b""
    except NotRegularFileError:
        raise ModelFormatError(f"{path} is no regular file: get the model again") from None
    if max(size, len(data)) > most:
        raise ModelFormatError(f"{path} has more than {most} bytes, which no such file has: get the model again")
    return data


def read_json(path: Path) -> Any:
    """The parsed file, or None where it is absent. Raises `ModelFormatError`."""
    try:
        return json.loads(read_model_file(path))
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError) as error:
        raise ModelFormatError(f"{path} is not valid JSON: {error}; get the model again") from error
    except OSError as error:
        raise ModelFormatError(f"{path} cannot be read ({error.strerror}): check its rights") from error


def read_object(path: Path) -> dict[str, Any]:
    """The object that the file holds, an empty one where it is absent. Raises `ModelFormatError`."""
    return _of_kind(path, dict[str, Any](), "object")


def read_objects(path: Path) -> list[dict[str, Any]]:
    """The list of objects that the file holds, an empty one where it is absent. Raises `ModelFormatError`."""
    found = _of_kind(path, list[Any](), "list")
    if not all(isinstance(each, dict) for each in found):
        raise ModelFormatError(f"{path} holds what is no object: get the model again")
    return found


def _of_kind(path: Path, absent: Kind, name: str) -> Kind:
    found = read_json(path)
    if found is None:
        return absent
    if not isinstance(found, type(absent)):
        raise ModelFormatError(f"{path} holds no JSON {name}: get the model again")
    return found
