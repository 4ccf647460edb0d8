"""DistilBERT: BERT's encoder with half the layers, no token types and names of its own (arXiv 1910.01108)."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any, Literal

from turboprop.architectures.bert import Hyperparameters, forward, head_names
from turboprop.architectures.values import MOST_LAYERS, activation, count, split_evenly

__all__ = ["forward", "head_names", "hyperparameters", "weight_names"]


def hyperparameters(source: Mapping[str, Any], origin: Literal["hf", "gguf"]) -> Hyperparameters:
    """Read the shape; llama.cpp has no form of this architecture."""
    if origin == "gguf":
        raise ValueError("a DistilBERT in GGUF")
    heads, width = count(source, "n_heads"), count(source, "dim")
    split_evenly(width, heads)
    return Hyperparameters(
        layers=count(source, "n_layers", most=MOST_LAYERS),
        heads=heads,
        width=width,
        norm_eps=1e-12,  # a constant of the reference implementation
        activation=activation(source, "activation", "gelu"),
    )


_TOP = {
    "tokens": "embeddings.word_embeddings.weight",
    "positions": "embeddings.position_embeddings.weight",
    "norm.weight": "embeddings.LayerNorm.weight",
    "norm.bias": "embeddings.LayerNorm.bias",
}
_LAYER = {
    "q": "attention.q_lin",
    "k": "attention.k_lin",
    "v": "attention.v_lin",
    "out": "attention.out_lin",
    "attn_norm": "sa_layer_norm",
    "up": "ffn.lin1",
    "down": "ffn.lin2",
    "ffn_norm": "output_layer_norm",
}


def weight_names(
    hp: Hyperparameters,
    origin: Literal["hf", "gguf"],
    stored: Container[str],
) -> dict[str, str]:
    """Canonical name to the checkpoint's name."""
    names = dict(_TOP)
    for layer in range(hp.layers):
        for canonical, row in _LAYER.items():
            for part in ("weight", "bias"):
                names[f"{layer}.{canonical}.{part}"] = f"transformer.layer.{layer}.{row}.{part}"
    return names
