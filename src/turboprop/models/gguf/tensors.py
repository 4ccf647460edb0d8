"""One tensor of a GGUF file: where its bytes are and how they become float32."""

from __future__ import annotations

import mmap
from contextlib import suppress
from dataclasses import dataclass, field, replace
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from turboprop.errors import ModelUnsupportedError, UsageError
from turboprop.models.gguf.dequantize import dequantize
from turboprop.models.gguf.metadata import GGUFFormatError, shown
from turboprop.models.gguf.parts import FOUR_BIT, SUPER, SuperBlocks, four_bit, super_blocks

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from turboprop.models.gguf.types import GGMLType


class MappedFile:
    """The read-only memory map of one file; closing it twice is harmless."""

    __slots__ = ("buffer", "path", "size")

    def __init__(self, path: Path, buffer: mmap.mmap, size: int) -> None:
        self.path = path
        self.buffer = buffer
        self.size = size

    def close(self) -> None:
        # An array made by `GGUFTensor.raw` may still be alive: the map then goes when it does.
        with suppress(BufferError):
            self.buffer.close()


@dataclass(frozen=True, slots=True)
class GGUFTensor:
    """A tensor as the table of a file describes it; its bytes are read when they are asked for.

    `shape` is in row-major (numpy) order, the reverse of the file's; `offset` is the byte in `path`
    where its data begin, `nbytes` their length.
    """

    name: str
    shape: tuple[int, ...]
    type: GGMLType
    offset: int
    nbytes: int
    _file: MappedFile = field(repr=False, compare=False)

    @property
    def path(self) -> Path:
        """The file that holds it: one of the shards where the model is split."""
        return self._file.path

    @property
    def kind(self) -> str:
        """The name of its type."""
        return self.type.name

    @property
    def size(self) -> int:
        """How many values it has."""
        return self.nbytes // self.type.block_bytes * self.type.block_values

    def raw(self) -> NDArray[np.uint8]:
        """Its bytes as they are in the file: a read-only view of the map, uint8 [nbytes]."""
        if self.offset + self.nbytes > self._file.size:
            raise GGUFFormatError(
                self.path,
                f"tensor {shown(self.name)} has no data: the file ends after its header",
                self._file.size,
                "it is a vocabulary or was cut short: get the whole model file",
            )
        if self._file.buffer.closed:
            raise UsageError(f"{self.path} was closed: read its tensors while it is open")
        return np.frombuffer(self._file.buffer, np.uint8, count=self.nbytes, offset=self.offset)

    def dequantize(self, rows: slice | None = None, *, out: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """Its values, float32 in `shape`, or the `rows` (a slice of the first axis, step 1) of it.

        What a range of rows costs in memory is the range alone, so a tensor of any size can be worked
        through piece by piece. `out`, C-contiguous float32 of the result's shape, is filled and
        returned. Integers and float64 are rounded to float32. Raises `ModelUnsupportedError`, with the
        tensor's name, where the type has no decoder.
        """
        first, last, step = (rows or slice(None)).indices(self.shape[0] if self.shape else 1)
        if step != 1:
            raise UsageError(f"rows of {self.name} are taken with a step of 1, not {step}")
        if not self.shape and rows is not None:
            raise UsageError(f"{self.name} is a scalar and has no rows")
        last = max(first, last)
        shape = (last - first, *self.shape[1:]) if self.shape else ()
        if out is None:
            out = np.empty(shape, np.float32)
        elif out.shape != shape or out.dtype != np.float32 or not out.flags.c_contiguous:
            raise UsageError(f"out for {self.name} must be C-contiguous float32 of shape {shape}")
        raw = self.raw()
        try:
            if rows is None:
                dequantize(self.type, raw, out)
            elif len(self.shape) > 1:
                row_bytes = self.nbytes // self.shape[0]
                dequantize(self.type, raw[first * row_bytes : last * row_bytes], out)
            else:
                # A vector has no rows of whole blocks; vectors are short (biases, norms).
                whole = np.empty(self.shape, np.float32)
                dequantize(self.type, raw, whole)
                out[...] = whole[first:last]
        except ModelUnsupportedError as error:
            raise ModelUnsupportedError(f"{self.path}: tensor {self.name}: {error}") from None
        return out

    def part(self, first: int, shape: tuple[int, ...]) -> GGUFTensor:
        """The values from the first-th on, in another shape; both ends lie between blocks."""
        block, size = self.type.block_values, prod(shape)
        if first % block or size % block:
            raise GGUFFormatError(self.path, f"tensor {shown(self.name)} has rows that are no whole blocks")
        offset, nbytes = (count // block * self.type.block_bytes for count in (first, size))
        return replace(self, shape=shape, offset=self.offset + offset, nbytes=nbytes)

    @property
    def is_four_bit(self) -> bool:
        """Whether it is a matrix that `four_bit` takes apart."""
        return self.type in FOUR_BIT and len(self.shape) == 2

    def four_bit(self, rows: slice) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.float32]]:
        """Some rows of a matrix of four bits, nothing rounded: q uint8 [rows, groups, 32] from 0 to 15, scale
        and minimum float32 [rows, groups, 1]. A weight is `q * scale + minimum`."""
        q, scale, minimum = four_bit(self.type, self._rows(rows))
        shape = (-1, self.shape[1] // 32, q.shape[1]), (-1, self.shape[1] // 32, 1)
        return q.reshape(shape[0]), scale.reshape(shape[1]), minimum.reshape(shape[1])

    @property
    def is_super(self) -> bool:
        """Whether it is a matrix that `super_blocks` takes apart."""
        return self.type in SUPER and len(self.shape) == 2

    def super_blocks(self, rows: slice) -> SuperBlocks:
        """Some rows of a matrix in blocks of 256 weights, row after row."""
        return super_blocks(self.type, self._rows(rows))

    def _rows(self, rows: slice) -> NDArray[np.uint8]:
        first, last, _ = rows.indices(self.shape[0])
        row_bytes = self.nbytes // self.shape[0]
        return self.raw()[first * row_bytes : last * row_bytes]

    def release(self) -> None:
        """Give the pages of its data back to the system: they no longer count as this process's memory.

        Reading it again maps them again. Does nothing where the system has no such advice.
        """
        advice = getattr(mmap, "MADV_DONTNEED", None)
        if advice is None or self._file.buffer.closed:
            return
        begin = -(-self.offset // mmap.PAGESIZE) * mmap.PAGESIZE
        length = (self.offset + self.nbytes) // mmap.PAGESIZE * mmap.PAGESIZE - begin
        if length > 0:
            self._file.buffer.madvise(advice, begin, length)
