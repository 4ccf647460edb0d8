"""Matrix products against the same values multiplied in float64: only float32 rounding lies between."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given as whenever
from hypothesis import settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from engines.native.programs import FLOATS, MemoryWeights, compute, eight_bits, given
from turboprop.engines.native.library import GROUP, GROUP_FOUR
from turboprop.engines.native.ops import FINE_INPUTS, NativeOps
from turboprop.engines.native.steps import Buffer, Value

pytestmark = pytest.mark.usefixtures("each_set")

SUPER_KINDS = ("Q4_K", "Q5_K", "Q6_K")
KINDS = ("int8", "int8 gated", "int4", *SUPER_KINDS, *FLOATS)
"""All but wide int8 and floats have a scale for each 32 activations, and so has the product of two values by int8."""
WEIGHTS = ("int8", "int4", *SUPER_KINDS, *FLOATS)
ROUNDING = 1e-5
"""Of the sum of the sizes of what is summed: 2^-24 for each of the 30 to 160 float32 operations on the way."""


def random(seed: int, *shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def whole(kind: str, inputs: int) -> int:
    """As many inputs as a matrix of that kind can have."""
    return -(-inputs // 256) * 256 if kind in SUPER_KINDS else inputs


def assert_product(kind: str, found: NDArray, x: NDArray, exact: NDArray, plus: NDArray | float = 0.0) -> None:
    wide = kind == "int8" and x.shape[1] > FINE_INPUTS
    rounded = x.astype(np.float64) if kind in FLOATS else eight_bits(x, GROUP if wide else GROUP_FOUR)
    wanted = rounded @ exact.T + plus
    size = np.abs(rounded) @ np.abs(exact).T + np.abs(plus)
    # Beside the smallest normal number float32 has fewer digits.
    assert (np.abs(found - wanted) <= ROUNDING * size + 1e-37).all()


def product(
    x: NDArray[np.float32], w: NDArray[np.float32], kind: str, bias: NDArray[np.float32] | None = None
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    tensors = {"x": x, "ones": np.ones_like(x), "w": w, **({} if bias is None else {"b": bias})}
    weights = MemoryWeights(tensors, kind.split()[0])
    name = None if bias is None else "b"

    def build(ops: NativeOps) -> Value:
        values = ops.positions("x")
        return ops.linear(ops.multiply(values, ops.positions("ones")) if "gated" in kind else values, "w", name)

    found = compute(build, weights, given(range(len(x))))
    return found, weights.exact["w"]


@pytest.mark.parametrize(("kind", "inputs"), [("int8", 900), *((kind, 200) for kind in KINDS)])
@pytest.mark.parametrize("tokens", [*range(1, 14), 95, 96, 97, 198])
def test_every_number_of_tokens(kind: str, inputs: int, tokens: int) -> None:
    inputs = whole(kind, inputs)
    x, w, bias = random(tokens, tokens, inputs), random(1, 70, inputs), random(2, 70)
    found, exact = product(x, w, kind, bias)
    assert_product(kind, found, x, exact, bias)


@settings(max_examples=60, deadline=None)
@whenever(
    kind=st.sampled_from(KINDS),
    tokens=st.integers(1, 30),
    inputs=st.one_of(st.integers(1, 400), st.integers(FINE_INPUTS - 1, FINE_INPUTS + 300)),
    outputs=st.integers(1, 150),
    bias=st.booleans(),
    seed=st.integers(0, 99),
)
def test_any_shape(kind: str, tokens: int, inputs: int, outputs: int, bias: bool, seed: int) -> None:
    inputs = whole(kind, inputs)
    x, w = random(seed, tokens, inputs), random(seed + 1, outputs, inputs)
    added = random(seed + 2, outputs) if bias else None
    found, exact = product(x, w, kind, added)
    assert found.shape == (tokens, outputs)
    assert_product(kind, found, x, exact, 0 if added is None else added)


@pytest.mark.parametrize(("kind", "inputs"), [("int8", 1024), *((kind, 384) for kind in KINDS)])
def test_groups_of_zeros(kind: str, inputs: int) -> None:
    inputs = whole(kind, inputs)
    x, w = random(1, 7, inputs), random(2, 40, inputs)
    x[:, 128:256] = 0
    x[3] = 0
    w[5] = 0
    w[:, 300:384] = 0
    w[16:32] = 0
    found, exact = product(x, w, kind)
    assert_product(kind, found, x, exact)
    assert (found[3] == 0).all()
    assert (found[:, 5] == 0).all()


@pytest.mark.parametrize("power", [-30, -18, 18])
def test_scales_far_apart(power: int) -> None:
    """Groups that differ by powers of ten, in both operands."""
    x, w = random(1, 9, 1024), random(2, 33, 1024)
    x[:, 128:256] *= np.float32(10.0**power)
    x[2] *= np.float32(1e-30)
    w[:, 256:] *= np.float32(10.0**-18)
    w[7] *= np.float32(1e15)
    found, exact = product(x, w, "int8")
    assert_product("int8", found, x, exact)


@pytest.mark.parametrize("smallest", [1e-45, 1e-40, 2e-38])
def test_numbers_below_the_normal_ones_are_nearly_nothing(smallest: float) -> None:
    x, w = np.zeros((2, 128), np.float32), random(2, 33, 128)
    x[:, 3] = np.float32(smallest)
    found, _ = product(x, w, "int8")
    assert np.abs(found).max() <= 1e-36


@pytest.mark.parametrize("factor", [2.0**-20, 2.0**12])
@pytest.mark.parametrize("kind", [kind for kind in WEIGHTS if kind not in FLOATS])
def test_a_factor_of_all_weights(kind: str, factor: float) -> None:
    x, w = random(1, 5, 256), random(2, 48, 256)
    weights = MemoryWeights({"x": x, "w": w, "b": random(3, 48)}, kind, factor)
    found = compute(lambda ops: ops.linear(ops.positions("x"), "w", "b"), weights, given(range(5)))
    assert_product(kind, found, x, weights.exact["w"], weights.dense("b"))


@pytest.mark.parametrize("kind", WEIGHTS)
def test_added_to_what_is_there(kind: str) -> None:
    """The sum of a value and a product becomes one step, which reads and writes the value's memory."""
    inputs = whole(kind, 160)
    x, old, w, bias = random(1, 20, inputs), random(2, 20, 45), random(3, 45, inputs), random(4, 45)
    weights = MemoryWeights({"x": x, "old": old, "w": w, "b": bias}, kind)

    def build(ops):
        before = ops.positions("old")
        return ops.scale(ops.add(before, ops.linear(ops.positions("x"), "w", "b")), 1.0)

    found = compute(build, weights, given(range(20)))
    assert_product(kind, found, x, weights.exact["w"], bias.astype(np.float64) + old)


