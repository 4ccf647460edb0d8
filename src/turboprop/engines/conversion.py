"""What converting a checkpoint costs: told before it begins, shown while it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from turboprop.engines.quantize import group_for
from turboprop.errors import EngineError
from turboprop.machine import SHARE, share_of_free
from turboprop.progress import DownloadProgress, Transfers

if TYPE_CHECKING:
    from turboprop.models.checkpoint.tensors import StoredTensor

_PEAK = 1.1
"""Peak memory over the converted size: 1.09 measured on a 1.5 GB model, whose matrices are read in blocks."""
FLOATS = ("float32", "float16", "bfloat16")
"""Formats beside which all else stays float32. Those of 16 bits run where a file has them, and then are `float32`."""
_FLOAT32 = ("positions", "types")
"""Tables that are added, not multiplied with: they stay float32."""
_FIXED = 300_000_000
"""numpy, the tokenizer and the interpreter: 250 MB with all-MiniLM-L6-v2."""


@dataclass(frozen=True, slots=True)
class StoredSizes:
    """What weights take that run as their file has them."""

    bytes_of_a_weight: Mapping[str, float]
    """By type of GGUF."""
    bytes_of_a_float: Mapping[str, int] = field(default_factory=dict)
    """By type, those of matrices that the format float32 keeps in fewer than 4."""


def is_matrix(weight: str, tensor: StoredTensor) -> bool:
    """Whether a weight is multiplied with, and converted to the format of weights."""
    return len(tensor.shape) > 1 and weight not in _FLOAT32


def is_router(weight: str) -> bool:
    """Whether a matrix chooses experts: it is small and stays float32, since one bit may change the choice."""
    return weight.endswith("router.weight")


def converted_bytes(
    tensors: Mapping[str, StoredTensor],
    names: Mapping[str, str],
    weights: str,
    stored: StoredSizes,
) -> int:
    """Size in bytes of the converted weights of the tensors that `names` maps to."""
    total = 0
    for weight, name in names.items():
        shape = tensors[name].shape
        count = prod(shape)
        if not is_matrix(weight, tensors[name]):
            total += 4 * count
        elif weights in FLOATS or is_router(weight):
            total += stored.bytes_of_a_float.get(tensors[name].kind, 4) * count
        elif weights == "stored" and tensors[name].kind in stored.bytes_of_a_weight:
            total += int(count * stored.bytes_of_a_weight[tensors[name].kind])
        elif weights == "int4":
            total += count * 5 // 8  # 4 bits, and for 32 of them a scale and a least value in float16
        else:
            total += count + 4 * count // group_for(shape[1])
    return total


def check_memory(name: str, weights: str, sizes: Mapping[str, int], memory: int | None) -> None:
    """Refuse a conversion that would not fit. `sizes` are the converted sizes by weight format, in bytes;
    `memory` is the budget, by default `SHARE` of what is free. Raises `EngineError` that says what would fit."""
    budget = share_of_free() if memory is None else memory
    if budget is None:
        return
    needed = {kind: int(size * _PEAK) + _FIXED for kind, size in sizes.items()}
    if needed[weights] <= budget:
        return
    given = "the budget" if memory is not None else f"{SHARE:.0%} of the free memory"
    smaller = [kind for kind in sizes if needed[kind] <= budget]
    instead = f"`--weights {smaller[0]}` needs {needed[smaller[0]] / 1e9:.1f} GB" if smaller else "take a smaller model"
    raise EngineError(
        f"converting {name} to {weights} needs {needed[weights] / 1e9:.1f} GB of memory and {given} is "
        f"{budget / 1e9:.1f} GB: {instead}, or allow more with `--memory`"
    )


class ConversionProgress:
    """Shows a conversion as one transfer of the bytes that are read."""

    def __init__(self, name: str, weights: str, total: int, shown: DownloadProgress | None) -> None:
        self._shown = Transfers(shown)
        self._title = f"converting {Path(name).name if Path(name).is_absolute() else name} to {weights}"
        self._total = total

    def __enter__(self) -> ConversionProgress:
        self._shown.start({self._title: self._total})
        return self

    def __exit__(self, *_: object) -> None:
        self._shown.finish()

    def advance(self, count: int) -> None:
        """`count` more bytes of float32 were read and converted."""
        self._shown.advance(self._title, count)
