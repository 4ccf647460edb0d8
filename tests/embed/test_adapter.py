"""A real model with an adapter: its name, its vectors, its place in indexes and caches."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from architectures.tiny_gguf import write_gguf
from architectures.tiny_models import MODELS
from models.checkpoint.peft_adapters import GOLDEN
from turboprop import EmbeddingModel, Index
from turboprop.engines.contract import EngineOptions
from turboprop.engines.registry import choose
from turboprop.errors import IndexMismatchError, ModelNotFoundError, ModelUnsupportedError
from turboprop.models.checkpoint.adapter import merged
from turboprop.models.checkpoint.gguf import open_gguf
from turboprop.models.resolve import look_up, resolve
from turboprop.settings import load_settings

TEXTS = ["def add(a, b): return a + b", "The weather in Lisbon is mild.", "How are routes registered?"]


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    """One for all-MiniLM-L6-v2: rank 8 at the queries of its six layers."""
    random, tensors = np.random.default_rng(0), {}
    for layer in range(6):
        name = f"base_model.model.encoder.layer.{layer}.attention.self.query"
        tensors[f"{name}.lora_A.weight"] = random.standard_normal((8, 384)).astype(np.float32) / 20
        tensors[f"{name}.lora_B.weight"] = random.standard_normal((384, 8)).astype(np.float32) / 10
    folder = tmp_path / "my adapter"
    folder.mkdir()
    save_file(tensors, folder / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": 8, "lora_alpha": 16, "target_modules": ["query"]}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


def vectors(adapter: Path | None, engine: str | None = None) -> np.ndarray:
    with EmbeddingModel.load(adapter=adapter, engine=engine, weights="float32") as model:
        return model.embed_documents(TEXTS)


def test_an_adapter_changes_vectors_in_every_engine_alike(adapter: Path) -> None:
    plain, native, numpy = vectors(None), vectors(adapter), vectors(adapter, "numpy")
    assert np.abs(native - numpy).max() < 1e-5
    assert 0.5 < (plain * native).sum(axis=1).max() < 0.999


def test_the_name_says_it_and_the_fingerprint_differs(adapter: Path) -> None:
    with EmbeddingModel.load() as plain, EmbeddingModel.load(adapter=adapter) as adapted:
        assert adapted.name == f"{plain.name}+lora:{adapter}"
        assert adapted.fingerprint != plain.fingerprint
        fingerprint = adapted.fingerprint
    with EmbeddingModel.load(adapted.name) as again:
        assert again.fingerprint == fingerprint


def test_an_index_keeps_its_adapter(adapter: Path, write_files: Callable[[dict[str, str]], Path]) -> None:
    root = write_files({"a.py": "def add(a, b):\n    return a + b\n", "b.py": "def drop(table):\n    pass\n"})
    name = f"all-MiniLM-L6-v2+lora:{adapter}"
    Index.create(root, name).close()
    with Index.open(root) as index:
        assert index.model_name.endswith(f"+lora:{adapter}")
        assert index.search("add numbers", mode="semantic")[0].path == "a.py"
    with pytest.raises(IndexMismatchError):
        Index.open(root, "all-MiniLM-L6-v2")
    config = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(json.dumps({**config, "lora_alpha": 32}))
    with Index.open(root) as index, pytest.raises(IndexMismatchError):  # another scale, other vectors
        index.search("add numbers", mode="semantic")


def test_a_folder_that_is_not_there_and_a_model_that_is_elsewhere(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="no adapter at"):
        resolve(f"all-MiniLM-L6-v2+lora:{tmp_path}/none", load_settings())
    with pytest.raises(ModelNotFoundError, match=r"lacks adapter_config\.json"):
        EmbeddingModel.load(adapter=tmp_path)
    with pytest.raises(ModelUnsupportedError, match="behind an address"):
        look_up(f"http://localhost:1#m+lora:{tmp_path}", load_settings())


def test_engines_that_run_the_files_themselves_refuse_it(tmp_path: Path) -> None:
    opened = merged(open_gguf(write_gguf(MODELS["bert"], tmp_path / "model.gguf")), GOLDEN / "bert")
    pytest.importorskip("xllamacpp")
    with pytest.raises(ModelUnsupportedError, match="merges no adapter"):
        choose(opened, "embedding", EngineOptions(engine="llamacpp"))


def test_what_is_pickled_keeps_its_adapter(adapter: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(adapter.parent)
    for given in ({"adapter": adapter.name}, {"name_or_path": f"minilm+lora:{adapter.name}"}):
        with EmbeddingModel.load(**given, weights="float32") as model:
            pickled = pickle.dumps(model)
            monkeypatch.chdir("/")
            with pickle.loads(pickled) as again:
                assert (again.name, again.fingerprint) == (model.name, model.fingerprint)
            monkeypatch.chdir(adapter.parent)
