from __future__ import annotations

import numpy as np
import pytest

from turboprop import EmbeddingModel
from turboprop.errors import UsageError
from turboprop.integrations.sentence_transformers import TurboPropTransformer

TEXTS = ["def sign(token): return hmac(key, token)", "class Cart: items = []", "SELECT name FROM users"]


def test_it_is_called_as_the_other_is(model: EmbeddingModel) -> None:
    one = TurboPropTransformer(model)
    assert one.encode(TEXTS).shape == (3, one.get_sentence_embedding_dimension())
    assert one.encode("a text").shape == (384,)
    np.testing.assert_allclose(one.encode_query("a"), model.embed_query("a"))
    cosines = one.similarity(one.encode_query("how is a token signed"), one.encode_document(TEXTS))
    assert cosines.shape == (1, 3)
    assert cosines.argmax() == 0
    assert one.encode(np.array(TEXTS), batch_size=2, show_progress_bar=True).shape == (3, 384)
    assert one.encode("a word " * 5_000).shape == (384,)


@pytest.mark.parametrize(
    "asked", [{"prompt": "x: "}, {"prompt_name": "sts"}, {"output_value": "token_embeddings"}, {"precision": "int8"}]
)
def test_what_it_cannot_give_is_refused(model: EmbeddingModel, asked: dict[str, str]) -> None:
    with pytest.raises(UsageError):
        TurboPropTransformer(model).encode(TEXTS, **asked)


@pytest.mark.filterwarnings("ignore")
def test_its_programs_take_it(model: EmbeddingModel) -> None:
    pytest.importorskip("sentence_transformers")
    from sentence_transformers import util

    one = TurboPropTransformer(model)
    corpus = one.encode(TEXTS, convert_to_tensor=True)
    found = util.semantic_search(one.encode("how is a token signed", convert_to_tensor=True), corpus, top_k=1)
    assert found[0][0]["corpus_id"] == 0
    assert one.similarity(corpus, corpus).shape == (3, 3)
    pairs = util.paraphrase_mining_embeddings(corpus, top_k=1)
    assert len(pairs) > 0
