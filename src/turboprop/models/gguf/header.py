"""Reads the header of one GGUF file: every check that a single file allows is made here."""

from __future__ import annotations

import mmap
import os
import stat
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

from turboprop.errors import ModelNotFoundError, ModelUnsupportedError
from turboprop.models.gguf.metadata import (
    MAX_KEY_BYTES,
    Cursor,
    GGUFFormatError,
    GGUFMetadata,
    GGUFValueType,
    MetadataValue,
    shown,
)
from turboprop.models.gguf.tensors import GGUFTensor, MappedFile
from turboprop.models.gguf.types import REMOVED_TYPES, GGMLType

if TYPE_CHECKING:
    from pathlib import Path

MAX_NAME_BYTES = 63  # ggml keeps 64 bytes a name, the last one zero
MAX_DIMENSIONS = 4
MAX_ALIGNMENT = 1 << 20
# The largest models have some thousand tensors and a hundred keys.
MAX_TENSORS = 1 << 17
MAX_KEYS = 1 << 16
_LARGEST = (1 << 63) - 1  # sizes and offsets are signed 64-bit integers in every other reader
_SMALLEST_KEY = 8 + 1 + 4 + 1  # bytes: length, one character, type, a one-byte value
_SMALLEST_TENSOR = 8 + 1 + 4 + 4 + 8  # bytes: length, one character, dimensions, type, offset

_AGAIN = "convert the model again with a current converter, or get a current file"
_OTHER_FILES = (
    (b"version https://git-lfs", "a Git LFS pointer, not the model", "run `git lfs pull` in its repository"),
    (b"lmgg", "a GGML model of before August 2023", _AGAIN),
    (b"fmgg", "a GGMF model of before August 2023", _AGAIN),
    (b"tjgg", "a GGJT model of before August 2023", _AGAIN),
    (b"FUGG", "a byte-swapped GGUF file", _AGAIN),
    (b"PK\x03\x04", "a zip archive (perhaps a PyTorch checkpoint)", "get the model as GGUF or safetensors"),
    (b"<!DOCTYPE", "a web page", "the download link led to a page: get the file itself"),
    (b"<html", "a web page", "the download link led to a page: get the file itself"),
)


@dataclass(frozen=True, slots=True)
class Header:
    """What one file says: its version, key-value pairs, tensors in the file's order, and alignment.

    `has_data` is false where the file ends before its tensor data (a header on its own is sound).
    """

    file: MappedFile
    version: int
    metadata: GGUFMetadata
    tensors: dict[str, GGUFTensor]
    alignment: int
    has_data: bool


def read_header(path: Path) -> Header:
    """Map the file and check all of its header. Raises `GGUFFormatError` and the errors of `map_file`.

    `ModelUnsupportedError` where a tensor has a type that this version does not know.
    """
    file = map_file(path)
    try:
        return _parse(file)
    except BaseException:
        file.close()
        raise


def map_file(path: Path) -> MappedFile:
    """A regular, non-empty file, mapped read-only; anything else is refused without blocking on it.

    A file that another process cuts short while it is mapped ends this one with SIGBUS: replace model
    files by renaming, as every downloader does.
    """
    try:
        # O_NONBLOCK: to open a FIFO would wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except FileNotFoundError:
        raise ModelNotFoundError(f"{path} does not exist: give the path of a GGUF file") from None
    except (OSError, ValueError) as error:
        if os.path.isdir(path):  # noqa: PTH112 (a path with a NUL makes Path.is_dir raise)
            raise GGUFFormatError(path, "is a folder, not a GGUF file", advice="name the file") from None
        raise ModelNotFoundError(f"{path} cannot be opened ({error}): check the path and its rights") from None
    try:
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            raise GGUFFormatError(path, "is a folder, not a GGUF file", advice="name the file")
        if not stat.S_ISREG(status.st_mode):
            raise GGUFFormatError(path, "is no regular file (a pipe or a device)", advice="copy it to disk")
        if not status.st_size:
            raise GGUFFormatError(path, "is empty", 0, "the download did not finish: get it again")
        try:
            buffer = mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            raise GGUFFormatError(path, f"cannot be mapped ({error})", advice="copy it to a local disk") from None
        return MappedFile(path, buffer, len(buffer))
    finally:
        os.close(descriptor)


