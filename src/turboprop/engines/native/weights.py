"""Weights in the layout of the kernels: converted once into one file, mapped from there ever after.

`weights.bin` holds matrices as panels (kernels/kernels.h) and other tensors as float32, each at a multiple of 64
bytes; `weights.json` says where each is.
"""

from __future__ import annotations

import json
import mmap
from collections.abc import Callable, Iterator, Mapping
from math import ceil, log2, prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from turboprop.engines.conversion import FLOATS, StoredSizes, is_matrix, is_router
from turboprop.engines.native.library import (
    ALIGNMENT,
    BFLOAT16,
    EIGHT_BITS,
    FLOAT16,
    FLOAT32,
    FOUR_BITS,
    GROUP,
    GROUP_FOUR,
    SUPER_FIVE,
    SUPER_FOUR,
    SUPER_SIX,
    Matrix,
)
from turboprop.engines.native.panels import PANEL, filled, pack_eight, pack_float, pack_four, pack_super, padded
from turboprop.engines.quantize import quantize_int8, quantize_uint4
from turboprop.engines.stored import is_four_bit, is_super
from turboprop.errors import ModelFormatError
from turboprop.files import open_regular
from turboprop.models.checkpoint.tensors import StoredTensor
from turboprop.models.gguf.tensors import GGUFTensor

if TYPE_CHECKING:
    from turboprop.models.checkpoint.view import Checkpoint

INDEX, VALUES = "weights.json", "weights.bin"
_BLOCK_ELEMENTS = 1 << 20
"""Values that are converted at a time: a matrix never exists as float32. With 2^20 converting a 1.5 GB model peaked at
1.09 times its size, with 2^24 at 1.16, at the same speed."""
_LEAST_EXPONENT = -126
"""Of float32."""
_MORE_BITS = {"Q4_K": 0, "Q5_K": 1, "Q6_K": 2}
"""Bits of a weight beside the first four."""
_FLOATS = {"F16": FLOAT16, "BF16": BFLOAT16}
"""What keeps its 16 bits in the format float32: the same results, with half of the memory to read."""
STORED = StoredSizes(
    {"Q4_0": 0.625, "Q4_1": 0.625, "Q4_K": 0.563, "Q5_K": 0.688, "Q6_K": 0.821},
    bytes_of_a_float=dict.fromkeys(_FLOATS, 2),
)

_SIXTEEN = {"float16": "F16", "bfloat16": "BF16"}
Format = Literal["float32", "float16", "bfloat16", "int8", "int4", "stored"]


def stored_kinds(checkpoint: Checkpoint) -> set[str]:
    """The types of a file's weights that run as it has them; none but those of GGUF do."""
    return {tensor.kind for tensor in checkpoint.tensors.values() if is_four_bit(tensor) or is_super(tensor)}


def format_refusal(checkpoint: Checkpoint, names: Mapping[str, str], wanted: str) -> str | None:
    """Why a format that runs as the file has it does not; None where it does."""
    if wanted == "stored" and not stored_kinds(checkpoint):
        known = ", ".join(sorted(STORED.bytes_of_a_weight))
        return f"finds no weights that run as they are stored ({known}); take int8"
    tensors = {weight: checkpoint.tensors[name] for weight, name in names.items()}
    kinds = {tensor.kind for weight, tensor in tensors.items() if is_matrix(weight, tensor)}
    if wanted in _SIXTEEN and kinds != {_SIXTEEN[wanted]}:
        listed = ", ".join(sorted(kinds))
        return f"runs {wanted} where all matrices of a file have it, and these are {listed}; take float32"
    return None


class Weights(Protocol):
    """What a program takes its weights from."""

    @property
    def keeps_float32(self) -> bool:
        """Whether activations, keys and values stay float32 beside them."""

    def has(self, weight: str) -> bool: ...

    def width(self, weight: str) -> int:
        """Extent of the last axis."""

    def rows(self, weight: str) -> int:
        """Extent of the first axis."""

    def matrix(self, weight: str, bias: str | None) -> Matrix: ...

    def dense(self, weight: str) -> NDArray[np.float32]: ...


