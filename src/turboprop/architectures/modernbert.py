"""ModernBERT encoders: gte-modernbert, nomic's modernbert-embed and their like (arXiv 2412.13663).

LayerNorm first (but none before the first attention), rotary positions, GeGLU. Every third layer sees
all tokens, the others a window to both sides, with a rotary base of their own.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Any, Literal

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

_GLOBAL_BASE, _LOCAL_BASE = 160_000.0, 10_000.0
_LOCAL = 128  # tokens of a window, both sides together


@dataclass(frozen=True, slots=True)
class Hyperparameters:
    """Shape of one ModernBERT encoder; `windows` and `ropes` have one entry a layer."""

    layers: int
    heads: int
    width: int
    feed_forward: int
    norm_eps: float
    activation: Activation
    windows: tuple[int | None, ...]
    ropes: tuple[Rope, ...]


def hyperparameters(source: Mapping[str, Any], origin: Literal["hf", "gguf"]) -> Hyperparameters:
    """Read the shape. KeyError names a missing key; ValueError one that is not supported."""
    return _of_metadata(source) if origin == "gguf" else _of_config(source)


def _of_config(source: Mapping[str, Any]) -> Hyperparameters:
    layers = count(source, "num_hidden_layers", most=MOST_LAYERS)
    heads, width = count(source, "num_attention_heads"), count(source, "hidden_size")
    head_dim = split_evenly(width, heads)
    every = count(source, "global_attn_every_n_layers", 3)
    kinds = layer_kinds(source, layers)
    local = [kind == "sliding_attention" for kind in kinds] if kinds else [bool(i % every) for i in range(layers)]
    ropes = {
        False: rope_of_config(source, head_dim, _GLOBAL_BASE, "full_attention", base_key="global_rope_theta"),
        True: rope_of_config(source, head_dim, _LOCAL_BASE, "sliding_attention", base_key="local_rope_theta"),
    }
    # Half of the window lies on each side; the token itself is counted too.
    window = count(source, "local_attention", _LOCAL) // 2 + 1
    return Hyperparameters(
        layers=layers,
        heads=heads,
        width=width,
        feed_forward=count(source, "intermediate_size"),
        norm_eps=real(source, "norm_eps", 1e-5),
        activation=activation(source, "hidden_activation", "gelu"),
        windows=tuple(window if is_local else None for is_local in local),
        ropes=tuple(ropes[is_local] for is_local in local),
    )


def _of_metadata(source: Mapping[str, Any]) -> Hyperparameters:
    family = "modern-bert"
    layers = count(source, f"{family}.block_count", most=MOST_LAYERS)
    heads, width = count(source, f"{family}.attention.head_count"), count(source, f"{family}.embedding_length")
    everywhere = rope_of_metadata(source, family, split_evenly(width, heads), _GLOBAL_BASE, "half")
    near = Rope(real(source, f"{family}.rope.freq_base_swa", _LOCAL_BASE), everywhere.dims)
    window = count(source, f"{family}.attention.sliding_window", _LOCAL) // 2 + 1
    return Hyperparameters(
        layers=layers,
        heads=heads,
        width=width,
        feed_forward=count(source, f"{family}.feed_forward_length"),
        norm_eps=real(source, f"{family}.attention.layer_norm_epsilon", 1e-5),
        activation="gelu",
        windows=tuple(window if layer % 3 else None for layer in range(layers)),
        ropes=tuple(near if layer % 3 else everywhere for layer in range(layers)),
    )


_TOP = {
    "tokens": ("embeddings.tok_embeddings", "token_embd"),
    "norm": ("embeddings.norm", "token_embd_norm"),
    "final_norm": ("final_norm", "output_norm"),
}
_LAYER = {
    "attn_norm": ("attn_norm", "attn_norm"),
    "qkv": ("attn.Wqkv", "attn_qkv"),
    "out": ("attn.Wo", "attn_output"),
    "ffn_norm": ("mlp_norm", "ffn_norm"),
    "up": ("mlp.Wi", "ffn_up"),
    "down": ("mlp.Wo", "ffn_down"),
}


def weight_names(hp: Hyperparameters, origin: Literal["hf", "gguf"], stored: Container[str]) -> dict[str, str]:
    """Canonical name to the checkpoint's name."""
    column = 0 if origin == "hf" else 1
    stems = {canonical: row[column] for canonical, row in _TOP.items()}
    for layer in range(hp.layers):
        place = f"layers.{layer}" if origin == "hf" else f"blk.{layer}"
        for canonical, row in _LAYER.items():
            if layer or canonical != "attn_norm":
                stems[f"{layer}.{canonical}"] = f"{place}.{row[column]}"
    names = {f"{canonical}.weight": f"{stem}.weight" for canonical, stem in stems.items()}
    for canonical, stem in stems.items():
        if f"{stem}.bias" in stored:
            names[f"{canonical}.bias"] = f"{stem}.bias"
    names["tokens"] = names.pop("tokens.weight")
    return names


def head_names(hp: Hyperparameters, origin: Literal["hf", "gguf"], stored: Container[str]) -> None:
    """An encoder has none."""


def forward(ops: Ops[T], hp: Hyperparameters) -> T:
    """Hidden states after the final norm."""
    head_dim = hp.width // hp.heads

    def bias(name: str) -> str | None:
        return f"{name}.bias" if ops.has(f"{name}.bias") else None

    def linear(x: T, name: str) -> T:
        return ops.linear(x, f"{name}.weight", bias(name))

    def norm(x: T, name: str) -> T:
        return ops.layer_norm(x, f"{name}.weight", bias(name), hp.norm_eps)

    x = norm(ops.tokens("tokens"), "norm")
    for layer in range(hp.layers):
        p = f"{layer}."
        y = norm(x, f"{p}attn_norm") if layer else x
        q, k, v = ops.split(linear(y, f"{p}qkv"), (hp.width,) * 3)
        q, k = ops.rope(q, head_dim, hp.ropes[layer]), ops.rope(k, head_dim, hp.ropes[layer])
        how = Attention(hp.heads, hp.heads, head_dim, head_dim**-0.5, window=hp.windows[layer])
        x = ops.add(x, linear(ops.attention(q, k, v, how), f"{p}out"))
        h, gate = ops.split(linear(norm(x, f"{p}ffn_norm"), f"{p}up"), (hp.feed_forward,) * 2)
        x = ops.add(x, linear(ops.multiply(ops.activation(h, hp.activation), gate), f"{p}down"))
    return norm(x, "final_norm")
