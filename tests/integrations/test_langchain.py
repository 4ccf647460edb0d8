from __future__ import annotations

import asyncio

import numpy as np
import pytest

from turboprop import EmbeddingModel, Index
from turboprop.errors import UsageError

pytest.importorskip("langchain_core")
TEXTS = ["def sign(token): return hmac(key, token)", "class Cart: items = []", "SELECT name FROM users"]


def test_a_vector_store_finds_by_the_model(model: EmbeddingModel) -> None:
    from langchain_core.vectorstores import InMemoryVectorStore

    from turboprop.integrations.langchain import TurboPropEmbeddings

    embeddings = TurboPropEmbeddings(model)
    store = InMemoryVectorStore.from_texts(TEXTS, embeddings)
    assert store.similarity_search("how is a token signed", k=1)[0].page_content == TEXTS[0]
    np.testing.assert_allclose(embeddings.embed_documents(TEXTS), model.embed_documents(TEXTS))
    np.testing.assert_allclose(asyncio.run(embeddings.aembed_query("a")), model.embed_query("a"))


def test_options_beside_a_loaded_model_are_refused(model: EmbeddingModel) -> None:
    from turboprop.integrations.langchain import TurboPropEmbeddings

    with pytest.raises(UsageError, match="weights: a loaded model has its options"):
        TurboPropEmbeddings(model, weights="int8")


def test_an_index_is_a_retriever(index: Index) -> None:
    from turboprop.integrations.langchain import TurboPropRetriever

    retriever = TurboPropRetriever(index=index, k=1)
    found = retriever.invoke("sign a session")
    assert [(each.metadata["path"], each.metadata["start_line"]) for each in found] == [("session.py", 1)]
    assert "def sign_session" in found[0].page_content
    assert asyncio.run(retriever.ainvoke("sign a session")) == found
    narrowed = TurboPropRetriever(index=index, wishes={"filters": ["cart.py"]})
    assert {each.metadata["path"] for each in narrowed.invoke("Cart items")} == {"cart.py"}
