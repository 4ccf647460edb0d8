from __future__ import annotations

import asyncio

import numpy as np
import pytest

from turboprop import EmbeddingModel, Index

pytest.importorskip("llama_index.core")
pytestmark = pytest.mark.filterwarnings("ignore")  # its own: the framework's modules warn while they are imported
TEXTS = ["def sign(token): return hmac(key, token)", "class Cart: items = []", "SELECT name FROM users"]


def test_a_vector_index_finds_by_the_model(model: EmbeddingModel) -> None:
    from llama_index.core import VectorStoreIndex
    from llama_index.core.schema import TextNode

    from turboprop.integrations.llama_index import TurboPropEmbedding

    embedding = TurboPropEmbedding(model)
    index = VectorStoreIndex([TextNode(text=text) for text in TEXTS], embed_model=embedding)
    assert index.as_retriever(similarity_top_k=1).retrieve("how is a token signed")[0].get_content() == TEXTS[0]
    np.testing.assert_allclose(asyncio.run(embedding.aget_query_embedding("a")), model.embed_query("a"))
    batch = asyncio.run(embedding.aget_text_embedding_batch(TEXTS))
    np.testing.assert_allclose(batch, model.embed_documents(TEXTS))


def test_a_text_of_its_own_length_is_cut(model: EmbeddingModel) -> None:
    from turboprop.integrations.llama_index import TurboPropEmbedding

    assert len(TurboPropEmbedding(model).get_text_embedding("a word " * 2_000)) == model.dimensions


def test_an_index_is_a_retriever(index: Index) -> None:
    from turboprop.integrations.llama_index import TurboPropRetriever

    found = TurboPropRetriever(index, limit=1).retrieve("sign a session")
    assert [each.metadata["path"] for each in found] == ["session.py"]
    assert found[0].score == index.search("sign a session", 1)[0].score
