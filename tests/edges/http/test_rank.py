"""Reranking, scoring and embedding as others have them: the same numbers in each shape."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

QUERY, TEXTS = "bake bread", ["a car engine", "flour, water, yeast", "stone"]


def test_one_ranking_in_each_shape(server) -> None:
    with server.http() as client:

        def post(path: str, **body: Any) -> Any:
            answer = client.post(path, json=body)
            assert answer.status_code == 200, answer.text
            return answer.json()

        asked: dict[str, Any] = {"model": "minilm", "query": QUERY, "documents": TEXTS, "max_tokens_per_doc": 4096}
        wanted = post("/v1/rerank", **asked)["results"]
        assert post("/v2/rerank", **asked)["results"] == wanted
        assert post("/rerank", **asked)["results"] == wanted
        tei = post("/rerank", query=QUERY, texts=TEXTS, return_text=True, truncate=True)
        assert [row["index"] for row in tei] == [row["index"] for row in wanted]
        np.testing.assert_allclose([row["score"] for row in tei], [row["relevance_score"] for row in wanted], rtol=1e-5)
        assert tei[0]["text"] == TEXTS[1]
        by_index = {row["index"]: row["relevance_score"] for row in wanted}
        for path in ("/score", "/v1/score"):
            rows = post(path, text_1=QUERY, text_2=TEXTS)["data"]
            np.testing.assert_allclose([row["score"] for row in rows], [by_index[n] for n in range(3)], rtol=1e-5)
        (pair,) = post("/score", queries=[QUERY], documents=[TEXTS[1]])["data"]
        assert pair["score"] == pytest.approx(by_index[1], rel=1e-5)


def test_one_embedding_in_each_shape(server) -> None:
    with server.http() as client:

        def post(path: str, **body: Any) -> Any:
            answer = client.post(path, json=body)
            assert answer.status_code == 200, answer.text
            return answer.json()

        wanted = [row["embedding"] for row in post("/v1/embeddings", model="minilm", input=TEXTS)["data"]]
        by_type = post(
            "/v2/embed", model="minilm", texts=TEXTS, input_type="search_document", embedding_types=["float"]
        )
        np.testing.assert_allclose(by_type["embeddings"]["float"], wanted, atol=1e-6)
        np.testing.assert_allclose(post("/v1/embed", texts=TEXTS)["embeddings"], wanted, atol=1e-6)
        np.testing.assert_allclose(post("/embed", inputs=TEXTS, normalize=True), wanted, atol=1e-6)
        assert client.get("/info").json()["max_input_length"] == 256
        assert client.post("/embed", json={"inputs": "word " * 600}).status_code == 400
        assert len(post("/embed", inputs="word " * 600, truncate=True)) == 1


@pytest.mark.parametrize("path", ["/rerank", "/v1/rerank"])
@pytest.mark.parametrize("documents", ["[1]", "[]", '{"a": 1}', "[NaN]"])
def test_documents_that_are_none(server, path: str, documents: str) -> None:
    with server.http() as client:
        answer = client.post(path, content='{"query": "x", "documents": ?}'.replace("?", documents))
    assert answer.status_code == 400, answer.text
    assert "documents" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("/embed", {"inputs": "x", "normalize": False}, "normalize"),
        ("/v2/embed", {"texts": ["x"], "embedding_types": ["int8"]}, "embedding_types"),
        ("/v2/embed", {"texts": ["x"], "truncate": "START"}, "truncate"),
        ("/rerank", {"query": "x"}, "texts"),
        ("/rerank", {"query": "x", "texts": ["y"], "raw_scores": True}, "raw_scores"),
        ("/score", {"text_1": ["a", "b"], "text_2": ["a", "b", "c"]}, "pairs"),
        ("/score", {"text_1": "a"}, "text_2"),
    ],
)
def test_what_is_not_done_is_named(server, path: str, body: Any, said: str) -> None:
    with server.http() as client:
        answer = client.post(path, json=body)
    assert answer.status_code == 400, answer.text
    assert said in answer.json()["error"]["message"]
