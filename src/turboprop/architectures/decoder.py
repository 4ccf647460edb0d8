"""The block that Llama and its kin share: RMSNorm first, rotary positions, grouped queries, gated MLP.

Pre-norm residual layers, then a final RMSNorm: Touvron et al. 2023 (arXiv 2302.13971). The files of the
families say what differs: which biases there are, per-head norms, windows, and how a file pairs the
rotated features.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

from turboprop.architectures.ops import Attention, Ops, Rope, T
from turboprop.architectures.rope import rope_of_config, rope_of_metadata
from turboprop.architectures.values import MOST_LAYERS, Activation, activation, count, real, split_evenly


@dataclass(frozen=True, slots=True)
class Hyperparameters:
    """Shape of one decoder. `windows` has one entry a layer, None where all earlier tokens are seen."""

    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    width: int
    norm_eps: float
    rope: Rope
    causal: bool
    windows: tuple[int | None, ...]
    activation: Activation
    qkv_bias: bool = False
    head_norms: bool = False


def of_config(source: Mapping[str, Any], *, base: float, windows: tuple[int | None, ...]) -> Hyperparameters:
    """From config.json; `base` is the family's default for the rotary base."""
    layers, heads = count(source, "num_hidden_layers", most=MOST_LAYERS), count(source, "num_attention_heads")
    width = count(source, "hidden_size")
    head_dim = count(source, "head_dim") if source.get("head_dim") is not None else split_evenly(width, heads)
    kv_heads = count(source, "num_key_value_heads", heads)
    split_evenly(heads, kv_heads)
    # Repositories of bidirectional models made from a decoder say so in one of these two words.
    causal = bool(source.get("is_causal", True)) and not source.get("use_bidirectional_attention")
    return Hyperparameters(
        layers=layers,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        width=width,
        norm_eps=real(source, "rms_norm_eps", 1e-6),
        rope=rope_of_config(source, head_dim, base),
        causal=causal,
        windows=windows,
        activation=activation(source, "hidden_act", "silu"),
    )


def of_metadata(
    source: Mapping[str, Any], family: str, *, pairing: Literal["half", "interleaved"] = "half"
) -> Hyperparameters:
    """From the keys `<family>.*` of a GGUF file."""
    if source.get(f"{family}.expert_count"):
        raise ValueError("a mixture of experts")
    layers = count(source, f"{family}.block_count", most=MOST_LAYERS)
    heads, width = count(source, f"{family}.attention.head_count"), count(source, f"{family}.embedding_length")
    key = f"{family}.attention.key_length"
    head_dim = count(source, key) if key in source else split_evenly(width, heads)
    kv_heads = count(source, f"{family}.attention.head_count_kv", heads)
    split_evenly(heads, kv_heads)
    return Hyperparameters(
        layers=layers,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        width=width,
        norm_eps=real(source, f"{family}.attention.layer_norm_rms_epsilon"),
        rope=rope_of_metadata(source, family, head_dim, 10000.0, pairing),
        causal=bool(source.get(f"{family}.attention.causal", True)),
        windows=(None,) * layers,
        activation="silu",
    )


_TOP = {
    "tokens": ("embed_tokens.weight", "token_embd.weight"),
    "norm.weight": ("norm.weight", "output_norm.weight"),
}
_LAYER = {
    "attn_norm": ("input_layernorm", "attn_norm"),
    "q": ("self_attn.q_proj", "attn_q"),
    "k": ("self_attn.k_proj", "attn_k"),
    "v": ("self_attn.v_proj", "attn_v"),
    "out": ("self_attn.o_proj", "attn_output"),
    "ffn_norm": ("post_attention_layernorm", "ffn_norm"),
    "gate": ("mlp.gate_proj", "ffn_gate"),
    "up": ("mlp.up_proj", "ffn_up"),
    "down": ("mlp.down_proj", "ffn_down"),
}
_HEAD_NORMS = {
    "q_norm": ("self_attn.q_norm", "attn_q_norm"),
    "k_norm": ("self_attn.k_norm", "attn_k_norm"),
}


def weight_names(hp: Hyperparameters, origin: Literal["hf", "gguf"], stored: Container[str]) -> dict[str, str]:
    """Canonical name to the checkpoint's name."""
    column = 0 if origin == "hf" else 1
    names = {canonical: row[column] for canonical, row in _TOP.items()}
    if origin == "gguf" and "rope_freqs.weight" in stored:
        names["rope_factors"] = "rope_freqs.weight"
    rows = {**_LAYER, **(_HEAD_NORMS if hp.head_norms else {})}
    for layer in range(hp.layers):
        place = f"layers.{layer}" if origin == "hf" else f"blk.{layer}"
        for canonical, row in rows.items():
            name = f"{place}.{row[column]}"
            names[f"{layer}.{canonical}.weight"] = f"{name}.weight"
            if (hp.qkv_bias and canonical in ("q", "k", "v")) or f"{name}.bias" in stored:
                names[f"{layer}.{canonical}.bias"] = f"{name}.bias"
    return names


class _Causal(Protocol):
    @property
    def causal(self) -> bool: ...


def head_names(hp: _Causal, origin: Literal["hf", "gguf"], stored: Container[str]) -> dict[str, str] | None:
    """Names of the output head; None where tokens see those after them."""
    if not hp.causal:
        return None
    name = "lm_head" if origin == "hf" else "output"
    pairs = {f"head.{part}": f"{name}.{part}" for part in ("weight", "bias")}
    return {canonical: stored_name for canonical, stored_name in pairs.items() if stored_name in stored}


def forward(ops: Ops[T], hp: Hyperparameters) -> T:
    """Hidden states after the final norm."""
    rope = replace(hp.rope, factors_weight="rope_factors") if ops.has("rope_factors") else hp.rope

    def linear(x: T, name: str) -> T:
        bias = f"{name}.bias"
        return ops.linear(x, f"{name}.weight", bias if ops.has(bias) else None)

    x = ops.tokens("tokens")
    for layer in range(hp.layers):
        p = f"{layer}."
        y = ops.rms_norm(x, f"{p}attn_norm.weight", hp.norm_eps)
        q, k, v = (linear(y, f"{p}{name}") for name in "qkv")
        if hp.head_norms:
            q = ops.rms_norm(q, f"{p}q_norm.weight", hp.norm_eps, per_head=hp.head_dim)
            k = ops.rms_norm(k, f"{p}k_norm.weight", hp.norm_eps, per_head=hp.head_dim)
        q, k = ops.rope(q, hp.head_dim, rope), ops.rope(k, hp.head_dim, rope)
        how = Attention(hp.heads, hp.kv_heads, hp.head_dim, hp.head_dim**-0.5, hp.causal, hp.windows[layer])
        x = ops.add(x, linear(ops.attention(q, k, v, how), f"{p}out"))
        y = ops.rms_norm(x, f"{p}ffn_norm.weight", hp.norm_eps)
        h = ops.multiply(ops.activation(linear(y, f"{p}gate"), hp.activation), linear(y, f"{p}up"))
        x = ops.add(x, linear(h, f"{p}down"))
    return ops.rms_norm(x, "norm.weight", hp.norm_eps)