class WeightWriter:
    """Converts every weight that a program asks for, once, into `folder`."""

    def __init__(
        self,
        tensors: Mapping[str, StoredTensor],
        names: Mapping[str, str],
        weights: Format,
        advance: Callable[[int], None],
        file: BinaryIO,
    ) -> None:
        self._tensors, self._names, self._weights, self._advance, self._file = tensors, names, weights, advance, file
        self.index: dict[str, dict[str, Any]] = {}

    @property
    def keeps_float32(self) -> bool:
        return self._weights in FLOATS

    def has(self, weight: str) -> bool:
        return weight in self._names

    def width(self, weight: str) -> int:
        return self._tensors[self._names[weight]].shape[-1]

    def rows(self, weight: str) -> int:
        return self._tensors[self._names[weight]].shape[0]

    def dense(self, weight: str) -> NDArray[np.float32]:
        tensor = self._tensors[self._names[weight]]
        parts = [part for _, part in self._blocks(weight)]
        values = np.concatenate(parts).reshape(tensor.shape) if len(parts) > 1 else parts[0]
        if weight not in self.index:
            self._begin(weight, {"shape": list(tensor.shape)})
            self._file.write(np.ascontiguousarray(values, np.float32).tobytes())
        return values

    def matrix(self, weight: str, bias: str | None) -> Matrix:
        if weight not in self.index:
            tensor = self._tensors[self._names[weight]]
            if self.keeps_float32 or is_router(weight):
                self._write_float(weight, tensor)
            elif self._weights == "stored" and is_super(tensor):
                self._write_super(weight, tensor)
            elif self._weights == "int4" or (self._weights == "stored" and is_four_bit(tensor)):
                self._write_four(weight, tensor, self._weights == "stored")
            else:
                self._write_eight(weight)
        if bias is not None and bias not in self.index:
            self.dense(bias)
        return _matrix(self.index[weight])

    def _begin(self, weight: str, about: dict[str, Any]) -> None:
        self._file.write(bytes(-self._file.tell() % ALIGNMENT))
        self.index[weight] = {"offset": self._file.tell(), **about}

    def _blocks(self, weight: str) -> Iterator[tuple[slice, NDArray[np.float32]]]:
        """A tensor, whole panels at a time."""
        tensor = self._tensors[self._names[weight]]
        for block in self._steps(tensor):
            part = tensor.dequantize(block)
            self._check(weight, part)
            yield block, part
            self._advance(part.nbytes)
        tensor.release()

    def _steps(self, tensor: StoredTensor) -> Iterator[slice]:
        rows = tensor.shape[0]
        step = max(1, _BLOCK_ELEMENTS // max(1, prod(tensor.shape[1:])) // PANEL) * PANEL
        for start in range(0, rows, step):
            yield slice(start, min(rows, start + step))

    def _check(self, weight: str, *parts: NDArray[np.floating]) -> None:
        if not all(np.isfinite(part).all() for part in parts):
            raise ModelFormatError(f"the tensor {self._names[weight]!r} holds values that are not finite")

    def _write_float(self, weight: str, tensor: StoredTensor) -> None:
        outputs, inputs = tensor.shape
        kind = _FLOATS.get(tensor.kind, FLOAT32)
        self._begin(weight, {"kind": kind, "outputs": outputs, "inputs": inputs, "factor": 1.0})
        for _, part in self._blocks(weight):
            self._file.write(pack_float(part, kind).tobytes())

    def _write_eight(self, weight: str) -> None:
        outputs, inputs = self._tensors[self._names[weight]].shape
        self._begin(weight, {"kind": EIGHT_BITS, "outputs": outputs, "inputs": inputs, "factor": 1.0})
        for _, part in self._blocks(weight):
            wide = filled(part, PANEL, GROUP)
            values, scales = quantize_int8(wide, GROUP)
            self._file.write(pack_eight(values.reshape(wide.shape), scales[:, :, 0]).tobytes())

    def _write_super(self, weight: str, tensor: GGUFTensor) -> None:
        outputs, inputs = tensor.shape
        more = _MORE_BITS[tensor.kind]
        kind = (SUPER_FOUR, SUPER_FIVE, SUPER_SIX)[more]
        self._begin(weight, {"kind": kind, "outputs": outputs, "inputs": inputs, "factor": 1.0})
        for block in self._steps(tensor):
            parts = tensor.super_blocks(block)
            self._check(weight, parts.d, *([] if parts.dmin is None else [parts.dmin]))
            self._file.write(pack_super(parts, inputs, more).tobytes())
            self._advance(4 * parts.q.size)
        tensor.release()

    def _write_four(self, weight: str, tensor: StoredTensor, stored: bool) -> None:
        outputs, inputs = tensor.shape
        largest = 0.0
        for _, scale, minimum in self._fours(weight, tensor, stored):
            largest = max(largest, float(np.abs(scale).max()), float(np.abs(minimum).max()) / 32)
        # float16 holds 6e-5 to 65,504 in full precision: the largest scale of a matrix becomes 512 to 1024.
        factor = 2.0 ** max(ceil(log2(largest)) - 10, _LEAST_EXPONENT) if largest > 0 else 1.0
        self._begin(weight, {"kind": FOUR_BITS, "outputs": outputs, "inputs": inputs, "factor": factor})
        for q, scale, minimum in self._fours(weight, tensor, stored):
            values = filled(q.reshape(len(q), -1), PANEL, GROUP)
            halves = (filled(x / np.float32(factor), PANEL, GROUP // GROUP_FOUR) for x in (scale, minimum))
            self._file.write(pack_four(values, *(half.astype(np.float16) for half in halves)).tobytes())
            self._advance(4 * q.size)
        tensor.release()

    def _fours(
        self, weight: str, tensor: StoredTensor, stored: bool
    ) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.float32]]]:
        """Some rows at a time: values 0 to 15 [rows, groups, 32], scales and minima [rows, groups]."""
        for block in self._steps(tensor):
            if stored and is_four_bit(tensor):
                q, scale, minimum = tensor.four_bit(block)
            else:
                part = tensor.dequantize(block)
                self._check(weight, part)
                q, scale, zero = quantize_uint4(filled(part, 1, GROUP_FOUR), GROUP_FOUR)
                minimum = -zero.astype(np.float32) * scale
            self._check(weight, scale, minimum)
            yield q, scale[:, :, 0], minimum[:, :, 0]


