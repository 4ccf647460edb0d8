"""nomic-bert encoders: nomic-embed-text, CodeRankEmbed, Arctic-embed-m-long.

BERT with rotary positions, a SwiGLU MLP and (mostly) no biases; LayerNorm after each residual (arXiv
2402.01613). Names as in the model's own repositories, in `transformers.NomicBertModel` (separate q, k, v)
and in llama.cpp's files.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from turboprop.architectures.ops import Attention, Ops, Rope, T
from turboprop.architectures.rope import rope_of_config, rope_of_metadata
from turboprop.architectures.values import MOST_LAYERS, activation, count, real, split_evenly

LONG_FACTOR = "rotary_scaling_factor"
"""The key of config.json that turns dynamic scaling of the positions on; see `models.checkpoint`."""

_BASE = 1000.0  # of every released model; the card of nomic-embed-text states it
_TRAINED = 2048


@dataclass(frozen=True, slots=True)
class Hyperparameters:
    """Shape of one nomic-bert encoder."""

    layers: int
    heads: int
    width: int
    norm_eps: float
    rope: Rope


def hyperparameters(source: Mapping[str, Any], origin: Literal["hf", "gguf"]) -> Hyperparameters:
    """Read the shape. KeyError names a missing key; ValueError one that is not supported."""
    if origin == "gguf":
        hp = _of_metadata(source)
    elif "n_embd" in source:
        hp = _of_own_config(source)
    else:
        hp = _of_config(source)
    if source.get(LONG_FACTOR) is not None:
        factor = real(source, LONG_FACTOR)
        trained = count(source, "max_trained_positions", _TRAINED)
        hp = replace(hp, rope=replace(hp.rope, dynamic=(factor, trained)))
    return hp


def _of_metadata(source: Mapping[str, Any]) -> Hyperparameters:
    heads, width = count(source, "nomic-bert.attention.head_count"), count(source, "nomic-bert.embedding_length")
    return Hyperparameters(
        layers=count(source, "nomic-bert.block_count", most=MOST_LAYERS),
        heads=heads,
        width=width,
        norm_eps=real(source, "nomic-bert.attention.layer_norm_epsilon"),
        rope=rope_of_metadata(source, "nomic-bert", split_evenly(width, heads), _BASE, "half"),
    )


def _of_own_config(source: Mapping[str, Any]) -> Hyperparameters:
    """The repositories' own form, which uses GPT-2's words."""
    for key, only in (
        ("activation_function", "swiglu"),
        ("prenorm", False),
        ("parallel_block", False),
        ("use_rms_norm", False),
        ("causal", False),
        ("rotary_emb_interleaved", False),
        ("rotary_emb_scale_base", None),
    ):
        if source.get(key, only) not in (only, None):
            raise ValueError(f"{key} is {str(source[key])[:80]}")
    heads, width = count(source, "n_head"), count(source, "n_embd")
    head_dim = split_evenly(width, heads)
    dims = int(head_dim * real(source, "rotary_emb_fraction", 1.0))
    return Hyperparameters(
        layers=count(source, "n_layer", most=MOST_LAYERS),
        heads=heads,
        width=width,
        norm_eps=real(source, "layer_norm_epsilon", 1e-12),
        rope=Rope(real(source, "rotary_emb_base", _BASE), dims),
    )


def _of_config(source: Mapping[str, Any]) -> Hyperparameters:
    """The form of `transformers.NomicBertConfig`."""
    if activation(source, "hidden_act", "silu") != "silu":
        raise ValueError(f"hidden_act is {source['hidden_act']!r}")
    heads, width = count(source, "num_attention_heads"), count(source, "hidden_size")
    head_dim = split_evenly(width, heads)
    if source.get("head_dim") not in (None, head_dim):
        raise ValueError(f"head_dim is {source['head_dim']}")
    return Hyperparameters(
        layers=count(source, "num_hidden_layers", most=MOST_LAYERS),
        heads=heads,
        width=width,
        norm_eps=real(source, "layer_norm_eps", 1e-12),
        rope=rope_of_config(source, head_dim, _BASE),
    )


# Columns: the repositories' own names, those of transformers, those of llama.cpp.
_TOP = {
    "tokens": ("embeddings.word_embeddings", "embeddings.word_embeddings", "token_embd"),
    "types": ("embeddings.token_type_embeddings", "embeddings.token_type_embeddings", "token_types"),
    "norm": ("emb_ln", "embeddings.LayerNorm", "token_embd_norm"),
}
_PLACES = ("encoder.layers.", "layers.", "blk.")
_FUSED = ("attn.Wqkv", "", "attn_qkv")
_LAYER = {
    "q": ("attn.q_proj", "self_attn.q_proj", "attn_q"),
    "k": ("attn.k_proj", "self_attn.k_proj", "attn_k"),
    "v": ("attn.v_proj", "self_attn.v_proj", "attn_v"),
    "out": ("attn.out_proj", "self_attn.o_proj", "attn_output"),
    "attn_norm": ("norm1", "post_attention_layernorm", "attn_output_norm"),
    "up": ("mlp.fc11", "mlp.up_proj", "ffn_up"),
    "gate": ("mlp.fc12", "mlp.gate_proj", "ffn_gate"),
    "down": ("mlp.fc2", "mlp.down_proj", "ffn_down"),
    "ffn_norm": ("norm2", "post_mlp_layernorm", "layer_output_norm"),
}


def weight_names(hp: Hyperparameters, origin: Literal["hf", "gguf"], stored: Container[str]) -> dict[str, str]:
    """Canonical name to the checkpoint's name."""
    column = 2 if origin == "gguf" else 0 if "emb_ln.weight" in stored else 1
    names = {
        "tokens": f"{_TOP['tokens'][column]}.weight",
        "norm.weight": f"{_TOP['norm'][column]}.weight",
        "norm.bias": f"{_TOP['norm'][column]}.bias",
    }
    if f"{_TOP['types'][column]}.weight" in stored:
        names["types"] = f"{_TOP['types'][column]}.weight"
    for layer in range(hp.layers):
        place = f"{_PLACES[column]}{layer}."
        rows = {canonical: row[column] for canonical, row in _LAYER.items()}
        if f"{place}{rows['q']}.weight" not in stored and _FUSED[column]:
            rows = {"qkv": _FUSED[column], **{key: row for key, row in rows.items() if key not in ("q", "k", "v")}}
        for canonical, row in rows.items():
            names[f"{layer}.{canonical}.weight"] = f"{place}{row}.weight"
            if canonical.endswith("norm") or f"{place}{row}.bias" in stored:
                names[f"{layer}.{canonical}.bias"] = f"{place}{row}.bias"
    return names


