from __future__ import annotations

from pathlib import Path

import pytest

from turboprop import EmbeddingModel

pytest.importorskip("lancedb")
pytestmark = pytest.mark.filterwarnings("ignore")  # its own: the framework's modules warn while they are imported
TEXTS = ["def sign(token): return hmac(key, token)", "class Cart: items = []", "SELECT name FROM users"]


def test_a_table_finds_by_the_model_of_the_registry(model: EmbeddingModel, tmp_path: Path) -> None:
    import lancedb
    from lancedb.embeddings import get_registry
    from lancedb.pydantic import LanceModel, Vector

    import turboprop.integrations.lancedb

    assert turboprop.integrations.lancedb.TurboPropFunction
    function = get_registry().get("turboprop").create(model="minilm")

    class Piece(LanceModel):
        text: str = function.SourceField()
        vector: Vector(function.ndims()) = function.VectorField()  # type: ignore[valid-type]

    table = lancedb.connect(tmp_path).create_table("code", schema=Piece)
    table.add([{"text": text} for text in TEXTS])
    # Opened anew, the table makes the function from what it recorded.
    found = lancedb.connect(tmp_path).open_table("code").search("how is a token signed").limit(1).to_list()
    assert found[0]["text"] == TEXTS[0]
