"""ONNX exports in ONNX Runtime: the vectors of the model that was exported."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from reference import reference
from turboprop import EmbeddingModel
from turboprop.engines.contract import EngineOptions
from turboprop.engines.onnx import load_encoder
from turboprop.engines.registry import choose
from turboprop.errors import (
    EngineError,
    ModelFormatError,
    ModelNotFoundError,
    ModelUnsupportedError,
    UsageError,
)
from turboprop.models.checkpoint.open import open_checkpoint
from turboprop.models.checkpoint.view import Checkpoint
from turboprop.models.resolve import resolve
from turboprop.settings import load_settings
from turboprop.types import TokenBatch

pytest.importorskip("onnx")
pytest.importorskip("fastembed")

from engines.onnx_bert import export_bert


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


def test_vectors_of_the_default_model(exported: Path, code_pieces: list[str]) -> None:
    canonical = json.loads(reference("fastembed-canonical/canonical_vectors.json").read_text("utf-8"))
    wanted = canonical["CANONICAL_VECTOR_VALUES"]["sentence-transformers/all-MiniLM-L6-v2"]
    with EmbeddingModel.load(str(exported)) as model, EmbeddingModel.load(weights="float32") as own:
        assert (model.engine, model.weights, model.device) == ("onnx", "as stored", "cpu")
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
    with EmbeddingModel.load(str(exported), engine="onnx") as model:
        # It takes as many tokens as tokenizer_config.json says, we as sentence-transformers' own limit says.
        counts = model.count_tokens(code_pieces)
        short = [text for text, count in zip(code_pieces, counts, strict=True) if count <= 256][:10]
        assert len(short) == 10
        np.testing.assert_allclose(model.embed_documents(short), list(theirs.embed(short)), atol=1e-5)


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_poolings_equal_the_reference(tiny: Path, pooling: str) -> None:
    cases = json.loads(reference(f"golden/synthetic-arch/tiny-bert.{pooling}.json").read_text("utf-8"))
    values = np.fromfile(reference(f"golden/synthetic-arch/tiny-bert.{pooling}.f32"), np.float32)
    values = values.reshape(-1, cases["n_embd"])
    ids = [case["ids"] for case in cases["cases"]]
    encoder = load_encoder(replace(opened(tiny), pooling=(pooling,)), EngineOptions())
    found = encoder.encode(TokenBatch(np.concatenate(ids).astype(np.int32), np.array([len(i) for i in ids], np.int32)))
    encoder.close()
    cosines = (found * values).sum(1) / np.linalg.norm(found, axis=1) / np.linalg.norm(values, axis=1)
    assert cosines.min() >= 0.99999


def test_weights_that_round_while_they_run(tiny: Path, tmp_path: Path) -> None:
    quantised = export_bert(reference("golden/synthetic-arch/tiny-bert-mean"), tmp_path / "q", quantised=True)
    with EmbeddingModel.load(str(quantised)) as rounded, EmbeddingModel.load(str(tiny)) as whole:
        assert rounded.engine == "onnx"
        found, wanted = (model.embed_documents(["hello", "world"]) for model in (rounded, whole))
    assert (found * wanted).sum(1).min() > 0.99


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


@pytest.mark.parametrize("damage", ["empty", "text", "cut", "flipped"])
def test_a_damaged_file_is_a_typed_error(tiny: Path, tmp_path: Path, damage: str) -> None:
    folder = Path(shutil.copytree(tiny, tmp_path / "model"))
    data = (folder / "model.onnx").read_bytes()
    changed = {"empty": b"", "text": b"<html>", "cut": data[: len(data) // 2], "flipped": data[::-1]}[damage]
    (folder / "model.onnx").write_bytes(changed)
    with pytest.raises((ModelFormatError, ModelUnsupportedError), match="model"):
        EmbeddingModel.load(str(folder))


def test_an_export_of_something_else_is_refused(tiny: Path, tmp_path: Path) -> None:
    from onnx import TensorProto, helper, save

    folder = Path(shutil.copytree(tiny, tmp_path / "model"))
    pixels = helper.make_tensor_value_info("pixel_values", TensorProto.FLOAT, ["n", 3])
    output = helper.make_tensor_value_info("output", TensorProto.FLOAT, ["n", 3])
    graph = helper.make_graph([helper.make_node("Relu", ["pixel_values"], ["output"])], "g", [pixels], [output])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), folder / "model.onnx")
    with pytest.raises(ModelUnsupportedError, match="pixel_values"):
        EmbeddingModel.load(str(folder))


def test_an_id_beyond_the_vocabulary_is_a_typed_error(tiny: Path) -> None:
    encoder = load_encoder(opened(tiny), EngineOptions())
    with pytest.raises(EngineError):
        encoder.encode(TokenBatch(np.array([10_000_000], np.int32), np.array([1], np.int32)))
    encoder.close()


def test_other_weights_are_refused(tiny: Path) -> None:
    for weights in ("int8", "float16"):
        with pytest.raises(ModelUnsupportedError, match=f"onnx has no weights in {weights}"):
            EmbeddingModel.load(str(tiny), weights=weights)  # type: ignore[arg-type]


def test_without_the_extra(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("turboprop.engines.registry.find_spec", lambda name: None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    command = r"pip install 'turboprop-local\[onnx\]'"
    for engine in ("auto", "onnx"):
        with pytest.raises(EngineError, match=rf"model\.onnx: .*onnxruntime.*{command}$"):
            choose(opened(tiny), "embedding", EngineOptions(engine=engine))
    with pytest.raises(EngineError, match=r"turboprop-local\[fastembed\]"):
        resolve("fastembed:BAAI/bge-small-en-v1.5", load_settings())


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits the addresses of a process")
def test_no_memory_is_an_error_of_its_own(tiny: Path) -> None:
    program = """
