"""Fuzzes the GGUF reader, the dequantisers and the tokenizers made from metadata.

    python tests/fuzz/fuzz_gguf.py CORPUS [-max_total_time=300] [other libFuzzer options]

needs the package `atheris`. CORPUS is a folder: it is seeded with small files of every kind and keeps
what libFuzzer finds. Whatever the bytes are, only a `TurboPropError` may come out.
"""

from __future__ import annotations

import struct
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from models.gguf_bytes import (
    ARRAY,
    BOOL,
    F32,
    FORMATS,
    I32,
    STRING,
    U8,
    U32,
    File,
    pair,
    tensor_info,
)
from turboprop.errors import TurboPropError
from turboprop.models.gguf.file import GGMLType, GGUFArray, GGUFFile
from turboprop.models.tokenizer.gguf import tokenizer_from_gguf

_MOST_VALUES = 1 << 20
_TEXT = "ab Ab\u00e9 \u6f22 <s> 12\n"


def exercise(path: Path) -> None:
    """Read all there is to read in a file; every `TurboPropError` is a pass."""
    try:
        file = GGUFFile.open(path)
    except TurboPropError:
        return
    with file:
        for value in file.metadata.values():
            _touch(value)
        for tensor in file.tensors.values():
            try:
                assert tensor.raw().nbytes == tensor.nbytes
                if tensor.size <= _MOST_VALUES:
                    assert tensor.dequantize().shape == tensor.shape
                    tensor.dequantize(slice(0, 1)) if tensor.shape else None
            except TurboPropError:
                continue
        try:
            tokenizer_from_gguf(file).encode(_TEXT)
        except TurboPropError:
            return


def _touch(value: object) -> None:
    if isinstance(value, GGUFArray):
        if len(value):
            _touch(value[0])
            _touch(value[-1])
        if value.element_type.name == "STRING":
            assert len(value.strings()) == len(value)
        elif value.element_type.name == "ARRAY":
            for item in value:
                _touch(item)
        else:
            assert len(value.numpy()) == len(value)


def seeds() -> dict[str, bytes]:
    """Small sound files that between them have every kind of value, tensor and tokenizer."""
    words = (ARRAY, (STRING, ["<unk>", "<s>", "</s>", "\u2581", "a", "b", "ab", "<0x0A>"]))
    vocabulary = [
        pair("tokenizer.ggml.tokens", *words),
        pair("tokenizer.ggml.scores", ARRAY, (F32, [0, 0, 0, -3, -4, -5, -1, 0])),
        pair("tokenizer.ggml.token_type", ARRAY, (I32, [2, 3, 3, 1, 1, 1, 1, 6])),
        pair("tokenizer.ggml.bos_token_id", U32, 1),
        pair("tokenizer.ggml.eos_token_id", U32, 2),
        pair("tokenizer.ggml.unknown_token_id", U32, 0),
        pair("tokenizer.ggml.add_eos_token", BOOL, 1),
    ]
    merges = pair("tokenizer.ggml.merges", ARRAY, (STRING, ["a b"]))
    found = {"empty": File().bytes()}
    for model in ("llama", "gpt2", "bert", "t5"):
        pairs = [pair("tokenizer.ggml.model", STRING, model), *vocabulary, merges]
        found[model] = File([*pairs, pair("tokenizer.ggml.pre", STRING, "qwen2")]).bytes()
    values = [pair(f"k{kind}", kind, 1) for kind in FORMATS]
    values += [pair(f"a{kind}", ARRAY, (kind, [1, 0])) for kind in FORMATS]
    values += [pair("n", ARRAY, (ARRAY, [(U8, [1]), (STRING, ["x" * 300, ""])]))]
    found["values"] = File([*values, pair("general.alignment", U32, 8)], alignment=8).bytes()
    infos, data = [], b""
    for kind in GGMLType:
        infos.append(tensor_info(kind.name, [kind.block_values, 2], kind, len(data)))
        data += struct.pack("<B", kind) * (2 * kind.block_bytes)
        data += bytes(-len(data) % 32)
    found["tensors"] = File([pair("general.architecture", STRING, "bert")], infos, data).bytes()
    found["split"] = File([pair("split.count", U8, 2), pair("split.no", U8, 0)]).bytes()
    return found


def main() -> None:
    import atheris

    corpus = Path(sys.argv[1])
    corpus.mkdir(parents=True, exist_ok=True)
    for name, data in seeds().items():
        (corpus / f"seed-{name}").write_bytes(data)
    atheris.instrument_all()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model-00001-of-00002.gguf"

        def once(data: bytes) -> None:
            path.write_bytes(data)
            exercise(path)

        atheris.Setup(sys.argv, once)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
