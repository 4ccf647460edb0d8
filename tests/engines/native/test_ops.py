"""Values that do not fit each other, and weights that do not fit them, are refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from engines.native.programs import MemoryWeights
from engines.native.test_passes import ROPE, SEEN, TENSORS
from turboprop.architectures.ops import Attention, Rope
from turboprop.engines.native.ops import NativeOps
from turboprop.engines.native.steps import Value

MISFITS: dict[str, Callable[[NativeOps, Value, Value], Value]] = {
    "a sum": lambda ops, x, wide: ops.add(x, wide),
    "a sum with a row": lambda ops, x, wide: ops.add(wide, ops.row("x0", 0)),
    "a product of values": lambda ops, x, wide: ops.multiply(wide, x),
    "a product with a matrix": lambda ops, x, wide: ops.linear(x, "w40-20"),
    "a short bias": lambda ops, x, wide: ops.linear(x, "w20-40", "b20"),
    "a norm": lambda ops, x, wide: ops.rms_norm(x, "b40", 1e-6),
    "a norm of heads": lambda ops, x, wide: ops.rms_norm(ops.linear(x, "w20-20"), "row40", 1e-6, per_head=40),
    "heads of a norm": lambda ops, x, wide: ops.rms_norm(wide, "b20", 1e-6, per_head=3),
    "a split": lambda ops, x, wide: ops.split(x, (10, 11))[0],
    "a rotation wider than a head": lambda ops, x, wide: ops.rope(x, 4, ROPE),
    "a rotation of an odd width": lambda ops, x, wide: ops.rope(x, 10, Rope(1e4, 5)),
    "heads that do not divide a rotation": lambda ops, x, wide: ops.rope(x, 8, ROPE),
    "attention": lambda ops, x, wide: ops.attention(x, x, x, SEEN),
    "heads that do not divide": lambda ops, x, wide: ops.attention(
        *ops.split(wide, (20, 8, 12))[:1], *ops.split(wide, (12, 12, 16))[:2], Attention(5, 3, 4, 1.0)
    ),
    "no head for many": lambda ops, x, wide: ops.attention(
        *ops.split(wide, (4, 8, 28))[:2], ops.split(wide, (8, 32))[0], Attention(1, 2, 4, 1.0)
    ),
}


@pytest.mark.parametrize("misfit", MISFITS)
def test_what_does_not_fit_is_refused(misfit: str) -> None:
    """Kernels check nothing: a wrong extent would read or write beyond its memory."""
    ops = NativeOps(MemoryWeights(TENSORS))
    with pytest.raises(TypeError):
        MISFITS[misfit](ops, ops.positions("x0"), ops.positions("wide"))
