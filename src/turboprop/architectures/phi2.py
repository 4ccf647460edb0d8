"""Phi-1, Phi-1.5 and Phi-2 (arXiv 2306.11644): attention and MLP side by side under one LayerNorm.

Both halves of a layer read the same normalised input and are added to the residual together, as in GPT-J.
The rotation turns the first part of each head only; every linear layer and norm has a bias, the output
head too.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from turboprop.architectures.decoder import head_names, logits
from turboprop.architectures.ops import Attention, Ops, Rope, T
from turboprop.architectures.rope import rope_of_config, rope_of_metadata
from turboprop.architectures.values import MOST_LAYERS, Activation, activation, count, real, split_evenly

__all__ = ["forward", "head_names", "hyperparameters", "logits", "weight_names"]


@dataclass(frozen=True, slots=True)
class Hyperparameters:
    """Shape of one model."""

    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    width: int
    norm_eps: float
    rope: Rope
    activation: Activation
    causal: bool = True
    logit_cap: float = 0.0
    logit_scale: float = 1.0


def hyperparameters(source: Mapping[str, Any], origin: Literal["hf", "gguf"]) -> Hyperparameters:
    """Read the shape. KeyError names a missing key; ValueError one that is not supported."""
    if origin == "gguf":
        return _of_metadata(source)
    if source.get("qk_layernorm"):
        raise ValueError("qk_layernorm is on")
    heads, width = count(source, "num_attention_heads"), count(source, "hidden_size")
    head_dim, kv_heads = split_evenly(width, heads), count(source, "num_key_value_heads", heads)
    split_evenly(heads, kv_heads)
    # A config.json without the key means half of each head.
    stated = {"partial_rotary_factor": 0.5, **source}
    return Hyperparameters(
        layers=count(source, "num_hidden_layers", most=MOST_LAYERS),
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        width=width,
        norm_eps=real(source, "layer_norm_eps", 1e-5),
        rope=rope_of_config(stated, head_dim, 10000.0),
        activation=activation(source, "hidden_act", "gelu_new"),
    )


def _of_metadata(source: Mapping[str, Any]) -> Hyperparameters:
    heads, width = count(source, "phi2.attention.head_count"), count(source, "phi2.embedding_length")
    head_dim, kv_heads = split_evenly(width, heads), count(source, "phi2.attention.head_count_kv", heads)
    split_evenly(heads, kv_heads)
    return Hyperparameters(
        layers=count(source, "phi2.block_count", most=MOST_LAYERS),
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        width=width,
        norm_eps=real(source, "phi2.attention.layer_norm_epsilon"),
        rope=rope_of_metadata(source, "phi2", head_dim, 10000.0, "half"),
        activation="gelu_tanh",
    )


_TOP = {
    "norm": ("final_layernorm", "output_norm"),
}
_LAYER = {
    "norm": ("input_layernorm", "attn_norm"),
    "out": ("self_attn.dense", "attn_output"),
    "up": ("mlp.fc1", "ffn_up"),
    "down": ("mlp.fc2", "ffn_down"),
}
_APART = {
    "q": ("self_attn.q_proj", "attn_q"),
    "k": ("self_attn.k_proj", "attn_k"),
    "v": ("self_attn.v_proj", "attn_v"),
}


def weight_names(hp: Hyperparameters, origin: Literal["hf", "gguf"], stored: Container[str]) -> dict[str, str]:
    """Canonical name to the checkpoint's name. GGUF files have q, k and v in one tensor or in three."""
    column = 0 if origin == "hf" else 1
    prefix = "model." if "model.embed_tokens.weight" in stored else ""
    names = {"tokens": f"{prefix}embed_tokens.weight" if origin == "hf" else "token_embd.weight"}
    pairs = {canonical: f"{prefix}{row[column]}" for canonical, row in _TOP.items()}
    for layer in range(hp.layers):
        place = f"{prefix}layers.{layer}" if origin == "hf" else f"blk.{layer}"
        rows = {**_LAYER, **_APART}
        if origin == "gguf" and f"{place}.attn_qkv.weight" in stored:
            rows = {**_LAYER, "qkv": ("", "attn_qkv")}
        pairs |= {f"{layer}.{canonical}": f"{place}.{row[column]}" for canonical, row in rows.items()}
    for canonical, name in pairs.items():
        names |= {f"{canonical}.{part}": f"{name}.{part}" for part in ("weight", "bias")}
    return names


def forward(ops: Ops[T], hp: Hyperparameters) -> T:
    """Hidden states after the final norm."""

    def linear(x: T, name: str) -> T:
        return ops.linear(x, f"{name}.weight", f"{name}.bias")

    def norm(x: T, name: str) -> T:
        return ops.layer_norm(x, f"{name}.weight", f"{name}.bias", hp.norm_eps)

    q_width, kv_width = hp.heads * hp.head_dim, hp.kv_heads * hp.head_dim
    how = Attention(hp.heads, hp.kv_heads, hp.head_dim, hp.head_dim**-0.5, hp.causal)
    x = ops.tokens("tokens")
    for layer in range(hp.layers):
        p = f"{layer}."
        y = norm(x, f"{p}norm")
        if ops.has(f"{p}qkv.weight"):
            q, k, v = ops.split(linear(y, f"{p}qkv"), (q_width, kv_width, kv_width))
        else:
            q, k, v = (linear(y, f"{p}{name}") for name in "qkv")
        q, k = ops.rope(q, hp.head_dim, hp.rope), ops.rope(k, hp.head_dim, hp.rope)
        attended = linear(ops.attention(q, k, v, how), f"{p}out")
        inner = linear(ops.activation(linear(y, f"{p}up"), hp.activation), f"{p}down")
        x = ops.add(x, ops.add(attended, inner))
    return norm(x, "norm")
