"""The files beside an ONNX export that it keeps its weights in, checked before a runtime opens them.

A tensor of an export may name a file, an offset and a length (`external_data`). Runtimes follow what they find there,
and to some a certain name means that the offset is an address in memory. So the names are read from the protocol
buffer itself (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto): of its messages only those that lead to tensors
are gone through, and their data are passed over.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from pathlib import Path

from turboprop.errors import ModelFormatError, ModelNotFoundError
from turboprop.files import NotRegularFileError, open_regular
from turboprop.models.catalog import safe_member

_DEEPEST = 64
"""Graphs within nodes within graphs; protocol buffers end at 100 messages."""
_LONGEST_NAME = 1024
# The message that a field leads to, by the number of the field.
_LEADS: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "entry"},
    "entry": {},
}
_VARINT, _EIGHT, _TEXT, _FOUR = 0, 1, 2, 5


class _DamagedError(Exception):
    pass


def external_files(path: Path) -> tuple[Path, ...]:
    """The files that the tensors of an export name, sorted, each once.

    Raises `ModelFormatError` for bytes that are no export, for a name that leaves the folder, for what is no regular
    file and for a range that is not within its file; `ModelNotFoundError` for a file that is not there.
    """
    try:
        with open_regular(path, follow=True) as file:
            if not os.fstat(file.fileno()).st_size:
                raise ModelFormatError(f"{path} is empty; get it again")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                ranges = set(_ranges(data, 0, len(data), "model", 0))
    except NotRegularFileError:
        raise ModelFormatError(f"{path} is no regular file; get it again") from None
    except _DamagedError as error:
        raise ModelFormatError(f"{path} cannot be read as ONNX: {error}; get it again") from None
    found = set()
    for location, offset, length in sorted(ranges):
        found |= _checked(path, location, offset, length)
    return tuple(sorted(found))


def _checked(path: Path, location: str, offset: str, length: str) -> set[Path]:
    if not safe_member(location) or "*" in location:  # ONNX Runtime's mark of an address is */_ORT_MEM_ADDR_/*
        raise ModelFormatError(f"{path} keeps weights in {location!r}, which is outside of its folder; refused")
    if not all(part.isascii() and part.isdecimal() and len(part) < 19 for part in (offset, length)):
        raise ModelFormatError(f"{path} keeps weights at {offset[:40]!r}, {length[:40]!r} of {location}: no such place")
    found = set()
    # One runtime looks beside the export, another beside what a link leads to.
    for folder in {path.parent, path.resolve().parent}:
        try:
            with open_regular(folder / location, follow=True) as file:
                size = os.fstat(file.fileno()).st_size
        except FileNotFoundError:
            continue
        except NotRegularFileError:
            raise ModelFormatError(f"{folder / location} is no regular file; get the model again") from None
        except OSError as error:
            raise ModelFormatError(f"{folder / location} cannot be read ({error.strerror}); check its rights") from None
        if int(offset) + int(length) > size:
            raise ModelFormatError(
                f"{path} keeps {length} bytes at {offset} of {location}, which has {size}; get the model again"
            )
        found.add(folder / location)
    if not found:
        raise ModelNotFoundError(f"{path} keeps weights in {location}, which must lie beside it; get the model again")
    return found


def _ranges(data: mmap.mmap, at: int, end: int, kind: str, depth: int) -> Iterator[tuple[str, str, str]]:
    """Location, offset and length of each tensor in a message, as they are written."""
    if depth > _DEEPEST:
        raise _DamagedError("its graphs are too deep")
    leads = _LEADS[kind]
    entries: dict[str, str] = {}
    for field, first, last in _fields(data, at, end):
        if field not in leads:
            continue
        if kind == "tensor":
            key, value = _entry(data, first, last)
            if entries.setdefault(key, value) != value:
                raise _DamagedError(f"a tensor states its {key[:40]!r} twice")
        else:
            yield from _ranges(data, first, last, leads[field], depth + 1)
    if entries:
        yield entries.get("location", ""), entries.get("offset", "0"), entries.get("length", "0")


def _entry(data: mmap.mmap, at: int, end: int) -> tuple[str, str]:
    texts = {1: "", 2: ""}
    for field, first, last in _fields(data, at, end):
        if field in texts:
            if last - first > _LONGEST_NAME:
                raise _DamagedError("a place of weights is longer than any name")
            texts[field] = data[first:last].decode("utf-8", "surrogateescape")
    return texts[1], texts[2]


def _fields(data: mmap.mmap, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Number, begin and end of each field that holds bytes."""
    while at < end:
        tag, at = _varint(data, at, end)
        if tag >> 32:
            raise _DamagedError(f"a field without a number at byte {at}")  # readers cut it to 32 bits, or do not
        kind = tag & 7
        if kind == _VARINT:
            _, at = _varint(data, at, end)
        elif kind in (_EIGHT, _FOUR):
            at += 8 if kind == _EIGHT else 4
        elif kind == _TEXT:
            length, at = _varint(data, at, end)
            yield tag >> 3, at, min(at + length, end)
            at += length
        else:
            raise _DamagedError(f"a field of the kind {kind} at byte {at}")
    if at > end:
        raise _DamagedError("it was cut short")


def _varint(data: mmap.mmap, at: int, end: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= end:
            raise _DamagedError("it was cut short")
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise _DamagedError(f"a number without end at byte {at}")
