from __future__ import annotations

import pytest

from turboprop import EmbeddingModel, Index

pytest.importorskip("haystack")
pytestmark = pytest.mark.filterwarnings("ignore")  # its own: the framework's modules warn while they are imported
TEXTS = ["def sign(token): return hmac(key, token)", "class Cart: items = []", "SELECT name FROM users"]


def test_a_pipeline_finds_by_the_model(model: EmbeddingModel) -> None:
    from haystack import Document, Pipeline
    from haystack.components.retrievers.in_memory import InMemoryEmbeddingRetriever
    from haystack.document_stores.in_memory import InMemoryDocumentStore

    from turboprop.integrations.haystack import TurboPropDocumentEmbedder, TurboPropTextEmbedder

    store = InMemoryDocumentStore()
    embedder = TurboPropDocumentEmbedder("minilm")
    given = [Document(content=text) for text in TEXTS]
    embedded = embedder.run(given)["documents"]
    assert given[0].embedding is None
    store.write_documents(embedded)
    pipeline = Pipeline()
    pipeline.add_component("query", TurboPropTextEmbedder("minilm"))
    pipeline.add_component("find", InMemoryEmbeddingRetriever(store, top_k=1))
    pipeline.connect("query.embedding", "find.query_embedding")
    found = pipeline.run({"query": {"text": "how is a token signed"}})["find"]["documents"]
    assert found[0].content == TEXTS[0]
    assert pipeline.to_dict()["components"]["query"]["init_parameters"] == {"model": "minilm"}


def test_components_are_written_down_and_read(model: EmbeddingModel) -> None:
    from turboprop.integrations.haystack import TurboPropDocumentEmbedder

    made = TurboPropDocumentEmbedder("minilm", meta_fields=["title"], weights="int8")
    again = TurboPropDocumentEmbedder.from_dict(made.to_dict())
    assert (again.model, again.meta_fields, again.options) == ("minilm", ["title"], {"weights": "int8"})


def test_an_index_is_a_retriever(index: Index) -> None:
    from haystack import Pipeline

    from turboprop.integrations.haystack import TurboPropRetriever

    pipeline = Pipeline()
    pipeline.add_component("code", TurboPropRetriever(str(index.repo), top_k=1))
    ours = ["turboprop.integrations.haystack"]
    found = Pipeline.loads(pipeline.dumps(), allowed_modules=ours).run({"code": {"query": "sign a session"}})["code"][
        "documents"
    ]
    assert [each.meta["path"] for each in found] == ["session.py"]
