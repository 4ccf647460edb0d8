"""Dequantised values equal the reference's, bit for bit."""

from __future__ import annotations

import sys
from pathlib import Path

import gguf as reference_gguf
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from models.gguf_bytes import File, tensor_info
from reference import reference
from turboprop.errors import ModelUnsupportedError, UsageError
from turboprop.models.gguf.dequantize import dequantize
from turboprop.models.gguf.file import GGUFFile
from turboprop.models.gguf.types import REMOVED_TYPES, GGMLType

# fmt: off
GOLDEN = [
    "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0",
    "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K",
    "IQ2_XXS", "IQ2_XS", "IQ3_XXS", "IQ1_S", "IQ4_NL", "IQ3_S",
    "IQ2_S", "IQ4_XS", "IQ1_M", "TQ1_0", "TQ2_0", "F16", "BF16",
]
# fmt: on
PACKAGED = [kind for kind in GGMLType if kind in reference_gguf.quants._type_traits or kind is GGMLType.F16]


def decoded(kind: GGMLType, raw: NDArray[np.uint8]) -> NDArray[np.float32]:
    out = np.full(raw.size // kind.block_bytes * kind.block_values, 777, np.float32)
    dequantize(kind, raw, out)
    return out


def assert_same(found: NDArray[np.float32], expected: NDArray[np.float32]) -> None:
    """Equal bits; of a NaN only that it is one."""
    missing = np.isnan(expected)
    assert np.array_equal(np.isnan(found), missing)
    assert np.array_equal(found.view(np.uint32)[~missing], expected.view(np.uint32)[~missing])


def random_blocks(kind: GGMLType, seed: int, count: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, count * kind.block_bytes, dtype=np.uint8)


@pytest.mark.parametrize("name", GOLDEN)
def test_real_blocks_of_the_reference(name: str) -> None:
    with np.load(reference("golden/ggml-quant-golden.npz")) as golden:
        assert_same(decoded(GGMLType[name], golden[f"q_{name}"]), golden[f"dq_{name}"])


@pytest.mark.parametrize("name", [name for name in GOLDEN if name not in ("F16", "BF16")])
def test_random_blocks_of_the_reference(name: str) -> None:
    with np.load(reference("golden/ggml-quant-golden.npz")) as golden:
        assert_same(decoded(GGMLType[name], golden[f"rq_{name}"]), golden[f"rdq_{name}"])


def test_the_golden_file_has_no_type_more() -> None:
    with np.load(reference("golden/ggml-quant-golden.npz")) as golden:
        assert {name.removeprefix("q_") for name in golden if name.startswith("q_")} == set(GOLDEN)


@pytest.mark.parametrize("kind", PACKAGED, ids=lambda kind: kind.name)
def test_random_blocks_of_the_package(kind: GGMLType) -> None:
    # More than one chunk of values, and a last one that is not whole.
    raw = random_blocks(kind, 11, (300_000 if kind.block_values > 1 else 3_000_000) // kind.block_values)
    with np.errstate(all="ignore"):
        expected = reference_gguf.quants.dequantize(raw.reshape(1, -1), reference_gguf.GGMLQuantizationType(int(kind)))
    assert_same(decoded(kind, raw), expected.reshape(-1))


def test_every_half_precision_number() -> None:
    halves = np.arange(65_536, dtype="<u2")
    expected = halves.view(np.float16).astype(np.float32)
    assert_same(decoded(GGMLType.F16, halves.view(np.uint8)), expected)
    finite = halves[np.isfinite(expected)]  # without infinities it goes another way
    assert_same(decoded(GGMLType.F16, finite.view(np.uint8)), expected[np.isfinite(expected)])


def test_every_bfloat16() -> None:
    upper = np.arange(65_536, dtype="<u2")
    assert_same(decoded(GGMLType.BF16, upper.view(np.uint8)), (upper.astype(np.uint32) << 16).view(np.float32))


@pytest.mark.parametrize("dtype", ["F32", "F64", "I8", "I16", "I32", "I64"])
def test_plain_numbers(dtype: str) -> None:
    numpy_name = {"F": "<f", "I": "<i"}[dtype[0]] + str(int(dtype[1:]) // 8)
    values = np.array([0, 1, -1, 127, -128], numpy_name)
    assert decoded(GGMLType[dtype], values.view(np.uint8)).tolist() == values.tolist()


def test_q8_1_and_q8_k_by_hand() -> None:
    q = np.arange(-16, 16, dtype=np.int8)
    block = np.concatenate([np.array([0.5, 99], "<f2").view(np.uint8), q.view(np.uint8)])
    assert decoded(GGMLType.Q8_1, block).tolist() == (q * 0.5).tolist()
    q = np.arange(-128, 128).astype(np.int8)
    parts = [np.array([0.25], "<f4"), q, np.full(16, 7, "<i2")]
    block = np.concatenate([part.view(np.uint8) for part in parts])
    assert decoded(GGMLType.Q8_K, block).tolist() == (q * 0.25).tolist()


def test_q1_0_by_hand() -> None:
    block = np.concatenate([np.array([1.5], "<f2").view(np.uint8), np.array([0b101, *[0] * 15], np.uint8)])
    assert decoded(GGMLType.Q1_0, block).tolist() == [1.5, -1.5, 1.5] + [-1.5] * 125


def test_sizes_are_those_of_the_package() -> None:
    for kind in GGMLType:
        theirs = reference_gguf.GGMLQuantizationType(int(kind))
        assert theirs.name == kind.name
        if kind is not GGMLType.Q8_1:  # the package has its size of 2023, with float32 scales
            assert reference_gguf.GGML_QUANT_SIZES[theirs] == (kind.block_values, kind.block_bytes)
    assert not set(REMOVED_TYPES) & set(GGMLType)


def model(tmp_path: Path, kind: GGMLType, extents: list[int], raw: bytes) -> GGUFFile:
    path = tmp_path / "model.gguf"
    path.write_bytes(File(tensors=[tensor_info("w", extents, kind, 0)], data=raw + bytes(-len(raw) % 32)).bytes())
    return GGUFFile.open(path)


@pytest.mark.parametrize("kind", [GGMLType.Q4_K, GGMLType.Q8_0, GGMLType.F16, GGMLType.IQ2_S])
def test_rows_equal_the_rows_of_the_whole(tmp_path: Path, kind: GGMLType) -> None:
    raw = random_blocks(kind, 3, 6 * 5 * 256 // kind.block_values)
    with model(tmp_path, kind, [256, 5, 6], raw.tobytes()) as file:
        tensor = file.tensors["w"]
        whole = tensor.dequantize()
        assert whole.shape == tensor.shape == (6, 5, 256)
        for rows in (slice(0, 2), slice(2, 6), slice(-1, None), slice(4, 99), slice(3, 3), slice(5, 2)):
            assert np.array_equal(tensor.dequantize(rows), whole[rows], equal_nan=True)
        out = np.empty((2, 5, 256), np.float32)
        assert tensor.dequantize(slice(1, 3), out=out) is out
        assert np.array_equal(out, whole[1:3], equal_nan=True)


@settings(deadline=None, max_examples=50)
@given(first=st.integers(-9, 9), last=st.integers(-9, 9))
def test_rows_follow_the_rules_of_slices(tmp_path_factory: pytest.TempPathFactory, first: int, last: int) -> None:
    values = np.arange(7 * 32, dtype="<f4").reshape(7, 32)
    folder = tmp_path_factory.getbasetemp()
    with model(folder, GGMLType.F32, [32, 7], values.tobytes()) as file:
        assert np.array_equal(file.tensors["w"].dequantize(slice(first, last)), values[first:last])


def test_a_vector_of_blocks_has_rows_too(tmp_path: Path) -> None:
    raw = random_blocks(GGMLType.Q8_0, 5, 2)
    with model(tmp_path, GGMLType.Q8_0, [64], raw.tobytes()) as file:
        tensor = file.tensors["w"]
        assert np.array_equal(tensor.dequantize(slice(10, 40)), tensor.dequantize()[10:40], equal_nan=True)


def test_a_scalar(tmp_path: Path) -> None:
    with model(tmp_path, GGMLType.F32, [], np.array([2.5], "<f4").tobytes()) as file:
        tensor = file.tensors["w"]
        assert tensor.shape == ()
        assert tensor.dequantize() == np.float32(2.5)
        with pytest.raises(UsageError, match="has no rows"):
            tensor.dequantize(slice(0, 1))


def test_wrong_requests(tmp_path: Path) -> None:
    with model(tmp_path, GGMLType.F32, [4, 2], bytes(32)) as file:
        tensor = file.tensors["w"]
        with pytest.raises(UsageError, match="step of 1"):
            tensor.dequantize(slice(0, 2, 2))
        for out in (np.empty((3, 4), np.float32), np.empty((2, 4)), np.empty((4, 2), np.float32).T):
            with pytest.raises(UsageError, match="C-contiguous float32"):
                tensor.dequantize(out=out)  # type: ignore[arg-type]


def test_a_codebook_type_without_the_package_names_the_tensor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = random_blocks(GGMLType.IQ1_S, 1, 1)
    monkeypatch.setitem(sys.modules, "gguf", None)
    with (
        model(tmp_path, GGMLType.IQ1_S, [256], raw.tobytes()) as file,
        pytest.raises(ModelUnsupportedError, match=r"tensor w: type IQ1_S .* pip install gguf"),
    ):
        file.tensors["w"].dequantize()


@pytest.mark.parametrize("name", ["IQ4_XS", "Q2_K", "Q3_K_M", "Q4_K_M", "Q5_K_M", "Q6_K", "F16", "BF16"])
def test_requantised_models_stay_near_the_original(name: str) -> None:
    with (
        GGUFFile.open(reference("gguf/stories260K.gguf")) as exact,
        GGUFFile.open(reference(f"gguf/stories260K-{name}.gguf")) as coarse,
    ):
        assert set(coarse.tensors) == set(exact.tensors)
        for tensor in exact.tensors.values():
            expected = tensor.dequantize().reshape(-1)
            found = coarse.tensors[tensor.name].dequantize().reshape(-1)
            cosine = expected @ found / np.sqrt((expected @ expected) * (found @ found))
            assert cosine > 0.98
