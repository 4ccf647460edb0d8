"""What the blocks hold, put together again, is what the decoder makes of them."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from turboprop.models.gguf.dequantize import dequantize
from turboprop.models.gguf.parts import FOUR_BIT, SUPER, four_bit, super_blocks
from turboprop.models.gguf.types import GGMLType


def random_blocks(kind: GGMLType) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Blocks of random bits and their weights."""
    raw = np.random.default_rng(5).integers(0, 256, 40 * kind.block_bytes, dtype=np.uint8)
    out = np.empty(40 * kind.block_values, np.float32)
    dequantize(kind, raw, out)
    return raw, out


@pytest.mark.parametrize("kind", sorted(FOUR_BIT))
def test_four_bits_in_groups_of_32(kind: GGMLType) -> None:
    raw, wanted = random_blocks(kind)
    q, scale, minimum = four_bit(kind, raw)
    assert q.max() <= 15
    with np.errstate(all="ignore"):
        found = (q * scale + minimum).ravel()
    finite = np.isfinite(wanted)
    np.testing.assert_allclose(found[finite], wanted[finite], rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize(("kind", "most"), [(GGMLType.Q4_K, 15), (GGMLType.Q5_K, 31), (GGMLType.Q6_K, 63)])
def test_blocks_of_256(kind: GGMLType, most: int) -> None:
    assert kind in SUPER
    raw, wanted = random_blocks(kind)
    parts = super_blocks(kind, raw)
    assert (parts.q.min(), parts.q.max()) == (0, most)
    with np.errstate(all="ignore"):
        step = parts.scales * parts.d[:, None].astype(np.float64)
        if parts.minima is None or parts.dmin is None:
            least = -32 * step
        else:
            least = -(parts.minima * parts.dmin[:, None].astype(np.float64))
        groups = parts.q.reshape(40, step.shape[1], -1)
        found = (groups * step[:, :, None] + least[:, :, None]).ravel()
    finite = np.isfinite(wanted) & np.isfinite(found)
    assert finite.sum() > 8_000
    np.testing.assert_allclose(found[finite], wanted[finite], rtol=1e-5, atol=1e-3)
