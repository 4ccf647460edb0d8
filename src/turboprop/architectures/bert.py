"""BERT encoders: all-MiniLM, BGE, Arctic-embed, GTE and their like, and RoBERTa and XLM-R (multilingual E5).

Learned absolute positions, bidirectional attention, LayerNorm after each residual (post-norm).
Reference: Devlin et al. 2018; names as in `transformers.BertModel` and in llama.cpp's `bert` files.
RoBERTa counts its positions from `pad_token_id + 1`; llama.cpp's files have the rows before that cut off.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from turboprop.architectures.ops import Attention, Ops, T
from turboprop.architectures.values import MOST_LAYERS, Activation, activation, count, real, split_evenly

_SHIFTED = {"roberta", "xlm-roberta", "camembert"}


@dataclass(frozen=True, slots=True)
class Hyperparameters:
    """Shape of one BERT encoder. `first_position` is the row of the position matrix of the first token."""

    layers: int
    heads: int
    width: int
    norm_eps: float
    activation: Activation = "gelu"
    first_position: int = 0


def hyperparameters(source: Mapping[str, Any], origin: Literal["hf", "gguf"]) -> Hyperparameters:
    """Read the shape. KeyError names a missing key; ValueError one that is not supported."""
    if origin == "gguf":
        heads, width = count(source, "bert.attention.head_count"), count(source, "bert.embedding_length")
        split_evenly(width, heads)
        return Hyperparameters(
            layers=count(source, "bert.block_count", most=MOST_LAYERS),
            heads=heads,
            width=width,
            norm_eps=real(source, "bert.attention.layer_norm_epsilon"),
        )
    position_type = source.get("position_embedding_type") or "absolute"
    if position_type != "absolute":
        raise ValueError(f"position_embedding_type {position_type!r}")
    if source.get("is_decoder"):
        raise ValueError("is_decoder is set")
    heads, width = count(source, "num_attention_heads"), count(source, "hidden_size")
    split_evenly(width, heads)
    return Hyperparameters(
        layers=count(source, "num_hidden_layers", most=MOST_LAYERS),
        heads=heads,
        width=width,
        norm_eps=real(source, "layer_norm_eps", 1e-12),
        activation=activation(source, "hidden_act", "gelu"),
        first_position=count(source, "pad_token_id", 1) + 1 if source.get("model_type") in _SHIFTED else 0,
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
# Checkpoints that went from TensorFlow to PyTorch before 2019 use its words, bert-base-uncased among them.
_OLD_WORDS = {"weight": "gamma", "bias": "beta"}


def weight_names(hp: Hyperparameters, origin: Literal["hf", "gguf"], stored: Container[str]) -> dict[str, str]:
    """Canonical name to the checkpoint's name."""
    column = 0 if origin == "hf" else 1
    names = {canonical: row[column] for canonical, row in _TOP.items()}
    for layer in range(hp.layers):
        place = f"encoder.layer.{layer}" if origin == "hf" else f"blk.{layer}"
        for canonical, row in _LAYER.items():
            for part in ("weight", "bias"):
                names[f"{layer}.{canonical}.{part}"] = f"{place}.{row[column]}.{part}"
    return {canonical: _as_stored(name, stored) for canonical, name in names.items()}


def _as_stored(name: str, stored: Container[str]) -> str:
    stem, _, part = name.rpartition(".")
    old = f"{stem}.{_OLD_WORDS.get(part)}"
    return old if name not in stored and old in stored else name


def head_names(hp: Hyperparameters, origin: Literal["hf", "gguf"], stored: Container[str]) -> None:
    """An encoder has none."""


def forward(ops: Ops[T], hp: Hyperparameters) -> T:
    """Hidden states of the last layer."""
    head_dim = hp.width // hp.heads
    attention = Attention(hp.heads, hp.heads, head_dim, scale=head_dim**-0.5)
    x = ops.add(ops.tokens("tokens"), ops.positions("positions", hp.first_position))
    if ops.has("types"):
        x = ops.add(x, ops.types("types"))
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
