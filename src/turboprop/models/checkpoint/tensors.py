"""Weights by name, read a few rows at a time: what a GGUF file and a safetensors file have in common.

A safetensors file is: 8 bytes header length N (little-endian), N bytes of JSON
`{name: {"dtype", "shape", "data_offsets": [begin, end]}}`, then the data; offsets count from the end of
the header. The library `safetensors` validates a file before we look into it; we then read through our
own memory map, because its numpy form knows no bfloat16 and cannot read some rows only.
"""

from __future__ import annotations

import json
import mmap
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from turboprop.errors import ModelFormatError, ModelNotFoundError, ModelUnsupportedError
from turboprop.files import open_regular
from turboprop.models.json_file import read_object

_DTYPES: dict[str, np.dtype[Any]] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "I16": np.dtype("<i2"),
    "I8": np.dtype("i1"),
    "U8": np.dtype("u1"),
}


class StoredTensor(Protocol):
    """One tensor of a checkpoint, still on disk."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Row-major shape: a linear weight is [out, in]."""

    @property
    def kind(self) -> str:
        """The format of its values, as the file names it: BF16, Q4_K."""

    @property
    def nbytes(self) -> int:
        """Its size in the file."""

    def dequantize(self, rows: slice | None = None) -> NDArray[np.float32]:
        """The values (of some rows of the first axis) as float32."""

    def release(self) -> None:
        """Give the pages that were read back to the system."""

    def part(self, first: int, shape: tuple[int, ...]) -> StoredTensor:
        """The values from the first-th on, in another shape; both ends lie between rows."""


