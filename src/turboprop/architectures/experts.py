"""Mixtures of experts as `config.json`, GGUF metadata and the names of tensors describe them."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any, Literal

from turboprop.architectures.ops import Experts
from turboprop.architectures.values import Activation, ImpossibleValueError, count

MOST_EXPERTS = 4096
# Of a layer in a Hugging Face file: its router, one expert's gate, up and down, for an expert N of F features inside.
_FORMS = (
    ("mlp.gate.weight", *(f"mlp.experts.N.{part}_proj.weight" for part in ("gate", "up", "down"))),
    ("block_sparse_moe.gate.weight", *(f"block_sparse_moe.experts.N.{part}.weight" for part in ("w1", "w3", "w2"))),
    (
        "block_sparse_moe.router.layer.weight",
        "block_sparse_moe.input_linear.weight[N][0:F]",
        "block_sparse_moe.input_linear.weight[N][F:]",
        "block_sparse_moe.output_linear.weight[N]",
    ),
)
_GGUF = ("ffn_gate_inp.weight", *(f"ffn_{part}_exps.weight[N]" for part in ("gate", "up", "down")))
_SHARED = {
    "shared.router": ("mlp.shared_expert_gate", "ffn_gate_inp_shexp"),
    "shared.0.gate": ("mlp.shared_expert.gate_proj", "ffn_gate_shexp"),
    "shared.0.up": ("mlp.shared_expert.up_proj", "ffn_up_shexp"),
    "shared.0.down": ("mlp.shared_expert.down_proj", "ffn_down_shexp"),
}


def mixture(
    number: int, top: int, activation: Activation, *, normalized: bool, stated: str = "the experts of a token"
) -> Experts:
    """`number` experts of which a token takes `top`."""
    if top > number:
        raise ImpossibleValueError(f"{stated} are {top} of {number}")
    return Experts(number, top, normalized, activation)


def experts_of_config(
    source: Mapping[str, Any], activation: Activation, *, count_key: str, normalized: bool
) -> Experts:
    """From config.json; families call the number of experts by different names."""
    number, top = count(source, count_key, most=MOST_EXPERTS), count(source, "num_experts_per_tok")
    return mixture(number, top, activation, normalized=normalized, stated="num_experts_per_tok")


def experts_of_metadata(source: Mapping[str, Any], family: str) -> Experts | None:
    """From the keys `<family>.expert_*` of a GGUF file, None where it has none; normalised, as most are."""
    if not source.get(f"{family}.expert_count"):
        return None
    number = count(source, f"{family}.expert_count", most=MOST_EXPERTS)
    top = count(source, f"{family}.expert_used_count")
    return mixture(number, top, "silu", normalized=True, stated=f"{family}.expert_used_count")


def expert_names(
    how: Experts,
    shared: Experts | None,
    origin: Literal["hf", "gguf"],
    layer: int,
    place: str,
    stored: Container[str],
    inner: int,
) -> dict[str, str]:
    """Canonical names of the router and the experts of one layer to those in the checkpoint."""
    form = _GGUF
    if origin == "hf":
        # By the router or by the first expert: one that is missing is told by its own name.
        form = next((form for form in _FORMS if any(_at(place, part, 0, inner) in stored for part in form)), _FORMS[0])
    router, *parts = form
    names = {f"{layer}.router.weight": _at(place, router, 0, inner)}
    for number in range(how.count):
        for canonical, part in zip(("gate", "up", "down"), parts, strict=True):
            names[f"{layer}.experts.{number}.{canonical}.weight"] = _at(place, part, number, inner)
    if shared is not None:
        column = 0 if origin == "hf" else 1
        names |= {f"{layer}.{canonical}.weight": f"{place}.{row[column]}.weight" for canonical, row in _SHARED.items()}
        if origin == "gguf":  # a vector there
            names[f"{layer}.shared.router.weight"] += "[None]"
    return names


def _at(place: str, part: str, number: int, inner: int) -> str:
    """The checkpoint's name of a router or of a matrix of one expert."""
    return f"{place}.{part}".replace("N", str(number)).replace("F", str(inner))
