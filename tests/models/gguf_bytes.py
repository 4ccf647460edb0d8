"""GGUF files written byte by byte: what the format is, said a second time and without the reader."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 = range(13)
FORMATS = {U8: "B", I8: "b", U16: "H", I16: "h", U32: "I", I32: "i", F32: "f", BOOL: "B"}
FORMATS |= {U64: "Q", I64: "q", F64: "d"}


def u32(value: int) -> bytes:
    return struct.pack("<I", value)


def u64(value: int) -> bytes:
    return struct.pack("<Q", value)


def string(text: str | bytes) -> bytes:
    data = text.encode() if isinstance(text, str) else text
    return u64(len(data)) + data


def scalar(kind: int, value: float) -> bytes:
    return struct.pack("<" + FORMATS[kind], value)


def payload(kind: int, value: object) -> bytes:
    """The bytes of a value; an array is (element type, list)."""
    if kind == STRING:
        return string(value)  # type: ignore[arg-type]
    if kind == ARRAY:
        element, items = value  # type: ignore[misc]
        return u32(element) + u64(len(items)) + b"".join(payload(element, item) for item in items)
    return scalar(kind, value)  # type: ignore[arg-type]


def pair(key: str | bytes, kind: int, value: object) -> bytes:
    return string(key) + u32(kind) + payload(kind, value)


def tensor_info(name: str | bytes, extents: list[int], kind: int, offset: int) -> bytes:
    """`extents` in the file's order: the innermost first."""
    return string(name) + u32(len(extents)) + b"".join(map(u64, extents)) + u32(kind) + u64(offset)


@dataclass
class File:
    """A file in parts, so that a test can spoil one of them."""

    pairs: list[bytes] = field(default_factory=list)
    tensors: list[bytes] = field(default_factory=list)
    data: bytes = b""
    alignment: int = 32
    magic: bytes = b"GGUF"
    version: int = 3
    tensor_count: int | None = None
    key_count: int | None = None

    def header(self) -> bytes:
        tensors = len(self.tensors) if self.tensor_count is None else self.tensor_count
        keys = len(self.pairs) if self.key_count is None else self.key_count
        start = self.magic + u32(self.version) + u64(tensors) + u64(keys)
        return start + b"".join(self.pairs) + b"".join(self.tensors)

    def bytes(self) -> bytes:
        header = self.header()
        return header + bytes(-len(header) % self.alignment) + self.data
