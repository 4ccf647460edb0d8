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
        writer.add_value_length(c["head_dim"])
    if "rms_norm_eps" in c:
        writer.add_layer_norm_rms_eps(c["rms_norm_eps"])
    else:
        writer.add_layer_norm_eps(c.get("layer_norm_eps", c.get("norm_eps", 1e-5 if "modern" in family else 1e-12)))
    if base := c.get("rope_theta", c.get("global_rope_theta")):
        writer.add_rope_freq_base(base)
    _add_families_own(writer, c)
    if window := c.get("local_attention", c.get("sliding_window")):
        writer.add_sliding_window(window)
    scaling = c.get("rope_scaling")
    if scaling and scaling["rope_type"] == "longrope":
        writer.add_rope_scaling_orig_ctx_len(c["original_max_position_embeddings"])
        trained = c["original_max_position_embeddings"]
        stretch = np.log(c["max_position_embeddings"] / trained) / np.log(trained)
        writer.add_rope_scaling_attn_factors(float(np.sqrt(1 + stretch)))
        for kind in ("short", "long"):
            writer.add_tensor(f"rope_factors_{kind}.weight", np.array(scaling[f"{kind}_factor"], np.float32))
    elif scaling:
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
    for name, value in _stacked(model).items():
        writer.add_tensor(_converted_name(names, name, model), _converted(value, name, model))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add_families_own(writer: gguf.GGUFWriter, c: dict[str, Any]) -> None:
    """Factors, caps, shares of heads that turn, and experts."""
    for key, add in {
        "embedding_multiplier": writer.add_embedding_scale,
        "attention_multiplier": writer.add_attention_scale,
        "residual_multiplier": writer.add_residual_scale,
        "logits_scaling": writer.add_logit_scale,
        "attn_logit_softcapping": writer.add_attn_logit_softcapping,
        "final_logit_softcapping": writer.add_final_logit_softcapping,
        "num_experts": writer.add_expert_count,
        "num_local_experts": writer.add_expert_count,
        "num_experts_per_tok": writer.add_expert_used_count,
        "moe_intermediate_size": writer.add_expert_feed_forward_length,
        "shared_expert_intermediate_size": writer.add_expert_shared_feed_forward_length,
    }.items():
        if key in c:
            add(c[key])
    if share := c.get("partial_rotary_factor"):
        writer.add_rope_dimension_count(int(share * c["hidden_size"] / c["num_attention_heads"]))


def _stacked(model: TinyModel) -> dict[str, np.ndarray]:
    """The weights, those of all experts of a layer in one tensor, named as the package's table wants them."""
    found: dict[str, np.ndarray] = {}
    experts: dict[str, list[np.ndarray]] = {}
    for name, value in model.weights().items():
        place, among, rest = name.partition(".experts.")
        if among:
            experts.setdefault(f"{place}.experts.{rest.partition('.')[2]}", []).append(value)
        elif name.endswith("input_linear.weight"):
            gate, up = np.split(value, 2, axis=1)
            stem = name.partition(".block_sparse_moe.")[0]
            found[f"{stem}.mlp.experts.gate_proj.weight"] = np.ascontiguousarray(gate)
            found[f"{stem}.mlp.experts.up_proj.weight"] = np.ascontiguousarray(up)
        elif name.endswith("shared_expert_gate.weight"):
            found[name] = value[0]
        else:
            found[name] = value
    return found | {name: np.stack(values) for name, values in experts.items()}


def _converted_name(names: gguf.TensorNameMap, name: str, model: TinyModel) -> str:
    for candidate in (name, f"model.{name}", f"encoder.{name}"):
        found = names.get_name(candidate, try_suffixes=(".weight", ".bias"))
        if found is not None:
            return found
    raise KeyError(f"{model.gguf_family} has no tensor {name}")


def _converted(value: np.ndarray, name: str, model: TinyModel) -> np.ndarray:
    if model.gguf_family in ("gemma-embedding", "gemma2") and name.endswith("norm.weight"):
        return value + 1
    if model.gguf_family in ("llama", "smollm3", "granite", "granitemoe") and name.endswith(
        ("q_proj.weight", "k_proj.weight")
    ):
        heads = model.config["num_attention_heads" if "q_proj" in name else "num_key_value_heads"]
        halves = value.reshape(heads, 2, value.shape[0] // heads // 2, *value.shape[1:])
        return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(value.shape))
    return value
