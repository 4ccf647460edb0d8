"""Llama, Mistral and Mixtral decoders: language models, and embedders such as E5-Mistral and SFR-Embedding.

The plain decoder block (arXiv 2302.13971, 2310.06825). GGUF files of this architecture hold the rows of q
and k permuted, so that the rotated features lie side by side; Hugging Face pairs them in halves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from turboprop.architectures import decoder
from turboprop.architectures.decoder import Hyperparameters, forward, head_names, logits, weight_names
from turboprop.architectures.experts import experts_of_config
from turboprop.architectures.values import MOST_LAYERS, count, layer_kinds

__all__ = ["forward", "head_names", "hyperparameters", "logits", "weight_names"]


def hyperparameters(source: Mapping[str, Any], origin: Literal["hf", "gguf"]) -> Hyperparameters:
    """Read the shape. KeyError names a missing key; ValueError one that is not supported."""
    if origin == "gguf":
        return decoder.of_metadata(source, "llama", pairing="interleaved")
    shape = decoder.of_config(source, base=10000.0, windows=_windows(source))
    if source.get("model_type") != "mixtral":
        return shape
    return replace(
        shape, experts=experts_of_config(source, shape.activation, count_key="num_local_experts", normalized=True)
    )


_SLIDING = ("mistral", "ministral", "mixtral")


def _windows(source: Mapping[str, Any]) -> tuple[int | None, ...]:
    """Mistral and its kin slide one window over every layer, unless `layer_types` says which."""
    layers = count(source, "num_hidden_layers", most=MOST_LAYERS)
    if source.get("sliding_window") is None or source.get("model_type") not in _SLIDING:
        return (None,) * layers
    window = count(source, "sliding_window")
    kinds = layer_kinds(source, layers) or ("sliding_attention",) * layers
    return tuple(window if kind == "sliding_attention" else None for kind in kinds)
