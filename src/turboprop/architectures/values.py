"""Reading numbers out of `config.json` and GGUF metadata, which are not trusted to hold sane ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, cast

Activation = Literal["gelu", "gelu_tanh", "silu", "relu"]


class ImpossibleValueError(ValueError):
    """A value that no model can have, so the configuration is damaged or not this model's."""


# The largest model of any family here has 80 layers, 64 heads, 8,192 features and 262,144 tokens.
_LARGEST = 1 << 20
MOST_LAYERS = 512

_ACTIVATIONS: dict[str, Activation] = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
}


def count(source: Mapping[str, Any], key: str, default: int | None = None, most: int = _LARGEST) -> int:
    """A whole number from 1 to `most`. KeyError where it is absent, ImpossibleValueError where it is anything else."""
    value = source.get(key, default) if default is not None else source[key]
    if value is None and default is not None:
        value = default
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise ImpossibleValueError(f"{key} is {str(value)[:80]}")
    return value


def real(source: Mapping[str, Any], key: str, default: float | None = None) -> float:
    """A finite number above zero."""
    value = source.get(key, default) if default is not None else source[key]
    if value is None and default is not None:
        value = default
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e30:
        raise ImpossibleValueError(f"{key} is {str(value)[:80]}")
    return float(value)


def optional(source: Mapping[str, Any], key: str, default: float) -> float:
    """As `real`; 0 where null or 0 is stated, which switch it off."""
    if key in source and source[key] in (None, 0, False):
        return 0.0
    return real(source, key, default)


def activation(source: Mapping[str, Any], key: str, default: str) -> Activation:
    """The activation that Hugging Face names `source[key]`."""
    name = str(source.get(key) or default)
    if name not in _ACTIVATIONS:
        raise ValueError(f"{key} is {name[:80]!r}")
    return _ACTIVATIONS[name]


def split_evenly(width: int, heads: int) -> int:
    """Features of one head."""
    if width % heads:
        raise ImpossibleValueError(f"{heads} heads do not fit {width} features")
    return width // heads


def layer_kinds(source: Mapping[str, Any], layers: int) -> tuple[str, ...] | None:
    """`layer_types` of config.json (one word a layer) where it is stated."""
    stated = source.get("layer_types")
    if stated is None:
        return None
    if not isinstance(stated, list) or len(stated) < layers or not set(map(str, stated)) <= _KINDS:
        raise ImpossibleValueError(f"layer_types is {str(stated)[:80]}")
    return tuple(cast("list[str]", stated)[:layers])


_KINDS = {"full_attention", "sliding_attention"}
