"""ONNX exports in OpenVINO and in ONNX Runtime: the vectors of the model that was exported."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from reference import reference
from turboprop import EmbeddingModel
from turboprop.engines import choose_engine, fastembed, onnx_openvino
from turboprop.engines.contract import EngineOptions
from turboprop.engines.onnx_graph import pool
from turboprop.errors import (
    EngineError,
    ModelFormatError,
    ModelNotFoundError,
    ModelUnsupportedError,
    TurboPropError,
    UsageError,
)
from turboprop.models.checkpoint import Checkpoint
from turboprop.models.open_checkpoint import open_checkpoint
from turboprop.models.resolve import resolve
from turboprop.settings import load_settings
from turboprop.types import TokenBatch

pytest.importorskip("onnx")
pytest.importorskip("fastembed")

from engines.onnx_bert import export_bert

ENGINES = ("openvino", "fastembed")
LOADERS = {"openvino": onnx_openvino.load_encoder, "fastembed": fastembed.load_encoder}


@pytest.fixture(scope="module")
def exported(minilm_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The default model as an ONNX folder without any file of sentence-transformers but its limit."""
    return export_bert(minilm_folder, tmp_path_factory.mktemp("onnx")).parent


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    return export_bert(reference("golden/synthetic-arch/tiny-bert-mean"), folder).parent


def opened(path: Path) -> Checkpoint:
    return open_checkpoint(resolve(str(path), load_settings()))


@pytest.mark.parametrize("engine", ENGINES)
def test_vectors_of_the_default_model(exported: Path, engine: str, code_pieces: list[str]) -> None:
    canonical = json.loads(reference("fastembed-canonical/canonical_vectors.json").read_text("utf-8"))
    wanted = canonical["CANONICAL_VECTOR_VALUES"]["sentence-transformers/all-MiniLM-L6-v2"]
    with EmbeddingModel.load(str(exported), engine=engine) as model, EmbeddingModel.load(weights="float32") as own:
        assert model.engine == engine
        assert model.max_tokens == own.max_tokens
        assert model.dimensions == 384
        np.testing.assert_allclose(model.embed_documents(["hello world"])[0][:5], wanted, atol=1e-3)
        texts = code_pieces[:20]
        found, ours = (each.embed_documents(texts, overlong="truncate") for each in (model, own))
        np.testing.assert_allclose(found, ours, atol=1e-5)


def test_fastembed_itself_gives_the_same_vectors(exported: Path, code_pieces: list[str], tmp_path: Path) -> None:
    from fastembed import TextEmbedding

    theirs = TextEmbedding(
        "sentence-transformers/all-MiniLM-L6-v2",
        cache_dir=str(tmp_path),
        specific_model_path=str(exported),
        local_files_only=True,
    )
    with EmbeddingModel.load(str(exported), engine="fastembed") as model:
        # It takes as many tokens as tokenizer_config.json says, we as sentence-transformers' own limit says.
        counts = model.count_tokens(code_pieces)
        short = [text for text, count in zip(code_pieces, counts, strict=True) if count <= 256][:10]
        assert len(short) == 10
        np.testing.assert_allclose(model.embed_documents(short), list(theirs.embed(short)), atol=1e-5)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_poolings_equal_the_reference(tiny: Path, engine: str, pooling: str) -> None:
    cases = json.loads(reference(f"golden/synthetic-arch/tiny-bert.{pooling}.json").read_text("utf-8"))
    values = np.fromfile(reference(f"golden/synthetic-arch/tiny-bert.{pooling}.f32"), np.float32)
    values = values.reshape(-1, cases["n_embd"])
    ids = [case["ids"] for case in cases["cases"]]
    encoder = LOADERS[engine](replace(opened(tiny), pooling=(pooling,)), EngineOptions())
    found = encoder.encode(TokenBatch(np.concatenate(ids).astype(np.int32), np.array([len(i) for i in ids], np.int32)))
    encoder.close()
    cosines = (found * values).sum(1) / np.linalg.norm(found, axis=1) / np.linalg.norm(values, axis=1)
    assert cosines.min() >= 0.99999


