"""Weights as they are laid out, written once into the cache, and taken from there."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import gguf
import numpy as np
import pytest
from hypothesis import given as whenever
from hypothesis import settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.numpy import save_file

from architectures.running import pack
from architectures.tiny_models import INPUTS, MODELS
from engines.loading import load_encoder
from engines.native.programs import MemoryWeights, compute, given
from turboprop.engines.contract import EngineOptions
from turboprop.engines.native.library import ALIGNMENT
from turboprop.engines.native.weights import INDEX, VALUES, Format, MappedWeights, Weights, write_weights
from turboprop.errors import EngineError, ModelFormatError
from turboprop.models.checkpoint.hf import open_folder
from turboprop.models.checkpoint.tensors import StoredTensor, open_safetensors
from turboprop.models.checkpoint.view import Checkpoint
from turboprop.models.gguf.file import GGUFFile


def written(folder: Path, tensors: dict[str, StoredTensor], weights: Format, matrices: list[str]) -> MappedWeights:
    folder.mkdir()
    read = []

    def ask(source: Weights) -> None:
        for name in tensors:
            _ = source.matrix(name, None) if name in matrices else source.dense(name)

    write_weights(folder, tensors, {name: name for name in tensors}, weights, read.append, ask)
    assert sum(read) >= sum(4 * int(np.prod(tensor.shape)) for tensor in tensors.values())
    return MappedWeights(folder)


def rows(weights: Weights, name: str) -> NDArray[np.float32]:
    """What the kernels read of a matrix."""
    count = weights.rows(name)
    return compute(lambda ops: ops.tokens(name), weights, given(range(count), ids=range(count)))


@settings(max_examples=25, deadline=None)
@whenever(
    shapes=st.lists(st.tuples(st.integers(1, 100), st.integers(1, 300)), min_size=1, max_size=4),
    weights=st.sampled_from(["int8", "int4"]),
    seed=st.integers(0, 99),
)
def test_matrices_are_what_quantising_makes_of_them(
    tmp_path_factory: pytest.TempPathFactory, shapes: list[tuple[int, int]], weights: Format, seed: int
) -> None:
    folder, random = tmp_path_factory.mktemp("weights"), np.random.default_rng(seed)
    tensors = {f"m{number}": random.standard_normal(shape).astype(np.float32) for number, shape in enumerate(shapes)}
    tensors["table"] = random.standard_normal((5, 7)).astype(np.float32)
    save_file(tensors, folder / "m.safetensors")
    mapped = written(folder / "native", open_safetensors(folder / "m.safetensors"), weights, list(tensors)[:-1])
    np.testing.assert_array_equal(mapped.dense("table"), tensors["table"])
    for entry in json.loads((folder / "native" / INDEX).read_bytes())["weights"].values():
        assert entry["offset"] % ALIGNMENT == 0
    memory = MemoryWeights(tensors, weights)
    for name in list(tensors)[:-1]:
        memory.matrix(name, None)
        # Scale and minimum are rounded to float16 on both sides, with another factor: each time 2^-11 of 3 times the
        # largest value at most.
        allowed = 6 * 2.0**-11 * np.abs(tensors[name]).max() if weights == "int4" else 1e-6
        np.testing.assert_allclose(rows(mapped, name), memory.exact[name], atol=allowed)


def test_a_matrix_that_is_read_in_parts(tmp_path: Path) -> None:
    """2,500 rows of 1,000 are converted in three parts."""
    values = np.random.default_rng(0).standard_normal((2500, 1000)).astype(np.float32)
    save_file({"m": values}, tmp_path / "m.safetensors")
    found = rows(written(tmp_path / "native", open_safetensors(tmp_path / "m.safetensors"), "int8", ["m"]), "m")
    assert (np.abs(found - values).reshape(2500, -1).max(1) <= np.abs(values).max(1) / 127).all()


@pytest.mark.parametrize("power", [-45, -40, -30, 0, 30])
def test_scales_of_any_size_in_four_bits(tmp_path: Path, power: int) -> None:
    values = np.random.default_rng(0).standard_normal((32, 128)).astype(np.float32) * np.float32(10.0**power)
    save_file({"m": values}, tmp_path / "m.safetensors")
    found = rows(written(tmp_path / "native", open_safetensors(tmp_path / "m.safetensors"), "int4", ["m"]), "m")
    assert np.abs(found - values).max() <= max(0.3 * np.abs(values).max(), 1e-40)


SCALES = {"Q4_K": (144, 0, 2), "Q5_K": (176, 0, 2), "Q6_K": (210, 208, 1)}
"""Bytes of a block of 256 weights, where its float16 begin, and how many there are."""


def quantized_file(path: Path, kind: gguf.GGMLQuantizationType, offset: float) -> GGUFFile:
    random = np.random.default_rng(7)
    if kind.name in SCALES:  # the package does not write them: blocks of random bits
        size, at, count = SCALES[kind.name]
        blocks = random.integers(0, 256, (40 * 2, size), np.uint8)
        steps = np.exp(random.uniform(-12, 0, (80, count))).astype(np.float16)
        steps[5] = 0
        blocks[:, at : at + 2 * count] = steps.view(np.uint8).reshape(80, -1)
        raw = blocks.reshape(40, -1)
    elif offset:
        raw = gguf.quants.quantize(offset + 0.01 * random.random((40, 512), np.float32), kind)
    else:
        values = random.standard_normal((40, 512)).astype(np.float32)
        values *= np.exp(random.uniform(-10, 3, (40, 1))).astype(np.float32)
        values[3, 32:96] = 0
        raw = gguf.quants.quantize(values, kind)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_tensor("m", raw, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return GGUFFile.open(path)


@pytest.mark.parametrize("kind", SCALES)
def test_stored_values_of_super_blocks_are_exactly_those_of_the_file(tmp_path: Path, kind: str) -> None:
    tensor = quantized_file(tmp_path / "m.gguf", gguf.GGMLQuantizationType[kind], 0).tensors["m"]
    mapped = written(tmp_path / "native", {"m": tensor}, "stored", ["m"])
    wanted = tensor.dequantize()
    np.testing.assert_allclose(rows(mapped, "m"), wanted, rtol=3e-7, atol=3e-7 * np.abs(wanted).max())


@pytest.mark.parametrize("kind", SCALES)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_scales_of_super_blocks_that_are_not_finite_are_refused(tmp_path: Path, kind: str, bad: float) -> None:
    path = tmp_path / "m.gguf"
    tensor = quantized_file(path, gguf.GGMLQuantizationType[kind], 0).tensors["m"]
    size, at, count = SCALES[kind]
    place = tensor.offset + 77 * size + at + 2 * (count - 1)
    content = bytearray(path.read_bytes())
    content[place : place + 2] = np.float16(bad).tobytes()
    path.write_bytes(content)
    with pytest.raises(ModelFormatError, match="'m' holds values that are not finite"):
        written(tmp_path / "native", {"m": GGUFFile.open(path).tensors["m"]}, "stored", ["m"])


@pytest.mark.parametrize(("kind", "offset"), [("Q4_0", 0), ("Q4_1", 0), ("Q4_1", 1000)])
def test_stored_values_are_those_of_the_file(tmp_path: Path, kind: str, offset: float) -> None:
    """Scale and minimum are rounded to float16, relative to the largest of the matrix; minima may be far larger."""
    tensor = quantized_file(tmp_path / "m.gguf", gguf.GGMLQuantizationType[kind], offset).tensors["m"]
    mapped = written(tmp_path / "native", {"m": tensor}, "stored", ["m"])
    wanted = tensor.dequantize().astype(np.float64)
    _, scale, minimum = tensor.four_bit(slice(None))
    factor = mapped.matrix("m", None).factor
    assert factor == 2.0 ** np.round(np.log2(factor))
    half = np.maximum(2.0**-11 * np.stack([15 * np.abs(scale), np.abs(minimum)]), 16 * 2.0**-25 * factor).sum(0)
    allowed = np.repeat(half[:, :, 0], 32, 1) * 1.001
    off = np.abs(rows(mapped, "m") - wanted)
    assert (off <= allowed).all()
    assert off.max() < 1e-3 * np.abs(wanted).max()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("name", ["norm.weight", "layers.1.mlp.up_proj.weight", "embed_tokens.weight"])
@pytest.mark.parametrize("weights", ["int8", "int4"])
def test_values_that_are_not_finite_are_refused(tmp_path: Path, bad: float, name: str, weights: Format) -> None:
    model = MODELS["qwen3"]
    tensors, folder = model.weights(), model.save(tmp_path / "m")
    tensors[name].reshape(-1)[-1] = bad
    save_file(tensors, folder / "model.safetensors")
    options = EngineOptions(weights=weights, threads=1, cache_home=tmp_path / "cache")
    with pytest.raises(ModelFormatError, match=f"'{name}' holds values that are not finite"):
        load_encoder(open_folder(folder), "native", options)
    assert not list((tmp_path / "cache" / "graphs").iterdir())


# The cache


def tiny(folder: Path) -> Checkpoint:
    return open_folder(MODELS["qwen3"].save(folder / "model"))


def vectors(checkpoint: Checkpoint, cache_home: Path | None) -> NDArray[np.float32]:
    options = EngineOptions(weights="int8", threads=2, cache_home=cache_home)
    encoder = load_encoder(checkpoint, "native", options)
    try:
        return encoder.encode(pack(INPUTS))
    finally:
        encoder.close()


def kept(cache_home: Path) -> Path:
    (folder,) = (cache_home / "graphs").iterdir()
    return folder


def test_what_was_converted_is_taken_from_the_cache(tmp_path: Path) -> None:
    checkpoint, cache = tiny(tmp_path), tmp_path / "cache"
    wanted = vectors(checkpoint, None)
    np.testing.assert_array_equal(vectors(checkpoint, cache), wanted)
    before = (kept(cache) / VALUES).stat().st_ino
    np.testing.assert_array_equal(vectors(checkpoint, cache), wanted)
    assert (kept(cache) / VALUES).stat().st_ino == before


@pytest.mark.parametrize("file", [VALUES, INDEX])
@pytest.mark.parametrize("damage", ["a byte", "cut", "empty", "gone"])
def test_damaged_files_are_made_again(tmp_path: Path, file: str, damage: str) -> None:
    checkpoint, cache = tiny(tmp_path), tmp_path / "cache"
    wanted = vectors(checkpoint, cache)
    path = kept(cache) / file
    sound = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        middle = len(sound) // 2
        other = sound[:middle] + bytes([sound[middle] ^ 1]) + sound[middle + 1 :]
        path.write_bytes({"a byte": other, "cut": sound[:middle], "empty": b""}[damage])
    np.testing.assert_array_equal(vectors(checkpoint, cache), wanted)
    assert (kept(cache) / file).read_bytes() == sound


def test_a_cache_that_cannot_be_written_costs_the_conversion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint, cache = tiny(tmp_path), tmp_path / "cache"
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    cache.mkdir()
    (cache / "graphs").write_text("a file where a folder should be", "ascii")
    np.testing.assert_array_equal(vectors(checkpoint, cache), vectors(checkpoint, None))
    assert not list(scratch.iterdir())


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_read_only_cache(tmp_path: Path) -> None:
    checkpoint, cache = tiny(tmp_path), tmp_path / "cache"
    cache.mkdir()
    cache.chmod(stat.S_IRUSR | stat.S_IXUSR)
    np.testing.assert_array_equal(vectors(checkpoint, cache), vectors(checkpoint, None))
    cache.chmod(stat.S_IRWXU)


@pytest.mark.skipif(sys.platform == "win32", reason="has no such limit")
def test_a_full_disk_leaves_nothing_broken(tmp_path: Path) -> None:
    """Files may grow to 20 kB in a process of its own: writing fails in the middle, in the cache and beside it."""
    checkpoint, cache, scratch = tiny(tmp_path), tmp_path / "cache", tmp_path / "scratch"
    scratch.mkdir()
    program = """
import resource, sys
from pathlib import Path
from turboprop.engines.registry import load_encoder
from turboprop.engines.contract import EngineOptions
from turboprop.errors import EngineError
from turboprop.models.checkpoint.hf import open_folder
checkpoint = open_folder(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
try:
    load_encoder(checkpoint, EngineOptions("int8", cache_home=Path(sys.argv[2]), engine="native"))
except EngineError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "model"), str(cache)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "TMPDIR": str(scratch)},
    )
    assert "cannot be written" in done.stdout
    assert not list(scratch.iterdir())
    assert not list((cache / "graphs").iterdir())
    np.testing.assert_array_equal(vectors(checkpoint, cache), vectors(checkpoint, None))
    assert (kept(cache) / VALUES).stat().st_size > 20_000


def test_a_full_disk_is_an_error_with_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = tiny(tmp_path)
    (tmp_path / "file").write_text("", "ascii")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "file"))
    with pytest.raises(EngineError, match="cannot be written"):
        vectors(checkpoint, None)
