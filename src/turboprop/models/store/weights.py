"""Whether a weight file is what its name says, from its first bytes and its length.

This is the gate of the store; the readers that load a model check everything else.
"""

from __future__ import annotations

import json
import os
import struct
from typing import TYPE_CHECKING

from turboprop.errors import ModelFormatError
from turboprop.files import open_regular

if TYPE_CHECKING:
    from pathlib import Path

# The safetensors format caps its header at 100 MB.
_MAX_HEADER_BYTES = 100_000_000
_LFS_POINTER = b"version https://git-lfs.github.com/spec/"


def check_weights(path: Path) -> None:
    """Raise `ModelFormatError` unless a .gguf or .safetensors file begins and ends as one must."""
    if path.suffix == ".gguf":
        _check_gguf(path)
    elif path.suffix == ".safetensors":
        _check_safetensors(path)


def _refuse_pointer(path: Path, head: bytes) -> None:
    if head.startswith(_LFS_POINTER):
        raise ModelFormatError(f"{path} is a Git LFS pointer, not the file itself; get that with `git lfs pull`")


def _check_gguf(path: Path) -> None:
    with open_regular(path, follow=True) as file:
        head = file.read(64)
    _refuse_pointer(path, head)
    if head[:4] != b"GGUF" or len(head) < 24:
        raise ModelFormatError(f"{path} is not a GGUF file: it does not begin with the letters GGUF")
    (version,) = struct.unpack_from("<I", head, 4)
    if version not in (2, 3):
        raise ModelFormatError(
            f"{path} is GGUF of version {version}, or big-endian; versions 2 and 3, little-endian, are read"
        )


def _check_safetensors(path: Path) -> None:
    with open_regular(path, follow=True) as file:
        size = os.fstat(file.fileno()).st_size
        head = file.read(64)
        _refuse_pointer(path, head)
        length = int.from_bytes(head[:8], "little")
        if len(head) < 8 or length > min(_MAX_HEADER_BYTES, size - 8):
            raise ModelFormatError(f"{path} is not a safetensors file, or it was cut short; get it again")
        file.seek(8)
        header = file.read(length)
    try:
        tensors = json.loads(header)
        ends = [int(value["data_offsets"][1]) for name, value in tensors.items() if name != "__metadata__"]
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise ModelFormatError(f"{path} is not a safetensors file: its header is damaged; get it again") from error
    if 8 + length + max(ends, default=0) != size:
        raise ModelFormatError(
            f"{path} has {size} bytes, its header tells of {8 + length + max(ends, default=0)}; get it again"
        )
