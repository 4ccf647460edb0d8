"""Gemma 3 text models (arXiv 2503.19786), and EmbeddingGemma (arXiv 2509.20354).

RMSNorm before and after each half of a layer, with weights that are stored less one (GGUF files have the
one added); embeddings times the root of the width; a norm over each head of q and k. Five of six layers
see a window, with a rotary base of their own. EmbeddingGemma attends to both sides.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from turboprop.architectures.decoder import head_names, logits
from turboprop.architectures.ops import Attention, Ops, Rope, T
from turboprop.architectures.rope import rope_of_config, rope_of_metadata
from turboprop.architectures.values import (
    MOST_LAYERS,
    Activation,
    activation,
    count,
    layer_kinds,
    real,
    split_evenly,
)

__all__ = ["forward", "head_names", "hyperparameters", "logits", "weight_names"]

_GLOBAL_BASE, _LOCAL_BASE = 1_000_000.0, 10_000.0
_EVERY = 6  # each sixth layer sees all tokens


@dataclass(frozen=True, slots=True)
class Hyperparameters:
    """Shape of one Gemma 2 or 3 text model; `windows` and `ropes` have one entry a layer."""

    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    width: int
    norm_eps: float
    norm_offset: float
    scale: float
    causal: bool
    activation: Activation
    windows: tuple[int | None, ...]
    ropes: tuple[Rope, ...]
    head_norms: bool = True
    score_cap: float = 0.0
    logit_cap: float = 0.0
    logit_scale: float = 1.0


def hyperparameters(source: Mapping[str, Any], origin: Literal["hf", "gguf"]) -> Hyperparameters:
    """Read the shape. KeyError names a missing key; ValueError one that is not supported."""
    return _of_metadata(source) if origin == "gguf" else _of_config(source)


def _of_config(source: Mapping[str, Any]) -> Hyperparameters:
    for key in ("attn_logit_softcapping",):
        if source.get(key):
            raise ValueError(f"{key} is {source[key]}")
    layers = count(source, "num_hidden_layers", most=MOST_LAYERS)
    head_dim = count(source, "head_dim", 256)
    heads, kv_heads = count(source, "num_attention_heads"), count(source, "num_key_value_heads")
    split_evenly(heads, kv_heads)
    every = count(source, "sliding_window_pattern", count(source, "_sliding_window_pattern", _EVERY))
    kinds = layer_kinds(source, layers)
    local = [kind == "sliding_attention" for kind in kinds] if kinds else [bool((i + 1) % every) for i in range(layers)]
    causal = not source.get("use_bidirectional_attention")
    window = count(source, "sliding_window", 4096)
    ropes = {
        False: rope_of_config(source, head_dim, _GLOBAL_BASE, "full_attention"),
        True: rope_of_config(
            source, head_dim, _LOCAL_BASE, "sliding_attention", base_key="rope_local_base_freq", scaled=False
        ),
    }
    return Hyperparameters(
        layers=layers,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        width=count(source, "hidden_size"),
        norm_eps=real(source, "rms_norm_eps", 1e-6),
        norm_offset=1.0,
        scale=real(source, "query_pre_attn_scalar", 256) ** -0.5,
        causal=causal,
        activation=activation(source, "hidden_activation", "gelu_pytorch_tanh"),
        windows=_windows(local, window, causal),
        ropes=tuple(ropes[is_local] for is_local in local),
    )


def _of_metadata(source: Mapping[str, Any]) -> Hyperparameters:
    family = "gemma-embedding" if source.get("general.architecture") == "gemma-embedding" else "gemma3"
    layers = count(source, f"{family}.block_count", most=MOST_LAYERS)
    heads, width = count(source, f"{family}.attention.head_count"), count(source, f"{family}.embedding_length")
    kv_heads = count(source, f"{family}.attention.head_count_kv", heads)
    split_evenly(heads, kv_heads)
    head_dim = count(source, f"{family}.attention.key_length", 256)
    everywhere = rope_of_metadata(source, family, head_dim, _GLOBAL_BASE, "half")
    near = Rope(real(source, f"{family}.rope.freq_base_swa", _LOCAL_BASE), everywhere.dims)
    local = [bool((layer + 1) % _EVERY) for layer in range(layers)]
    causal = family == "gemma3"
    return Hyperparameters(
        layers=layers,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        width=width,
        norm_eps=real(source, f"{family}.attention.layer_norm_rms_epsilon"),
        norm_offset=0.0,
        # Every released model but the 27B scales by its head width.
        scale=head_dim**-0.5 if layers != 62 else (width // heads) ** -0.5,
        causal=causal,
        activation="gelu_tanh",
        windows=_windows(local, count(source, f"{family}.attention.sliding_window"), causal),
        ropes=tuple(near if is_local else everywhere for is_local in local),
    )


def _windows(local: list[bool], window: int, causal: bool) -> tuple[int | None, ...]:
    """A bidirectional window is spread over both sides; the token itself is counted too."""
    reach = window if causal else window // 2 + 1
    return tuple(reach if is_local else None for is_local in local)


_TOP = {
    "tokens": ("embed_tokens.weight", "token_embd.weight"),
    "norm.weight": ("norm.weight", "output_norm.weight"),
}
_LAYER = {
    "attn_norm": ("input_layernorm", "attn_norm"),
    "q": ("self_attn.q_proj", "attn_q"),
    "q_norm": ("self_attn.q_norm", "attn_q_norm"),
    "k": ("self_attn.k_proj", "attn_k"),
    "k_norm": ("self_attn.k_norm", "attn_k_norm"),
    "v": ("self_attn.v_proj", "attn_v"),
    "out": ("self_attn.o_proj", "attn_output"),
    "attn_out_norm": ("post_attention_layernorm", "post_attention_norm"),
    "ffn_norm": ("pre_feedforward_layernorm", "ffn_norm"),
    "gate": ("mlp.gate_proj", "ffn_gate"),
    "up": ("mlp.up_proj", "ffn_up"),
    "down": ("mlp.down_proj", "ffn_down"),
    "ffn_out_norm": ("post_feedforward_layernorm", "post_ffw_norm"),
}


def weight_names(
    hp: Hyperparameters,
    origin: Literal["hf", "gguf"],
    stored: Container[str],
) -> dict[str, str]:
    """Canonical name to the checkpoint's name."""
    column = 0 if origin == "hf" else 1
    names = {canonical: row[column] for canonical, row in _TOP.items()}
    for layer in range(hp.layers):
        place = f"layers.{layer}" if origin == "hf" else f"blk.{layer}"
        for canonical, row in _LAYER.items():
            if canonical in ("q_norm", "k_norm") and not hp.head_norms:
                continue
            names[f"{layer}.{canonical}.weight"] = f"{place}.{row[column]}.weight"
    return names