def write_weights(
    folder: Path,
    tensors: Mapping[str, StoredTensor],
    names: Mapping[str, str],
    weights: Format,
    advance: Callable[[int], None],
    ask: Callable[[Weights], object],
) -> None:
    """Write into `folder` what `ask` asks for. Raises OSError, and `ModelFormatError` for values not finite."""
    with (folder / VALUES).open("wb") as file:
        writer = WeightWriter(tensors, names, weights, advance, file)
        ask(writer)
        file.write(bytes(ALIGNMENT))
    shapes = {name: list(tensors[stored].shape) for name, stored in names.items()}
    about = {"weights": writer.index, "shapes": shapes, "keeps_float32": writer.keeps_float32}
    (folder / INDEX).write_text(json.dumps(about), "utf-8")


def _matrix(entry: Mapping[str, Any], place: int | None = None, bias: int | None = None) -> Matrix:
    inputs = entry["inputs"] if entry["kind"] >= FLOAT32 else padded(entry["inputs"])
    return Matrix(place, bias, entry["factor"], inputs, entry["outputs"], entry["kind"])


class MappedWeights:
    """The weights of a folder that `write_weights` filled. The mapping ends with the last array of it."""

    def __init__(self, folder: Path) -> None:
        with open_regular(folder / INDEX) as file:
            about = json.load(file)
        self._index, self._shapes = about["weights"], about["shapes"]
        self._keeps_float32 = bool(about["keeps_float32"])
        with open_regular(folder / VALUES) as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._bytes = np.frombuffer(self._map, np.uint8)

    @property
    def keeps_float32(self) -> bool:
        return self._keeps_float32

    def has(self, weight: str) -> bool:
        return weight in self._shapes

    def width(self, weight: str) -> int:
        return int(self._shapes[weight][-1])

    def rows(self, weight: str) -> int:
        return int(self._shapes[weight][0])

    def dense(self, weight: str) -> NDArray[np.float32]:
        entry = self._index[weight]
        count = prod(entry["shape"])
        return self._bytes[entry["offset"] : entry["offset"] + 4 * count].view(np.float32).reshape(entry["shape"])

    def matrix(self, weight: str, bias: str | None) -> Matrix:
        entry = self._index[weight]
        added = None if bias is None else self.dense(bias).ctypes.data
        return _matrix(entry, self._bytes.ctypes.data + entry["offset"], added)
