"""BERT encoders: all-MiniLM, BGE, Arctic-embed, GTE, MS-MARCO cross-encoder bodies and their like.

Learned absolute positions, bidirectional attention, LayerNorm after each residual (post-norm).
Reference: Devlin et al. 2018; names as in `transformers.BertModel` and in llama.cpp's `bert` files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from turboprop.architectures.ops import Attention, Ops, T


@dataclass(frozen=True, slots=True)
class Hyperparameters:
    """Shape of one BERT encoder."""

    layers: int
    heads: int
    width: int
    feed_forward: int
    norm_eps: float
    activation: Literal["gelu", "gelu_tanh", "relu", "silu"] = "gelu"


_ACTIVATIONS = {"gelu": "gelu", "gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "relu": "relu"}


def hyperparameters(source: Mapping[str, Any], origin: Literal["hf", "gguf"]) -> Hyperparameters:
    """Read the shape. KeyError names a missing key; ValueError one that is not supported."""
    if origin == "gguf":
        return Hyperparameters(
            layers=source["bert.block_count"],
            heads=source["bert.attention.head_count"],
            width=source["bert.embedding_length"],
            feed_forward=source["bert.feed_forward_length"],
            norm_eps=source["bert.attention.layer_norm_epsilon"],
        )
    position_type = source.get("position_embedding_type", "absolute")
    if position_type != "absolute":
        raise ValueError(f"position_embedding_type {position_type!r}")
    activation = str(source.get("hidden_act", "gelu"))
    if activation not in _ACTIVATIONS:
        raise ValueError(f"hidden_act {activation!r}")
    return Hyperparameters(
        layers=source["num_hidden_layers"],
        heads=source["num_attention_heads"],
        width=source["hidden_size"],
        feed_forward=source["intermediate_size"],
        norm_eps=source.get("layer_norm_eps", 1e-12),
        activation=cast("Literal['gelu', 'gelu_tanh', 'relu']", _ACTIVATIONS[activation]),
    )


_TOP = {
    "tokens": ("embeddings.word_embeddings.weight", "token_embd.weight"),
    "positions": ("embeddings.position_embeddings.weight", "position_embd.weight"),
    "types": ("embeddings.token_type_embeddings.weight", "token_types.weight"),
    "norm.weight": ("embeddings.LayerNorm.weight", "token_embd_norm.weight"),
    "norm.bias": ("embeddings.LayerNorm.bias", "token_embd_norm.bias"),
}
_LAYER = {
    "q": ("attention.self.query", "attn_q"),
    "k": ("attention.self.key", "attn_k"),
    "v": ("attention.self.value", "attn_v"),
    "out": ("attention.output.dense", "attn_output"),
    "attn_norm": ("attention.output.LayerNorm", "attn_output_norm"),
    "up": ("intermediate.dense", "ffn_up"),
    "down": ("output.dense", "ffn_down"),
    "ffn_norm": ("output.LayerNorm", "layer_output_norm"),
}


def weight_names(hp: Hyperparameters, origin: Literal["hf", "gguf"]) -> dict[str, str]:
    """Canonical name to the checkpoint's name."""
    column = 0 if origin == "hf" else 1
    names = {canonical: row[column] for canonical, row in _TOP.items()}
    for layer in range(hp.layers):
        place = f"encoder.layer.{layer}" if origin == "hf" else f"blk.{layer}"
        for canonical, row in _LAYER.items():
            for part in ("weight", "bias"):
                names[f"{layer}.{canonical}.{part}"] = f"{place}.{row[column]}.{part}"
    return names


def forward(ops: Ops[T], hp: Hyperparameters) -> T:
    """Hidden states of the last layer."""
    head_dim = hp.width // hp.heads
    attention = Attention(hp.heads, hp.heads, head_dim, scale=head_dim**-0.5)
    x = ops.add(ops.tokens("tokens"), ops.positions("positions"))
    x = ops.add(x, ops.row("types", 0))
    x = ops.layer_norm(x, "norm.weight", "norm.bias", hp.norm_eps)
    for layer in range(hp.layers):
        p = f"{layer}."
        q, k, v = (ops.linear(x, f"{p}{name}.weight", f"{p}{name}.bias") for name in "qkv")
        a = ops.linear(ops.attention(q, k, v, attention), f"{p}out.weight", f"{p}out.bias")
        x = ops.layer_norm(ops.add(x, a), f"{p}attn_norm.weight", f"{p}attn_norm.bias", hp.norm_eps)
        h = ops.activation(ops.linear(x, f"{p}up.weight", f"{p}up.bias"), hp.activation)
        h = ops.linear(h, f"{p}down.weight", f"{p}down.bias")
        x = ops.layer_norm(ops.add(x, h), f"{p}ffn_norm.weight", f"{p}ffn_norm.bias", hp.norm_eps)
    return x