def test_auto_takes_the_faster_engine(tiny: Path, tmp_path: Path) -> None:
    source = reference("golden/synthetic-arch/tiny-bert-mean")
    quantised = export_bert(source, tmp_path / "q", quantised=True)
    assert choose_engine(opened(tiny)).name == "openvino"
    chosen = choose_engine(opened(quantised))
    assert (chosen.name, "int8" in chosen.reason) == ("fastembed", True)
    vectors = []
    for engine in ENGINES:
        with EmbeddingModel.load(str(quantised), engine=engine) as model:
            vectors.append(model.embed_documents(["hello", "world"]))
    np.testing.assert_allclose(*vectors, atol=1e-3)


def test_a_folder_with_an_onnx_subfolder_and_a_file_by_its_path(tiny: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny, tmp_path / "model")
    (tmp_path / "model" / "onnx").mkdir()
    (tmp_path / "model" / "model.onnx").rename(tmp_path / "model" / "onnx" / "model.onnx")
    with EmbeddingModel.load(str(tmp_path / "model")) as folder, EmbeddingModel.load(str(tiny / "model.onnx")) as file:
        np.testing.assert_allclose(folder.embed_documents(["a b"]), file.embed_documents(["a b"]), atol=1e-6)


def test_pooling_that_the_folder_states(tiny: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny, tmp_path / "model"))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode": "cls"}), "utf-8")
    modules = [
        {"path": "", "type": "sentence_transformers.models.Transformer"},
        {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    ]
    (folder / "modules.json").write_text(json.dumps(modules), "utf-8")
    checkpoint = opened(folder)
    assert (checkpoint.pooling, checkpoint.normalize, checkpoint.is_onnx) == (("cls",), False, True)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("damage", ["empty", "text", "cut", "flipped"])
def test_a_damaged_file_is_a_typed_error(tiny: Path, tmp_path: Path, engine: str, damage: str) -> None:
    folder = Path(shutil.copytree(tiny, tmp_path / "model"))
    data = (folder / "model.onnx").read_bytes()
    changed = {"empty": b"", "text": b"<html>", "cut": data[: len(data) // 2], "flipped": data[::-1]}[damage]
    (folder / "model.onnx").write_bytes(changed)
    with pytest.raises((ModelFormatError, ModelUnsupportedError), match="model"):
        EmbeddingModel.load(str(folder), engine=engine)


@pytest.mark.parametrize("engine", ENGINES)
def test_an_export_of_something_else_is_refused(tiny: Path, tmp_path: Path, engine: str) -> None:
    from onnx import TensorProto, helper, save

    folder = Path(shutil.copytree(tiny, tmp_path / "model"))
    pixels = helper.make_tensor_value_info("pixel_values", TensorProto.FLOAT, ["n", 3])
    output = helper.make_tensor_value_info("output", TensorProto.FLOAT, ["n", 3])
    graph = helper.make_graph([helper.make_node("Relu", ["pixel_values"], ["output"])], "g", [pixels], [output])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), folder / "model.onnx")
    with pytest.raises(ModelUnsupportedError, match="pixel_values"):
        EmbeddingModel.load(str(folder), engine=engine)


@pytest.mark.parametrize("engine", ENGINES)
def test_an_id_beyond_the_vocabulary_is_a_typed_error(tiny: Path, engine: str) -> None:
    encoder = LOADERS[engine](opened(tiny), EngineOptions())
    with pytest.raises(EngineError):
        encoder.encode(TokenBatch(np.array([10_000_000], np.int32), np.array([1], np.int32)))
    encoder.close()


def test_other_weights_are_refused(tiny: Path) -> None:
    for engine in ENGINES:
        with pytest.raises(ModelUnsupportedError, match="as int8"):
            EmbeddingModel.load(str(tiny), engine=engine, weights="int8")


def test_without_the_extra(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fastembed", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(EngineError, match=r"turboprop-local\[fastembed\]"):
        fastembed.load_encoder(opened(tiny), EngineOptions())
    with pytest.raises(EngineError, match=r"turboprop-local\[fastembed\]"):
        resolve("fastembed:BAAI/bge-small-en-v1.5", load_settings())


def cached(cache: Path, repo: str, tiny: Path, file: str) -> None:
    """Put a model where the package looks for one that it has downloaded."""
    home = cache / f"models--{repo.replace('/', '--')}"
    commit = "a" * 40
    shutil.copytree(tiny, home / "snapshots" / commit)
    (home / "snapshots" / commit / "model.onnx").rename(home / "snapshots" / commit / file)
    (home / "snapshots" / commit / "special_tokens_map.json").write_text("{}", "utf-8")
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text(commit, "utf-8")


def test_a_name_of_the_catalogue(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTEMBED_CACHE_PATH", str(tmp_path))
    with pytest.raises(ModelNotFoundError, match="downloading is off"):
        resolve("fastembed:BAAI/bge-small-en-v1.5", load_settings())
    cached(tmp_path, "qdrant/bge-small-en-v1.5-onnx-q", tiny, "model_optimized.onnx")
    local = resolve("fastembed:BAAI/bge-small-en-v1.5", load_settings())
    assert (local.name, local.path.name) == ("fastembed:BAAI/bge-small-en-v1.5", "model_optimized.onnx")
    with EmbeddingModel.load("fastembed:baai/bge-small-en-v1.5", engine="fastembed") as model:
        assert model.checkpoint.pooling == ("cls",)
        assert model.prompts.query.startswith("Represent this sentence")
        assert model.embed_documents(["hello"]).shape == (1, 32)


def test_names_that_the_catalogue_does_not_have() -> None:
    with pytest.raises(ModelNotFoundError, match=r"did you mean .*bge-small-en-v1\.5"):
        resolve("fastembed:BAAI/bge-smal-en-v1.5", load_settings())
    with pytest.raises(ModelUnsupportedError, match="JinaEmbeddingV3"):
        resolve("fastembed:jinaai/jina-embeddings-v3", load_settings())


def test_the_package_cache_in_a_shared_folder_is_used_only_if_it_is_ours(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FASTEMBED_CACHE_PATH", raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    elsewhere = tmp_path / "elsewhere"
    cached(elsewhere, "qdrant/bge-small-en-v1.5-onnx-q", tiny, "model_optimized.onnx")
    (tmp_path / "fastembed_cache").symlink_to(elsewhere)
    with pytest.raises(ModelNotFoundError):
        resolve("fastembed:BAAI/bge-small-en-v1.5", load_settings())
    (tmp_path / "fastembed_cache").unlink()
    elsewhere.rename(tmp_path / "fastembed_cache")
    assert resolve("fastembed:BAAI/bge-small-en-v1.5", load_settings()).path.is_file()


def test_pooling_by_hand() -> None:
    states = np.array([[[1, 2], [3, 4], [5, 6]], [[7, 8], [9, 9], [9, 9]]], np.float32)
    lengths = np.array([3, 1])
    for mode, wanted in {
        "cls": [[1, 2], [7, 8]],
        "last": [[5, 6], [7, 8]],
        "max": [[5, 6], [7, 8]],
        "mean": [[3, 4], [7, 8]],
        "mean_sqrt": [[9 / 3**0.5, 12 / 3**0.5], [7, 8]],
        "weighted_mean": [[22 / 6, 28 / 6], [7, 8]],
    }.items():
        np.testing.assert_allclose(pool(states, lengths, (mode,), 0), np.array(wanted), rtol=1e-6)
    np.testing.assert_allclose(pool(states[:1], lengths[:1], ("mean", "cls"), 1), [[4, 5, 3, 4]])
    np.testing.assert_array_equal(pool(states, np.array([0, 0]), ("mean", "max", "last"), 0), np.zeros((2, 6)))


def test_engines_say_what_they_cannot_run(tiny: Path) -> None:
    gguf = opened(reference("golden/synthetic-arch/tiny-bert-mean.gguf"))
    for checkpoint, engine in ((gguf, "fastembed"), (gguf, "static"), (opened(tiny), "llamacpp")):
        with pytest.raises(ModelUnsupportedError, match=f"the engine {engine} cannot run .*takes (native|openvino)"):
            choose_engine(checkpoint, engine)
    with pytest.raises(UsageError, match="auto, native, openvino, static, llamacpp, fastembed"):
        choose_engine(gguf, "magic")
    with pytest.raises(TurboPropError, match="no architecture 'gpt9'"):
        choose_engine(replace(opened(tiny), family="gpt9", weight_files=(tiny / "model.safetensors",)))
    assert choose_engine(replace(gguf, family="gpt9")).name == "llamacpp"