@pytest.mark.parametrize("threads", [1, 3])
def test_a_value_and_its_own_product(threads: int) -> None:
    """In float32 a product reads what it would be added to, so it is not added in place."""
    x, w = random(1, 200, 300), random(2, 300, 300)
    weights = MemoryWeights({"x": x, "w": w}, "float32")

    def build(ops):
        rows = ops.positions("x")
        return ops.scale(ops.add(rows, ops.linear(rows, "w")), 1.0)

    found = compute(build, weights, given(range(200)), threads=threads)
    assert_product("float32", found, x, weights.exact["w"], x.astype(np.float64))


@pytest.mark.parametrize("threads", [1, 3])
def test_a_product_of_a_product(threads: int) -> None:
    """The second begins when the first is done, without a step in between."""
    x, w, v = random(1, 300, 64), random(2, 500, 64), random(3, 40, 500)
    weights = MemoryWeights({"x": x, "w": w, "v": v}, "float32")
    build = lambda ops: ops.linear(ops.linear(ops.positions("x"), "w"), "v")  # noqa: E731
    first = compute(lambda ops: ops.linear(ops.positions("x"), "w"), weights, given(range(300)))
    found = compute(build, weights, given(range(300)), threads=threads)
    assert_product("float32", found, first, weights.exact["v"])


def test_a_sum_beside_the_middle_of_two_numbers_is_rounded_once() -> None:
    """2^-70 below the middle, which a sum in double would be rounded to first, and then up."""
    odd = np.float32(1 + 2**-23)
    x = np.array([[1, 2**-24 * (1 - 2**-23)]], np.float32)
    found, _ = product(x, np.full((40, 2), odd), "float32")
    assert (found == odd).all()


@pytest.mark.parametrize("kind", ["float16", "bfloat16"])
def test_weights_of_16_bits_give_the_bits_of_the_same_in_32(kind: str) -> None:
    x, w = random(1, 21, 700), random(2, 70, 700)
    found, exact = product(x, w, kind)
    np.testing.assert_array_equal(found, product(x, exact.astype(np.float32), "float32")[0])


def test_into_a_part_of_a_wider_value() -> None:
    x, w, v = random(1, 11, 130), random(2, 37, 130), random(3, 21, 130)
    weights = MemoryWeights({"x": x, "w": w, "v": v})

    def build(ops):
        wide, rows = Buffer(58), ops.positions("x")
        ops.linear(rows, "v", to=Value(wide, 21, 37))
        ops.linear(rows, "w", to=Value(wide, 37))
        return ops.scale(Value(wide, 58), 1.0)

    found = compute(build, weights, given(range(11)))
    assert_product("int8", found[:, :37], x, weights.exact["w"])
    assert_product("int8", found[:, 37:], x, weights.exact["v"])


def test_of_a_part_of_a_wider_value() -> None:
    x, w = random(1, 11, 230), random(2, 37, 150)
    weights = MemoryWeights({"x": x, "w": w})
    build = lambda ops: ops.linear(ops.split(ops.positions("x"), (50, 150, 30))[1], "w")  # noqa: E731
    found = compute(build, weights, given(range(11)))
    assert_product("int8", found, x[:, 50:200], weights.exact["w"])


@settings(max_examples=30, deadline=None)
@whenever(
    kind=st.sampled_from(WEIGHTS),
    rows=st.integers(1, 100),
    width=st.integers(1, 300),
    seed=st.integers(0, 99),
    factor=st.sampled_from([1.0, 2.0**-9]),
)
def test_rows_of_a_matrix(kind: str, rows: int, width: int, seed: int, factor: float) -> None:
    weights = MemoryWeights({"w": random(seed, rows, whole(kind, width))}, kind, factor)
    ids = np.random.default_rng(seed).integers(0, rows, 9)
    found = compute(lambda ops: ops.tokens("w"), weights, given(range(9), ids=ids))
    np.testing.assert_allclose(found, weights.exact["w"][ids], rtol=1e-6, atol=0 if kind in ("int8", *FLOATS) else 1e-6)


def test_values_that_are_not_finite_stay_so() -> None:
    """A damaged row may not become a plausible one."""
    for bad in (np.nan, np.inf, -np.inf):
        for place in (0, 5, 127, 128, 149):
            x = random(1, 3, 150)
            x[1, place] = bad
            for kind in ("int8", "float32"):
                found, _ = product(x, random(2, 33, 150), kind)
                assert not np.isfinite(found[1]).any()
                assert np.isfinite(found[[0, 2]]).all()
