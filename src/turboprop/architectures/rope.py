"""Rotary positions as `config.json` and GGUF metadata describe them.

The scalings are those of `transformers.modeling_rope_utils` and of llama.cpp: linear (positions divided
by a factor), llama3 (long wavelengths only), YaRN (Peng et al. 2023, arXiv 2309.00071) and LongRoPE (Ding et al. 2024,
arXiv 2402.13753) up to the length that its short factors are for. Each becomes
divisors of the inverse frequencies, so an engine knows nothing of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil, floor, log, pi, sqrt
from typing import Any, Literal

from turboprop.architectures.ops import Rope
from turboprop.architectures.values import ImpossibleValueError, count, real


def rope_of_config(
    source: Mapping[str, Any],
    head_dim: int,
    base: float,
    kind: str | None = None,
    *,
    base_key: str = "rope_theta",
    scaled: bool = True,
) -> Rope:
    """From config.json, in its old form (`rope_theta`, `rope_scaling`) or its new one (`rope_parameters`).

    `base` is the family's default. `kind` picks the parameters of one kind of layer where they are
    nested; in the old form such a base has a key of its own (`base_key`), and `scaled` says whether
    `rope_scaling` applies to that kind.
    """
    stated = source.get("rope_parameters")
    if stated is None:
        scaling = (source.get("rope_scaling") if scaled else None) or {}
        parameters = {"rope_theta": real(source, base_key, base), **_table(scaling, "rope_scaling")}
    else:
        parameters = _table(stated, "rope_parameters")
        if kind is not None and any(isinstance(value, dict) for value in parameters.values()):
            parameters = _table(parameters.get(kind) or {}, f"rope_parameters.{kind}")
    share = real(parameters, "partial_rotary_factor", source.get("partial_rotary_factor", 1.0))
    dims = int(head_dim * share)
    theta = real(parameters, "rope_theta", base)
    name = str(parameters.get("rope_type") or parameters.get("type") or "default")
    trained = parameters.get("original_max_position_embeddings") or source.get("max_position_embeddings")
    match name:
        case "default":
            return Rope(theta, dims)
        case "linear":
            return Rope(theta, dims, factors=(real(parameters, "factor"),) * (dims // 2))
        case "llama3":
            return Rope(theta, dims, factors=_llama3(parameters, theta, dims))
        case "yarn":
            if not isinstance(trained, int):
                raise ValueError("a YaRN scaling that does not state the trained length")
            return _yarn(parameters, theta, dims, trained, "half")
        case "longrope":
            return _longrope(parameters, source, theta, dims)
        case other:
            raise ValueError(f"rope_type {other[:80]!r}")


def rope_of_metadata(
    source: Mapping[str, Any], family: str, head_dim: int, base: float, pairing: Literal["half", "interleaved"]
) -> Rope:
    """From the keys `<family>.rope.*` of a GGUF file."""
    dims = count(source, f"{family}.rope.dimension_count", head_dim)
    theta = real(source, f"{family}.rope.freq_base", base)
    if dims > head_dim or dims % 2:
        raise ValueError(f"{family}.rope.dimension_count is {dims} of {head_dim}")
    name = str(source.get(f"{family}.rope.scaling.type", "none"))
    match name:
        case "none" | "longrope":  # the factors of which are tensors
            return Rope(theta, dims, pairing)
        case "linear":
            factor = real(source, f"{family}.rope.scaling.factor", 1.0)
            return Rope(theta, dims, pairing, factors=(factor,) * (dims // 2))
        case "yarn":
            parameters = {
                "factor": real(source, f"{family}.rope.scaling.factor"),
                "beta_fast": source.get(f"{family}.rope.scaling.yarn_beta_fast"),
                "beta_slow": source.get(f"{family}.rope.scaling.yarn_beta_slow"),
            }
            length = count(source, f"{family}.context_length")
            trained = count(source, f"{family}.rope.scaling.original_context_length", length)
            return _yarn(parameters, theta, dims, trained, pairing)
        case other:
            raise ValueError(f"{family}.rope.scaling.type {other[:80]!r}")


def _longrope(parameters: Mapping[str, Any], source: Mapping[str, Any], base: float, dims: int) -> Rope:
    factors = parameters.get("short_factor")
    if not isinstance(factors, list) or len(factors) != dims // 2:
        raise ImpossibleValueError(f"short_factor is {str(factors)[:80]}, and {dims // 2} numbers are needed")
    values = tuple(real({"short_factor": factor}, "short_factor") for factor in factors)
    magnitude = parameters.get("attention_factor")
    if magnitude is None:
        trained = count({**source, **parameters}, "original_max_position_embeddings", most=1 << 30)
        magnitude = longrope_magnitude(count(source, "max_position_embeddings", most=1 << 30), trained)
    return Rope(base, dims, factors=values, magnitude=float(magnitude))


def longrope_magnitude(longest: int, trained: int) -> float:
    """What sine and cosine are multiplied with in a model that was stretched from `trained` tokens to `longest`."""
    return sqrt(1 + log(longest / trained) / log(trained)) if longest > trained else 1.0


def _table(value: object, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{name} is {str(value)[:80]}")
    return value


def _llama3(parameters: Mapping[str, Any], base: float, dims: int) -> tuple[float, ...]:
    factor = real(parameters, "factor")
    low, high = real(parameters, "low_freq_factor"), real(parameters, "high_freq_factor")
    trained = count(parameters, "original_max_position_embeddings", most=1 << 30)
    factors = []
    for index in range(dims // 2):
        wavelength = 2 * pi * base ** (2 * index / dims)
        if wavelength < trained / high:
            factors.append(1.0)
        elif wavelength > trained / low:
            factors.append(factor)
        else:
            smooth = (trained / wavelength - low) / (high - low)
            factors.append(1 / ((1 - smooth) / factor + smooth))
    return tuple(factors)


def _yarn(
    parameters: Mapping[str, Any], base: float, dims: int, trained: int, pairing: Literal["half", "interleaved"]
) -> Rope:
    factor = real(parameters, "factor")

    def dimension(rotations: float) -> float:
        """Where a feature pair makes so many rotations over the trained length."""
        return dims * log(trained / (rotations * 2 * pi)) / (2 * log(base))

    low = dimension(real(parameters, "beta_fast", 32.0))
    high = dimension(real(parameters, "beta_slow", 1.0))
    if parameters.get("truncate", True):
        low, high = floor(low), ceil(high)
    low, high = max(low, 0), min(high, dims - 1)
    factors = []
    for index in range(dims // 2):
        stretched = min(max((index - low) / max(high - low, 0.001), 0.0), 1.0)
        factors.append(1 / (stretched / factor + 1 - stretched))
    magnitude = parameters.get("attention_factor")
    if magnitude is None:
        mscale, over = parameters.get("mscale"), parameters.get("mscale_all_dim")
        magnitude = _mscale(factor, mscale) / _mscale(factor, over) if mscale and over else _mscale(factor, 1.0)
    return Rope(base, dims, pairing, factors=tuple(factors), magnitude=float(magnitude))


def _mscale(factor: float, weight: float) -> float:
    return 0.1 * weight * log(factor) + 1 if factor > 1 else 1.0
