"""Joined steps and shared memory change nothing: random programs against the same without either, and against numpy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given as whenever
from hypothesis import settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from engines.native.programs import Build, MemoryWeights, given
from turboprop.architectures.ops import Attention, Rope
from turboprop.engines.native import program as programs
from turboprop.engines.native.ops import NativeOps
from turboprop.engines.native.passes import lay_out
from turboprop.engines.native.program import Program
from turboprop.engines.native.steps import Buffer, Kind, Traced, Value
from turboprop.engines.numpy_engine import NumpyOps

TOKENS, NARROW, WIDE = 19, 20, 40
ROPE = Rope(10000.0, 6)
SEEN = Attention(2, 1, 10, 0.3, True, 7)


def _tensors() -> dict[str, NDArray[np.float32]]:
    random = np.random.default_rng(5)
    shapes = {
        **{f"x{number}": (TOKENS, NARROW) for number in range(2)},
        "wide": (TOKENS, WIDE),
        **{f"w{inputs}-{outputs}": (outputs, inputs) for inputs in (NARROW, WIDE) for outputs in (NARROW, WIDE)},
        **{f"b{width}": (width,) for width in (NARROW, WIDE)},
        **{f"row{width}": (2, width) for width in (NARROW, WIDE)},
        "half": (TOKENS, NARROW),
    }
    return {name: (0.4 * random.standard_normal(shape)).astype(np.float32) for name, shape in shapes.items()}


TENSORS = _tensors()
EXACT: dict[str, Any] = {name: values.astype(np.float64) for name, values in TENSORS.items()}


def width(x: Any) -> int:
    return x.width if isinstance(x, Value) else x.shape[-1]


def grow(ops: Any, choices: list[int], *, products: bool) -> tuple[list[Any], Iterator[int]]:
    """Values of a program that the numbers decide."""
    values = [ops.positions("x0"), ops.positions("x1"), ops.positions("wide")]
    numbers = iter(choices)

    def one(fitting: list[Any]) -> Any:
        """Half of the time one of the last three: steps that follow each other are those that are joined."""
        number = next(numbers, 0)
        return fitting[-1 - (number % 3 if number < 32 else number) % len(fitting)]

    def same(x: Any) -> Any:
        """Another value of that width, or x itself."""
        return one([value for value in values if width(value) == width(x)])

    for what in numbers:
        x = one(values)
        extent, chosen = width(x), what % 16
        if chosen in (0, 1, 2, 3) and products:
            outputs = (NARROW, WIDE)[next(numbers, 0) % 2]
            bias = f"b{outputs}" if next(numbers, 0) % 2 else None
            values.append(ops.linear(x, f"w{extent}-{outputs}", bias))
        elif chosen == 4 and products and extent == WIDE:
            values.append(ops.attention(*ops.split(x, (20, 10, 10)), SEEN))
        elif chosen in (5, 6, 7):
            values.append(ops.add(x, same(x)))
        elif chosen in (8, 9):
            values.append(ops.multiply(x, same(x)))
        elif chosen in (10, 11):
            values.append(ops.activation(x, ("gelu", "silu", "tanh", "relu")[next(numbers, 0) % 4]))
        elif chosen == 12:
            values.append(ops.scale(x, 0.7))
        elif chosen == 13:
            values.append(ops.layer_norm(x, f"b{extent}", None, 1e-3))
        elif chosen == 14:
            values.append(ops.rope(x, 10, ROPE) if extent == NARROW else ops.add(ops.row("row40", 1), x))
        elif extent == WIDE:
            values += ops.split(x, (NARROW, NARROW))
        else:
            values.append(ops.rms_norm(x, "b20", 1e-3))
    return values, numbers


def own_memory(traced: Traced) -> tuple[dict[Buffer, int], int]:
    places: dict[Buffer, int] = {}
    end = 0
    for step in traced.steps:
        buffer = step.to.buffer if step.to is not None else None
        if buffer is not None and buffer not in places:
            places[buffer], end = end, end + -(-buffer.width // 16) * 16
    return places, end


def run(traced: Traced, weights: MemoryWeights, rows: list[int]) -> NDArray[np.float32]:
    program = Program(traced, weights, 1, 4, shared=False)
    found = program.run(given(range(TOKENS), rows=rows))
    program.close()
    assert found is not None
    return found


def both(build: Build, rows: list[int] | None = None) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """As it is run, and with the steps as they were traced and memory of its own for every value."""
    weights, outputs = MemoryWeights(TENSORS), []
    for plain in (False, True):
        ops = NativeOps(weights)
        value = build(ops)
        steps = [replace(step) for step in ops.traced.steps]
        traced = ops.output(value)
        if plain:
            for step in steps:
                if step.to is not None and step.to.buffer is not None:
                    step.to.buffer.joined = None
            traced.steps = steps
        with pytest.MonkeyPatch.context() as patch:
            if plain:
                patch.setattr(programs, "lay_out", own_memory)
            outputs.append(run(traced, weights, rows or [0]))
    return outputs[0], outputs[1]


@settings(max_examples=600, deadline=None)
@whenever(seed=st.integers(0, 1 << 32), length=st.integers(1, 60), ending=st.integers(0, 5))
def test_sharing_changes_nothing(seed: int, length: int, ending: int) -> None:
    """From seeds: the lists that hypothesis draws are mostly short, and such programs share little."""
    choices = np.random.default_rng(seed).integers(0, 64, length).tolist()

    def build(ops: NativeOps) -> Value:
        values, _ = grow(ops, choices, products=True)
        whole = [value for value in values if value.whole]
        if ending == 0:
            return whole[len(choices) % len(whole)]  # what comes after it nobody reads
        total = whole[-1]
        for value in values[:: max(1, ending - 2)]:
            total = ops.add(total, value) if value.width == total.width else total
        return ops.linear(ops.pick(total), f"w{total.width}-40", "b40") if ending == 1 else ops.scale(total, 1.0)

    with np.errstate(all="ignore"):
        found, plain = both(build, [3, 3, 18])
    np.testing.assert_array_equal(found, plain)


@settings(max_examples=150, deadline=None)
@whenever(choices=st.lists(st.integers(0, 63), max_size=50))
def test_without_products_it_is_what_numpy_makes(choices: list[int]) -> None:
    def build(ops: Any) -> Any:
        values, _ = grow(ops, choices, products=False)
        return ops.scale(ops.activation(values[-1], "tanh"), 1.0)

    wanted = build(NumpyOps(EXACT, given(range(TOKENS))))
    found = both(build)[0]
    assert found.shape == wanted.shape
    # What float32 loses grows with the values in between.
    assert np.isnan(found).any() or np.abs(found - wanted).max() <= 2e-3


def check(build: Build) -> tuple[NDArray[np.float32], list[Kind]]:
    found, plain = both(build)
    np.testing.assert_array_equal(found, plain)
    ops = NativeOps(MemoryWeights(TENSORS))
    return found, [step.kind for step in ops.output(build(ops)).steps]


def test_a_sum_with_a_product_is_one_step() -> None:
    def build(ops: NativeOps) -> Value:
        x = ops.positions("x0")
        return ops.scale(ops.add(x, ops.linear(x, "w20-20")), 1.0)

    assert check(build)[1] == [Kind.TABLE, Kind.QUANTIZE, Kind.PRODUCT, Kind.SCALE]


def test_a_function_and_its_product_are_one_step() -> None:
    def build(ops: NativeOps) -> Value:
        return ops.scale(ops.multiply(ops.activation(ops.positions("x0"), "silu"), ops.positions("x1")), 1.0)

    assert check(build)[1] == [Kind.TABLE, Kind.TABLE, Kind.ACTIVATE, Kind.SCALE]


def test_what_is_read_after_its_sum_keeps_its_memory() -> None:
    def build(ops: NativeOps) -> Value:
        x = ops.positions("x0")
        total = ops.add(x, ops.linear(x, "w20-20"))
        return ops.multiply(total, x)

    assert Kind.ADD in check(build)[1]


def test_a_function_of_what_a_product_is_added_to() -> None:
    """The function is put off to its product with z, and must not read the sum then."""

    def build(ops: NativeOps) -> Value:
        x, z = ops.positions("x0"), ops.positions("x1")
        a = ops.activation(x, "gelu")
        total = ops.add(x, ops.linear(z, "w20-20"))
        return ops.add(ops.multiply(a, z), total)

    check(build)


def test_what_is_read_between_a_product_and_its_sum_is_not_yet_the_sum() -> None:
    def build(ops: NativeOps) -> Value:
        x = ops.positions("x0")
        product = ops.linear(x, "w20-20")
        a = ops.scale(x, 0.5)
        return ops.multiply(a, ops.add(x, product))

    check(build)


def test_a_function_with_two_products() -> None:
    def build(ops: NativeOps) -> Value:
        once = ops.multiply(ops.activation(ops.positions("x0"), "gelu"), ops.positions("x1"))
        return ops.scale(ops.multiply(once, ops.positions("half")), 1.0)

    assert check(build)[1].count(Kind.MULTIPLY) == 1


@pytest.mark.parametrize("part", [0, 1])
def test_a_part_of_a_function(part: int) -> None:
    def build(ops: NativeOps) -> Value:
        halves = ops.split(ops.activation(ops.positions("wide"), "silu"), (20, 20))
        return ops.multiply(halves[part], ops.positions("x1"))

    assert (check(build)[0] != 0).any()


def test_a_value_and_itself() -> None:
    def build(ops: NativeOps) -> Value:
        x = ops.linear(ops.positions("x0"), "w20-20")
        twice = ops.add(x, x)
        a = ops.activation(twice, "tanh")
        return ops.multiply(a, a)

    check(build)


def test_values_that_never_meet_share_memory() -> None:
    ops = NativeOps(MemoryWeights(TENSORS))
    x = ops.positions("x0")
    for _ in range(10):
        x = ops.add(x, ops.linear(ops.activation(ops.linear(x, "w20-40"), "gelu"), "w40-20"))
    places, end = lay_out(ops.output(ops.scale(x, 1.0)))
    assert end == 32 + 48
    assert all(place % 16 == 0 for place in places.values())
