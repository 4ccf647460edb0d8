from __future__ import annotations

from pathlib import Path

import pytest

from turboprop import EmbeddingModel

pytest.importorskip("chromadb")
pytestmark = pytest.mark.filterwarnings("ignore")  # its own: the framework's modules warn while they are imported
TEXTS = ["def sign(token): return hmac(key, token)", "class Cart: items = []", "SELECT name FROM users"]


def test_a_collection_finds_by_the_model_and_keeps_it(model: EmbeddingModel, tmp_path: Path) -> None:
    import chromadb
    from chromadb.config import Settings

    from turboprop.integrations.chroma import TurboPropEmbeddingFunction

    quiet = Settings(anonymized_telemetry=False)
    client = chromadb.PersistentClient(str(tmp_path), settings=quiet)
    made = client.create_collection("code", embedding_function=TurboPropEmbeddingFunction("minilm", weights="int8"))
    made.add(ids=["0", "1", "2"], documents=TEXTS)
    assert made.query(query_texts=["how is a token signed"], n_results=1)["ids"] == [["0"]]
    # Opened without a function it is the registered one, with the options that were recorded.
    again = client.get_collection("code")
    assert again.query(query_texts=["how is a token signed"], n_results=1)["ids"] == [["0"]]
    recorded = TurboPropEmbeddingFunction.build_from_config(
        TurboPropEmbeddingFunction("minilm", weights="int8").get_config()
    )
    assert recorded.get_config() == {
        "model": "minilm",
        "overlong": "truncate",
        "dimensions": None,
        "weights": "int8",
        "engine": None,
        "max_tokens": None,
    }
