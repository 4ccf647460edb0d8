"""Tiny language models with seeded weights, besides the decoders of `architectures.tiny_models`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np

from architectures.tiny_models import _DECODER, MODELS, VOCABULARY, Shapes, TinyModel, _decoder

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
    **{
        name: TinyModel(
            MODELS[name].config,
            lambda c: {f"model.{name}": shape for name, shape in _decoder(c).items()},
            MODELS[name].gguf_family,
        )
        for name in ("gemma2", "granite", "granitemoe")
    },
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
        if values.ndim >= 2 and values.shape[-1] % 32 == 0:
            writer.add_tensor(tensor.name, gguf.quants.quantize(values, kind), raw_dtype=kind)
        else:
            writer.add_tensor(tensor.name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def write_super(path: Path, kind: gguf.GGMLQuantizationType, more: gguf.GGMLQuantizationType) -> Path:
    """A small llama of seeded bits in blocks of 256: `more` is the type of the head, `attn_v` and `ffn_down`."""
    width, inner, vocabulary = 256, 512, 300
    random = np.random.default_rng(3)
    scales = {"Q4_K": (0, [4e-4, 3e-3]), "Q5_K": (0, [2e-4, 3.1e-3]), "Q6_K": (208, [8e-5])}
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(2)
    writer.add_context_length(256)
    writer.add_embedding_length(width)
    writer.add_feed_forward_length(inner)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *map(str, range(41))])
    writer.add_token_scores([0.0] * vocabulary)
    writer.add_token_types([2, 3, 3, *[6] * 256, *[1] * 41])

    def matrix(name: str, rows: int, columns: int, which: gguf.GGMLQuantizationType = kind) -> None:
        at, values = scales[which.name]
        blocks = random.integers(0, 256, (rows, columns // 256, gguf.GGML_QUANT_SIZES[which][1]), np.uint8)
        blocks[:, :, at : at + 2 * len(values)] = np.array(values, np.float16).view(np.uint8)
        writer.add_tensor(name, blocks.reshape(rows, -1), raw_dtype=which)

    matrix("token_embd.weight", vocabulary, width)
    matrix("output.weight", vocabulary, width, more)
    writer.add_tensor("output_norm.weight", np.ones(width, np.float32))
    for layer in (f"blk.{number}." for number in range(2)):
        for name in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"{layer}{name}.weight", np.ones(width, np.float32))
        matrix(f"{layer}attn_q.weight", width, width)
        matrix(f"{layer}attn_k.weight", width // 2, width)
        matrix(f"{layer}attn_v.weight", width // 2, width, more)
        matrix(f"{layer}attn_output.weight", width, width)
        matrix(f"{layer}ffn_gate.weight", inner, width)
        matrix(f"{layer}ffn_up.weight", inner, width)
        matrix(f"{layer}ffn_down.weight", width, inner, more)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
