"""Tensors in shapes, types and values that cannot be, in every architecture: a sentence or a result."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from gguf import PoolingType
from safetensors.numpy import load_file, save_file

from architectures.running import pack
from architectures.tiny_gguf import write_gguf
from architectures.tiny_models import MODELS, TinyModel
from engines.loading import load_encoder
from reference import reference
from turboprop.engines.contract import EngineOptions
from turboprop.engines.native.library import refusal
from turboprop.errors import TurboPropError
from turboprop.models.checkpoint.open import open_checkpoint
from turboprop.models.local import LocalModel

RANKS = ("none", "one", "two", "three", "four")


def misshapen(value: np.ndarray) -> Iterator[tuple[str, np.ndarray | None]]:
    """What to put in place of a tensor; None takes it away."""
    yield "missing", None
    for rank, name in enumerate(RANKS):
        if rank != value.ndim:
            shape = (1,) * (rank - value.ndim) + value.shape if rank > value.ndim else (value.size,)[:rank]
            yield f"{name} dimensions", np.resize(value, shape).astype(np.float32)
    yield "nothing", value[:0]
    yield "no columns", value[..., :0]
    yield "half of the rows", value[: len(value) // 2]
    yield "one row more", np.concatenate([value, value[:1]])
    yield "half of the columns", np.ascontiguousarray(value[..., : value.shape[-1] // 2])
    yield "columns twice", np.concatenate([value, value], -1)
    yield "upside down", np.ascontiguousarray(value.T)
    yield "wide", np.zeros((*value.shape[:-1], 3), np.float32)
    yield "not finite", np.full_like(value, np.nan)
    yield "infinite", np.full_like(value, np.inf)
    yield "largest", np.full_like(value, np.finfo(np.float32).max)
    yield "bytes", value.astype(np.uint8)
    yield "long integers", value.astype(np.int64)
    yield "doubles", value.astype(np.float64)


def ends_well(path: Path, engine: str, weights: str, told: str) -> str:
    """Load and run; the words of the error, empty where there is none."""
    try:
        checkpoint = open_checkpoint(LocalModel(path.name, path, "path"))
        encoder = load_encoder(checkpoint, engine, EngineOptions(weights, threads=1))  # type: ignore[arg-type]
        try:
            vectors = encoder.encode(pack([[3, 9, 27, 4]]))
        finally:
            encoder.close()
    except TurboPropError as error:
        assert "to unpack" not in str(error), told
        assert "defect" not in str(error), told
        return str(error)
    except BaseException as error:
        raise AssertionError(f"{told}: {error!r}") from error
    assert vectors.shape[0] == 1, told
    return ""


def each_kind(model: TinyModel) -> Iterator[str]:
    """The tensors of the first layer and those outside of layers; other layers have the same."""
    for name in model.weights():
        if not any(f".{layer}." in name for layer in range(1, 10)):
            yield name


@pytest.mark.skipif(bool(refusal()), reason="no kernels here")
@pytest.mark.parametrize("name", list(MODELS))
def test_tensors_of_a_folder(tmp_path: Path, name: str) -> None:
    model = MODELS[name]
    folder = model.save(tmp_path / "model")
    weights = model.weights()
    assert ends_well(folder, "native", "int8", name) == ""
    chance = random.Random(name)
    for tensor in each_kind(model):
        for what, value in misshapen(weights[tensor]):
            changed = {key: each for key, each in weights.items() if key != tensor}
            if value is not None:
                changed[tensor] = value
            save_file(changed, folder / "model.safetensors")
            told = f"{name}, {tensor}: {what}"
            kind = chance.choice(("int8", "int4"))
            words = ends_well(folder, "native", kind, told)
            if what == "missing" or what.endswith("dimensions") or what in ("nothing", "no columns"):
                assert tensor in words or (what == "missing" and not words), told
            if what.endswith("dimensions"):
                assert str(list(value.shape)) in words, told  # type: ignore[union-attr]
            if chance.random() < 0.04:
                ends_well(folder, "native", chance.choice(("float32", "int8", "int4")), told)


@pytest.mark.skipif(bool(refusal()), reason="no kernels here")
@pytest.mark.parametrize("name", [name for name, model in MODELS.items() if model.gguf_family])
def test_tensors_of_a_gguf_file(tmp_path: Path, name: str) -> None:
    model = MODELS[name]
    weights = model.weights()
    chance = random.Random(name)
    path = write_gguf(model, tmp_path / "model.gguf", pooling=PoolingType.MEAN)
    assert ends_well(path, "native", "int8", name) == ""
    for tensor in each_kind(model):
        for what, value in misshapen(weights[tensor]):
            if value is None or not value.size or not value.ndim or value.dtype != np.float32:
                continue  # what the writer cannot write; the fuzzers of the reader do

            class Changed(TinyModel):
                def weights(self) -> dict[str, np.ndarray]:
                    return {**weights, tensor: value}  # noqa: B023

            try:
                write_gguf(Changed(model.config, model.shapes, model.gguf_family), path, pooling=PoolingType.MEAN)
            except (ValueError, IndexError):  # a rotation that the converter cannot undo
                continue
            ends_well(path, "native", "int8", f"{name}, {tensor}: {what}")
            if chance.random() < 0.02:
                ends_well(path, "native", "float32", f"{name}, {tensor}: {what}")


@pytest.mark.parametrize("name", ["test-model-float32", "test-model-vocab-quantized"])
def test_tensors_of_a_static_model(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "model"
    shutil.copytree(reference("model2vec") / name, folder, copy_function=shutil.copyfile)
    folder.chmod(0o755)
    weights = load_file(folder / "model.safetensors")
    for tensor, kept in weights.items():
        for what, value in misshapen(np.asarray(kept, np.float32)):
            changed = {key: each for key, each in weights.items() if key != tensor}
            if value is not None:
                changed[tensor] = value
            (folder / "model.safetensors").unlink()
            save_file(changed, folder / "model.safetensors")
            words = ends_well(folder, "numpy", "auto", f"{name}, {tensor}: {what}")
            if what.endswith("dimensions"):
                assert tensor in words, what
                assert str(list(value.shape)) in words, what  # type: ignore[union-attr]
