"""Qwen3: language models, and Qwen3-Embedding.

The decoder block with an RMSNorm over each head of q and k before they are rotated, and with a head width
of its own (arXiv 2505.09388). GGUF pairs the rotated features in halves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from turboprop.architectures import decoder
from turboprop.architectures.decoder import Hyperparameters, forward, head_names, logits, weight_names
from turboprop.architectures.qwen2 import windows

__all__ = ["forward", "head_names", "hyperparameters", "logits", "weight_names"]


def hyperparameters(source: Mapping[str, Any], origin: Literal["hf", "gguf"]) -> Hyperparameters:
    """Read the shape. KeyError names a missing key; ValueError one that is not supported."""
    if origin == "gguf":
        return replace(decoder.of_metadata(source, "qwen3"), head_norms=True)
    # A config.json without head_dim means 128, whatever the width over the heads would be.
    stated = source if source.get("head_dim") is not None else {**source, "head_dim": 128}
    return replace(decoder.of_config(stated, base=10000.0, windows=windows(source)), head_norms=True)
