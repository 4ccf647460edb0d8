"""Packed token vectors, and MaxSim over them in every set of kernels that runs here."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from turboprop.engines.native.library import LIBRARIES, load_one
from turboprop.engines.native.maxsim import MaxSim, TokenVectors, packed, token_bytes

SETS = [library for path in LIBRARIES if path.is_file() and (library := load_one(path)[0]) is not None]


def unit(random: np.random.Generator, tokens: int, width: int) -> np.ndarray:
    vectors = random.standard_normal((tokens, width)).astype(np.float32)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40), st.integers(0, 11), st.integers(1, 150), st.sampled_from([4, 8]), st.integers(0, 2**32 - 1))
def test_all_kernels_give_the_same_bits_and_numpy_the_sum(
    queries: int, tokens: int, width: int, bits: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    asked, document = unit(random, queries, width), packed(unit(random, tokens, width), bits)  # type: ignore[arg-type]
    found = [MaxSim(asked).score(document, kernels) for kernels in SETS]
    assert len(set(found)) <= 1
    products = asked.astype(np.float64) @ document.unpacked()[:, :width].astype(np.float64).T
    wanted = products.max(1).sum() if tokens else 0.0
    np.testing.assert_allclose([*found, MaxSim(asked).score(document)], wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("bits", "most"), [(8, 0.006), (4, 0.11)])
def test_packing_rounds(bits: int, most: float) -> None:
    vectors = unit(np.random.default_rng(1), 200, 100)
    document = packed(vectors, bits)  # type: ignore[arg-type]
    differ = np.linalg.norm(document.unpacked()[:, :100] - vectors, axis=1)
    assert differ.mean() < most
    assert not document.unpacked()[:, 100:].any()
    data = document.to_bytes()
    assert len(data) == 200 * token_bytes(100, document.bits)
    again = TokenVectors.from_bytes(data, 100, document.bits)
    np.testing.assert_array_equal(again.unpacked(), document.unpacked())


def test_zeros_stay_zeros() -> None:
    for bits in (4, 8):
        document = packed(np.zeros((3, 40), np.float32), bits)  # type: ignore[arg-type]
        assert not document.unpacked().any()
        assert MaxSim(np.ones((2, 40), np.float32)).score(document) == 0
