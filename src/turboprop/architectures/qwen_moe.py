"""Qwen2 and Qwen3 as mixtures of experts: their blocks with experts in the MLP's place (arXiv 2505.09388).

Qwen2's has an expert besides that every token takes, as far as a gate of its own opens.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from turboprop.architectures import decoder
from turboprop.architectures.decoder import Hyperparameters, forward, head_names, logits, weight_names
from turboprop.architectures.experts import experts_of_config
from turboprop.architectures.ops import Experts
from turboprop.architectures.qwen2 import windows

__all__ = ["forward", "head_names", "hyperparameters", "logits", "weight_names"]


def hyperparameters(source: Mapping[str, Any], origin: Literal["hf", "gguf"]) -> Hyperparameters:
    """Read the shape. KeyError names a missing key; ValueError one that is not supported."""
    if origin == "gguf":
        family = "qwen2moe" if source.get("general.architecture") == "qwen2moe" else "qwen3moe"
        shape = decoder.of_metadata(source, family)
        if shape.experts is None:
            raise KeyError(f"{family}.expert_count")
        if family == "qwen3moe":
            return replace(shape, head_norms=True)
        return _second(replace(shape, experts=replace(shape.experts, normalized=False)))
    third = source.get("model_type") == "qwen3_moe"
    stated = source if source.get("head_dim") is not None or not third else {**source, "head_dim": 128}
    shape = decoder.of_config(stated, base=10000.0, windows=windows(source))
    normalized = bool(source.get("norm_topk_prob", False))
    experts = experts_of_config(source, shape.activation, count_key="num_experts", normalized=normalized)
    shape = replace(shape, experts=experts)
    return replace(shape, head_norms=True) if third else _second(shape)


def _second(shape: Hyperparameters) -> Hyperparameters:
    shared = Experts(1, 1, normalized=False, activation=shape.activation, scores="sigmoid")
    return replace(shape, qkv_bias=True, shared_expert=shared)