@dataclass(frozen=True, slots=True)
class SafetensorsTensor:
    """A tensor inside a memory-mapped safetensors file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    _bytes: NDArray[np.uint8]
    _mapped: mmap.mmap
    _offset: int

    @property
    def kind(self) -> str:
        return self.dtype

    @property
    def nbytes(self) -> int:
        return int(self._bytes.nbytes)

    def dequantize(self, rows: slice | None = None) -> NDArray[np.float32]:
        values: NDArray[Any] = self._bytes.view(_DTYPES[self.dtype]).reshape(self.shape)
        if rows is not None:
            values = values[rows]
        if self.dtype == "BF16":  # the upper half of a float32
            return np.asarray((values.astype(np.uint32) << 16).view(np.float32))
        return np.array(values, np.float32)  # a copy: the map is read-only, and engines keep what they get

    def part(self, first: int, shape: tuple[int, ...]) -> SafetensorsTensor:
        each = _DTYPES[self.dtype].itemsize
        place = self._bytes[first * each : (first + prod(shape)) * each]
        return SafetensorsTensor(self.name, self.dtype, shape, place, self._mapped, self._offset + first * each)

    def release(self) -> None:
        """Give its pages back to the system; reading it again maps them again."""
        advice = getattr(mmap, "MADV_DONTNEED", None)
        begin = -(-self._offset // mmap.PAGESIZE) * mmap.PAGESIZE
        length = (self._offset + self._bytes.nbytes) // mmap.PAGESIZE * mmap.PAGESIZE - begin
        if advice is not None and length > 0:
            self._mapped.madvise(advice, begin, length)


def whole_values(where: object, name: str, tensor: StoredTensor, axes: int) -> NDArray[np.float32]:
    """All values of a tensor, finite ones in so many axes. Raises `ModelFormatError`."""
    if len(tensor.shape) != axes or 0 in tensor.shape:
        raise ModelFormatError(
            f"{where}: the tensor {name!r} has the shape {list(tensor.shape)}, which is no "
            f"{'vector' if axes == 1 else 'matrix'}; download the model again"
        )
    values = tensor.dequantize()
    if not np.isfinite(values).all():
        raise ModelFormatError(f"{where}: the tensor {name!r} holds values that are not finite")
    return values


def open_safetensors(path: Path) -> dict[str, SafetensorsTensor]:
    """Map one safetensors file. Raises `ModelFormatError` for a damaged one."""
    from safetensors import SafetensorError, safe_open

    try:
        with open_regular(path, follow=True):  # a pipe would be waited for
            pass
        with safe_open(str(path), framework="numpy"):
            pass
    except FileNotFoundError:
        raise ModelNotFoundError(f"{path} is not there; download the model again") from None
    except (SafetensorError, OSError) as error:
        hint = _what_it_is(path)
        raise ModelFormatError(f"{path} is not a sound safetensors file: {error}{hint}") from error
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    data = np.frombuffer(mapped, np.uint8)
    length = int.from_bytes(data[:8].tobytes(), "little")
    header: dict[str, dict[str, Any]] = json.loads(data[8 : 8 + length].tobytes())
    header.pop("__metadata__", None)
    found = {}
    for name, entry in header.items():
        if entry["dtype"] not in _DTYPES:
            raise ModelUnsupportedError(f"{path}: tensor {name!r} has the type {entry['dtype']}, which is not read")
        begin, end = (8 + length + int(offset) for offset in entry["data_offsets"])
        place = data[begin:end]
        found[name] = SafetensorsTensor(name, entry["dtype"], tuple(entry["shape"]), place, mapped, begin)
    return found


def _what_it_is(path: Path) -> str:
    try:
        with open_regular(path, follow=True) as file:
            start = file.read(64)
    except OSError:
        return ""
    if start.startswith(b"version https://git-lfs"):
        return " (it is a Git LFS pointer: run `git lfs pull` where it came from)"
    if start.startswith((b"<!DOCTYPE", b"<html")):
        return " (it is a web page: the download went wrong)"
    return "; download it again"


class ShardedTensors(Mapping[str, StoredTensor]):
    """The tensors of all shards that `model.safetensors.index.json` lists; a shard opens on first use."""

    def __init__(self, index: Path) -> None:
        try:
            weight_map = read_object(index)["weight_map"]
            self._where = {str(name): str(shard) for name, shard in weight_map.items()}
        except (KeyError, AttributeError, TypeError) as error:
            raise ModelFormatError(f"{index} is not a safetensors index: {error!r}") from error
        self._folder = index.parent
        self._open: dict[str, dict[str, SafetensorsTensor]] = {}
        for shard in set(self._where.values()):
            if Path(shard).name != shard or not shard.endswith(".safetensors"):
                raise ModelFormatError(f"{index} points outside its folder: {shard!r}")
            if not (self._folder / shard).is_file():
                raise ModelFormatError(f"{index} names {shard}, which is not there; download the model again")

    @property
    def files(self) -> tuple[Path, ...]:
        """The shards, sorted by name."""
        return tuple(self._folder / shard for shard in sorted(set(self._where.values())))

    def __getitem__(self, name: str) -> StoredTensor:
        shard = self._where[name]
        if shard not in self._open:
            self._open[shard] = open_safetensors(self._folder / shard)
        if name not in self._open[shard]:
            raise ModelFormatError(f"{self._folder / shard} lacks the tensor {name!r} that its index promises")
        return self._open[shard][name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._where)

    def __len__(self) -> int:
        return len(self._where)


class WithoutPrefix(Mapping[str, StoredTensor]):
    """The same tensors, with a prefix taken off the names that have it."""

    def __init__(self, tensors: Mapping[str, StoredTensor], prefix: str) -> None:
        self._tensors = tensors
        self._names = {name.removeprefix(prefix): name for name in tensors}

    def __getitem__(self, name: str) -> StoredTensor:
        return self._tensors[self._names[name]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


class WithParts(Mapping[str, StoredTensor]):
    """The same tensors, and parts of them by name: `w[3]` is the fourth of the first axis of `w`, `w[3][0:8]` the first
    eight rows of this, `w[3][8:]` the others, and `w[None]` has one axis more. They are not listed.

    A mixture of experts has them in one tensor, in GGUF and in some safetensors.
    """

    _PART = re.compile(r"(?P<name>.*?)\[(?:(?P<none>None)|(?P<index>\d+))\](?:\[(?P<first>\d+):(?P<last>\d*)\])?")

    def __init__(self, tensors: Mapping[str, StoredTensor]) -> None:
        self._tensors = tensors

    def __getitem__(self, name: str) -> StoredTensor:
        if name in self._tensors or not name.endswith("]"):
            return self._tensors[name]
        found = self._PART.fullmatch(name)
        if found is None:
            raise KeyError(name)
        whole = self._tensors[found["name"]]
        if found["none"]:
            return whole.part(0, (1, *whole.shape)) if len(whole.shape) == 1 else whole
        index, shape = int(found["index"]), whole.shape[1:]
        if len(shape) != 2:
            raise ModelFormatError(f"{found['name']} has the shape {list(whole.shape)}, which is no stack of matrices")
        if index >= whole.shape[0]:
            raise KeyError(name)
        first, last = int(found["first"] or 0), int(found["last"] or shape[0])
        if not 0 <= first <= last <= shape[0]:
            raise KeyError(name)
        each = prod(shape[1:])
        return whole.part((index * shape[0] + first) * each, (last - first, *shape[1:]))

    def __contains__(self, name: object) -> bool:
        try:
            return isinstance(name, str) and self[name] is not None
        except KeyError:
            return False

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)
