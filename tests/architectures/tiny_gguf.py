"""The tiny models as GGUF files, as llama.cpp's converter would write them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import gguf
import numpy as np

from architectures.tiny_models import TinyModel

_ARCH = {name: arch for arch, name in gguf.MODEL_ARCH_NAMES.items()}


def write_gguf(
    model: TinyModel,
    path: Path,
    *,
    pooling: gguf.PoolingType | None = None,
    tokenizer: Callable[[gguf.GGUFWriter], None] | None = None,
    tensors: Mapping[str, np.ndarray] = MappingProxyType({}),
    **extra: Any,
) -> Path:
    """Write the weights as float32, and `tensors` beside them.

    `tokenizer` adds its metadata; `extra` are further strings of metadata, keys with `__` for `.`.
    """
    family, c = model.gguf_family, model.config
    names = gguf.get_tensor_name_map(_ARCH[family], c["num_hidden_layers"])
    writer = gguf.GGUFWriter(path, family)
    writer.add_block_count(c["num_hidden_layers"])
    writer.add_context_length(c["max_position_embeddings"])
    writer.add_embedding_length(c["hidden_size"])
    writer.add_feed_forward_length(c["intermediate_size"])
    writer.add_head_count(c["num_attention_heads"])
    if "num_key_value_heads" in c:
        writer.add_head_count_kv(c["num_key_value_heads"])
    if "head_dim" in c:
        writer.add_key_length(c["head_dim"])
    if "rms_norm_eps" in c:
        writer.add_layer_norm_rms_eps(c["rms_norm_eps"])
    else:
        writer.add_layer_norm_eps(c.get("layer_norm_eps", c.get("norm_eps", 1e-5 if "modern" in family else 1e-12)))
    if base := c.get("rope_theta", c.get("global_rope_theta")):
        writer.add_rope_freq_base(base)
    if window := c.get("local_attention", c.get("sliding_window")):
        writer.add_sliding_window(window)
    if scaling := c.get("rope_scaling"):
        writer.add_rope_scaling_type(gguf.RopeScalingType(scaling["rope_type"]))
        writer.add_rope_scaling_factor(scaling["factor"])
        if "original_max_position_embeddings" in scaling:
            writer.add_rope_scaling_orig_ctx_len(scaling["original_max_position_embeddings"])
    if pooling is not None:
        writer.add_pooling_type(pooling)
    for key, value in extra.items():
        writer.add_string(key.replace("__", "."), value)
    if tokenizer is not None:
        tokenizer(writer)
    for name, value in tensors.items():
        writer.add_tensor(name, value)
    for name, value in model.weights().items():
        writer.add_tensor(_converted_name(names, name, model), _converted(value, name, model))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _converted_name(names: gguf.TensorNameMap, name: str, model: TinyModel) -> str:
    for candidate in (name, f"model.{name}", f"encoder.{name}"):
        found = names.get_name(candidate, try_suffixes=(".weight", ".bias"))
        if found is not None:
            return found
    raise KeyError(f"{model.gguf_family} has no tensor {name}")


def _converted(value: np.ndarray, name: str, model: TinyModel) -> np.ndarray:
    if model.gguf_family == "gemma-embedding" and name.endswith("norm.weight"):
        return value + 1
    if model.gguf_family == "llama" and name.endswith(("q_proj.weight", "k_proj.weight")):
        heads = model.config["num_attention_heads" if "q_proj" in name else "num_key_value_heads"]
        halves = value.reshape(heads, 2, value.shape[0] // heads // 2, *value.shape[1:])
        return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(value.shape))
    return value
