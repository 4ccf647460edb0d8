"""Tiny models of every architecture: a configuration, the shapes of the weights, and seeded values.

Written from the models' own repositories, so that nothing here is read from the code under test. Widths
are small, windows and scalings are switched on, and heads, groups and head widths are chosen apart from
each other wherever the architecture lets them differ.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

VOCABULARY = 64
INPUTS = ([3, 9, 27, 4], [5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25], [7])

Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class TinyModel:
    """`gguf_family` is llama.cpp's name for the architecture, empty where it has none."""

    config: dict[str, Any]
    shapes: Callable[[dict[str, Any]], Shapes]
    gguf_family: str = ""

    def weights(self) -> dict[str, np.ndarray]:
        """Small values; norms near 1 (near 0 where the model adds one), so that no layer saturates."""
        made = {}
        for name, shape in self.shapes(self.config).items():
            random = np.random.default_rng(zlib.crc32(name.encode()))
            values = random.standard_normal(shape).astype(np.float32)
            if len(shape) == 1:
                centre = 1.0 if is_norm(name) and self.config["model_type"] not in ("gemma2", "gemma3_text") else 0.0
                made[name] = (centre + 0.1 * values).astype(np.float32)
            else:
                made[name] = (values * (0.7 / np.sqrt(shape[-1]) if "embed" not in name else 0.5)).astype(np.float32)
        return made

    def save(self, folder: Path) -> Path:
        """A folder with config.json and model.safetensors."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps(self.config))
        save_file(self.weights(), folder / "model.safetensors")
        return folder


def is_norm(name: str) -> bool:
    return name.endswith("weight") and ("norm" in name.lower() or name.startswith("emb_ln"))


def _decoder(c: dict[str, Any]) -> Shapes:
    width, ff = c["hidden_size"], c["intermediate_size"]
    head = c.get("head_dim") or width // c["num_attention_heads"]
    q, kv = c["num_attention_heads"] * head, c["num_key_value_heads"] * head
    shapes: Shapes = {"embed_tokens.weight": (c["vocab_size"], width), "norm.weight": (width,)}
    for layer in range(c["num_hidden_layers"]):
        p = f"layers.{layer}."
        shapes |= {
            f"{p}input_layernorm.weight": (width,),
            f"{p}post_attention_layernorm.weight": (width,),
            f"{p}self_attn.q_proj.weight": (q, width),
            f"{p}self_attn.k_proj.weight": (kv, width),
            f"{p}self_attn.v_proj.weight": (kv, width),
            f"{p}self_attn.o_proj.weight": (width, q),
            f"{p}mlp.gate_proj.weight": (ff, width),
            f"{p}mlp.up_proj.weight": (ff, width),
            f"{p}mlp.down_proj.weight": (width, ff),
        }
        if c["model_type"] in ("qwen2", "qwen2_moe"):
            shapes |= {f"{p}self_attn.{name}_proj.bias": (q if name == "q" else kv,) for name in "qkv"}
        if c["model_type"] in ("qwen3", "qwen3_moe", "gemma3_text"):
            shapes |= {f"{p}self_attn.q_norm.weight": (head,), f"{p}self_attn.k_norm.weight": (head,)}
        if c["model_type"] in ("gemma2", "gemma3_text"):
            shapes |= {f"{p}{side}_feedforward_layernorm.weight": (width,) for side in ("pre", "post")}
        if c["model_type"] in ("olmo2", "olmoe"):
            shapes |= {f"{p}self_attn.q_norm.weight": (q,), f"{p}self_attn.k_norm.weight": (kv,)}
        if c["model_type"] == "olmo2":
            del shapes[f"{p}input_layernorm.weight"]
            shapes[f"{p}post_feedforward_layernorm.weight"] = (width,)
        if c["model_type"] == "phi3":
            for name in ("self_attn.q", "self_attn.k", "self_attn.v", "mlp.gate", "mlp.up"):
                del shapes[f"{p}{name}_proj.weight"]
            shapes[f"{p}self_attn.qkv_proj.weight"] = (q + 2 * kv, width)
            shapes[f"{p}mlp.gate_up_proj.weight"] = (2 * ff, width)
        if "num_experts_per_tok" in c:
            shapes = _with_experts(shapes, c, p)
    return shapes


def _with_experts(shapes: Shapes, c: dict[str, Any], p: str) -> Shapes:
    """The MLP of one layer as each family names its experts; Granite has them in one tensor."""
    shapes = {name: shape for name, shape in shapes.items() if not name.startswith(f"{p}mlp.")}
    width, number = c["hidden_size"], c.get("num_experts") or c["num_local_experts"]
    ff = c.get("moe_intermediate_size", c["intermediate_size"])
    if c["model_type"] == "granitemoe":
        return shapes | {
            f"{p}block_sparse_moe.router.layer.weight": (number, width),
            f"{p}block_sparse_moe.input_linear.weight": (number, 2 * ff, width),
            f"{p}block_sparse_moe.output_linear.weight": (number, width, ff),
        }
    block, parts = "mlp", ("gate_proj", "up_proj", "down_proj")
    if c["model_type"] == "mixtral":
        block, parts = "block_sparse_moe", ("w1", "w3", "w2")
    shapes[f"{p}{block}.gate.weight"] = (number, width)
    for expert in range(number):
        for part, shape in zip(parts, ((ff, width), (ff, width), (width, ff)), strict=True):
            shapes[f"{p}{block}.experts.{expert}.{part}.weight"] = shape
    if inner := c.get("shared_expert_intermediate_size"):
        shapes[f"{p}mlp.shared_expert_gate.weight"] = (1, width)
        for part, shape in zip(parts, ((inner, width), (inner, width), (width, inner)), strict=True):
            shapes[f"{p}mlp.shared_expert.{part}.weight"] = shape
    return shapes


def _bert(c: dict[str, Any]) -> Shapes:
    width, ff = c["hidden_size"], c["intermediate_size"]
    shapes: Shapes = {
        "embeddings.word_embeddings.weight": (c["vocab_size"], width),
        "embeddings.position_embeddings.weight": (c["max_position_embeddings"], width),
        "embeddings.token_type_embeddings.weight": (c["type_vocab_size"], width),
        "embeddings.LayerNorm.weight": (width,),
        "embeddings.LayerNorm.bias": (width,),
    }
    for layer in range(c["num_hidden_layers"]):
        p = f"encoder.layer.{layer}."
        for name, shape in {
            "attention.self.query": (width, width),
            "attention.self.key": (width, width),
            "attention.self.value": (width, width),
            "attention.output.dense": (width, width),
            "intermediate.dense": (ff, width),
            "output.dense": (width, ff),
            "attention.output.LayerNorm": (width,),
            "output.LayerNorm": (width,),
        }.items():
            shapes |= {f"{p}{name}.weight": shape, f"{p}{name}.bias": shape[:1]}
    return shapes


def _distilbert(c: dict[str, Any]) -> Shapes:
    width, ff = c["dim"], c["hidden_dim"]
    shapes: Shapes = {
        "embeddings.word_embeddings.weight": (c["vocab_size"], width),
        "embeddings.position_embeddings.weight": (c["max_position_embeddings"], width),
        "embeddings.LayerNorm.weight": (width,),
        "embeddings.LayerNorm.bias": (width,),
    }
    for layer in range(c["n_layers"]):
        p = f"transformer.layer.{layer}."
        for name, shape in {
            **{f"attention.{part}_lin": (width, width) for part in ("q", "k", "v", "out")},
            "ffn.lin1": (ff, width),
            "ffn.lin2": (width, ff),
            "sa_layer_norm": (width,),
            "output_layer_norm": (width,),
        }.items():
            shapes |= {f"{p}{name}.weight": shape, f"{p}{name}.bias": shape[:1]}
    return shapes


def _nomic(c: dict[str, Any]) -> Shapes:
    width, ff = c["hidden_size"], c["intermediate_size"]
    shapes: Shapes = {
        "embeddings.word_embeddings.weight": (c["vocab_size"], width),
        "embeddings.token_type_embeddings.weight": (c["type_vocab_size"], width),
        "embeddings.LayerNorm.weight": (width,),
        "embeddings.LayerNorm.bias": (width,),
    }
    for layer in range(c["num_hidden_layers"]):
        p = f"layers.{layer}."
        shapes |= {f"{p}self_attn.{name}_proj.weight": (width, width) for name in "qkvo"}
        shapes |= {
            f"{p}mlp.up_proj.weight": (ff, width),
            f"{p}mlp.gate_proj.weight": (ff, width),
            f"{p}mlp.down_proj.weight": (width, ff),
        }
        for norm in ("post_attention_layernorm", "post_mlp_layernorm"):
            shapes |= {f"{p}{norm}.weight": (width,), f"{p}{norm}.bias": (width,)}
    return shapes


def _modernbert(c: dict[str, Any]) -> Shapes:
    width, ff = c["hidden_size"], c["intermediate_size"]
    shapes: Shapes = {
        "embeddings.tok_embeddings.weight": (c["vocab_size"], width),
        "embeddings.norm.weight": (width,),
        "final_norm.weight": (width,),
    }
    for layer in range(c["num_hidden_layers"]):
        p = f"layers.{layer}."
        if layer:
            shapes[f"{p}attn_norm.weight"] = (width,)
        shapes |= {
            f"{p}attn.Wqkv.weight": (3 * width, width),
            f"{p}attn.Wo.weight": (width, width),
            f"{p}mlp_norm.weight": (width,),
            f"{p}mlp.Wi.weight": (2 * ff, width),
            f"{p}mlp.Wo.weight": (width, ff),
        }
    return shapes


_DECODER = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "vocab_size": VOCABULARY,
    "rms_norm_eps": 1e-6,
}
_ENCODER = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 48,
    "vocab_size": VOCABULARY,
    "type_vocab_size": 2,
}

MODELS = {
    "bert": TinyModel({"model_type": "bert", "hidden_act": "gelu", **_ENCODER}, _bert, "bert"),
    "xlm-roberta": TinyModel(
        {"model_type": "xlm-roberta", "pad_token_id": 1, **_ENCODER, "type_vocab_size": 1, "layer_norm_eps": 1e-5},
        _bert,
    ),
    "distilbert": TinyModel(
        {
            "model_type": "distilbert",
            "dim": 32,
            "hidden_dim": 48,
            "n_layers": 2,
            "n_heads": 4,
            "vocab_size": VOCABULARY,
            "max_position_embeddings": 48,
        },
        _distilbert,
    ),
    "nomic_bert": TinyModel(
        {"model_type": "nomic_bert", "hidden_act": "silu", "rope_parameters": None, **_ENCODER}, _nomic
    ),
    "modernbert": TinyModel(
        {
            "model_type": "modernbert",
            **{key: value for key, value in _ENCODER.items() if key != "type_vocab_size"},
            "num_hidden_layers": 5,
            "local_attention": 6,
            "pad_token_id": 0,
            "global_attn_every_n_layers": 3,
            "global_rope_theta": 160000.0,
            "local_rope_theta": 10000.0,
        },
        _modernbert,
        "modern-bert",
    ),
    "qwen2": TinyModel({"model_type": "qwen2", "rope_theta": 1000000.0, **_DECODER}, _decoder, "qwen2"),
    "qwen3": TinyModel({"model_type": "qwen3", "rope_theta": 1000000.0, "head_dim": 16, **_DECODER}, _decoder, "qwen3"),
    "qwen3-yarn": TinyModel(
        {
            "model_type": "qwen3",
            "rope_theta": 10000.0,
            "head_dim": 16,
            **_DECODER,
            "rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16},
        },
        _decoder,
        "qwen3",
    ),
    "llama": TinyModel(
        {
            "model_type": "llama",
            "rope_theta": 10000.0,
            **_DECODER,
            "rope_scaling": {
                "rope_type": "llama3",
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 32,
            },
        },
        _decoder,
    ),
    "llama-linear": TinyModel(
        {
            "model_type": "llama",
            "rope_theta": 10000.0,
            **_DECODER,
            "rope_scaling": {"rope_type": "linear", "factor": 2.0},
        },
        _decoder,
        "llama",
    ),
    "mistral": TinyModel(
        {"model_type": "mistral", "rope_theta": 10000.0, "sliding_window": 5, **_DECODER, "head_dim": 8}, _decoder
    ),
    "gemma3": TinyModel(
        {
            "model_type": "gemma3_text",
            **_DECODER,
            "num_hidden_layers": 7,
            "head_dim": 16,
            "query_pre_attn_scalar": 16,
            "sliding_window": 8,
            "use_bidirectional_attention": True,
            "rope_theta": 1000000.0,
            "rope_local_base_freq": 10000.0,
            "hidden_activation": "gelu_pytorch_tanh",
        },
        _decoder,
        "gemma-embedding",
    ),
    "gemma2": TinyModel(
        {
            "model_type": "gemma2",
            **_DECODER,
            "num_hidden_layers": 4,
            "head_dim": 16,
            "query_pre_attn_scalar": 16,
            "sliding_window": 8,
            "rope_theta": 10000.0,
            "attn_logit_softcapping": 1.5,
            "final_logit_softcapping": 2.0,
            "hidden_activation": "gelu_pytorch_tanh",
        },
        _decoder,
        "gemma2",
    ),
    "phi3": TinyModel(
        {"model_type": "phi3", "rope_theta": 10000.0, **_DECODER, "pad_token_id": 0, "tie_word_embeddings": True},
        _decoder,
        "phi3",
    ),
    "phi3-longrope": TinyModel(
        {
            "model_type": "phi3",
            "rope_theta": 10000.0,
            **_DECODER,
            "pad_token_id": 0,
            "tie_word_embeddings": True,
            "hidden_size": 64,
            "partial_rotary_factor": 0.75,
            "original_max_position_embeddings": 32,
            "rope_scaling": {
                "rope_type": "longrope",
                "short_factor": [1.0, 1.1, 1.3, 1.5, 1.6, 2.0],
                "long_factor": [1.0, 2.0, 3.0, 5.0, 8.0, 9.0],
            },
        },
        _decoder,
        "phi3",
    ),
    "smollm3": TinyModel(
        {
            "model_type": "smollm3",
            "rope_theta": 2000000.0,
            **_DECODER,
            "num_hidden_layers": 5,
            "pad_token_id": 0,
            "no_rope_layers": [1, 1, 1, 0, 1],
        },
        _decoder,
        "smollm3",
    ),
    "granite": TinyModel(
        {
            "model_type": "granite",
            "rope_theta": 10000.0,
            **_DECODER,
            "embedding_multiplier": 3.0,
            "attention_multiplier": 0.25,
            "residual_multiplier": 0.4,
            "logits_scaling": 2.0,
            "tie_word_embeddings": True,
        },
        _decoder,
        "granite",
    ),
    "olmo2": TinyModel(
        {"model_type": "olmo2", "rope_theta": 500000.0, **_DECODER, "tie_word_embeddings": True}, _decoder, "olmo2"
    ),
    "ministral": TinyModel(
        {
            "model_type": "ministral",
            "rope_theta": 10000.0,
            **_DECODER,
            "head_dim": 8,
            "sliding_window": 5,
            "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
            "tie_word_embeddings": True,
        },
        _decoder,
    ),
    "qwen3_moe": TinyModel(
        {
            "model_type": "qwen3_moe",
            "rope_theta": 1000000.0,
            **_DECODER,
            "head_dim": 16,
            "num_experts": 6,
            "num_experts_per_tok": 3,
            "moe_intermediate_size": 24,
            "norm_topk_prob": True,
            "tie_word_embeddings": True,
        },
        _decoder,
        "qwen3moe",
    ),
    "qwen2_moe": TinyModel(
        {
            "model_type": "qwen2_moe",
            "rope_theta": 1000000.0,
            **_DECODER,
            "num_experts": 6,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 24,
            "shared_expert_intermediate_size": 40,
            "norm_topk_prob": False,
            "tie_word_embeddings": True,
        },
        _decoder,
        "qwen2moe",
    ),
    "olmoe": TinyModel(
        {
            "model_type": "olmoe",
            "rope_theta": 10000.0,
            **_DECODER,
            "num_key_value_heads": 4,
            "num_experts": 6,
            "num_experts_per_tok": 2,
            "tie_word_embeddings": True,
        },
        _decoder,
        "olmoe",
    ),
    "mixtral": TinyModel(
        {
            "model_type": "mixtral",
            "rope_theta": 1000000.0,
            **_DECODER,
            "num_local_experts": 5,
            "num_experts_per_tok": 2,
            "tie_word_embeddings": True,
        },
        _decoder,
        "llama",
    ),
    "granitemoe": TinyModel(
        {
            "model_type": "granitemoe",
            "rope_theta": 10000.0,
            **_DECODER,
            "num_local_experts": 5,
            "num_experts_per_tok": 2,
            "embedding_multiplier": 3.0,
            "attention_multiplier": 0.25,
            "residual_multiplier": 0.4,
            "logits_scaling": 2.0,
            "tie_word_embeddings": True,
        },
        _decoder,
        "granitemoe",
    ),
}
