"""The values of a GGUF header: a bounds-checked cursor, lazy arrays and typed look-ups.

Every read goes through `Cursor`, which compares Python integers with the size of the file before it
touches a byte: no count or length that a file claims is trusted, multiplied in a machine word or
allocated for.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from enum import IntEnum
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from turboprop.errors import ModelFormatError, UsageError
from turboprop.models.gguf.strings import StringTooLongError, decode_strings, string_offsets

if TYPE_CHECKING:
    from mmap import mmap
    from pathlib import Path

    from numpy.typing import NDArray

# Real files: keys under 100 bytes, chat templates under 100 KB, vocabularies of at most 300,000
# strings, character maps of 0.5 MB. The caps leave room and keep a hostile header to about a second.
MAX_KEY_BYTES = 65_535
MAX_STRING_BYTES = 1 << 24
MAX_ARRAY_STRINGS = 1 << 22
MAX_ARRAY_NUMBERS = 1 << 24
MAX_NESTED_ARRAYS = 1 << 12
MAX_NESTING = 4

_SHOWN = 80  # characters of a name or value that a message repeats: it may be hostile
_DAMAGED = "the file is damaged, cut short or badly written: get it again from its source"
_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")


class GGUFFormatError(ModelFormatError):
    """A GGUF file breaks its format. `offset` is the byte in that file (None: the file as a whole)."""

    def __init__(self, path: Path | str, defect: str, offset: int | None = None, advice: str = _DAMAGED) -> None:
        where = "" if offset is None else f" (byte {offset})"
        super().__init__(f"{path}: {defect}{where}; {advice}")
        self.path = str(path)
        self.defect = defect
        self.offset = offset


class GGUFValueType(IntEnum):
    """What a metadata value is; the number is what the file holds."""

    UINT8 = 0
    INT8 = 1
    UINT16 = 2
    INT16 = 3
    UINT32 = 4
    INT32 = 5
    FLOAT32 = 6
    BOOL = 7
    STRING = 8
    ARRAY = 9
    UINT64 = 10
    INT64 = 11
    FLOAT64 = 12


_DTYPES: dict[GGUFValueType, np.dtype[Any]] = {
    GGUFValueType.UINT8: np.dtype("u1"),
    GGUFValueType.INT8: np.dtype("i1"),
    GGUFValueType.UINT16: np.dtype("<u2"),
    GGUFValueType.INT16: np.dtype("<i2"),
    GGUFValueType.UINT32: np.dtype("<u4"),
    GGUFValueType.INT32: np.dtype("<i4"),
    GGUFValueType.FLOAT32: np.dtype("<f4"),
    GGUFValueType.BOOL: np.dtype("u1"),
    GGUFValueType.UINT64: np.dtype("<u8"),
    GGUFValueType.INT64: np.dtype("<i8"),
    GGUFValueType.FLOAT64: np.dtype("<f8"),
}
_SCALARS = {
    GGUFValueType.UINT8: struct.Struct("<B"),
    GGUFValueType.INT8: struct.Struct("<b"),
    GGUFValueType.UINT16: struct.Struct("<H"),
    GGUFValueType.INT16: struct.Struct("<h"),
    GGUFValueType.UINT32: _U32,
    GGUFValueType.INT32: struct.Struct("<i"),
    GGUFValueType.FLOAT32: struct.Struct("<f"),
    GGUFValueType.BOOL: struct.Struct("<B"),
    GGUFValueType.UINT64: _U64,
    GGUFValueType.INT64: struct.Struct("<q"),
    GGUFValueType.FLOAT64: struct.Struct("<d"),
}


def shown(text: object) -> str:
    """A value from a file as a message may show it: escaped and cut."""
    escaped = ascii(text) if isinstance(text, (bytes, str)) else str(text)
    return escaped if len(escaped) <= _SHOWN else escaped[:_SHOWN] + "..."


class GGUFArray(Sequence["MetadataValue"]):
    """An array of the header, decoded only when it is asked for; the file must still be open.

    Indexing decodes one element. `numpy()` and `strings()` decode all of it at once.
    """

    __slots__ = ("_buffer", "_items", "_offsets", "_start", "element_type", "path")

    def __init__(
        self,
        path: Path | str,
        buffer: mmap | bytes,
        element_type: GGUFValueType,
        start: int,
        length: int,
        *,
        offsets: NDArray[np.int64] | None = None,
        nested: tuple[GGUFArray, ...] | None = None,
    ) -> None:
        self.path = path
        self.element_type = element_type
        self._buffer = buffer
        self._start = start
        self._offsets = offsets
        self._items: range | tuple[GGUFArray, ...] = range(length) if nested is None else nested

    def __len__(self) -> int:
        return len(self._items)

    @overload
    def __getitem__(self, index: int) -> MetadataValue: ...
    @overload
    def __getitem__(self, index: slice) -> list[MetadataValue]: ...
    def __getitem__(self, index: int | slice) -> MetadataValue | list[MetadataValue]:
        if isinstance(index, slice):
            return [self._element(item) for item in self._items[index]]
        return self._element(self._items[index])

    def __iter__(self) -> Iterator[MetadataValue]:
        for item in self._items:
            yield self._element(item)

    def __repr__(self) -> str:
        return f"GGUFArray({self.element_type.name}, {len(self)} elements)"

    def numpy(self) -> NDArray[np.generic]:
        """A copy of the numbers (bool for BOOL). Raises `UsageError` for strings and nested arrays."""
        dtype = _DTYPES.get(self.element_type)
        if dtype is None:
            raise UsageError(f"{self!r} holds no numbers: use strings() or index it")
        values = np.frombuffer(self._open_buffer(), dtype, count=len(self), offset=self._start)
        return values.astype(np.bool_) if self.element_type is GGUFValueType.BOOL else values.copy()

    def strings(self) -> list[str]:
        """Every string; bytes that are not UTF-8 become U+FFFD. `UsageError` where it holds none."""
        if self._offsets is None:
            raise UsageError(f"{self!r} holds no strings: use numpy() or index it")
        first, last = int(self._offsets[0]), int(self._offsets[-1])
        return decode_strings(self._open_buffer()[first:last], self._offsets - first)

    def _element(self, item: int | GGUFArray) -> MetadataValue:
        if isinstance(item, GGUFArray):
            return item
        buffer = self._open_buffer()
        if self._offsets is not None:
            begin, end = int(self._offsets[item]) + 8, int(self._offsets[item + 1])
            return buffer[begin:end].decode("utf-8", "replace")
        scalar = _SCALARS[self.element_type]
        value: int | float = scalar.unpack_from(buffer, self._start + item * scalar.size)[0]
        return bool(value) if self.element_type is GGUFValueType.BOOL else value

    def _open_buffer(self) -> mmap | bytes:
        if not isinstance(self._buffer, bytes) and self._buffer.closed:
            raise UsageError(f"{self.path} was closed: read its arrays while it is open")
        return self._buffer


MetadataValue = bool | int | float | str | GGUFArray


class Cursor:
    """A position in a file's bytes that never leaves them."""

    __slots__ = ("_nested", "buffer", "path", "position", "size")

    def __init__(self, path: Path | str, buffer: mmap | bytes, size: int, position: int = 0) -> None:
        self.path = path
        self.buffer = buffer
        self.size = size
        self.position = position
        self._nested = 0

    def fail(self, defect: str, offset: int | None = None) -> GGUFFormatError:
        return GGUFFormatError(self.path, defect, self.position if offset is None else offset)

    def take(self, length: int, what: str) -> int:
        """Step over `length` bytes; where they begin."""
        begin = self.position
        if length > self.size - begin:
            raise self.fail(f"{what} needs {length} bytes but {self.size - begin} are left of the file's {self.size}")
        self.position = begin + length
        return begin

    def u32(self, what: str) -> int:
        return int(_U32.unpack_from(self.buffer, self.take(4, what))[0])

    def u64(self, what: str) -> int:
        return int(_U64.unpack_from(self.buffer, self.take(8, what))[0])

    def name(self, longest: int, what: str) -> str:
        """A length-prefixed key or name: UTF-8, not empty, at most `longest` bytes."""
        begin = self.position
        length = self.u64(f"the length of {what}")
        if length > longest:
            raise self.fail(f"{what} claims {length} bytes, more than the {longest} allowed", begin)
        start = self.take(length, what)
        try:
            text = self.buffer[start : start + length].decode("utf-8")
        except UnicodeDecodeError as error:
            raise self.fail(f"{what} is not UTF-8", start + error.start) from None
        if not text:
            raise self.fail(f"{what} is empty", begin)
        return text

    def value_type(self, what: str) -> GGUFValueType:
        begin = self.position
        number = self.u32(f"the value type of {what}")
        if number > 12:
            raise self.fail(f"{what} has value type {number}, known are 0 to 12", begin)
        return GGUFValueType(number)

    def value(self, kind: GGUFValueType, what: str) -> MetadataValue:
        """The value of the key `what`, stepping over it."""
        if kind is GGUFValueType.ARRAY:
            return self._array(what, 1)
        if kind is GGUFValueType.STRING:
            begin = self.position
            length = self.u64(f"the length of the string {what}")
            if length > MAX_STRING_BYTES:
                raise self.fail(
                    f"the string {what} claims {length} bytes, more than the {MAX_STRING_BYTES} allowed",
                    begin,
                )
            start = self.take(length, f"the string {what}")
            return self.buffer[start : start + length].decode("utf-8", "replace")
        scalar = _SCALARS[kind]
        begin = self.take(scalar.size, f"the value of {what}")
        value: int | float = scalar.unpack_from(self.buffer, begin)[0]
        # Anything but 0 is true, as for the reference, whose own test files have bools of 12 and 15.
        return bool(value) if kind is GGUFValueType.BOOL else value

    def _array(self, what: str, depth: int) -> GGUFArray:
        kind = self.value_type(f"the array {what}")
        begin = self.position
        count = self.u64(f"the length of the array {what}")
        if kind is GGUFValueType.ARRAY:
            return self._array_of_arrays(what, depth, count, begin)
        most = MAX_ARRAY_STRINGS if kind is GGUFValueType.STRING else MAX_ARRAY_NUMBERS
        if count > most:
            raise self.fail(f"the array {what} claims {count} elements, more than the {most} allowed", begin)
        if kind is GGUFValueType.STRING:
            # Each string has a length prefix of 8 bytes: checked before anything is allocated for them.
            if count * 8 > self.size - self.position:
                raise self.fail(f"the array {what} claims {count} strings, more than the file can hold", begin)
            return self._array_of_strings(what, count)
        dtype = _DTYPES[kind]
        start = self.take(count * dtype.itemsize, f"the array {what}")
        return GGUFArray(self.path, self.buffer, kind, start, count)

    def _array_of_strings(self, what: str, count: int) -> GGUFArray:
        start = self.position
        try:
            offsets = string_offsets(self.buffer, start, count, self.size, MAX_STRING_BYTES)
        except StringTooLongError as error:
            raise self.fail(
                f"a string of the array {what} claims {error.length} bytes, more than are left or allowed",
                error.offset,
            ) from None
        self.position = int(offsets[-1])
        return GGUFArray(self.path, self.buffer, GGUFValueType.STRING, start, count, offsets=offsets)

    def _array_of_arrays(self, what: str, depth: int, count: int, begin: int) -> GGUFArray:
        if depth == MAX_NESTING:
            raise self.fail(f"the array {what} is nested more than {MAX_NESTING} deep", begin)
        self._nested += count
        if self._nested > MAX_NESTED_ARRAYS:
            raise self.fail(f"more than {MAX_NESTED_ARRAYS} arrays inside arrays, in {what}", begin)
        start = self.position
        nested = tuple(self._array(what, depth + 1) for _ in range(count))
        return GGUFArray(self.path, self.buffer, GGUFValueType.ARRAY, start, count, nested=nested)