def head_names(hp: Hyperparameters, origin: Literal["hf", "gguf"], stored: Container[str]) -> None:
    """An encoder has none."""


def forward(ops: Ops[T], hp: Hyperparameters) -> T:
    """Hidden states of the last layer."""
    head_dim = hp.width // hp.heads
    how = Attention(hp.heads, hp.heads, head_dim, scale=head_dim**-0.5)

    def linear(x: T, name: str) -> T:
        bias = f"{name}.bias"
        return ops.linear(x, f"{name}.weight", bias if ops.has(bias) else None)

    x = ops.tokens("tokens")
    if ops.has("types"):
        x = ops.add(x, ops.row("types", 0))
    x = ops.layer_norm(x, "norm.weight", "norm.bias", hp.norm_eps)
    for layer in range(hp.layers):
        p = f"{layer}."
        if ops.has(f"{p}qkv.weight"):
            q, k, v = ops.split(linear(x, f"{p}qkv"), (hp.width,) * 3)
        else:
            q, k, v = (linear(x, f"{p}{name}") for name in "qkv")
        q, k = ops.rope(q, head_dim, hp.rope), ops.rope(k, head_dim, hp.rope)
        x = ops.add(x, linear(ops.attention(q, k, v, how), f"{p}out"))
        x = ops.layer_norm(x, f"{p}attn_norm.weight", f"{p}attn_norm.bias", hp.norm_eps)
        h = ops.multiply(linear(x, f"{p}up"), ops.activation(linear(x, f"{p}gate"), "silu"))
        x = ops.add(x, linear(h, f"{p}down"))
        x = ops.layer_norm(x, f"{p}ffn_norm.weight", f"{p}ffn_norm.bias", hp.norm_eps)
    return x
