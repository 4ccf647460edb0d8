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
    pack_uint4,
    quantize_int8,
    quantize_uint4,
    sum_columns,
    with_remainders,
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


@given(numpy_st.arrays(np.uint8, st.integers(1, 33), elements=st.integers(0, 15)))
def test_packing_keeps_every_value(values: np.ndarray) -> None:
    packed = pack_uint4(values)
    unpacked = np.stack([packed & 15, packed >> 4], axis=1).reshape(-1)
    np.testing.assert_array_equal(unpacked[: len(values)], values)
    assert len(packed) == (len(values) + 1) // 2


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


@given(st.integers(1, 3), st.integers(1, 70), st.integers(0, 2**32 - 1))
def test_zero_points_that_are_not_whole_lose_a_fifteenth_of_a_step(rows: int, groups: int, seed: int) -> None:
    chance = np.random.default_rng(seed)
    values = chance.integers(0, 16, (rows, groups, 32), np.uint8)
    scale = chance.uniform(0.5, 1, (rows, groups, 1)).astype(np.float32)
    scale[chance.random(scale.shape) < 0.1] = 0
    minimum = -chance.uniform(0, 15, scale.shape).astype(np.float32) * scale
    x = chance.standard_normal(groups * 32).astype(np.float32)
    wanted = (values * scale + minimum).reshape(rows, -1) @ x
    q, step, zero = with_remainders(values, scale, minimum)
    assert q.max() <= 15
    assert zero.max() <= 15
    matrix = ((q.astype(np.float32) - zero) * step).reshape(rows, -1)
    assert matrix.shape[1] == groups * 32 + sum_columns(groups * 32)
    assert matrix.shape[1] % 64 == 0
    sums = np.zeros(sum_columns(groups * 32), np.float32)
    sums[:groups] = x.reshape(groups, 32).sum(axis=1)
    # Remainders span one step at most, in 15 parts; each is off by one part at most.
    allowed = np.abs(sums).sum() / 15 + 1e-3
    assert np.abs(matrix @ np.concatenate([x, sums]) - wanted).max() <= allowed
