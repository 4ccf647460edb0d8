"""Weights in fewer bits: what is promised of each value, and of a model that runs on them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as numpy_st

from turboprop import EmbeddingModel
from turboprop.engines.quantize import (
    group_for,
    quantize_int8,
    quantize_uint4,
)

matrices = numpy_st.arrays(
    np.float32,
    st.tuples(st.integers(1, 4), st.sampled_from([8, 16, 64])),
    elements=st.floats(-1e3, 1e3, width=32, allow_subnormal=False),
)


@given(matrices)
def test_int8_is_half_a_step_away_at_most(weight: np.ndarray) -> None:
    values, scale = quantize_int8(weight, 8)
    found = (values * scale).reshape(weight.shape)
    step = np.repeat(scale, 8, axis=-1).reshape(weight.shape)
    assert (np.abs(found - weight) <= step * 0.5001).all()
    assert not found[weight == 0].any()


@given(matrices)
def test_uint4_is_a_step_away_at_most_and_keeps_zero(weight: np.ndarray) -> None:
    values, scale, zero = quantize_uint4(weight, 8)
    assert values.max() <= 15
    assert zero.max() <= 15
    found = ((values.astype(np.float32) - zero) * scale).reshape(weight.shape)
    step = np.repeat(scale, 8, axis=-1).reshape(weight.shape)
    # Rounding the value and rounding the zero point may each cost half a step.
    assert (np.abs(found - weight) <= step * 1.0001).all()
    assert not found[weight == 0].any()


@pytest.mark.parametrize(("inputs", "group"), [(384, 128), (4096, 128), (100, 100), (64, 64)])
def test_a_row_that_groups_do_not_divide_is_one_group(inputs: int, group: int) -> None:
    assert group_for(inputs) == group


@pytest.mark.parametrize(("weights", "cosine"), [("int8", 0.995), ("int4", 0.9)])
def test_real_weights_in_fewer_bits(weights: str, cosine: float, code_pieces: list[str]) -> None:
    name, pieces = "sentence-transformers/all-MiniLM-L6-v2", code_pieces[::10]
    with EmbeddingModel.load(name, weights="float32") as model:
        exact = model.embed_documents(pieces, overlong="truncate")
    with EmbeddingModel.load(name, weights=weights) as model:  # type: ignore[arg-type]
        assert model.weights == weights
        assert (model.embed_documents(pieces, overlong="truncate") * exact).sum(axis=1).min() > cosine
