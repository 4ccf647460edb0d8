"""Tiny language models with seeded weights, besides the decoders of `architectures.tiny_models`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np

from architectures.tiny_models import _DECODER, VOCABULARY, Shapes, TinyModel, _decoder

PHI = {
    "model_type": "phi",
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "partial_rotary_factor": 0.5,
    "layer_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "hidden_act": "gelu_new",
    "max_position_embeddings": 64,
    "vocab_size": VOCABULARY,
    "tie_word_embeddings": False,
}


def _phi(c: dict[str, Any]) -> Shapes:
    width, ff = c["hidden_size"], c["intermediate_size"]
    shapes: Shapes = {
        "model.embed_tokens.weight": (c["vocab_size"], width),
        "model.final_layernorm.weight": (width,),
        "model.final_layernorm.bias": (width,),
        "lm_head.weight": (c["vocab_size"], width),
        "lm_head.bias": (c["vocab_size"],),
    }
    for layer in range(c["num_hidden_layers"]):
        p = f"model.layers.{layer}."
        for name, shape in {
            "input_layernorm": (width,),
            "self_attn.q_proj": (width, width),
            "self_attn.k_proj": (width, width),
            "self_attn.v_proj": (width, width),
            "self_attn.dense": (width, width),
            "mlp.fc1": (ff, width),
            "mlp.fc2": (width, ff),
        }.items():
            shapes |= {f"{p}{name}.weight": shape, f"{p}{name}.bias": shape[:1]}
    return shapes


def _with_head(c: dict[str, Any]) -> Shapes:
    return {
        **{f"model.{name}": shape for name, shape in _decoder(c).items()},
        "lm_head.weight": (c["vocab_size"], c["hidden_size"]),
    }


LANGUAGE_MODELS = {
    "phi": TinyModel(PHI, _phi),
    "llama-head": TinyModel(
        {"model_type": "llama", "rope_theta": 10000.0, **_DECODER, "tie_word_embeddings": False}, _with_head
    ),
    "gemma3-causal": TinyModel(
        {
            "model_type": "gemma3_text",
            **_DECODER,
            "num_hidden_layers": 7,
            "head_dim": 16,
            "query_pre_attn_scalar": 16,
            "sliding_window": 8,
            "rope_theta": 1000000.0,
            "rope_local_base_freq": 10000.0,
            "hidden_activation": "gelu_pytorch_tanh",
        },
        lambda c: {f"model.{name}": shape for name, shape in _decoder(c).items()},
    ),
}


def write_phi_gguf(path: Path, *, fused: bool) -> Path:
    """The tiny Phi as llama.cpp's converter writes it: q, k and v in one tensor, or apart."""
    c, weights = PHI, LANGUAGE_MODELS["phi"].weights()
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.PHI2, c["num_hidden_layers"])
    writer = gguf.GGUFWriter(path, "phi2")
    writer.add_block_count(c["num_hidden_layers"])
    writer.add_context_length(c["max_position_embeddings"])
    writer.add_embedding_length(c["hidden_size"])
    writer.add_feed_forward_length(c["intermediate_size"])
    writer.add_head_count(c["num_attention_heads"])
    writer.add_head_count_kv(c["num_key_value_heads"])
    writer.add_layer_norm_eps(c["layer_norm_eps"])
    writer.add_rope_dimension_count(int(c["partial_rotary_factor"] * c["hidden_size"] / c["num_attention_heads"]))
    for layer in range(c["num_hidden_layers"] if fused else 0):
        for part in ("weight", "bias"):
            found = [weights.pop(f"model.layers.{layer}.self_attn.{name}_proj.{part}") for name in "qkv"]
            writer.add_tensor(f"blk.{layer}.attn_qkv.{part}", np.concatenate(found))
    for name, value in weights.items():
        writer.add_tensor(names.get_name(name, try_suffixes=(".weight", ".bias")), value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def write_four_bit(source: Path, path: Path, kind: gguf.GGMLQuantizationType) -> Path:
    """The model of a float32 GGUF file with its matrices in a type of four bits, where their rows are whole blocks."""
    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(path, str(reader.fields["general.architecture"].contents()))
    for name, field in reader.fields.items():
        if not name.startswith("GGUF.") and name != "general.architecture":
            element = field.types[1] if len(field.types) > 1 else None
            writer.add_key_value(name, field.contents(), field.types[0], element)
    for tensor in reader.tensors:
        values = tensor.data
        if values.ndim == 2 and values.shape[1] % 32 == 0:
            writer.add_tensor(tensor.name, gguf.quants.quantize(values, kind), raw_dtype=kind)
        else:
            writer.add_tensor(tensor.name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
