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
                centre = 1.0 if is_norm(name) and self.config["model_type"] != "gemma3_text" else 0.0
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
        if c["model_type"] == "qwen2":
            shapes |= {f"{p}self_attn.{name}_proj.bias": (q if name == "q" else kv,) for name in "qkv"}
        if c["model_type"] in ("qwen3", "gemma3_text"):
            shapes |= {f"{p}self_attn.q_norm.weight": (head,), f"{p}self_attn.k_norm.weight": (head,)}
        if c["model_type"] == "gemma3_text":
            shapes |= {f"{p}{side}_feedforward_layernorm.weight": (width,) for side in ("pre", "post")}
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
}
