"""Every set of kernels gives the same bits: an index made on one processor and a query on another fit together."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from architectures.running import pack
from architectures.tiny_models import INPUTS, MODELS
from engines.loading import load_encoder, load_generator
from engines.native.programs import KINDS, MemoryWeights, compute, given
from turboprop.architectures.ops import Attention, Experts, Rope
from turboprop.engines.contract import EngineOptions
from turboprop.engines.generation_contract import TokenRequest
from turboprop.engines.native import library
from turboprop.engines.native.ops import NativeOps
from turboprop.engines.native.steps import Value
from turboprop.engines.numpy_engine import NumpyOps
from turboprop.models.checkpoint.hf import open_folder


@pytest.fixture
def with_each(kernel_sets: dict[str, Path], use_libraries: Callable[..., None]) -> Callable[[Callable[[], Any]], None]:
    """Asserts that something gives the same array with all sets that run here."""
    if len(kernel_sets) < 2:
        pytest.skip("the processor has no two sets")

    def compare(make: Callable[[], NDArray[Any]]) -> None:
        found = {}
        for name, path in kernel_sets.items():
            use_libraries(path)
            assert library.library()._name == str(path)
            found[name] = make()
        first, *others = found.items()
        for name, other in others:
            np.testing.assert_array_equal(other, first[1], f"{name} and {first[0]} differ")

    return compare


def rows(seed: int, *shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tokens", [1, 2, 5, 97])
def test_products(with_each: Callable[..., None], kind: str, tokens: int) -> None:
    weights = MemoryWeights({"x": rows(1, tokens, 512), "w": rows(2, 70, 512), "b": rows(3, 70)}, kind)
    with_each(lambda: compute(lambda ops: ops.linear(ops.positions("x"), "w", "b"), weights, given(range(tokens))))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tokens", [1, 5, 170])
@pytest.mark.parametrize("how", [Experts(3, 2, True, "silu"), Experts(3, 2, False, "silu", "sigmoid")])
def test_experts(with_each: Callable[..., None], kind: str, tokens: int, how: Experts) -> None:
    """170 tokens are more rows of an expert than one item of a product has."""
    tensors = {"x": rows(1, tokens, 256), "logits": 4 * rows(2, tokens, 3)}
    for number in range(3):
        for part in ("gate", "up", "down"):
            tensors[f"e.{number}.{part}.weight"] = 0.1 * rows(10 * number + len(part), 256, 256)
    weights = MemoryWeights(tensors, kind)

    def run() -> NDArray[np.float32]:
        found = compute(
            lambda ops: ops.experts(ops.positions("x"), ops.positions("logits"), "e", how),
            weights,
            given(range(tokens)),
        )
        batch = given(range(tokens))
        exact = {name: value.astype(np.float32) for name, value in weights.exact.items()}
        wanted = NumpyOps({**tensors, **exact}, batch).experts(tensors["x"], tensors["logits"], "e", how)
        size = np.abs(wanted).max()
        np.testing.assert_allclose(found, wanted, atol=(1e-5 if weights.keeps_float32 else 0.03) * size)
        return found

    with_each(run)


def test_caps(with_each: Callable[..., None]) -> None:
    x = 40 * rows(1, 3, 70)
    weights = MemoryWeights({"x": x}, "float32")

    def run() -> NDArray[np.float32]:
        found = compute(lambda ops: ops.cap(ops.scale(ops.positions("x"), 1.0), 30.0), weights, given(range(3)))
        np.testing.assert_allclose(found, 30 * np.tanh(x / 30), atol=2e-5)
        return found

    with_each(run)


@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_the_largest_sums(with_each: Callable[..., None], kind: str, gated: bool) -> None:
    """Weights and activations at the ends of their ranges: no sum may pass the bits that a set has for it."""
    signs = np.where(rows(1, 9, 512) > 0, np.float32(1), np.float32(-1))
    signs[0], signs[1] = 1, -1
    w = np.where(rows(2, 64, 512) > 0, np.float32(1), np.float32(-1))
    w[:2], w[2:4], w[4], w[5] = 1, -1, signs[2], -signs[2]
    weights = MemoryWeights({"x": signs, "one": np.ones_like(signs), "w": w}, kind)

    def build(ops: NativeOps) -> Value:
        x = ops.positions("x")
        return ops.linear(ops.multiply(x, ops.positions("one")) if gated else x, "w")

    def run() -> NDArray[np.float32]:
        found = compute(build, weights, given(range(9)))
        np.testing.assert_allclose(found, signs.astype(np.float64) @ weights.exact["w"].T, rtol=1e-3, atol=0.5)
        return found

    with_each(run)


@pytest.mark.parametrize("lane", range(4))
def test_one_sum_of_four_beside_the_middle_of_two_numbers(with_each: Callable[..., None], lane: int) -> None:
    """2^-70 below the middle, which a sum in double would be rounded to first, and then up."""
    odd = np.float32(1 + 2**-23)
    w = np.ones((40, 2), np.float32)
    w[lane::4] = odd
    weights = MemoryWeights({"x": np.array([[1, 2**-24 * (1 - 2**-23)]], np.float32), "w": w}, "float32")

    def run() -> NDArray[np.float32]:
        found = compute(lambda ops: ops.linear(ops.positions("x"), "w"), weights, given(range(1)))
        np.testing.assert_array_equal(found[0], w[:, 0])
        return found

    with_each(run)


@pytest.mark.parametrize("width", [1, 15, 16, 33, 100])
def test_rows(with_each: Callable[..., None], width: int) -> None:
    x = rows(1, 12, width) * 6
    x[0, 0], x[1, 0], x[2, 0] = 1e4, -1e4, 89
    weights = MemoryWeights({"x": x, "w": rows(2, width), "b": rows(3, width)})
    for kind in ("gelu", "gelu_tanh", "silu", "relu", "tanh"):
        with_each(
            lambda kind=kind: compute(lambda ops: ops.activation(ops.positions("x"), kind), weights, given(range(12)))
        )
    steps: list[Callable[[NativeOps, Value], Value]] = [
        lambda ops, x: ops.layer_norm(x, "w", "b", 1e-5),
        lambda ops, x: ops.rms_norm(x, "w", 1e-6),
        lambda ops, x: ops.add(x, ops.multiply(x, x)),
    ]
    if width == 100:
        steps += [lambda ops, x: ops.rope(x, 50, Rope(10000.0, 36))]
    for step in steps:
        with_each(lambda step=step: compute(lambda ops: step(ops, ops.positions("x")), weights, given(range(12))))


@pytest.mark.parametrize("head_dim", [8, 33, 64, 128])
@pytest.mark.parametrize("window", [None, 20])
@pytest.mark.parametrize("kind", ["int8", "float32"])
def test_attention(with_each: Callable[..., None], head_dim: int, window: int | None, kind: str) -> None:
    sizes = 5 * head_dim, head_dim, head_dim
    how = Attention(5, 1, head_dim, head_dim**-0.5, window is None, window)
    weights = MemoryWeights({"x": rows(1, 77, sum(sizes))}, kind)
    build = lambda ops: ops.attention(*ops.split(ops.positions("x"), sizes), how)  # noqa: E731
    with_each(lambda: compute(build, weights, given(range(77))))


@pytest.mark.parametrize("name", ["bert", "gemma3", "modernbert", "qwen3"])
@pytest.mark.parametrize("weights", ["int8", "float32"])
def test_vectors_of_a_model(with_each: Callable[..., None], tmp_path: Path, name: str, weights: Any) -> None:
    checkpoint = open_folder(MODELS[name].save(tmp_path))

    def encode() -> NDArray[np.float32]:
        encoder = load_encoder(checkpoint, "native", EngineOptions(weights=weights, threads=2))
        try:
            return encoder.encode(pack([*INPUTS, [5] * 40]))
        finally:
            encoder.close()

    with_each(encode)


@pytest.mark.parametrize("weights", ["int8", "int4", "float32"])
def test_an_answer(with_each: Callable[..., None], tmp_path: Path, weights: Any) -> None:
    checkpoint = open_folder(MODELS["qwen3"].save(tmp_path))

    def answer() -> NDArray[np.int64]:
        generator = load_generator(checkpoint, "native", EngineOptions(weights=weights, threads=2))
        try:
            return np.array([token.id for token in generator.start(TokenRequest((3, 1, 4, 1, 5, 9, 2, 6), 40))])
        finally:
            generator.close()

    with_each(answer)
