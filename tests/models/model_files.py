"""The bytes of small but well-formed model files, made by hand from the format descriptions."""

from __future__ import annotations

import json
import random
import struct


def safetensors(payload: int = 4096, seed: int = 0) -> bytes:
    """One uint8 tensor of `payload` bytes."""
    header = json.dumps({"t": {"dtype": "U8", "shape": [payload], "data_offsets": [0, payload]}}).encode()
    return struct.pack("<Q", len(header)) + header + random.Random(seed).randbytes(payload)


def gguf(payload: int = 4096, seed: int = 0, version: int = 3) -> bytes:
    """A header without tensors or keys, then bytes."""
    return b"GGUF" + struct.pack("<IQQ", version, 0, 0) + random.Random(seed).randbytes(payload)


def sentence_transformer(payload: int = 4096, seed: int = 0) -> dict[str, bytes]:
    """The files of a repository as authors publish it, with the weights in formats that we leave alone."""
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
    ]
    return {
        ".gitattributes": b"*.bin lfs",
        "README.md": b"# A model",
        "config.json": b'{"model_type": "bert"}',
        "modules.json": json.dumps(modules).encode(),
        "sentence_bert_config.json": b'{"max_seq_length": 256}',
        "config_sentence_transformers.json": b'{"prompts": {}}',
        "tokenizer.json": b'{"version": "1.0"}',
        "tokenizer_config.json": b"{}",
        "special_tokens_map.json": b"{}",
        "vocab.txt": b"[PAD]\n[UNK]\n",
        "1_Pooling/config.json": b'{"pooling_mode_mean_tokens": true}',
        "model.safetensors": safetensors(payload, seed),
        "pytorch_model.bin": b"pickle",
        "tf_model.h5": b"tensorflow",
        "flax_model.msgpack": b"flax",
        "rust_model.ot": b"rust",
        "onnx/model.onnx": b"onnx",
        "onnx/config.json": b"{}",
        "openvino/openvino_model.xml": b"xml",
        "train_script.py": b"import os",
        "data_config.json": b"[]",
    }