import resource, sys
import numpy as np
from turboprop.engines.contract import EngineOptions
from turboprop.engines.registry import load_encoder
from turboprop.errors import OutOfMemoryError
from turboprop.models.checkpoint.open import open_checkpoint
from turboprop.models.resolve import resolve
from turboprop.settings import load_settings
from turboprop.types import TokenBatch
encoder, _ = load_encoder(open_checkpoint(resolve(sys.argv[1], load_settings())), EngineOptions(threads=1))
taken = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (taken + (1 << 27), resource.RLIM_INFINITY))
try:
    encoder.encode(TokenBatch(np.ones(64 * 500, np.int32), np.full(64, 500, np.int32)))
except OutOfMemoryError as error:
    print(error)
"""
    command = [sys.executable, "-c", program, str(tiny)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "ran out of memory with a batch of 32000 tokens" in done.stdout, done.stderr


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
    with EmbeddingModel.load("fastembed:baai/bge-small-en-v1.5", engine="onnx") as model:
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


def test_engines_say_what_they_cannot_run(tiny: Path) -> None:
    gguf = opened(reference("golden/synthetic-arch/tiny-bert-mean.gguf"))
    for checkpoint, engine, other in ((gguf, "onnx", "native"), (opened(tiny), "llamacpp", "onnx")):
        with pytest.raises(ModelUnsupportedError, match=f"the engine {engine} cannot run .* reads .*takes {other}$"):
            choose(checkpoint, "embedding", EngineOptions(engine=engine))
    for options, listed in (
        (EngineOptions(engine="magic"), "auto, native, .*llamacpp"),
        (EngineOptions("int3"), "auto, float32, float16"),  # type: ignore[arg-type]
        (EngineOptions(device="abacus"), "auto, cpu"),
    ):
        with pytest.raises(UsageError, match=f"there is no .*; there are: {listed}"):
            choose(gguf, "embedding", options)
    unknown = replace(opened(tiny), family="gpt9", weight_files=(tiny / "model.safetensors",))
    with pytest.raises(ModelUnsupportedError, match=r"no engine here runs .*native is out: .*'gpt9' here; known: bert"):
        choose(unknown, "embedding", EngineOptions())
    choice = choose(replace(gguf, family="gpt9"), "embedding", EngineOptions())
    assert choice.name == "llamacpp"
    assert "native is out" in choice.reason