class GGUFMetadata(Mapping[str, MetadataValue]):
    """The key-value pairs of a file, with look-ups that check the kind of the value.

    Each look-up takes a default for a key that is absent (without one that is a `GGUFFormatError`, as
    is a value of another kind).
    """

    __slots__ = ("_types", "_values", "path")

    def __init__(
        self, path: Path | str, values: dict[str, MetadataValue], types: Mapping[str, GGUFValueType] | None = None
    ) -> None:
        self.path = path
        self._values = values
        self._types = types or {}

    def type_of(self, key: str) -> GGUFValueType:
        """How the file stores a value, such as UINT32; KeyError for a key that is absent."""
        return self._types[key]

    def __getitem__(self, key: str) -> MetadataValue:
        return self._values[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def integer(self, key: str, default: int | None = None) -> int:
        value = self._present(key, default)
        if isinstance(value, bool) or not isinstance(value, int):
            raise self._wrong(key, "an integer", value)
        return value

    def flag(self, key: str, default: bool | None = None) -> bool:
        value = self._present(key, default)
        if not isinstance(value, bool):
            raise self._wrong(key, "a bool", value)
        return value

    def text(self, key: str, default: str | None = None) -> str:
        value = self._present(key, default)
        if not isinstance(value, str):
            raise self._wrong(key, "a string", value)
        return value

    def array(self, key: str) -> GGUFArray:
        value = self._present(key, None)
        if not isinstance(value, GGUFArray):
            raise self._wrong(key, "an array", value)
        return value

    def strings(self, key: str) -> list[str]:
        array = self.array(key)
        if array.element_type is not GGUFValueType.STRING:
            raise self._wrong(key, "an array of strings", array)
        return array.strings()

    def _present(self, key: str, default: MetadataValue | None) -> MetadataValue:
        value = self._values.get(key, default)
        if value is None:
            raise GGUFFormatError(self.path, f"the metadata has no key {key}")
        return value

    def _wrong(self, key: str, wanted: str, value: MetadataValue) -> GGUFFormatError:
        return GGUFFormatError(self.path, f"the metadata key {key} is {shown(value)}, not {wanted}")
