"""The block that Llama and its kin share: RMSNorm first, rotary positions, grouped queries, gated MLP.

Pre-norm residual layers, then a final RMSNorm: Touvron et al. 2023 (arXiv 2302.13971). The files of the
families say what differs: which biases there are, norms of q and k, windows, how a file pairs the rotated
features, norms behind instead of before, factors, layers that do not rotate, fused weights, experts.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

from turboprop.architectures.experts import expert_names, experts_of_metadata
from turboprop.architectures.ops import Attention, Experts, Ops, Rope, T
from turboprop.architectures.rope import rope_of_config, rope_of_metadata
from turboprop.architectures.values import MOST_LAYERS, Activation, activation, count, real, split_evenly


@dataclass(frozen=True, slots=True)
class Hyperparameters:
    """Shape of one decoder. `windows` has one entry a layer, None where all earlier tokens are seen.

    `head_norms` are over each head of q and k, `wide_norms` over all heads together. `norms_after` normalise what
    attention and MLP give instead of what they take. `plain` layers do not rotate. `experts` take the MLP's place
    in layers that have no MLP, `shared_expert` is one that every token takes besides.
    """

    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    width: int
    inner: int
    norm_eps: float
    rope: Rope
    causal: bool
    windows: tuple[int | None, ...]
    activation: Activation
    qkv_bias: bool = False
    head_norms: bool = False
    wide_norms: bool = False
    norms_after: bool = False
    plain: frozenset[int] = frozenset()
    fused: bool = False  # q, k, v in one matrix, gate and up in one
    attention_scale: float = 0.0  # 0: head_dim ** -0.5
    embedding_scale: float = 1.0
    residual_scale: float = 1.0
    logit_scale: float = 1.0
    logit_cap: float = 0.0
    experts: Experts | None = None
    shared_expert: Experts | None = None


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
        inner=count(source, "intermediate_size", 1),
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
        inner=count(source, f"{family}.feed_forward_length", 1),
        norm_eps=real(source, f"{family}.attention.layer_norm_rms_epsilon"),
        rope=rope_of_metadata(source, family, head_dim, 10000.0, pairing),
        causal=bool(source.get(f"{family}.attention.causal", True)),
        windows=(None,) * layers,
        activation="silu",
        experts=experts_of_metadata(source, family),
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
_AFTER = {
    "attn_out_norm": ("post_attention_layernorm", "post_attention_norm"),
    "ffn_out_norm": ("post_feedforward_layernorm", "post_ffw_norm"),
}
_FUSED = {
    "qkv": ("self_attn.qkv_proj", "attn_qkv"),
    "gate_up": ("mlp.gate_up_proj", "ffn_up"),
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
    if origin == "gguf" and "rope_factors_short.weight" in stored:
        names["rope_factors"] = "rope_factors_short.weight"
    for layer in range(hp.layers):
        place = f"layers.{layer}" if origin == "hf" else f"blk.{layer}"
        rows = {**_LAYER, **(_HEAD_NORMS if hp.head_norms or hp.wide_norms else {})}
        if hp.norms_after:
            del rows["attn_norm"], rows["ffn_norm"]
            rows |= _AFTER
        fused = f"{place}.{_FUSED['qkv'][column]}.weight" in stored
        if fused or (hp.fused and f"{place}.{_LAYER['q'][column]}.weight" not in stored):
            del rows["q"], rows["k"], rows["v"]
            rows["qkv"] = _FUSED["qkv"]
        if hp.experts is not None and f"{place}.{_LAYER['gate'][column]}.weight" not in stored:
            del rows["gate"], rows["up"], rows["down"]
            names |= expert_names(hp.experts, hp.shared_expert, origin, layer, place, stored, hp.inner)
        elif _is_fused(hp, place, origin, stored):
            del rows["gate"], rows["up"]
            rows["gate_up"] = _FUSED["gate_up"]
        for canonical, row in rows.items():
            name = f"{place}.{row[column]}"
            names[f"{layer}.{canonical}.weight"] = f"{name}.weight"
            if (hp.qkv_bias and canonical in ("q", "k", "v")) or f"{name}.bias" in stored:
                names[f"{layer}.{canonical}.bias"] = f"{name}.bias"
    return names


def _is_fused(hp: Hyperparameters, place: str, origin: Literal["hf", "gguf"], stored: Container[str]) -> bool:
    """Whether gate and up are one matrix. In GGUF it has the name of `up`, and there is no gate."""
    if origin == "hf":
        return hp.fused or f"{place}.{_FUSED['gate_up'][0]}.weight" in stored
    return f"{place}.ffn_up.weight" in stored and f"{place}.ffn_gate.weight" not in stored


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


class _Logits(Protocol):
    @property
    def logit_scale(self) -> float: ...

    @property
    def logit_cap(self) -> float: ...


def logits(ops: Ops[T], hp: _Logits, hidden: T, weight: str, bias: str | None) -> T:
    """The output head of hidden states, in the family's scale."""
    found = ops.linear(_scaled(ops, hidden, hp.logit_scale), weight, bias)
    return ops.cap(found, hp.logit_cap) if hp.logit_cap else found


