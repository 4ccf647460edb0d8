"""Rerankers from GGUF files with llama.cpp's rank pooling, against the same reference values."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import pytest

from rerank.tiny_gguf_rerankers import write_reranker
from rerank.tiny_rerankers import DOCUMENTS, LONG_QUERY, QUERY
from turboprop import EmbeddingModel, Reranker
from turboprop.errors import ModelUnsupportedError
from turboprop.models.checkpoint.reranker import is_reranker
from turboprop.models.resolve import resolve
from turboprop.settings import load_settings


@pytest.mark.parametrize("name", ["xlm-roberta", "modernbert", "qwen3-reranker"])
def test_scores(tmp_path: Path, name: str) -> None:
    path = write_reranker(name, tmp_path / "m.gguf")
    assert is_reranker(resolve(str(path), load_settings()))
    with (
        np.load(Path(__file__).parent / "golden" / f"{name}.npz") as golden,
        Reranker.load(str(path), weights="float32") as reranker,
    ):
        for key, query in (("short", QUERY), ("long", LONG_QUERY)):
            np.testing.assert_allclose(reranker.scores(query, DOCUMENTS), golden[key], rtol=1e-5)


@pytest.mark.parametrize("name", ["xlm-roberta", "modernbert", "qwen3-reranker"])
def test_llama_cpp_gives_the_same_states(tmp_path: Path, name: str) -> None:
    pytest.importorskip("xllamacpp")
    path = write_reranker(name, tmp_path / "m.gguf")
    with (
        np.load(Path(__file__).parent / "golden" / f"{name}.npz") as golden,
        Reranker.load(str(path), engine="llamacpp") as reranker,
    ):
        # Its GELU is a table of float16 values.
        np.testing.assert_allclose(reranker.scores(QUERY, DOCUMENTS), golden["short"], atol=3e-4)


def test_bert_without_its_pooler_is_refused(tmp_path: Path) -> None:
    path = write_reranker("bert", tmp_path / "m.gguf")
    with pytest.raises(ModelUnsupportedError, match=r"lacks cls\.weight.*safetensors"):
        Reranker.load(str(path))


def test_a_reranker_is_no_embedding_model_and_the_other_way_round(tmp_path: Path) -> None:
    with pytest.raises(ModelUnsupportedError, match="is a reranker"):
        EmbeddingModel.load(str(write_reranker("qwen3-reranker", tmp_path / "m.gguf")))
    embedder = write_reranker("qwen3-reranker", tmp_path / "e.gguf", gguf.PoolingType.LAST)
    assert not is_reranker(resolve(str(embedder), load_settings()))
    with pytest.raises(ModelUnsupportedError, match="is no reranker"):
        Reranker.load(str(embedder))
