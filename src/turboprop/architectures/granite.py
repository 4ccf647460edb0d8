"""Granite 3 and its mixtures of experts: the decoder block with a factor for each of its parts (arXiv 2508.03363).

GGUF files hold the rows of q and k permuted, as Llama's do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from turboprop.architectures import decoder
from turboprop.architectures.decoder import Hyperparameters, forward, head_names, logits, weight_names
from turboprop.architectures.experts import experts_of_config
from turboprop.architectures.values import MOST_LAYERS, count, real

__all__ = ["forward", "head_names", "hyperparameters", "logits", "weight_names"]


def hyperparameters(source: Mapping[str, Any], origin: Literal["hf", "gguf"]) -> Hyperparameters:
    """Read the shape. KeyError names a missing key; ValueError one that is not supported."""
    if origin == "gguf":
        family = "granitemoe" if source.get("general.architecture") == "granitemoe" else "granite"
        return replace(
            decoder.of_metadata(source, family, pairing="interleaved"),
            embedding_scale=real(source, f"{family}.embedding_scale", 1.0),
            attention_scale=real(source, f"{family}.attention.scale", 1.0),
            residual_scale=real(source, f"{family}.residual_scale", 1.0),
            logit_scale=1 / real(source, f"{family}.logit_scale", 1.0),
        )
    layers = count(source, "num_hidden_layers", most=MOST_LAYERS)
    shape = replace(
        decoder.of_config(source, base=10000.0, windows=(None,) * layers),
        embedding_scale=real(source, "embedding_multiplier", 1.0),
        attention_scale=real(source, "attention_multiplier", 1.0),
        residual_scale=real(source, "residual_multiplier", 1.0),
        logit_scale=1 / real(source, "logits_scaling", 1.0),
    )
    if source.get("model_type") == "granite":
        return shape
    experts = experts_of_config(source, shape.activation, count_key="num_local_experts", normalized=True)
    return replace(shape, experts=experts)