def _parse(file: MappedFile) -> Header:
    cursor = Cursor(file.path, file.buffer, file.size)
    version, tensor_count, key_count = _preamble(cursor)
    values, types, alignment = _pairs(cursor, key_count)
    metadata = GGUFMetadata(file.path, values, types)
    begin = cursor.position
    infos = [_tensor_info(cursor, alignment) for _ in range(tensor_count)]
    data = -(-cursor.position // alignment) * alignment
    has_data = file.size > data
    tensors: dict[str, GGUFTensor] = {}
    for info in infos:
        if info.name in tensors:
            raise cursor.fail(f"tensor {shown(info.name)} appears twice", info.at)
        end = data + info.offset + info.nbytes
        if has_data and end > file.size:
            raise cursor.fail(
                f"tensor {shown(info.name)} ends at byte {end}, past the end of the file at {file.size}",
                info.at,
            )
        tensors[info.name] = GGUFTensor(info.name, info.shape, info.type, data + info.offset, info.nbytes, file)
    _check_layout(cursor, infos, alignment, data, begin)
    return Header(file, version, metadata, tensors, alignment, has_data)


def _preamble(cursor: Cursor) -> tuple[int, int, int]:
    start = bytes(cursor.buffer[:32])
    for prefix, what, advice in _OTHER_FILES:
        if start.startswith(prefix):
            raise GGUFFormatError(cursor.path, f"is {what}", 0, advice)
    if start[:4] != b"GGUF"[: len(start)]:
        raise GGUFFormatError(cursor.path, f"is no GGUF file: it begins with {shown(start[:4])}", 0)
    cursor.take(4, "the magic")
    at = cursor.position
    version = cursor.u32("the version")
    if version and version % 0x10000 == 0:
        raise GGUFFormatError(cursor.path, "is a big-endian GGUF file", at, _AGAIN)
    if version == 1:
        raise GGUFFormatError(cursor.path, "is a GGUF file of version 1 (August 2023)", at, _AGAIN)
    if version not in (2, 3):
        raise GGUFFormatError(
            cursor.path, f"has GGUF version {version}, read are 2 and 3", at, "a newer release may read it"
        )
    at = cursor.position
    tensor_count = cursor.u64("the number of tensors")
    if tensor_count > MAX_TENSORS:
        raise cursor.fail(f"claims {tensor_count} tensors, more than the {MAX_TENSORS} allowed", at)
    at = cursor.position
    key_count = cursor.u64("the number of metadata keys")
    if key_count > MAX_KEYS:
        raise cursor.fail(f"claims {key_count} metadata keys, more than the {MAX_KEYS} allowed", at)
    if tensor_count * _SMALLEST_TENSOR + key_count * _SMALLEST_KEY > cursor.size - cursor.position:
        raise cursor.fail(
            f"claims {tensor_count} tensors and {key_count} metadata keys, more than its {cursor.size} bytes hold",
            8,
        )
    return version, tensor_count, key_count


def _pairs(cursor: Cursor, count: int) -> tuple[dict[str, MetadataValue], dict[str, GGUFValueType], int]:
    values: dict[str, MetadataValue] = {}
    types: dict[str, GGUFValueType] = {}
    alignment = 32
    for _ in range(count):
        at = cursor.position
        key = cursor.name(MAX_KEY_BYTES, "a metadata key")
        label = shown(key)
        if key in values:
            raise cursor.fail(f"metadata key {label} appears twice", at)
        types[key] = kind = cursor.value_type(label)
        at = cursor.position
        values[key] = value = cursor.value(kind, label)
        if key == "general.alignment":
            # The specification asks for a multiple of 8; the reference reads (and its test files have)
            # any power of two.
            if kind is not GGUFValueType.UINT32 or not isinstance(value, int) or value.bit_count() != 1:
                raise cursor.fail(f"general.alignment is {shown(value)}, not a uint32 power of two", at)
            if value > MAX_ALIGNMENT:
                raise cursor.fail(f"general.alignment is {value}, more than the {MAX_ALIGNMENT} allowed", at)
            alignment = value
    return values, types, alignment


@dataclass(frozen=True, slots=True)
class _TensorInfo:
    name: str
    shape: tuple[int, ...]
    type: GGMLType
    offset: int
    nbytes: int
    at: int  # where its entry begins in the file


def _tensor_info(cursor: Cursor, alignment: int) -> _TensorInfo:
    entry = cursor.position
    name = cursor.name(MAX_NAME_BYTES, "a tensor's name")
    label = f"tensor {shown(name)}"
    at = cursor.position
    dimensions = cursor.u32(f"the dimensions of {label}")
    if dimensions > MAX_DIMENSIONS:
        raise cursor.fail(f"{label} has {dimensions} dimensions, at most {MAX_DIMENSIONS} are allowed", at)
    at = cursor.position
    extents = [cursor.u64(f"the shape of {label}") for _ in range(dimensions)]
    if not all(extents) or prod(extents) > _LARGEST:
        raise cursor.fail(f"{label} has the impossible shape {extents}", at)
    at = cursor.position
    kind = _tensor_type(cursor, cursor.u32(f"the type of {label}"), label, at)
    width = extents[0] if extents else 1
    if width % kind.block_values:
        raise cursor.fail(
            f"{label} has rows of {width} values, not a multiple of the {kind.block_values} of a {kind.name} block",
            at,
        )
    at = cursor.position
    offset = cursor.u64(f"the offset of {label}")
    nbytes = prod(extents) // kind.block_values * kind.block_bytes
    if offset + nbytes > _LARGEST:
        raise cursor.fail(f"{label} lies at offset {offset} with {nbytes} bytes, beyond any file", at)
    if offset % alignment:
        raise cursor.fail(f"{label} lies at offset {offset}, not a multiple of the alignment {alignment}", at)
    return _TensorInfo(name, tuple(reversed(extents)), kind, offset, nbytes, entry)


def _tensor_type(cursor: Cursor, number: int, label: str, at: int) -> GGMLType:
    try:
        return GGMLType(number)
    except ValueError:
        pass
    if number in REMOVED_TYPES:
        raise ModelUnsupportedError(
            f"{cursor.path}: {label} has type {REMOVED_TYPES[number]} ({number}, byte {at}), which was removed "
            f"from the format; {_AGAIN}"
        )
    raise ModelUnsupportedError(
        f"{cursor.path}: {label} has type {number} (byte {at}), which this version does not know: known are "
        f"0 to {max(GGMLType)}; a newer release may read it, or the file is damaged"
    )


def _check_layout(cursor: Cursor, infos: list[_TensorInfo], alignment: int, data: int, begin: int) -> None:
    """No two tensors share a byte, and the padding after the last one is there.

    Every writer pads the last tensor too: a file without that padding was cut short.
    """
    end = 0
    last = ""
    for info in sorted(infos, key=lambda info: (info.offset, info.nbytes)):
        if info.offset < end:
            raise cursor.fail(
                f"tensor {shown(info.name)} at offset {info.offset} overlaps {shown(last)}, which ends at {end}",
                info.at,
            )
        end = info.offset + info.nbytes
        last = info.name
    padded = data + -(-end // alignment) * alignment
    if infos and data < cursor.size < padded:
        raise cursor.fail(f"the tensor data end at byte {padded} with their padding, the file at {cursor.size}", begin)
