"""A real GGUF file in variants that a hostile hand would make: headers, shapes, types, places, values, metadata.

`variants` changes one thing at a time where it lies, so that everything around it stays sound and the change gets as
far as it can. `exercise` loads a variant as a language model and as an embedding model and runs it on the kernels.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from pathlib import Path

import gguf
import numpy as np

from engines.loading import load_encoder, load_generator
from turboprop.engines.contract import EngineOptions
from turboprop.engines.generation_contract import TokenRequest
from turboprop.errors import TurboPropError
from turboprop.models.checkpoint.open import open_checkpoint
from turboprop.models.local import LocalModel
from turboprop.models.tokenizer.load import encode_texts
from turboprop.types import TokenBatch

_INTEGERS = (0, 1, 2, 3, 7, 9, 31, 33, 63, 65, 255, 1 << 15, 1 << 20, (1 << 31) - 1, 1 << 31, (1 << 32) - 1)
_REALS = (0.0, -1.0, 1e-45, 1e38, float("inf"), float("-inf"), float("nan"))
_WIDTHS = (0, 1, 31, 33, 1 << 20, 1 << 31, 1 << 40, 1 << 62, (1 << 63) - 1, 1 << 63, (1 << 64) - 1)
_OFFSETS = (1, 31, 32, 1 << 31, 1 << 40, (1 << 63) - 1, (1 << 64) - 32)
_TYPES = (*range(0, 36, 3), 39, 99, (1 << 32) - 1)
_FORMATS = {
    gguf.GGUFValueType.UINT32: "<I",
    gguf.GGUFValueType.INT32: "<i",
    gguf.GGUFValueType.UINT64: "<Q",
    gguf.GGUFValueType.FLOAT32: "<f",
    gguf.GGUFValueType.BOOL: "<B",
}


def variants(source: Path) -> Iterator[tuple[str, bytes]]:
    """What was changed, and the file with the change."""
    data = source.read_bytes()
    reader = gguf.GGUFReader(source)

    def changed(at: int, kind: str, value: float) -> bytes:
        number = int(value) % (1 << 8 * struct.calcsize(kind)) if kind in ("<I", "<Q", "<B") else value
        if kind == "<i":
            number = (int(value) + (1 << 31)) % (1 << 32) - (1 << 31)
        part = struct.pack(kind, number)
        return data[:at] + part + data[at + len(part) :]

    for at, what in ((4, "version"), (8, "tensors"), (16, "values")):
        for value in (0, 1, 2, 1 << 31, (1 << 63) - 1, (1 << 64) - 1):
            yield f"{what} {value}", changed(at, "<I" if at == 4 else "<Q", value)
    for key, field in reader.fields.items():
        if not field.types or field.types[0] not in _FORMATS or key.startswith("GGUF."):
            continue
        kind = _FORMATS[field.types[0]]
        at = field.offset + 8 + len(key.encode()) + 4
        for value in _REALS if kind == "<f" else (0, 1, 2, 255) if kind == "<B" else _INTEGERS:
            yield f"{key} {value}", changed(at, kind, value)
    chosen = [tensor for tensor in reader.tensors if not any(f".{layer}." in tensor.name for layer in range(1, 99))]
    for tensor in chosen:
        at = tensor.field.offset + 8 + len(tensor.name.encode())
        axes = struct.unpack_from("<I", data, at)[0]
        for axis in range(axes):
            for width in _WIDTHS:
                yield f"{tensor.name} axis {axis} {width}", changed(at + 4 + 8 * axis, "<Q", width)
        for number in (0, 3, 4, 5, 1 << 31):
            yield f"{tensor.name} with {number} axes", changed(at, "<I", number)
        for number in _TYPES:
            yield f"{tensor.name} type {number}", changed(at + 4 + 8 * axes, "<I", number)
        for offset in _OFFSETS:
            yield f"{tensor.name} at {offset}", changed(at + 8 + 8 * axes, "<Q", offset)
        for name, block in (("ones", b"\xff"), ("zeros", b"\0"), ("largest", b"\xff\x7f\x7f\x7f")):
            size = int(tensor.n_bytes)
            filled = (block * (size // len(block) + 1))[:size]
            begin = int(tensor.data_offset)
            yield f"{tensor.name} of {name}", data[:begin] + filled + data[begin + size :]
    chance = random.Random(source.name)
    for number in range(40):
        spoiled = bytearray(data)
        for _ in range(chance.randint(1, 6)):
            place = chance.randrange(20_000 if chance.random() < 0.8 else len(spoiled))
            spoiled[place] = chance.choice([0, 1, 127, 128, 255, spoiled[place] ^ 1 << chance.randrange(8)])
        yield f"bytes {number}", bytes(spoiled)
    for size in (0, 3, 4, 24, 1000, len(data) // 2, len(data) - 1):
        yield f"{size} bytes", data[:size]


def exercise(path: Path, weights: str = "int8") -> str:
    """Load and run a file both ways; the words of the error, empty where it runs."""
    told = ""
    try:
        checkpoint = open_checkpoint(LocalModel("model", path, "path"))
        ids = encode_texts(checkpoint.tokenizer(), ["Once upon a time, 漢字\n"])[0]
    except TurboPropError as error:
        return str(error)
    try:
        with np.errstate(all="ignore"):
            options = EngineOptions(weights, context=128, threads=2)  # type: ignore[arg-type]
            generator = load_generator(checkpoint, "native", options)
            try:
                for token in generator.start(TokenRequest(tuple(ids[:20]), 3)):
                    assert token.id >= 0
            finally:
                generator.close()
    except TurboPropError as error:
        told = str(error)
    try:
        with np.errstate(all="ignore"):
            encoder = load_encoder(checkpoint, "native", EngineOptions(weights, threads=2))  # type: ignore[arg-type]
            try:
                encoder.encode(TokenBatch(np.array(ids[:40], np.int32), np.array([len(ids[:40])], np.int32)))
            finally:
                encoder.close()
    except TurboPropError as error:
        told = told or str(error)
    return told