def forward(ops: Ops[T], hp: Hyperparameters) -> T:
    """Hidden states after the final norm."""

    def norm(x: T, name: str, per_head: int | None = None) -> T:
        return ops.rms_norm(x, f"{name}.weight", hp.norm_eps, offset=hp.norm_offset, per_head=per_head)

    x = ops.scale(ops.tokens("tokens"), hp.width**0.5)
    for layer in range(hp.layers):
        p, rope = f"{layer}.", hp.ropes[layer]
        y = norm(x, f"{p}attn_norm")
        q, k, v = (ops.linear(y, f"{p}{name}.weight") for name in "qkv")
        if hp.head_norms:
            q, k = norm(q, f"{p}q_norm", hp.head_dim), norm(k, f"{p}k_norm", hp.head_dim)
        q, k = ops.rope(q, hp.head_dim, rope), ops.rope(k, hp.head_dim, rope)
        how = Attention(hp.heads, hp.kv_heads, hp.head_dim, hp.scale, hp.causal, hp.windows[layer], hp.score_cap)
        a = ops.linear(ops.attention(q, k, v, how), f"{p}out.weight")
        x = ops.add(x, norm(a, f"{p}attn_out_norm"))
        y = norm(x, f"{p}ffn_norm")
        h = ops.activation(ops.linear(y, f"{p}gate.weight"), hp.activation)
        h = ops.linear(ops.multiply(h, ops.linear(y, f"{p}up.weight")), f"{p}down.weight")
        x = ops.add(x, norm(h, f"{p}ffn_out_norm"))
    return norm(x, "norm")
