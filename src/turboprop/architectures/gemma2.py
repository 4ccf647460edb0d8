"""Gemma 2 (arXiv 2408.00118): Gemma 3's layer without norms over heads, and with capped scores and logits.

Each second layer sees all tokens, the others a window; all turn with one base.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from turboprop.architectures.gemma3 import Hyperparameters, forward, head_names, logits, weight_names
from turboprop.architectures.rope import rope_of_config, rope_of_metadata
from turboprop.architectures.values import MOST_LAYERS, activation, count, layer_kinds, optional, real, split_evenly

__all__ = ["forward", "head_names", "hyperparameters", "logits", "weight_names"]

_LARGEST_LAYERS = 46
"""Of the 27B."""


def hyperparameters(source: Mapping[str, Any], origin: Literal["hf", "gguf"]) -> Hyperparameters:
    """Read the shape. KeyError names a missing key; ValueError one that is not supported."""
    return _of_metadata(source) if origin == "gguf" else _of_config(source)


def _of_config(source: Mapping[str, Any]) -> Hyperparameters:
    layers = count(source, "num_hidden_layers", most=MOST_LAYERS)
    head_dim = count(source, "head_dim", 256)
    heads, kv_heads = count(source, "num_attention_heads"), count(source, "num_key_value_heads")
    split_evenly(heads, kv_heads)
    kinds, window = layer_kinds(source, layers), count(source, "sliding_window", 4096)
    near = [kind == "sliding_attention" for kind in kinds] if kinds else [layer % 2 == 0 for layer in range(layers)]
    return Hyperparameters(
        layers=layers,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        width=count(source, "hidden_size"),
        norm_eps=real(source, "rms_norm_eps", 1e-6),
        norm_offset=1.0,
        scale=real(source, "query_pre_attn_scalar", 256) ** -0.5,
        causal=not source.get("use_bidirectional_attention"),
        activation=activation(source, "hidden_activation", "gelu_pytorch_tanh"),
        windows=tuple(window if is_near else None for is_near in near),
        ropes=(rope_of_config(source, head_dim, 10000.0),) * layers,
        head_norms=False,
        score_cap=optional(source, "attn_logit_softcapping", 50.0),
        logit_cap=optional(source, "final_logit_softcapping", 30.0),
    )


def _of_metadata(source: Mapping[str, Any]) -> Hyperparameters:
    layers = count(source, "gemma2.block_count", most=MOST_LAYERS)
    heads, width = count(source, "gemma2.attention.head_count"), count(source, "gemma2.embedding_length")
    kv_heads = count(source, "gemma2.attention.head_count_kv", heads)
    split_evenly(heads, kv_heads)
    head_dim = count(source, "gemma2.attention.key_length", 256)
    window = count(source, "gemma2.attention.sliding_window", 4096)
    return Hyperparameters(
        layers=layers,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        width=width,
        norm_eps=real(source, "gemma2.attention.layer_norm_rms_epsilon"),
        norm_offset=0.0,
        # Every released model but the largest scales by its head width.
        scale=head_dim**-0.5 if layers != _LARGEST_LAYERS else (width // heads) ** -0.5,
        causal=bool(source.get("gemma2.attention.causal", True)),
        activation="gelu_tanh",
        windows=tuple(None if layer % 2 else window for layer in range(layers)),
        ropes=(rope_of_metadata(source, "gemma2", head_dim, 10000.0, "half"),) * layers,
        head_norms=False,
        score_cap=optional(source, "gemma2.attn_logit_softcapping", 50.0),
        logit_cap=optional(source, "gemma2.final_logit_softcapping", 30.0),
    )
