"""The steps that take one row at a time, against float64 in numpy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engines.native.programs import MemoryWeights, compute, given, on_rows
from turboprop.architectures.ops import Attention, Rope
from turboprop.engines.native.ops import NativeOps
from turboprop.engines.native.steps import Kind, Value

pytestmark = pytest.mark.usefixtures("each_set")

WIDTHS = [1, 7, 15, 16, 17, 31, 33, 64, 100]


def rows(seed: int, *shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def beside(build: Callable[[NativeOps, Value], Value], x: NDArray[np.float32], **tensors: Any) -> NDArray[np.float32]:
    """The same step over a part of a wider value."""
    wide = np.concatenate([rows(90, len(x), 5), x, rows(91, len(x), 9)], 1)

    def cut(ops: NativeOps, value: Value) -> Value:
        return build(ops, ops.split(value, (5, x.shape[1], 9))[1])

    return on_rows(cut, wide, **tensors)


EITHER = pytest.mark.parametrize("applied", [on_rows, beside])


@EITHER
@pytest.mark.parametrize("width", WIDTHS)
def test_root_mean_square(applied: Callable, width: int) -> None:
    x, w = rows(1, 5, width), rows(2, width)
    x[3] *= 1e-4
    exact = x.astype(np.float64)
    wanted = exact / np.sqrt((exact**2).mean(-1, keepdims=True) + 1e-6)
    found = applied(lambda ops, x: ops.rms_norm(x, "w", 1e-6), x, w=w)
    np.testing.assert_allclose(found, wanted * w, rtol=2e-6)
    found = applied(lambda ops, x: ops.rms_norm(x, "w", 1e-6, offset=1.0), x, w=w)
    np.testing.assert_allclose(found, wanted * (w + np.float32(1)), rtol=2e-6)


@EITHER
@pytest.mark.parametrize("each", WIDTHS)
def test_root_mean_square_of_each_head(applied: Callable, each: int) -> None:
    x, w = rows(1, 4, 3 * each), rows(2, each)
    exact = x.astype(np.float64).reshape(4, 3, each)
    wanted = (exact / np.sqrt((exact**2).mean(-1, keepdims=True) + 1e-5) * w).reshape(4, -1)
    found = applied(lambda ops, x: ops.rms_norm(x, "w", 1e-5, per_head=each), x, w=w)
    np.testing.assert_allclose(found, wanted, rtol=2e-6)


@EITHER
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(("weight", "bias"), [("w", "b"), ("w", None), (None, None), (None, "b")])
def test_layer_norm(applied: Callable, width: int, weight: str | None, bias: str | None) -> None:
    x, w, b = rows(1, 5, width) + 3, rows(2, width), rows(3, width)
    exact = x.astype(np.float64)
    centred = exact - exact.mean(-1, keepdims=True)
    wanted = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
    wanted = wanted * (w if weight else 1) + (b if bias else 0)
    found = applied(lambda ops, x: ops.layer_norm(x, weight, bias, 1e-5), x, w=w, b=b)
    np.testing.assert_allclose(found, wanted, atol=1e-5, rtol=1e-5)


def turned(x: NDArray[np.float32], positions: NDArray[np.int64], head_dim: int, rope: Rope) -> NDArray[np.float64]:
    heads = x.astype(np.float64).reshape(len(x), -1, head_dim)
    frequencies = (rope.base ** (-np.arange(0, rope.dims, 2) / rope.dims)).astype(np.float32)
    angles = positions[:, None].astype(np.float32) * frequencies
    if rope.factors:
        angles = angles / np.array(rope.factors, np.float32)
    c, s = (f(angles.astype(np.float64))[:, None] * rope.magnitude for f in (np.cos, np.sin))
    half = rope.dims // 2
    first, second = (
        (slice(0, half), slice(half, rope.dims))
        if rope.pairing == "half"
        else (slice(0, rope.dims, 2), slice(1, rope.dims, 2))
    )
    made = heads.copy()
    made[..., first] = heads[..., first] * c - heads[..., second] * s
    made[..., second] = heads[..., second] * c + heads[..., first] * s
    return made.reshape(x.shape)


@pytest.mark.parametrize("pairing", ["half", "interleaved"])
@pytest.mark.parametrize(
    ("head_dim", "dims"), [(8, 8), (16, 16), (64, 64), (80, 80), (80, 32), (96, 24), (2, 2), (5, 2), (256, 256)]
)
def test_rotary_positions(pairing: str, head_dim: int, dims: int) -> None:
    x = rows(1, 40, 3 * head_dim)
    plain = Rope(10000.0, dims, pairing)  # type: ignore[arg-type]
    factors = tuple(float(value) for value in np.linspace(1, 8, dims // 2))
    scaled = Rope(500000.0, dims, pairing, factors, magnitude=1.3)  # type: ignore[arg-type]
    for rope in (plain, scaled):
        wanted = turned(x, np.arange(40), head_dim, rope)
        for applied in (on_rows, beside):
            found = applied(lambda ops, x, rope=rope: ops.rope(x, head_dim, rope), x)
            np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_two_rotations_and_positions_far_away() -> None:
    """Each kind of rotation has its own table; both grow with the positions."""
    x = rows(1, 3000, 32)
    one, other = Rope(10000.0, 16), Rope(1e6, 8, "interleaved")
    weights = MemoryWeights({"x": x})
    positions = np.array([2999, 0, 17, 1024, 2048])
    found = compute(lambda ops: ops.rope(ops.rope(ops.positions("x"), 16, one), 16, other), weights, given(positions))
    first = turned(x[positions], positions, 16, one)
    np.testing.assert_allclose(found, turned(first.astype(np.float32), positions, 16, other), atol=3e-5)


def test_longer_inputs_turn_more_slowly() -> None:
    """Each input of a run by its own length: within the trained one as ever."""
    x, lengths = rows(1, 40, 32), (25, 8, 9)
    rope = Rope(1000.0, 16, dynamic=(2.0, 8))
    positions = np.concatenate([np.arange(length) for length in lengths])
    what = given(positions, lengths=lengths)
    found = compute(lambda ops: ops.rope(ops.positions("x"), 16, rope), MemoryWeights({"x": x}), what)
    start = 0
    for length in lengths:
        base = 1000.0 * max(1.0, 2 * length / 8 - 1) ** (16 / 14)
        wanted = turned(x[:length], np.arange(length), 16, Rope(base, 16))
        np.testing.assert_allclose(found[start : start + length], wanted, atol=1e-5)
        start += length


def test_factors_from_a_tensor() -> None:
    x, factors = rows(1, 30, 32), np.array([1, 2, 4, 8], np.float32)
    found = on_rows(lambda ops, x: ops.rope(x, 16, Rope(10000.0, 8, factors_weight="f")), x, f=factors)
    wanted = turned(x, np.arange(30), 16, Rope(10000.0, 8, factors=tuple(map(float, factors))))
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def error_function(x: NDArray[np.float64]) -> NDArray[np.float64]:
    from math import erf

    return np.vectorize(erf)(x)


FUNCTIONS = {
    "gelu": lambda x: x * 0.5 * (1 + error_function(x / np.sqrt(2))),
    "gelu_tanh": lambda x: x * 0.5 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
    "silu": lambda x: x / (1 + np.exp(-np.maximum(x, -700))),
    "relu": lambda x: np.maximum(x, 0),
    "tanh": np.tanh,
}


@EITHER
@pytest.mark.parametrize("kind", FUNCTIONS)
@pytest.mark.parametrize("width", WIDTHS)
def test_functions(applied: Callable, kind: Any, width: int) -> None:
    x, y = rows(1, 9, width) * 4, rows(2, 9, width)
    x[0], x[1], x[2, :1] = 80, -80, 0
    x[3], x[4] = 1e4, -1e4
    exact = FUNCTIONS[kind](x.astype(np.float64))
    # The series are within 2e-7 of 1, times x / 2 where x multiplies them.
    near = 4e-7 * (1 + np.abs(x))
    found = applied(lambda ops, x: ops.activation(x, kind), x)
    assert (np.abs(found - exact) <= near).all()
    found = applied(lambda ops, x: ops.multiply(ops.activation(x, kind), ops.positions("y")), x, y=y)
    assert (np.abs(found - exact * y) <= near * np.abs(y) + 1e-30).all()
    found = applied(lambda ops, x: ops.multiply(ops.positions("y"), ops.activation(x, kind)), x, y=y)
    assert (np.abs(found - exact * y) <= near * np.abs(y) + 1e-30).all()


@pytest.mark.parametrize("kind", FUNCTIONS)
def test_functions_keep_what_is_no_number(kind: Any) -> None:
    x = np.array([[np.nan, 1, -1]], np.float32)
    found = on_rows(lambda ops, x: ops.activation(x, kind), x)
    assert np.isnan(found[0]).tolist() == [True, False, False]


@EITHER
@pytest.mark.parametrize("width", WIDTHS)
def test_sums_products_and_multiples(applied: Callable, width: int) -> None:
    x, y = rows(1, 6, width), rows(2, 6, width)
    constant = rows(3, 4, width)
    assert (applied(lambda ops, x: ops.add(x, ops.positions("y")), x, y=y) == x + y).all()
    assert (applied(lambda ops, x: ops.multiply(x, ops.positions("y")), x, y=y) == x * y).all()
    assert (applied(lambda ops, x: ops.add(x, ops.row("c", 2)), x, c=constant) == x + constant[2]).all()
    assert (applied(lambda ops, x: ops.add(ops.row("c", 1), x), x, c=constant) == x + constant[1]).all()
    assert (applied(lambda ops, x: ops.scale(x, 0.3), x) == x * np.float32(0.3)).all()
    assert (applied(lambda ops, x: ops.add(x, x), x) == x + x).all()


@pytest.mark.parametrize("width", WIDTHS)
def test_tables(width: int) -> None:
    table, kinds = rows(1, 20, width), rows(2, 2, width)
    weights = MemoryWeights({"p": table, "t": kinds})
    positions = [4, 0, 9, 2]
    found = compute(lambda ops: ops.positions("p", 10), weights, given(positions))
    assert (found == table[np.array(positions) + 10]).all()
    types = [0, 1, 1, 0]
    assert (compute(lambda ops: ops.types("t"), weights, given(positions, types=types)) == kinds[types]).all()
    assert (compute(lambda ops: ops.types("t"), weights, given(positions)) == kinds[0]).all()


def attention_of(ops: NativeOps, x: Value) -> Value:
    return ops.attention(x, x, x, Attention(2, 2, 8, 0.3, causal=True))


def quantized_before(ops: NativeOps) -> Value:
    """The last product takes what was quantised for the first."""
    x = ops.positions("x")
    first = ops.linear(x, "w")
    seen = attention_of(ops, ops.scale(first, 1.0))
    return ops.add(ops.linear(x, "w"), seen)


def turned_after(ops: NativeOps) -> Value:
    """Positions are those of all tokens."""
    return ops.rope(attention_of(ops, ops.positions("x")), 8, Rope(10000.0, 8))


def nothing_after(ops: NativeOps) -> Value:
    return attention_of(ops, ops.positions("x"))


def a_part_after(ops: NativeOps) -> Value:
    """A part of an earlier value, which all of the attention is added to, and a function of neither."""
    x = ops.positions("x")
    left, _ = ops.split(ops.linear(ops.linear(x, "w"), "wide"), (16, 16))
    ops.scale(x, 3.0)
    return ops.multiply(ops.add(left, attention_of(ops, x)), ops.activation(left, "tanh"))


@pytest.mark.parametrize(
    ("build", "early"), [(quantized_before, 0), (turned_after, 0), (nothing_after, 0), (a_part_after, 2)]
)
def test_rows_that_are_picked_early(build: Callable[[NativeOps], Value], early: int) -> None:
    """The rows asked for are the same whether what follows the last attention was over all or over them."""
    weights = MemoryWeights({"x": rows(1, 9, 16), "w": rows(2, 16, 16), "wide": rows(3, 32, 16)})
    every = compute(lambda ops: ops.scale(build(ops), 1.0), weights, given(range(9)))
    for picked in ([8], [3, 0, 3], [*range(9)] * 3):
        found = compute(lambda ops: ops.scale(ops.pick(build(ops)), 1.0), weights, given(range(9), rows=picked))
        np.testing.assert_array_equal(found, every[picked])
    ops = NativeOps(weights)
    steps = ops.output(ops.scale(ops.pick(build(ops)), 1.0)).steps
    assert sum(step.kind is Kind.PICK for step in steps) == max(1, early)
    assert sum(step.picked for step in steps) == (5 if early else 2)


def test_picked_rows() -> None:
    """What follows the pick is over the rows asked for: none of the tokens, some twice, more than there are."""
    x, w = rows(1, 9, 20), rows(2, 33, 20)
    weights = MemoryWeights({"x": x, "w": w})

    def build(ops: NativeOps) -> Value:
        return ops.linear(ops.pick(ops.scale(ops.positions("x"), 2.0)), "w")

    every = compute(lambda ops: ops.linear(ops.scale(ops.positions("x"), 2.0), "w"), weights, given(range(9)))
    for picked in ([8], [3, 0, 3], [*range(9)] * 3):
        assert (compute(build, weights, given(range(9), rows=picked)) == every[picked]).all()