def _scaled(ops: Ops[T], x: T, factor: float) -> T:
    return x if factor == 1 else ops.scale(x, factor)


def forward(ops: Ops[T], hp: Hyperparameters) -> T:
    """Hidden states after the final norm."""
    rope = replace(hp.rope, factors_weight="rope_factors") if ops.has("rope_factors") else hp.rope

    def linear(x: T, name: str) -> T:
        bias = f"{name}.bias"
        return ops.linear(x, f"{name}.weight", bias if ops.has(bias) else None)

    def norm(x: T, name: str, per_head: int | None = None) -> T:
        return ops.rms_norm(x, f"{name}.weight", hp.norm_eps, per_head=per_head)

    def attend(y: T, layer: int) -> T:
        p = f"{layer}."
        if ops.has(f"{p}qkv.weight"):
            widths = (hp.heads * hp.head_dim, hp.kv_heads * hp.head_dim, hp.kv_heads * hp.head_dim)
            q, k, v = ops.split(linear(y, f"{p}qkv"), widths)
        else:
            q, k, v = (linear(y, f"{p}{name}") for name in "qkv")
        if hp.head_norms or hp.wide_norms:
            each = hp.head_dim if hp.head_norms else None
            q, k = norm(q, f"{p}q_norm", each), norm(k, f"{p}k_norm", each)
        if layer not in hp.plain:
            q, k = ops.rope(q, hp.head_dim, rope), ops.rope(k, hp.head_dim, rope)
        scale = hp.attention_scale or hp.head_dim**-0.5
        how = Attention(hp.heads, hp.kv_heads, hp.head_dim, scale, hp.causal, hp.windows[layer])
        return linear(ops.attention(q, k, v, how), f"{p}out")

    def inner(y: T, layer: int) -> T:
        p = f"{layer}."
        if hp.experts is not None and ops.has(f"{p}router.weight"):
            x = ops.experts(y, linear(y, f"{p}router"), f"{p}experts", hp.experts)
            if hp.shared_expert is None:
                return x
            return ops.add(x, ops.experts(y, linear(y, f"{p}shared.router"), f"{p}shared", hp.shared_expert))
        if ops.has(f"{p}gate_up.weight"):
            both = linear(y, f"{p}gate_up")
            gate, up = ops.split(both, (hp.inner, hp.inner))
            h = ops.multiply(ops.activation(gate, hp.activation), up)
        else:
            h = ops.multiply(ops.activation(linear(y, f"{p}gate"), hp.activation), linear(y, f"{p}up"))
        return linear(h, f"{p}down")

    x = _scaled(ops, ops.tokens("tokens"), hp.embedding_scale)
    for layer in range(hp.layers):
        for name, part in (("attn", attend), ("ffn", inner)):
            y = part(x if hp.norms_after else norm(x, f"{layer}.{name}_norm"), layer)
            if hp.norms_after:
                y = norm(y, f"{layer}.{name}_out_norm")
            x = ops.add(x, _scaled(ops, y, hp.residual_scale))
    return norm(x, "norm")
