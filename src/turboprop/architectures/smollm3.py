"""SmolLM3: the decoder block, each fourth layer of which does not rotate (Yang et al. 2025, arXiv 2501.18795).

GGUF files hold the rows of q and k permuted, as Llama's do, and leave the fourth layers to the reader.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from turboprop.architectures import decoder
from turboprop.architectures.decoder import Hyperparameters, forward, head_names, logits, weight_names
from turboprop.architectures.qwen2 import windows
from turboprop.architectures.values import ImpossibleValueError, count

__all__ = ["forward", "head_names", "hyperparameters", "logits", "weight_names"]


_EVERY = 4


def hyperparameters(source: Mapping[str, Any], origin: Literal["hf", "gguf"]) -> Hyperparameters:
    """Read the shape. KeyError names a missing key; ValueError one that is not supported."""
    if origin == "gguf":
        shape = decoder.of_metadata(source, "smollm3", pairing="interleaved")
        return replace(shape, plain=frozenset(range(_EVERY - 1, shape.layers, _EVERY)))
    shape = decoder.of_config(source, base=2_000_000.0, windows=windows(source))
    stated = source.get("no_rope_layers")
    if stated is None:
        every = count(source, "no_rope_layer_interval", _EVERY)
        return replace(shape, plain=frozenset(range(every - 1, shape.layers, every)))
    # 1 is a layer that does rotate, whatever the key says.
    if not isinstance(stated, list) or len(stated) < shape.layers or not all(flag in (0, 1) for flag in stated):
        raise ImpossibleValueError(f"no_rope_layers is {str(stated)[:80]}")
    return replace(shape, plain=frozenset(layer for layer in range(shape.layers) if not stated[layer]))
